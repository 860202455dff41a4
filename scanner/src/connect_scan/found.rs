//! What answers become: findings, and the end of hosts that have nothing left to wait for.

use std::time::Duration;

use super::host::{Host, HostPhase};
use super::{Answer, ConnectScan, Flight, Listen};
use crate::finding::{NotProbed, PortState, Reason};
use crate::gate::{Stage, Verdict};
use crate::port::Port;
use crate::scan::{End, banner_wait};
use crate::slot_map::Key;

impl Host {
    /// Whether it has been asked all of so many ports in this round.
    fn is_through(&self, ports: u32) -> bool {
        let is_tried = self.trial.is_some_and(|trial| !trial.is_over());
        self.phase == HostPhase::Ports && self.step >= ports && !is_tried && !self.pulse.is_asking()
    }
}

impl ConnectScan {
    /// A host has answered.
    pub(super) fn note_up(&mut self, now: Duration, key: Key, reason: Reason) {
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.up.is_none()) else { return };
        host.up = Some(reason);
        self.neighbours.answered(now, host.scanned.address);
        self.results.note_up(&host.scanned, reason);
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
        // One that was asked twice may answer twice.
        let is_news = |host: &&mut Host| !host.is_middlebox() && !host.heard.has_answered(position);
        let host = self.hosts.get_mut(flight.host).filter(is_news)?;
        let listens = answer.state == PortState::Open && self.limits.banners && may_listen;
        host.heard.mark_answered(position);
        if answer.state == PortState::Open {
            // Acknowledgements of the connection and of a banner, and a reset.
            self.pace.owe(2 + u32::from(listens));
        }
        let Answer { state, reason, .. } = answer;
        self.results.note_port(&host.scanned, port, state, reason, None);
        host.pending += u32::from(listens);
        self.count_port(flight.host, port, state);
        if !listens {
            return None;
        }
        let wait = banner_wait(self.measures.rtt.smoothed());
        Some(Listen { host: flight.host, port: flight.port, wait })
    }

    /// Ends a host that has nothing left to send or wait for.
    pub(super) fn settle(&mut self, key: Key) {
        let count = self.plan.port_count();
        // In a slow scan its next turn in line is far away, and only there to find that it has been asked everything.
        if self.hosts.get(key).is_none_or(|host| host.pending > 0 || host.queued && !host.is_through(count)) {
            return;
        }
        if self.begin_last_pulse(key) || self.begin_last_trial(key) {
            return;
        }
        if self.begin_round(key) {
            return;
        }
        if let Some(host) = self.hosts.get_mut(key).filter(|host| host.is_refused_here && host.sent == 0) {
            host.not_sent.get_or_insert(NotProbed::SendRefused);
        }
        self.account(key);
        let Some(mut host) = self.hosts.remove(key) else { return };
        if host.is_crowded_out {
            host.not_sent.get_or_insert(NotProbed::NeighboursFull);
        }
        if host.not_sent.is_none() && host.up.is_none() {
            self.results.note_silent_name(&host.scanned);
        }
        self.results.note_settled(&host.scanned, host.not_sent);
        // Of the ports that were not asked nothing is known, not even that they are silent.
        if host.not_sent.is_none() && host.up.is_some() && !host.is_middlebox() {
            let count = self.plan.port_count();
            for unreachable in host.heard.unreachable(&self.plan, count) {
                self.results.note_unanswered(&host.scanned, unreachable, PortState::Filtered);
            }
            // Of those that were asked since a host has stopped answering nothing is known either.
            let settled = host.pulse.settled().map(|steps| (host.scanned.target_index, steps));
            let silent = host.heard.silent(&self.plan, count, settled);
            self.results.note_unanswered(&host.scanned, silent, PortState::Filtered);
        }
        self.results.end(&host.scanned, End { not_sent: host.not_sent, is_up: host.up.is_some() });
    }
}
