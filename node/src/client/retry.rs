//! When a call is sent again, and after what pause.
//!
//! A leader election takes one to two seconds, and a node answers 503 with `Retry-After` within two seconds of losing
//! quorum, so the budget covers one election and then tells the truth. A refused connection is not retried: nobody
//! listens, and the person at the terminal should learn it at once.

use std::time::Duration;

/// Tries of one call.
const TRIES_MAX: u32 = 20;
/// Time for all tries of one call.
const BUDGET: Duration = Duration::from_secs(6);
/// First pause after a broken connection; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause, also where the node asks for a longer one (`Retry-After` knows whole seconds only): an election may be
/// over sooner than it fears.
const PAUSE_MAX: Duration = Duration::from_millis(300);

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With an answer to be used.
    Answered,
    /// With 503, and `Retry-After` where there was one.
    Busy(Option<Duration>),
    /// Nobody listens.
    Refused,
    /// The connection broke on the way.
    Broken,
}

/// The pause before the next try, or `None` to make do with this outcome.
pub(super) fn wait(outcome: Outcome, tries: u32, elapsed: Duration) -> Option<Duration> {
    let doubling = FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1).min(10));
    let pause = match outcome {
        Outcome::Answered | Outcome::Refused | Outcome::Busy(None) => return None,
        Outcome::Busy(Some(asked)) => asked.max(FIRST_PAUSE),
        Outcome::Broken => doubling,
    };
    let pause = pause.min(PAUSE_MAX);
    (tries < TRIES_MAX && elapsed + pause <= BUDGET).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_connection_and_a_503_that_invites_are_tried_again() {
        for (outcome, again) in [
            (Outcome::Answered, false),
            (Outcome::Refused, false),
            (Outcome::Busy(None), false),
            (Outcome::Busy(Some(Duration::ZERO)), true),
            (Outcome::Broken, true),
        ] {
            assert_eq!(wait(outcome, 1, Duration::ZERO).is_some(), again, "{outcome:?}");
        }
    }

    #[test]
    fn tries_end_within_the_budget_whatever_the_node_asks_for() {
        for outcome in [Outcome::Broken, Outcome::Busy(Some(Duration::from_secs(3600)))] {
            let (mut tries, mut elapsed) = (1, Duration::ZERO);
            while let Some(pause) = wait(outcome, tries, elapsed) {
                tries += 1;
                elapsed += pause;
            }
            assert!(tries > 3 && tries <= TRIES_MAX && elapsed <= BUDGET, "{outcome:?}: {tries} in {elapsed:?}");
        }
    }
}
