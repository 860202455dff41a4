//! Hosts that stop answering in the middle, found out by SYNs to ports that have answered ([`crate::scan::pulse`]).
//!
//! While such a question is out its host is asked nothing else, so that one that takes a few SYNs per second has room for it; and it is
//! asked as often as the path's loss calls for.

use std::time::Duration;

use super::epochs::EPOCH;
use super::rest::logarithm;
use super::target::{HostPhase, Target};
use super::{Reply, SynScan};
use crate::finding::Observation;
use crate::gate::{Stage, Verdict};
use crate::packet::probe::Probe;
use crate::port::Port;
use crate::scan::pulse::PAUSE;

/// Questions at least, and at most.
const ASKED: (f64, f64) = (3.0, 12.0);

impl Target {
    /// How many of its ports have been asked for the first time.
    fn asked(&self, ports: u32) -> u32 {
        if self.pass == 0 { self.step.min(ports) } else { ports }
    }
}

impl SynScan {
    /// A host has answered for itself.
    pub(super) fn note_pulse(&mut self, index: u64, reply: &Reply) {
        let (ports, is_once) = (self.ports, self.limits.tries == Some(1));
        let known = match reply.probe {
            // Not one at which each connection counts, and whoever wants a single try gets no other question.
            Probe::Syn(port) => !is_once && self.gate.of_port(Some(Port::tcp(port)), Stage::Service) == Verdict::Allow,
            // A filter that has had enough of connections may let these through.
            Probe::Ack(_) | Probe::Echo | Probe::Timestamp => false,
        };
        // Silences are measured to an epoch.
        let (now, within) = (self.epoch_began(), self.timeout() + EPOCH);
        let Some(target) = self.target(index) else { return };
        let (asked, phase) = (target.asked(ports), target.phase);
        let Some(heard) = target.heard.as_mut() else { return };
        if known {
            heard.pulse.know(reply.probe);
        }
        heard.pulse.answered(now, asked, heard.sent, within);
        if phase == HostPhase::Pulse {
            target.phase = HostPhase::Ports;
            let is_last = std::mem::take(&mut heard.is_ending);
            if is_last { self.conclude(index) } else { self.line_up(index) }
        }
    }

    /// Has a host that was silent for long asked nothing but whether it still answers.
    pub(super) fn begin_pulse(&mut self, index: u64) {
        let ports = self.ports;
        let Some(target) = self.target(index).filter(|target| target.phase == HostPhase::Ports) else { return };
        let asked = target.asked(ports);
        if target.heard.as_ref().is_some_and(|heard| !heard.is_middlebox() && heard.pulse.wants(asked)) {
            target.phase = HostPhase::Pulse;
        }
    }

    /// The same before a host ends; false where there is no need.
    pub(super) fn begin_last_pulse(&mut self, index: u64) -> bool {
        let ports = self.ports;
        let Some(target) = self.target(index).filter(|target| target.phase == HostPhase::Ports) else { return false };
        let (asked, is_complete) = (target.asked(ports), target.is_complete());
        let Some(heard) = target.heard.as_mut().filter(|heard| !is_complete && !heard.is_middlebox()) else {
            return false;
        };
        if !heard.pulse.wants_last(asked) {
            return false;
        }
        heard.is_ending = true;
        target.phase = HostPhase::Pulse;
        self.line_up(index);
        true
    }

    /// The time, as far as silences are measured by it: when the running epoch began.
    fn epoch_began(&self) -> Duration {
        EPOCH * self.moment.epoch
    }

    /// A known port refuses by the host's own word: it is not asked for this any more.
    pub(super) fn lose_known_port(&mut self, index: u64, probe: Probe) {
        let Some(target) = self.target(index).filter(|target| target.phase == HostPhase::Pulse) else { return };
        let Some(heard) = target.heard.as_mut() else { return };
        heard.pulse.refused(probe);
        let is_last = std::mem::take(&mut heard.is_ending);
        target.phase = HostPhase::Ports;
        if is_last { self.conclude(index) } else { self.line_up(index) }
    }

    /// The next question, one at a time.
    pub(super) fn next_pulse(&mut self, index: u64) -> Option<Probe> {
        let ports = self.ports;
        let target = self.target(index)?;
        let asked = target.asked(ports);
        let heard = target.heard.as_mut()?;
        if heard.pulse.wants(asked) { heard.pulse.ask() } else { None }
    }

    /// The answer to a question has had its time: there is another one, or the host has stopped answering.
    pub(super) fn end_pulse(&mut self, index: u64, now: Duration) {
        let asked_max = (self.miss_max.ln() / logarithm(self.path.loss())).ceil().clamp(ASKED.0, ASKED.1);
        let began = self.epoch_began();
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        let Some(heard) = target.heard.as_mut() else { return };
        if !heard.pulse.missed(began, asked_max) {
            // The next one not at once: what is silent for a moment is left alone for that.
            target.is_held = true;
            return self.rest(index, now + PAUSE);
        }
        let probes = heard.pulse.sent();
        target.phase = HostPhase::Ports;
        // It tells nothing more of the path.
        self.canaries.retain(|canary| canary.address != address);
        self.kept = self.kept.filter(|(canary, _)| canary.address != address);
        self.results.findings.push(super::rest::scanned(index, address).finding(Observation::Stopped { probes }));
        self.settle(index);
    }
}
