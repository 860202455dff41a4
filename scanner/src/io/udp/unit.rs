//! A unit in the UDP engine: its scan and sockets, its first part if it has one, and the channels to whoever asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::full_queue::FullQueues;
use super::merge::Merge;
use super::sockets::{Incoming, Sockets};
use crate::finding::{Finding, HostState, NotProbed, Observation};
use crate::io::carrier::Carrier;
use crate::io::clock;
use crate::io::crowd::Crowd;
use crate::io::delivery::Delivery;
use crate::io::raw::netlink::UDP;
use crate::io::reach::{Asked, Broadcasts};
use crate::io::reactor::Driven;
use crate::io::resolve::Found;
use crate::io::ways::{Change, Lost, Ways};
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::scan::Scan;
use crate::slot_map::Key;
use crate::target::of_socket;
use crate::udp_scan::payload::Catalogue;
use crate::udp_scan::{Heard, UdpScan};
use crate::unit::{ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};

/// No more of the first part is read while so many findings wait.
const READY_MAX: usize = 4096;

/// The part of a unit that another engine does.
#[derive(Debug)]
pub(crate) struct First {
    /// The part.
    pub(crate) scan: UnitScan,
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    /// Whether it only looks for hosts.
    pub(crate) is_discovery: bool,
    /// Whether only hosts that it finds up are asked over UDP.
    pub(crate) is_fed: bool,
}

/// What units have from outside.
pub(super) struct Shared {
    pub(super) neighbours: Arc<Neighbours>,
    pub(super) catalogue: Arc<Catalogue>,
    /// Any number that nobody can guess.
    pub(super) secret: u64,
}

/// The first part in work.
#[derive(Debug)]
struct FirstPart {
    scan: UnitScan,
    cancel: CancellationToken,
    outcome: Option<UnitOutcome>,
    is_read: bool,
    /// Every target below this index is settled there, and what was found of it was read.
    settled_until: u64,
}

impl FirstPart {
    fn settled_until(&self) -> u64 {
        if self.outcome.is_some() { u64::MAX } else { self.settled_until }
    }
}

/// A unit in work.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) scan: UdpScan,
    pub(super) sockets: Sockets,
    first: Option<FirstPart>,
    merge: Merge,
    /// Whether both parts together would exceed rates that each holds on its own, so that one goes after the other.
    in_turn: bool,
    ready: Vec<Finding>,
    /// What to ask the kernel about at the end.
    asked: Asked,
    pub(super) ways: Ways,
    pub(super) queues: FullQueues,
    broadcasts: Broadcasts,
    crowd: Crowd,
    pub(super) carrier: Carrier,
    delivery: Delivery,
}

impl Unit {
    /// The unit, and what whoever asked for it reads.
    pub(super) fn new(
        plan: Plan,
        task: UnitTask,
        first: Option<First>,
        Shared { neighbours, catalogue, secret }: Shared,
    ) -> (Self, UnitScan) {
        let (delivery, handle) = Delivery::new(task.cancel, task.range.end - task.range.start);
        let is_fed = first.as_ref().is_some_and(|first| first.is_fed);
        let is_discovery = first.as_ref().is_some_and(|first| first.is_discovery);
        let in_turn = plan.spec().network_rate_pps.is_some() || plan.spec().host_rate_pps.is_some();
        let merge = Merge::new(task.range.start, is_discovery, is_fed);
        let asked = Asked::new(&plan, &task.range, UDP);
        let carrier = Carrier::new(clock::now(), plan.target_set());
        let ways = Ways::new(UDP, plan.target_set());
        let scan = UdpScan::new(plan, task.range, task.permit, task.pace, is_fed, secret);
        let scan = if first.is_some() { scan.beside_another() } else { scan };
        let first = first.map(|First { scan, cancel, .. }| FirstPart {
            scan,
            cancel,
            outcome: None,
            is_read: false,
            settled_until: 0,
        });
        let unit = Self {
            scan: scan.with_neighbours(neighbours).with_catalogue(catalogue),
            sockets: Sockets::default(),
            first,
            merge,
            in_turn,
            ready: Vec::new(),
            asked,
            ways,
            queues: FullQueues::default(),
            broadcasts: Broadcasts::default(),
            crowd: Crowd::default(),
            carrier,
            delivery,
        };
        (unit, handle)
    }

    /// Whether datagrams may be sent now: not while the reader is behind, nor while the first part uses the rates.
    pub(super) fn may_send(&self) -> bool {
        !self.delivery.is_blocked() && (!self.in_turn || self.is_first_over())
    }

    /// Reads what the first part has found and how it has ended.
    fn pull(&mut self) {
        let Some(first) = &mut self.first else { return };
        // Told before that was found which comes from here on.
        let settled_until = first.scan.progress.borrow().settled_until;
        while !self.delivery.is_blocked() && self.ready.len() < READY_MAX && !first.is_read {
            match first.scan.findings.try_recv() {
                Ok(findings) => {
                    for finding in findings {
                        if let Observation::Host { state: HostState::Up, .. } = finding.observation {
                            self.scan.feed(finding.target_index, finding.address, finding.name.as_ref());
                        }
                        if self.merge.keeps_first(&finding) {
                            self.ready.push(finding);
                        }
                    }
                }
                Err(TryRecvError::Empty) => {
                    first.settled_until = settled_until;
                    break;
                }
                Err(TryRecvError::Disconnected) => first.is_read = true,
            }
        }
        if !first.is_read || first.outcome.is_some() {
            return;
        }
        match first.scan.outcome.try_recv() {
            Ok(Ok(outcome)) => {
                first.outcome = Some(outcome);
                self.scan.end_feeding();
            }
            Ok(Err(error)) => self.delivery.end(Err(error)),
            Err(oneshot::error::TryRecvError::Empty) => {}
            Err(oneshot::error::TryRecvError::Closed) => self.delivery.end(Err(ScanError::Stopped)),
        }
    }

    fn is_first_over(&self) -> bool {
        self.first.as_ref().is_none_or(|first| first.outcome.is_some())
    }

    /// Ends the first part with the unit.
    fn drop_first(&mut self) {
        if let Some(first) = self.first.take_if(|first| first.outcome.is_none()) {
            first.cancel.cancel();
        }
    }

    fn gather(&mut self) {
        let Self { scan, merge, ready, .. } = self;
        ready.extend(scan.results_mut().take_findings().into_iter().filter(|finding| merge.keeps(finding)));
    }

    /// The figures of both parts.
    fn progress(&self) -> UnitProgress {
        let first = self.first.as_ref().map(|first| match &first.outcome {
            Some(outcome) => outcome.progress,
            None => *first.scan.progress.borrow(),
        });
        let (tally, estimates) = (self.scan.results().tally(), self.scan.estimates());
        let udp = UnitProgress { tally, estimates, ..UnitProgress::default() };
        UnitProgress {
            tally: self.merge.tally(tally, first.map(|first| first.tally), self.scan.fed_unsettled()),
            estimates: Merge::estimates(&udp, first.as_ref()),
            ..UnitProgress::default()
        }
    }

    /// The scan is done; so is the unit, if its first part is.
    pub(super) fn done(&mut self, now: Duration) {
        if !self.is_first_over() {
            return;
        }
        self.gather();
        let UnitProgress { mut tally, estimates, .. } = self.progress();
        if self.first.is_none() {
            // What was refused, or lost on the way, is counted already.
            let settled = tally.hosts_up + tally.not_probed.total();
            let unreached = self.asked.unreached(settled, &self.scan.results().silent_names);
            tally.not_probed = tally.not_probed.and(&unreached);
        }
        let left_out = self.scan.results().left_out().clone();
        let first = self.first.as_ref().and_then(|first| first.outcome.as_ref());
        let left_out = match first {
            Some(first) => left_out.together_with(&first.left_out),
            None => left_out,
        };
        self.delivery.done(now, tally, estimates, left_out);
    }

    /// Something has arrived.
    pub(super) fn hear(&mut self, now: Duration, lane: u8, incoming: Incoming) {
        match incoming {
            Incoming::Datagram { from, bytes } => {
                self.scan.on_heard(now, lane, Heard::Datagram { from, bytes: &bytes });
            }
            Incoming::Error { to, by, state, reason } => {
                self.scan.on_heard(now, lane, Heard::Error { to, by, state, reason });
            }
            Incoming::NotSent { to, why: NotProbed::NoRoute | NotProbed::InterfaceDown }
                if self.ways.has_lost(now, of_socket(to)) =>
            {
                self.scan.on_held_up(to);
            }
            Incoming::Full { to } => {
                let is_stuck = self.queues.met_full(now);
                if self.ways.has_lost(now, of_socket(to)) || !is_stuck {
                    self.scan.on_held_up(to);
                } else {
                    self.scan.on_not_sent(to, NotProbed::SendRefused);
                }
            }
            Incoming::NotSent { to, why } => {
                self.scan.on_not_sent(to, self.broadcasts.reason_of(why, to.ip()));
            }
        }
    }
}

impl Driven for Unit {
    fn on_resolved(&mut self, now: Duration, host: Key, found: Found) {
        self.scan.on_resolved(now, host, found);
    }

    fn begin_turn(&mut self, now: Duration) -> bool {
        self.pull();
        match self.ways.look(now) {
            Some(Change::Back) => self.scan.ask_anew(),
            Some(Change::Lost(Lost { reach, since })) => self.scan.lose(since, |address| reach.lost(address)),
            None => {}
        }
        if let Some(places) = self.crowd.look(now, self.scan.is_crowded()) {
            self.scan.crowd(|address| places.lacks(address));
        }
        let is_cooling_down = self.scan.is_cooling_down() && self.is_first_over();
        let is_ending = self.delivery.begin_turn(now, is_cooling_down);
        if is_ending {
            self.drop_first();
            self.scan.results_mut().cut_short();
        }
        is_ending
    }

    fn end_turn(&mut self, now: Duration) {
        self.gather();
        self.delivery.hand_over(now, &mut self.ready);
        let (waiting, both) = (self.ready.len(), self.progress());
        let Self { delivery, scan, first, .. } = self;
        let of_first = first.as_ref().map_or(u64::MAX, FirstPart::settled_until);
        let settled = || scan.settled_until().map(|until| until.min(of_first));
        delivery.tell(now, waiting, settled, |settled_until| UnitProgress { settled_until, ..both });
    }

    fn end(&mut self, ending: Result<UnitOutcome, ScanError>) {
        self.delivery.end(ending);
    }

    fn is_over(&self) -> bool {
        self.delivery.is_over(self.ready.len() + self.scan.results().findings.len())
    }

    fn finish(mut self) {
        self.drop_first();
        self.delivery.finish();
    }
}
