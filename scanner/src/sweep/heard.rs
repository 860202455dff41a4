//! What answers become: findings, and figures about the path.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::rest::finding;
use super::target::Stage;
use super::{CANARY, Canary, Reply, Sweep};
use crate::finding::{HostState, Observation, PortState, Reason};
use crate::packet::arp::Mac;
use crate::permute::mix;
use crate::port::Port;

/// Canaries kept: enough that none is asked often.
const CANARIES_MAX: usize = 512;

impl Sweep {
    /// An answer has come.
    pub(crate) fn on_reply(&mut self, now: Duration, reply: &Reply) {
        let is_own_word = matches!(reply.state, PortState::Open | PortState::Closed);
        if is_own_word {
            self.rtt.sample(Ipv4Addr::from_bits(reply.address).into(), now.saturating_sub(reply.sent_at));
        }
        if reply.attempt == CANARY {
            if is_own_word {
                self.epochs.answered(reply.sent_at);
            }
            return;
        }
        let Some(index) = self.plan.index_of(Ipv4Addr::from_bits(reply.address).into()) else { return };
        let position = self.plan.spec().ports.position(Port::tcp(reply.port));
        let ports = self.plan.port_count();
        let Some(target) = self.target(index).filter(|target| target.stage != Stage::Done) else { return };
        let address = target.address;
        let heard = target.heard_mut(ports);
        if !is_own_word {
            if let Some(position) = position {
                heard.mark_unreachable(position, reply.reason);
            }
            return;
        }
        let is_news = position.is_none_or(|position| !heard.answered.has(position));
        if let Some(position) = position.filter(|_| is_news) {
            heard.left -= u32::from(!heard.knows(position));
            heard.answered.set(position);
        }
        if !is_news {
            return;
        }
        self.counts.replies += 1;
        self.note_up(index, reply.reason);
        self.note_canary(reply, index);
        if position.is_some() {
            let Reply { port, state, reason, ttl, .. } = *reply;
            let observation = Observation::Port { port: Port::tcp(port), state, reason, ttl: Some(ttl) };
            self.findings.push(finding(index, address, observation));
            self.counts.open_ports += u64::from(state == PortState::Open);
            if state == PortState::Open && self.limits.banners {
                self.greets.push_back((index, address, port));
            }
        }
        // A resting target that has nothing left to hear is done.
        if self.target(index).is_some_and(|target| !target.is_lined && target.is_complete()) {
            self.settle(index);
        }
    }

    /// A next hop, or a target on the link, has told its hardware address.
    pub(crate) fn on_arp(&mut self, address: u32, mac: Mac) {
        if let Some(gateway) = self.gateways.get_mut(&address) {
            gateway.mac = Some(mac);
        }
        let Some(index) = self.plan.index_of(Ipv4Addr::from_bits(address).into()) else { return };
        let Some(target) = self.target(index).filter(|target| target.stage == Stage::Arp) else { return };
        target.mac = mac;
        self.note_up(index, Reason::ArpResponse);
    }

    /// Listening to an open port has ended, with a printable banner or without.
    pub(crate) fn on_banner(&mut self, index: u64, address: u32, port: u16, banner: Option<String>) {
        self.greets_out = self.greets_out.saturating_sub(1);
        if let Some(banner) = banner {
            self.findings.push(finding(index, address, Observation::Banner { port: Port::tcp(port), banner }));
        }
    }

    /// A host has answered.
    fn note_up(&mut self, index: u64, reason: Reason) {
        let (ports, current, has_discovery) =
            (self.plan.port_count(), self.epochs.current(), !self.discovery.is_empty());
        let Some(target) = self.target(index) else { return };
        let address = target.address;
        if target.is_up() {
            return;
        }
        target.heard_mut(ports).up = Some(reason);
        target.begin_ports(has_discovery, current);
        self.counts.hosts_up += 1;
        self.findings.push(finding(index, address, Observation::Host { state: HostState::Up, reason }));
        self.line_up(index);
    }

    /// Keeps a port that answers: closed ones by preference, which hold no state for a SYN.
    fn note_canary(&mut self, reply: &Reply, index: u64) {
        let Some(target) = self.target(index) else { return };
        let fresh = Canary { address: target.address, port: reply.port, link: target.link, mac: target.mac };
        if self.canaries.len() < CANARIES_MAX {
            if reply.state == PortState::Closed || self.canaries.len() < 16 {
                self.canaries.push(fresh);
            }
        } else if reply.state == PortState::Closed {
            // A fair sample of all that answer: the n-th replaces one with chance 512/n.
            let drawn = mix(self.counts.replies) % self.counts.replies.max(1);
            let slot = usize::try_from(drawn).ok().and_then(|drawn| self.canaries.get_mut(drawn));
            slot.into_iter().for_each(|slot| *slot = fresh);
        }
    }
}
