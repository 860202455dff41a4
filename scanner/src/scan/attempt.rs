//! One try of a probe that is out, and what an answer to it says of loss.

use std::time::Duration;

use crate::pace::throttle::History;

/// A try of a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Which one, from 1.
    pub(crate) number: u8,
    pub(crate) sent_at: Duration,
    /// How long the try before this one was waited for.
    pub(crate) waited_before: Duration,
    pub(crate) history: History,
    /// The same with its host's own rate, if it has one.
    pub(crate) own_history: History,
}

impl Attempt {
    /// The first one.
    pub(crate) fn first(now: Duration) -> Self {
        let (history, own_history) = (History::default(), History::default());
        Self { number: 1, sent_at: now, waited_before: Duration::ZERO, history, own_history }
    }

    /// The one after this, which was waited for so long in vain.
    pub(crate) fn next(self, waited: Duration) -> Self {
        Self { number: self.number + 1, waited_before: waited, ..self }
    }

    /// Whether it is not the first one.
    pub(crate) fn is_repeated(&self) -> bool {
        self.number > 1
    }

    /// Whether an answer after such a round trip says that the tries before were lost: one that took longer than the try
    /// before was waited for would have come to that one as well. Then the path is slow, and nothing was lost.
    pub(crate) fn lost_others(&self, round_trip: Duration) -> bool {
        self.is_repeated() && round_trip <= self.waited_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_says_that_the_path_is_slow_and_an_early_one_that_a_try_was_lost() {
        let ms = Duration::from_millis;
        let first = Attempt::first(ms(1000));
        assert!(!first.lost_others(ms(1)) && !first.is_repeated());
        let second = first.next(ms(100));
        assert_eq!((second.number, second.is_repeated()), (2, true));
        assert!(second.lost_others(ms(100)) && !second.lost_others(ms(101)));
    }
}
