//! One unit: scan it, fold what was found, make the chunk durable, count it.

use std::sync::Arc;
use std::time::Duration;

use pentora_raft::command::{Command, Completion};
use pentora_raft::state::Counts;
use pentora_raft::{Digest, Response};
use pentora_scanner::engine::{ScanError, UnitOutcome, UnitProgress, UnitTask};
use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::{Fold, Summary};
use tokio::sync::mpsc;

use super::Context;
use super::units::Begun;
use crate::clock::wall_ms;
use crate::glue::proposer::Unavailable;
use crate::jobs;
use crate::results::Chunk;

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
    let started_at_ms = wall_ms();
    let (records, outcome) = match scan(context, begun).await {
        Ok(scanned) => scanned,
        Err(ScanError::Cancelled | ScanError::Stopped) => return,
        Err(error) => return give_up(context, begun, error.to_string()).await,
    };
    let job = begun.reference.unit.job;
    context.units.measured(job, outcome.targets_per_second);
    let records: Vec<HostRecord> = records.finish(started_at_ms, &context.worker_id).collect();
    let counts = count(&records, &outcome);
    let chunk = Chunk { unit: begun.reference.unit, end: begun.lease.end, records };
    let bytes = match tokio::task::spawn_blocking(move || chunk.encode()).await {
        Ok(bytes) => bytes,
        Err(error) => return give_up(context, begun, format!("the results could not be packed: {error}")).await,
    };
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let holders = context.exchange.make_durable(digest, bytes).await;
    let completion = Completion {
        lease: begun.reference,
        end: begun.lease.end,
        node: context.node,
        digest,
        bytes: size,
        holders,
        counts,
    };
    count_it(context, completion).await;
}

/// Scans the unit and folds its findings. Waits where the engine is busy.
async fn scan(context: &Context, begun: &Begun) -> Result<(Fold, UnitOutcome), ScanError> {
    let unit = begun.reference.unit;
    let spec = loop {
        match jobs::spec_of(&context.raft, &context.exchange, begun.reference).await {
            Ok(spec) => break spec,
            Err(reason) => {
                tracing::debug!(job = %unit.job, %reason, "the job's spec is not here yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let mut scan = loop {
        let task = UnitTask {
            spec: Arc::clone(&spec),
            partition: unit.partition,
            range: unit.start..begun.lease.end,
            scope: Arc::clone(&context.scope),
            pace: Arc::clone(&begun.pace),
            cancel: begun.cancel.clone(),
        };
        match context.engine.scan(task) {
            Err(error) if error.is_temporary() => tokio::time::sleep(RETRY).await,
            other => break other?,
        }
    };
    let mut fold = Fold::new();
    let (targets, ports) = (begun.lease.end - unit.start, u64::from(spec.ports.count()));
    loop {
        tokio::select! {
            biased;
            findings = scan.findings.recv() => match findings {
                Some(findings) => findings.into_iter().for_each(|finding| fold.add(finding)),
                None => break,
            },
            Ok(()) = scan.progress.changed() => {}
        }
        let done = done_about(&scan.progress.borrow(), targets, ports);
        context.units.progress(&begun.reference, done);
    }
    let outcome = scan.outcome.await.unwrap_or(Err(ScanError::Stopped))?;
    Ok((fold, outcome))
}

/// How far a unit is, in targets, for people. Its targets advance side by side, so hardly any is settled before the end;
/// the share of its probes that are out says more.
fn done_about(progress: &UnitProgress, targets: u64, ports: u64) -> u64 {
    let expected = u128::from(targets) * u128::from(ports);
    let sent = u128::from(progress.probes_sent.saturating_sub(progress.retransmitted));
    let by_probes = (u128::from(targets) * sent).checked_div(expected).unwrap_or(0);
    let by_probes = u64::try_from(by_probes).unwrap_or(u64::MAX).min(targets.saturating_sub(1));
    progress.targets_done.max(by_probes)
}

/// Puts the completion into the log, through elections and lost quorums; the chunk is durable already.
async fn count_it(context: &Context, completion: Completion) {
    let unit = completion.lease.unit;
    loop {
        match context.proposer.propose(Command::Complete { completions: vec![completion.clone()] }).await {
            Ok(applied) => {
                let counted = matches!(&applied.response, Response::Completed { accepted } if accepted == &[true]);
                tracing::debug!(job = %unit.job, start = unit.start, epoch = completion.lease.epoch, counted, "unit done");
                return;
            }
            Err(Unavailable::QuorumLost { reason }) => {
                tracing::debug!(job = %unit.job, %reason, "a finished unit waits for a quorum");
            }
            Err(error) => {
                tracing::warn!(job = %unit.job, %error, "a finished unit was not counted");
                return;
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

fn count(records: &[HostRecord], outcome: &UnitOutcome) -> Counts {
    let mut summary = Summary::default();
    records.iter().for_each(|record| summary.count(record));
    Counts {
        hosts_up: summary.hosts_up,
        open_ports: summary.open_ports,
        services_detected: summary.services_detected,
        vulnerabilities: summary.vulnerabilities,
        probes_sent: outcome.progress.probes_sent,
        retransmitted: outcome.progress.retransmitted,
        replies: outcome.progress.replies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_as_far_as_its_probes_and_whole_only_when_its_targets_are_settled() {
        let at = |targets_done, probes_sent, retransmitted| {
            let progress = UnitProgress { targets_done, probes_sent, retransmitted, ..UnitProgress::default() };
            done_about(&progress, 50, 20)
        };
        assert_eq!([at(0, 0, 0), at(0, 500, 0), at(0, 600, 100), at(30, 500, 0)], [0, 25, 25, 30]);
        assert_eq!([at(0, 1_000, 0), at(0, u64::MAX, 0), at(50, 1_000, 0)], [49, 49, 50]);
        assert_eq!(done_about(&UnitProgress::default(), 5, 0), 0, "a unit without ports");
    }
}
