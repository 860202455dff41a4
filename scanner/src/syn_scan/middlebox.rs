//! Hosts that may answer on every port, put to the test of [`crate::scan::middlebox`] by SYNs.
//!
//! A host with a handful of open ports and hardly a closed one is asked the drawn ports between its others, and again
//! whenever it has twice as many; what has not answered by the time that all else is asked is asked once more by itself, as
//! often as the loss of the moment calls for.

use std::net::IpAddr;
use std::sync::Arc;

use super::rest::scanned;
use super::target::{Heard, HostPhase};
use super::{Reply, SynScan};
use crate::finding::Observation;
use crate::scan::middlebox::{self, HANDFUL, Trial};
use crate::spec::ScanSpec;

impl Heard {
    /// Whether nearly all that was asked and answered is open, and that is more than an ordinary host has.
    fn is_suspicious(&self) -> bool {
        middlebox::is_suspicious(self.opened, self.closed)
    }

    /// Whether that, or as much of its privileged ports, or a test of others that is on, calls for going on with one.
    fn is_doubtful(&self) -> bool {
        let is_on = self.trial.is_some_and(|trial| trial.is_second() && !trial.is_over());
        self.is_suspicious() || self.privileged.are_doubtful() || is_on
    }

    /// The test that it is put to now, if any; `is_last` once all its ports have been asked.
    fn trial_due(&mut self, spec: &ScanSpec, is_last: bool) -> Option<Trial> {
        let due = Trial::due(self.trial, (self.opened, self.closed), self.privileged, spec);
        let look = || self.stretches.look(&self.ports, &spec.ports, is_last);
        due.or_else(|| Trial::of_stretch(self.trial, spec, look))
    }

    /// Whether it answers on everything.
    pub(super) fn is_middlebox(&self) -> bool {
        self.trial.is_some_and(Trial::has_failed)
    }

    /// Whether listening to its open ports waits for the test.
    pub(super) fn holds_banner_grabs(&self) -> bool {
        let has_passed = self.trial.is_some_and(|trial| trial.is_over() && !trial.has_failed());
        self.is_suspicious() && self.opened > HANDFUL && !has_passed
    }
}

impl SynScan {
    /// One more port has answered: the host may be put to the test, or asked its ports once more.
    pub(super) fn try_host(&mut self, index: u64) {
        let (is_gentle, spec) = (self.is_gentle, Arc::clone(self.plan.spec()));
        let Some(heard) = self.target(index).and_then(|target| target.heard.as_mut()) else { return };
        if heard.privileged.are_too_many() {
            heard.trial = Some(Trial::failed());
            return self.leave_alone(index);
        }
        if is_gentle || heard.opened < HANDFUL {
            return;
        }
        if let Some(due) = heard.trial_due(&spec, false) {
            heard.trial = Some(due);
        } else if heard.is_suspicious() && heard.opened.is_power_of_two() {
            heard.trial.iter_mut().for_each(Trial::begin_round);
        }
    }

    /// The next port of a host's test, if it is on.
    pub(super) fn next_trial(&mut self, index: u64) -> Option<u16> {
        let trial = self.target(index)?.heard.as_mut()?.trial.as_mut()?;
        let (number, trial) = (trial.next()?, *trial);
        Some(middlebox::port(self.plan.spec(), index, trial, number))
    }

    /// Ends a target that has been asked everything, or puts it to the test first.
    pub(super) fn conclude(&mut self, index: u64) {
        let (is_gentle, spec) = (self.is_gentle, Arc::clone(self.plan.spec()));
        let Some(target) = self.target(index) else { return };
        let is_tested = target.phase == HostPhase::Trial || is_gentle;
        let Some(heard) = target.heard.as_mut().filter(|_| !is_tested) else { return self.end_trial(index) };
        match heard.trial_due(&spec, true) {
            Some(due) => heard.trial = Some(due),
            None if heard.is_doubtful() => {}
            None => return self.end_trial(index),
        }
        if heard.trial.is_none_or(Trial::is_over) {
            return self.settle(index);
        }
        self.account(index);
        self.begin_trial(index);
    }

    /// Asks a target nothing but the ports of its test.
    fn begin_trial(&mut self, index: u64) {
        let current = self.moment.epoch;
        let Some(target) = self.target(index) else { return };
        target.phase = HostPhase::Trial;
        target.exposure = 0.0;
        target.begin_pass(0, current);
        self.line_up(index);
    }

    /// A target has passed a test that it was put to last: it is settled, or put to another one.
    fn leave_trial(&mut self, index: u64) {
        let spec = Arc::clone(self.plan.spec());
        let Some(heard) = self.target(index).and_then(|target| target.heard.as_mut()) else { return };
        match heard.trial_due(&spec, true) {
            Some(due) => {
                heard.trial = Some(due);
                self.begin_trial(index);
            }
            None => self.settle(index),
        }
    }

    /// A port has answered that may be one of its host's test.
    pub(super) fn on_trial(&mut self, index: u64, port: u16, reply: &Reply) {
        let is_on = |target: &super::Target| {
            target.heard.as_ref().and_then(|heard| heard.trial).filter(|trial| !trial.is_over())
        };
        let Some(trial) = self.target(index).and_then(|target| is_on(target)) else { return };
        let Some(number) = middlebox::number_of(self.plan.spec(), index, trial, port) else { return };
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        let Some(heard) = target.heard.as_mut() else { return };
        let Some(trial) = heard.trial.as_mut() else { return };
        trial.answer(number, reply.state);
        if trial.has_failed() {
            self.leave_alone(index);
        } else if trial.is_over() {
            let (is_all, is_second) = (target.phase == HostPhase::Trial, trial.is_second());
            self.clear(index, address, is_second);
            if is_all {
                self.leave_trial(index);
            }
        }
    }

    /// A host answers on everything: its open ports mean nothing, and it is asked nothing more.
    fn leave_alone(&mut self, index: u64) {
        let Some(target) = self.target(index) else { return };
        let (address, opened) = (target.address, target.heard.as_ref().map_or(0, |heard| heard.opened));
        self.results.tally.open_ports -= u64::from(opened);
        self.results.findings.push(scanned(index, address).finding(Observation::Middlebox));
        self.settle(index);
    }

    /// The test of a target, if there is one, is over with what was heard; and so is the target.
    fn end_trial(&mut self, index: u64) {
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        if let Some(trial) =
            target.heard.as_mut().and_then(|heard| heard.trial.as_mut()).filter(|trial| !trial.is_over())
        {
            trial.end();
            let (is_all, is_second) = (target.phase == HostPhase::Trial, trial.is_second());
            self.clear(index, address, is_second);
            if is_all {
                return self.leave_trial(index);
            }
        }
        self.settle(index);
    }

    /// A host has passed a test; that is told once.
    fn clear(&mut self, index: u64, address: IpAddr, is_second: bool) {
        let cleared = (!is_second).then(|| scanned(index, address).finding(Observation::Cleared));
        self.results.findings.extend(cleared);
    }
}
