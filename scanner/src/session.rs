//! The core of a unit's scan, without sockets, threads or clock: told the time, the answers and how many sockets it
//! may open, it says what to send, what to give up and what was found.
//!
//! Hosts of the unit enter as there is room and stand in line; each in turn is sent its next probe, so a host's ports
//! are spread over the time that all hosts take. A probe that is not answered in time is sent again before any new one,
//! so that loss shows early, and as often as the measured loss asks for ([`LossEstimate`]); the wait follows the measured
//! round trips ([`RttTable`]). How many probes are in flight is the [`window`]'s decision; how many per second that of the
//! job's [`RateCap`], and of the [`throttle`] where the network loses them. Each send is checked against scope and
//! exclusions here, last thing before the packet.
//!
//! Hosts that never answer leave no finding. A session holds at most [`ACTIVE_PORTS_MAX`] bits of port state, whatever
//! the unit's size.

mod discovery;
mod host;
mod limits;
mod throttle;
mod window;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use self::discovery::DiscoveryPort;
use self::host::{Host, Stage};
use self::limits::Limits;
use self::throttle::{History, Throttle};
use self::window::Window;
use crate::arena::{Arena, Key};
use crate::finding::{Finding, HostState, Observation, PortState, Reason};
use crate::loss::LossEstimate;
use crate::pace::RateCap;
use crate::plan::Plan;
use crate::port::{Port, PortSet};
use crate::rtt::RttTable;
use crate::scope::Scope;
use crate::target::Target;

/// Hosts are active together as long as their ports are at most this many: 512 KiB of settled-port bits.
const ACTIVE_PORTS_MAX: u32 = 1 << 22;
/// Hosts active together at most: beyond this, more of them add memory and no speed.
const ACTIVE_HOSTS_MAX: u32 = 16_384;
/// Hosts entered per call, so that the first probe does not wait for all of them.
const ENTER_AT_ONCE: u32 = 256;
/// How long to leave this machine alone when it has no socket or port left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);
/// A machine that has had no room for a single probe for so long will not have any.
const STARVED_MAX: Duration = Duration::from_secs(30);
/// An open port is listened to for this long, and eight round trips more, up to [`BANNER_WAIT_MAX`]: services that
/// speak first do so at once.
const BANNER_WAIT: Duration = Duration::from_millis(350);
/// No open port is listened to for longer.
const BANNER_WAIT_MAX: Duration = Duration::from_secs(1);
/// Most names that are reported as not resolved, one by one.
const UNRESOLVED_MAX: usize = 100;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Open a connection; its end is told with [`Session::on_answer`] or [`Session::on_exhausted`].
    Send {
        /// Names the probe in later calls.
        probe: Key,
        /// Where to.
        to: SocketAddr,
    },
    /// Give a probe up: nothing that comes for it is of use any more.
    Close {
        /// The probe.
        probe: Key,
    },
    /// Look up a host name and tell [`Session::on_resolved`].
    Resolve {
        /// Names the lookup in the later call.
        host: Key,
        /// The name.
        name: Arc<str>,
    },
    /// Nothing to do before this time, or an answer, or room for more sockets.
    Wait {
        /// The time.
        until: Duration,
    },
    /// Everything is settled; no probe is out.
    Done,
    /// This machine had no room for a probe for half a minute; the unit is not done.
    Starved,
}

/// What came back for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The port's state.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
}

/// An open port to listen to; [`Session::on_banner`] ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Names the host in the later call.
    pub host: Key,
    /// The port.
    pub port: u16,
    /// How long to listen.
    pub wait: Duration,
}

/// Running figures of a session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Targets that are settled.
    pub targets_done: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Probes that were sent again.
    pub retransmitted: u64,
    /// Answers of hosts.
    pub replies: u64,
    /// Targets that scope or exclusions forbid, found out at the last check.
    pub refused: u64,
    /// Names that have no address, with the reason; the first hundred.
    pub unresolved: Vec<(Arc<str>, String)>,
    /// How many names have no address.
    pub unresolved_count: u64,
}

/// A probe that is out.
#[derive(Debug, Clone, Copy)]
struct Flight {
    host: Key,
    port: u16,
    /// Its place in the port set; `None` for a discovery probe of a port that the scan does not ask.
    position: Option<u32>,
    /// From 1.
    attempt: u8,
    sent_at: Duration,
    /// How long the try before this one was waited for.
    waited_before: Duration,
    history: History,
}

/// The scan of one unit.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    scope: Arc<Scope>,
    pace: Arc<RateCap>,
    limits: Limits,
    discovery: Vec<DiscoveryPort>,
    /// Indexes that have not entered yet.
    waiting: Range<u64>,
    hosts: Arena<Host>,
    active_max: usize,
    /// Hosts with something to send, in turn.
    line: VecDeque<Key>,
    lookups: VecDeque<(Key, Arc<str>)>,
    /// Probes to be sent again.
    bench: VecDeque<Flight>,
    flights: Arena<Flight>,
    timers: BinaryHeap<Reverse<(Duration, Key)>>,
    rtt: RttTable,
    loss: LossEstimate,
    window: Window,
    throttle: Throttle,
    findings: Vec<Finding>,
    counts: Counts,
    paused_until: Duration,
    starved_since: Option<Duration>,
}

impl Session {
    /// The scan of `range` of the plan's indexes; indexes past the end are not there.
    #[must_use]
    pub fn new(plan: Plan, range: Range<u64>, scope: Arc<Scope>, pace: Arc<RateCap>) -> Self {
        let limits = Limits::of(plan.spec());
        let active = (ACTIVE_PORTS_MAX / plan.port_count().max(1)).clamp(1, ACTIVE_HOSTS_MAX);
        Self {
            discovery: discovery::probes(&plan, limits.discovery),
            waiting: range.start..range.end.min(plan.target_count()),
            scope,
            pace,
            hosts: Arena::default(),
            active_max: active as usize,
            line: VecDeque::new(),
            lookups: VecDeque::new(),
            bench: VecDeque::new(),
            flights: Arena::default(),
            timers: BinaryHeap::new(),
            rtt: RttTable::new(limits.timeout_min),
            loss: LossEstimate::default(),
            window: Window::new(limits.window_start, limits.window_max),
            throttle: Throttle::new(),
            findings: Vec::new(),
            counts: Counts::default(),
            paused_until: Duration::ZERO,
            starved_since: None,
            plan,
            limits,
        }
    }

    /// The next thing to do at `now`, with room for `room` more sockets. Call it again after each step but
    /// [`Step::Wait`], and first hand in every answer that has arrived: what is overdue is given up here.
    pub fn poll(&mut self, now: Duration, room: usize) -> Step {
        loop {
            if let Some(probe) = self.expire(now) {
                return Step::Close { probe };
            }
            self.enter();
            if let Some((host, name)) = self.lookups.pop_front() {
                return Step::Resolve { host, name };
            }
            if self.hosts.is_empty() && self.waiting.is_empty() {
                return Step::Done;
            }
            if self.starved_since.is_some_and(|since| now > since + STARVED_MAX) {
                return Step::Starved;
            }
            let until = self.next_timer().unwrap_or(now + Duration::from_secs(1));
            if now < self.paused_until {
                return Step::Wait { until: until.min(self.paused_until) };
            }
            let has_room = room > 0 && self.flights.len() < self.window.limit();
            if !has_room || (self.line.is_empty() && self.bench.is_empty()) {
                return Step::Wait { until };
            }
            let admitted = self.throttle.admit(now).and_then(|()| self.pace.admit(now, self.limits.rate_max_pps, 1));
            if let Err(next) = admitted {
                return Step::Wait { until: until.min(next) };
            }
            // What was chosen may turn out to be nothing to send; then there is less to choose from the next time.
            if let Some(step) = self.choose(now).and_then(|flight| self.launch(flight, now)) {
                return step;
            }
        }
    }

    /// An answer came for a probe. Returns what to listen to if the port is open and its words are wanted.
    /// Answers to probes that were given up are ignored.
    pub fn on_answer(&mut self, now: Duration, probe: Key, answer: Answer) -> Option<Listen> {
        let flight = self.flights.remove(probe)?;
        self.starved_since = None;
        let host = self.hosts.get_mut(flight.host)?;
        host.pending -= 1;
        if !matches!(answer.state, PortState::Open | PortState::Closed) {
            if let Some(position) = flight.position {
                host.mark_unreachable(position, answer.reason);
            }
            self.settle(flight.host);
            return None;
        }
        let rtt = now.saturating_sub(flight.sent_at);
        // An answer that took longer than the try before was waited for would have come to that one as well: the
        // path is slow, nothing was lost.
        let was_lost = flight.attempt > 1 && rtt <= flight.waited_before;
        let address = host.address;
        self.rtt.sample(address, rtt);
        self.loss.answered(if was_lost { flight.attempt } else { 1 });
        self.throttle.answered(flight.attempt, was_lost, &flight.history);
        self.window.answered();
        self.counts.replies += 1;
        self.note_up(flight.host, answer.reason);
        let listen = flight.position.and_then(|position| self.note_port(&flight, position, answer));
        self.settle(flight.host);
        listen
    }

    /// A probe met its own socket and told nothing: it is sent once more, as if it had not been.
    pub fn on_misfire(&mut self, probe: Key) {
        let Some(flight) = self.flights.remove(probe) else { return };
        self.bench.push_back(flight);
    }

    /// This machine had no room to send a probe: it is taken back, and less is sent for a moment.
    pub fn on_exhausted(&mut self, now: Duration, probe: Key) {
        let Some(flight) = self.flights.remove(probe) else { return };
        self.counts.probes_sent -= 1;
        self.counts.retransmitted -= u64::from(flight.attempt > 1);
        self.bench.push_front(flight);
        self.window.exhausted(self.flights.len());
        self.paused_until = now + EXHAUSTED_PAUSE;
        if self.flights.is_empty() {
            self.starved_since.get_or_insert(now);
        }
    }

    /// The answer to a lookup: addresses in order of preference, or why there is none. The first address that scope
    /// and exclusions allow is the target.
    pub fn on_resolved(&mut self, host: Key, found: Result<Vec<IpAddr>, String>) {
        let Some(known) = self.hosts.get(host).filter(|known| known.stage == Stage::Resolving) else { return };
        let name = known.name.clone().unwrap_or_else(|| Arc::from(""));
        let refusal = match found {
            Ok(addresses) => {
                let mut allowed = addresses.iter().map(IpAddr::to_canonical).filter(|address| self.permits(*address));
                if let Some(address) = allowed.next() {
                    return self.begin(host, address);
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

    /// Listening to an open port has ended, with a printable banner or without.
    pub fn on_banner(&mut self, listen: &Listen, banner: Option<String>) {
        let Some(host) = self.hosts.get_mut(listen.host) else { return };
        host.pending -= 1;
        if let Some(banner) = banner {
            self.findings.push(finding(host, Observation::Banner { port: Port::tcp(listen.port), banner }));
        }
        self.settle(listen.host);
    }

    /// What was found since this was last called.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// How many findings wait to be taken.
    #[must_use]
    pub fn findings_waiting(&self) -> usize {
        self.findings.len()
    }

    /// The figures so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Share of round trips that are lost, as far as answers have shown.
    #[must_use]
    pub fn loss_rate(&self) -> f64 {
        self.loss.rate()
    }

    /// How many probes are out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Whether every host has entered and every port has been asked at least once: what is left is waiting.
    #[must_use]
    pub fn is_cooling_down(&self) -> bool {
        self.waiting.is_empty() && self.line.is_empty() && self.lookups.is_empty()
    }

    fn permits(&self, address: IpAddr) -> bool {
        self.scope.contains(address) && !self.plan.spec().exclude.contains(address)
    }

    /// Lets hosts in while there is room for them.
    fn enter(&mut self) {
        for _ in 0..ENTER_AT_ONCE {
            if self.hosts.len() >= self.active_max || self.waiting.is_empty() {
                return;
            }
            let index = self.waiting.start;
            self.waiting.start += 1;
            match self.plan.target(index) {
                Some(Target::Address(address)) => {
                    let host = self.hosts.insert(Host::new(index, address, Stage::Resolving));
                    self.begin(host, address);
                }
                Some(Target::Name(name)) => {
                    let name: Arc<str> = Arc::from(name);
                    let mut host = Host::new(index, Ipv4Addr::UNSPECIFIED.into(), Stage::Resolving);
                    host.name = Some(Arc::clone(&name));
                    self.lookups.push_back((self.hosts.insert(host), name));
                }
                None => self.counts.targets_done += 1,
            }
        }
    }

    /// Puts a host with a known address into the line.
    fn begin(&mut self, key: Key, address: IpAddr) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.address = address;
        // Over loopback an answer costs nothing and is never lost.
        host.stage = if self.discovery.is_empty() || address.is_loopback() { Stage::Ports } else { Stage::Discovery };
        host.queued = true;
        self.line.push_back(key);
    }

    /// The next probe that is worth sending: a new one, or one to send again.
    fn choose(&mut self, now: Duration) -> Option<Flight> {
        if let Some(flight) = self.bench.pop_front() {
            return Some(Flight { sent_at: now, ..flight });
        }
        while let Some(key) = self.line.pop_front() {
            let Some(host) = self.hosts.get_mut(key) else { continue };
            host.queued = false;
            let next = match host.stage {
                Stage::Resolving => None,
                Stage::Discovery => {
                    let probe = self.discovery.get(host.discovery_sent).copied();
                    host.discovery_sent += usize::from(probe.is_some());
                    probe
                }
                Stage::Ports => next_port(&self.plan, host, &self.discovery),
            };
            let Some(DiscoveryPort { port, position }) = next else {
                self.settle(key);
                continue;
            };
            host.queued = true;
            host.pending += 1;
            self.line.push_back(key);
            let history = History::default();
            return Some(Flight {
                host: key,
                port,
                position,
                attempt: 1,
                sent_at: now,
                waited_before: Duration::ZERO,
                history,
            });
        }
        None
    }

    /// Sends a probe, unless its address turns out not to be allowed or its answer not to matter any more.
    fn launch(&mut self, mut flight: Flight, now: Duration) -> Option<Step> {
        let host = self.hosts.get_mut(flight.host)?;
        let address = host.address;
        let is_moot = flight.attempt > 1 && flight.position.is_none() && host.up.is_some();
        if is_moot || !self.permits(address) {
            self.forgo(flight.host, is_moot);
            return None;
        }
        self.throttle.sent(now, self.rtt.timeout(address), flight.attempt, &mut flight.history);
        self.counts.probes_sent += 1;
        self.counts.retransmitted += u64::from(flight.attempt > 1);
        let to = SocketAddr::new(address, flight.port);
        let deadline = now + self.wait_of(&flight, address);
        let probe = self.flights.insert(flight);
        self.timers.push(Reverse((deadline, probe)));
        Some(Step::Send { probe, to })
    }

    /// Drops a probe before it is sent, and its whole host when the address must not be sent to.
    fn forgo(&mut self, key: Key, is_moot: bool) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.pending -= 1;
        if !is_moot && host.step != u32::MAX {
            host.stage = Stage::Ports;
            host.step = u32::MAX;
            self.counts.refused += 1;
        }
        self.settle(key);
    }

    /// Gives up the first probe whose time is over; its port is asked again or believed to be silent.
    fn expire(&mut self, now: Duration) -> Option<Key> {
        loop {
            let Reverse((deadline, probe)) = *self.timers.peek()?;
            let Some(flight) = self.flights.get(probe).copied() else {
                self.timers.pop();
                continue;
            };
            if deadline > now {
                return None;
            }
            self.timers.pop();
            let address = self.hosts.get(flight.host).map_or(Ipv4Addr::UNSPECIFIED.into(), |host| host.address);
            let wait = self.wait_of(&flight, address);
            if flight.sent_at + wait > now {
                // The path has turned out slower since this was sent.
                self.timers.push(Reverse((flight.sent_at + wait, probe)));
                continue;
            }
            self.flights.remove(probe);
            let is_settled = flight.attempt >= self.tries_wanted();
            self.window.silent(is_settled);
            if is_settled {
                self.give_up(flight.host);
            } else {
                self.bench.push_back(Flight { attempt: flight.attempt + 1, waited_before: wait, ..flight });
            }
            return Some(probe);
        }
    }

    /// A probe has ended without an answer.
    fn give_up(&mut self, key: Key) {
        if let Some(host) = self.hosts.get_mut(key) {
            host.pending -= 1;
        }
        self.settle(key);
    }

    fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((deadline, _))| *deadline)
    }

    fn tries_wanted(&self) -> u8 {
        self.limits.tries.unwrap_or_else(|| self.loss.tries_wanted(self.plan.spec().confidence))
    }

    /// How long this try is waited for: the measured time-out, doubled with each try (RFC 6298 section 5.5) but only
    /// twice, since the window answers for congestion, and the longest for the last one, after which the port would be
    /// missed for good.
    fn wait_of(&self, flight: &Flight, address: IpAddr) -> Duration {
        let timeout = self.rtt.timeout(address);
        let longest = self.limits.wait_max.max(timeout.min(self.limits.wait_max * 3));
        let doubled = timeout * (1 << (flight.attempt - 1).min(2));
        let is_last = flight.attempt >= self.tries_wanted();
        let wait = if is_last { doubled.max(4 * timeout).max(self.limits.last_wait_min) } else { doubled };
        // Before anything has answered, the time-out is RFC 6298's whole second: as good as the longest wait.
        if self.rtt.smoothed().is_none() { self.limits.wait_max } else { wait.min(longest) }
    }

    fn note_up(&mut self, key: Key, reason: Reason) {
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.up.is_none()) else { return };
        host.up = Some(reason);
        self.counts.hosts_up += 1;
        self.findings.push(finding(host, Observation::Host { state: HostState::Up, reason }));
        if host.stage == Stage::Discovery {
            host.stage = Stage::Ports;
            if !host.queued {
                host.queued = true;
                self.line.push_back(key);
            }
        }
    }

    fn note_port(&mut self, flight: &Flight, position: u32, answer: Answer) -> Option<Listen> {
        let listens = answer.state == PortState::Open && self.limits.banners;
        let host = self.hosts.get_mut(flight.host)?;
        host.answered.set(position);
        let port = Port::tcp(flight.port);
        let Answer { state, reason } = answer;
        self.findings.push(finding(host, Observation::Port { port, state, reason, ttl: None }));
        self.counts.open_ports += u64::from(state == PortState::Open);
        if !listens {
            return None;
        }
        host.pending += 1;
        let round_trips = 8 * self.rtt.smoothed().unwrap_or_default();
        Some(Listen { host: flight.host, port: flight.port, wait: (BANNER_WAIT + round_trips).min(BANNER_WAIT_MAX) })
    }

    /// Ends a host that has nothing left to send or wait for.
    fn settle(&mut self, key: Key) {
        if self.hosts.get(key).is_none_or(|host| host.pending > 0 || host.queued) {
            return;
        }
        let Some(host) = self.hosts.remove(key) else { return };
        self.counts.targets_done += 1;
        if host.up.is_none() {
            return;
        }
        for (reason, bits) in &host.unreachable {
            let ports = self.ports_where(|position| bits.has(position) && !host.answered.has(position));
            self.note_many(&host, ports, *reason);
        }
        let silent = self.ports_where(|position| !host.has_heard_of(position));
        self.note_many(&host, silent, Reason::NoResponse);
    }

    fn ports_where(&self, wanted: impl Fn(u32) -> bool) -> PortSet {
        (0..self.plan.port_count()).filter(|position| wanted(*position)).filter_map(|at| self.plan.port(at)).collect()
    }

    fn note_many(&mut self, host: &Host, ports: PortSet, reason: Reason) {
        if !ports.is_empty() {
            self.findings.push(finding(host, Observation::Ports { ports, state: PortState::Filtered, reason }));
        }
    }
}

/// The next port of a host that discovery has not asked already.
fn next_port(plan: &Plan, host: &mut Host, discovery: &[DiscoveryPort]) -> Option<DiscoveryPort> {
    let asked = discovery.get(..host.discovery_sent).unwrap_or_default();
    loop {
        let position = plan.port_position(host.target_index, host.step)?;
        host.step += 1;
        if !asked.iter().any(|probe| probe.position == Some(position)) {
            return Some(DiscoveryPort { port: plan.port(position)?.number, position: Some(position) });
        }
    }
}

fn finding(host: &Host, observation: Observation) -> Finding {
    Finding { target_index: host.target_index, address: host.address, name: host.name.clone(), observation }
}

#[cfg(test)]
#[path = "session/session_test.rs"]
mod tests;
