//! What a raw unit sends next, and to whom.

use std::time::Duration;

use super::epochs::EPOCH;
use super::target::{Stage, Target};
use super::{CANARY, Gateway, Send, Sweep};
use crate::permute::mix;
use crate::target::Target as PlanTarget;

/// Targets entered per turn, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 1024;
/// Tries of an ARP request, and the time between them: RFC 4861 section 10 for both, which ARP has no words on.
pub(super) const ARP_TRIES: u8 = 3;
pub(super) const ARP_WAIT: Duration = Duration::from_millis(400);
/// Targets looked at for one probe: those whose pass has just ended need none.
const VISITS_MAX: usize = 4096;
/// ARP is broadcast to everyone on the link: no more of it than this.
const ARP_PPS: u64 = 4000;
/// Canaries wanted in each epoch, and the share of all probes that they may be at most and at least.
const CANARIES_PER_EPOCH: f64 = 64.0;
const CANARY_EVERY: (f64, f64) = (16.0, 256.0);
/// The same while figures are wanted.
const CANARY_WANTED_EVERY: f64 = 2.0;
/// An open port is listened to as the connect engine does.
const GREET_WAIT: Duration = Duration::from_millis(350);
const GREET_WAIT_MAX: Duration = Duration::from_secs(1);

impl Sweep {
    /// Lets targets in while there is room for them.
    pub(super) fn enter(&mut self) {
        for _ in 0..ENTER_AT_ONCE {
            if self.targets.len() >= self.targets_max || self.waiting.is_empty() {
                return;
            }
            let index = self.waiting.start;
            self.waiting.start += 1;
            let Some(PlanTarget::Address(std::net::IpAddr::V4(address))) = self.plan.target(index) else {
                self.skip();
                continue;
            };
            let address = address.to_bits();
            if !self.permits(address) {
                self.counts.refused += 1;
                self.skip();
                continue;
            }
            let Some(way) = self.routes.way(address) else {
                self.skip();
                continue;
            };
            let hop = way.gateway.unwrap_or(address);
            let known = self.neighbours.get(&hop).copied();
            let stage = if self.is_thorough { Stage::Ports } else { Stage::Silent };
            let mut target = Target::new(address, way.link, stage, self.list_length());
            target.is_lined = true;
            target.since = self.epochs.current();
            match (known, way.gateway) {
                _ if !way.needs_mac => {}
                (Some(mac), _) => target.mac = mac,
                (None, None) => target.stage = Stage::Arp,
                (None, Some(gateway)) => {
                    let fresh = Gateway { link: way.link, mac: None, asked: 0, next: Duration::ZERO };
                    self.gateways.entry(gateway).or_insert(fresh);
                }
            }
            self.targets.push_back(target);
            self.line.push_back(index);
        }
    }

    /// A target that is not sent anything.
    fn skip(&mut self) {
        self.targets.push_back(Target::done());
        self.counts.targets_done += 1;
        self.slide();
    }

    /// Lets settled targets at the front go.
    pub(super) fn slide(&mut self) {
        while self.targets.front().is_some_and(|target| target.stage == Stage::Done) {
            self.targets.pop_front();
            self.base += 1;
        }
    }

    /// How many probes a silent host is sent in its first pass.
    pub(super) fn list_length(&self) -> u32 {
        if self.discovery.is_empty() {
            self.plan.port_count()
        } else {
            u32::try_from(self.discovery.len()).unwrap_or(1)
        }
    }

    /// Asks for gateways that nobody knows; `Some` while one is still waited for.
    pub(super) fn ask_gateways(&mut self, now: Duration, out: &mut Vec<Send>) -> Option<Duration> {
        let mut wakes = None;
        for (address, gateway) in &mut self.gateways {
            if gateway.mac.is_some() || gateway.asked > ARP_TRIES {
                continue;
            }
            if now >= gateway.next {
                gateway.asked += 1;
                gateway.next = now + ARP_WAIT;
                if gateway.asked <= ARP_TRIES {
                    out.push(Send::Arp { address: *address, link: gateway.link });
                }
            }
            let next = gateway.next;
            wakes = Some(wakes.map_or(next, |wakes: Duration| wakes.min(next)));
        }
        wakes
    }

    /// How many canaries should be sent now.
    pub(super) fn canaries_due(&self) -> usize {
        usize::from(!self.canaries.is_empty() && self.canaries_wanted > 0)
    }

    /// The next thing worth sending.
    pub(super) fn choose(&mut self, now: Duration, greets: &mut usize) -> Option<Send> {
        if *greets > 0
            && let Some((index, address, port)) = self.greets.pop_front()
        {
            *greets -= 1;
            self.greets_out += 1;
            let wait = (GREET_WAIT + 8 * self.rtt.smoothed().unwrap_or_default()).min(GREET_WAIT_MAX);
            return Some(Send::Greet { index, address, port, wait });
        }
        let regular =
            (self.rate.pps() * EPOCH.as_secs_f64() / CANARIES_PER_EPOCH).clamp(CANARY_EVERY.0, CANARY_EVERY.1);
        let every = if self.canaries_due() > 0 { CANARY_WANTED_EVERY } else { regular };
        // Drawn, so that no canary keeps to the place in a batch where a full queue drops, or does not.
        let draw = 0.5 + f64::from(u16::try_from(mix(self.counts.probes_sent) & 0xffff).unwrap_or(0)) / 65_536.0;
        if f64::from(self.since_canary) >= every * draw || self.line.is_empty() {
            self.since_canary = 0;
            if let Some(send) = self.canary() {
                return Some(send);
            }
        }
        // A few that need nothing may stand before one that does.
        for _ in 0..VISITS_MAX {
            let index = self.line.pop_front()?;
            if let Some(send) = self.visit(index, now) {
                self.since_canary += u32::from(matches!(send, Send::Syn { .. }));
                return Some(send);
            }
        }
        None
    }

    fn canary(&mut self) -> Option<Send> {
        let count = u64::try_from(self.canaries.len()).ok().filter(|count| *count > 0)?;
        self.canaries_wanted = self.canaries_wanted.saturating_sub(1);
        self.canaries_seen += 1;
        let chosen = usize::try_from(self.canaries_seen % count).ok()?;
        let super::Canary { address, port, link, mac } = *self.canaries.get(chosen)?;
        if !self.permits(address) {
            return None;
        }
        self.epochs.sent(true);
        self.counts.probes_sent += 1;
        self.counts.retransmitted += 1;
        Some(Send::Syn { address, port, attempt: CANARY, link, mac })
    }

    /// A target's turn: its next probe, or nothing when its pass is over.
    fn visit(&mut self, index: u64, now: Duration) -> Option<Send> {
        let stage = self.target(index)?.stage;
        match stage {
            Stage::Arp => self.visit_arp(index, now),
            Stage::Silent | Stage::Ports => self.visit_ports(index, now),
            Stage::Done => None,
        }
    }

    fn visit_arp(&mut self, index: u64, now: Duration) -> Option<Send> {
        if self.arp_pacer.admit(now, ARP_PPS, 1).is_err() {
            // Its turn comes again; meanwhile others have theirs.
            self.line.push_back(index);
            return None;
        }
        let target = self.target(index)?;
        let (address, link) = (target.address, target.link);
        self.rest(index, now + ARP_WAIT);
        self.permits(address).then_some(Send::Arp { address, link })
    }

    fn visit_ports(&mut self, index: u64, now: Duration) -> Option<Send> {
        let port = match self.target(index)?.stage {
            Stage::Silent => self.next_of_silent(index),
            _ => self.next_port(index),
        };
        let Some(port) = port else {
            self.end_pass(index, now);
            return None;
        };
        let current = self.epochs.current();
        let target = self.target(index)?;
        target.until = current;
        let (address, attempt, link, mac) = (target.address, target.pass, target.link, target.mac);
        self.line.push_back(index);
        let mac = match self.gateway_mac(address, mac) {
            Some(mac) if self.permits(address) => mac,
            _ => {
                self.drop_target(index);
                return None;
            }
        };
        if let Some(target) = self.target(index) {
            target.mac = mac;
        }
        self.epochs.sent(false);
        self.counts.probes_sent += 1;
        self.counts.retransmitted += u64::from(attempt > 0);
        Some(Send::Syn { address, port, attempt, link, mac })
    }

    /// The hardware address that a target is sent through; `None` when its gateway does not answer.
    fn gateway_mac(&self, address: u32, known: [u8; 6]) -> Option<[u8; 6]> {
        if known != [0; 6] || self.gateways.is_empty() {
            return Some(known);
        }
        match self.routes.way(address)?.gateway.and_then(|gateway| self.gateways.get(&gateway)) {
            Some(gateway) => gateway.mac,
            None => Some(known),
        }
    }

    /// Ends a target that must not, or cannot, be sent to.
    fn drop_target(&mut self, index: u64) {
        if let Some(target) = self.target(index) {
            target.stage = Stage::Done;
            self.counts.targets_done += 1;
            self.slide();
        }
    }

    fn next_of_silent(&mut self, index: u64) -> Option<u16> {
        let length = self.list_length();
        let target = self.target(index)?;
        if target.sent >= target.wanted {
            return None;
        }
        target.sent += 1;
        let step = target.step % length.max(1);
        target.step += 1;
        if self.discovery.is_empty() {
            let position = self.plan.port_position(index, step)?;
            return self.plan.port(position).map(|port| port.number);
        }
        self.discovery.get(step as usize).map(|probe| probe.port)
    }

    fn next_port(&mut self, index: u64) -> Option<u16> {
        loop {
            let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
            let target = self.targets.get_mut(at)?;
            let position = self.plan.port_position(index, target.step)?;
            target.step += 1;
            // Ports that discovery has asked in this very pass are only asked again in the next one.
            let asked = self.discovery.get(..target.sent as usize).unwrap_or_default();
            if !target.knows(position) && !asked.iter().any(|probe| probe.position == Some(position)) {
                return self.plan.port(position).map(|port| port.number);
            }
        }
    }
}
