//! What a unit hands to whoever asked for it: findings in batches, running figures, and the outcome at the end.
//!
//! All engines use it, so that a unit is read, held up, cancelled and ended in one way whatever scans it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::finding::{Finding, TcpScan};
use crate::scan::Scan;
use crate::tally::{Estimates, LeftOut, Tally};
use crate::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan};

/// Findings are handed over when there are this many, or after [`FLUSH_AFTER`].
const BATCH: usize = 256;
/// Nobody notices a twentieth of a second.
const FLUSH_AFTER: Duration = Duration::from_millis(50);
/// How often running figures are told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The sending ends of a unit's channels.
#[derive(Debug)]
pub(crate) struct Delivery {
    cancel: CancellationToken,
    findings: mpsc::Sender<Vec<Finding>>,
    progress: watch::Sender<UnitProgress>,
    outcome: oneshot::Sender<Result<UnitOutcome, ScanError>>,
    targets: u64,
    /// Below this index, every target's findings have been handed over.
    settled_until: u64,
    /// Findings that the reader has had no room for.
    held: Option<Vec<Finding>>,
    begun: Option<Duration>,
    sent_until: Option<Duration>,
    flushed_at: Duration,
    told_at: Duration,
    /// Set once nothing more is to be done but handing over.
    ending: Option<Result<UnitOutcome, ScanError>>,
}

impl Delivery {
    /// The channels of a unit of so many targets.
    pub(crate) fn new(cancel: CancellationToken, targets: u64) -> (Self, UnitScan) {
        let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
        let (progress, progress_out) = watch::channel(UnitProgress::default());
        let (outcome, outcome_out) = oneshot::channel();
        let delivery = Self {
            cancel,
            findings,
            progress,
            outcome,
            targets,
            settled_until: 0,
            held: None,
            begun: None,
            sent_until: None,
            flushed_at: Duration::ZERO,
            told_at: Duration::ZERO,
            ending: None,
        };
        let scan = UnitScan {
            findings: findings_out,
            progress: progress_out,
            note: None,
            tcp: TcpScan::Connect,
            outcome: outcome_out,
        };
        (delivery, scan)
    }

    /// Looks at what comes from outside; true when the unit is over and nothing more is to be sent for it.
    pub(crate) fn begin_turn(&mut self, now: Duration, is_cooling_down: bool) -> bool {
        self.begun.get_or_insert(now);
        if self.ending.is_none() && self.cancel.is_cancelled() {
            self.end(Err(ScanError::Cancelled));
        }
        // A discovery that turns hosts up ends a pause that looked like the end.
        self.sent_until = is_cooling_down.then(|| self.sent_until.unwrap_or(now));
        self.ending.is_some()
    }

    /// Whether the reader is so far behind that nothing should be sent.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Hands over what a scan has found and its running figures, as far as they are due.
    pub(crate) fn deliver(&mut self, now: Duration, scan: &mut impl Scan) {
        let findings = &mut scan.results_mut().findings;
        self.hand_over(now, findings);
        let waiting = findings.len();
        let settled = || scan.settled_until();
        self.tell(now, waiting, settled, |settled_until| {
            let (tally, estimates) = (scan.results().tally(), scan.estimates());
            UnitProgress { tally, estimates, settled_until, still_asked: None }
        });
    }

    /// Hands over the findings that wait, if it is time; what the reader has no room for is held until the next turn.
    pub(crate) fn hand_over(&mut self, now: Duration, waiting: &mut Vec<Finding>) {
        let batch = self.wants(now, waiting.len()).then(|| std::mem::take(waiting));
        if let Some(batch) = self.held.take().or(batch) {
            match self.findings.try_send(batch) {
                Ok(()) => self.flushed_at = now,
                Err(mpsc::error::TrySendError::Full(batch)) => self.held = Some(batch),
                Err(mpsc::error::TrySendError::Closed(_)) => self.end(Err(ScanError::Cancelled)),
            }
        }
    }

    /// Whether findings, of which so many wait, are to be handed over now.
    fn wants(&self, now: Duration, waiting: usize) -> bool {
        let is_time = now >= self.flushed_at + FLUSH_AFTER || now >= self.told_at + PROGRESS_EVERY;
        let is_due = waiting >= BATCH || self.ending.is_some() || is_time;
        self.held.is_none() && waiting > 0 && is_due
    }

    /// Tells the running `figures` when they are due. `settled` says below which index all targets are settled, which is
    /// told on only once no finding waits, of which there are `waiting`.
    pub(crate) fn tell(
        &mut self,
        now: Duration,
        waiting: usize,
        settled: impl FnOnce() -> Option<u64>,
        figures: impl FnOnce(u64) -> UnitProgress,
    ) {
        if now >= self.told_at + PROGRESS_EVERY || self.ending.is_some() {
            self.told_at = now;
            if waiting == 0
                && self.held.is_none()
                && let Some(until) = settled()
            {
                self.settled_until = until;
            }
            self.progress.send_replace(figures(self.settled_until));
        }
    }

    /// Everything is settled.
    pub(crate) fn done(&mut self, now: Duration, tally: Tally, estimates: Estimates, left_out: LeftOut) {
        let begun = self.begun.unwrap_or(now);
        let sending = self.sent_until.unwrap_or(now).saturating_sub(begun);
        self.end(Ok(UnitOutcome {
            progress: UnitProgress { tally, estimates, settled_until: self.settled_until, still_asked: None },
            duration: now.saturating_sub(begun),
            sending,
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
            targets_per_second: self.targets as f64 / sending.as_secs_f64().max(1e-3),
            left_out,
            recapture: None,
        }));
    }

    /// Nothing more is to be sent; the first reason stays.
    pub(crate) fn end(&mut self, ending: Result<UnitOutcome, ScanError>) {
        self.ending.get_or_insert(ending);
    }

    /// Whether all findings, of which so many wait, have been handed over and only the outcome is left to tell.
    pub(crate) fn is_over(&self, waiting: usize) -> bool {
        let is_read = self.held.is_none() && waiting == 0;
        self.ending.is_some() && (is_read || self.findings.is_closed())
    }

    /// Tells the outcome.
    pub(crate) fn finish(self) {
        let Self { findings, progress, outcome, ending, .. } = self;
        drop((findings, progress));
        // Nobody may be left to hear it.
        let _ = outcome.send(ending.unwrap_or(Err(ScanError::Stopped)));
    }
}
