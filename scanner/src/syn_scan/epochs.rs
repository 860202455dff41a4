//! How much the path loses, by when: canaries counted in epochs of a twentieth of a second.
//!
//! A canary is a probe to a port that is known to answer. One that stays unanswered was lost, which silence elsewhere
//! does not say; so canaries measure the loss of a moment, and with it what the other probes of that moment are worth.

use std::time::Duration;

/// Length of an epoch: long enough for some canaries, short beside the time a rate needs to matter.
pub(super) const EPOCH: Duration = Duration::from_millis(50);
/// Epochs remembered: 12.8 seconds; loss before that is judged by the whole.
const EPOCHS: usize = 256;
const EPOCHS_MAX: u32 = 256;
/// Epochs that are complete and still told apart; the rest of the ring is for those that are not.
const REMEMBERED: u32 = 190;
/// Before any canary, the path is taken to lose one round trip in ten: half of one out of five.
const PRIOR_LOST: f64 = 0.5;
const PRIOR_SENT: f64 = 5.0;
/// Before the first canary, but with some after it: as likely lost as not.
const UNMEASURED: f64 = 0.5;
/// A moment with fewer canaries than this leans on the whole.
const MOMENT_WEIGHT: f64 = 10.0;

/// What went out and came back in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Epoch {
    /// Probes of every kind.
    pub(super) probes: u32,
    pub(super) canaries: u32,
    pub(super) answered: u32,
    /// Canaries in a flow that is kept going, which a device that is full of flows lets through all the same.
    pub(super) kept: Pair,
    /// The same question to the same host in new flows; these are among the canaries as well.
    pub(super) twins: Pair,
}

/// How many canaries of one kind were sent and answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) sent: u32,
    pub(super) answered: u32,
}

impl Pair {
    /// These and others.
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
    }

    fn lost(self) -> f64 {
        f64::from(self.sent.saturating_sub(self.answered)) / f64::from(self.sent.max(1))
    }
}

/// Canaries in a flow that is kept going, and their twins, without which nothing is said of new flows.
const PAIRS_MIN: u32 = 16;
/// How many times more rarely the first must get lost, and how much the second: on a link that loses a third of both, one run of
/// sixteen in a hundred looks like that.
const KEPT_TIMES: f64 = 4.0;
const TWINS_LOST: f64 = 0.25;

/// Whether new flows fail where one that is kept going to the same host does not: something on the way has no room for more.
pub(super) fn is_full(kept: Pair, twins: Pair) -> bool {
    let is_known = kept.sent >= PAIRS_MIN && twins.sent >= PAIRS_MIN;
    is_known && twins.lost() > TWINS_LOST && kept.lost() * KEPT_TIMES < twins.lost()
}

/// The epochs of one path.
#[derive(Debug)]
pub(super) struct Epochs {
    ring: Vec<Epoch>,
    /// Canaries sent and lost up to and including an epoch, once it is complete.
    sums: Vec<(u32, u32)>,
    first: u32,
    now: u32,
    /// The first epoch whose answers may still come.
    complete: u32,
    total: (u32, u32),
    /// When the first canary was sent: what came before is only known by the rest.
    first_canary: Option<u32>,
}

impl Epochs {
    pub(super) fn new(now: Duration) -> Self {
        let now = number(now);
        Self {
            ring: vec![Epoch::default(); EPOCHS],
            sums: vec![(0, 0); EPOCHS],
            first: now,
            now,
            complete: now,
            total: (0, 0),
            first_canary: None,
        }
    }

    /// Moves on to `now`; hands each epoch that is complete, because `wait` has passed since its end, to `judge`.
    pub(super) fn advance(&mut self, now: Duration, wait: Duration, mut judge: impl FnMut(u32, Epoch)) {
        let next = number(now);
        if next == self.now {
            return;
        }
        let complete = number(now.saturating_sub(wait)).max(next.saturating_sub(REMEMBERED));
        while self.complete < complete.min(self.now + 1) {
            let epoch = *self.slot(self.complete);
            let lost = epoch.canaries.saturating_sub(epoch.answered);
            self.total = (self.total.0 + epoch.canaries, self.total.1 + lost);
            self.close();
            judge(self.complete - 1, epoch);
        }
        // A pause: nothing was sent in these.
        self.complete = self.complete.max(complete.saturating_sub(REMEMBERED));
        while self.complete < complete {
            self.close();
        }
        for fresh in self.now + 1..=next.min(self.now + EPOCHS_MAX) {
            *self.slot(fresh) = Epoch::default();
        }
        self.now = next;
    }

    /// The epoch that is running.
    pub(super) fn current(&self) -> u32 {
        self.now
    }

    /// So many probes were sent, and so many canaries among them.
    pub(super) fn sent(&mut self, probes: u32, canaries: u32) {
        if canaries > 0 {
            self.first_canary.get_or_insert(self.now);
        }
        let epoch = self.slot(self.now);
        epoch.probes += probes;
        epoch.canaries += canaries;
    }

    /// A canary that was sent at a time has answered.
    pub(super) fn answered(&mut self, sent_at: Duration) {
        let at = number(sent_at);
        if at >= self.complete && at <= self.now {
            let epoch = self.slot(at);
            // An answer may come twice.
            epoch.answered = (epoch.answered + 1).min(epoch.canaries);
        }
    }

    /// A canary was sent in a flow that is kept going, or its twin in a new one.
    pub(super) fn sent_of_pair(&mut self, is_kept: bool) {
        let epoch = self.slot(self.now);
        let pair = if is_kept { &mut epoch.kept } else { &mut epoch.twins };
        pair.sent += 1;
    }

    /// One that was sent at a time has answered.
    pub(super) fn answered_of_pair(&mut self, is_kept: bool, sent_at: Duration) {
        let at = number(sent_at);
        if at >= self.complete && at <= self.now {
            let epoch = self.slot(at);
            let pair = if is_kept { &mut epoch.kept } else { &mut epoch.twins };
            pair.answered = (pair.answered + 1).min(pair.sent);
        }
    }

    /// Canaries whose fate is known.
    pub(super) fn known(&self) -> u32 {
        self.total.0
    }

    /// Share of round trips lost, over all that is known.
    pub(super) fn loss(&self) -> f64 {
        let (sent, lost) = self.total;
        (f64::from(lost) + PRIOR_LOST) / (f64::from(sent) + PRIOR_SENT)
    }

    /// Share of round trips lost, as it was measured: 0 before there was anything to measure.
    pub(super) fn measured_loss(&self) -> f64 {
        let (sent, lost) = self.total;
        if sent == 0 { 0.0 } else { f64::from(lost) / f64::from(sent) }
    }

    /// Share of round trips lost among what was sent in these epochs, the last one included.
    ///
    /// Of the time before the first canary it is only known that nobody measured it: a burst of first probes may have
    /// been lost whole, whatever became of canaries after it.
    pub(super) fn loss_between(&self, from: u32, to: u32) -> f64 {
        let to = to.max(from);
        let measured = self.measured_between(from, to);
        let Some(first) = self.first_canary.filter(|first| from < *first) else { return measured };
        let unmeasured = f64::from(first.min(to + 1) - from) / f64::from(to + 1 - from);
        unmeasured * measured.max(UNMEASURED) + (1.0 - unmeasured) * measured
    }

    fn measured_between(&self, from: u32, to: u32) -> f64 {
        let oldest = self.first.max(self.complete.saturating_sub(REMEMBERED));
        let to = to.min(self.complete.saturating_sub(1)).max(oldest);
        let from = from.clamp(oldest, to);
        let sum = |epoch: u32| self.sums.get(epoch as usize % EPOCHS).copied().unwrap_or_default();
        let before = if from > self.first { sum(from - 1) } else { (0, 0) };
        let until = if self.complete > self.first { sum(to) } else { (0, 0) };
        let sent = f64::from(until.0.saturating_sub(before.0));
        let lost = f64::from(until.1.saturating_sub(before.1));
        (lost + MOMENT_WEIGHT * self.loss()) / (sent + MOMENT_WEIGHT)
    }

    /// Counts an epoch as complete.
    fn close(&mut self) {
        if let Some(sum) = self.sums.get_mut(self.complete as usize % EPOCHS) {
            *sum = self.total;
        }
        self.complete += 1;
    }

    fn slot(&mut self, epoch: u32) -> &mut Epoch {
        self.ring.get_mut(epoch as usize % EPOCHS).expect("a remainder is below its divisor")
    }
}

fn number(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / EPOCH.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// Sends `canaries` in each of `count` epochs from `now` on; every `lost`-th is lost.
    fn run(epochs: &mut Epochs, now: &mut Duration, count: u32, canaries: u32, lost: u32) {
        for _ in 0..count {
            for canary in 0..canaries {
                epochs.sent(1, 1);
                if lost == 0 || canary % lost != 0 {
                    epochs.answered(*now);
                }
            }
            *now += EPOCH;
            epochs.advance(*now, WAIT, |_, _| {});
        }
    }

    #[test]
    fn the_loss_of_a_moment_is_told_from_that_of_another() {
        let mut now = Duration::from_secs(1);
        let mut epochs = Epochs::new(now);
        assert!((epochs.loss() - 0.1).abs() < 1e-9, "nothing is known");
        let begin = epochs.current();
        run(&mut epochs, &mut now, 10, 100, 2);
        let between = epochs.current();
        run(&mut epochs, &mut now, 10, 100, 0);
        let end = epochs.current();
        run(&mut epochs, &mut now, 5, 0, 0);
        assert!((epochs.loss_between(begin, between - 1) - 0.5).abs() < 0.01);
        assert!(epochs.loss_between(between, end - 1) < 0.01);
        assert!((epochs.measured_loss() - 0.25).abs() < 1e-9);
    }

    #[test]
    fn what_was_sent_before_the_first_canary_is_not_judged_by_later_ones() {
        let mut now = Duration::from_secs(1);
        let mut epochs = Epochs::new(now);
        let begin = epochs.current();
        run(&mut epochs, &mut now, 4, 0, 0);
        run(&mut epochs, &mut now, 20, 100, 0);
        assert!(epochs.loss_between(begin, begin + 3) >= UNMEASURED);
        assert!((epochs.loss_between(begin, begin + 7) - UNMEASURED / 2.0).abs() < 0.02);
        assert!(epochs.loss_between(begin + 4, begin + 7) < 0.01);
    }

    #[test]
    fn long_pauses_and_long_scans_keep_their_figures() {
        let mut now = Duration::from_secs(1);
        let mut epochs = Epochs::new(now);
        run(&mut epochs, &mut now, 1000, 10, 10);
        now += Duration::from_secs(3600);
        epochs.advance(now, WAIT, |_, _| {});
        let from = epochs.current();
        run(&mut epochs, &mut now, 30, 10, 5);
        assert!((epochs.loss_between(from, from + 20) - 0.2).abs() < 0.02, "{}", epochs.loss_between(from, from + 20));
        assert!((epochs.loss() - 0.1).abs() < 0.01);
    }
}
