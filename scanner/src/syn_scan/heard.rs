//! What answers become: findings, and figures about the path.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::banner_grabs::BannerGrab;
use super::rest::scanned;
use super::target::HostPhase;
use super::{Reply, SynScan, lane};
use crate::finding::{PortState, Reason};
use crate::gate::{Stage, Verdict};
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::port::Port;

impl SynScan {
    /// An answer has come.
    pub(crate) fn on_reply(&mut self, now: Duration, reply: &Reply) {
        let is_answer = reply.state != PortState::Filtered;
        if let Some(sent_at) = reply.sent_at.filter(|_| is_answer) {
            self.rtt.sample(reply.address, now.saturating_sub(sent_at));
        }
        self.quiet_until = Duration::ZERO;
        if reply.state == PortState::Open {
            // The kernel knows of no connection, and resets it.
            self.pace.owe(1);
        }
        if is_answer {
            self.hear_behind(now, reply.address);
        }
        if lane::is_canary(reply.lane) {
            if let Some(sent_at) = reply.sent_at.filter(|_| is_answer) {
                self.on_canary(reply, sent_at);
            }
            return;
        }
        let Some(index) = self.plan.index_of(reply.address) else { return };
        if self.target(index).is_none_or(|target| target.phase == HostPhase::Done) {
            return;
        }
        if is_answer {
            self.on_answer(index, reply);
        } else {
            self.on_error(index, reply);
        }
        // A target that has nothing left to hear is done: in a slow scan its next turn in line is far away. Only one that is
        // to be asked every host probe stays for the rest of them.
        let host_probes = self.host_probes.list.len();
        let is_over = |target: &mut super::Target| {
            let is_asked = !target.is_sample || target.pass > 0 || target.sent as usize >= host_probes;
            !target.is_held && target.is_complete() && (!target.is_lined || is_asked)
        };
        if self.target(index).is_some_and(|target| is_over(target) && target.phase == HostPhase::Ports) {
            self.conclude(index);
        }
    }

    /// A host has answered for itself.
    fn on_answer(&mut self, index: u64, reply: &Reply) {
        let position = self.position(reply.probe);
        let (ports, host_probe) = (self.ports, self.host_probes.bit(reply.probe));
        let Some(target) = self.target(index) else { return };
        let (is_sample, is_first, is_routed) = (target.is_sample, !target.is_up(), target.is_routed);
        let heard = target.heard_mut(ports);
        let is_new_host_probe = host_probe & !heard.host_probes != 0;
        heard.host_probes |= host_probe;
        let (is_news, answered_count) = match position {
            Some(position) => (heard.mark_answered(position), heard.host_probes.count_ones()),
            None => (is_new_host_probe, heard.host_probes.count_ones()),
        };
        let port = match reply.probe {
            Probe::Syn(port) => port,
            _ => 0,
        };
        if is_routed {
            self.open_flows.answered(reply.address, reply.probe);
        }
        if is_first && is_routed {
            self.path.note_distance(reply.ttl);
        }
        if is_first {
            self.note_up(index, reply.reason);
        } else if is_sample && is_new_host_probe {
            self.yields.note(answered_count);
        }
        if !is_news {
            if !is_new_host_probe && port != 0 {
                self.on_trial(index, port, reply);
            }
            return self.note_pulse(index, reply);
        }
        self.results.tally.replies += 1;
        self.answers += 1;
        self.note_canary(reply, index);
        if position.is_some() {
            self.note_port(index, port, reply);
            self.on_trial(index, port, reply);
        }
        self.note_pulse(index, reply);
    }

    /// A port of the scan has answered.
    fn note_port(&mut self, index: u64, number: u16, reply: &Reply) {
        let Reply { state, reason, ttl, .. } = *reply;
        let is_open = state == PortState::Open;
        let may_listen = self.gate.of_port(Some(Port::tcp(number)), Stage::BannerGrab) == Verdict::Allow;
        let (ports, wants_banner) = (self.ports, is_open && self.limits.banners && may_listen);
        let has_host_probes = !self.host_probes.list.is_empty();
        let Some(target) = self.target(index) else { return };
        let (address, link) = (target.address, target.link);
        let heard = target.heard_mut(ports);
        heard.opened += u32::from(is_open);
        heard.closed += u32::from(!is_open);
        heard.privileged.note(number, state);
        heard.stretches.note(number, state);
        let answers = heard.answers();
        if wants_banner && heard.holds_banner_grabs() {
            heard.unheard.push(number);
        } else if wants_banner {
            self.banner_grabs.push(BannerGrab { index, address, port: number, link });
        }
        // Without host probes it is ports that show a host.
        if !has_host_probes {
            self.yields.note(answers);
        }
        self.results.note_port(&scanned(index, address), Port::tcp(number), state, reason, Some(ttl));
        self.results.note_stack(reply.stack);
        self.try_host(index);
    }

    /// Something has said that a probe cannot get through.
    fn on_error(&mut self, index: u64, reply: &Reply) {
        let (position, ports) = (self.position(reply.probe), self.ports);
        let Some(target) = self.target(index).filter(|target| target.phase != HostPhase::Trial) else { return };
        let heard = target.heard_mut(ports);
        heard.is_told |= matches!(reply.reason, Reason::HostUnreach | Reason::NetUnreach) && !reply.is_own_word;
        if let Some(position) = position {
            heard.mark_unreachable(position, reply.reason);
        }
        // A host that refuses for itself is there.
        if reply.is_own_word {
            self.note_up(index, reply.reason);
            self.lose_known_port(index, reply.probe);
        }
    }

    /// The place of a probe's port in the scan's TCP ports.
    pub(super) fn position(&self, probe: Probe) -> Option<u32> {
        match probe {
            Probe::Syn(port) => self.plan.spec().ports.position(Port::tcp(port)),
            Probe::Ack(_) | Probe::Echo | Probe::Timestamp => None,
        }
    }

    /// A next hop, or a target on the link, has told its hardware address.
    pub(crate) fn on_neighbour(&mut self, now: Duration, link: u16, address: IpAddr, mac: Mac) {
        self.on_gateway(now, link, address, mac);
        let (first, asks_link, current) = (self.first_phase(), self.host_probes.asks_link, self.moment.epoch);
        let Some(index) = self.plan.index_of(address) else { return };
        let Some(target) = self.target(index).filter(|target| target.phase == HostPhase::Link && target.link == link)
        else {
            return;
        };
        target.mac = mac;
        self.results.note_hardware(&scanned(index, address), mac);
        if asks_link {
            let reason = if address.is_ipv4() { Reason::ArpResponse } else { Reason::NdResponse };
            return self.note_up(index, reason);
        }
        let Some(target) = self.target(index) else { return };
        target.phase = first;
        target.begin_pass(0, current);
        self.line_up(index);
    }

    /// Listening to an open port has ended, with a printable banner or without.
    pub(crate) fn on_banner(&mut self, index: u64, from: SocketAddr, banner: Option<String>) {
        self.banner_grabs.end(index);
        self.results.note_banner(&scanned(index, from.ip()), Port::tcp(from.port()), banner);
    }

    /// A host has answered.
    fn note_up(&mut self, index: u64, reason: Reason) {
        let (ports, current, has_host_probes) = (self.ports, self.moment.epoch, !self.host_probes.list.is_empty());
        let Some(target) = self.target(index).filter(|target| !target.is_up()) else { return };
        let address = target.address;
        let heard = target.heard_mut(ports);
        heard.up = Some(reason);
        let answered_count = heard.host_probes.count_ones();
        let may_sample = target.phase == HostPhase::Silent && target.pass == 0 && has_host_probes;
        target.begin_ports(has_host_probes, current);
        if may_sample && self.host_probes.samples() {
            self.yields.note(answered_count);
            self.target(index).into_iter().for_each(|target| target.is_sample = true);
        }
        self.results.note_up(&scanned(index, address), reason);
        self.line_up(index);
    }
}
