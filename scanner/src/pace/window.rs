//! How many probes may be in flight: grows with answers, never shrinks for silence.
//!
//! An answer is proof that the network carries what is in flight, so the window grows by one, and by more where most
//! targets are silent and answers are rare (nmap's idea: by the ratio of probes settled to answers). A try that was
//! met with silence proves nothing and lets the window grow a little, since otherwise a range that drops everything
//! would be scanned at the pace of the first second for ever. Loss is the [`super::throttle`]'s business: it limits
//! probes per second, which a window full of silent probes would not.

use std::time::Duration;

/// Until something has answered, no more probes are out than this: addresses of the link are being looked up, and the
/// kernel keeps about a hundred packets meanwhile and drops the rest.
const UNPROVED_MAX: usize = 64;
/// After this long without an answer, nothing is being looked up any more.
const UNPROVED_WAIT: Duration = Duration::from_millis(150);
/// Growth for a try met with silence: the window becomes 1.5 times as wide per wait, half of what answers give.
const SILENT_GROWTH: f64 = 0.5;
/// Most growth for one answer, where nearly all targets are silent (nmap's cap).
const SCALE_MAX: f64 = 50.0;
/// A machine that was full lets in a fifth more than it held then, so that the limit is found again, not crossed.
const EXHAUSTED_MARGIN: f64 = 1.2;
/// And never less than this.
const EXHAUSTED_MIN: f64 = 8.0;

/// The window of one scan.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    size: f64,
    max: f64,
    settled: f64,
    answered: f64,
    first_sent_at: Option<Duration>,
}

/// How far a window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Most probes that may be in flight.
    pub(crate) probes: usize,
    /// When that changes by itself.
    pub(crate) until: Option<Duration>,
}

impl Window {
    pub(crate) fn new(start: usize, max: usize) -> Self {
        Self { size: float(start.min(max)), max: float(max), settled: 0.0, answered: 0.0, first_sent_at: None }
    }

    /// How far it is open at `now`, which is less at first, until that the network carries anything `is_proved`.
    pub(crate) fn opening(&self, now: Duration, is_proved: bool) -> Opening {
        let unproved_until = self.first_sent_at.unwrap_or(now) + UNPROVED_WAIT;
        if is_proved || now >= unproved_until {
            return Opening { probes: self.limit(), until: None };
        }
        Opening { probes: self.limit().min(UNPROVED_MAX), until: Some(unproved_until) }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the maximum given")]
    fn limit(&self) -> usize {
        self.size as usize
    }

    /// A probe was sent.
    pub(crate) fn sent(&mut self, now: Duration) {
        self.first_sent_at.get_or_insert(now);
    }

    /// A probe was answered.
    pub(crate) fn answered(&mut self) {
        self.settled += 1.0;
        self.answered += 1.0;
        self.grow((self.settled / self.answered).min(SCALE_MAX));
    }

    /// A try was not answered in time; it was the last one of its probe if `is_settled`.
    pub(crate) fn silent(&mut self, is_settled: bool) {
        self.settled += f64::from(u8::from(is_settled));
        self.grow(SILENT_GROWTH);
    }

    /// This machine has no room for more than the `in_flight` probes that are out.
    pub(crate) fn exhausted(&mut self, in_flight: usize) {
        self.size = (float(in_flight) * 0.9).max(1.0).min(self.size);
        self.max = self.max.min((float(in_flight) * EXHAUSTED_MARGIN).max(EXHAUSTED_MIN));
    }

    fn grow(&mut self, by: f64) {
        self.size = (self.size + by).min(self.max);
    }
}

#[expect(clippy::cast_precision_loss, reason = "windows are far below 2^52")]
fn float(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_never_makes_the_window_smaller() {
        let mut window = Window::new(512, 16_384);
        let mut last = window.limit();
        for _ in 0..100_000 {
            window.silent(false);
            assert!(window.limit() >= last);
            last = window.limit();
        }
        assert_eq!(last, 16_384, "and it grows to its maximum");
    }

    #[test]
    fn answers_open_the_window_faster_where_they_are_rare() {
        let (mut dense, mut sparse) = (Window::new(10, 100_000), Window::new(10, 100_000));
        (0..100).for_each(|_| dense.answered());
        for turn in 0..1000 {
            if turn % 10 == 0 { sparse.answered() } else { sparse.settled += 1.0 }
        }
        assert_eq!(dense.limit(), 110);
        assert!(sparse.limit() > 800, "{}", sparse.limit());
    }

    #[test]
    fn little_is_sent_until_something_has_answered_or_long_enough_has_not() {
        let (mut window, begun) = (Window::new(512, 16_384), Duration::from_secs(1));
        let unproved = |until| Opening { probes: 64, until: Some(until) };
        assert_eq!(window.opening(begun, false), unproved(begun + UNPROVED_WAIT), "from the first probe on");
        window.sent(begun);
        window.sent(begun + Duration::from_millis(50));
        let now = begun + Duration::from_millis(100);
        assert_eq!(window.opening(now, false), unproved(begun + UNPROVED_WAIT));
        let wide = Opening { probes: 512, until: None };
        assert_eq!((window.opening(now, true), window.opening(begun + UNPROVED_WAIT, false)), (wide, wide));
    }

    #[test]
    fn a_full_machine_is_a_limit_of_its_own() {
        let mut window = Window::new(512, 16_384);
        window.exhausted(300);
        assert_eq!(window.limit(), 270);
        (0..10_000).for_each(|_| window.silent(false));
        assert_eq!(window.limit(), 360);
        window.exhausted(0);
        assert_eq!(window.limit(), 1, "never none");
    }
}
