//! What one host loses beyond the path that all share: a limit on new connections before it, a slow line behind a fast one.
//!
//! Over all hosts of a job together the loss of one drowns. So each has a count of its own, and a host that loses clearly more than
//! all others is taken out of theirs: it is asked as often as its own loss asks for, at a rate of its own that is found as that of
//! a path is ([`crate::pace::throttle`]). Only such hosts cost more than the count.

use std::time::Duration;

use super::ConnectScan;
use crate::loss::LossEstimate;
use crate::pace::throttle::Throttle;
use crate::scan::Attempt;
use crate::slot_map::Key;

/// Tries lost before a host is judged by itself.
const LOST_MIN: u64 = 20;
/// Answers of all others before they can be compared with.
const OTHERS_MIN: u64 = 50;
/// Its loss must be so many times that of the others, and so much more.
const TIMES: f64 = 2.0;
const EXCESS: f64 = 0.1;
/// A little more than what was carried, since what was lost to chance was not the pace's.
const ROOM: f64 = 1.2;

/// What is known of one host's own path.
#[derive(Debug, Default)]
pub(super) struct OwnPath {
    pub(super) loss: LossEstimate,
    /// When it was sent to first, and last.
    first_sent_at: Option<Duration>,
    last_sent_at: Duration,
    /// Its own limit, if it loses more than the others.
    throttle: Option<Box<Throttle>>,
}

impl OwnPath {
    /// Whether the host loses more than the others.
    pub(super) fn differs(&self) -> bool {
        self.throttle.is_some()
    }

    /// Takes a slot of the host's own rate.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        self.throttle.as_mut().map_or(Ok(()), |throttle| throttle.admit(now))
    }

    /// A try is sent, whose answer takes at most `wait`.
    pub(super) fn sent(&mut self, now: Duration, wait: Duration, attempt: &mut Attempt) {
        self.first_sent_at.get_or_insert(now);
        self.last_sent_at = now;
        if let Some(throttle) = &mut self.throttle {
            throttle.sent(now, wait, attempt.number, &mut attempt.own_history);
        }
    }

    /// Its loss, if that is not the others'.
    pub(super) fn own_loss(&self) -> Option<&LossEstimate> {
        self.differs().then_some(&self.loss)
    }

    /// Whether it loses so much more than the `others` that it has to be judged by itself.
    fn stands_out(&self, others: &LossEstimate) -> bool {
        self.loss.lost() >= LOST_MIN
            && others.answers() >= OTHERS_MIN
            && self.loss.rate() > TIMES * others.rate() + EXCESS
    }

    /// Judges it by itself from now on, at what got through.
    pub(super) fn part(&mut self) {
        let until = self.last_sent_at;
        let seconds = until.saturating_sub(self.first_sent_at.unwrap_or(until)).as_secs_f64().max(0.1);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let carried = self.loss.answers() as f64 / seconds;
        self.throttle = Some(Box::new(Throttle::limited(carried * ROOM)));
    }

    /// Its ports are asked once more, at another pace: what was lost before says nothing of it.
    pub(super) fn begin_round(&mut self) {
        if self.differs() {
            self.loss = LossEstimate::default();
        }
    }
}

impl ConnectScan {
    /// Takes in what an answer says of loss: of its host's own, or of the path that all share.
    pub(super) fn note_loss(&mut self, key: Key, attempt: &Attempt, were_lost: bool) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        let own = &mut host.own;
        own.loss.answered(if were_lost { attempt.number } else { 1 });
        host.rounds.tries.answered(if were_lost { attempt.number } else { 1 });
        if let Some(throttle) = &mut own.throttle {
            return throttle.answered(attempt.number, were_lost, &attempt.own_history);
        }
        self.measures.note_loss(attempt, were_lost, &mut self.pace.connections());
        if own.stands_out(&self.measures.loss_without(&own.loss)) {
            self.measures.forget_loss(&own.loss);
            own.part();
        }
    }

    /// How often a port of a host is asked before its silence is believed.
    pub(super) fn tries_wanted(&self, key: Key) -> u8 {
        let own = self.hosts.get(key).and_then(|host| host.own.own_loss());
        self.measures.tries_wanted_with(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(first: u32, second: u32) -> LossEstimate {
        let mut loss = LossEstimate::default();
        (0..first).for_each(|_| loss.answered(1));
        (0..second).for_each(|_| loss.answered(2));
        loss
    }

    #[test]
    fn a_host_stands_out_by_losing_clearly_more_than_many_others() {
        let host = |first, second| OwnPath { loss: loss(first, second), ..OwnPath::default() };
        assert!(host(50, 50).stands_out(&loss(1000, 0)));
        assert!(!host(50, 50).stands_out(&loss(10, 0)), "of few others nothing is known");
        assert!(!host(5, 15).stands_out(&loss(1000, 0)), "fifteen may be a burst");
        assert!(!host(500, 60).stands_out(&loss(1000, 100)), "the path loses as well");
    }

    #[test]
    fn what_parts_is_asked_at_what_got_through() {
        let mut own =
            OwnPath { loss: loss(500, 500), first_sent_at: Some(Duration::from_secs(1)), ..OwnPath::default() };
        own.last_sent_at = Duration::from_secs(3);
        assert!(own.own_loss().is_none() && own.admit(Duration::from_secs(2)).is_ok());
        own.part();
        assert!(own.differs() && own.own_loss().is_some());
        let granted = (0..2000).filter(|at| own.admit(Duration::from_micros(3_000_000 + 500 * at)).is_ok()).count();
        assert!((590..=620).contains(&granted), "1000 answers in two seconds, and a fifth: {granted} in one");
    }
}
