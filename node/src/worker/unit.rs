//! One unit: scan it, fold what was found, make the chunk durable, count it.
//!
//! A long unit is counted by checkpoints: what is below its watermark becomes a chunk of its own while the rest goes on
//! under the same lease, so that a node that dies loses at most what it did since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use pentora_raft::Response;
use pentora_raft::command::{Command, Completion, UnitKey};
use pentora_raft::state::Remarks;
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::unit::{ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::unit_findings::{Taken, UnitFindings};
use super::units::Begun;
use crate::clock::wall_ms;
use crate::exclusions::{self, Unresolved};
use crate::feeds::rematch::Rematch;
use crate::results::{ChunkWriter, Heading};
use crate::rpc::proposer::Unavailable;
use crate::spec;

/// How long to wait before a busy engine, a full disk or a lost quorum is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Runs a unit to its end; `ended` is told so that a beat follows at once.
pub(super) async fn run(context: Arc<Context>, begun: Begun, ended: mpsc::Sender<()>) {
    let cancel = begun.cancel.clone();
    let _ending = Ending { context: &context, begun: &begun, ended };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = work(&context, &begun) => {}
    }
}

/// Takes a unit off the list however its task ends, a panic included, so that the leader sends the lease again.
struct Ending<'a> {
    context: &'a Context,
    begun: &'a Begun,
    ended: mpsc::Sender<()>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.context.units.end(&self.begun.reference);
        // Where the session is over there is nobody to tell.
        let _ = self.ended.try_send(());
    }
}

async fn work(context: &Context, begun: &Begun) {
    match Work::new(context, begun).scan().await {
        Ok(()) | Err(ScanError::Cancelled | ScanError::Stopped) => {}
        Err(error) => give_up(context, begun, error.to_string()).await,
    }
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
    /// Lines about the unit for people, not yet in the log.
    notes: BTreeSet<String>,
    /// When the unit was begun, or its last checkpoint.
    since: Instant,
    /// A checkpoint on its way into the log: whether it was counted.
    checkpoint: Option<BoxFuture<'a, bool>>,
}

impl<'a> Work<'a> {
    fn new(context: &'a Context, begun: &'a Begun) -> Self {
        Self {
            context,
            begun,
            started_at_ms: wall_ms(),
            findings: UnitFindings::new(begun.lease.start..begun.lease.end),
            notes: BTreeSet::new(),
            since: Instant::now(),
            checkpoint: None,
        }
    }

    /// Scans the unit and counts it, at the end what no checkpoint has.
    async fn scan(mut self) -> Result<(), ScanError> {
        let end_early = self.begun.cancel.child_token();
        let (spec, mut scan) = begin(self.context, self.begun, &end_early).await?;
        self.notes
            .extend(scan.note.map(|why| cut(&format!("scanned with connections, raw packets do not reach {why}"))));
        let ports = u64::from(spec.ports.count());
        loop {
            tokio::select! {
                biased;
                Some(counted) = OptionFuture::from(self.checkpoint.as_mut()) => {
                    self.checkpoint = None;
                    if !counted {
                        // The lease is gone, and with it whatever else this unit would find.
                        return Err(ScanError::Cancelled);
                    }
                }
                findings = scan.findings.recv() => match findings {
                    Some(findings) => findings.into_iter().for_each(|finding| self.findings.add(finding)),
                    None => break,
                },
                Ok(()) = scan.progress.changed() => {}
                () = self.begun.suspend.cancelled(), if !end_early.is_cancelled() => end_early.cancel(),
            }
            let progress = *scan.progress.borrow();
            self.tell(&progress, ports);
            self.make_checkpoint(&progress, &mut scan);
        }
        let progress = *scan.progress.borrow();
        let outcome = scan.outcome.await.unwrap_or(Err(ScanError::Stopped));
        if let Some(checkpoint) = self.checkpoint.take()
            && !checkpoint.await
        {
            return Err(ScanError::Cancelled);
        }
        match outcome {
            Ok(outcome) => self.finish(&outcome).await,
            Err(ScanError::Cancelled) if self.begun.suspend.is_cancelled() => self.suspend(&progress).await,
            Err(error) => return Err(error),
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
        self.count(self.findings.watermark(progress.settled_until), progress, true)
    }

    fn count(
        &mut self,
        end: u64,
        figures: &UnitProgress,
        goes_on: bool,
    ) -> impl Future<Output = bool> + Send + use<'a> {
        let start = self.findings.taken_until();
        let taken = self.findings.take(end, figures);
        let not_probed = taken.not_probed().iter().map(|(reason, targets)| (reason.code(), targets)).collect();
        let remarks = Remarks { not_probed, notes: std::mem::take(&mut self.notes) };
        let (rematch, started_at_ms) = (self.rematch(), self.started_at_ms);
        commit(self.context, self.begun, Settled { start, end, goes_on, taken, remarks, rematch, started_at_ms })
    }

    /// Over the feeds as they are now.
    fn rematch(&self) -> Rematch {
        Rematch::new(self.context.feeds.clone())
    }

    /// The unit was done to its end.
    async fn finish(&mut self, outcome: &UnitOutcome) {
        self.context.units.measured(self.begun.reference.unit.job, outcome.targets_per_second);
        let names = outcome.left_out.unresolved.iter().take(NAMES_MAX);
        self.notes.extend(names.map(|name| cut(&format!("{} was not probed: {}", name.name, name.why))));
        self.count(self.begun.lease.end, &outcome.progress, false).await;
    }

    /// The unit was asked to end early: what is below its watermark is counted, and what was found behind is left for
    /// whoever asked.
    async fn suspend(&mut self, progress: &UnitProgress) {
        if self.findings.watermark(progress.settled_until) > self.findings.taken_until() {
            self.count_settled(progress).await;
        }
        let end = self.begun.lease.end;
        let (taken, mut left) = (self.findings.take(end, progress), Vec::new());
        let worker = self.context.worker_id.as_str();
        taken.records(self.started_at_ms, worker, &mut self.rematch(), |record| left.push(record));
        self.context.units.leave(left);
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
    rematch: Rematch,
    started_at_ms: u64,
}

/// Makes it durable and puts it into the log. Answers whether it was counted.
async fn commit(context: &Context, begun: &Begun, settled: Settled) -> bool {
    let Settled { start, end, goes_on, taken, remarks, mut rematch, started_at_ms } = settled;
    let unit = UnitKey { start, ..begun.reference.unit };
    let worker = context.worker_id.clone();
    let packing = tokio::task::spawn_blocking(move || {
        let mut chunk = ChunkWriter::new(&Heading { unit, end });
        let counts = taken.records(started_at_ms, &worker, &mut rematch, |record| chunk.push(&record));
        (chunk.finish(), counts)
    });
    let (bytes, counts) = match packing.await {
        Ok(packed) => packed,
        Err(error) => {
            give_up(context, begun, format!("the results could not be packed: {error}")).await;
            return false;
        }
    };
    let stored = context.exchange.make_durable(bytes).await;
    let (lease, node) = (begun.reference, context.node);
    count_it(context, Completion { lease, start, end, goes_on, node, stored, counts }, remarks).await
}

/// Begins the unit in the engine. Waits where the spec is not here yet or the engine is busy.
async fn begin(
    context: &Context,
    begun: &Begun,
    end_early: &CancellationToken,
) -> Result<(Arc<ScanSpec>, UnitScan), ScanError> {
    let unit = begun.reference.unit;
    let spec = loop {
        match spec::of_lease(&context.raft, &context.exchange, begun.reference).await {
            Ok(spec) => break within_exclusions(within_share(spec, begun.lease.share.network_pps)).await?,
            Err(reason) => {
                tracing::debug!(job = %unit.job, %reason, "the job's spec is not here yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    loop {
        let task = UnitTask {
            spec: Arc::clone(&spec),
            partition: unit.partition,
            range: begun.lease.start..begun.lease.end,
            scope: Arc::clone(&context.scope),
            pace: Arc::clone(&begun.pace),
            cancel: end_early.clone(),
        };
        match context.engine.scan(task) {
            Err(error) if error.is_temporary() => tokio::time::sleep(RETRY).await,
            other => return other.map(|scan| (spec, scan)),
        }
    }
}

/// The spec with the addresses that names among its exclusions have for this node.
///
/// # Errors
/// A name without an address: what it protects is not known here.
async fn within_exclusions(spec: Arc<ScanSpec>) -> Result<Arc<ScanSpec>, ScanError> {
    if spec.exclude.name_count() == 0 {
        return Ok(spec);
    }
    let resolving = tokio::task::spawn_blocking(move || {
        let exclude = exclusions::resolved(&spec.exclude, Unresolved::Refuse);
        exclude.map(|exclude| Arc::new(ScanSpec { exclude, ..ScanSpec::clone(&spec) }))
    });
    match resolving.await {
        Ok(resolved) => resolved.map_err(|error| ScanError::Exclusions { why: error.to_string() }),
        Err(error) => Err(ScanError::Exclusions { why: error.to_string() }),
    }
}

/// The spec with the lease's own share of what the whole job may send into one network.
fn within_share(spec: Arc<ScanSpec>, network_pps: Option<u64>) -> Arc<ScanSpec> {
    match network_pps {
        Some(share) if spec.network_rate_pps != Some(share) => {
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
async fn count_it(context: &Context, completion: Completion, remarks: Remarks) -> bool {
    let unit = completion.lease.unit;
    let command = match remarks.is_empty() {
        true => Command::Complete { completions: vec![completion.clone()] },
        false => Command::CompleteWith { completion: Box::new(completion.clone()), remarks },
    };
    loop {
        match context.proposer.propose(command.clone()).await {
            Ok(applied) => {
                let counted = matches!(&applied.response, Response::Completed { accepted } if accepted == &[true]);
                let (start, end, epoch) = (completion.start, completion.end, completion.lease.epoch);
                tracing::debug!(job = %unit.job, start, end, epoch, counted, "unit done");
                return counted;
            }
            Err(Unavailable::QuorumLost { reason }) => {
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

/// Hands a unit back that this node cannot scan; the try counts against the unit.
async fn give_up(context: &Context, begun: &Begun, reason: String) {
    let unit = begun.reference.unit;
    tracing::warn!(job = %unit.job, start = unit.start, %reason, "unit failed here");
    let command = Command::Expire { leases: vec![begun.reference], reason };
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
