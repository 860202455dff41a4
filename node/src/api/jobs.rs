//! `/jobs`: lists, states, results, events, cancelling.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pentora_raft::command::{Command, SpecRef};
use pentora_raft::state::{Job, JobStatus};
use pentora_raft::{JobId, NodeId, Refusal, state};
use pentora_scanner::finding::{NotProbed, NotProbedCounts};
use serde::Deserialize;

use super::{ApiError, Node};
use crate::clock::{rfc3339, wall_ms};
use crate::document::{JobDocument, JobEvent, JobProgress, JobResults, Page, WorkerStat, duration_words};
use crate::feeds::rematch::Rematch;
use crate::results::report;
use crate::rpc::SoftState;
use crate::spec;
use crate::work_protocol::Figures;

/// `?after=`: events behind this log index.
#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

/// `POST /jobs/{id}/cancel` takes an optional reason.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cancel {
    reason: Option<String>,
}

pub(super) async fn list(State(node): State<Node>) -> Json<Page<JobDocument>> {
    let soft = node.soft().await;
    let items =
        node.raft.read(|state| state.jobs().rev().map(|(id, job)| document_of(state, id, job, &soft)).collect());
    Json(Page::whole(items))
}

pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<JobDocument>, ApiError> {
    let id = job_id(&id)?;
    let soft = node.soft().await;
    let found = node.raft.read(|state| {
        let document = state.job(id).map(|job| document_of(state, id, job, &soft))?;
        Some((document, state.spec(id).cloned()))
    });
    let Some((mut document, spec)) = found else { return Err(Refusal::JobUnknown { job: id }.into()) };
    // A large spec is read for a report, not for every look at a job that runs.
    let is_read = |spec: &SpecRef| matches!(spec, SpecRef::Inline(_)) || document.has_ended();
    if let Some(spec) = spec.filter(is_read) {
        let spec = spec::read(&node.exchange, spec).await.ok();
        document.allow_fragile = spec.as_ref().is_some_and(|spec| spec.allow_fragile);
        document.ports = spec.map(|spec| spec.ports.to_string());
    }
    Ok(Json(document))
}

pub(super) async fn results(State(node): State<Node>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    if node.raft.read(|state| state.job(id).is_none()) {
        return Err(Refusal::JobUnknown { job: id }.into());
    }
    let rematch = Rematch::new(node.feeds.clone()).into_revise();
    let lines = report::lines(&node.raft, node.exchange.clone(), id, rematch, &node.tasks);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

pub(super) async fn events(
    State(node): State<Node>,
    Path(id): Path<String>,
    Query(query): Query<After>,
) -> Result<Json<Page<JobEvent>>, ApiError> {
    let id = job_id(&id)?;
    let after = query.after.as_deref().map_or(Ok(0), str::parse::<u64>);
    let after = after.map_err(|_not_a_number| ApiError::bad_request("after is not a log index"))?;
    let items = node.raft.read(|state| {
        state.job(id)?;
        let events = state.job_events(id, after);
        Some(events.map(|(index, event)| event_of(index, event)).collect())
    });
    items.map(|items| Json(Page::whole(items))).ok_or_else(|| Refusal::JobUnknown { job: id }.into())
}

pub(super) async fn cancel(
    State(node): State<Node>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<JobDocument>, ApiError> {
    let job = job_id(&id)?;
    let cancel: Cancel = if body.is_empty() { Cancel::default() } else { super::scans::read_json(&body)? };
    let reason: String = cancel.reason.unwrap_or_else(|| "asked for".into()).chars().take(200).collect();
    let applied = node.proposer.propose(Command::Cancel { job, reason }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    one(State(node), Path(id)).await
}

pub(super) fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|error: pentora_raft::id::IdError| ApiError::bad_request(error.to_string()))
}

fn document_of(state: &pentora_raft::State, id: JobId, job: &Job, soft: &SoftState) -> JobDocument {
    let now_ms = wall_ms().max(state.cluster().now_ms);
    let end_ms = job.finished_at_ms.unwrap_or(now_ms);
    let elapsed_ms = job.started_at_ms.map_or(0, |started| end_ms.saturating_sub(started));
    let elapsed_seconds = elapsed_ms as f64 / 1000.0;
    let total = job.targets();
    let running = soft.in_progress.get(&id).filter(|_| job.is_open()).copied().unwrap_or_default();
    let active = state.workers_on(id);
    let worker_stats = stats_of(state, id, job, &active);
    let remarks = state.job_remarks(id);
    let unreached = remarks.map(unreached_of).unwrap_or_default();
    let mut not_probed = unreached;
    not_probed.add(NotProbed::GivenUp, job.dead);
    JobDocument {
        job_id: id.to_string(),
        status: job.status.name().into(),
        workers: u32::try_from(worker_stats.len()).unwrap_or(u32::MAX),
        targets_scanned: job.done.saturating_sub(unreached.total()),
        targets_in_progress: running.targets,
        duration: duration_words(elapsed_ms / 1000),
        results: JobResults {
            hosts_up: job.counts.hosts_up,
            open_ports: job.counts.open_ports,
            services_detected: job.counts.services_detected,
            vulnerabilities: job.counts.vulnerabilities,
        },
        worker_stats,
        targets_total: total,
        priority: job.priority,
        submitted_at: rfc3339(job.submitted_at_ms),
        started_at: job.started_at_ms.map(rfc3339),
        finished_at: job.finished_at_ms.map(rfc3339),
        elapsed_seconds,
        eta_seconds: eta(job, job.done.saturating_add(running.targets), elapsed_seconds),
        active_workers: u32::try_from(active.len()).unwrap_or(u32::MAX),
        probes_sent: job.counts.probes_sent,
        loss_estimate: job.counts.loss_estimate(),
        recall_estimate: job.counts.recall_estimate().map(|recall| recall * probed_share(job, &not_probed)),
        in_progress: progress_of(&running),
        reason: reason_of(job, &not_probed),
        notes: remarks.map(|remarks| remarks.notes.iter().cloned().collect()).unwrap_or_default(),
        not_probed,
        ports: None,
        allow_fragile: false,
    }
}

/// Targets that no probe reached, by the reasons that this release knows.
fn unreached_of(remarks: &state::Remarks) -> NotProbedCounts {
    let mut counts = NotProbedCounts::default();
    for (code, targets) in &remarks.not_probed {
        counts.add(NotProbed::from_code(*code).unwrap_or(NotProbed::SendRefused), *targets);
    }
    counts
}

/// Share of the targets settled so far that were probed: an open port of any other was not found.
fn probed_share(job: &Job, not_probed: &NotProbedCounts) -> f64 {
    let settled = job.done.saturating_add(job.dead);
    match settled.checked_sub(not_probed.total()) {
        Some(probed) if settled > 0 => probed as f64 / settled as f64,
        _ => 0.0,
    }
}

/// Why a job is as it is, in a line.
fn reason_of(job: &Job, not_probed: &NotProbedCounts) -> Option<String> {
    if not_probed.is_empty() || job.dead == not_probed.total() {
        return job.reason.clone();
    }
    let (missed, targets) = (not_probed.total(), job.targets());
    let told = format!("{missed} of {targets} targets were not probed: {not_probed}");
    match &job.reason {
        Some(reason) if job.dead > 0 => Some(format!("{told}; {reason}")),
        _ => Some(told),
    }
}

/// What units that are out have done so far, for people who follow the job.
fn progress_of(running: &Figures) -> JobProgress {
    JobProgress {
        targets: running.targets,
        hosts_up: running.counts.hosts_up,
        open_ports: running.counts.open_ports,
        probes_sent: running.counts.probes_sent,
        loss_estimate: running.counts.loss_estimate(),
    }
}

/// From the rate so far; `None` before there is one and after the end.
fn eta(job: &Job, done: u64, elapsed_seconds: f64) -> Option<f64> {
    if !job.is_open() || done == 0 || elapsed_seconds <= 0.0 {
        return None;
    }
    let left = job.targets().saturating_sub(done).saturating_sub(job.dead);
    Some(left as f64 * elapsed_seconds / done as f64)
}

/// One row per worker, the largest share first; equal ones by their names.
fn stats_of(state: &pentora_raft::State, id: JobId, job: &Job, active: &BTreeSet<NodeId>) -> Vec<WorkerStat> {
    let stats = state.job_workers(id).map(|(node, stat)| stat_of(state, job, node, stat, active.contains(&node)));
    let mut stats: Vec<WorkerStat> = stats.collect();
    stats.sort_by(|a, b| b.targets.cmp(&a.targets).then_with(|| a.worker_id.cmp(&b.worker_id)));
    stats
}

fn stat_of(state: &pentora_raft::State, job: &Job, node: NodeId, stat: &state::WorkerStat, active: bool) -> WorkerStat {
    let record = state.node(node);
    let word = match (active, record.map(|record| record.status)) {
        (_, None) => "Left",
        (_, Some(state::NodeStatus::Failed)) => "Failed",
        (true, Some(state::NodeStatus::Stale)) => "Stale",
        (true, _) => "Running",
        (false, _) if job.is_open() => "Idle",
        (false, _) => "Done",
    };
    WorkerStat {
        worker_id: record.map_or_else(|| format!("node {node}"), state::NodeRecord::worker_id),
        targets: stat.targets,
        duration: duration_words(stat.last_at_ms.saturating_sub(stat.first_at_ms) / 1000),
        state: word.into(),
    }
}

fn event_of(index: u64, event: &pentora_raft::event::Event) -> JobEvent {
    JobEvent {
        index,
        at: rfc3339(event.at_ms),
        kind: event.what.name().into(),
        message: event.to_string(),
        worker: event.worker.as_ref().map(|worker| worker.worker_id.clone()),
        unit: event.unit.map(|unit| unit.to_string()),
    }
}

/// Whether nothing of a job was granted yet, for metrics.
pub(super) fn is_waiting(job: &Job) -> bool {
    job.status == JobStatus::Queued
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::command::{
        Completion, LeaseRef, NewLease, NewToken, NodeInfo, NodeRole, Proposal, StoredChunk, Submission, UnitKey,
    };
    use pentora_raft::state::{Counts, JobLimits, Partition, Priority, Share};
    use pentora_raft::{ClusterId, Digest, State, TokenId};

    fn node_info(name: &str) -> NodeInfo {
        NodeInfo { name: name.into(), peer: name.into(), ..NodeInfo::default() }
    }

    /// Three workers that did these parts of one job, in the order of their admission.
    fn worked(job: JobId, shares: [u64; 3]) -> State {
        let secret = Digest::of(b"s");
        let token = NewToken {
            token: TokenId([1; 8]),
            secret,
            name: String::new(),
            ttl_ms: 1_000,
            uses: 2,
            role: NodeRole::Auto,
            region: None,
            networks: None,
        };
        let join = |name| Command::Join { token: TokenId([1; 8]), secret, info: node_info(name) };
        let submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count: shares.iter().sum(), ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        let (mut grants, mut completions, mut start) = (Vec::new(), Vec::new(), 0);
        for (node, targets) in [1, 3, 4].into_iter().zip(shares) {
            let (unit, end) = (UnitKey { job, partition: 0, start }, start + targets);
            grants.push(NewLease { unit, end, node, share: Share::default() });
            let lease = LeaseRef { unit, epoch: 9 };
            let stored = StoredChunk { digest: secret, bytes: 1, holders: vec![1] };
            let counts = Counts::default();
            completions.push(Completion { lease, start, end, goes_on: false, node, stored, counts });
            start = end;
        }
        let begin = Command::Begin { cluster: ClusterId([1; 16]), info: node_info("b"), admin_token: secret };
        let working = [1, 3, 4].map(|node| Command::WorkerBack { node });
        let commands = [begin, Command::CreateToken(token), join("c"), join("a")].into_iter().chain(working);
        let rest =
            [Command::SubmitJob(Box::new(submission)), Command::Grant { grants }, Command::Complete { completions }];
        let mut state = State::default();
        for (index, command) in (1..).zip(commands.chain(rest)) {
            let response = state.apply(index, &Proposal { at_ms: index, command });
            assert!(!matches!(response, pentora_raft::Response::Refused(_)), "{response:?}");
        }
        state
    }

    #[test]
    fn worker_stats_come_with_the_largest_share_first_and_equal_ones_by_name() {
        let job = JobId(8);
        for (shares, expected) in [
            ([5, 30, 10], [("wrk_c", 30), ("wrk_a", 10), ("wrk_b", 5)]),
            ([7, 7, 7], [("wrk_a", 7), ("wrk_b", 7), ("wrk_c", 7)]),
        ] {
            let state = worked(job, shares);
            let document = document_of(&state, job, state.job(job).unwrap(), &SoftState::default());
            let stats: Vec<_> =
                document.worker_stats.iter().map(|stat| (stat.worker_id.as_str(), stat.targets)).collect();
            assert_eq!(stats, expected);
        }
    }
}
