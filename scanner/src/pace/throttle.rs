//! Slows down when the network loses more because of us, and only then.
//!
//! Time is cut into epochs. Each try is noted in the epoch in which it was sent: carried, if it was answered, or lost,
//! if a later try of the same probe was answered. (A probe that is never answered says nothing.) An epoch is judged
//! when the answers to its retransmissions have had time to come. If it lost more than is usual here, what it carried
//! per second of sending is what the path can carry, and becomes the limit. Then either the loss must be gone, or as
//! much must be carried as before. If neither is so, the loss was not ours (a bad link loses the same share at any
//! speed): the limit is taken back, and that loss is what is usual here. A limit that helped is raised with every clean
//! epoch, faster and faster, and set anew when loss comes back: multiplicative decrease, on the rate instead of the
//! window, since a window is full of probes that wait in silence.
//!
//! A scan that begins low ([`Throttle::begin_at`]) has a limit from the start, which doubles as long as answers come: they prove
//! that what was sent since the last doubling got through. While nothing has ever answered it doubles by the clock, up to what
//! a small office's router carries.

use std::time::Duration;

use super::Pacer;

/// An epoch is at least this long: two of the shortest waits, so that it holds whole exchanges.
const EPOCH_MIN: Duration = Duration::from_millis(200);
/// An epoch is judged this many epochs after it has ended.
const LAG: u32 = 2;
/// Epochs remembered; tries older than that are not noted any more. A power of two, so that numbers may wrap.
const EPOCHS: usize = 64;
/// Tries of one probe that are noted.
const TRIES: usize = 10;
/// Epochs are put together until this many tries are noted: ten lost of a hundred are no chance.
const NOTED_MIN: u32 = 100;
/// But no more epochs than this: where hardly anything answers, a limit must not stay for want of proof.
const TOGETHER_MAX: u32 = 4;
/// Loss above the usual that counts as ours. Less than this costs fewer repeated probes than slowing down would gain.
const EXCESS: f64 = 0.1;
/// The same as a share of `usual * (1 - usual)`: the more is usual, the more it varies.
const SPREAD: f64 = 0.5;
/// After slowing down, ours is a loss that fell below this part of what it was.
const OURS: f64 = 0.5;
/// Only a slow-down to less than this shows in what is carried; smaller ones drown in the chance of who answers.
const SHOWS: f64 = 0.8;
/// Growth of the limit after the first clean epoch: slow, since a limit that was just set is what the path carries.
const GROWTH: f64 = 0.02;
/// Each further clean epoch in a row grows by so much more, up to the most: a limit that is far too low does not last.
const GROWTH_GROWTH: f64 = 1.2;
const GROWTH_MAX: f64 = 0.16;
/// No limit is below this many probes per second.
const RATE_MIN: f64 = 200.0;
/// A limit above this many probes per second is none.
const RATE_NO_LIMIT: f64 = 1e7;
/// While the limit doubles, time from one doubling to the next: half of the shortest wait for an answer, and more on a longer
/// path; and without any answer.
const DOUBLED_AFTER: Duration = Duration::from_millis(50);
const DARK_AFTER: Duration = Duration::from_secs(1);
/// The limit up to which it doubles without an answer, and the one from which on there is none.
const DARK_MAX: f64 = 50_000.0;
const BEGUN_MAX: f64 = 200_000.0;
/// Longer gaps between two probes are rest, not sending: a burst's speed is that of the burst.
const REST: Duration = Duration::from_millis(10);

/// When the tries of a probe were sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct History {
    epochs: [u16; TRIES],
}

/// What became of the tries of an epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    sent: u32,
    carried: u32,
    lost: u32,
    /// Time spent sending.
    sending: Duration,
    /// Epochs put together.
    count: u32,
}

/// A limit that has yet to prove itself.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Loss before it.
    loss: f64,
    /// Tries carried per second before it.
    carried: f64,
    /// What it left of the rate.
    factor: f64,
    /// The limit before it.
    limit: Option<f64>,
    /// The first epoch that is sent under it from begin to end.
    from: u32,
}

/// How far a low beginning has come.
#[derive(Debug, Clone, Copy, Default)]
struct Beginning {
    doubled_at: Option<Duration>,
    /// Answers since then.
    answers: u32,
    has_answers: bool,
    /// How long answers take at most.
    wait: Duration,
}

/// The limit of a job's scans on the rate at which they send.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    pacer: Pacer,
    /// Probes per second, while there is a limit.
    limit: Option<f64>,
    usual_loss: f64,
    trial: Option<Trial>,
    growth: f64,
    /// What is being put together until it can be judged.
    pool: Epoch,
    epochs: [Epoch; EPOCHS],
    /// Number of the running epoch.
    now: u32,
    began: Option<Duration>,
    sent_at: Duration,
    /// While the limit is that of a low beginning.
    beginning: Option<Beginning>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            pacer: Pacer::default(),
            limit: None,
            usual_loss: 0.0,
            trial: None,
            growth: GROWTH,
            pool: Epoch::default(),
            epochs: [Epoch::default(); EPOCHS],
            now: 0,
            began: None,
            sent_at: Duration::ZERO,
            beginning: None,
        }
    }
}

impl Throttle {
    /// Takes a slot for one probe.
    ///
    /// # Errors
    /// The moment before which nothing may be sent.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate far below 2^63")]
    pub(crate) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        self.go_on(now);
        match self.limit {
            None => Ok(()),
            Some(limit) => self.pacer.admit(now, limit.ceil() as u64, 1).map(|_| ()),
        }
    }

    /// One that has found out that so many probes per second get through.
    pub(crate) fn limited(pps: f64) -> Self {
        Self { limit: Some(pps.max(RATE_MIN)), ..Self::default() }
    }

    /// Begins with a limit of so many probes per second, unless it has begun.
    pub(crate) fn begin_at(&mut self, pps: f64) {
        if self.began.is_none() && self.beginning.is_none() {
            (self.limit, self.beginning) = (Some(pps), Some(Beginning::default()));
        }
    }

    /// Doubles the limit of a low beginning when it is time.
    fn go_on(&mut self, now: Duration) {
        let (Some(beginning), Some(limit)) = (&mut self.beginning, self.limit) else { return };
        let doubled_at = *beginning.doubled_at.get_or_insert(now);
        let is_proved = beginning.answers > 0 && now >= doubled_at + DOUBLED_AFTER.max(beginning.wait / 2);
        let is_dark = !beginning.has_answers && limit < DARK_MAX && now >= doubled_at + DARK_AFTER;
        if !is_proved && !is_dark {
            return;
        }
        (beginning.doubled_at, beginning.answers) = (Some(now), 0);
        self.limit = Some(2.0 * limit).filter(|limit| *limit < BEGUN_MAX);
        if self.limit.is_none() {
            self.beginning = None;
        }
    }

    /// A try was sent, number `attempt` of its probe, from 1; `wait` is how long answers take at most.
    pub(crate) fn sent(&mut self, now: Duration, wait: Duration, attempt: u8, history: &mut History) {
        self.beginning.iter_mut().for_each(|beginning| beginning.wait = wait);
        let began = *self.began.get_or_insert(now);
        if now >= began + EPOCH_MIN.max(2 * wait) {
            self.began = Some(now);
            self.now = self.now.wrapping_add(1);
            *self.epoch_mut(self.now) = Epoch::default();
            self.judge(self.now.wrapping_sub(LAG + 1));
        }
        let since_last = now.saturating_sub(self.sent_at).min(REST);
        self.sent_at = now;
        let epoch = self.epoch_mut(self.now);
        epoch.sent += 1;
        epoch.sending += since_last;
        if let Some(epoch) = history.epochs.get_mut(usize::from(attempt) - 1) {
            *epoch = short(self.now);
        }
    }

    /// A probe was answered on the try `attempt`; each try before it was lost if `were_lost`, or else only given up
    /// too early.
    pub(crate) fn answered(&mut self, attempt: u8, were_lost: bool, history: &History) {
        if let Some(beginning) = &mut self.beginning {
            beginning.answers += 1;
            beginning.has_answers = true;
        }
        let tries = history.epochs.get(..usize::from(attempt)).unwrap_or(&history.epochs);
        let Some((last, before)) = tries.split_last() else { return };
        if let Some(epoch) = self.recent(*last) {
            epoch.carried += 1;
        }
        for earlier in before.iter().filter(|_| were_lost) {
            if let Some(epoch) = self.recent(*earlier) {
                epoch.lost += 1;
            }
        }
    }

    /// The limit in probes per second, while there is one.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Takes in an epoch whose answers are in, and judges it as soon as enough is known.
    fn judge(&mut self, number: u32) {
        let is_before_trial = self.trial.is_some_and(|trial| number.wrapping_sub(trial.from) > u32::MAX / 2);
        if is_before_trial {
            return;
        }
        let Epoch { sent, carried, lost, sending, .. } = *self.epoch_mut(number);
        let pool = &mut self.pool;
        pool.sent += sent;
        pool.carried += carried;
        pool.lost += lost;
        pool.sending += sending;
        pool.count += 1;
        let noted = pool.carried + pool.lost;
        if noted >= NOTED_MIN {
            let pool = std::mem::take(&mut self.pool);
            self.decide(pool);
        } else if pool.count >= TOGETHER_MAX {
            let is_clean = f64::from(pool.lost) <= EXCESS * f64::from(noted);
            self.pool = Epoch::default();
            self.trial = None;
            self.grow(is_clean);
        }
    }

    fn decide(&mut self, pool: Epoch) {
        let loss = f64::from(pool.lost) / f64::from(pool.carried + pool.lost);
        let seconds = pool.sending.as_secs_f64().max(1e-6);
        let (rate, carried) = (f64::from(pool.sent) / seconds, f64::from(pool.carried) / seconds);
        let excess = EXCESS.max(SPREAD * self.usual_loss * (1.0 - self.usual_loss));
        match self.trial.take() {
            Some(trial) => {
                // Between what is carried if the loss was ours (as much) and if it was not (the limit's share).
                let is_carried = trial.factor < SHOWS && carried > trial.carried * trial.factor.sqrt();
                if loss > OURS * trial.loss && !is_carried {
                    self.usual_loss = loss;
                    self.limit = trial.limit;
                }
            }
            None if loss > self.usual_loss + excess => {
                let factor = (1.0 - loss) / (1.0 - self.usual_loss.min(loss));
                self.trial = Some(Trial { loss, carried, factor, limit: self.limit, from: self.now.wrapping_add(1) });
                self.limit = Some((self.limit.map_or(rate, |limit| limit.min(rate)) * factor).max(RATE_MIN));
                (self.growth, self.beginning) = (GROWTH, None);
            }
            None => {
                self.usual_loss = self.usual_loss.min(0.9 * self.usual_loss + 0.1 * loss);
                self.grow(true);
            }
        }
    }

    fn grow(&mut self, is_clean: bool) {
        let growth = if is_clean { self.growth } else { 0.0 };
        self.growth = if is_clean { (GROWTH_GROWTH * growth).min(GROWTH_MAX) } else { GROWTH };
        self.limit = self.limit.map(|limit| limit * (1.0 + growth)).filter(|limit| *limit < RATE_NO_LIMIT);
    }

    fn epoch_mut(&mut self, number: u32) -> &mut Epoch {
        self.epochs.get_mut(number as usize % EPOCHS).expect("a remainder is below its divisor")
    }

    /// The epoch with this short number, while it is remembered.
    fn recent(&mut self, number: u16) -> Option<&mut Epoch> {
        let age = short(self.now).wrapping_sub(number);
        (usize::from(age) < EPOCHS - 1).then(|| self.epoch_mut(self.now.wrapping_sub(age.into())))
    }
}

/// The low half of an epoch's number.
fn short(number: u32) -> u16 {
    u16::try_from(number & 0xffff).expect("masked to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// Sends as fast as it may, at most `fastest` per second, over a path that loses a try with the chance that
    /// `loss` gives for the present rate; lost tries are repeated after `WAIT`. Returns sent and carried per second.
    fn drive(throttle: &mut Throttle, seconds: u64, fastest: u64, loss: impl Fn(f64) -> f64) -> (f64, f64) {
        let start = throttle.began.unwrap_or(Duration::from_secs(1));
        let (mut now, mut sent, mut carried, mut drawn) = (start, 0.0, 0.0, 0_u64);
        let end = now + Duration::from_secs(seconds);
        let mut repeats: std::collections::VecDeque<(Duration, u8, History)> = std::collections::VecDeque::new();
        let mut recent: std::collections::VecDeque<Duration> = std::collections::VecDeque::new();
        while now < end {
            now += Duration::from_secs(1) / u32::try_from(fastest).unwrap();
            if throttle.admit(now).is_err() {
                continue;
            }
            let (attempt, mut history) = match repeats.front() {
                Some((due, ..)) if *due <= now => {
                    repeats.pop_front().map(|(_, attempt, history)| (attempt, history)).unwrap()
                }
                _ => (1, History::default()),
            };
            throttle.sent(now, WAIT, attempt, &mut history);
            sent += 1.0;
            recent.push_back(now);
            while recent.front().is_some_and(|time| *time + Duration::from_millis(50) < now) {
                recent.pop_front();
            }
            drawn += 1;
            let chance = (crate::permute::mix(drawn) >> 11) as f64 / (1_u64 << 53) as f64;
            if chance < loss(recent.len() as f64 * 20.0) {
                if attempt < 10 {
                    repeats.push_back((now + WAIT, attempt + 1, history));
                }
            } else {
                carried += 1.0;
                throttle.answered(attempt, true, &history);
            }
        }
        (sent / seconds as f64, carried / seconds as f64)
    }

    #[test]
    fn a_path_that_polices_is_found_and_used() {
        let mut throttle = Throttle::default();
        let (sent, carried) = drive(&mut throttle, 20, 100_000, |rate| 1.0 - (20_000.0 / rate).min(1.0));
        assert!(carried >= 0.8 * 20_000.0, "{carried} per second carried");
        assert!(sent <= 1.5 * 20_000.0, "{sent} per second sent, the first second included");
    }

    #[test]
    fn a_path_that_loses_the_same_at_any_speed_is_not_slowed() {
        for loss in [0.1, 0.36] {
            let mut throttle = Throttle::default();
            let (sent, _) = drive(&mut throttle, 20, 20_000, |_| loss);
            assert!(sent >= 0.85 * 20_000.0, "{sent} per second at {loss}");
        }
    }

    #[test]
    fn a_clean_path_is_never_limited() {
        let mut throttle = Throttle::default();
        drive(&mut throttle, 5, 50_000, |_| 0.0);
        assert_eq!(throttle.limit(), None);
    }

    #[test]
    fn a_low_beginning_doubles_with_answers_and_by_the_clock_in_the_dark() {
        let mut throttle = Throttle::default();
        throttle.begin_at(400.0);
        throttle.begin_at(9.0);
        assert_eq!(throttle.limit(), Some(400.0), "once");
        let (sent, _) = drive(&mut throttle, 2, 50_000, |_| 0.0);
        assert!(throttle.limit().is_none() && sent > 30_000.0, "{sent}");
        let (mut dark, mut rates) = (Throttle::default(), Vec::new());
        dark.begin_at(400.0);
        for millis in (1000..12_000).step_by(10) {
            let _ = dark.admit(Duration::from_millis(millis));
            rates.extend(dark.limit().filter(|_| millis % 1000 == 500));
        }
        assert_eq!(rates[..3], [400.0, 800.0, 1600.0]);
        assert!((DARK_MAX..2.0 * DARK_MAX).contains(rates.last().unwrap()), "{rates:?}");
    }

    #[test]
    fn a_low_beginning_ends_where_the_path_polices() {
        let mut throttle = Throttle::default();
        throttle.begin_at(400.0);
        let (sent, carried) = drive(&mut throttle, 20, 100_000, |rate| 1.0 - (20_000.0 / rate).min(1.0));
        assert!(carried >= 0.8 * 20_000.0, "{carried} per second carried");
        assert!(sent <= 1.5 * 20_000.0, "{sent} per second sent");
    }

    #[test]
    fn a_path_that_gets_better_is_used_again() {
        let mut throttle = Throttle::default();
        drive(&mut throttle, 10, 50_000, |rate| 1.0 - (5000.0 / rate).min(1.0));
        assert!(throttle.limit().unwrap() < 10_000.0);
        let (sent, _) = drive(&mut throttle, 30, 50_000, |_| 0.0);
        assert!(sent > 25_000.0, "{sent}");
    }
}
