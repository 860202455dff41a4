//! Sets of disjoint half-open ranges: which part of a partition's index space is done.
//!
//! A job of a billion targets is a handful of ranges, because finished neighbours merge.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Disjoint, non-touching ranges `[start, end)`, kept merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalSet {
    ranges: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// Adds `range`, merging it with what it overlaps or touches. An empty range changes nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &until)) = self.ranges.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((&from, &until)) = self.ranges.range(start..=end).next() {
            end = end.max(until);
            self.ranges.remove(&from);
        }
        self.ranges.insert(start, end);
    }

    /// Whether any index of `range` is in the set.
    #[must_use]
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        range.start < range.end && self.ranges.range(..range.end).next_back().is_some_and(|(_, &end)| end > range.start)
    }

    /// Whether all of `range` is in the set.
    #[must_use]
    pub fn covers(&self, range: &Range<u64>) -> bool {
        range.start >= range.end
            || self.ranges.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }

    /// How many indexes are in the set.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// How many separate ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn an_interval_set_holds_what_a_plain_set_of_numbers_holds(
            ranges in proptest::collection::vec((0u64..200, 0u64..30), 0..40),
            probe in (0u64..220, 0u64..20),
        ) {
            let mut intervals = IntervalSet::default();
            let mut numbers = BTreeSet::new();
            for (start, length) in ranges {
                intervals.insert(start..start + length);
                numbers.extend(start..start + length);
            }
            prop_assert_eq!(intervals.total(), numbers.len() as u64);
            prop_assert_eq!(intervals.iter().flatten().collect::<Vec<_>>(), numbers.iter().copied().collect::<Vec<_>>());
            let (start, length) = probe;
            prop_assert_eq!(intervals.overlaps(&(start..start + length)), (start..start + length).any(|n| numbers.contains(&n)));
            prop_assert_eq!(intervals.covers(&(start..start + length)), (start..start + length).all(|n| numbers.contains(&n)));
            let merged = intervals.iter().collect::<Vec<_>>();
            prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
