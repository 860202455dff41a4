//! When a call is sent again, and after what pause.
//!
//! A node waits an election out before it answers 503, so that answer is nearly the truth already: it is asked again only
//! while the whole stays within the two seconds in which a person learns that there is no majority. A connection that
//! breaks is another thing: its node may be starting again. A refused connection is not retried: nobody listens, and the
//! person at the terminal should learn it at once.

use std::time::Duration;

/// Tries of one call.
const TRIES_MAX: u32 = 20;
/// Time for all tries of one call after broken connections.
const BUDGET: Duration = Duration::from_secs(6);
/// A node that answered 503 is not asked again later than this after the first try: it takes half a second to say so again
/// where it misses its leader for long.
const BUSY_BUDGET: Duration = Duration::from_millis(1_200);
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
    /// Nobody listens; or the connection broke, and what was asked may not be done twice.
    Refused,
    /// The connection broke on the way.
    Broken,
}

/// The pause before the next try, or `None` to make do with this outcome.
pub(super) fn wait(outcome: Outcome, tries: u32, elapsed: Duration) -> Option<Duration> {
    let doubling = FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1).min(10));
    let (pause, budget) = match outcome {
        Outcome::Answered | Outcome::Refused | Outcome::Busy(None) => return None,
        Outcome::Busy(Some(asked)) => (asked.max(FIRST_PAUSE), BUSY_BUDGET),
        Outcome::Broken => (doubling, BUDGET),
    };
    let pause = pause.min(PAUSE_MAX);
    (tries < TRIES_MAX && elapsed + pause <= budget).then_some(pause)
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

    #[test]
    fn a_node_that_waited_for_a_leader_before_it_said_503_is_not_made_to_wait_again() {
        let busy = Outcome::Busy(Some(Duration::from_secs(1)));
        assert_eq!(wait(busy, 1, Duration::from_millis(1_700)), None);
        assert!(wait(busy, 1, Duration::from_millis(500)).is_some(), "one that knows it at once is asked once more");
        assert_eq!(wait(busy, 2, Duration::from_millis(1_300)), None);
        assert!(wait(Outcome::Broken, 2, Duration::from_millis(1_700)).is_some());
    }
}
