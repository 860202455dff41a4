//! Hosts that may answer on every port, put to the test of [`crate::scan::middlebox`] by connections.

use std::ops::RangeInclusive;

use super::host::{Host, HostPhase};
use super::{ConnectScan, Flight};
use crate::finding::{Observation, PortState};
use crate::plan::Plan;
use crate::port::Port;
use crate::scan::discovery::DiscoveryPort;
use crate::scan::middlebox::{self, HANDFUL, Trial, Verdict};
use crate::slot_map::Key;

impl Host {
    /// Whether it answers on everything, so that nothing more is asked of it.
    pub(super) fn is_middlebox(&self) -> bool {
        self.trial.is_some_and(Trial::has_failed)
    }

    /// The number in its test that a probe has, which is for no port of the scan's.
    fn trial_of(&self, plan: &Plan, flight: &Flight) -> Option<u32> {
        let trial = self.trial.filter(|trial| flight.position.is_none() && !flight.is_pulse && !trial.is_over())?;
        middlebox::number_of(plan.spec(), self.scanned.target_index, trial, flight.port)
    }
}

/// The next port of a host's test, if it is on.
pub(super) fn next_trial(plan: &Plan, host: &mut Host) -> Option<DiscoveryPort> {
    let trial = host.trial.as_mut()?;
    let number = trial.next()?;
    let port = middlebox::port(plan.spec(), host.scanned.target_index, *trial, number);
    Some(DiscoveryPort { port, position: None })
}

impl ConnectScan {
    /// A port has answered: a host that has a handful of open ones and hardly a closed one is put to the test at once, one with
    /// dozens of them below 1024 or in a stretch above to another test, and of one that has more of those than there can be they are left
    /// out.
    pub(super) fn count_port(&mut self, key: Key, port: Port, state: PortState) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.opened += u32::from(state == PortState::Open);
        host.closed += u32::from(state == PortState::Closed);
        host.privileged.note(port.number, state);
        host.stretches.note(port.number, state);
        if let Some(range) = host.stretches.too_many(host.privileged, &host.heard, &self.plan.spec().ports) {
            return self.redirect(key, range);
        }
        if host.opened >= HANDFUL {
            self.begin_trial(key, false);
        }
    }

    /// Puts a host to a test that has answered all it was asked; false where there is no need, no way to it, or it was.
    pub(super) fn begin_last_trial(&mut self, key: Key) -> bool {
        let is_there = |host: &Host| host.not_sent.is_none() && !host.pulse.has_stopped();
        self.hosts.get(key).is_some_and(is_there) && self.begin_trial(key, true)
    }

    fn begin_trial(&mut self, key: Key, is_last: bool) -> bool {
        if self.hosts.get(key).is_none_or(Host::is_middlebox) {
            return false;
        }
        while is_last && let Some(range) = self.hosts.get_mut(key).and_then(|host| host.stretches.grown()) {
            self.redirect(key, range);
        }
        let Some(host) = self.hosts.get_mut(key) else { return false };
        let ports = (host.opened, host.closed);
        let spec = self.plan.spec();
        let due = Trial::due(host.trial, ports, host.privileged, spec);
        let look = || host.stretches.look(&host.heard, &spec.ports, is_last);
        let Some(trial) = due.or_else(|| Trial::of_stretch(host.trial, spec, look)) else { return false };
        host.trial = Some(trial);
        host.phase = HostPhase::Ports;
        if !host.queued {
            host.queued = true;
            self.line.push_back(key);
        }
        true
    }

    /// Whether a probe is one of its host's test.
    pub(super) fn is_trial(&self, flight: &Flight) -> bool {
        self.hosts.get(flight.host).is_some_and(|host| host.trial_of(&self.plan, flight).is_some())
    }

    /// A probe was answered, or given up (`None`), which may have been one of its host's test.
    pub(super) fn note_trial(&mut self, flight: &Flight, state: Option<PortState>) {
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        let Some(number) = host.trial_of(&self.plan, flight) else { return };
        let Some(trial) = &mut host.trial else { return };
        match state.filter(|state| matches!(state, PortState::Open | PortState::Closed)) {
            Some(state) => trial.answer(number, state),
            None => trial.give_up(number),
        }
        let is_over = trial.is_over();
        if !is_over {
            // There may be ports to be asked anew.
            return self.line_up(flight.host);
        }
        match trial.verdict(self.plan.spec(), host.scanned.target_index, &host.stretches) {
            Verdict::Nothing => {}
            Verdict::Cleared => self.results.tell(host.scanned.finding(Observation::Cleared)),
            Verdict::Everything => self.leave_alone(flight.host),
            Verdict::Range(range) => {
                self.redirect(flight.host, range);
                self.line_up(flight.host);
            }
            Verdict::Next(next) => {
                host.trial = Some(next);
                self.line_up(flight.host);
            }
        }
    }

    /// A range of a host's ports is redirected to one listener: what is open there means nothing, and no more of it is asked.
    fn redirect(&mut self, key: Key, range: RangeInclusive<u16>) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        let redirected = host.stretches.redirect(range);
        let ports = &self.plan.spec().ports;
        let asked = redirected.range.clone().filter_map(|port| ports.position(Port::tcp(port)));
        asked.for_each(|position| host.heard.mark_answered(position));
        host.opened -= redirected.open;
        host.privileged = host.privileged.without(redirected.privileged);
        self.results.tally.open_ports -= u64::from(redirected.open);
        self.results.tell(host.scanned.finding(redirected.observation()));
    }

    /// A host answers on everything: its open ports mean nothing, and no more of them are asked.
    fn leave_alone(&mut self, key: Key) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.step = u32::MAX;
        self.results.tally.open_ports -= u64::from(host.opened);
        self.results.tell(host.scanned.finding(Observation::Middlebox));
    }
}
