//! A set of target indexes that costs a bit each where they lie close together.

use std::collections::BTreeMap;

/// Indexes of one page: 512 bytes.
const PAGE: u64 = 4096;
const WORDS: usize = 64;

/// Indexes, found, added and taken from the front.
#[derive(Debug, Default)]
pub(crate) struct IndexSet {
    pages: BTreeMap<u64, Box<[u64; WORDS]>>,
    count: u64,
}

impl IndexSet {
    /// Adds an index; false if it was there.
    pub(crate) fn insert(&mut self, index: u64) -> bool {
        let page = self.pages.entry(index / PAGE).or_insert_with(|| Box::new([0; WORDS]));
        let Some(word) = page.get_mut(word_of(index)) else { return false };
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    /// The lowest index that is in.
    pub(crate) fn first(&self) -> Option<u64> {
        let (page, words) = self.pages.first_key_value()?;
        let (at, word) = (0_u64..).zip(words.iter()).find(|(_, word)| **word != 0)?;
        Some(page * PAGE + at * 64 + u64::from(word.trailing_zeros()))
    }

    /// Takes an index out.
    pub(crate) fn remove(&mut self, index: u64) {
        let Some(page) = self.pages.get_mut(&(index / PAGE)) else { return };
        let Some(word) = page.get_mut(word_of(index)) else { return };
        let bit = 1 << (index % 64);
        self.count -= u64::from(*word & bit != 0);
        *word &= !bit;
        if page.iter().all(|word| *word == 0) {
            self.pages.remove(&(index / PAGE));
        }
    }

    /// How many are in.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }
}

fn word_of(index: u64) -> usize {
    usize::try_from(index % PAGE / 64).expect("below 64")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_says(ops in proptest::collection::vec((0_u64..20_000, any::<bool>()), 0..400)) {
            let (mut set, mut model) = (IndexSet::default(), BTreeSet::new());
            for (index, is_added) in ops {
                if is_added {
                    prop_assert_eq!(set.insert(index), model.insert(index));
                } else {
                    set.remove(index);
                    model.remove(&index);
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(set.first(), model.first().copied());
            }
            while let Some(index) = set.first() {
                prop_assert_eq!(Some(index), model.pop_first());
                set.remove(index);
            }
            prop_assert!(set.pages.is_empty());
        }
    }
}
