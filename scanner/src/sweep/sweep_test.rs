//! Sweeps over a network in virtual time: hosts with open, closed and silent ports, loss, delay and a policer.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::finding::Observation;
use crate::permute::mix;
use crate::spec::ScanSpec;

/// Everything leaves by one link through one gateway whose address is known, or not.
#[derive(Debug)]
struct OneGateway;

const GATEWAY: u32 = 0x0a00_0001;
const MAC: Mac = [2, 0, 0, 0, 0, 9];

impl Routes for OneGateway {
    fn way(&self, _address: u32) -> Option<Way> {
        Some(Way { link: 0, gateway: Some(GATEWAY), needs_mac: true })
    }
}

/// Everything is on the link.
#[derive(Debug)]
struct OnLink;

impl Routes for OnLink {
    fn way(&self, _address: u32) -> Option<Way> {
        Some(Way { link: 0, gateway: None, needs_mac: true })
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
    drawn: u64,
    tokens: f64,
    refilled: Duration,
    /// Probes by address and port.
    asked: BTreeMap<(u32, u16), u32>,
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

    /// Scans to the end, a batch every 200 microseconds at most; returns the sweep and what it found open.
    fn scan(&mut self, spec: ScanSpec, routes: Box<dyn Routes>, pace: RateCap) -> (Sweep, BTreeSet<(u32, u16)>) {
        let plan = Plan::new(Arc::new(spec), 0).unwrap();
        let count = plan.target_count();
        self.now = Duration::from_secs(10);
        self.refilled = self.now;
        let limits = (Arc::new(Scope::default()), Arc::new(pace));
        let mut sweep = Sweep::new((plan, 0..count), limits, (routes, HashMap::new()), self.now);
        let mut wire: VecDeque<(Duration, Reply)> = VecDeque::new();
        let (mut out, mut open, mut findings) = (Vec::new(), BTreeSet::new(), Vec::new());
        loop {
            while wire.front().is_some_and(|(due, _)| *due <= self.now) {
                wire.pop_front().into_iter().for_each(|(_, reply)| sweep.on_reply(self.now, &reply));
            }
            let turn = sweep.poll(self.now, 64, 16, &mut out);
            for send in out.drain(..) {
                self.carry(&mut sweep, send, &mut wire);
            }
            findings.extend(sweep.take_findings());
            match turn {
                Turn::Done => break,
                Turn::Sent => self.now += Duration::from_micros(200),
                Turn::Wait { until } => {
                    let next = wire.front().map_or(until, |(due, _)| until.min(*due));
                    self.now = next.max(self.now + Duration::from_micros(50));
                }
            }
            assert!(self.now < Duration::from_secs(4000), "it never ends");
        }
        for finding in &findings {
            let std::net::IpAddr::V4(address) = finding.address else { panic!("no IPv6 was asked") };
            if let Observation::Port { port, state: found, .. } = finding.observation {
                assert_eq!(state(address.to_bits(), port.number), Some(found), "a phantom");
                if found == PortState::Open {
                    assert!(open.insert((address.to_bits(), port.number)), "told twice");
                }
            }
        }
        (sweep, open)
    }

    fn carry(&mut self, sweep: &mut Sweep, send: Send, wire: &mut VecDeque<(Duration, Reply)>) {
        match send {
            Send::Syn { address, port, attempt, mac, .. } => {
                self.macs.insert(mac);
                *self.asked.entry((address, port)).or_default() += u32::from(attempt != CANARY);
                if let Some(state) = state(address, port).filter(|_| self.carries(self.now)) {
                    let reason = if state == PortState::Open { Reason::SynAck } else { Reason::Reset };
                    let sent_at = Duration::from_millis(u64::try_from(self.now.as_millis()).unwrap());
                    wire.push_back((
                        self.now + self.rtt,
                        Reply { address, port, attempt, sent_at, state, reason, ttl: 60 },
                    ));
                }
            }
            Send::Arp { address, .. } if !self.is_arp_silent && (address == GATEWAY || lives(address)) => {
                sweep.on_arp(address, MAC);
            }
            Send::Arp { .. } => {}
            Send::Greet { index, address, port, .. } => sweep.on_banner(index, address, port, None),
        }
    }
}

fn spec(targets: &str, ports: &str) -> ScanSpec {
    let partitions = vec![targets.parse().unwrap()];
    ScanSpec { partitions, ports: ports.parse().unwrap(), seed: 3, ..ScanSpec::default() }
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
    let (sweep, open) = net.scan(spec("10.77.0.0/20", "1-20"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 4096, 1..=20));
    let counts = sweep.counts();
    assert_eq!((counts.targets_done, counts.hosts_up), (4096, 1024));
    assert!(sweep.loss_rate() < 1e-9);
    assert_eq!(net.macs, BTreeSet::from([MAC]));
    let dark: Vec<u32> =
        net.asked.iter().filter(|((address, _), _)| !lives(*address)).map(|(_, asked)| *asked).collect();
    let probes = f64::from(dark.iter().sum::<u32>()) / 3072.0;
    // Those who were asked before anything had answered are asked again: nobody measured what became of that.
    assert!(probes <= 5.5, "{probes} probes per dark host, five of them discovery");
    let again = |wanted: fn(Option<PortState>) -> bool| {
        let asked = net.asked.iter().filter(|((address, port), _)| lives(*address) && wanted(state(*address, *port)));
        asked.map(|(_, asked)| *asked).max().unwrap()
    };
    assert_eq!(again(|state| state.is_some()), 1, "what answers is not asked again");
    assert!(again(|state| state.is_none()) <= 3, "what is silent is");
}

#[test]
fn loss_is_measured_and_made_good() {
    for (loss, least) in [(98, 0.9999), (360, 0.999)] {
        let mut net = Net { loss, rtt: Duration::from_millis(3), ..Net::default() };
        let (sweep, open) = net.scan(spec("10.77.0.0/20", "1-20"), Box::new(OneGateway), RateCap::new(None));
        let recall = recall(&open, &truth(FIRST, 4096, 1..=20));
        assert!(recall >= least, "{recall} at {loss} in a thousand");
        assert!((sweep.loss_rate() - loss as f64 / 1000.0).abs() < 0.03, "{}", sweep.loss_rate());
    }
}

#[test]
fn a_policed_path_is_filled_and_nothing_is_missed() {
    let mut net = Net { police: 20_000, rtt: Duration::from_millis(2), ..Net::default() };
    let (sweep, open) = net.scan(spec("10.77.0.0/18", "1-20"), Box::new(OneGateway), RateCap::new(None));
    let recall = recall(&open, &truth(FIRST, 16_384, 1..=20));
    assert!(recall >= 0.9995, "{recall}");
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    let needed = f64::from(4096 * 20 + 12_288 * 5) / 20_000.0;
    let sent = sweep.counts().probes_sent;
    assert!(seconds < 2.2 * needed, "{seconds} s, {needed} at the full rate, {sent} probes");
}

#[test]
fn a_far_network_is_waited_for_all_at_once() {
    let mut net = Net { rtt: Duration::from_millis(50), ..Net::default() };
    let (_, open) = net.scan(spec("10.77.0.0/20", "1-3"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 4096, 1..=3));
    assert!(net.now - Duration::from_secs(10) < Duration::from_secs(3), "{:?}", net.now);
}

#[test]
fn a_budget_holds_to_the_end() {
    let mut net = Net { rtt: Duration::from_millis(2), ..Net::default() };
    let (sweep, open) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OneGateway), RateCap::new(Some(1000)));
    assert_eq!(open, truth(FIRST, 256, 1..=10));
    let seconds = (net.now - Duration::from_secs(10)).as_secs_f64();
    let most = 1000.0 * seconds * 1.05 + 5.0;
    let connections = truth(FIRST, 256, 1..=10).len() as f64;
    assert!(sweep.counts().probes_sent as f64 + connections <= most, "{:?} in {seconds} s", sweep.counts());
}

#[test]
fn a_host_that_is_named_is_asked_everything_although_it_is_silent_at_first() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (_, open) = net.scan(spec("10.77.0.0", "1-2000"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 1, 1..=2000));
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (sweep, open) = net.scan(spec("10.77.0.1", "1-50"), Box::new(OneGateway), RateCap::new(None));
    assert!(open.is_empty() && sweep.counts().hosts_up == 0);
    assert!(net.asked.values().all(|asked| *asked >= 2), "nothing is known of the loss: asked again");
}

#[test]
fn a_gateway_that_does_not_answer_ends_the_unit() {
    let mut net = Net { is_arp_silent: true, ..Net::default() };
    let (sweep, _) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OneGateway), RateCap::new(None));
    assert_eq!((sweep.counts().targets_done, sweep.counts().probes_sent), (256, 0));
}

#[test]
fn on_the_link_only_who_answers_arp_is_sent_anything() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let (sweep, open) = net.scan(spec("10.77.0.0/24", "1-10"), Box::new(OnLink), RateCap::new(None));
    assert_eq!(open, truth(FIRST, 256, 1..=10));
    assert_eq!((sweep.counts().hosts_up, sweep.counts().targets_done), (64, 256));
    assert!(net.asked.keys().all(|(address, _)| lives(*address)));
}

#[test]
fn what_is_excluded_or_out_of_scope_is_never_sent() {
    let mut net = Net { rtt: Duration::from_millis(1), ..Net::default() };
    let exclude = "10.77.0.8".parse().unwrap();
    let spec = ScanSpec { exclude, ..spec("10.77.0.0/27,11.0.0.0/28", "1-10") };
    let (sweep, _) = net.scan(spec, Box::new(OneGateway), RateCap::new(None));
    assert_eq!(sweep.counts().refused, 17);
    assert!(net.asked.keys().all(|(address, _)| *address != FIRST + 8 && address >> 24 == 10));
}

#[test]
fn ports_that_a_router_forbids_are_filtered_for_that_reason() {
    let plan = Plan::new(Arc::new(spec("10.77.0.0", "1-3")), 0).unwrap();
    let limits = (Arc::new(Scope::default()), Arc::new(RateCap::new(None)));
    let mut now = Duration::from_secs(1);
    let neighbours = HashMap::from([(GATEWAY, MAC)]);
    let mut sweep = Sweep::new((plan, 0..1), limits, (Box::new(OneGateway), neighbours), now);
    let (mut out, mut found) = (Vec::new(), Vec::new());
    loop {
        let turn = sweep.poll(now, 64, 16, &mut out);
        for send in out.drain(..) {
            let Send::Syn { address, port, attempt, .. } = send else { continue };
            let (state, reason) = match port {
                1 => (PortState::Closed, Reason::Reset),
                2 => (PortState::Filtered, Reason::AdminProhibited),
                _ => continue,
            };
            sweep.on_reply(now, &Reply { address, port, attempt, sent_at: now, state, reason, ttl: 60 });
        }
        found.extend(sweep.take_findings());
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
}
