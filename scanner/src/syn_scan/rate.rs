//! How fast a unit transmits: doubled until the network loses more because of it, then additive increase and
//! multiplicative decrease around what the network carries.
//!
//! It begins low, and each doubling needs answers that came since the last one: they prove that what was sent since got through.
//! Where nothing has ever answered nothing is proved, and nothing speaks against it either: the rate doubles by the clock, up to
//! what a small office's router carries, so that a dark range is not crawled through for ever.
//!
//! Judged are epochs whose canaries have had time to answer, several together where one has too few. If they lost more
//! than is usual here, what was carried becomes the rate, on trial. Then either the loss must shrink, or as much must be
//! carried as before; if neither is so the loss was not ours (a bad link loses the same share at any speed), the rate
//! is given back, and that loss is what is usual here. Unless canaries in flows that are kept going come back while those in new
//! flows do not: then something on the way is full of flows, and the rate is halved for as long as it is. `pace/throttle.rs` is the same thought for an engine that
//! knows each of its probes.

use std::time::Duration;

use super::epochs::{EPOCH, Epoch, is_full};
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
/// While nothing has answered, epochs from one doubling to the next: a second, which is longer than any answer takes.
const DARK_EPOCHS: u32 = 20;
/// And the rate up to which that goes: what a small office's router carries.
const DARK_MAX: f64 = 50_000.0;
/// While doubling, canaries lost that end it at once when they are more than this share, beyond the usual.
const EARLY_LOST: u32 = 8;
const EARLY_SHARE: f64 = 0.25;
/// Canaries that a judgement needs of a trial that so much loss has begun: enough to tell all of it from half of it, and to have
/// those among them that tell a full table.
const EARLY_MIN: u32 = 64;

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
    /// The epoch of the last doubling, and answers since.
    doubled_at: Option<u32>,
    news: u64,
    has_answers: bool,
    /// Epochs before this one were sent at another rate, and are not judged.
    from: u32,
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
            doubled_at: None,
            news: 0,
            has_answers: false,
            from: 0,
        }
    }

    /// Takes up to `wanted` slots.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate far below 2^63")]
    pub(super) fn admit(&mut self, now: Duration, wanted: u32) -> Result<u32, Duration> {
        if self.pps >= RATE_MAX { Ok(wanted) } else { self.pacer.admit(now, self.pps.ceil() as u64, wanted) }
    }

    /// An epoch is running, before which so many answers have come that had not been told; the rate is doubled every so many
    /// epochs, which is when the last doubling has had answers.
    pub(super) fn begin(&mut self, epoch: u32, answers: u64, epochs_per_answer: u32) {
        self.news += answers;
        self.has_answers |= answers > 0;
        let doubled_at = *self.doubled_at.get_or_insert(epoch);
        let is_proved = self.news > 0 && epoch >= doubled_at.saturating_add(epochs_per_answer);
        let is_dark = !self.has_answers && self.pps < DARK_MAX && epoch >= doubled_at.saturating_add(DARK_EPOCHS);
        if self.is_doubling && (is_proved || is_dark) {
            self.doubled_at = Some(epoch);
            self.news = 0;
            let most = if is_proved { RATE_MAX } else { DARK_MAX };
            self.pps = (2.0 * self.pps).min(most);
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
        if self.trial.is_some_and(|trial| number < trial.from) || number < self.from {
            return;
        }
        self.epochs += 1;
        self.sum.probes += epoch.probes;
        self.sum.canaries += epoch.canaries;
        self.sum.answered += epoch.answered;
        self.sum.kept.add(epoch.kept);
        self.sum.twins.add(epoch.twins);
        let is_early = self.trial.is_some_and(|trial| trial.loss > EARLY_SHARE);
        let canaries_min = if is_early { EARLY_MIN } else { CANARIES_MIN };
        if self.sum.canaries < canaries_min && !self.is_lost_early() {
            if self.epochs > 100 {
                self.forget();
            }
            return;
        }
        let loss = f64::from(self.sum.canaries.saturating_sub(self.sum.answered)) / f64::from(self.sum.canaries);
        let sent = f64::from(self.sum.probes) / (f64::from(self.epochs) * EPOCH.as_secs_f64());
        let (epochs, is_full) = (self.epochs, is_full(self.sum.kept, self.sum.twins));
        self.forget();
        if is_full {
            self.pps = (self.pps.min(sent) / 2.0).max(RATE_MIN);
            (self.trial, self.is_doubling, self.clean, self.from) = (None, false, 0, now + 1);
            return;
        }
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

    /// Whether so much was lost while doubling that more need not be waited for.
    fn is_lost_early(&self) -> bool {
        let Epoch { canaries, answered, .. } = self.sum;
        let lost = canaries.saturating_sub(answered);
        let share = f64::from(lost) / f64::from(canaries.max(1));
        self.is_doubling && lost >= EARLY_LOST && share > self.usual + EARLY_SHARE
    }

    fn forget(&mut self) {
        (self.epochs, self.sum) = (0, Epoch::default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::epochs::Pair;
    use super::*;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
    fn count(number: f64) -> u32 {
        number.round() as u32
    }

    /// Drives a rate against a path for some seconds; returns what was sent and carried per second.
    fn drive(rate: &mut Rate, seconds: u32, fastest: f64, carries: impl Fn(f64) -> f64) -> (f64, f64) {
        let lag = 3;
        let mut history: Vec<Epoch> = Vec::new();
        let (mut sent, mut carried) = (0.0, 0.0);
        for number in 1..=seconds * 20 {
            rate.begin(number, 1, 1);
            let probes = rate.pps().min(fastest) / 20.0;
            let share = carries(probes * 20.0);
            sent += probes;
            carried += probes * share;
            let canaries = probes / 16.0;
            history.push(Epoch {
                probes: count(probes),
                canaries: count(canaries),
                answered: count(canaries * share).min(count(canaries)),
                ..Epoch::default()
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
    fn without_answers_the_rate_doubles_once_a_second_up_to_what_any_router_carries() {
        let mut rate = Rate::new(400.0);
        let mut seconds = Vec::new();
        for epoch in 1000..1400 {
            rate.begin(epoch, 0, 1);
            if (epoch - 1000) % 20 == 0 {
                seconds.push(rate.pps());
            }
        }
        assert_eq!(seconds[..4], [400.0, 800.0, 1600.0, 3200.0]);
        assert_eq!(seconds.last(), Some(&DARK_MAX));
        rate.begin(1401, 1, 1);
        assert!(rate.pps() > DARK_MAX, "an answer is a proof");
    }

    #[test]
    fn a_doubling_needs_answers_since_the_last_one() {
        let mut rate = Rate::new(400.0);
        rate.begin(10, 5, 1);
        (11..100).for_each(|epoch| rate.begin(epoch, 0, 1));
        assert!((rate.pps() - 800.0).abs() < 1e-9, "{}", rate.pps());
        let mut far = Rate::new(400.0);
        (10..16).for_each(|epoch| far.begin(epoch, 5, 3));
        assert!((far.pps() - 800.0).abs() < 1e-9, "no more often than answers take: {}", far.pps());
    }

    /// Judges epochs of which new flows and those kept going lose these shares, for some seconds.
    fn lose(rate: &mut Rate, epochs: std::ops::Range<u32>, fresh: u32, known: u32) {
        for number in epochs {
            rate.begin(number, 1, 1);
            let canaries = 20;
            let of = |lost: u32| Pair { sent: 5, answered: 5 - 5 * lost / 100 };
            let (answered, probes) = (canaries - canaries * fresh / 100, count(rate.pps().min(20_000.0) / 20.0));
            rate.judge(number, Epoch { probes, canaries, answered, kept: of(known), twins: of(fresh) }, number);
        }
    }

    #[test]
    fn new_flows_that_fail_beside_old_ones_that_answer_slow_the_scan_down_for_as_long_as_they_do() {
        let mut full = Rate::new(20_000.0);
        lose(&mut full, 1..200, 80, 0);
        assert!(full.pps() <= 2.0 * RATE_MIN && full.usual() < 0.01, "{} {}", full.pps(), full.usual());
        lose(&mut full, 200..2000, 0, 0);
        assert!(full.pps() > 1000.0, "{}", full.pps());
        let mut lossy = Rate::new(20_000.0);
        lose(&mut lossy, 1..200, 80, 80);
        assert!(lossy.pps() > 10_000.0 && lossy.usual() > 0.7, "a bad link loses both: {}", lossy.pps());
    }
}
