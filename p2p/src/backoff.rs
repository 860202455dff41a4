//! How long to wait before dialing a peer again: exponential, with jitter, pure.
//!
//! The jitter is what keeps ten thousand workers from dialing a restarted gateway in the same instant. Half of the
//! delay is fixed, so that the first retry is never immediate and a dead address is not hammered.

use std::time::Duration;

/// The shape of the growth. `first` and `max` are delays before jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first failure.
    pub first: Duration,
    /// The delay stops growing here.
    pub max: Duration,
}

impl Backoff {
    /// The delay before the next attempt after `failures` failed ones in a row (0 counts as 1), somewhere in the
    /// upper half of `first * 2^(failures - 1)`, at most `max`. `random` is any uniformly distributed number.
    #[must_use]
    pub fn delay(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1_u32 << doublings).min(self.max);
        let half = whole / 2;
        let half_micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(random.checked_rem(half_micros.saturating_add(1)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(15) };

    #[test]
    fn the_delay_doubles_until_the_maximum() {
        let longest = |failures| (0..2000).map(|random| BACKOFF.delay(failures, random * 7919)).max().unwrap();
        assert!(longest(1) <= Duration::from_millis(200));
        assert!(longest(2) > Duration::from_millis(300) && longest(2) <= Duration::from_millis(400));
        assert!(longest(20) <= Duration::from_secs(15));
    }

    proptest! {
        #[test]
        fn the_delay_lies_in_the_upper_half_for_any_input(failures: u32, random: u64) {
            let delay = BACKOFF.delay(failures, random);
            prop_assert!(delay >= BACKOFF.first / 2 && delay <= BACKOFF.max);
        }

        #[test]
        fn no_extreme_setting_overflows(first: u64, max: u64, failures: u32, random: u64) {
            let backoff = Backoff { first: Duration::from_nanos(first), max: Duration::from_secs(max) };
            prop_assert!(backoff.delay(failures, random) <= backoff.max);
        }
    }
}
