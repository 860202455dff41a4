//! The core of a unit's UDP scan, without sockets, threads or clock: told the time and what has arrived, it says which
//! datagrams to send and what was found.
//!
//! Each active host walks through its ports, one probe in turn with the other hosts. What is silent is asked again in
//! further walks, as often as the measured loss asks for ([`LossEstimate`]). A host that limits how often it says that a
//! port is closed is recognised and asked at its own pace ([`icmp_limit`]), while all others go on. What a port is asked
//! is in [`payload`]; answers count when they come from the port that was asked and repeat what its protocol repeats.
//!
//! Hosts come from two sides: the unit's own targets, or those that a discovery has found up ([`UdpScan::feed`]).
//! Rates are those of the job's [`RateCap`], the throttle where the network loses probes, and the quotas of hosts and
//! networks. Each datagram is checked against scope and exclusions here, last thing before it is sent.
//!
//! A host that never answers leaves no finding unless it was fed. A scan holds the notes of at most four million
//! ports, whatever the unit's size.

mod found;
mod host;
mod icmp_limit;
pub(crate) mod index_set;
mod limits;
pub(crate) mod payload;
mod send;
mod step;
mod walk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use self::host::{Host, HostPhase};
use self::index_set::IndexSet;
use self::limits::Limits;
use self::send::Encore;
pub(crate) use self::step::{Heard, LANES, Step};
use crate::finding::Finding;
use crate::gate::{Gate, Stage};
use crate::loss::LossEstimate;
use crate::neighbours::Neighbours;
use crate::pace::RateCap;
use crate::pace::quota::Quotas;
use crate::pace::throttle::History;
use crate::pace::window::Window;
use crate::plan::Plan;
use crate::rtt::RttTable;
use crate::scan::Counts;
use crate::scope::Scope;
use crate::slot_map::{Key, SlotMap};

/// Hosts are active together as long as their ports are at most this many: 8 MiB of notes.
const ACTIVE_PORTS_MAX: u32 = 1 << 22;
/// Hosts active together at most: those that answer slowly wait side by side, so there are many; 20 MiB.
const ACTIVE_HOSTS_MAX: u32 = 65_536;
/// Until something has answered, no more probes are out than this: addresses of the link are being looked up, and the
/// kernel keeps about a hundred packets meanwhile and drops the rest.
const UNPROVED_MAX: usize = 64;
/// After this long without an answer, nothing is being looked up any more.
const UNPROVED_WAIT: Duration = Duration::from_millis(150);
/// Most names that are reported as not resolved, one by one.
const UNRESOLVED_MAX: usize = 100;

/// A probe that is out.
#[derive(Debug, Clone, Copy)]
struct Flight {
    /// From 1.
    attempt: u8,
    sent_at: Duration,
    /// How long the try before this one was waited for.
    waited_before: Duration,
    history: History,
}

/// Names a probe that is out: its host, and its port's position.
type FlightKey = (Key, u32);

/// The UDP scan of one unit.
#[derive(Debug)]
pub(crate) struct UdpScan {
    plan: Plan,
    gate: Gate,
    pace: Arc<RateCap>,
    neighbours: Arc<Neighbours>,
    limits: Limits,
    /// What tokens are made of.
    secret: u64,
    quotas: Quotas,
    /// Indexes of targets that have not entered yet.
    waiting: Range<u64>,
    /// Before this, the next of them has no room in the kernel's table of neighbours.
    crowded_until: Duration,
    /// Hosts found up that have not entered yet, and the names and addresses of those that are named.
    fed: IndexSet,
    fed_names: BTreeMap<u64, (IpAddr, Arc<str>)>,
    /// Whether more hosts may be fed.
    is_fed: bool,
    hosts: SlotMap<Host>,
    by_address: HashMap<IpAddr, Key>,
    active_max: usize,
    /// Active hosts that have not been asked all their ports once.
    new_hosts: usize,
    /// Hosts with something to send, in turn.
    line: VecDeque<Key>,
    /// Hosts that have something to send or decide at a later time.
    asleep: BinaryHeap<Reverse<(Duration, Key)>>,
    lookups: VecDeque<(Key, Arc<str>)>,
    /// What is left of tries of several datagrams, by when it may go.
    encores: BinaryHeap<Reverse<(Duration, Encore)>>,
    flights: HashMap<FlightKey, Flight>,
    timers: BinaryHeap<Reverse<(Duration, FlightKey, u8)>>,
    /// Positions by how common the ports are, for hosts that are asked slowly.
    by_popularity: Arc<[u32]>,
    rtt: RttTable,
    loss: LossEstimate,
    window: Window,
    findings: Vec<Finding>,
    counts: Counts,
    first_sent_at: Option<Duration>,
}

impl UdpScan {
    /// The scan of `range` of the plan's indexes, all of whose ports are UDP ports; of none of them but those that are
    /// fed if `is_fed`. `secret` is any number that nobody can guess.
    pub(crate) fn new(
        (plan, range): (Plan, Range<u64>),
        (scope, pace): (Arc<Scope>, Arc<RateCap>),
        is_fed: bool,
        secret: u64,
    ) -> Self {
        let limits = Limits::of(plan.spec());
        let active = (ACTIVE_PORTS_MAX / plan.port_count().max(1)).clamp(1, ACTIVE_HOSTS_MAX);
        let range = range.start..range.end.min(plan.target_count());
        Self {
            waiting: if is_fed { range.end..range.end } else { range },
            gate: Gate::new(Arc::clone(plan.spec()), scope),
            pace,
            neighbours: Arc::default(),
            secret,
            quotas: Quotas::of(plan.spec()),
            crowded_until: Duration::ZERO,
            fed: IndexSet::default(),
            fed_names: BTreeMap::new(),
            is_fed,
            hosts: SlotMap::default(),
            by_address: HashMap::new(),
            active_max: active as usize,
            new_hosts: 0,
            line: VecDeque::new(),
            asleep: BinaryHeap::new(),
            lookups: VecDeque::new(),
            encores: BinaryHeap::new(),
            flights: HashMap::new(),
            timers: BinaryHeap::new(),
            by_popularity: walk::by_popularity(&plan),
            rtt: RttTable::new(limits.timeout_min),
            loss: LossEstimate::default(),
            window: Window::new(limits.window_start, limits.window_max),
            findings: Vec::new(),
            counts: Counts::default(),
            first_sent_at: None,
            plan,
            limits,
        }
    }

    /// Holds hosts on this machine's own links back as far as the kernel's tables ask for.
    pub(crate) fn with_neighbours(self, neighbours: Arc<Neighbours>) -> Self {
        Self { neighbours, ..self }
    }

    /// A host was found up by other means: it is asked, and its silent ports are told as well. One that was fed before
    /// changes nothing.
    pub(crate) fn feed(&mut self, index: u64, address: IpAddr, name: Option<&Arc<str>>) {
        if self.is_fed
            && self.fed.insert(index)
            && let Some(name) = name
        {
            self.fed_names.insert(index, (address, Arc::clone(name)));
        }
    }

    /// No more hosts will be fed.
    pub(crate) fn end_feeding(&mut self) {
        self.is_fed = false;
    }

    /// The next thing to do at `now`. Call it again after each step but [`Step::Wait`], and first hand in everything that
    /// has arrived: what is overdue is given up here. Nothing is sent unless `may_send`.
    pub(crate) fn poll(&mut self, now: Duration, may_send: bool) -> Step {
        loop {
            self.expire(now);
            self.enter(now);
            self.wake(now);
            if let Some((host, name)) = self.lookups.pop_front() {
                return Step::Resolve { host, name };
            }
            if self.hosts.is_empty() && self.waiting.is_empty() && self.fed.len() == 0 && !self.is_fed {
                return Step::Done;
            }
            let (limit, unproved_until) = self.limit(now);
            let until = [self.next_event(now), unproved_until].into_iter().flatten().min();
            let until = until.unwrap_or(now + Duration::from_secs(1));
            let has_encore = self.encores.peek().is_some_and(|Reverse((at, _))| *at <= now);
            let has_room = self.flights.len() < limit && !self.line.is_empty();
            if !may_send || !(has_room || has_encore) {
                return Step::Wait { until };
            }
            let admitted =
                self.pace.datagrams().admit(now).and_then(|()| self.pace.admit(now, self.limits.rate_max_pps, 1));
            if let Err(next) = admitted {
                return Step::Wait { until: until.min(next) };
            }
            // What was chosen may turn out to be nothing to send; then there is less to choose from the next time.
            if let Some(step) = self.send(now) {
                return step;
            }
        }
    }

    /// The answer to a lookup: addresses in order of preference, or why there is none. The first address that scope and
    /// exclusions allow is the target.
    pub(crate) fn on_resolved(&mut self, now: Duration, host: Key, found: Result<Vec<IpAddr>, String>) {
        let Some(known) = self.hosts.get(host).filter(|known| known.phase == HostPhase::Resolving) else { return };
        let name = known.name.clone().unwrap_or_else(|| Arc::from(""));
        let refusal = match found {
            Ok(addresses) => {
                let mut allowed =
                    addresses.iter().map(IpAddr::to_canonical).filter(|address| self.permits(*address, Stage::Name));
                if let Some(address) = allowed.next() {
                    return self.begin(now, host, address);
                }
                self.counts.refused += u64::from(!addresses.is_empty());
                match addresses.first() {
                    Some(first) => format!("{first} is outside the authorised scope or excluded"),
                    None => "it has no address".to_owned(),
                }
            }
            Err(why) => why,
        };
        self.counts.unresolved_count += 1;
        if self.counts.unresolved.len() < UNRESOLVED_MAX {
            self.counts.unresolved.push((name, refusal));
        }
        self.hosts.remove(host);
        self.counts.targets_done += 1;
    }

    /// What was found since this was last called.
    pub(crate) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// How many findings wait to be taken.
    pub(crate) fn findings_waiting(&self) -> usize {
        self.findings.len()
    }

    /// The figures so far; fed hosts count as targets when they are settled.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hosts that were fed and are not settled.
    pub(crate) fn fed_unsettled(&self) -> u64 {
        self.fed.len() + self.hosts.len() as u64
    }

    /// Share of round trips that are lost, as far as answers have shown.
    pub(crate) fn loss_rate(&self) -> f64 {
        self.loss.rate()
    }

    /// How likely an open port that answers was heard: a silent one was asked as often as the loss asks for.
    pub(crate) fn recall(&self) -> f64 {
        let tries = self.limits.tries.unwrap_or_else(|| self.loss.tries_wanted(self.plan.spec().confidence));
        1.0 - self.loss.rate().powi(tries.into())
    }

    /// Whether every host has been asked every port: what is left is waiting, and asking again at the pace of hosts.
    pub(crate) fn is_cooling_down(&self) -> bool {
        self.waiting.is_empty() && self.fed.len() == 0 && !self.is_fed && self.new_hosts == 0
    }

    /// Most probes that may be out now, and when that will change by itself.
    fn limit(&self, now: Duration) -> (usize, Option<Duration>) {
        let window = self.window.limit();
        let unproved_until = self.first_sent_at.map_or(now + UNPROVED_WAIT, |first| first + UNPROVED_WAIT);
        let is_unproved = self.rtt.smoothed().is_none() && now < unproved_until;
        if is_unproved { (window.min(UNPROVED_MAX), Some(unproved_until)) } else { (window, None) }
    }

    fn next_event(&self, now: Duration) -> Option<Duration> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let wakes = self.asleep.peek().map(|Reverse((at, _))| *at);
        let crowded = (self.crowded_until > now).then_some(self.crowded_until);
        let encore = self.encores.peek().map(|Reverse((at, _))| *at).filter(|at| *at > now);
        [timer, wakes, crowded, encore].into_iter().flatten().min()
    }

    fn permits(&self, address: IpAddr, stage: Stage) -> bool {
        self.gate.permits(address, None, stage)
    }

    /// Whether a port may be asked what it is asked here: in its own protocol, where it may be no other.
    fn permits_port(&self, number: u16) -> bool {
        walk::is_asked(&self.gate, number)
    }
}

#[cfg(test)]
#[path = "udp_scan/udp_scan_test.rs"]
mod tests;
