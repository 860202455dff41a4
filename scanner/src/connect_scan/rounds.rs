//! Hosts of which a round of tries has missed more than it may are asked once more.
//!
//! A port is given up after as many tries as the loss of that time asks for. While nobody knows yet how little a host or its path
//! takes, nearly all of them are lost, and with them the ports. What a round has missed shows in its own answers ([`crate::scan::Tries`]):
//! if that is too much, all ports of which nothing was heard are asked again, at the pace that was found meanwhile. What is still likely
//! to be missing when a host ends goes into the estimate of the unit, and is told with the host if it is much.

use super::ConnectScan;
use super::host::Host;
use crate::finding::likely_found;
use crate::scan::Tries;
use crate::slot_map::Key;

/// Rounds of a host at most: the first finds the pace, the second what is there, the third what the pace still lost.
const ROUNDS_MAX: u8 = 3;
/// Of a thousandth that the scan may miss, half is left to what is not silence: a host is asked again if a round has missed more.
const MISSED_SHARE: f64 = 0.5;
/// No more is told to be missed than this: it has answered once.
const UNPROVED_MAX: f64 = 0.99;
/// Answers of a host without which its tries say too little, and those of all are taken.
const ANSWERS_MIN: u32 = 50;

/// The rounds of one host.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Tries of the running round.
    pub(super) tries: Tries,
    /// Rounds before it, and the share that was missed in each of them.
    pub(super) number: u8,
    missed_before: f64,
}

impl Rounds {
    /// Share missed in every round, this one included; `all` are the tries of all hosts.
    fn missed(&self, all: &Tries) -> f64 {
        let before = if self.number == 0 { 1.0 } else { self.missed_before };
        // A second round that brings hardly anything says as little of loss as of ports.
        let known = if self.tries.answers() >= ANSWERS_MIN { &self.tries } else { all };
        before * known.missed()
    }
}

impl Host {
    /// How many ports have answered.
    fn answers(&self) -> u32 {
        self.opened + self.closed
    }
}

impl ConnectScan {
    /// Asks a host that is about to end for its silent ports once more; false if it need not be.
    pub(super) fn begin_round(&mut self, key: Key) -> bool {
        let missed_max = (1.0 - self.plan.spec().confidence) * MISSED_SHARE;
        let is_asked_by_need = self.limits.tries.is_none();
        let missed = self.missed(key);
        let Some(host) = self.hosts.get_mut(key) else { return false };
        let may_be = host.up.is_some()
            && host.not_sent.is_none()
            && !host.is_middlebox()
            && is_asked_by_need
            && !host.pulse.has_stopped();
        let is_done = missed <= missed_max || host.rounds.number + 1 >= ROUNDS_MAX;
        if !may_be || is_done || host.answers() >= self.plan.port_count() {
            return false;
        }
        let was_others = !host.own.differs();
        if was_others && host.rounds.tries.answers() >= ANSWERS_MIN {
            self.measures.forget_loss(&host.own.loss);
            host.own.part();
        }
        host.own.begin_round();
        host.unproved = 0;
        host.rounds = Rounds { tries: Tries::default(), number: host.rounds.number + 1, missed_before: missed };
        host.step = 0;
        self.line_up(key);
        true
    }

    /// Share of what a host would answer that was missed.
    fn missed(&self, key: Key) -> f64 {
        let Some(host) = self.hosts.get(key) else { return 0.0 };
        let asked = if host.up.is_some() { self.plan.port_count() } else { 1 };
        // Of ports that nothing was let through to nobody knows anything.
        let unproved = (f64::from(host.unproved) / f64::from(asked.max(1))).min(UNPROVED_MAX);
        host.rounds.missed(self.measures.tries()).max(unproved).max(host.pulse.missed_of(self.plan.port_count()))
    }

    /// Takes a host that ends into the estimate of what was found.
    pub(super) fn account(&mut self, key: Key) {
        let missed = self.missed(key);
        let Some(host) = self.hosts.get(key).filter(|host| host.not_sent.is_none() && !host.is_middlebox()) else {
            return;
        };
        if host.up.is_none() {
            return self.recall.silent(missed);
        }
        let (answers, count) = (host.answers(), self.plan.port_count());
        let found = self.recall.host(answers, count.saturating_sub(answers), missed);
        let told = likely_found(found).map(|observation| host.scanned.finding(observation));
        told.into_iter().for_each(|finding| self.results.tell(finding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_round_has_missed_is_the_product_of_what_each_did() {
        let lossy = |of: u32| {
            let mut tries = Tries::default();
            for port in 0..1000 {
                tries.sent(1);
                if port % of == 0 {
                    tries.sent(2);
                }
                tries.answered(if port % of == 0 { 2 } else { 1 });
            }
            (0..of).for_each(|_| tries.sent(1));
            tries
        };
        let all = lossy(2);
        let first = Rounds { tries: lossy(2), ..Rounds::default() };
        let missed = first.missed(&all);
        assert!(missed > 0.0 && missed < 1.0, "{missed}");
        let second = Rounds { tries: lossy(2), number: 1, missed_before: missed };
        assert!((second.missed(&all) - missed * missed).abs() < 1e-9);
        let few = Rounds { number: 1, missed_before: missed, ..Rounds::default() };
        assert!((few.missed(&all) - missed * all.missed()).abs() < 1e-9, "of few answers the others' loss is taken");
    }
}
