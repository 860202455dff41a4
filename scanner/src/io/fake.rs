//! A network in virtual time, for tests of the scan: hosts with known ports, a path with delay, loss and policing.
//!
//! It does to a [`ConnectScan`] what the connect engine does, but the clock is a number that jumps from event to event and
//! all chance comes from a seed, so a scan of minutes is over in milliseconds and the same every time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::connect_scan::{Answer, ConnectScan, Listen, Step};
use crate::finding::{Finding, PortState, Reason};
use crate::permute::mix;
use crate::scan::Scan;
use crate::slot_map::Key;
use crate::tally::{LeftOut, Tally};

/// A network to scan; fields are set directly.
#[derive(Debug, Clone)]
pub struct FakeNetwork {
    /// Chooses which packets are lost and how long each takes.
    pub seed: u64,
    /// The hosts that are there; every other address is silent.
    pub hosts: BTreeMap<IpAddr, FakeHost>,
    /// What names resolve to; any other has no address.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Share of packets lost each way.
    pub loss: f64,
    /// Round-trip time of hosts that have none of their own.
    pub rtt: Duration,
    /// What a round trip may take longer.
    pub jitter: Duration,
    /// Packets per second that a firewall lets in; it drops the rest.
    pub police_pps: Option<u64>,
    /// Flows that a router keeps; it drops new ones while it has so many.
    pub table: Option<usize>,
    /// What sending one probe costs this machine.
    pub send_cost: Duration,
    /// Sockets of this machine; a send beyond them is refused.
    pub sockets_max: usize,
    /// Sockets that the scan is told of.
    pub sockets_told: usize,
}

/// When a kernel sends a SYN again (RFC 6298 section 2.1).
const KERNEL_REPEAT: Duration = Duration::from_secs(1);
/// How long a router keeps a flow without an answer, and one that was reset after it.
const FLOW_KEPT: Duration = Duration::from_secs(120);
const FLOW_RESET: Duration = Duration::from_secs(10);
/// No scan of a test takes so long.
const REST_MAX: Duration = Duration::from_secs(6 * 3600);
/// SYNs that a host with a limit takes at once.
const LIMIT_BURST: f64 = 200.0;

/// A host of the network.
#[derive(Debug, Clone, Default)]
pub struct FakeHost {
    /// Ports that accept.
    pub open: BTreeSet<u16>,
    /// Ports that drop.
    pub filtered: BTreeSet<u16>,
    /// Whether ports that are neither drop as well, instead of refusing.
    pub drops_rest: bool,
    /// Ports that accept a connection only once its SYN has come twice.
    pub wary: BTreeSet<u16>,
    /// How many SYNs it answers; it drops what comes after them.
    pub bans_after: Option<u64>,
    /// SYNs per second that it takes, in bursts of 200 at most; it drops the rest.
    pub limit_pps: Option<u64>,
    /// Its own round-trip time.
    pub rtt: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct FakeRun {
    /// Everything found.
    pub findings: Vec<Finding>,
    /// When the scan was done.
    pub elapsed: Duration,
    /// What it counted.
    pub tally: Tally,
    /// What it left out.
    pub left_out: LeftOut,
    /// Its estimate of loss.
    pub loss_rate: f64,
    /// SYNs that the kernel has sent again by itself.
    pub repeats: u64,
    /// Every probe with its time.
    pub sends: Vec<(Duration, SocketAddr)>,
    /// Most probes out at once.
    pub in_flight_max: usize,
    /// Most connections to one port at once, those that are listened to included.
    pub at_ports_max: BTreeMap<SocketAddr, usize>,
    /// How long the router's table was full.
    pub full: Duration,
    /// Whether it ended with [`Step::Done`].
    pub is_done: bool,
}

/// Something that will reach the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer(Key, bool),
    Repeat(Key),
    Silence { host: Key, port: u16 },
}

impl Default for FakeNetwork {
    /// Nobody there, nothing lost, a millisecond there and back.
    fn default() -> Self {
        Self {
            seed: 1,
            hosts: BTreeMap::new(),
            names: BTreeMap::new(),
            loss: 0.0,
            rtt: Duration::from_millis(1),
            jitter: Duration::ZERO,
            police_pps: None,
            table: None,
            send_cost: Duration::from_micros(10),
            sockets_max: usize::MAX,
            sockets_told: 20_000,
        }
    }
}

impl FakeNetwork {
    /// Drives a scan to its end.
    ///
    /// # Panics
    /// When the scan asks to wait for a time that has passed and changes nothing, or rests for hours: it would do so for ever.
    #[must_use]
    pub fn run(&self, scan: &mut ConnectScan) -> FakeRun {
        let mut state = Running::new(self);
        let mut idle_turns = 0;
        loop {
            state.deliver(scan);
            let room = self.sockets_told.saturating_sub(scan.in_flight());
            let step = scan.poll(state.now, room);
            state.run.findings.append(&mut scan.results_mut().take_findings());
            idle_turns = if matches!(step, Step::Wait { .. }) { idle_turns + 1 } else { 0 };
            assert!(idle_turns < 1000, "the scan spins at {:?}", state.now);
            assert!(state.now < REST_MAX, "the scan rests, with {} probes out", scan.in_flight());
            match step {
                Step::Send { probe, to } => state.send(scan, probe, to),
                Step::Close { probe } => {
                    let closed = state.open.remove(&probe);
                    closed.into_iter().for_each(|to| state.closed(to));
                }
                Step::Resolve { host, name } => {
                    let found = self.names.get(&*name).cloned().ok_or_else(|| "no such name".to_owned());
                    scan.on_resolved(host, found);
                }
                Step::Wait { until } => {
                    let event = state.events.peek().map(|Reverse((at, ..))| *at);
                    let next = event.map_or(until, |event| event.min(until));
                    if next > state.now {
                        state.now = next;
                        idle_turns = 0;
                    }
                }
                Step::Done | Step::Starved => {
                    state.run.is_done = step == Step::Done;
                    break;
                }
            }
        }
        state.run.elapsed = state.now;
        state.run.tally = scan.results().tally();
        state.run.left_out = scan.results().left_out().clone();
        state.run.loss_rate = scan.estimates().loss;
        state.run
    }

    fn answer(&self, to: SocketAddr) -> Option<(bool, Duration)> {
        let host = self.hosts.get(&to.ip())?;
        let is_open = host.open.contains(&to.port());
        let is_silent = host.filtered.contains(&to.port()) || (host.drops_rest && !is_open);
        (!is_silent).then_some((is_open, host.rtt.unwrap_or(self.rtt)))
    }
}

/// A run in progress.
struct Running<'a> {
    network: &'a FakeNetwork,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    drawn: u64,
    /// When the router forgets each of its flows, and since when it has no room.
    flows: BinaryHeap<Reverse<Duration>>,
    full_since: Option<Duration>,
    /// When the firewall's bucket is empty again.
    bucket: Duration,
    /// What is left in the buckets of hosts with a limit, and when that was so.
    limits: BTreeMap<IpAddr, (f64, Duration)>,
    /// SYNs that have come to hosts that take no more than some.
    come: BTreeMap<IpAddr, u64>,
    /// Connections that are neither answered nor given up.
    open: BTreeMap<Key, SocketAddr>,
    listened: BTreeMap<(Key, u16), SocketAddr>,
    /// How many of these there are to each port.
    at_ports: BTreeMap<SocketAddr, usize>,
    run: FakeRun,
}

impl<'a> Running<'a> {
    fn new(network: &'a FakeNetwork) -> Self {
        let run = FakeRun {
            findings: Vec::new(),
            elapsed: Duration::ZERO,
            tally: Tally::default(),
            left_out: LeftOut::default(),
            loss_rate: 0.0,
            repeats: 0,
            sends: Vec::new(),
            in_flight_max: 0,
            at_ports_max: BTreeMap::new(),
            full: Duration::ZERO,
            is_done: false,
        };
        let now = Duration::from_secs(1);
        Self {
            network,
            now,
            events: BinaryHeap::new(),
            drawn: 0,
            flows: BinaryHeap::new(),
            full_since: None,
            bucket: Duration::ZERO,
            limits: BTreeMap::new(),
            come: BTreeMap::new(),
            open: BTreeMap::new(),
            listened: BTreeMap::new(),
            at_ports: BTreeMap::new(),
            run,
        }
    }

    /// A number from 0 up to less than 1.
    fn chance(&mut self) -> f64 {
        self.drawn += 1;
        let bits = mix(self.network.seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(mix(self.drawn))) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let chance = bits as f64 / (1_u64 << 53) as f64;
        chance
    }

    fn send(&mut self, scan: &mut ConnectScan, probe: Key, to: SocketAddr) {
        self.run.in_flight_max = self.run.in_flight_max.max(scan.in_flight());
        if scan.in_flight() > self.network.sockets_max {
            return scan.on_exhausted(self.now, probe);
        }
        self.run.sends.push((self.now, to));
        self.open.insert(probe, to);
        let now_at = self.at_ports.entry(to).or_default();
        *now_at += 1;
        let most = self.run.at_ports_max.entry(to).or_default();
        *most = (*most).max(*now_at);
        // Behind all that happens at the same time.
        self.events.push(Reverse((self.now + KERNEL_REPEAT, u64::MAX, Event::Repeat(probe))));
        self.now += self.network.send_cost;
        let is_lost = self.is_policed()
            | self.is_limited(to.ip())
            | self.is_banned(to.ip())
            | (self.chance() < self.network.loss)
            | (self.chance() < self.network.loss);
        let answer = self.network.answer(to).filter(|_| !is_lost);
        if !self.is_let_through(answer.map(|(is_open, _)| is_open)) {
            return;
        }
        let Some((is_open, rtt)) = answer else { return };
        let is_wary = self.network.hosts.get(&to.ip()).is_some_and(|host| host.wary.contains(&to.port()));
        // The kernel's repeat of the SYN is what such a port answers.
        let repeated = if is_wary { KERNEL_REPEAT } else { Duration::ZERO };
        let at = self.now + repeated + rtt + self.network.jitter.mul_f64(self.chance());
        self.later(at, Event::Answer(probe, is_open));
    }

    /// Whether the router has room for a new flow, which becomes open, refused, or stays without an answer.
    fn is_let_through(&mut self, answer: Option<bool>) -> bool {
        let Some(table) = self.network.table else { return true };
        while let Some(Reverse(forgotten_at)) = self.flows.peek().copied().filter(|Reverse(at)| *at <= self.now) {
            if let Some(since) = self.full_since.take() {
                self.run.full += forgotten_at.saturating_sub(since);
            }
            self.flows.pop();
        }
        if self.flows.len() >= table {
            return false;
        }
        match answer {
            None => self.flows.push(Reverse(self.now + FLOW_KEPT)),
            Some(true) => self.flows.push(Reverse(self.now + FLOW_RESET)),
            // It forgets a refused one at once.
            Some(false) => {}
        }
        if self.flows.len() >= table {
            self.full_since = Some(self.now);
        }
        true
    }

    fn is_policed(&mut self) -> bool {
        let Some(pps) = self.network.police_pps else { return false };
        let burst = Duration::from_millis(10);
        self.bucket = self.bucket.max(self.now.saturating_sub(burst));
        let is_full = self.bucket > self.now;
        if !is_full {
            self.bucket += Duration::from_secs(1) / u32::try_from(pps).unwrap_or(u32::MAX);
        }
        is_full
    }

    /// Whether a host's own limit drops a SYN now.
    fn is_limited(&mut self, address: IpAddr) -> bool {
        let Some(pps) = self.network.hosts.get(&address).and_then(|host| host.limit_pps) else { return false };
        let (tokens, filled) = self.limits.entry(address).or_insert((LIMIT_BURST, self.now));
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let more = pps as f64 * self.now.saturating_sub(*filled).as_secs_f64();
        (*tokens, *filled) = ((*tokens + more).min(LIMIT_BURST), self.now);
        let is_full = *tokens < 1.0;
        *tokens -= f64::from(u8::from(!is_full));
        is_full
    }

    /// Whether a host has had enough of the scanner.
    fn is_banned(&mut self, address: IpAddr) -> bool {
        let Some(most) = self.network.hosts.get(&address).and_then(|host| host.bans_after) else { return false };
        let come = self.come.entry(address).or_default();
        *come += 1;
        *come > most
    }

    /// A connection to a port is no more.
    fn closed(&mut self, to: SocketAddr) {
        self.at_ports.entry(to).and_modify(|count| *count -= 1);
    }

    fn later(&mut self, at: Duration, event: Event) {
        self.drawn += 1;
        self.events.push(Reverse((at, self.drawn, event)));
    }

    fn deliver(&mut self, scan: &mut ConnectScan) {
        while let Some(Reverse((at, _, event))) = self.events.peek().copied() {
            if at > self.now {
                return;
            }
            self.events.pop();
            match event {
                Event::Silence { host, port } => {
                    let closed = self.listened.remove(&(host, port));
                    closed.into_iter().for_each(|to| self.closed(to));
                    scan.on_banner(&Listen { host, port, wait: Duration::ZERO }, None);
                }
                Event::Repeat(probe) => self.run.repeats += u64::from(self.open.contains_key(&probe)),
                Event::Answer(probe, is_open) => {
                    let to = self.open.remove(&probe);
                    let answer = match is_open {
                        true => Answer::own(PortState::Open, Reason::SynAck),
                        false => Answer::own(PortState::Closed, Reason::ConnRefused),
                    };
                    let listen = scan.on_answer(self.now, probe, answer);
                    if let Some(listen) = listen {
                        let silence = Event::Silence { host: listen.host, port: listen.port };
                        self.later(self.now + listen.wait, silence);
                        self.listened.extend(to.map(|to| ((listen.host, listen.port), to)));
                    } else {
                        to.into_iter().for_each(|to| self.closed(to));
                    }
                }
            }
        }
    }
}
