//! SYN scans over a network in virtual time: hosts with open, closed and silent ports, loss, delay and a policer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::finding::{Finding, Observation};
use crate::permute::mix;
use crate::sample;
use crate::spec::{DiscoveryProbe, ScanSpec};

#[path = "syn_scan_test/lost_way_test.rs"]
mod lost_way;
#[path = "syn_scan_test/path_test.rs"]
mod path;
#[path = "syn_scan_test/settled_test.rs"]
mod settled;

/// Everything leaves by one link through one gateway whose address is known, or not.
#[derive(Debug)]
struct OneGateway;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const MAC: Mac = [2, 0, 0, 0, 0, 9];

impl Routes for OneGateway {
    fn way(&self, _address: IpAddr) -> Result<Way, NotProbed> {
        Ok(Way { link: 0, gateway: Some(GATEWAY), needs_mac: true, is_routed: true })
    }

    fn mac(&self, _link: u16, _hop: IpAddr) -> Option<Mac> {
        None
    }
}

/// Everything is on the link.
#[derive(Debug)]
struct OnLink;

impl Routes for OnLink {
    fn way(&self, _address: IpAddr) -> Result<Way, NotProbed> {
        Ok(Way { link: 0, gateway: None, needs_mac: true, is_routed: false })
    }

    fn mac(&self, _link: u16, _hop: IpAddr) -> Option<Mac> {
        // Known to the kernel, but perhaps from an hour ago.
        Some(MAC)
    }
}

/// What the network does to a round trip, and what came of a scan.
#[derive(Debug, Default)]
struct Net {
    /// Round trips lost, in a thousand.
    loss: u64,
    /// Probes carried per second, in bursts of at most a hundredth of them; 0 for all.
    police: u64,
    rtt: Duration,
    /// Whether the gateway, or a host on the link, answers ARP.
    is_arp_silent: bool,
    /// Whether live hosts answer nothing but SYNs.
    is_mute: bool,
    /// Answers every SYN with a SYN-ACK, whatever the port.
    middlebox: Option<u32>,
    /// The first and the last port on which it does, where these are not all.
    boxed_from: u16,
    boxed_until: Option<u16>,
    /// A host that answers no more after so many SYNs.
    bans: Option<(u32, u32)>,
    /// Refuses every SYN itself, with an ICMP error.
    refuses: Option<u32>,
    /// A host that takes so many SYNs per second, in bursts of so many at most, or of 200.
    limit: Option<(u32, f64)>,
    limit_burst: Option<f64>,
    limit_tokens: f64,
    limit_refilled: Duration,
    drawn: u64,
    tokens: f64,
    refilled: Duration,
    /// SYNs by address and port, and probes of all kinds by address.
    asked: BTreeMap<(u32, u16), u32>,
    probes: BTreeMap<u32, u32>,
    kinds: BTreeMap<(u32, String), u32>,
    /// Link 0 carries nothing from one time to another, in time since the beginning.
    down: Option<(Duration, Duration)>,
    /// Whether it is known to be down before the scan begins.
    is_new: bool,
    /// The gateway is dead, or another machine with another address, from a time on.
    dies_at: Option<Duration>,
    moves_at: Option<Duration>,
    /// Ports that answer a SYN only when it comes again.
    wary: BTreeSet<u16>,
    /// SYNs that came to those, with their lanes.
    come: BTreeSet<(u32, u16, u8)>,
    /// Flows that were ended.
    resets: BTreeMap<(u32, String), u32>,
    /// When something was sent, and to which /24.
    sent: Vec<(Duration, u32)>,
    found: Vec<Finding>,
    macs: BTreeSet<Mac>,
    now: Duration,
}

/// Of each four addresses one lives; of its ports one in five is open, one in seven silent, the rest closed.
fn lives(address: u32) -> bool {
    address.is_multiple_of(4)
}

fn state(address: u32, port: u16) -> Option<PortState> {
    let number = address / 4 + u32::from(port);
    match lives(address) {
        true if number.is_multiple_of(7) => None,
        true if number.is_multiple_of(5) => Some(PortState::Open),
        true => Some(PortState::Closed),
        false => None,
    }
}

impl Net {
    fn carries(&mut self, now: Duration) -> bool {
        self.drawn += 1;
        if self.police > 0 {
            let rate = self.police as f64;
            self.tokens = (self.tokens + rate * (now - self.refilled).as_secs_f64()).min(rate / 100.0);
            self.refilled = now;
            if self.tokens < 1.0 {
                return false;
            }
            self.tokens -= 1.0;
        }
        mix(self.drawn) % 1000 >= self.loss
    }

    /// Whether a host's own limit lets a probe through.
    fn takes(&mut self, address: u32, probe: Probe) -> bool {
        let Some((_, rate)) = self.limit.filter(|(limited, _)| *limited == address) else { return true };
        if !matches!(probe, Probe::Syn(_)) {
            return true;
        }
        let burst = self.limit_burst.unwrap_or(200.0);
        self.limit_tokens = (self.limit_tokens + rate * (self.now - self.limit_refilled).as_secs_f64()).min(burst);
        self.limit_refilled = self.now;
        let is_taken = self.limit_tokens >= 1.0;
        self.limit_tokens -= f64::from(u8::from(is_taken));
        is_taken
    }

    /// Scans to the end, a batch every 200 microseconds at most; returns the scan and what it found open.
    fn scan(&mut self, spec: ScanSpec, routes: Box<dyn Routes>, pace: RateCap) -> (SynScan, BTreeSet<(u32, u16)>) {
        let (mut scans, open) = self.scan_in_units(spec, vec![routes], pace);
        (scans.remove(0), open)
    }

    /// The same in as many units as there are `routes`, side by side, which share what they know of the path.
    fn scan_in_units(
        &mut self,
        spec: ScanSpec,
        routes: Vec<Box<dyn Routes>>,
        pace: RateCap,
    ) -> (Vec<SynScan>, BTreeSet<(u32, u16)>) {
        let (spec, pace, scope) = (Arc::new(spec), Arc::new(pace), Arc::default());
        self.now = Duration::from_secs(10);
        self.refilled = self.now;
        let path = Path::new(Start::of(&spec), self.now);
        let plan = || Plan::new(Arc::clone(&spec), 0).unwrap();
        let length = plan().target_count() / routes.len() as u64;
        let unit = |(start, routes)| {
            let (range, scope, pace) = (start * length..(start + 1) * length, Arc::clone(&scope), Arc::clone(&pace));
            SynScan::new(plan(), range, scope, pace, routes, path.clone())
        };
        let mut scans: Vec<SynScan> = (0..).zip(routes).map(unit).collect();
        if self.is_new {
            scans.iter_mut().for_each(|scan| scan.on_new_link(self.now, 0));
        }
        let whole = plan();
        let unit_of = |address| usize::try_from(whole.index_of(address).unwrap() / length).unwrap();
        let mut wire: VecDeque<(Duration, Reply)> = VecDeque::new();
        let (mut out, mut open, mut findings) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut running: Vec<usize> = (0..scans.len()).collect();
        while !running.is_empty() {
            while wire.front().is_some_and(|(due, _)| *due <= self.now) {
                if let Some((_, reply)) = wire.pop_front() {
                    scans[unit_of(reply.address)].on_reply(self.now, &reply);
                }
            }
            let (mut next, mut has_sent) = (Duration::MAX, false);
            for unit in running.clone() {
                let scan = &mut scans[unit];
                scan.on_link(self.now, 0, !self.is_down());
                match scan.poll(self.now, 64, 16, &mut out) {
                    Turn::Done => running.retain(|other| *other != unit),
                    Turn::Sent => has_sent = true,
                    Turn::Wait { until } => next = next.min(until),
                }
                for send in out.drain(..) {
                    self.carry(scan, send, &mut wire);
                }
                findings.extend(scan.results_mut().take_findings());
            }
            next = wire.front().map_or(next, |(due, _)| next.min(*due));
            self.now = match has_sent {
                true => self.now + Duration::from_micros(200),
                false if running.is_empty() => self.now,
                false => next.max(self.now + Duration::from_micros(50)),
            };
            assert!(self.now < Duration::from_secs(4000), "it never ends");
        }
        for finding in &findings {
            let address = bits(finding.address);
            if let Observation::Port { port, state: found, .. } = finding.observation {
                let is_boxed = self.middlebox == Some(address);
                assert!(is_boxed || state(address, port.number) == Some(found), "a phantom");
                if found == PortState::Open {
                    assert!(open.insert((address, port.number)), "told twice");
                }
            }
        }
        self.found = findings;
        (scans, open)
    }

    fn carry(&mut self, scan: &mut SynScan, send: Transmit, wire: &mut VecDeque<(Duration, Reply)>) {
        match send {
            Transmit::Probe { address, probe, lane, mac, .. } => {
                self.macs.insert(mac);
                let bits = bits(address);
                self.sent.push((self.now, bits >> 8));
                *self.probes.entry(bits).or_default() += u32::from(!lane::is_canary(lane));
                *self.kinds.entry((bits, format!("{probe:?}"))).or_default() += u32::from(!lane::is_canary(lane));
                if let Probe::Syn(port) = probe {
                    *self.asked.entry((bits, port)).or_default() += u32::from(!lane::is_canary(lane));
                }
                let is_taken = self.takes(bits, probe) && self.delivers(mac) && self.is_believed(bits, probe, lane);
                let is_banned = self.bans.as_mut().filter(|(host, _)| *host == bits).is_some_and(|(_, left)| {
                    *left = left.saturating_sub(u32::from(matches!(probe, Probe::Syn(_))));
                    *left == 0
                });
                let is_taken = is_taken && !is_banned;
                let answer = self.answer(bits, probe).filter(|_| is_taken && self.carries(self.now));
                if let Some((state, reason)) = answer {
                    let sent_at = Duration::from_millis(u64::try_from(self.now.as_millis()).unwrap());
                    let sent_at = lane::is_stamped(probe, lane).then_some(sent_at);
                    let is_own_word = true;
                    wire.push_back((
                        self.now + self.rtt,
                        Reply { address, probe, lane, sent_at, state, reason, ttl: 60, is_own_word, stack: None },
                    ));
                }
            }
            Transmit::Resolve { address, .. }
                if !self.is_arp_silent
                    && !self.is_down()
                    && !self.is_dead()
                    && (address == GATEWAY || lives(bits(address))) =>
            {
                scan.on_neighbour(self.now, 0, address, self.mac());
            }
            Transmit::Resolve { .. } => {}
            Transmit::Reset { address, probe, .. } => {
                self.sent.push((self.now, bits(address) >> 8));
                *self.resets.entry((bits(address), format!("{probe:?}"))).or_default() += 1;
            }
            Transmit::BannerGrab { index, address, port, .. } => {
                self.sent.push((self.now, bits(address) >> 8));
                scan.on_banner(index, SocketAddr::new(address, port), Some(format!("hello from {port}")));
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.now - Duration::from_secs(10)
    }

    fn is_down(&self) -> bool {
        self.down.is_some_and(|(from, to)| (from..to).contains(&self.elapsed()))
    }

    fn is_dead(&self) -> bool {
        self.dies_at.is_some_and(|at| self.elapsed() >= at)
    }

    /// The hardware address of the gateway at the moment.
    fn mac(&self) -> Mac {
        let has_moved = self.moves_at.is_some_and(|at| self.elapsed() >= at);
        if has_moved { [2, 0, 0, 0, 0, 10] } else { MAC }
    }

    /// Whether a packet to a hardware address gets anywhere.
    fn delivers(&self, mac: Mac) -> bool {
        !self.is_down() && !self.is_dead() && mac == self.mac()
    }

    /// Whether a port answers this SYN: wary ones only one that has come before.
    fn is_believed(&mut self, address: u32, probe: Probe, lane: u8) -> bool {
        match probe {
            Probe::Syn(port) if self.wary.contains(&port) => !self.come.insert((address, port, lane)),
            _ => true,
        }
    }

    fn answer(&self, address: u32, probe: Probe) -> Option<(PortState, Reason)> {
        let is_seen = lives(address) && !self.is_mute;
        match probe {
            Probe::Syn(_) if self.refuses == Some(address) => Some((PortState::Filtered, Reason::PortUnreach)),
            Probe::Syn(port) if self.middlebox == Some(address) && self.is_boxed(port) => {
                Some((PortState::Open, Reason::SynAck))
            }
            Probe::Syn(port) => {
                let state = state(address, port)?;
                Some((state, if state == PortState::Open { Reason::SynAck } else { Reason::Reset }))
            }
            Probe::Ack(_) => is_seen.then_some((PortState::Unfiltered, Reason::Reset)),
            Probe::Echo => is_seen.then_some((PortState::Unfiltered, Reason::EchoReply)),
            Probe::Timestamp => is_seen.then_some((PortState::Unfiltered, Reason::TimestampReply)),
        }
    }

    fn is_boxed(&self, port: u16) -> bool {
        port >= self.boxed_from && self.boxed_until.is_none_or(|last| port <= last)
    }

    fn hosts_up(&self) -> BTreeMap<u32, Reason> {
        let up = self.found.iter().filter_map(|finding| match finding.observation {
            Observation::Host { reason, .. } => Some((bits(finding.address), reason)),
            _ => None,
        });
        up.collect()
    }

    fn banners(&self) -> Vec<u16> {
        let banners = self.found.iter().filter_map(|finding| match &finding.observation {
            Observation::Banner { port, .. } => Some(port.number),
            _ => None,
        });
        banners.collect()
    }
}

fn bits(address: IpAddr) -> u32 {
    let IpAddr::V4(address) = address else { panic!("no IPv6 was asked") };
    address.to_bits()
}

fn spec(targets: &str, ports: &str) -> ScanSpec {
    sample::spec(targets, ports, 3)
}

/// Open ports that are there.
fn truth(first: u32, hosts: u32, ports: std::ops::RangeInclusive<u16>) -> BTreeSet<(u32, u16)> {
    let all = (first..first + hosts).flat_map(|address| ports.clone().map(move |port| (address, port)));
    all.filter(|(address, port)| state(*address, *port) == Some(PortState::Open)).collect()
}

const FIRST: u32 = 0x0a4d_0000;

fn recall(found: &BTreeSet<(u32, u16)>, truth: &BTreeSet<(u32, u16)>) -> f64 {
    found.intersection(truth).count() as f64 / truth.len() as f64
}

#[test]
fn a_clean_network_is_found_whole_and_its_dark_hosts_are_asked_a_few_ports_once() {
    let mut net = Net { rtt: Duration::from_millis(3), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/20", "1-20"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 4096, 1..=20));
    let tally = scan.results().tally();
    assert_eq!((tally.targets_done, tally.hosts_up), (4096, 1024));
    assert!(scan.estimates().loss < 1e-9);
    assert_eq!(net.macs, BTreeSet::from([MAC]));
    let dark: Vec<u32> = net.probes.iter().filter(|(address, _)| !lives(**address)).map(|(_, asked)| *asked).collect();
    let probes = f64::from(dark.iter().sum::<u32>()) / 3072.0;
    // Those who were asked before anything had answered are asked again: nobody measured what became of that.
    assert!(probes <= 6.5, "{probes} probes per dark host, five of them discovery");
    let again = |wanted: fn(Option<PortState>) -> bool| {
        let asked = net.asked.iter().filter(|((address, port), _)| lives(*address) && wanted(state(*address, *port)));
        asked.map(|(_, asked)| *asked).max().unwrap()
    };
    assert_eq!(again(|state| state.is_some()), 1, "what answers is not asked again");
    assert!(again(|state| state.is_none()) <= 3, "what is silent is");
}

#[test]
fn a_host_that_is_named_is_asked_everything_although_it_is_silent_at_first() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (_, open) = net.scan(spec("10.77.0.0", "1-2000"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 1, 1..=2000));
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.1", "1-50"), Box::new(OneGateway), RateCap::new(None));
    assert!(open.is_empty() && scan.results().tally().hosts_up == 0);
    assert!((0..50).all(|port| net.asked[&(FIRST + 1, 1 + port)] == 2), "nothing is known of the loss: asked again");
}

#[test]
fn a_gateway_that_does_not_answer_ends_the_unit() {
    let mut net = Net { is_arp_silent: true, ..Net::default() };
    let (scan, _) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!((scan.results().tally().targets_done, scan.results().tally().probes_sent), (256, 0));
    assert_eq!(scan.results().tally().not_probed.to_string(), "gateway silent 256");
}

#[test]
fn on_the_link_only_who_answers_arp_is_sent_anything() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OnLink), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 256, 1..=10));
    assert_eq!((scan.results().tally().hosts_up, scan.results().tally().targets_done), (64, 256));
    assert!(net.asked.keys().all(|(address, _)| lives(*address)));
}

#[test]
fn what_is_excluded_or_out_of_scope_is_never_sent() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let exclude = "10.77.0.8".parse().unwrap();
    let spec = ScanSpec { exclude, ..spec("10.77.0.0/27,11.0.0.0/28", "1-10") };
    let (scan, _) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
    assert_eq!(scan.results().left_out().refused, 17);
    assert_eq!(scan.results().tally().not_probed.to_string(), "outside the scope or excluded 17");
    assert!(net.asked.keys().all(|(address, _)| *address != FIRST + 8 && address >> 24 == 10));
}

#[test]
fn ports_that_a_router_forbids_are_filtered_for_that_reason() {
    let plan = Plan::new(Arc::new(spec("10.77.0.0", "1-3")), 0).unwrap();
    let (scope, pace) = (Arc::default(), Arc::new(RateCap::new(None)));
    let mut now = Duration::from_secs(1);
    let path = Path::new(Start::of(plan.spec()), now);
    let mut scan = SynScan::new(plan, 0..1, scope, pace, Box::new(OneGateway), path);
    let (mut out, mut found) = (Vec::new(), Vec::new());
    loop {
        let turn = scan.poll(now, 64, 16, &mut out);
        for send in out.drain(..) {
            if let Transmit::Resolve { address, .. } = send {
                scan.on_neighbour(now, 0, address, MAC);
            }
            let Transmit::Probe { address, probe, lane, .. } = send else { continue };
            let (state, reason) = match probe {
                Probe::Syn(1) => (PortState::Closed, Reason::Reset),
                Probe::Syn(2) => (PortState::Filtered, Reason::AdminProhibited),
                _ => continue,
            };
            let is_own_word = state == PortState::Closed;
            let sent_at = lane::is_stamped(probe, lane).then_some(now);
            let reply = Reply { address, probe, lane, sent_at, state, reason, ttl: 60, is_own_word, stack: None };
            scan.on_reply(now, &reply);
            scan.on_reply(now, &reply);
        }
        found.extend(scan.results_mut().take_findings());
        match turn {
            Turn::Done => break,
            Turn::Sent => now += Duration::from_millis(1),
            Turn::Wait { until } => now = until.max(now + Duration::from_millis(1)),
        }
    }
    let filtered: BTreeMap<Reason, String> = found
        .iter()
        .filter_map(|finding| match &finding.observation {
            Observation::Ports { ports, reason, .. } => Some((*reason, ports.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(filtered[&Reason::AdminProhibited], "2");
    assert_eq!(filtered[&Reason::NoResponse], "3");
    let ports = found.iter().filter(|finding| matches!(finding.observation, Observation::Port { .. })).count();
    assert_eq!(ports, 1, "a duplicate is dropped");
}

#[test]
fn hosts_are_found_by_whatever_they_answer_and_for_that_reason() {
    for (wanted, reason) in [
        (DiscoveryProbe::Echo, Reason::EchoReply),
        (DiscoveryProbe::Timestamp, Reason::TimestampReply),
        (DiscoveryProbe::Ack(80), Reason::Reset),
    ] {
        let mut net = Net { rtt: Duration::from_millis(2), loss: 98, ..Net::default() };
        let spec = ScanSpec { discovery: vec![wanted], ..spec("10.77.0.0/22", "1-20") };
        let (scan, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
        assert!(recall(&open, &truth(FIRST, 1024, 1..=20)) > 0.999);
        assert_eq!(scan.results().tally().hosts_up, 256);
        assert!(net.hosts_up().values().all(|known| *known == reason), "{wanted}");
        // One probe each, again as far as loss asks: a host that is dark is sent nothing else.
        let dark: u32 = net.probes.iter().filter(|(address, _)| !lives(**address)).map(|(_, asked)| *asked).sum();
        assert!(f64::from(dark) / 768.0 < 6.5, "{dark}");
    }
}

#[test]
fn hosts_that_answer_one_host_probe_alone_are_not_missed_for_loss() {
    let mut net = Net { is_mute: true, loss: 98, rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/20", "80,101-120"), Box::new(OneGateway), RateCap::new(None));
    // Of live hosts, those count whose port 80 or 443 is not silent.
    let seen = |address: &u32| lives(*address) && [80, 443].iter().any(|port| state(*address, *port).is_some());
    let seen = (FIRST..FIRST + 4096).filter(seen).count() as u64;
    assert!(scan.results().tally().hosts_up >= seen - 1, "{} of {seen}", scan.results().tally().hosts_up);
    assert!(!open.is_empty());
}

#[test]
fn a_host_that_refuses_everything_itself_is_up_and_its_ports_are_filtered() {
    let mut net = Net { refuses: Some(FIRST + 1), rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, _) = net.scan(spec("10.77.0.0/28", "1-10"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(scan.results().tally().hosts_up, 5);
    assert_eq!(net.hosts_up().get(&(FIRST + 1)), Some(&Reason::PortUnreach));
    let filtered = net.found.iter().filter_map(|finding| match &finding.observation {
        Observation::Ports { ports, reason: Reason::PortUnreach, .. } => Some((bits(finding.address), ports.count())),
        _ => None,
    });
    assert_eq!(filtered.collect::<Vec<_>>(), [(FIRST + 1, 10)]);
}

#[test]
fn a_unit_without_tcp_ports_finds_hosts_and_nothing_else() {
    for (ports, targets, up, count) in [("U:53,U:161", "10.77.0.0/22", 256, 1024), ("U:53", "10.77.0.0/31", 1, 2)] {
        let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
        let (scan, open) = net.scan(spec(targets, ports), Box::new(OneGateway), RateCap::new(None));
        assert!(open.is_empty());
        assert_eq!(scan.results().tally().hosts_up, up);
        assert!(net.found.iter().all(|finding| matches!(finding.observation, Observation::Host { .. })));
        let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
        let (scan, _) = net.scan(spec(targets, ports), Box::new(OnLink), RateCap::new(None));
        assert_eq!(
            (scan.results().tally().hosts_up, scan.results().tally().probes_sent),
            (up, up + 3 * (count - up)),
            "on the link ARP is enough, and whom it does not find is asked three times"
        );
    }
    let mut net = Net::default();
    let nothing = ScanSpec { discovery: Vec::new(), ..spec("10.77.0.0/24", "U:53") };
    let (scan, _) = net.scan(nothing, Box::new(OneGateway), RateCap::new(None));
    assert_eq!((scan.results().tally().targets_done, scan.results().tally().probes_sent), (256, 0));
}

#[test]
fn a_host_that_answers_on_everything_is_told_from_one_with_many_services() {
    let mut net = Net { middlebox: Some(FIRST + 8), rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.0/27", "1-300"), Box::new(OneGateway), RateCap::new(None));
    let not_boxed = |(address, _): &(u32, u16)| *address != FIRST + 8;
    let flagged = net.found.iter().filter(|finding| finding.observation == Observation::Middlebox);
    assert_eq!(flagged.map(|finding| bits(finding.address)).collect::<Vec<_>>(), [FIRST + 8]);
    assert!(open.iter().filter(|(address, _)| *address == FIRST + 8).count() < 100, "it is left alone");
    assert_eq!(
        scan.results().tally().open_ports,
        truth(FIRST, 32, 1..=300).into_iter().filter(not_boxed).count() as u64
    );
    let boxed = |finding: &&Finding| bits(finding.address) == FIRST + 8;
    let heard =
        net.found.iter().filter(boxed).filter(|finding| matches!(finding.observation, Observation::Banner { .. }));
    assert!(heard.count() <= 5, "its words are worth nothing");
    // Also where the scan leaves no port to draw, and where a third of all answers is lost.
    for (ports, loss) in [("-", 0), ("1-1000", 300)] {
        let mut net = Net { middlebox: Some(FIRST + 8), rtt: Duration::from_millis(2), loss, ..Net::default() };
        let (_, open) = net.scan(spec("10.77.0.8", ports), Box::new(OneGateway), RateCap::new(None));
        let flagged = net.found.iter().filter(|finding| finding.observation == Observation::Middlebox).count();
        assert_eq!(flagged, 1, "{ports}");
        assert!(open.len() < 2000, "{} of {ports}", open.len());
    }
    // Where all has been answered by the time that the pass ends, it is put to the test all the same.
    let mut net = Net { middlebox: Some(FIRST + 8), rtt: Duration::from_millis(1), ..Net::default() };
    net.scan(spec("10.77.0.0/20", "1-5"), Box::new(OneGateway), RateCap::new(None));
    let flagged = net.found.iter().filter(|finding| finding.observation == Observation::Middlebox);
    assert_eq!(flagged.map(|finding| bits(finding.address)).collect::<Vec<_>>(), [FIRST + 8]);
    // Ports whose numbers are five apart are all open on one host, and it is no middlebox.
    let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
    let all_open: Vec<u16> = (1..200_u16).filter(|port| state(FIRST, *port) == Some(PortState::Open)).collect();
    let ports = all_open.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let (_, open) = net.scan(spec("10.77.0.0", &ports), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open.len(), all_open.len());
    assert!(net.found.iter().all(|finding| finding.observation != Observation::Middlebox));
}

#[test]
fn a_host_of_which_a_range_of_ports_answers_is_left_alone_as_well() {
    let mut net =
        Net { middlebox: Some(FIRST + 8), boxed_until: Some(1024), rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.8", "1-1024"), Box::new(OneGateway), RateCap::new(None));
    assert!(net.found.iter().all(|finding| finding.observation != Observation::Middlebox));
    assert_eq!((redirected(&net), scan.results().tally().open_ports), (Some((1, 1024)), 0));
    assert!(open.len() < 800, "{} ports were asked", open.len());
    // Also where the scan asks a part of the range, less than half of what there is below 1024.
    for ports in ["1-300", "301-700,2000-2999"] {
        let mut net = Net {
            middlebox: Some(FIRST + 8),
            boxed_until: Some(1024),
            rtt: Duration::from_millis(2),
            ..Net::default()
        };
        let (scan, _) = net.scan(spec("10.77.0.8", ports), Box::new(OneGateway), RateCap::new(None));
        let is_told = redirected(&net).is_some_and(|(first, last)| first <= 301 && last >= 300);
        let own = truth(FIRST + 8, 1, 2000..=2999).len() as u64;
        let expected = if ports == "1-300" { 0 } else { own };
        assert_eq!((is_told, scan.results().tally().open_ports), (true, expected), "{ports}");
    }
}

/// The range that was told to be redirected last.
fn redirected(net: &Net) -> Option<(u16, u16)> {
    let mut told = net.found.iter().filter_map(|finding| match finding.observation {
        Observation::Redirected { first, last, .. } => Some((first, last)),
        _ => None,
    });
    told.next_back()
}

#[test]
fn what_is_open_outside_of_a_redirected_range_is_a_hosts_own() {
    for ((from, until), ports) in [
        ((1, 1023), "1-1023,8000-8099"),
        ((1, 1023), "-"),
        ((1024, 65_535), "1-2048"),
        ((1100, 65_535), "1-1500"),
        ((1024, 65_535), "-"),
    ] {
        let mut net = Net {
            middlebox: Some(FIRST + 8),
            boxed_from: from,
            boxed_until: Some(until),
            rtt: Duration::from_millis(2),
            ..Net::default()
        };
        let (scan, open) = net.scan(spec("10.77.0.8", ports), Box::new(OneGateway), RateCap::new(None));
        let asked: crate::port::PortSet = ports.parse().unwrap();
        // Each fifth port is the host's own.
        let outside = (1..=u16::MAX).filter(|port| !(from..=until).contains(port) && asked.contains(Port::tcp(*port)));
        let expected = outside.filter(|port| state(FIRST + 8, *port) == Some(PortState::Open)).count() as u64;
        let counted = scan.results().tally().open_ports;
        assert!(counted <= expected && counted + 2 >= expected, "{counted} of {expected}: {from}-{until} of {ports}");
        let told = redirected(&net).unwrap();
        assert!(told.0.abs_diff(from.max(1)) <= 1 && told.1 >= until.min(1500), "{told:?} of {from}-{until}");
        assert!(net.found.iter().all(|finding| finding.observation != Observation::Middlebox));
        assert!(open.len() < usize::try_from(expected).unwrap() + 3000, "{} ports", open.len());
    }
}

#[test]
fn a_stretch_of_thousands_above_1024_is_no_machines_and_hundreds_are() {
    let told = |(from, until): (u16, u16), ports: &str, loss| {
        let mut net = Net {
            middlebox: Some(FIRST + 8),
            boxed_from: from,
            boxed_until: Some(until),
            rtt: Duration::from_millis(2),
            loss,
            ..Net::default()
        };
        let (scan, open) = net.scan(spec("10.77.0.8", ports), Box::new(OneGateway), RateCap::new(None));
        let told = usize::from(redirected(&net).is_some());
        assert!(net.found.iter().all(|finding| finding.observation != Observation::Middlebox));
        (told, scan.results().tally().open_ports, open.len())
    };
    // Each fifth port beside it is open as well, and most others are closed.
    for (range, ports, loss) in
        [((2000, 9999), "1-12000", 0), ((30_000, 39_999), "20000-45000", 50), ((2000, 9999), "3000-3200", 0)]
    {
        let (boxes, counted, open) = told(range, ports, loss);
        let asked: crate::port::PortSet = ports.parse().unwrap();
        let own = (1..=u16::MAX).filter(|port| !(range.0..=range.1).contains(port) && asked.contains(Port::tcp(*port)));
        let own = own.filter(|port| state(FIRST + 8, *port) == Some(PortState::Open)).count() as u64;
        assert!(boxes == 1 && counted <= own && counted + 2 >= own, "{counted} of {own}, {range:?} of {ports}");
        assert!(open < 6000, "{open} ports of {ports}");
    }
    for (range, ports) in
        [((30_000, 30_511), "29000-33000"), ((30_000, 31_499), "30000-31499"), ((30_000, 30_100), "29000-31000")]
    {
        let (boxes, counted, open) = told(range, ports, 0);
        assert_eq!((boxes, counted), (0, open as u64), "{range:?} of {ports}");
    }
}

#[test]
fn dozens_of_real_listeners_below_1024_are_a_machines_own() {
    let mut net =
        Net { middlebox: Some(FIRST + 8), boxed_until: Some(200), rtt: Duration::from_millis(2), ..Net::default() };
    let (scan, open) = net.scan(spec("10.77.0.8", "1-200"), Box::new(OneGateway), RateCap::new(None));
    let told = |wanted: Observation| net.found.iter().filter(|finding| finding.observation == wanted).count();
    assert_eq!((told(Observation::Middlebox), told(Observation::Cleared)), (0, 1));
    assert_eq!((open.len(), scan.results().tally().open_ports), (200, 200));
}

#[test]
fn fragile_ports_are_asked_by_syn_alone() {
    for (ports, expected) in [("9100,9108", vec![9108]), ("515,502", vec![502])] {
        let mut net = Net { middlebox: Some(FIRST), rtt: Duration::from_millis(1), ..Net::default() };
        let discovery = vec![DiscoveryProbe::Ack(9100), DiscoveryProbe::Ack(502), DiscoveryProbe::Echo];
        let spec = ScanSpec { discovery, ..spec("10.77.0.0", ports) };
        let (_, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
        assert_eq!(open.len(), 2);
        assert!(net.kinds.keys().all(|(_, kind)| !kind.starts_with("Ack")));
        assert_eq!(net.banners(), expected, "listening sends nothing, and a printer says nothing");
    }
}

#[test]
fn a_fragile_network_gets_one_slow_syn_at_a_time_and_none_twice() {
    let mut net = Net { rtt: Duration::from_millis(200), ..Net::default() };
    let spec = ScanSpec { profile: Profile::OtSafe, ..spec("10.77.0.0/29", "1-10") };
    let (_, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 8, 1..=10));
    assert!(net.asked.values().all(|asked| *asked == 1) && net.kinds.keys().all(|(_, kind)| kind.starts_with("Syn")));
    let apart = net.sent.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap();
    assert!(apart >= Duration::from_millis(200), "{apart:?}");
    assert!(net.banners().is_empty());
}

/// What was told of a host that stopped answering: after how many probes, the share that is here, and the ports said to be silent.
fn stopped(net: &Net, host: u32) -> (Option<u32>, Option<u16>, u32) {
    let (mut probes, mut share, mut silent) = (None, None, 0);
    for finding in net.found.iter().filter(|finding| bits(finding.address) == host) {
        match &finding.observation {
            Observation::Stopped { probes: told } => assert_eq!(probes.replace(*told), None, "told once"),
            Observation::LikelyFound { permille } => share = Some(*permille),
            Observation::Ports { ports, .. } => silent += ports.count(),
            _ => {}
        }
    }
    (probes, share, silent)
}

#[test]
fn a_host_that_stops_answering_in_the_middle_is_told_and_nothing_of_its_rest_is_filtered() {
    for (targets, retries) in [("10.77.0.8", None), ("10.77.0.0/27", None), ("10.77.0.0/27", Some(2))] {
        let mut net = Net { rtt: Duration::from_millis(2), bans: Some((FIRST + 8, 400)), ..Net::default() };
        let spec = ScanSpec { retries, rate_pps: Some(5000), banners: false, ..spec(targets, "1-1000") };
        let (scan, open) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
        let (probes, share, silent) = stopped(&net, FIRST + 8);
        assert!(probes.is_some_and(|probes| (360..=440).contains(&probes)), "{probes:?} of {targets}, {retries:?}");
        assert!(share.is_some_and(|share| (300..=450).contains(&share)), "{share:?} of {targets}");
        assert!(silent <= 80, "{silent} silent");
        let asked = net.probes[&(FIRST + 8)];
        assert!(asked < 700, "{asked} probes were sent to one that does not listen");
        assert!(scan.estimates().recall < 0.95);
        let mut others = truth(FIRST, 32, 1..=1000).into_iter().filter(|(address, _)| *address != FIRST + 8);
        assert!(targets == "10.77.0.8" || others.all(|port| open.contains(&port)), "others are found whole");
        let told = net.found.iter().filter(|finding| matches!(finding.observation, Observation::Stopped { .. }));
        assert_eq!(told.count(), 1);
    }
}

#[test]
fn a_host_most_of_which_is_silent_or_that_takes_few_syns_has_not_stopped_answering() {
    for (loss, limit) in [(0, None), (300, None), (0, Some((FIRST + 8, 300.0)))] {
        let mut net = Net { rtt: Duration::from_millis(2), loss, limit, ..Net::default() };
        // Of these one is open and all others are silent.
        let silent: Vec<u16> = (1..=4000).filter(|port| state(FIRST + 8, *port).is_none()).take(400).collect();
        let open = (1..=100).find(|port| state(FIRST + 8, *port) == Some(PortState::Open)).unwrap();
        let ports: Vec<String> = silent.iter().chain([&open]).map(u16::to_string).collect();
        let (_, found) = net.scan(spec("10.77.0.8", &ports.join(",")), Box::new(OneGateway), RateCap::new(None));
        assert_eq!((stopped(&net, FIRST + 8).0, found.len()), (None, 1), "{loss}, {limit:?}");
        assert_eq!(stopped(&net, FIRST + 8).2, 400);
    }
}
