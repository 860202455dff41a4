//! How many probes may be in flight: grows with answers, never shrinks for silence.
//!
//! An answer is proof that the network carries what is in flight, so the window grows by one, and by more where most
//! targets are silent and answers are rare (nmap's idea: by the ratio of probes settled to answers). A probe that was
//! settled in silence proves nothing and lets the window grow a little, since otherwise a range that drops everything
//! would be scanned at the pace of the first second for ever.
//!
//! Loss is only believed when answers come to retransmissions. If there is more of it than there was at a lower
//! speed, the window falls to 0.7 of what was in flight. If the loss stays after that, it was not ours (a bad radio
//! link loses the same share at any speed): it becomes the level to compare with, and the window comes back.

use std::time::Duration;

/// Growth for a probe settled in silence: 1.5 times per wait, a third of what answers give.
const SILENT_GROWTH: f64 = 0.5;
/// Most growth for one answer, where nearly all targets are silent (nmap's cap).
const SCALE_MAX: f64 = 50.0;
/// What is left of the probes in flight when they were too many.
const DECREASE: f64 = 0.7;
/// Loss beyond the usual that counts as too many probes: two in a hundred, above the noise of an epoch.
const EXCESS: f64 = 0.02;
/// Loss is judged over at least this many answers and this long, so that late answers to retransmissions are in.
const EPOCH_ANSWERS: u32 = 100;
const EPOCH: Duration = Duration::from_millis(500);
/// No window is made smaller than this by loss.
const FLOOR: f64 = 8.0;

/// The window of one session.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    size: f64,
    max: f64,
    /// Above this the window grows by one per round trip instead of one per answer.
    threshold: f64,
    settled: u64,
    answered: u64,
    epoch: Epoch,
    /// Share of answers that needed a retransmission at any speed.
    usual_loss: f64,
    trial: Option<Trial>,
}

/// What was seen since loss was last judged.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    begun: Duration,
    answers: u32,
    retried: u32,
    in_flight_max: usize,
}

/// A smaller window being tried out.
#[derive(Debug, Clone, Copy)]
struct Trial {
    loss_before: f64,
    size_before: f64,
    /// The first epoch still has answers to what was sent before.
    settled_in: bool,
}

impl Window {
    pub(crate) fn new(start: usize, max: usize) -> Self {
        Self {
            size: float(start.min(max)),
            max: float(max),
            threshold: f64::INFINITY,
            settled: 0,
            answered: 0,
            epoch: Epoch::default(),
            usual_loss: 0.0,
            trial: None,
        }
    }

    /// Most probes that may be in flight now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the maximum given")]
    pub(crate) fn limit(&self) -> usize {
        self.size as usize
    }

    /// An answer came, to a retransmission after real loss if `retried`, while `in_flight` probes were out.
    pub(crate) fn answered(&mut self, now: Duration, retried: bool, in_flight: usize) {
        self.settled += 1;
        self.answered += 1;
        let scale = (self.settled as f64 / self.answered as f64).min(SCALE_MAX);
        self.grow(scale);
        self.epoch.answers += 1;
        self.epoch.retried += u32::from(retried);
        self.epoch.in_flight_max = self.epoch.in_flight_max.max(in_flight);
        if self.epoch.answers >= EPOCH_ANSWERS && now >= self.epoch.begun + EPOCH {
            self.judge();
            self.epoch = Epoch { begun: now, ..Epoch::default() };
        }
    }

    /// A probe was given up after all its tries.
    pub(crate) fn silent(&mut self) {
        self.settled += 1;
        self.grow(SILENT_GROWTH);
    }

    /// This machine has no room for what is in flight.
    pub(crate) fn exhausted(&mut self, in_flight: usize) {
        self.size = (float(in_flight) * 0.9).max(1.0).min(self.size);
        self.max = self.max.min((float(in_flight) * 1.2).max(FLOOR));
    }

    fn grow(&mut self, by: f64) {
        let by = if self.size < self.threshold { by } else { by / self.size };
        self.size = (self.size + by).min(self.max);
    }

    fn judge(&mut self) {
        let loss = f64::from(self.epoch.retried) / f64::from(self.epoch.answers);
        match self.trial {
            Some(trial) if !trial.settled_in => self.trial = Some(Trial { settled_in: true, ..trial }),
            Some(trial) => {
                self.trial = None;
                if loss > 0.8 * trial.loss_before {
                    self.usual_loss = loss.max(trial.loss_before);
                    self.size = self.size.max(trial.size_before);
                    self.threshold = f64::INFINITY;
                }
            }
            None if loss > 1.5 * self.usual_loss + EXCESS => {
                self.trial = Some(Trial { loss_before: loss, size_before: self.size, settled_in: false });
                self.size = (float(self.epoch.in_flight_max) * DECREASE).max(FLOOR).min(self.size);
                self.threshold = self.size;
            }
            None => self.usual_loss = self.usual_loss.min(loss.max(self.usual_loss * 0.9)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "windows are far below 2^52")]
fn float(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers for `seconds` at 1000 per second, of which `retried` in a thousand came to a retransmission.
    fn answers(window: &mut Window, from: u64, seconds: u64, in_flight: usize, retried: u32) {
        for ms in from * 1000..(from + seconds) * 1000 {
            window.answered(Duration::from_millis(ms), ms % 1000 < u64::from(retried), in_flight);
        }
    }

    #[test]
    fn silence_never_makes_the_window_smaller() {
        let mut window = Window::new(512, 16_384);
        let mut last = window.limit();
        for _ in 0..100_000 {
            window.silent();
            assert!(window.limit() >= last);
            last = window.limit();
        }
        assert_eq!(last, 16_384, "and it grows to its maximum");
    }

    #[test]
    fn answers_open_the_window_faster_where_they_are_rare() {
        let (mut dense, mut sparse) = (Window::new(10, 100_000), Window::new(10, 100_000));
        (0..100).for_each(|_| dense.answered(Duration::ZERO, false, 10));
        for turn in 0..1000 {
            if turn % 10 == 0 { sparse.answered(Duration::ZERO, false, 10) } else { sparse.settled += 1 }
        }
        assert_eq!(dense.limit(), 110);
        assert!(sparse.limit() > 800, "{}", sparse.limit());
    }

    #[test]
    fn loss_that_goes_away_at_a_lower_speed_keeps_the_window_down() {
        let mut window = Window::new(1000, 10_000);
        answers(&mut window, 0, 1, 1000, 200);
        assert!(window.limit() <= 701, "0.7 of the thousand in flight, not {}", window.limit());
        answers(&mut window, 1, 3, 700, 0);
        assert!(window.limit() < 720, "{}", window.limit());
    }

    #[test]
    fn loss_that_stays_at_a_lower_speed_gives_the_window_back() {
        let mut window = Window::new(1000, 10_000);
        answers(&mut window, 0, 20, 1000, 200);
        assert!(window.limit() >= 2000, "{}", window.limit());
    }

    #[test]
    fn a_full_machine_is_a_limit_of_its_own() {
        let mut window = Window::new(512, 16_384);
        window.exhausted(300);
        assert_eq!(window.limit(), 270);
        (0..10_000).for_each(|_| window.silent());
        assert_eq!(window.limit(), 360);
        window.exhausted(0);
        assert_eq!(window.limit(), 1, "never none");
    }
}
