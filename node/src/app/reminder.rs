//! When to say again what has been said and still holds: at once, and then at growing intervals. Pure.

use std::time::{Duration, Instant};

/// The first pause between two times; it doubles from there.
const FIRST: Duration = Duration::from_secs(30);
/// The longest pause.
const MAX: Duration = Duration::from_secs(3600);

/// Remembers when something was said last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reminder(Option<(Instant, Duration)>);

impl Reminder {
    /// Whether it is to be said now; counts as said if so.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let pause = match self.0 {
            None => FIRST,
            Some((said, pause)) if now.saturating_duration_since(said) >= pause => (pause * 2).min(MAX),
            Some(_) => return false,
        };
        self.0 = Some((now, pause));
        true
    }

    /// It holds no longer: the next time is the first again.
    pub(super) fn over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_at_pauses_that_double_up_to_an_hour() {
        let (mut reminder, begun) = (Reminder::default(), Instant::now());
        let said: Vec<u64> =
            (0..20_000).filter(|second| reminder.is_due(begun + Duration::from_secs(*second))).collect();
        assert_eq!(said, [0, 30, 90, 210, 450, 930, 1890, 3810, 7410, 11010, 14610, 18210]);
        reminder.over();
        assert!(reminder.is_due(begun + Duration::from_secs(20_001)));
    }
}
