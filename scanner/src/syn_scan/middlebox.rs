//! Hosts that may answer on every port, put to the test of [`crate::scan::middlebox`] by SYNs.
//!
//! A host with a handful of open ports and hardly a closed one is asked the drawn ports between its others, and again
//! whenever it has twice as many; what has not answered by the time that all else is asked is asked once more by itself, as
//! often as the loss of the moment calls for.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::rest::scanned;
use super::target::{Heard, HostPhase};
use super::{Reply, SynScan};
use crate::finding::Observation;
use crate::port::Port;
use crate::scan::middlebox::{self, HANDFUL, Trial, Verdict};
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
        if let Some(range) = heard.stretches.too_many(heard.privileged, &heard.ports, &spec.ports) {
            return self.redirect(index, range);
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
        if target.heard.is_none() || is_tested {
            return self.end_trial(index);
        }
        self.grow(index);
        let Some(heard) = self.target(index).and_then(|target| target.heard.as_mut()) else { return };
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

    /// A test that a target was put to last is over: it is settled, or put to another one.
    fn leave_trial(&mut self, index: u64) {
        let spec = Arc::clone(self.plan.spec());
        self.grow(index);
        let Some(heard) = self.target(index).and_then(|target| target.heard.as_mut()) else { return };
        match heard.trial_due(&spec, true) {
            Some(due) => {
                heard.trial = Some(due);
                self.begin_trial(index);
            }
            None => self.settle(index),
        }
    }

    /// Takes open ports right beside redirected ranges for a part of them, once all have been asked.
    fn grow(&mut self, index: u64) {
        let grown = |scan: &mut Self| {
            let heard = scan.target(index).and_then(|target| target.heard.as_mut());
            heard.and_then(|heard| heard.stretches.grown())
        };
        while let Some(range) = grown(self) {
            self.redirect(index, range);
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
        if trial.is_over() {
            self.judge_trial(index, address);
        }
    }

    /// A test of a host is over.
    fn judge_trial(&mut self, index: u64, address: IpAddr) {
        let spec = Arc::clone(self.plan.spec());
        let Some(target) = self.target(index) else { return };
        let is_all = target.phase == HostPhase::Trial;
        let Some(heard) = target.heard.as_mut() else { return };
        let Some(trial) = heard.trial.as_mut() else { return };
        match trial.verdict(&spec, index, &heard.stretches) {
            Verdict::Everything => return self.leave_alone(index),
            Verdict::Next(next) => {
                heard.trial = Some(next);
                if is_all {
                    self.begin_trial(index);
                }
                return;
            }
            Verdict::Cleared => self.results.findings.push(scanned(index, address).finding(Observation::Cleared)),
            Verdict::Range(range) => self.redirect(index, range),
            Verdict::Nothing => {}
        }
        if is_all {
            self.leave_trial(index);
        }
    }

    /// A range of a host's ports is redirected to one listener: what is open there means nothing, and no more of it is asked.
    fn redirect(&mut self, index: u64, range: RangeInclusive<u16>) {
        let spec = Arc::clone(self.plan.spec());
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        let Some(heard) = target.heard.as_mut() else { return };
        let redirected = heard.stretches.redirect(range);
        let range = &redirected.range;
        for position in range.clone().filter_map(|port| spec.ports.position(Port::tcp(port))) {
            heard.mark_answered(position);
        }
        heard.opened -= redirected.open;
        heard.privileged = heard.privileged.without(redirected.privileged);
        heard.unheard.retain(|port| !range.contains(port));
        self.banner_grabs.retain(|grab| grab.index != index || !range.contains(&grab.port));
        self.results.tally.open_ports -= u64::from(redirected.open);
        self.results.findings.push(scanned(index, address).finding(redirected.observation()));
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
        let (address, is_all) = (target.address, target.phase == HostPhase::Trial);
        let trial = target.heard.as_mut().and_then(|heard| heard.trial.as_mut());
        if let Some(trial) = trial.filter(|trial| !trial.is_over()) {
            trial.end();
            self.judge_trial(index, address);
            if is_all {
                return;
            }
        }
        self.settle(index);
    }
}
