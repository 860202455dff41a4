//! The core of a raw unit, without sockets, threads or clock: it keeps a little about each host and nothing about a
//! probe.
//!
//! Targets stand in line; each in turn is sent its next probe, so a host's ports are spread over the time that all
//! hosts take. First come host probes ([`HostProbes`]) until one is answered, then ports. A host that has been asked all it is to
//! be asked rests until its answers must have come. What is still silent then may have been lost: the loss of the moment
//! in which it was asked, measured by canaries ([`epochs`]), says how likely, and the host is asked again until that is
//! less than the scan's confidence allows. On a clean path that is one more try for silent ports of answering hosts and
//! none for the dark. A unit without TCP ports ends where ports would begin: it finds hosts, nothing else.
//!
//! Two passes in a row send the very same SYNs ([`lane`]). What routers on the way have to remember of it all is kept small
//! ([`flows`]): a flow that has not answered in its time is closed by a reset.
//!
//! How fast is decided by the path ([`Path`]), which the units of a job share, under the job's budget and the caps per network
//! and host: a target whose network has no slot waits in a line of its own ([`Held`]). Each send is checked against scope
//! and exclusions here, last thing before the packet. Memory: 65,536 targets at once, four million bits of port state.

mod banner_grabs;
mod canary;
mod epochs;
mod flows;
mod heard;
mod held;
mod host_probe;
pub(crate) mod lane;
mod lost_way;
mod middlebox;
mod own_path;
mod path;
mod pulse;
mod rate;
mod release;
mod rest;
mod send;
mod target;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use self::banner_grabs::BannerGrabs;
use self::canary::Canary;
use self::held::Held;
use self::host_probe::{DiscoveryYield, HostProbes};
use self::lost_way::Links;
use self::path::{Moment, RoundTrip};
pub(crate) use self::path::{Path, Start};
use self::release::OpenFlows;
use self::target::Target;
use crate::finding::{NotProbed, PortState, Reason, Stack};
use crate::gate::{Gate, Stage, Verdict};
use crate::pace::{Pacer, RateCap};
use crate::packet::arp::Mac;
use crate::packet::probe::Probe;
use crate::plan::Plan;
use crate::port::Port;
use crate::rtt::RttTable;
use crate::scan::discovery;
use crate::scan::limits::Limits;
use crate::scan::{Recall, Results, Scan};
use crate::scope::Permit;
use crate::spec::Profile;
use crate::tally::Estimates;

/// Targets in work at once.
const TARGETS_MAX: u32 = 65_536;
/// Targets are in work together as long as their ports are at most this many: half a MiB of bits, were all up.
const PORTS_MAX: u32 = 1 << 25;
/// Turns in which nothing was sent are at least this far apart.
const TURN_MIN: Duration = Duration::from_micros(100);
/// Tries of one port.
const TRIES: u8 = 15;
/// An answer missed this many times more rarely than the confidence allows: losses come in groups.
const MARGIN: f64 = 20.0;

/// Where packets to a target leave, and through whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// Number of the interface in the caller's list.
    pub(crate) link: u16,
    /// The next hop, or `None` when the target itself is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// Whether the next hop's hardware address has to be known.
    pub(crate) needs_mac: bool,
    /// Whether it leads through routers.
    pub(crate) is_routed: bool,
}

/// Which way an address goes.
pub(crate) trait Routes: std::fmt::Debug + Send {
    /// The way to an address.
    ///
    /// # Errors
    /// Why there is none.
    fn way(&self, address: IpAddr) -> Result<Way, NotProbed>;

    /// The hardware address of a next hop on a link, as far as the kernel knows it.
    fn mac(&self, link: u16, hop: IpAddr) -> Option<Mac>;

    /// Whether that is fixed, by hand or by what the link is, so that nobody has to answer for it.
    fn is_fixed(&self, _link: u16, _hop: IpAddr) -> bool {
        false
    }
}

/// Something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transmit {
    /// A probe.
    Probe { address: IpAddr, probe: Probe, lane: u8, link: u16, mac: Mac },
    /// The end of the flow that a probe has opened.
    Reset { address: IpAddr, probe: Probe, lane: u8, link: u16, mac: Mac },
    /// The question who on the link has an address.
    Resolve { address: IpAddr, link: u16 },
    /// A connection, to hear what an open port says.
    BannerGrab { index: u64, address: IpAddr, port: u16, link: u16, wait: Duration },
}

/// What to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was given to send; come again.
    Sent,
    /// Nothing to do before this time or an answer.
    Wait { until: Duration },
    /// Everything is settled.
    Done,
}

/// An answer whose cookie was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) address: IpAddr,
    pub(crate) probe: Probe,
    /// The lane of the probe that is answered.
    pub(crate) lane: u8,
    /// When that was sent, if it said so.
    pub(crate) sent_at: Option<Duration>,
    pub(crate) state: PortState,
    pub(crate) reason: Reason,
    pub(crate) ttl: u8,
    /// Whether the address itself says it, not something on the way.
    pub(crate) is_own_word: bool,
    /// What a SYN-ACK tells of the host's stack.
    pub(crate) stack: Option<Stack>,
}

/// A next hop that others wait for.
#[derive(Debug, Clone, Copy)]
struct Gateway {
    address: IpAddr,
    link: u16,
    mac: Option<Mac>,
    asked: u8,
    next: Duration,
    /// When something behind it was heard last, and canaries sent through it since.
    heard_at: Option<Duration>,
    unheard: u32,
    /// When it has told its hardware address to this unit; the kernel may know one from before it died.
    told_at: Option<Duration>,
    /// When it was doubted last.
    doubted_at: Duration,
    /// Whether its hardware address is fixed: it need not answer for it.
    is_fixed: bool,
}

/// The scan of one unit.
#[derive(Debug)]
pub(crate) struct SynScan {
    plan: Plan,
    gate: Gate,
    pace: Arc<RateCap>,
    limits: Limits,
    routes: Box<dyn Routes>,
    gateways: Vec<Gateway>,
    /// Whether one of them is being asked for, so that no target is sent anything.
    is_asking: bool,
    links: Links,
    host_probes: HostProbes,
    yields: DiscoveryYield,
    /// TCP ports of each target.
    ports: u32,
    /// Whether silent hosts are asked everything as often as others: few were named, by someone who means them.
    is_thorough: bool,
    /// Whether there is one probe at a time, and none twice.
    is_gentle: bool,
    /// While gentle, nothing is sent before this or an answer.
    quiet_until: Duration,
    miss_max: f64,
    waiting: Range<u64>,
    targets: VecDeque<Target>,
    /// Index of the first of `targets`.
    base: u64,
    targets_max: usize,
    line: VecDeque<u64>,
    held: Held,
    resting: BinaryHeap<Reverse<(Duration, u64)>>,
    /// How long in all what was given to send has waited for a full queue: rests, which are counted without it, go on as much later.
    put_off: Duration,
    banner_grabs: BannerGrabs,
    canaries: Vec<Canary>,
    canaries_seen: u64,
    /// The canary whose flow is kept going, and when it was sent last.
    kept: Option<(Canary, Duration)>,
    /// Canaries wanted beyond the regular ones, for want of figures.
    canaries_wanted: u32,
    since_canary: u32,
    /// While no flow may be opened, no canary goes before this.
    canary_at: Duration,
    path: Path,
    open_flows: OpenFlows,
    /// Flows that may be opened in this turn.
    may_open: u32,
    /// Answers that the path has not been told of.
    answers: u64,
    /// The path's epoch and rate when it was last looked at.
    moment: Moment,
    /// Probes given out since then, and the canaries among them.
    sent: (u32, u32),
    arp_pacer: Pacer,
    rtt: RttTable,
    recall: Recall,
    results: Results,
}

impl SynScan {
    /// The scan of `range` of the plan's indexes; the plan's targets are addresses that `routes` knows. Units of a job share
    /// the `path`.
    pub(crate) fn new(
        plan: Plan,
        range: Range<u64>,
        permit: Arc<Permit>,
        pace: Arc<RateCap>,
        routes: Box<dyn Routes>,
        path: Path,
    ) -> Self {
        let limits = Limits::of(plan.spec());
        let gate = Gate::new(Arc::clone(plan.spec()), permit);
        let targets_max = (PORTS_MAX / plan.port_count().max(1)).clamp(1, TARGETS_MAX);
        Self {
            host_probes: HostProbes::new(&plan, limits.discovery, &gate),
            yields: DiscoveryYield::default(),
            ports: plan.spec().ports.tcp_count(),
            is_thorough: plan.target_count() <= discovery::TARGETS_MIN,
            is_gentle: plan.spec().profile == Profile::OtSafe,
            quiet_until: Duration::ZERO,
            miss_max: (1.0 - plan.spec().confidence) / MARGIN,
            base: range.start,
            waiting: range.start..range.end.min(plan.target_count()),
            targets_max: targets_max as usize,
            rtt: RttTable::new(limits.timeout_min),
            moment: path.moment(),
            open_flows: OpenFlows::new(path.clone()),
            may_open: u32::MAX,
            answers: 0,
            path,
            sent: (0, 0),
            gateways: Vec::new(),
            is_asking: false,
            links: Links::default(),
            targets: VecDeque::new(),
            line: VecDeque::new(),
            held: Held::default(),
            resting: BinaryHeap::new(),
            put_off: Duration::ZERO,
            banner_grabs: BannerGrabs::default(),
            canaries: Vec::new(),
            canaries_seen: 0,
            kept: None,
            canaries_wanted: 0,
            since_canary: 0,
            canary_at: Duration::ZERO,
            arp_pacer: Pacer::default(),
            recall: Recall::default(),
            results: Results::default(),
            plan,
            gate,
            pace,
            limits,
            routes,
        }
    }

    /// Gives up to `room` things to send at `now`, of which up to `grab_room` are connections. First hand in every
    /// answer that has arrived: what is overdue is given up here.
    pub(crate) fn poll(&mut self, now: Duration, room: u32, grab_room: usize, out: &mut Vec<Transmit>) -> Turn {
        self.tick(now);
        self.doubt_gateways(now);
        self.wake(now);
        self.end_flows(now);
        self.release(now);
        if room > 0 {
            self.enter();
        }
        let banner_grabs = self.banner_grabs.waiting().min(grab_room);
        if self.is_done() {
            return Turn::Done;
        }
        let gateway_wakes = self.ask_gateways(now, out);
        self.is_asking = gateway_wakes.is_some();
        let lined = if self.is_asking { 0 } else { self.line.len() };
        let sendable = banner_grabs + lined + self.canaries_due() + self.open_flows.resets();
        let sendable = u32::try_from(sendable).unwrap_or(u32::MAX);
        let rests =
            self.resting.peek().map_or(now + Duration::from_millis(100), |Reverse((due, _))| *due + self.put_off);
        let until = [gateway_wakes, self.held.next()].into_iter().flatten().fold(rests, Duration::min);
        if sendable == 0 || room == 0 {
            return Turn::Wait { until };
        }
        if self.is_gentle && now < self.quiet_until {
            return Turn::Wait { until: until.min(self.quiet_until) };
        }
        let room = if self.is_gentle { 1 } else { room };
        let admitted = self.path.admit(now, room.min(sendable));
        let admitted = admitted.and_then(|granted| self.pace.admit(now, self.limits.rate_max_pps, granted));
        let granted = match admitted {
            Ok(granted) => granted,
            Err(next) => return Turn::Wait { until: until.min(next) },
        };
        self.may_open = self.path.flow_room(now);
        let before = out.len();
        let mut grabs_left = banner_grabs;
        for _ in 0..granted {
            let Some(send) = self.choose(now, &mut grabs_left) else { break };
            out.push(send);
        }
        let (probes, canaries) = std::mem::take(&mut self.sent);
        self.path.sent(probes, canaries);
        if out.len() > before {
            return Turn::Sent;
        }
        // With nothing sent, what stood in line has gone to rest, or waits for its turn to ask by broadcast, or for a slot of its
        // network: one that is not taken in time is gone.
        let soon = now + Duration::from_millis(1);
        Turn::Wait { until: self.held.next().map_or(soon, |slot| slot.clamp(now + TURN_MIN, soon)) }
    }

    fn is_done(&self) -> bool {
        let is_settled = self.waiting.is_empty() && self.targets.is_empty();
        is_settled && self.banner_grabs.is_empty() && self.open_flows.resets() == 0
    }

    /// Looks at the path as it is now.
    fn tick(&mut self, now: Duration) {
        let smoothed = self.rtt.smoothed();
        let timeout = smoothed.map_or(self.limits.wait_max, |_| self.timeout());
        let answers = std::mem::take(&mut self.answers);
        self.moment = self.path.tick(now, RoundTrip { smoothed, timeout }, answers);
    }

    fn timeout(&self) -> Duration {
        self.rtt.timeout(IpAddr::from([0; 4]))
    }

    fn target(&mut self, index: u64) -> Option<&mut Target> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.targets.get_mut(at)
    }

    fn permits(&self, address: IpAddr, stage: Stage) -> bool {
        self.gate.permits(address, None, stage)
    }

    /// Whether a probe may go to an address as it is.
    fn permits_probe(&self, address: IpAddr, probe: Probe) -> bool {
        let (port, stage) = match probe {
            Probe::Syn(port) => (Some(Port::tcp(port)), Stage::Syn),
            Probe::Ack(port) => (Some(Port::tcp(port)), Stage::HostProbe),
            Probe::Echo | Probe::Timestamp => (None, Stage::HostProbe),
        };
        match self.gate.ask(address, port, stage) {
            Verdict::Allow => true,
            Verdict::SynOnly => stage == Stage::Syn,
            Verdict::OwnProtocol | Verdict::Deny(_) => false,
        }
    }
}

impl Scan for SynScan {
    fn results(&self) -> &Results {
        &self.results
    }

    fn results_mut(&mut self) -> &mut Results {
        &mut self.results
    }

    /// The loss as canaries have measured it, and the part of it at any rate as far as that was found out.
    fn estimates(&self) -> Estimates {
        let (loss, chance_loss) = (self.path.measured_loss(), self.path.chance_loss());
        Estimates { loss, chance_loss, recall: self.recall.estimate() }
    }

    fn settled_until(&self) -> Option<u64> {
        let settled = if self.targets.is_empty() { self.waiting.start } else { self.base };
        Some(self.banner_grabs.first_index().map_or(settled, |listened| settled.min(listened)))
    }

    fn is_cooling_down(&self) -> bool {
        self.waiting.is_empty() && self.line.is_empty() && self.held.is_empty()
    }
}

#[cfg(test)]
#[path = "syn_scan/syn_scan_test.rs"]
mod tests;
