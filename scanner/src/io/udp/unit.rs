//! A unit in the UDP engine: its scan and sockets, its first part if it has one, and the channels to whoever asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::merge::Merge;
use super::sockets::{Incoming, Sockets};
use crate::finding::{Finding, HostState, Observation};
use crate::io::delivery::{self, Delivery};
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::scan::Counts;
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

/// The first part in work.
#[derive(Debug)]
struct FirstPart {
    scan: UnitScan,
    cancel: CancellationToken,
    outcome: Option<UnitOutcome>,
    is_read: bool,
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
    delivery: Delivery,
}

impl Unit {
    pub(super) fn new(
        (plan, task): (Plan, UnitTask),
        first: Option<First>,
        (neighbours, secret): (Arc<Neighbours>, u64),
    ) -> (Self, UnitScan) {
        let (delivery, handle) = Delivery::new(task.cancel, task.range.end - task.range.start);
        let is_fed = first.as_ref().is_some_and(|first| first.is_fed);
        let is_discovery = first.as_ref().is_some_and(|first| first.is_discovery);
        let in_turn = plan.spec().network_rate_pps.is_some() || plan.spec().host_rate_pps.is_some();
        let merge = Merge::new(task.range.start, is_discovery, is_fed);
        let scan = UdpScan::new((plan, task.range), (task.scope, task.pace), is_fed, secret);
        let first = first.map(|First { scan, cancel, .. }| FirstPart { scan, cancel, outcome: None, is_read: false });
        let unit = Self {
            scan: scan.with_neighbours(neighbours),
            sockets: Sockets::default(),
            first,
            merge,
            in_turn,
            ready: Vec::new(),
            delivery,
        };
        (unit, handle)
    }

    /// Looks at what comes from outside; true when nothing more is to be sent for the unit.
    pub(super) fn begin_turn(&mut self, now: Duration) -> bool {
        self.pull();
        let is_cooling_down = self.scan.is_cooling_down() && self.is_first_over();
        let is_ending = self.delivery.begin_turn(now, is_cooling_down);
        if is_ending {
            self.drop_first();
        }
        is_ending
    }

    /// Whether datagrams may be sent now: not while the reader is behind, nor while the first part uses the rates.
    pub(super) fn may_send(&self) -> bool {
        !self.delivery.is_blocked() && (!self.in_turn || self.is_first_over())
    }

    /// Reads what the first part has found and how it has ended.
    fn pull(&mut self) {
        let Some(first) = &mut self.first else { return };
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
                Err(TryRecvError::Empty) => break,
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

    /// Hands over findings and figures that are due.
    pub(super) fn end_turn(&mut self, now: Duration) {
        self.gather();
        let Self { ready, delivery, .. } = self;
        let batch = delivery.wants(now, ready.len()).then(|| std::mem::take(ready));
        delivery.hand_over(now, batch);
        let figures = delivery::figures(&self.counts(), (self.loss(), self.recall()));
        let waiting = self.ready.len();
        // Two parts go through the targets in their own ways: there is no front that both have settled.
        self.delivery.tell(now, waiting, || None, || figures);
    }

    fn gather(&mut self) {
        if self.scan.findings_waiting() > 0 {
            let Self { scan, merge, ready, .. } = self;
            ready.extend(scan.take_findings().into_iter().filter(|finding| merge.keeps(finding)));
        }
    }

    fn first_progress(&self) -> Option<UnitProgress> {
        let first = self.first.as_ref()?;
        Some(first.outcome.as_ref().map_or_else(|| *first.scan.progress.borrow(), |outcome| outcome.progress))
    }

    fn counts(&self) -> Counts {
        self.merge.counts(self.scan.counts(), self.first_progress().as_ref(), self.scan.fed_unsettled())
    }

    /// How likely an open port was found: of the part that is less sure.
    fn recall(&self) -> f64 {
        let first = self.first_progress().map_or(1.0, |first| first.recall_estimate);
        self.scan.recall().min(first)
    }

    fn loss(&self) -> f64 {
        Merge::loss(self.scan.counts(), self.scan.loss_rate(), self.first_progress().as_ref())
    }

    /// The scan is done; so is the unit, if its first part is.
    pub(super) fn done(&mut self, now: Duration) {
        if !self.is_first_over() {
            return;
        }
        self.gather();
        let mut counts = self.counts();
        if let Some(outcome) = self.first.as_ref().and_then(|first| first.outcome.as_ref()) {
            Merge::finish(&mut counts, outcome);
        }
        let estimates = (self.loss(), self.recall());
        self.delivery.done(now, &counts, estimates);
    }

    /// Nothing more is to be sent; the first reason stays.
    pub(super) fn end(&mut self, ending: Result<UnitOutcome, ScanError>) {
        self.delivery.end(ending);
    }

    /// Whether all findings have been handed over and only the outcome is left to tell.
    pub(super) fn is_over(&self) -> bool {
        self.delivery.is_over(self.ready.len() + self.scan.findings_waiting())
    }

    /// Tells the outcome.
    pub(super) fn finish(mut self) {
        self.drop_first();
        self.delivery.finish();
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
        }
    }
}
