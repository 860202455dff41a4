//! Canaries: probes that are known to be answered, sent again to measure what the path loses.
//!
//! Nearly all go in new flows, as the probes of the scan do. One of a few goes in a flow that is kept going, and as many ask the same
//! of the same host in new flows: where those get lost and this one does not, something on the way has no room for new flows
//! ([`super::epochs`]). Other hosts' canaries say nothing of that: a host may well take fewer connections than another.

use std::net::IpAddr;
use std::time::Duration;

use super::epochs::EPOCH;
use super::{Reply, SynScan, Transmit, lane};
use crate::finding::{PortState, Reason};
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::permute::mix;

/// Canaries kept: enough that none is asked often.
const CANARIES_MAX: usize = 512;
/// Canaries taken from whatever answers, while there are no better ones.
const CANARIES_ANY: usize = 16;
/// Canaries wanted in each epoch, and the share of all probes that they may be at most and at least.
const CANARIES_PER_EPOCH: f64 = 64.0;
const CANARY_EVERY: (f64, f64) = (16.0, 256.0);
/// The same while figures are wanted.
const CANARY_WANTED_EVERY: f64 = 2.0;
/// Time between canaries while no flow may be opened.
const CANARY_GAP: Duration = Duration::from_millis(5);
/// Of so many canaries one goes in the flow that is kept going, and one asks the same in a new one.
const KEPT_EVERY: u64 = 4;
/// How long a device remembers a flow whose SYN was answered: Linux one that was reset for ten seconds.
const KEPT_MAX: Duration = Duration::from_secs(5);

/// A probe that is known to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canary {
    pub(super) address: IpAddr,
    pub(super) probe: Probe,
    pub(super) link: u16,
    pub(super) mac: Mac,
    /// The number of the gateway that it goes through.
    pub(super) gateway: u16,
}

impl SynScan {
    /// Keeps a probe that is answered: closed ports by preference, which hold no state for a SYN.
    pub(super) fn note_canary(&mut self, reply: &Reply, index: u64) {
        if self.is_gentle {
            return;
        }
        let is_good = reply.state == PortState::Closed || self.ports == 0;
        // What answers only when it is asked again says nothing in a new flow.
        let is_first = |target: &&mut super::Target| !lane::is_repeat(target.pass) && !target.differs();
        let Some(target) = self.target(index).filter(is_first) else { return };
        let (link, mac, gateway) = (target.link, target.mac, target.gateway);
        let fresh = Canary { address: target.address, probe: reply.probe, link, mac, gateway };
        // A flow that is answered by a SYN-ACK, or an echo, is remembered for a while; one that was refused is not.
        let keeps = matches!(reply.reason, Reason::SynAck | Reason::EchoReply);
        if keeps && self.kept.is_none() {
            self.kept = Some((fresh, Duration::ZERO));
        }
        if self.canaries.len() < CANARIES_MAX {
            if is_good || self.canaries.len() < CANARIES_ANY {
                self.canaries.push(fresh);
            }
        } else if is_good {
            // A fair sample of all that answer: the n-th replaces one with chance 512/n.
            let drawn = mix(self.results.tally.replies) % self.results.tally.replies.max(1);
            let slot = usize::try_from(drawn).ok().and_then(|drawn| self.canaries.get_mut(drawn));
            slot.into_iter().for_each(|slot| *slot = fresh);
        }
    }

    /// A canary has answered.
    pub(super) fn on_canary(&mut self, reply: &Reply, sent_at: Duration) {
        let is_kept = reply.lane == lane::KNOWN;
        if self.is_of_pair(reply.address, reply.probe) {
            self.path.answered_of_pair(is_kept, sent_at);
        }
        if !is_kept {
            self.answers += 1;
            self.path.answered(sent_at);
        }
    }

    /// Whether a canary asks what the one does whose flow is kept going.
    fn is_of_pair(&self, address: IpAddr, probe: Probe) -> bool {
        self.kept.is_some_and(|(kept, _)| kept.address == address && kept.probe == probe)
    }

    /// How many canaries should be sent now.
    pub(super) fn canaries_due(&self) -> usize {
        usize::from(!self.canaries.is_empty() && self.canaries_wanted > 0)
    }

    /// Whether the next probe is to be a canary.
    pub(super) fn is_canary_due(&self) -> bool {
        let regular =
            (self.moment.pps * EPOCH.as_secs_f64() / CANARIES_PER_EPOCH).clamp(CANARY_EVERY.0, CANARY_EVERY.1);
        let every = if self.canaries_due() > 0 { CANARY_WANTED_EVERY } else { regular };
        // Drawn, so that no canary keeps to the place in a batch where a full queue drops, or does not.
        let draw = 0.5 + f64::from(u16::try_from(mix(self.results.tally.probes_sent) & 0xffff).unwrap_or(0)) / 65_536.0;
        f64::from(self.since_canary) >= every * draw || self.line.is_empty()
    }

    /// The next canary, unless it has no slot.
    pub(super) fn canary(&mut self, now: Duration) -> Option<Transmit> {
        let count = u64::try_from(self.canaries.len()).ok().filter(|count| *count > 0)?;
        self.canaries_seen += 1;
        let turn = self.canaries_seen % KEPT_EVERY;
        if turn == 0
            && let Some(send) = self.keep_going(now)
        {
            return Some(send);
        }
        let chosen = usize::try_from(self.canaries_seen % count).ok()?;
        let twin = self.kept.map(|(kept, _)| kept).filter(|_| turn == KEPT_EVERY / 2);
        let Canary { address, probe, link, mac, gateway } = twin.or(self.canaries.get(chosen).copied())?;
        let mac = self.mac_of(gateway).unwrap_or(mac);
        if self.is_link_down(link) {
            return None;
        }
        if !self.permits_probe(address, probe) || self.admit(now, address).is_err() {
            return None;
        }
        self.canaries_wanted = self.canaries_wanted.saturating_sub(1);
        self.ask_through(gateway);
        if self.is_of_pair(address, probe) {
            self.path.sent_of_pair(false);
        }
        self.sent.0 += 1;
        self.sent.1 += 1;
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += 1;
        Some(Transmit::Probe { address, probe, lane: lane::fresh(self.canaries_seen), link, mac })
    }

    /// The hardware address of a gateway as it is now.
    fn mac_of(&self, gateway: u16) -> Option<Mac> {
        self.gateways.get(usize::from(gateway)).and_then(|gateway| gateway.mac)
    }

    /// A canary, if the last one that had nothing else between was some time ago.
    pub(super) fn canary_by_time(&mut self, now: Duration) -> Option<Transmit> {
        if now < self.canary_at {
            return None;
        }
        self.canary_at = now + CANARY_GAP;
        self.canary(now)
    }

    /// The canary whose flow is kept going. It tells something if the last one is not so long ago that its flow is forgotten.
    fn keep_going(&mut self, now: Duration) -> Option<Transmit> {
        let (Canary { address, probe, link, mac, gateway }, last) = self.kept?;
        let mac = self.mac_of(gateway).unwrap_or(mac);
        if self.is_link_down(link) || !self.permits_probe(address, probe) || self.admit(now, address).is_err() {
            return None;
        }
        if now <= last + KEPT_MAX {
            self.path.sent_of_pair(true);
        }
        self.kept.iter_mut().for_each(|(_, last)| *last = now);
        self.sent.0 += 1;
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += 1;
        Some(Transmit::Probe { address, probe, lane: lane::KNOWN, link, mac })
    }
}
