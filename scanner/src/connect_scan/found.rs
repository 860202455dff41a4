//! What answers become: findings, and the end of hosts that have nothing left to wait for.

use std::time::Duration;

use super::host::{Host, HostPhase};
use super::{Answer, ConnectScan, Flight, Listen};
use crate::finding::{HostState, Observation, PortState, Reason};
use crate::gate::{Stage, Verdict};
use crate::port::{Port, PortSet};
use crate::slot_map::Key;

/// An open port is listened to for this long, and eight round trips more, up to the longest wait: services that
/// speak first do so at once.
const BANNER_WAIT: Duration = Duration::from_millis(350);
/// No open port is listened to for longer.
const BANNER_WAIT_MAX: Duration = Duration::from_secs(1);

impl ConnectScan {
    /// A host has answered.
    pub(super) fn note_up(&mut self, now: Duration, key: Key, reason: Reason) {
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.up.is_none()) else { return };
        host.up = Some(reason);
        self.neighbours.answered(now, host.address);
        self.counts.hosts_up += 1;
        self.findings.push(host.finding(Observation::Host { state: HostState::Up, reason }));
        if host.phase == HostPhase::Discovery {
            host.phase = HostPhase::Ports;
            if !host.queued {
                host.queued = true;
                self.line.push_back(key);
            }
        }
    }

    /// A port has answered; returns what to listen to.
    pub(super) fn note_port(&mut self, flight: &Flight, position: u32, answer: Answer) -> Option<Listen> {
        let port = Port::tcp(flight.port);
        let may_listen = self.gate.of_port(Some(port), Stage::BannerGrab) == Verdict::Allow;
        let host = self.hosts.get_mut(flight.host).filter(|host| !host.is_middlebox())?;
        let listens = answer.state == PortState::Open && self.limits.banners && may_listen;
        host.answered.set(position);
        let Answer { state, reason } = answer;
        self.findings.push(host.finding(Observation::Port { port, state, reason, ttl: None }));
        self.counts.open_ports += u64::from(state == PortState::Open);
        host.pending += u32::from(listens);
        self.count_port(flight.host, state);
        if !listens {
            return None;
        }
        let round_trips = 8 * self.rtt.smoothed().unwrap_or_default();
        Some(Listen { host: flight.host, port: flight.port, wait: (BANNER_WAIT + round_trips).min(BANNER_WAIT_MAX) })
    }

    /// Ends a host that has nothing left to send or wait for.
    pub(super) fn settle(&mut self, key: Key) {
        if self.hosts.get(key).is_none_or(|host| host.pending > 0 || host.queued) || self.begin_last_trial(key) {
            return;
        }
        let Some(host) = self.hosts.remove(key) else { return };
        self.counts.targets_done += 1;
        if host.up.is_none() || host.is_middlebox() {
            return;
        }
        for (reason, bits) in &host.unreachable {
            let ports = self.ports_where(|position| bits.has(position) && !host.answered.has(position));
            self.note_many(&host, ports, *reason);
        }
        let silent = self.ports_where(|position| !host.has_heard_of(position));
        self.note_many(&host, silent, Reason::NoResponse);
    }

    fn ports_where(&self, wanted: impl Fn(u32) -> bool) -> PortSet {
        (0..self.plan.port_count()).filter(|position| wanted(*position)).filter_map(|at| self.plan.port(at)).collect()
    }

    fn note_many(&mut self, host: &Host, ports: PortSet, reason: Reason) {
        if !ports.is_empty() {
            self.findings.push(host.finding(Observation::Ports {
                ports: Box::new(ports),
                state: PortState::Filtered,
                reason,
            }));
        }
    }
}
