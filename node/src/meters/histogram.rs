//! Times in buckets, as Prometheus takes them.

use std::time::Duration;

/// How many buckets there are.
const BUCKETS: usize = 13;
/// Upper bounds of the buckets, in seconds: from an answer out of memory to a request that waits for a failover. The same for
/// all, so that dashboards compare them.
static BOUNDS: [f64; BUCKETS] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How many times fell below each bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// By bound, each without those of the bounds below it.
    counts: [u64; BUCKETS],
    count: u64,
    sum_seconds: f64,
}

impl Histogram {
    /// Takes a time.
    pub fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.sum_seconds += seconds;
    }

    /// Each bound, in seconds, with how many times were not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.iter().zip(&self.counts).scan(0u64, |sum, (bound, count)| {
            *sum = sum.saturating_add(*count);
            Some((*bound, *sum))
        })
    }

    /// How many times there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_every_bucket_that_it_is_not_above() {
        let mut histogram = Histogram::default();
        for millis in [1, 2, 100, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let at = |bound: f64| histogram.cumulative().find(|(upper, _)| *upper == bound).unwrap().1;
        assert_eq!((at(0.001), at(0.0025), at(0.05), at(0.1), at(10.0)), (1, 2, 2, 3, 3));
        assert_eq!(histogram.count(), 4, "one is above every bound");
        assert!((histogram.sum_seconds() - 60.103).abs() < 1e-9);
    }
}
