//! How long the leader rests between two looks at everything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A round is followed by a rest of so many times as long as it looked and planned, so that this takes a quarter of a core at most where
/// there is much to look at, and what came meanwhile is looked at together. Its wait for the log is none of it.
const TIMES: u32 = 3;
/// None follows where that would be less than this, which is the clock's tick.
const REST_MIN: Duration = Duration::from_millis(1);
/// The longest rest: short against the time of a unit, of which a worker holds two.
const REST_MAX: Duration = Duration::from_millis(30);

/// The rests of a leader.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// How long the present round has waited for the log.
    waited: Mutex<Duration>,
}

impl Rests {
    /// The present round has waited so long for the log.
    pub(super) fn waited(&self, waited: Duration) {
        *self.lock() += waited;
    }

    /// The round is over that took so long: how long to rest, if at all.
    pub(super) fn after(&self, took: Duration) -> Option<Duration> {
        let looked = took.saturating_sub(std::mem::take(&mut *self.lock()));
        Some((looked * TIMES).min(REST_MAX)).filter(|rest| *rest >= REST_MIN)
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_is_followed_by_a_rest_and_waiting_for_the_log_is_not() {
        let (rests, ms) = (Rests::default(), Duration::from_millis);
        rests.waited(ms(4));
        rests.waited(ms(6));
        assert_eq!(rests.after(ms(12)), Some(ms(6)));
        assert_eq!(rests.after(ms(500)), Some(REST_MAX), "the wait was of the round before");
        rests.waited(ms(10));
        assert_eq!(rests.after(ms(10)), None);
    }
}
