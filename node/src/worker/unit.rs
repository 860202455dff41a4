//! One unit: scan it, fold what was found, make the chunk durable, count it.
//!
//! A long unit is counted by checkpoints: what is below its watermark becomes a chunk of its own while the rest goes on
//! under the same lease, so that a node that dies loses at most what it did since.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use pentora_raft::command::{Command, Completion, UnitKey};
use pentora_raft::state::{Measures, Remarks};
use pentora_raft::{Response, State, kill_point};
use pentora_scanner::finding::TcpScan;
use pentora_scanner::recall::Recapture;
use pentora_scanner::report::Origin;
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::unit::{ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::own_log;
use super::permits;
use super::shares;
use super::unit_fault::{Fault, UnitError, fault_of};
use super::unit_findings::{Taken, UnitFindings};
use super::unit_spans;
use super::units::Begun;
use crate::feeds::rematch::Rematch;
use crate::results::{ChunkWriter, Heading};
use crate::rpc::proposer::Unavailable;
use crate::spec::{self, NotToBeHad};

/// How long to wait before a busy engine, a full disk or a lost quorum is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// How long a unit waits for its job's spec before it is handed back: another node may have it. Ours: a holder that
/// restarts is back in less.
const SPEC_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

/// Runs a unit to its end; `ended` is told so that a beat follows at once.
pub(super) async fn run(context: Arc<Context>, begun: Begun, ended: mpsc::Sender<()>) {
    let cancel = begun.cancel.clone();
    let _ending = Ending { context: &context, begun: &begun, ended };
    let began_ns = context.traces.begin();
    let fault = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            let is_done = begun.handed_in.load(Ordering::Relaxed);
            (!is_done).then(|| "its lease is gone".to_owned())
        }
        fault = work(&context, &begun) => fault,
    };
    unit_spans::unit(&context, &begun, began_ns, fault);
}

/// Takes a unit off the list however its task ends, so that the leader sends a lease again that still stands.
struct Ending<'a> {
    context: &'a Context,
    begun: &'a Begun,
    ended: mpsc::Sender<()>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.context.permits.end(&self.begun.reference);
        self.context.units.end(&self.begun.reference);
        // Where the session is over there is nobody to tell.
        let _ = self.ended.try_send(());
    }
}

/// Answers why it came to nothing, where it did.
async fn work(context: &Context, begun: &Begun) -> Option<String> {
    // What breaks off here would break off again and again if the lease stood and were sent again.
    let scanned = AssertUnwindSafe(Work::new(context, begun).scan()).catch_unwind().await;
    let fault = fault_of(scanned)?;
    let why = fault.why.clone();
    if !begun.cancel.is_cancelled() {
        give_up(context, begun, fault).await;
    }
    Some(why)
}

/// Names without an address that a unit tells of one by one; how many there are is counted.
const NAMES_MAX: usize = 8;
/// A line about a unit in the log is cut to so many bytes: what `Remarks` keeps.
const NOTE_BYTES_MAX: usize = 240;

/// A line that fits the log, whatever is in it.
fn cut(line: &str) -> String {
    let mut end = line.len().min(NOTE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default().to_owned()
}

/// A unit in work.
struct Work<'a> {
    context: &'a Context,
    begun: &'a Begun,
    started_at_ms: u64,
    findings: UnitFindings,
    /// How its TCP ports are asked; `None` for a unit without any.
    tcp: Option<TcpScan>,
    /// Lines about the unit for people, not yet in the log.
    notes: BTreeSet<String>,
    /// When the unit was begun, or its last checkpoint.
    since: Instant,
    /// A checkpoint on its way into the log: whether it was counted.
    checkpoint: Option<BoxFuture<'a, bool>>,
    /// A part of its share on its way back.
    giving_back: Option<BoxFuture<'a, ()>>,
}

impl<'a> Work<'a> {
    fn new(context: &'a Context, begun: &'a Begun) -> Self {
        Self {
            context,
            begun,
            started_at_ms: context.raft.now_ms(),
            findings: UnitFindings::new(begun.lease.start..begun.lease.end),
            tcp: None,
            notes: BTreeSet::new(),
            since: Instant::now(),
            checkpoint: None,
            giving_back: None,
        }
    }

    /// Scans the unit and counts it, at the end what no checkpoint has.
    async fn scan(mut self) -> Result<(), UnitError> {
        let end_early = self.begun.cancel.child_token();
        let (spec, mut scan) = begin(self.context, self.begun, &end_early).await?;
        let became = match scan.tcp {
            TcpScan::Connect => "scanned with connections",
            TcpScan::Syn => "not probed",
        };
        let unreached = |why| format!("{became}, raw packets do not reach {why}");
        self.note_of_targets(scan.note.take().map(unreached));
        self.findings.of(Arc::clone(&spec));
        let ports = u64::from(spec.ports.count());
        self.notes.extend(spec.notes.iter().map(|note| cut(note)));
        self.tcp = (spec.ports.tcp_count() > 0).then_some(scan.tcp);
        loop {
            tokio::select! {
                biased;
                Some(counted) = OptionFuture::from(self.checkpoint.as_mut()) => {
                    self.checkpoint = None;
                    if !counted {
                        // The lease is gone, and with it whatever else this unit would find.
                        return Err(ScanError::Cancelled.into());
                    }
                }
                Some(()) = OptionFuture::from(self.giving_back.as_mut()) => self.giving_back = None,
                findings = scan.findings.recv() => match findings {
                    Some(findings) => findings.into_iter().for_each(|finding| self.findings.add(finding)),
                    None => break,
                },
                Ok(()) = scan.progress.changed() => {}
                () = self.begun.suspend.cancelled(), if !end_early.is_cancelled() => end_early.cancel(),
                () = self.begun.early.cancelled(), if !end_early.is_cancelled() => end_early.cancel(),
            }
            let progress = *scan.progress.borrow();
            self.tell(&progress, ports);
            self.make_checkpoint(&progress, &mut scan);
            if self.giving_back.is_none() {
                self.giving_back =
                    shares::give_back(self.context, self.begun, progress.still_asked).map(FutureExt::boxed);
            }
        }
        let progress = *scan.progress.borrow();
        let outcome = scan.outcome.await.unwrap_or(Err(ScanError::Stopped));
        if let Some(checkpoint) = self.checkpoint.take()
            && !checkpoint.await
        {
            return Err(ScanError::Cancelled.into());
        }
        match outcome {
            Ok(outcome) => self.finish(&outcome).await,
            Err(ScanError::Cancelled) if self.begun.suspend.is_cancelled() => self.suspend(&progress).await,
            Err(ScanError::Cancelled) if self.begun.early.is_cancelled() => self.end_early(&progress).await,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Begins a checkpoint where one is worth it.
    fn make_checkpoint(&mut self, progress: &UnitProgress, scan: &mut UnitScan) {
        if self.checkpoint.is_some() || self.findings.checkpoint(progress.settled_until, self.since.elapsed()).is_none()
        {
            return;
        }
        // What was settled when the figures were told is in the channel by now.
        while let Ok(findings) = scan.findings.try_recv() {
            findings.into_iter().for_each(|finding| self.findings.add(finding));
        }
        self.checkpoint = Some(self.count_settled(progress).boxed());
        self.since = Instant::now();
    }

    /// Takes what is below the watermark and puts it on its way into the log.
    fn count_settled(&mut self, progress: &UnitProgress) -> impl Future<Output = bool> + Send + use<'a> {
        self.count(self.findings.watermark(progress.settled_until), progress, Measures::default(), true)
    }

    fn count(
        &mut self,
        end: u64,
        figures: &UnitProgress,
        measures: Measures,
        goes_on: bool,
    ) -> impl Future<Output = bool> + Send + use<'a> {
        let start = self.findings.taken_until();
        let taken = self.findings.take(end, figures);
        let not_probed = taken.not_probed().iter().map(|(reason, targets)| (reason.code(), targets)).collect();
        let remarks = Remarks { not_probed, notes: std::mem::take(&mut self.notes) };
        let (rematch, started_at_ms, tcp) = (self.rematch(), self.started_at_ms, self.tcp);
        commit(
            self.context,
            self.begun,
            Settled { start, end, goes_on, taken, remarks, measures, rematch, started_at_ms, tcp },
        )
    }

    /// Over the feeds as they are now.
    fn rematch(&self) -> Rematch {
        Rematch::new(self.context.feeds.clone())
    }

    /// Notes what was seen of single targets; the log is everywhere, so nothing of a job whose results do not leave a region.
    fn note_of_targets(&mut self, lines: impl IntoIterator<Item = String>) {
        if region_of(self.context, self.begun).is_none() {
            self.notes.extend(lines.into_iter().map(|line| cut(&line)));
        }
    }

    /// The unit was done to its end.
    async fn finish(&mut self, outcome: &UnitOutcome) {
        self.context.units.measured(self.begun.reference.unit.job, outcome.targets_per_second);
        self.note_late();
        let names = outcome.left_out.unresolved.iter().take(NAMES_MAX);
        self.note_of_targets(names.map(|name| format!("{} was not probed: {}", name.name, name.why)));
        let addresses = outcome.left_out.addresses.iter().take(NAMES_MAX);
        self.note_of_targets(addresses.map(ToString::to_string));
        let sums = outcome.recapture.iter().flat_map(Recapture::sums).collect();
        self.count(self.begun.lease.end, &outcome.progress, Measures { sums }, false).await;
    }

    /// The unit was asked to end early: what is below its watermark is counted, and what was found behind is left for
    /// whoever asked.
    async fn suspend(&mut self, progress: &UnitProgress) {
        if self.findings.watermark(progress.settled_until) > self.findings.taken_until() {
            self.count_settled(progress).await;
        }
        let end = self.begun.lease.end;
        let (taken, mut left) = (self.findings.take(end, progress), Vec::new());
        let (started_at_ms, worker) = (self.started_at_ms, self.context.worker_id.as_str());
        let ended_at_ms = ended_at_ms(self.context, started_at_ms);
        let origin = Origin { started_at_ms, ended_at_ms, worker, tcp: self.tcp };
        let counts = taken.records(origin, &mut self.rematch(), |record| left.push(record));
        self.context.units.leave(left, counts.probes_sent);
    }

    /// The time for the unit's targets is over: what is below its watermark is counted, and the rest goes back without blame.
    async fn end_early(&mut self, progress: &UnitProgress) {
        self.note_late();
        if self.findings.watermark(progress.settled_until) > self.findings.taken_until() {
            self.count_settled(progress).await;
        }
        hand_back(self.context, self.begun).await;
    }

    /// Marks what is handed in after a window was over.
    fn note_late(&mut self) {
        let late = self.context.permits.closed(&self.begun.reference);
        self.notes.extend(late.map(|why| cut(&format!("results came in late: {why}"))));
    }

    /// Tells how far the unit is, without what is counted already.
    fn tell(&self, progress: &UnitProgress, ports: u64) {
        let lease = &self.begun.lease;
        let done = done_about(progress, lease.end - lease.start, ports);
        let counted = self.findings.taken_until() - lease.start;
        let targets = done.saturating_sub(counted);
        self.context.units.progress(&self.begun.reference, self.findings.uncounted(progress, targets));
    }
}

/// What of a unit is settled and to be counted: a checkpoint, or all that is left at its end.
struct Settled {
    start: u64,
    end: u64,
    goes_on: bool,
    taken: Taken,
    remarks: Remarks,
    measures: Measures,
    rematch: Rematch,
    started_at_ms: u64,
    tcp: Option<TcpScan>,
}

/// Makes it durable and puts it into the log. Answers whether it was counted.
async fn commit(context: &Context, begun: &Begun, settled: Settled) -> bool {
    let Settled { start, end, goes_on, taken, remarks, measures, mut rematch, started_at_ms, tcp } = settled;
    let unit = UnitKey { start, ..begun.reference.unit };
    let worker = context.worker_id.clone();
    let region = region_of(context, begun);
    let is_quick = taken.found_nobody();
    let packed_ns = context.traces.begin();
    let ended_at_ms = ended_at_ms(context, started_at_ms);
    let pack = move || {
        let mut chunk = ChunkWriter::within(region.as_deref(), &Heading { unit, end });
        let origin = Origin { started_at_ms, ended_at_ms, worker: &worker, tcp };
        let counts = taken.records(origin, &mut rematch, |record| chunk.push(&record));
        (chunk.finish(), counts)
    };
    let packed = if is_quick { Ok(pack()) } else { tokio::task::spawn_blocking(pack).await };
    let (bytes, counts) = match packed {
        Ok(packed) => packed,
        Err(error) => {
            give_up(context, begun, Fault::failed(format!("the results could not be packed: {error}"))).await;
            return false;
        }
    };
    let result_bytes = bytes.len() as u64;
    let stored = context.exchange.make_durable(bytes).await;
    kill_point::reached("chunk-durable");
    let (lease, node) = (begun.reference, context.node);
    let completion = Completion { lease, start, end, goes_on, node, stored, counts };
    unit_spans::chunk(context, &completion, packed_ns);
    begun.handed_in.store(!goes_on, Ordering::Relaxed);
    let mut completing = unit_spans::completing(context, &completion);
    let counted = count_it(context, &completion, remarks, measures).await;
    completing.ended(counted);
    drop(completing);
    if counted {
        context.meters.unit_done(end.saturating_sub(start), &counts, result_bytes);
    }
    counted
}

/// Now, by the clock that all nodes show, which another leader may have put back meanwhile.
fn ended_at_ms(context: &Context, started_at_ms: u64) -> u64 {
    context.raft.now_ms().max(started_at_ms)
}

/// The region that the results of a unit do not leave, where there is one: it is known as soon as the lease is.
fn region_of(context: &Context, begun: &Begun) -> Option<String> {
    context.raft.read(|state| state.residency(begun.reference.unit.job).map(str::to_owned))
}

/// Hands back what is left of a unit, without blame.
async fn hand_back(context: &Context, begun: &Begun) {
    if let Err(error) = context.proposer.propose(Command::Release { leases: vec![begun.reference] }).await {
        tracing::debug!(%error, "a unit was not handed back; its lease will expire");
    }
}

/// Begins the unit in the engine. Waits where the spec is not here yet or the engine is busy.
async fn begin(
    context: &Context,
    begun: &Begun,
    end_early: &CancellationToken,
) -> Result<(Arc<ScanSpec>, UnitScan), UnitError> {
    let unit = begun.reference.unit;
    let asked = Instant::now();
    let spec = loop {
        match spec::of_lease(&context.raft, &context.exchange, begun.reference, begun.lease.end).await {
            Ok(spec) => break permits::within_exclusions(within_share(spec, begun.lease.share.network_pps)).await?,
            Err(reason @ NotToBeHad::NotGranted) => {
                tracing::warn!(job = %unit.job, start = unit.start, epoch = begun.reference.epoch, %reason, "not begun");
                return Err(ScanError::Cancelled.into());
            }
            Err(NotToBeHad::Now(why)) if asked.elapsed() >= SPEC_WITHIN => {
                return Err(UnitError::NoSpec { within: SPEC_WITHIN, why });
            }
            Err(NotToBeHad::Now(reason)) => {
                tracing::debug!(job = %unit.job, %reason, "the job's spec is not here yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    if begun.is_doubtful {
        shares::ask(context, begun).await?;
    }
    let permit = permits::begin(context, (begun.reference, begun.lease.end), &spec).await?;
    if let Some(budget_pps) = spec.budget_pps() {
        context.units.limit(&begun.reference, budget_pps);
    }
    loop {
        let outgrown = |state: &State| own_log::is_outgrown(state, &begun.reference, context.node);
        if begun.early.is_cancelled() || context.raft.read(outgrown) {
            // Rules, hours or this node's own place have changed while it waited for the engine: nothing of it was sent.
            hand_back(context, begun).await;
            return Err(ScanError::Cancelled.into());
        }
        let task = UnitTask {
            spec: Arc::clone(&spec),
            partition: unit.partition,
            range: begun.lease.start..begun.lease.end,
            permit: Arc::clone(&permit),
            pace: Arc::clone(&begun.pace),
            cancel: end_early.clone(),
        };
        match context.engine.scan(task) {
            Err(error) if error.is_temporary() => tokio::time::sleep(RETRY).await,
            other => return Ok((spec, other?)),
        }
    }
}

/// The spec with the lease's own share of what the whole job may send into one network.
fn within_share(spec: Arc<ScanSpec>, network_pps: Option<u64>) -> Arc<ScanSpec> {
    match network_pps {
        Some(share) if spec.network_rate_pps.is_none_or(|whole| share < whole) => {
            Arc::new(ScanSpec { network_rate_pps: Some(share), ..ScanSpec::clone(&spec) })
        }
        _ => spec,
    }
}

/// How far a unit is, in targets, for people. Its targets advance side by side, so hardly any is settled before the end;
/// the share of its probes that are out says more.
fn done_about(progress: &UnitProgress, targets: u64, ports: u64) -> u64 {
    let expected = u128::from(targets) * u128::from(ports);
    let sent = u128::from(progress.tally.probes_sent.saturating_sub(progress.tally.retransmitted));
    let by_probes = (u128::from(targets) * sent).checked_div(expected).unwrap_or(0);
    let by_probes = u64::try_from(by_probes).unwrap_or(u64::MAX).min(targets.saturating_sub(1));
    progress.tally.targets_done.max(by_probes)
}

/// Puts the completion into the log, through elections and lost quorums; the chunk is durable already. Answers whether it
/// was counted.
async fn count_it(context: &Context, completion: &Completion, remarks: Remarks, measures: Measures) -> bool {
    let unit = completion.lease.unit;
    let boxed = || Box::new(completion.clone());
    let command = match (remarks.is_empty(), measures.is_empty()) {
        (true, true) => None,
        (false, true) => Some(Command::CompleteWith { completion: boxed(), remarks }),
        (_, false) => Some(Command::CompleteMeasured { completion: boxed(), remarks, measures }),
    };
    loop {
        let proposed = match &command {
            Some(command) => context.proposer.propose(command.clone()).await,
            None => context.batch.complete(vec![completion.clone()]).await,
        };
        match proposed {
            Ok(applied) => {
                let counted = matches!(&applied.response, Response::Completed { accepted } if accepted == &[true]);
                let (start, end, epoch) = (completion.start, completion.end, completion.lease.epoch);
                tracing::debug!(job = %unit.job, start, end, epoch, counted, "unit done");
                return counted;
            }
            Err(Unavailable::QuorumLost { reason, .. }) => {
                tracing::debug!(job = %unit.job, %reason, "a finished unit waits for a quorum");
            }
            Err(error) => {
                tracing::warn!(job = %unit.job, %error, "a finished unit was not counted");
                return false;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Hands a unit back that this node cannot scan, which counts as a try of the unit; or may not by its own file, which does not.
async fn give_up(context: &Context, begun: &Begun, fault: Fault) {
    let (unit, leases) = (begun.reference.unit, vec![begun.reference]);
    let Fault { why: reason, is_declined } = fault;
    let command = if is_declined {
        tracing::warn!(job = %unit.job, start = unit.start, %reason, "unit declined here");
        Command::Decline { leases, reason }
    } else {
        tracing::warn!(job = %unit.job, start = unit.start, %reason, "unit failed here");
        Command::Expire { leases, reason }
    };
    if let Err(error) = context.proposer.propose(command).await {
        tracing::warn!(job = %unit.job, %error, "a failed unit was not handed back; its lease will expire");
    }
}

#[cfg(test)]
mod tests {
    use pentora_scanner::tally::Tally;

    use super::*;

    #[test]
    fn a_unit_is_as_far_as_its_probes_and_whole_only_when_its_targets_are_settled() {
        let at = |targets_done, probes_sent, retransmitted| {
            let tally = Tally { targets_done, probes_sent, retransmitted, ..Tally::default() };
            let progress = UnitProgress { tally, ..UnitProgress::default() };
            done_about(&progress, 50, 20)
        };
        assert_eq!([at(0, 0, 0), at(0, 500, 0), at(0, 600, 100), at(30, 500, 0)], [0, 25, 25, 30]);
        assert_eq!([at(0, 1_000, 0), at(0, u64::MAX, 0), at(50, 1_000, 0)], [49, 49, 50]);
        assert_eq!(done_about(&UnitProgress::default(), 5, 0), 0, "a unit without ports");
    }
}
