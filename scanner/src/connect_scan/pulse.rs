//! Hosts that stop answering in the middle, found out by connections to ports that have answered ([`crate::scan::pulse`]).
//!
//! While such a question is out its host is asked nothing else, so that one that takes a few connections per second has room for it.

use std::cmp::Reverse;
use std::time::Duration;

use super::host::{Host, HostPhase};
use super::{ConnectScan, Flight};
use crate::finding::Observation;
use crate::gate::{Stage, Verdict};
use crate::port::Port;
use crate::scan::discovery::DiscoveryPort;
use crate::scan::pulse::PAUSE;
use crate::slot_map::Key;

/// So many questions must be in vain at least, and at most, each asked as often as any port.
const ASKED: (f64, f64) = (3.0, 12.0);
/// A host may be taken so often, all the same, for one that does not answer.
const WRONG_MAX: f64 = 5e-5;

impl Host {
    /// How many of its ports have been asked for the first time.
    fn asked(&self, ports: u32) -> u32 {
        if self.rounds.number == 0 { self.step.min(ports) } else { ports }
    }

    /// The next port to ask because nothing was heard for a while.
    pub(super) fn next_pulse(&mut self, ports: u32) -> Option<DiscoveryPort> {
        let is_there = self.up.is_some() && self.not_sent.is_none();
        let may_ask = is_there && !self.is_middlebox() && self.pulse.wants(self.asked(ports));
        let port = if may_ask { self.pulse.ask()? } else { return None };
        Some(DiscoveryPort { port, position: None })
    }

    /// Whether its other probes wait for a question that is out.
    pub(super) fn is_held_by_pulse(&self) -> bool {
        self.not_sent.is_none() && self.pulse.is_asking()
    }
}

impl ConnectScan {
    /// A port has answered for itself.
    pub(super) fn note_pulse(&mut self, now: Duration, flight: &Flight) {
        let ports = self.plan.port_count();
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        let (asked, address) = (host.asked(ports), host.scanned.address);
        let within = self.measures.rtt.timeout(address);
        let was_held = host.pulse.is_asking();
        host.pulse.answered(now, asked, u32::try_from(host.sent).unwrap_or(u32::MAX), within);
        // Nothing between this machine and itself bans it, and whoever wants a single try gets no other question.
        let is_watched = !address.is_loopback() && self.limits.tries != Some(1);
        // Not one at which each connection counts.
        let may_be_asked = || self.gate.ask(address, Some(Port::tcp(flight.port)), Stage::Service) == Verdict::Allow;
        if is_watched && may_be_asked() {
            host.pulse.know(flight.port);
        }
        if was_held {
            self.line_up(flight.host);
        }
    }

    /// A known port refuses by the host's own word, or this machine's own filter does: it is not asked for this any more.
    pub(super) fn lose_known_port(&mut self, flight: &Flight) {
        let Some(host) = self.hosts.get_mut(flight.host).filter(|_| flight.is_pulse) else { return };
        host.pulse.refused(flight.port);
        self.line_up(flight.host);
    }

    /// A known port was asked in vain, or refused by something on the way: the next one is asked, or the host has stopped answering.
    pub(super) fn miss_pulse(&mut self, now: Duration, flight: &Flight) {
        let tries = f64::from(self.tries_wanted(flight.host));
        let loss = self.measures.estimates().loss;
        let is_asked = |host: &&mut Host| flight.is_pulse && host.not_sent.is_none();
        let Some(host) = self.hosts.get_mut(flight.host).filter(is_asked) else { return };
        let loss = host.own.own_loss().map_or(loss, |own| own.rate()).clamp(1e-6, 0.99);
        let asked_max = (WRONG_MAX.ln() / (tries * loss.ln())).ceil().clamp(ASKED.0, ASKED.1);
        if !host.pulse.missed(now, asked_max) {
            // The next one not at once: what is silent for a moment is left alone for that.
            if !std::mem::replace(&mut host.queued, true) {
                self.held_hosts.push(Reverse((now + PAUSE, flight.host)));
            }
            return;
        }
        let address = host.scanned.address;
        (host.phase, host.step) = (HostPhase::Ports, u32::MAX);
        let probes = host.pulse.sent();
        self.results.tell(host.scanned.finding(Observation::Stopped { probes }));
        self.forget_known(|known| known == address);
    }

    /// Asks a host that has been asked everything whether it still answers; false where there is no need.
    pub(super) fn begin_last_pulse(&mut self, key: Key) -> bool {
        let ports = self.plan.port_count();
        let Some(host) = self.hosts.get_mut(key) else { return false };
        let asked = host.asked(ports);
        let may_ask = host.up.is_some() && host.not_sent.is_none() && !host.is_middlebox();
        if !may_ask || !host.pulse.wants_last(asked) {
            return false;
        }
        host.phase = HostPhase::Ports;
        self.line_up(key);
        true
    }

    /// Puts a host into the line, if it is not there.
    pub(super) fn line_up(&mut self, key: Key) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        if !std::mem::replace(&mut host.queued, true) {
            self.line.push_back(key);
        }
    }
}
