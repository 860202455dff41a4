//! The addresses of a unit that answered nothing, in a random order that costs no memory.

use std::ops::Range;

use crate::permute::Permutation;

/// Where fewer than this part of the targets are dark they are listed; otherwise they are met often enough.
const FEW: u64 = 16;
/// Keeps the order apart from others that are drawn from the same seed.
const ORDER: u64 = 0x6461_726b;

/// A walk through the dark targets, each with every one of so many questions.
#[derive(Debug)]
pub(super) struct Dark {
    range: Range<u64>,
    questions: u64,
    order: Permutation,
    /// The dark ones, where they are few.
    listed: Option<Vec<u64>>,
    next: u64,
}

impl Dark {
    /// The walk through those of `range` that `is_dark`, of which there are `count`.
    pub(super) fn new(range: Range<u64>, count: u64, questions: u32, seed: u64, is_dark: impl Fn(u64) -> bool) -> Self {
        let targets = range.end - range.start;
        let listed = (count.saturating_mul(FEW) < targets).then(|| range.clone().filter(|at| is_dark(*at)).collect());
        let places = listed.as_ref().map_or(targets, |listed: &Vec<u64>| listed.len() as u64);
        let questions = u64::from(questions);
        let order = Permutation::new(places.saturating_mul(questions), seed ^ ORDER);
        Self { range, questions, order, listed, next: 0 }
    }

    /// The next up to `wanted`, as index and number of the question. None comes twice.
    pub(super) fn take(&mut self, wanted: u64, is_dark: impl Fn(u64) -> bool) -> Vec<(u64, u32)> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < wanted
            && let Some(drawn) = self.order.apply(self.next)
        {
            self.next += 1;
            let (place, question) = (drawn / self.questions, drawn % self.questions);
            let index = match &self.listed {
                Some(listed) => usize::try_from(place).ok().and_then(|at| listed.get(at).copied()),
                None => Some(self.range.start + place),
            };
            let question = u32::try_from(question).expect("below their number, which is one of u32");
            taken.extend(index.filter(|index| is_dark(*index)).map(|index| (index, question)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_question_to_each_dark_target_comes_once_however_many_there_are() {
        for every in [2, 100] {
            let is_dark = |index: u64| index.is_multiple_of(every);
            let count = 2_000 / every;
            let mut dark = Dark::new(1_000..3_000, count, 3, 5, is_dark);
            assert_eq!(dark.listed.is_some(), every == 100);
            let mut seen = BTreeSet::new();
            for wanted in [7, 20, 10_000] {
                for drawn in dark.take(wanted, is_dark) {
                    assert!(is_dark(drawn.0) && (1_000..3_000).contains(&drawn.0) && drawn.1 < 3);
                    assert!(seen.insert(drawn), "{drawn:?} twice");
                }
            }
            assert_eq!(seen.len() as u64, 3 * count);
        }
        assert!(Dark::new(0..10, 0, 4, 1, |_| false).take(5, |_| false).is_empty());
        assert!(Dark::new(0..10, 10, 0, 1, |_| true).take(5, |_| true).is_empty(), "there is nothing to ask");
    }
}
