//! Sorted, merged, inclusive ranges of numbers, and the set algebra on them.
//!
//! Targets, ports, scopes and exclusions are all unions of ranges. One implementation over `u16`, `u32` and `u128`
//! keeps memory proportional to the number of ranges, never to what they cover, and makes every operation linear
//! or logarithmic in it. What the numbers mean (addresses, ports) is decided by the callers.

use std::cmp::{max, min};

/// An unsigned number that can bound a range.
pub(crate) trait Bound: Copy + Ord + std::fmt::Debug {
    /// The number after this one, unless this is the last.
    fn next(self) -> Option<Self>;
    /// The number before this one, unless this is zero.
    fn previous(self) -> Option<Self>;
    /// This number as the widest type.
    fn widen(self) -> u128;
    /// This number plus `steps`, if it fits.
    fn forward(self, steps: u64) -> Option<Self>;
}

macro_rules! bound {
    ($($number:ty),*) => {$(
        impl Bound for $number {
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }
            fn widen(self) -> u128 {
                self.into()
            }
            fn forward(self, steps: u64) -> Option<Self> {
                self.checked_add(Self::try_from(steps).ok()?)
            }
        }
    )*};
}
bound!(u16, u32, u128);

/// The numbers from `first` to `last`, both included; `first <= last` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<T> {
    pub(crate) first: T,
    pub(crate) last: T,
}

impl<T: Bound> Span<T> {
    /// The span between two numbers, or `None` when they are the wrong way round.
    pub(crate) fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// A span of one number.
    pub(crate) fn single(number: T) -> Self {
        Self { first: number, last: number }
    }

    /// How many numbers, unless more than `u64::MAX`.
    pub(crate) fn count(self) -> Option<u64> {
        u64::try_from(self.last.widen() - self.first.widen()).ok()?.checked_add(1)
    }

    /// The numbers in both.
    pub(crate) fn intersect(self, other: Self) -> Option<Self> {
        Self::new(max(self.first, other.first), min(self.last, other.last))
    }
}

/// A set of numbers as spans that are sorted, disjoint and not adjacent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeSet<T> {
    spans: Vec<Span<T>>,
}

impl<T> Default for RangeSet<T> {
    fn default() -> Self {
        Self { spans: Vec::new() }
    }
}

impl<T: Bound> RangeSet<T> {
    /// Sorts and merges spans in any order, overlapping or not.
    pub(crate) fn from_spans(mut spans: Vec<Span<T>>) -> Self {
        spans.sort_unstable_by_key(|span| span.first);
        let mut merged: Vec<Span<T>> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                // Adjacent counts as overlapping: the span begins at most one past the end of the last one.
                Some(open) if open.last.next().is_none_or(|after| span.first <= after) => {
                    open.last = max(open.last, span.last);
                }
                _ => merged.push(span),
            }
        }
        merged.shrink_to_fit();
        Self { spans: merged }
    }

    pub(crate) fn spans(&self) -> &[Span<T>] {
        &self.spans
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(crate) fn contains(&self, number: T) -> bool {
        let at = self.spans.partition_point(|span| span.last < number);
        self.spans.get(at).is_some_and(|span| span.first <= number)
    }

    /// What is in this set and not in `other`.
    pub(crate) fn subtract(&self, other: &Self) -> Self {
        Self { spans: self.gaps(other).collect() }
    }

    /// The first span of this set that `other` does not cover.
    pub(crate) fn first_outside(&self, other: &Self) -> Option<Span<T>> {
        self.gaps(other).next()
    }

    /// What is in both.
    pub(crate) fn intersect(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.spans.iter().peekable(), other.spans.iter().peekable());
        let mut spans = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            spans.extend(a.intersect(**b));
            if a.last < b.last {
                left.next();
            } else {
                right.next();
            }
        }
        Self { spans }
    }

    /// The spans of `self` minus `other`, in order, found as they are asked for.
    fn gaps<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Span<T>> + 'a {
        let mut holes = other.spans.iter().peekable();
        self.spans.iter().flat_map(move |span| {
            let mut pieces = Vec::new();
            let mut rest = Some(*span);
            while let Some(piece) = rest {
                while holes.next_if(|hole| hole.last < piece.first).is_some() {}
                let Some(hole) = holes.peek().filter(|hole| hole.first <= piece.last) else {
                    pieces.push(piece);
                    break;
                };
                pieces.extend(hole.first.previous().and_then(|end| Span::new(piece.first, end)));
                rest = hole.last.next().and_then(|start| Span::new(start, piece.last));
            }
            pieces
        })
    }
}

/// A [`RangeSet`] whose numbers can be asked for by index: `get(i)` is the i-th smallest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indexed<T> {
    set: RangeSet<T>,
    /// For each span, how many numbers come before it.
    starts: Vec<u64>,
    /// `u64::MAX` where there are more.
    count: u64,
    is_countable: bool,
}

impl<T> Default for Indexed<T> {
    fn default() -> Self {
        Self { set: RangeSet::default(), starts: Vec::new(), count: 0, is_countable: true }
    }
}

impl<T: Bound> Indexed<T> {
    /// Counts the set. One of more than `u64::MAX` numbers is no index space: its numbers can only be looked for.
    pub(crate) fn new(set: RangeSet<T>) -> Self {
        let mut starts = Vec::with_capacity(set.spans.len());
        let (mut count, mut is_countable) = (0_u64, true);
        for span in &set.spans {
            starts.push(count);
            let more = span.count().and_then(|more| count.checked_add(more));
            is_countable &= more.is_some();
            count = more.unwrap_or(u64::MAX);
        }
        Self { set, starts, count, is_countable }
    }

    /// Whether every number has an index.
    pub(crate) fn is_countable(&self) -> bool {
        self.is_countable
    }

    pub(crate) fn set(&self) -> &RangeSet<T> {
        &self.set
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn get(&self, index: u64) -> Option<T> {
        if index >= self.count {
            return None;
        }
        let at = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        self.set.spans.get(at)?.first.forward(index - self.starts.get(at)?)
    }

    /// The index of a number, if it is in the set.
    pub(crate) fn position(&self, number: T) -> Option<u64> {
        let at = self.set.spans.partition_point(|span| span.last < number);
        let span = self.set.spans.get(at).filter(|span| span.first <= number)?;
        self.starts.get(at)?.checked_add(u64::try_from(number.widen() - span.first.widen()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(spans: &[(u16, u16)]) -> RangeSet<u16> {
        RangeSet::from_spans(spans.iter().map(|(a, b)| Span::new(*a.min(b), *a.max(b)).unwrap()).collect())
    }

    fn members(set: &RangeSet<u16>) -> BTreeSet<u16> {
        set.spans().iter().flat_map(|span| span.first..=span.last).collect()
    }

    fn spans() -> impl Strategy<Value = Vec<(u16, u16)>> {
        let edge = prop_oneof![0_u16..200, Just(u16::MAX), Just(u16::MAX - 1)];
        proptest::collection::vec(
            (edge, 0_u16..30).prop_map(|(first, more)| (first, first.saturating_add(more))),
            0..12,
        )
    }

    #[test]
    fn spans_that_touch_are_merged_up_to_the_last_number() {
        assert_eq!(set(&[(5, 9), (0, 4), (u16::MAX, u16::MAX), (20, u16::MAX)]).spans().len(), 2);
    }

    #[test]
    fn the_whole_128_bit_space_has_no_count() {
        assert_eq!(Span::new(0_u128, u128::MAX).unwrap().count(), None);
        assert_eq!(Span::new(0_u128, u128::from(u64::MAX) - 1).unwrap().count(), Some(u64::MAX));
    }

    #[test]
    fn a_set_without_a_count_still_knows_what_is_in_it() {
        let half = 1_u128 << 127;
        let spans = vec![Span::new(5_u128, 9).unwrap(), Span::new(half, u128::MAX).unwrap()];
        let indexed = Indexed::new(RangeSet::from_spans(spans));
        assert!(!indexed.is_countable() && indexed.count() == u64::MAX);
        assert!(indexed.set().contains(u128::MAX) && !indexed.set().contains(10));
        assert_eq!((indexed.get(0), indexed.get(4)), (Some(5), Some(9)));
        assert!(Indexed::new(set(&[(0, u16::MAX)])).is_countable());
    }

    proptest! {
        #[test]
        fn set_algebra_agrees_with_sets_of_numbers(a in spans(), b in spans()) {
            let (a, b) = (set(&a), set(&b));
            let (members_a, members_b) = (members(&a), members(&b));
            prop_assert_eq!(members(&a.subtract(&b)), members_a.difference(&members_b).copied().collect());
            prop_assert_eq!(members(&a.intersect(&b)), members_a.intersection(&members_b).copied().collect());
            prop_assert_eq!(a.first_outside(&b).is_none(), members_a.is_subset(&members_b));
            for number in 0..=255 {
                prop_assert_eq!(a.contains(number), members_a.contains(&number));
            }
            for result in [a.subtract(&b), a.intersect(&b)] {
                prop_assert_eq!(&RangeSet::from_spans(result.spans().to_vec()), &result, "sorted and merged");
            }
        }

        #[test]
        fn index_and_number_are_each_others_inverse(a in spans()) {
            let indexed = Indexed::new(set(&a));
            let numbers: Vec<u16> = members(indexed.set()).into_iter().collect();
            prop_assert_eq!(indexed.count(), numbers.len() as u64);
            for (index, number) in numbers.iter().enumerate() {
                prop_assert_eq!(indexed.get(index as u64), Some(*number));
                prop_assert_eq!(indexed.position(*number), Some(index as u64));
            }
            prop_assert_eq!(indexed.get(indexed.count()), None);
        }
    }
}
