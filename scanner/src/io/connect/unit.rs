//! A unit in the engine: its session, and the channels to whoever asked for it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::arena::Key;
use crate::engine::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use crate::finding::Finding;
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::session::Session;

/// Findings are handed over when there are this many, or after [`FLUSH_AFTER`].
const BATCH: usize = 256;
/// Nobody notices a twentieth of a second.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// How often running figures are told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A unit in work.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) session: Session,
    /// The socket of each probe that is out, by the slot of the probe's key.
    sockets: Vec<Option<Key>>,
    range: Range<u64>,
    cancel: CancellationToken,
    findings: mpsc::Sender<Vec<Finding>>,
    progress: watch::Sender<UnitProgress>,
    outcome: oneshot::Sender<Result<UnitOutcome, ScanError>>,
    /// Findings that the reader has had no room for.
    held: Option<Vec<Finding>>,
    begun: Option<Duration>,
    sent_until: Option<Duration>,
    flushed_at: Duration,
    told_at: Duration,
    /// Set once nothing more is to be done but handing over.
    ending: Option<Result<UnitOutcome, ScanError>>,
}

impl Unit {
    pub(super) fn new(plan: Plan, task: UnitTask, neighbours: Arc<Neighbours>) -> (Self, UnitScan) {
        let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
        let (progress, progress_out) = watch::channel(UnitProgress::default());
        let (outcome, outcome_out) = oneshot::channel();
        let unit = Self {
            session: Session::new(plan, task.range.clone(), task.scope, task.pace).with_neighbours(neighbours),
            sockets: Vec::new(),
            range: task.range,
            cancel: task.cancel,
            findings,
            progress,
            outcome,
            held: None,
            begun: None,
            sent_until: None,
            flushed_at: Duration::ZERO,
            told_at: Duration::ZERO,
            ending: None,
        };
        (unit, UnitScan { findings: findings_out, progress: progress_out, outcome: outcome_out })
    }

    /// Looks at what comes from outside; true when the unit is over and its sockets are to be closed.
    pub(super) fn begin_turn(&mut self, now: Duration) -> bool {
        self.begun.get_or_insert(now);
        if self.ending.is_none() && self.cancel.is_cancelled() {
            self.end(Err(ScanError::Cancelled));
        }
        // A discovery that turns hosts up ends a pause that looked like the end.
        self.sent_until = self.session.is_cooling_down().then(|| self.sent_until.unwrap_or(now));
        self.ending.is_some()
    }

    /// Whether the reader is so far behind that nothing should be sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Hands over findings and figures that are due.
    pub(super) fn end_turn(&mut self, now: Duration) {
        let waiting = self.session.findings_waiting();
        let is_due = waiting >= BATCH || self.ending.is_some() || now >= self.flushed_at + FLUSH_AFTER;
        if self.held.is_none() && waiting > 0 && is_due {
            self.held = Some(self.session.take_findings());
        }
        if let Some(batch) = self.held.take() {
            match self.findings.try_send(batch) {
                Ok(()) => self.flushed_at = now,
                Err(mpsc::error::TrySendError::Full(batch)) => self.held = Some(batch),
                Err(mpsc::error::TrySendError::Closed(_)) => self.end(Err(ScanError::Cancelled)),
            }
        }
        if now >= self.told_at + PROGRESS_EVERY || self.ending.is_some() {
            self.told_at = now;
            self.progress.send_replace(self.figures());
        }
    }

    /// Everything is settled.
    pub(super) fn done(&mut self, now: Duration) {
        let begun = self.begun.unwrap_or(now);
        let sent_until = self.sent_until.unwrap_or(now);
        let sending = sent_until.saturating_sub(begun);
        let targets = self.range.end - self.range.start;
        let counts = self.session.counts();
        self.end(Ok(UnitOutcome {
            progress: self.figures(),
            duration: now.saturating_sub(begun),
            sending,
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
            targets_per_second: targets as f64 / sending.as_secs_f64().max(1e-3),
            refused: counts.refused,
            unresolved: counts.unresolved.clone(),
            unresolved_count: counts.unresolved_count,
        }));
    }

    /// Nothing more is to be sent; the first reason stays.
    pub(super) fn end(&mut self, ending: Result<UnitOutcome, ScanError>) {
        self.ending.get_or_insert(ending);
    }

    /// Whether all findings have been handed over and only the outcome is left to tell.
    pub(super) fn is_over(&self) -> bool {
        let is_read = self.held.is_none() && self.session.findings_waiting() == 0;
        self.ending.is_some() && (is_read || self.findings.is_closed())
    }

    /// Tells the outcome.
    pub(super) fn finish(self) {
        let Self { findings, progress, outcome, ending, .. } = self;
        drop((findings, progress));
        // Nobody may be left to hear it.
        let _ = outcome.send(ending.unwrap_or(Err(ScanError::Stopped)));
    }

    /// Remembers the socket of a probe.
    pub(super) fn set_socket(&mut self, probe: Key, socket: Key) {
        if probe.index() >= self.sockets.len() {
            self.sockets.resize(probe.index() + 1, None);
        }
        if let Some(slot) = self.sockets.get_mut(probe.index()) {
            *slot = Some(socket);
        }
    }

    /// The socket of a probe; it may be gone already.
    pub(super) fn take_socket(&mut self, probe: Key) -> Option<Key> {
        self.sockets.get_mut(probe.index())?.take()
    }

    fn figures(&self) -> UnitProgress {
        let counts = self.session.counts();
        UnitProgress {
            targets_done: counts.targets_done,
            hosts_up: counts.hosts_up,
            open_ports: counts.open_ports,
            probes_sent: counts.probes_sent,
            replies: counts.replies,
            retransmitted: counts.retransmitted,
            loss_estimate: self.session.loss_rate(),
        }
    }
}
