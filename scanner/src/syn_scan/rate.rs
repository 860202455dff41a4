//! How fast a unit transmits: doubled until the network loses more because of it, then additive increase and
//! multiplicative decrease around what the network carries.
//!
//! Judged are epochs whose canaries have had time to answer, several together where one has too few. If they lost more
//! than is usual here, what was carried becomes the rate, on trial. Then either the loss must shrink, or as much must be
//! carried as before; if neither is so the loss was not ours (a bad link loses the same share at any speed), the rate
//! is given back, and that loss is what is usual here. `pace/throttle.rs` is the same thought for an engine that
//! knows each of its probes.

use std::time::Duration;

use super::epochs::{EPOCH, Epoch};
use crate::pace::Pacer;

/// Faster than any link that this engine drives; the rate stops being one.
const RATE_MAX: f64 = 4_000_000.0;
/// No slower: at this rate a unit of one host and all ports still ends.
const RATE_MIN: f64 = 200.0;
/// Canaries that a judgement needs: with one lost in ten, three in four of them tell 7 % from 13 %.
const CANARIES_MIN: u32 = 200;
/// Loss above the usual that counts as ours, and the same as a share of `usual * (1 - usual)`.
const EXCESS: f64 = 0.03;
const SPREAD: f64 = 0.6;
/// After slowing down, ours is a loss that fell below this part of what it was.
const OURS: f64 = 0.5;
/// Only a slow-down to less than this shows in what is carried.
const SHOWS: f64 = 0.8;
/// Growth per clean epoch; the slow one after a decrease, since what it does is known only some epochs later.
const GROWTH_SLOW: f64 = 1.01;
const GROWTH_FAST: f64 = 1.05;
/// Clean epochs after which growth is fast again: a second and a half.
const CLEAN_LONG: u32 = 30;

/// A decrease that has yet to prove itself.
#[derive(Debug, Clone, Copy)]
struct Trial {
    loss: f64,
    carried: f64,
    factor: f64,
    before: (f64, bool),
    /// The first epoch that was sent wholly after it.
    from: u32,
}

/// The rate of one unit.
#[derive(Debug)]
pub(super) struct Rate {
    pacer: Pacer,
    pps: f64,
    is_doubling: bool,
    usual: f64,
    trial: Option<Trial>,
    clean: u32,
    /// What is being judged: epochs and their sum.
    epochs: u32,
    sum: Epoch,
    doubled_at: u32,
}

impl Rate {
    pub(super) fn new(start_pps: f64) -> Self {
        Self {
            pacer: Pacer::default(),
            pps: start_pps,
            is_doubling: true,
            usual: 0.0,
            trial: None,
            clean: 0,
            epochs: 0,
            sum: Epoch::default(),
            doubled_at: 0,
        }
    }

    /// Takes up to `wanted` slots.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate far below 2^63")]
    pub(super) fn admit(&mut self, now: Duration, wanted: u32) -> Result<u32, Duration> {
        if self.pps >= RATE_MAX { Ok(wanted) } else { self.pacer.admit(now, self.pps.ceil() as u64, wanted) }
    }

    /// An epoch is running; the rate is doubled every so many epochs, which is when the last doubling has had answers.
    /// Until something has answered, nothing says how much is too much.
    pub(super) fn begin(&mut self, epoch: u32, has_answers: bool, epochs_per_answer: u32) {
        if self.is_doubling && has_answers && epoch >= self.doubled_at.saturating_add(epochs_per_answer) {
            self.doubled_at = epoch;
            self.pps = (2.0 * self.pps).min(RATE_MAX);
        }
    }

    /// Share of round trips that no slowing down saves.
    pub(super) fn usual(&self) -> f64 {
        self.usual
    }

    /// The rate in probes per second.
    pub(super) fn pps(&self) -> f64 {
        self.pps
    }

    /// An epoch's answers are complete.
    pub(super) fn judge(&mut self, number: u32, epoch: Epoch, now: u32) {
        if self.trial.is_some_and(|trial| number < trial.from) {
            return;
        }
        self.epochs += 1;
        self.sum.probes += epoch.probes;
        self.sum.canaries += epoch.canaries;
        self.sum.answered += epoch.answered;
        if self.sum.canaries < CANARIES_MIN {
            if self.epochs > 100 {
                self.forget();
            }
            return;
        }
        let loss = f64::from(self.sum.canaries - self.sum.answered) / f64::from(self.sum.canaries);
        let sent = f64::from(self.sum.probes) / (f64::from(self.epochs) * EPOCH.as_secs_f64());
        let epochs = self.epochs;
        self.forget();
        if let Some(trial) = self.trial.take() {
            let is_carried = trial.factor < SHOWS && sent * (1.0 - loss) > trial.carried * trial.factor.sqrt();
            if loss > OURS * trial.loss && loss > self.usual + EXCESS && !is_carried {
                self.usual = loss;
                (self.pps, self.is_doubling) = trial.before;
            }
        } else if loss > self.usual + EXCESS.max(SPREAD * self.usual * (1.0 - self.usual)) {
            let factor = (1.0 - loss) / (1.0 - self.usual);
            let before = (self.pps, self.is_doubling);
            self.trial = Some(Trial { loss, carried: sent * (1.0 - loss), factor, before, from: now + 1 });
            self.pps = (self.pps.min(sent) * factor).max(RATE_MIN);
            (self.is_doubling, self.clean) = (false, 0);
        } else {
            self.usual = self.usual.min(0.9 * self.usual + 0.1 * loss);
            self.clean += epochs;
            let growth = if self.clean > CLEAN_LONG { GROWTH_FAST } else { GROWTH_SLOW };
            self.pps = (self.pps * growth.powf(f64::from(epochs))).min(RATE_MAX);
        }
    }

    fn forget(&mut self) {
        (self.epochs, self.sum) = (0, Epoch::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives a rate against a path for some seconds; returns what was sent and carried per second.
    fn drive(rate: &mut Rate, seconds: u32, fastest: f64, carries: impl Fn(f64) -> f64) -> (f64, f64) {
        let lag = 3;
        let mut history: Vec<Epoch> = Vec::new();
        let (mut sent, mut carried) = (0.0, 0.0);
        for number in 1..=seconds * 20 {
            rate.begin(number, true, 1);
            let probes = rate.pps().min(fastest) / 20.0;
            let share = carries(probes * 20.0);
            sent += probes;
            carried += probes * share;
            let canaries = probes / 16.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
            let count = |number: f64| number.round() as u32;
            history.push(Epoch {
                probes: count(probes),
                canaries: count(canaries),
                answered: count(canaries * share).min(count(canaries)),
            });
            if number > lag {
                rate.judge(number - lag, history[(number - lag - 1) as usize], number);
            }
        }
        (sent / f64::from(seconds), carried / f64::from(seconds))
    }

    #[test]
    fn a_path_that_polices_is_found_and_used() {
        let (sent, carried) = drive(&mut Rate::new(50_000.0), 20, 400_000.0, |rate| (20_000.0 / rate).min(1.0));
        assert!(carried >= 0.85 * 20_000.0, "{carried} carried");
        assert!(sent <= 1.6 * 20_000.0, "{sent} sent, the first second included");
    }

    #[test]
    fn a_path_that_loses_the_same_at_any_speed_is_not_slowed() {
        for loss in [0.1, 0.36] {
            let (sent, _) = drive(&mut Rate::new(50_000.0), 10, 200_000.0, |_| 1.0 - loss);
            assert!(sent >= 0.85 * 200_000.0, "{sent} per second at {loss}");
        }
    }

    #[test]
    fn a_clean_path_is_soon_unlimited() {
        let mut rate = Rate::new(50_000.0);
        drive(&mut rate, 1, 300_000.0, |_| 1.0);
        assert!(rate.pps() >= RATE_MAX, "{}", rate.pps());
    }

    #[test]
    fn a_path_that_gets_better_is_used_again() {
        let mut rate = Rate::new(50_000.0);
        drive(&mut rate, 5, 300_000.0, |rate| (5000.0 / rate).min(1.0));
        assert!(rate.pps() < 8000.0, "{}", rate.pps());
        drive(&mut rate, 10, 300_000.0, |_| 1.0);
        assert!(rate.pps() > 100_000.0, "{}", rate.pps());
    }

    #[test]
    fn without_answers_the_rate_stays_where_it_began() {
        let mut rate = Rate::new(50_000.0);
        (1..100).for_each(|epoch| rate.begin(epoch, false, 1));
        assert!(rate.pps() <= 50_000.0);
    }
}
