//! The core of a unit's UDP scan, without sockets, threads or clock: told the time and what has arrived, it says which
//! datagrams to send and what was found.
//!
//! Each active host walks through its ports, one probe in turn with the other hosts. What is silent is asked again in
//! further walks, as often as the measured loss asks for (`scan::Measures`). A host that limits how often it says that a
//! port is closed is recognised and asked at its own pace ([`icmp_limit`]), while all others go on. What a port is asked
//! is in [`payload`]; answers count when they come from the port that was asked and repeat what its protocol repeats.
//!
//! Hosts come from two sides: the unit's own targets, or those that a discovery has found up ([`UdpScan::feed`]). Where the unit's own are
//! asked beside another part, that part's word on who is up is waited for ([`told_up`]).
//! Rates are those of the job's [`RateCap`], the throttle where the network loses probes, and the quotas of hosts and
//! networks. Each datagram is checked against scope and exclusions here, last thing before it is sent.
//!
//! A host that never answers leaves no finding unless it was found up by other means. A scan holds the notes of at most four million
//! ports, whatever the unit's size.

mod found;
mod host;
mod icmp_limit;
pub(crate) mod index_set;
mod late;
mod limits;
mod lost_way;
pub(crate) mod payload;
mod send;
mod step;
mod told_up;
mod walk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use self::host::{Host, HostPhase};
use self::index_set::IndexSet;
use self::late::Late;
use self::limits::UdpLimits;
use self::payload::Catalogue;
use self::send::Encore;
pub(crate) use self::step::{Heard, LANES, Step};
use self::told_up::ToldUp;
use crate::finding::ScannedHost;
use crate::gate::{Gate, Stage, Verdict};
use crate::neighbours::Neighbours;
use crate::pace::RateCap;
use crate::pace::flows::FlowMemory;
use crate::pace::quota::Quotas;
use crate::plan::Plan;
use crate::port::Port;
use crate::scan::{Attempt, Measures, Results, Scan, Waiting};
use crate::scope::Permit;
use crate::slot_map::{Key, SlotMap};
use crate::tally::Estimates;

/// Hosts are active together as long as their ports are at most this many: 8 MiB of notes.
const ACTIVE_PORTS_MAX: u32 = 1 << 22;
/// Hosts active together at most: those that answer slowly wait side by side, so there are many; 20 MiB.
const ACTIVE_HOSTS_MAX: u32 = 65_536;
/// How soon it is looked again whether what is only told on has been read.
const READ_PAUSE: Duration = Duration::from_millis(5);

/// Names a probe that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FlightKey {
    host: Key,
    /// Its port's.
    position: u32,
}

/// The UDP scan of one unit.
#[derive(Debug)]
pub(crate) struct UdpScan {
    plan: Plan,
    gate: Gate,
    pace: Arc<RateCap>,
    neighbours: Arc<Neighbours>,
    limits: UdpLimits,
    /// What each port is asked.
    catalogue: Arc<Catalogue>,
    /// What tokens are made of.
    secret: u64,
    quotas: Quotas,
    /// Targets that have not entered yet.
    waiting: Waiting,
    /// Hosts found up that have not entered yet, and the names and addresses of those that are named.
    fed: IndexSet,
    fed_names: BTreeMap<u64, (IpAddr, Arc<str>)>,
    /// Whether more hosts may be fed.
    is_fed: bool,
    told_up: ToldUp,
    late: Late,
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
    /// Names whose addresses are not known yet.
    resolving: usize,
    /// What is left of tries of several datagrams, by when it may go.
    encores: BinaryHeap<Reverse<(Duration, Encore)>>,
    flights: HashMap<FlightKey, Attempt>,
    timers: BinaryHeap<Reverse<(Duration, FlightKey, u8)>>,
    /// Positions by how common the ports are, for hosts that are asked slowly.
    by_popularity: Arc<[u32]>,
    measures: Measures,
    results: Results,
    /// Hosts that had no place in the kernel's table of neighbours when that was looked at last.
    crowded_out: usize,
}

impl UdpScan {
    /// The scan of `range` of the plan's indexes, all of whose ports are UDP ports; of none of them but those that are
    /// fed if `is_fed`. `secret` is any number that nobody can guess.
    pub(crate) fn new(
        plan: Plan,
        range: Range<u64>,
        permit: Arc<Permit>,
        pace: Arc<RateCap>,
        is_fed: bool,
        secret: u64,
    ) -> Self {
        let limits = UdpLimits::of(plan.spec());
        if let Some(pps) = limits.common.start_pps.filter(|_| !plan.is_own_machine()) {
            pace.datagrams().begin_at(pps);
        }
        let active = (ACTIVE_PORTS_MAX / plan.port_count().max(1)).clamp(1, ACTIVE_HOSTS_MAX);
        Self {
            waiting: Waiting::new(if is_fed { range.end..range.end } else { range }, &plan),
            gate: Gate::new(Arc::clone(plan.spec()), permit),
            pace,
            neighbours: Arc::default(),
            catalogue: Arc::default(),
            secret,
            quotas: Quotas::of(plan.spec()),
            fed: IndexSet::default(),
            fed_names: BTreeMap::new(),
            is_fed,
            told_up: ToldUp::default(),
            late: Late::default(),
            hosts: SlotMap::default(),
            by_address: HashMap::new(),
            active_max: active as usize,
            new_hosts: 0,
            line: VecDeque::new(),
            asleep: BinaryHeap::new(),
            lookups: VecDeque::new(),
            resolving: 0,
            encores: BinaryHeap::new(),
            flights: HashMap::new(),
            timers: BinaryHeap::new(),
            by_popularity: walk::by_popularity(&plan),
            measures: Measures::new(&limits.common, plan.spec().confidence),
            results: Results::of(&plan),
            crowded_out: 0,
            plan,
            limits,
        }
    }

    /// Holds hosts on this machine's own links back as far as the kernel's tables ask for.
    pub(crate) fn with_neighbours(self, neighbours: Arc<Neighbours>) -> Self {
        Self { neighbours, ..self }
    }

    /// Has ports asked what this says beside the table.
    pub(crate) fn with_catalogue(self, catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, ..self }
    }

    /// A host was found up by other means: it is asked, and its silent ports are told as well. One that was fed before
    /// changes nothing. One of the unit's own targets is asked anyway.
    pub(crate) fn feed(&mut self, index: u64, address: IpAddr, name: Option<&Arc<str>>) {
        self.tell_up(index, address);
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
        self.end_telling();
    }

    /// The next thing to do at `now`. Call it again after each step but [`Step::Wait`], and first hand in everything that
    /// has arrived: what is overdue is given up here. Nothing is sent unless `may_send`.
    pub(crate) fn poll(&mut self, now: Duration, may_send: bool) -> Step {
        loop {
            self.expire(now);
            self.enter(now);
            self.wake(now);
            self.results.tell_namesakes();
            if let Some((host, name)) = self.lookups.pop_front() {
                return Step::Resolve { host, name };
            }
            if self.hosts.is_empty() && self.waiting.is_empty() && self.fed.len() == 0 && !self.is_fed {
                return match self.results.namesakes.is_telling() {
                    true => Step::Wait { until: now + READ_PAUSE },
                    false => Step::Done,
                };
            }
            let opening = self.measures.window.opening(now, self.measures.has_answer());
            let until = [self.next_event(now), opening.until].into_iter().flatten().min();
            let until = until.unwrap_or(now + Duration::from_secs(1));
            let has_encore = self.encores.peek().is_some_and(|Reverse((at, _))| *at <= now);
            let has_room = self.flights.len() < opening.probes && !self.line.is_empty();
            if !may_send || !(has_room || has_encore) {
                return Step::Wait { until };
            }
            let admitted = self.admit_flow(now).and_then(|()| self.pace.datagrams().admit(now));
            let admitted = admitted.and_then(|()| self.pace.admit(now, self.limits.common.rate_max_pps, 1));
            if let Err(next) = admitted {
                return Step::Wait { until: until.min(next) };
            }
            // What was chosen may turn out to be nothing to send; then there is less to choose from the next time.
            if let Some(step) = self.send(now) {
                return step;
            }
        }
    }

    /// The answer to a lookup: addresses in order of preference, or why there is none. Each address that scope and
    /// exclusions allow becomes a host of the target, or the first alone where the spec wants no more.
    pub(crate) fn on_resolved(&mut self, now: Duration, host: Key, found: Result<Vec<IpAddr>, String>) {
        let Some(known) = self.hosts.get(host).filter(|known| known.phase == HostPhase::Resolving) else { return };
        let allowed = |address| self.gate.permits(address, None, Stage::Name);
        let (scanned, is_first_enough) = (known.scanned.clone(), self.plan.spec().first_address);
        self.hosts.remove(host);
        for address in self.results.resolve(&scanned, found, is_first_enough, allowed) {
            self.begin_unless_known(now, ScannedHost { address, ..scanned.clone() });
        }
        self.resolving -= 1;
        if self.waiting.is_empty() && self.resolving == 0 {
            self.results.namesakes.close();
        }
    }

    /// Lets a target with an address in, unless it is asked for another one.
    fn begin_unless_known(&mut self, now: Duration, scanned: ScannedHost) {
        if !self.results.namesakes.join(&scanned) {
            let address = scanned.address;
            let host = self.hosts.insert(Host::new(scanned));
            self.begin(now, host, address);
        }
    }

    /// Whether one more flow may be left behind in routers.
    fn admit_flow(&self, now: Duration) -> Result<(), Duration> {
        match self.limits.common.flows_max {
            Some(most) if self.pace.flows().count(now) >= most => Err(FlowMemory::look_again(now)),
            _ => Ok(()),
        }
    }

    /// Hosts that were fed and are not settled.
    pub(crate) fn fed_unsettled(&self) -> u64 {
        self.fed.len() + self.hosts.len() as u64
    }

    fn next_event(&self, now: Duration) -> Option<Duration> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let wakes = self.asleep.peek().map(|Reverse((at, _))| *at);
        let crowded = self.waiting.crowded_until(now);
        let encore = self.encores.peek().map(|Reverse((at, _))| *at).filter(|at| *at > now);
        [timer, wakes, crowded, encore].into_iter().flatten().min()
    }

    fn permits(&self, address: IpAddr, stage: Stage) -> bool {
        self.gate.permits(address, None, stage)
    }

    /// Whether a port may be asked anything, and not its own protocol alone.
    fn takes_any(&self, number: u16) -> bool {
        self.gate.of_port(Some(Port::udp(number)), Stage::Datagram) == Verdict::Allow
    }

    /// Whether a port may be asked what it is asked here: in its own protocol, where it may be no other.
    fn permits_port(&self, number: u16) -> bool {
        walk::is_asked(&self.gate, number)
    }
}

impl Scan for UdpScan {
    fn results(&self) -> &Results {
        &self.results
    }

    fn results_mut(&mut self) -> &mut Results {
        &mut self.results
    }

    fn estimates(&self) -> Estimates {
        self.late.lower(self.measures.estimates())
    }

    /// Of hosts that are fed, those that were: how far that is knows whoever feeds them.
    fn settled_until(&self) -> Option<u64> {
        let active = self.hosts.values().map(|host| host.scanned.target_index);
        let active = active.chain(self.results.namesakes.first_index()).chain(self.fed.first());
        Some(active.min().unwrap_or(u64::MAX).min(self.waiting.next_index()))
    }

    /// What is left may be asking again, at the pace of hosts.
    fn is_cooling_down(&self) -> bool {
        self.waiting.is_empty() && self.fed.len() == 0 && !self.is_fed && self.new_hosts == 0
    }
}

#[cfg(test)]
#[path = "udp_scan/udp_scan_test.rs"]
mod tests;
