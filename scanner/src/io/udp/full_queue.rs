//! How long a full queue of an interface is waited for.
//!
//! A queue that takes nothing is full for a moment, or its link has lost its other end, which the kernel notices up to a second
//! later, or nobody will ever empty it. So what it does not take is asked again for a while, with pauses, and only then refused.

use std::time::Duration;

/// A queue that has taken nothing for so long will not: as long as a way that is lost is waited for.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// What was met so long after the last time is another story.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);
/// The pause before a full queue is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// The full queues that a unit has met, as one: nothing says which interface a datagram leaves by.
#[derive(Debug, Default)]
pub(super) struct FullQueues {
    /// Since when they are met, and when that was last.
    met: Option<(Duration, Duration)>,
}

impl FullQueues {
    /// A datagram has met a full queue; true if that is so for so long that it is not waited for any more.
    pub(super) fn met_full(&mut self, now: Duration) -> bool {
        let fresh = self.met.filter(|(_, last)| now <= *last + FORGOTTEN_AFTER);
        let since = fresh.map_or(now, |(since, _)| since);
        self.met = Some((since, now));
        now > since + STUCK_AFTER
    }

    /// One that was full has taken a datagram.
    pub(super) fn drained(&mut self) {
        self.met = None;
    }

    /// When to try again, if a queue has just been found full.
    pub(super) fn awaited(&self, now: Duration) -> Option<Duration> {
        self.met.map(|(_, last)| last + PAUSE).filter(|next| now < *next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_waited_for_with_pauses_until_it_is_stuck_and_anew_once_it_has_taken_something() {
        let at = Duration::from_millis;
        let mut queues = FullQueues::default();
        assert!(!queues.met_full(at(1000)));
        assert_eq!((queues.awaited(at(1020)), queues.awaited(at(1050))), (Some(at(1050)), None));
        assert!(!queues.met_full(at(2500)) && !queues.met_full(at(4000)) && queues.met_full(at(4001)));
        assert!(queues.met_full(at(6000)), "it stays stuck while it is met so");
        assert!(!queues.met_full(at(8001)), "and that was long ago");
        assert!(!queues.met_full(at(9000)));
        queues.drained();
        assert!(queues.awaited(at(9001)).is_none() && !queues.met_full(at(11_500)) && !queues.met_full(at(13_000)));
    }
}
