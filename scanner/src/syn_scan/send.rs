//! What a raw unit transmits next, and to whom.

use std::net::IpAddr;
use std::time::Duration;

use super::banner_grabs::BannerGrab;
use super::target::{HostPhase, NO_GATEWAY, Target};
use super::{Gateway, SynScan, Transmit, Way, lane};
use crate::finding::NotProbed;
use crate::gate::{Stage, Verdict};
use crate::pace::Denied;
use crate::packet::probe::Probe;
use crate::port::Port;
use crate::scan::banner_wait;
use crate::target::Target as PlanTarget;

/// What listening to a port sends beside its SYN: acknowledgements of the connection and of the banner, and a reset.
const GRAB_PACKETS: u32 = 3;
/// Targets entered per turn, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 1024;
/// Tries of an ARP request, and the time between them: RFC 4861 section 10 for both, which ARP has no words on.
pub(super) const ARP_TRIES: u8 = 3;
pub(super) const ARP_WAIT: Duration = Duration::from_millis(400);
/// Tries for a gateway, on which all behind it depends: no sooner given up than by the kernel, which asks for three seconds.
pub(super) const GATEWAY_TRIES: u8 = 8;
/// How long a target waits for a link that is down before it looks again.
const LINK_WAIT: Duration = Duration::from_millis(200);
/// Targets looked at for one probe: those whose pass has just ended need none.
const VISITS_MAX: usize = 4096;
/// ARP is broadcast to everyone on the link: no more of it than this.
const ARP_PPS: u64 = 4000;

/// How far a target is in its pass.
#[derive(Debug, Clone, Copy)]
struct Progress {
    step: u32,
    sent: u32,
}

impl SynScan {
    /// Lets targets in while there is room for them.
    pub(super) fn enter(&mut self) {
        for _ in 0..ENTER_AT_ONCE {
            if self.targets.len() >= self.targets_max || self.waiting.is_empty() {
                return;
            }
            let index = self.waiting.start;
            self.waiting.start += 1;
            match self.enter_one(index) {
                Ok(target) => {
                    self.targets.push_back(target);
                    self.line.push_back(index);
                }
                Err(why) => self.skip(index, why),
            }
        }
    }

    /// The target with this index, or why it is not probed; without a reason, there is nothing to ask.
    fn enter_one(&mut self, index: u64) -> Result<Target, Option<NotProbed>> {
        // A unit with names is scanned with connections.
        let Some(PlanTarget::Address(address)) = self.plan.target(index) else { return Err(None) };
        if !self.permits(address, Stage::Syn) {
            self.results.left_out.refused += 1;
            return Err(Some(NotProbed::OutOfScope));
        }
        let way = self.routes.way(address)?;
        let has_probes = self.ports > 0 || !self.host_probes.list.is_empty() || self.host_probes.asks_link;
        if !has_probes {
            return Err(None);
        }
        self.begin(address, way).ok_or(Some(NotProbed::GatewaySilent))
    }

    /// A target with the way that its probes go; `None` when its gateway is one more than can be told apart.
    fn begin(&mut self, address: IpAddr, way: Way) -> Option<Target> {
        let mut target = Target::new(address, way.link, self.first_phase());
        target.is_lined = true;
        target.is_routed = way.is_routed;
        target.since = self.moment.epoch;
        match way.gateway {
            _ if !way.needs_mac => {}
            Some(gateway) => {
                let at = self.gateway(gateway, way.link)?;
                target.gateway = at;
            }
            None => {
                // Whoever has a fixed address need not answer for it; where nothing else is asked, it is all that can be.
                let is_fixed =
                    (self.ports > 0 || !self.host_probes.list.is_empty()) && self.routes.is_fixed(way.link, address);
                let known = self.routes.mac(way.link, address).filter(|_| !self.host_probes.asks_link || is_fixed);
                target.phase = known.map_or(HostPhase::Link, |_| target.phase);
                target.mac = known.unwrap_or_default();
            }
        }
        Some(target)
    }

    /// What a target begins with, once it can be sent to.
    pub(super) fn first_phase(&self) -> HostPhase {
        if self.is_thorough && self.ports > 0 { HostPhase::Ports } else { HostPhase::Silent }
    }

    /// The number of a gateway; `None` for one more than can be told apart.
    fn gateway(&mut self, address: IpAddr, link: u16) -> Option<u16> {
        let known = self.gateways.iter().position(|gateway| gateway.address == address && gateway.link == link);
        let at = u16::try_from(known.unwrap_or(self.gateways.len())).ok().filter(|at| *at < NO_GATEWAY)?;
        if known.is_none() {
            let mac = self.routes.mac(link, address);
            let (next, doubted_at) = (Duration::ZERO, Duration::ZERO);
            let (heard_at, told_at, asked, unheard) = (None, None, 0, 0);
            let is_fixed = self.routes.is_fixed(link, address);
            let gateway = Gateway { address, link, mac, asked, next, heard_at, unheard, told_at, doubted_at, is_fixed };
            self.gateways.push(gateway);
        }
        Some(at)
    }

    /// A target that is not sent anything.
    fn skip(&mut self, index: u64, why: Option<NotProbed>) {
        if let (Some(why), Some(PlanTarget::Address(address))) = (why, self.plan.target(index)) {
            self.results.leave(why, address);
        }
        self.targets.push_back(Target::done());
        self.results.tally.targets_done += 1;
        self.slide();
    }

    /// Lets settled targets at the front go.
    pub(super) fn slide(&mut self) {
        while self.targets.front().is_some_and(|target| target.phase == HostPhase::Done) {
            self.targets.pop_front();
            self.base += 1;
        }
    }

    /// Asks for gateways that nobody knows; `Some` while one is still waited for.
    pub(super) fn ask_gateways(&mut self, now: Duration, out: &mut Vec<Transmit>) -> Option<Duration> {
        let mut wakes = None;
        for gateway in &mut self.gateways {
            if gateway.mac.is_some() || gateway.asked > GATEWAY_TRIES {
                continue;
            }
            // Over a link that is down nobody hears the question.
            if self.links.is_down(gateway.link) {
                continue;
            }
            if now >= gateway.next {
                gateway.asked += 1;
                gateway.next = now + ARP_WAIT;
                if gateway.asked <= GATEWAY_TRIES {
                    out.push(Transmit::Resolve { address: gateway.address, link: gateway.link });
                }
            }
            let next = gateway.next;
            wakes = Some(wakes.map_or(next, |wakes: Duration| wakes.min(next)));
        }
        wakes
    }

    /// The next thing worth sending.
    pub(super) fn choose(&mut self, now: Duration, banner_grabs: &mut usize) -> Option<Transmit> {
        while *banner_grabs > 0 {
            *banner_grabs -= 1;
            if let Some(send) = self.banner_grab(now) {
                return Some(send);
            }
        }
        if let Some(reset) = self.next_reset(now) {
            return Some(reset);
        }
        if self.is_canary_due() {
            self.since_canary = 0;
            if let Some(send) = self.canary(now) {
                return Some(send);
            }
        }
        // A few that need nothing may stand before one that does.
        for _ in 0..VISITS_MAX {
            if self.is_asking {
                return None;
            }
            if self.may_open == 0 {
                // Whether it has to be so only canaries can tell.
                return self.canary_by_time(now);
            }
            let index = self.line.pop_front()?;
            if let Some(send) = self.visit(index, now) {
                self.since_canary += u32::from(matches!(send, Transmit::Probe { .. }));
                return Some(send);
            }
        }
        None
    }

    /// The next open port to listen to, unless its network or host has no slot.
    fn banner_grab(&mut self, now: Duration) -> Option<Transmit> {
        let grab = self.banner_grabs.take()?;
        let BannerGrab { index, address, port, link } = grab;
        if self.gate.ask(address, Some(Port::tcp(port)), Stage::BannerGrab) != Verdict::Allow {
            return None;
        }
        if self.admit(now, address).is_err() {
            self.banner_grabs.push(grab);
            return None;
        }
        self.banner_grabs.begin(index);
        self.pace.owe(GRAB_PACKETS);
        let wait = banner_wait(self.rtt.smoothed());
        Some(Transmit::BannerGrab { index, address, port, link, wait })
    }

    /// A target's turn: its next probe, or nothing when its pass is over.
    fn visit(&mut self, index: u64, now: Duration) -> Option<Transmit> {
        match self.target(index)?.phase {
            HostPhase::Link => self.visit_link(index, now),
            HostPhase::Silent | HostPhase::Ports | HostPhase::Pulse | HostPhase::Trial => self.visit_probes(index, now),
            HostPhase::Done => None,
        }
    }

    fn visit_link(&mut self, index: u64, now: Duration) -> Option<Transmit> {
        if self.arp_pacer.admit(now, ARP_PPS, 1).is_err() {
            // Its turn comes again; meanwhile others have theirs.
            self.line.push_back(index);
            return None;
        }
        let target = self.target(index)?;
        let (address, link, pass) = (target.address, target.link, target.pass);
        let before = Progress { step: target.step, sent: target.sent };
        if !self.permits(address, Stage::Neighbour) {
            self.drop_target(index, NotProbed::OutOfScope);
            return None;
        }
        if let Err(denied) = self.admit(now, address) {
            self.hold(index, before, denied);
            return None;
        }
        self.rest(index, now + ARP_WAIT);
        // It asks whether the target is there, as any host probe does.
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += u64::from(pass > 0);
        Some(Transmit::Resolve { address, link })
    }

    fn visit_probes(&mut self, index: u64, now: Duration) -> Option<Transmit> {
        self.begin_pulse(index);
        let target = self.target(index)?;
        let (before, phase) = (Progress { step: target.step, sent: target.sent }, target.phase);
        let probe = match phase {
            HostPhase::Pulse => self.next_pulse(index),
            HostPhase::Silent => self.next_of_silent(index),
            HostPhase::Trial => self.next_trial(index).map(Probe::Syn),
            _ => self.next_of_ports(index),
        };
        let Some(probe) = probe else {
            self.end_pass(index, now);
            return None;
        };
        let (current, gateways) = (self.moment.epoch, &self.gateways);
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        let target = self.targets.get_mut(at)?;
        if let Some(gateway) = gateways.get(usize::from(target.gateway)) {
            target.mac = gateway.mac.unwrap_or_default();
        }
        let has_mac = target.gateway == NO_GATEWAY || target.mac != [0; 6];
        if self.is_link_down(self.targets.get(at)?.link) {
            self.wait_for_link(index, before, now);
            return None;
        }
        let target = self.targets.get(at)?;
        let (address, pass, link, mac, is_routed) =
            (target.address, target.pass, target.link, target.mac, target.is_routed);
        if !has_mac || !self.permits_probe(address, probe) {
            self.cut_off(index, if has_mac { NotProbed::OutOfScope } else { NotProbed::GatewaySilent });
            return None;
        }
        if let Err(denied) = self.admit_own(index, now).and_then(|()| self.admit(now, address)) {
            self.hold(index, before, denied);
            return None;
        }
        let target = self.target(index)?;
        target.until = current;
        if let Some(heard) = &mut target.heard {
            heard.own_path.sent(now);
            heard.sent += 1;
        }
        self.line.push_back(index);
        self.sent.0 += 1;
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += u64::from(pass > 0);
        if is_routed {
            self.open_flow(now, index, probe);
        }
        if self.is_gentle {
            self.quiet_until = now + self.rtt.smoothed().map_or(self.limits.wait_max, |_| self.timeout());
        }
        let lane = if self.is_gentle { lane::ONCE } else { lane::of_pass(pass) };
        Some(Transmit::Probe { address, probe, lane, link, mac })
    }

    /// Takes back the choice of a probe whose link is down, until it is up again or given up.
    fn wait_for_link(&mut self, index: u64, before: Progress, now: Duration) {
        if let Some(super::lost_way::Doubt::Lost(why)) = self.doubt(index, now) {
            return self.cut_off(index, why);
        }
        self.hold(index, before, Denied::Host { until: now + LINK_WAIT });
    }

    /// Takes a slot of the pace that a host has of its own.
    fn admit_own(&mut self, index: u64, now: Duration) -> Result<(), Denied> {
        let heard = self.target(index).and_then(|target| target.heard.as_mut());
        heard.map_or(Ok(()), |heard| heard.own_path.admit(now)).map_err(|until| Denied::Host { until })
    }

    /// Takes a slot of an address's network and of itself.
    pub(super) fn admit(&self, now: Duration, address: IpAddr) -> Result<(), Denied> {
        let spec = self.plan.spec();
        self.pace.admit_to(now, address, spec.network_rate_pps, spec.host_rate_pps)
    }

    /// Takes back the choice of a probe for which there is no slot, to where the target was `before`, and lets it wait for
    /// one.
    fn hold(&mut self, index: u64, before: Progress, denied: Denied) {
        let Some(target) = self.target(index) else { return };
        (target.step, target.sent) = (before.step, before.sent);
        let heard = target.heard.as_mut().filter(|_| target.phase == HostPhase::Pulse);
        heard.into_iter().for_each(|heard| heard.pulse.take_back());
        let address = target.address;
        match denied {
            Denied::Network { until } => self.held.hold(address, index, until),
            Denied::Host { until } => {
                target.is_held = true;
                self.rest(index, until);
            }
        }
    }

    /// Lets targets go on whose network has a slot.
    pub(super) fn release(&mut self, now: Duration) {
        let Some(pps) = self.plan.spec().network_rate_pps else { return };
        while let Some(index) = self.held.release(now, pps) {
            self.line.push_front(index);
        }
    }

    /// Ends a target that must not, or cannot, be sent to.
    fn drop_target(&mut self, index: u64, why: NotProbed) {
        if let Some(target) = self.target(index) {
            target.phase = HostPhase::Done;
            self.results.tally.not_probed.add(why, 1);
            self.results.tally.targets_done += 1;
            self.slide();
        }
    }

    /// The next probe of a host of which nothing was heard: a host probe, or a port where there are no host probes.
    fn next_of_silent(&mut self, index: u64) -> Option<Probe> {
        if !self.host_probes.list.is_empty() {
            return self.next_host_probe(index);
        }
        let probe = self.next_port(index)?;
        self.target(index)?.sent += 1;
        Some(probe)
    }

    /// The next host probe; over IPv6 there are no timestamps.
    fn next_host_probe(&mut self, index: u64) -> Option<Probe> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        let target = self.targets.get_mut(at)?;
        loop {
            let host_probe = self.host_probes.list.get(target.sent as usize)?;
            target.sent += 1;
            if host_probe.probe != Probe::Timestamp || target.address.is_ipv4() {
                return Some(host_probe.probe);
            }
        }
    }

    /// The next probe of a host whose ports are asked; some are asked every host probe first.
    fn next_of_ports(&mut self, index: u64) -> Option<Probe> {
        let is_thorough = self.is_thorough;
        let target = self.target(index)?;
        let host_probes = if target.is_up() { target.is_sample && target.pass == 0 } else { is_thorough };
        let host_probe = if host_probes { self.next_host_probe(index) } else { None };
        let trial = if host_probe.is_none() { self.next_trial(index) } else { None };
        host_probe.or(trial.map(Probe::Syn)).or_else(|| self.next_port(index))
    }

    fn next_port(&mut self, index: u64) -> Option<Probe> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        loop {
            let target = self.targets.get_mut(at)?;
            let position = self.plan.port_position(index, target.step)?;
            target.step += 1;
            // Ports that discovery has asked in this very pass are only asked again in the next one.
            let asked = self.host_probes.list.get(..target.sent as usize).unwrap_or_default();
            let is_asked = asked.iter().any(|host_probe| host_probe.position == Some(position));
            if position < self.ports && !is_asked && !target.knows(position) {
                return self.plan.port(position).map(|port| Probe::Syn(port.number));
            }
        }
    }
}
