//! A histogram of powers of two, in place of the crate of this name that openraft depends on.
//!
//! That crate works out lookup tables for all sixteen of its resolutions as soon as one histogram is made: 26 MB that stay
//! resident in every node, and 20 ms at each start. openraft, as we build it, records the size of each replicated batch
//! and prints none of it, so 520 bytes do: `docs/decisions/0009-a-small-histogram.md`. Here is what openraft calls, and no
//! more; percentiles are exact to a power of two.

use std::fmt;
use std::marker::PhantomData;

/// Buckets: one for zero, and one for each position of a value's highest bit.
const BUCKETS: usize = 65;

/// Counts of values, by powers of two.
///
/// `T` names the slots of a sliding window where there is one; here there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    slots: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// A histogram of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], slots: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that occurred `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// How the values are spread.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(1),
            p1: self.percentile(10),
            p5: self.percentile(50),
            p10: self.percentile(100),
            p50: self.percentile(500),
            p90: self.percentile(900),
            p99: self.percentile(990),
            p99_9: self.percentile(999),
        }
    }

    /// The least value of the bucket in which so many thousandths of the values are reached; 0 where there are none.
    fn percentile(&self, thousandths: u64) -> u64 {
        let wanted = u128::from(self.total()) * u128::from(thousandths);
        let mut below = 0;
        let reached = self.buckets().find(|(_, count)| {
            below += u128::from(*count) * 1000;
            below >= wanted
        });
        reached.map_or(0, |(least, _)| least)
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// The buckets that hold something: the least value of each, and how many values are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let least = |bucket: u32| bucket.checked_sub(1).map_or(0, |bit| 1 << bit);
        (0..).zip(&self.counts).filter(|(_, count)| **count > 0).map(move |(bucket, count)| (least(bucket), *count))
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

/// Percentiles of a [`Histogram`], each the least value of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values there are.
    pub samples: u64,
    /// The value that one in a thousand is at most.
    pub p0_1: u64,
    /// The value that one in a hundred is at most.
    pub p1: u64,
    /// The value that five in a hundred are at most.
    pub p5: u64,
    /// The value that a tenth is at most.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// The value that nine tenths are at most.
    pub p90: u64,
    /// The value that 99 in a hundred are at most.
    pub p99: u64,
    /// The value that 999 in a thousand are at most.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "n={samples} p50={p50} p90={p90} p99={p99} p99.9={p99_9}")
    }
}

/// Histograms with their names, to be printed one after another.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// An empty chart.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The chart with one histogram more.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.series.push((name.into(), histogram));
        self
    }

    /// The chart, to be printed.
    #[must_use]
    pub fn detailed(&self) -> &Self {
        self
    }
}

/// A line for each histogram, and one for each of its buckets that holds something.
impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
            histogram.buckets().try_for_each(|(least, count)| writeln!(f, "{least:>20} {count}"))?;
        }
        Ok(())
    }
}

/// The number of bits of a value.
fn bucket(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_their_highest_bit() {
        let mut histogram = Histogram::<()>::new();
        [0, 1, 2, 3, 4, 7, u64::MAX].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(histogram.total(), 7);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(0, 1), (1, 1), (2, 2), (4, 2), (1 << 63, 1)]);
        assert_eq!(format!("{:?}", Histogram::<()>::default()), "{}");
    }

    #[test]
    fn percentiles_are_the_least_values_of_their_buckets() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0, "of nothing");
        (1..=100).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p1, stats.p50, stats.p90, stats.p99_9), (100, 1, 32, 64, 64));
        let chart = AsciiChart::new().add("batches", histogram).detailed().to_string();
        assert!(chart.starts_with("batches: n=100 p50=32 p90=64"), "{chart}");
        assert_eq!(chart.lines().count(), 8, "{chart}");
    }
}
