//! The core of a unit's scan, without sockets, threads or clock: told the time, the answers and how many sockets it
//! may open, it says what to send, what to give up and what was found.
//!
//! Hosts of the unit enter as there is room and stand in line; each in turn is sent its next probe, so a host's ports
//! are spread over the time that all hosts take. A probe that is not answered in time is sent again before any new one,
//! so that loss shows early, and as often as the measured loss asks for; the wait follows the measured round trips
//! (`scan::Measures`). How many probes are in flight is the window's decision; how many per second that of the job's
//! [`RateCap`], of the throttle where the network loses them, and of the quotas of hosts and networks. Each send is checked
//! against scope and exclusions here, last thing before the packet.
//!
//! Hosts that never answer leave no finding. A scan holds at most four million bits of port state, whatever the
//! unit's size.

mod found;
mod host;
mod lost_way;
mod middlebox;
mod own_path;
mod places;
mod pulse;
mod repeat;
mod room;
mod rounds;
mod send;
mod step;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use self::host::{Host, HostPhase};
use self::places::Places;
use self::repeat::SilentRepeats;
use self::room::Known;
pub use self::step::{Answer, Listen, Step};
use crate::finding::{NotProbed, PortState, Reason, ScannedHost};
use crate::gate::{Gate, Stage, Verdict};
use crate::neighbours::Neighbours;
use crate::occupancy::Place;
use crate::pace::RateCap;
use crate::pace::quota::Quotas;
use crate::plan::Plan;
use crate::port::Port;
use crate::scan::discovery::{self, DiscoveryPort};
use crate::scan::limits::Limits;
use crate::scan::{Attempt, Measures, Recall, Results, Scan, Waiting};
use crate::scope::Permit;
use crate::slot_map::{Key, SlotMap};
use crate::tally::Estimates;
use crate::target::of_socket;

/// Hosts are active together as long as their ports are at most this many: 512 KiB of settled-port bits.
const ACTIVE_PORTS_MAX: u32 = 1 << 22;
/// Hosts active together at most: beyond this, more of them add memory and no speed.
const ACTIVE_HOSTS_MAX: u32 = 16_384;
/// How long to leave this machine alone when it has no socket or port left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);
/// How soon it is looked again whether what is only told on has been read.
const READ_PAUSE: Duration = Duration::from_millis(5);
/// A machine that has had no room for a single probe for so long will not have any.
const STARVED_MAX: Duration = Duration::from_secs(30);

/// A probe that is out.
#[derive(Debug, Clone, Copy)]
struct Flight {
    host: Key,
    port: u16,
    /// Its place in the port set; `None` for a discovery probe of a port that the scan does not ask.
    position: Option<u32>,
    attempt: Attempt,
    /// Whether its time is over, and it is only held for the kernel's own repeat.
    is_held: bool,
    /// Whether it takes no room in the window meanwhile.
    is_patient: bool,
    /// How often it was asked again because something on the way had no room for it.
    voids: u8,
    /// Whether it asks a port of its host that has answered whether it still does.
    is_pulse: bool,
    /// What it asks once more, which is known to answer; such a question belongs to no host of the scan.
    asked: Option<SocketAddr>,
}

impl Flight {
    fn is_question(&self) -> bool {
        self.asked.is_some()
    }
}

/// The scan of one unit.
#[derive(Debug)]
pub struct ConnectScan {
    plan: Plan,
    gate: Gate,
    pace: Arc<RateCap>,
    neighbours: Arc<Neighbours>,
    /// What its connections hold of the ports' rooms.
    places: Places,
    limits: Limits,
    discovery: Vec<DiscoveryPort>,
    /// Targets that have not entered yet.
    waiting: Waiting,
    hosts: SlotMap<Host>,
    active_max: usize,
    /// Hosts with something to send, in turn.
    line: VecDeque<Key>,
    lookups: VecDeque<(Key, Arc<str>)>,
    /// Names whose addresses are not known yet.
    resolving: usize,
    /// Probes to be sent again.
    bench: VecDeque<Flight>,
    quotas: Quotas,
    /// Hosts whose next probe has to wait for the rate of their host or network.
    held_hosts: BinaryHeap<Reverse<(Duration, Key)>>,
    /// Probes to be sent again that have to; by time, and by number for want of another order.
    held: BTreeMap<(Duration, u64), Flight>,
    held_count: u64,
    flights: SlotMap<Flight>,
    /// Probes that were taken back, whose sockets are to be closed.
    closing: Vec<Key>,
    timers: BinaryHeap<Reverse<(Duration, Key)>>,
    /// When the kernel will have repeated the probes that are out.
    repeats: VecDeque<(Duration, Key)>,
    /// How many of the probes that are out are held for that.
    patient: usize,
    silent_repeats: SilentRepeats,
    measures: Measures,
    recall: Recall,
    results: Results,
    /// Hosts that had no place in the kernel's table of neighbours when that was looked at last.
    crowded_out: usize,
    /// Ports that are known to answer.
    known: Known,
    paused_until: Duration,
    starved_since: Option<Duration>,
}

impl ConnectScan {
    /// The scan of `range` of the plan's indexes; indexes past the end are not there.
    #[must_use]
    pub fn new(plan: Plan, range: Range<u64>, permit: Arc<Permit>, pace: Arc<RateCap>) -> Self {
        let limits = Limits::of(plan.spec());
        if let Some(pps) = limits.start_pps.filter(|_| !plan.is_own_machine()) {
            pace.connections().begin_at(pps);
        }
        let active = (ACTIVE_PORTS_MAX / plan.port_count().max(1)).clamp(1, ACTIVE_HOSTS_MAX);
        Self {
            discovery: discovery::probes(&plan, limits.discovery),
            waiting: Waiting::new(range, &plan),
            neighbours: Arc::default(),
            places: Places::default(),
            gate: Gate::new(Arc::clone(plan.spec()), permit),
            pace,
            hosts: SlotMap::default(),
            active_max: active as usize,
            line: VecDeque::new(),
            lookups: VecDeque::new(),
            resolving: 0,
            bench: VecDeque::new(),
            quotas: Quotas::of(plan.spec()),
            held_hosts: BinaryHeap::new(),
            held: BTreeMap::new(),
            held_count: 0,
            flights: SlotMap::default(),
            closing: Vec::new(),
            timers: BinaryHeap::new(),
            repeats: VecDeque::new(),
            patient: 0,
            silent_repeats: SilentRepeats::default(),
            measures: Measures::new(&limits, plan.spec().confidence),
            recall: Recall::default(),
            results: Results::of(&plan),
            crowded_out: 0,
            known: Known::default(),
            paused_until: Duration::ZERO,
            starved_since: None,
            plan,
            limits,
        }
    }

    /// Holds hosts on this machine's own links back as far as the kernel's tables ask for.
    #[must_use]
    pub fn with_neighbours(self, neighbours: Arc<Neighbours>) -> Self {
        Self { neighbours, ..self }
    }

    /// The next thing to do at `now`, with room for `room` more sockets. Call it again after each step but
    /// [`Step::Wait`], and first hand in every answer that has arrived: what is overdue is given up here.
    pub fn poll(&mut self, now: Duration, room: usize) -> Step {
        self.count_repeats(now);
        self.places.vacate();
        loop {
            if let Some(probe) = self.closing.pop().or_else(|| self.expire(now)) {
                return Step::Close { probe };
            }
            self.enter(now);
            self.release(now);
            self.results.tell_namesakes();
            if let Some((host, name)) = self.lookups.pop_front() {
                return Step::Resolve { host, name };
            }
            if self.hosts.is_empty() && self.waiting.is_empty() {
                if self.results.namesakes.is_telling() {
                    return Step::Wait { until: now + READ_PAUSE };
                }
                self.withdraw_questions();
                return Step::Done;
            }
            if self.starved_since.is_some_and(|since| now > since + STARVED_MAX) {
                return Step::Starved;
            }
            let timers = [self.next_timer(), self.next_release()];
            let timer = timers.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(1));
            let until = self.waiting.crowded_until(now).map_or(timer, |crowded| timer.min(crowded));
            if now < self.paused_until {
                return Step::Wait { until: until.min(self.paused_until) };
            }
            // Whoever gave a rate gets it from the first probe on.
            let is_proved = self.measures.has_answer() || self.plan.spec().rate_pps.is_some();
            if let Some(question) = self.question(now, room) {
                return question;
            }
            let opening = self.measures.window.opening(now, is_proved);
            let until = opening.until.map_or(until, |ends| until.min(ends));
            let has_room =
                room > self.sockets_for_questions(room) && self.flights.len() - self.patient < opening.probes;
            if !has_room || (self.line.is_empty() && self.bench.is_empty()) {
                return Step::Wait { until };
            }
            let admitted = self.admit_flow(now).and_then(|()| self.pace.connections().admit(now));
            let admitted = admitted.and_then(|()| self.pace.admit(now, self.limits.rate_max_pps, 1));
            if let Err(next) = admitted {
                return Step::Wait { until: until.min(next) };
            }
            // What was chosen may turn out to be nothing to send; then there is less to choose from the next time.
            if let Some(step) = self.choose(now).and_then(|(flight, place)| self.launch(flight, place, now)) {
                return step;
            }
        }
    }

    /// An answer came for a probe. Returns what to listen to if the port is open and its words are wanted.
    /// Answers to probes that were given up are ignored.
    pub fn on_answer(&mut self, now: Duration, probe: Key, answer: Answer) -> Option<Listen> {
        self.count_repeats(now);
        let flight = self.land(probe)?;
        self.starved_since = None;
        if flight.is_question() {
            self.end_question(now, &flight, answer.is_own_word);
            return None;
        }
        let host = self.hosts.get_mut(flight.host)?;
        host.pending -= 1;
        host.heard_at = Some(now).filter(|_| answer.is_own_word).or(host.heard_at);
        if !matches!(answer.state, PortState::Open | PortState::Closed) {
            if let Some(position) = flight.position {
                host.heard.mark_unreachable(position, answer.reason);
            }
            // A host that refuses for itself is there.
            if answer.is_own_word {
                self.note_up(now, flight.host, answer.reason);
            }
            self.note_trial(&flight, None);
            if answer.is_own_word {
                self.lose_known_port(&flight);
            } else {
                self.miss_pulse(now, &flight);
            }
            self.settle(flight.host);
            return None;
        }
        let address = host.scanned.address;
        self.note_known(now, &flight, address, answer.state == PortState::Closed);
        let round_trip = now.saturating_sub(flight.attempt.sent_at);
        let were_lost = flight.attempt.lost_others(round_trip);
        let is_first = !self.measures.has_answer();
        // An answer to the kernel's repeat says how long that took at most, and nothing of what became of the first.
        let is_overdue = flight.is_held || self.measures.rtt.timeout(address) < repeat::AFTER;
        let is_late = round_trip >= repeat::AFTER && is_overdue;
        if is_late {
            self.note_repeat(flight.host, true);
        } else {
            self.measures.rtt.sample(address, round_trip);
            // Questions to a host that was silent for a moment tell of the host, not of the path.
            if !flight.is_pulse {
                self.note_loss(flight.host, &flight.attempt, were_lost);
            }
        }
        if is_first {
            self.wait_anew();
        }
        self.measures.window.answered();
        self.results.tally.replies += 1;
        self.note_up(now, flight.host, answer.reason);
        self.note_pulse(now, &flight);
        self.note_trial(&flight, Some(answer.state));
        let listen = flight.position.and_then(|position| self.note_port(&flight, position, answer));
        listen.iter().for_each(|listen| self.places.listen(listen));
        self.settle(flight.host);
        listen
    }

    /// A probe met its own socket and told nothing: it is sent once more, as if it had not been.
    pub fn on_misfire(&mut self, probe: Key) {
        match self.land(probe) {
            Some(question) if question.is_question() => self.withdraw_question(&question, true),
            Some(flight) => self.bench.push_back(flight),
            None => {}
        }
    }

    /// This machine had no room to send a probe: it is taken back, and less is sent for a moment.
    pub fn on_exhausted(&mut self, now: Duration, probe: Key) {
        let Some(flight) = self.land(probe) else { return };
        self.take_back(&flight);
        if flight.is_question() {
            self.withdraw_question(&flight, true);
        } else {
            self.bench.push_front(flight);
        }
        self.measures.window.exhausted(self.flights.len());
        self.paused_until = now + EXHAUSTED_PAUSE;
        if self.flights.is_empty() {
            self.starved_since.get_or_insert(now);
        }
    }

    /// This machine has no way to send a probe: it is taken back, and its host is asked nothing more.
    pub fn on_not_sent(&mut self, probe: Key, why: NotProbed) {
        let Some(flight) = self.land_unsent(probe) else { return };
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        host.give_up(why);
        self.settle(flight.host);
    }

    /// A filter of this machine's own let a probe not out, and said so: its port is told with the reason where the host is up. A
    /// host to which nothing got out was not probed.
    pub fn on_refused_here(&mut self, probe: Key, reason: Reason) {
        let Some(flight) = self.land_unsent(probe) else { return };
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        host.is_refused_here = true;
        if let Some(position) = flight.position {
            host.heard.mark_unreachable(position, reason);
        }
        self.note_trial(&flight, None);
        self.lose_known_port(&flight);
        self.settle(flight.host);
    }

    /// A probe that was not sent, taken back; of a question, which is withdrawn, nothing is left to be done.
    fn land_unsent(&mut self, probe: Key) -> Option<Flight> {
        let flight = self.land(probe)?;
        self.take_back(&flight);
        if flight.is_question() {
            self.withdraw_question(&flight, false);
            return None;
        }
        self.hosts.get_mut(flight.host)?.pending -= 1;
        Some(flight)
    }

    /// A probe was not sent after all.
    fn take_back(&mut self, flight: &Flight) {
        self.results.tally.probes_sent -= 1;
        self.results.tally.retransmitted -= u64::from(flight.attempt.is_repeated() || flight.is_question());
        let host = self.hosts.get_mut(flight.host).filter(|_| !flight.is_question());
        host.into_iter().for_each(|host| host.sent = host.sent.saturating_sub(1));
    }

    /// The kernel's table of neighbours is, or was, full: `lacks` says to whom nothing is sent for that. Whoever still has no place
    /// when all its tries are over was not probed.
    pub(crate) fn crowd(&mut self, lacks: impl Fn(IpAddr) -> bool) {
        let (mut count, asked) = (0, |host: &Host| host.phase != HostPhase::Resolving && host.pending > 0);
        for host in self.hosts.values_mut() {
            if asked(host) {
                host.is_crowded_out = lacks(host.scanned.address);
            }
            count += usize::from(host.is_crowded_out);
        }
        self.crowded_out = count;
    }

    /// Whether somebody has no place in the table of neighbours.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded_out > 0
    }

    /// Takes a slot, and a place at the port, for asking one that has answered once more; `None` where it may not be, or not now.
    pub(crate) fn admit_again(&mut self, now: Duration, to: SocketAddr) -> Option<Place> {
        let address = of_socket(to);
        // Not one at which each connection counts.
        if self.gate.ask(address, Some(Port::tcp(to.port())), Stage::Service) != Verdict::Allow {
            return None;
        }
        let place = self.places.at(to, &self.gate)?;
        let pass = self.quotas.check(now, address).ok()?;
        self.pace.admit(now, self.limits.rate_max_pps, 1).ok()?;
        self.quotas.take(now, pass, &self.pace);
        self.results.tally.probes_sent += 1;
        self.results.tally.retransmitted += 1;
        Some(place)
    }

    /// Whether an address is a target of the scan's job.
    pub(crate) fn is_target(&self, address: IpAddr) -> bool {
        self.plan.index_of(address).is_some()
    }

    /// The smoothed round-trip time; none before there was an answer.
    pub(crate) fn round_trip(&self) -> Duration {
        self.measures.rtt.smoothed().unwrap_or_default()
    }

    /// The answer to a lookup: addresses in order of preference, or why there is none. Each address that scope and
    /// exclusions allow becomes a host of the target, or the first alone where the spec wants no more.
    pub fn on_resolved(&mut self, host: Key, found: Result<Vec<IpAddr>, String>) {
        let Some(known) = self.hosts.get(host).filter(|known| known.phase == HostPhase::Resolving) else { return };
        let allowed = |address| self.gate.permits(address, None, Stage::Name);
        let (scanned, is_first_enough) = (known.scanned.clone(), self.plan.spec().first_address);
        self.hosts.remove(host);
        for address in self.results.resolve(&scanned, found, is_first_enough, allowed) {
            self.begin_unless_known(ScannedHost { address, ..scanned.clone() });
        }
        self.resolving -= 1;
        if self.waiting.is_empty() && self.resolving == 0 {
            self.results.namesakes.close();
        }
    }

    /// Listening to an open port has ended, with a printable banner or without.
    pub fn on_banner(&mut self, listen: &Listen, banner: Option<String>) {
        self.places.heard(listen);
        let Some(host) = self.hosts.get_mut(listen.host) else { return };
        host.pending -= 1;
        self.results.note_banner(&host.scanned, Port::tcp(listen.port), banner);
        self.settle(listen.host);
    }

    /// How many probes are out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn permits(&self, address: IpAddr, stage: Stage) -> bool {
        self.gate.permits(address, None, stage)
    }
}

impl Scan for ConnectScan {
    fn results(&self) -> &Results {
        &self.results
    }

    fn results_mut(&mut self) -> &mut Results {
        &mut self.results
    }

    fn estimates(&self) -> Estimates {
        let measured = self.measures.estimates();
        let recall = if self.recall.has_any() { self.recall.estimate() } else { measured.recall };
        Estimates { recall, ..measured }
    }

    fn settled_until(&self) -> Option<u64> {
        let active = self.hosts.values().map(|host| host.scanned.target_index);
        let active = active.chain(self.results.namesakes.first_index());
        Some(active.min().unwrap_or(self.waiting.next_index()))
    }

    fn is_cooling_down(&self) -> bool {
        self.waiting.is_empty() && self.line.is_empty() && self.lookups.is_empty() && self.held_hosts.is_empty()
    }
}

#[cfg(test)]
#[path = "connect_scan/connect_scan_test.rs"]
mod tests;
