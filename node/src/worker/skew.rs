//! How far this node's clock is from the leader's, from questions and answers over the work session. Nothing here is
//! decided by it: the leader holds its own clock against what its workers say, and people are warned.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// An answer that took longer says too little of when it was given.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);
/// Stands for: not measured.
const UNKNOWN: i64 = i64::MIN;

/// The last measurement, in milliseconds; ahead of the leader is positive.
#[derive(Debug)]
pub struct Skew(AtomicI64);

impl Default for Skew {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl Skew {
    /// What is known; `None` before the first answer of this leader.
    pub(super) fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
    }

    /// Another leader, another clock to compare with.
    pub(super) fn forget(&self) {
        self.0.store(UNKNOWN, Ordering::Relaxed);
    }

    /// The leader's clock was at `leader_ms` somewhere within a round trip that ended when this one's was at `own_ms`.
    pub(super) fn measured(&self, own_ms: u64, leader_ms: u64, round_trip: Duration) {
        if let Some(skew) = between(own_ms, leader_ms, round_trip) {
            self.0.store(skew, Ordering::Relaxed);
        }
    }
}

/// How far ahead `own_ms` is of a clock that was at `leader_ms` half a round trip ago.
fn between(own_ms: u64, leader_ms: u64, round_trip: Duration) -> Option<i64> {
    let half = i64::try_from(round_trip.as_millis() / 2).ok().filter(|_| round_trip <= ROUND_TRIP_MAX)?;
    let ahead = i64::try_from(i128::from(own_ms) - i128::from(leader_ms)).ok()?;
    Some(ahead.saturating_sub(half).max(UNKNOWN + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_round_trip_is_the_answers_age() {
        let trip = Duration::from_millis(300);
        assert_eq!(between(10_150, 10_000, trip), Some(0), "the clocks agree");
        assert_eq!(between(12_150, 10_000, trip), Some(2_000), "this one is ahead");
        assert_eq!(between(8_150, 10_000, trip), Some(-2_000), "this one is behind");
    }

    #[test]
    fn a_slow_answer_says_nothing_and_another_leader_is_another_clock() {
        let skew = Skew::default();
        skew.measured(12_000, 10_000, Duration::from_secs(3));
        assert_eq!(skew.get(), None);
        skew.measured(12_000, 10_000, Duration::ZERO);
        assert_eq!(skew.get(), Some(2_000));
        skew.forget();
        assert_eq!(skew.get(), None);
        assert_eq!(between(u64::MAX, 0, Duration::ZERO), None, "no clock shows that");
    }
}
