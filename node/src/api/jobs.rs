//! `/jobs`: lists, states, results, events, cancelling.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pentora_raft::command::{Command, SpecRef};
use pentora_raft::state::{Counts, Job, JobStatus, Priority};
use pentora_raft::{JobId, NodeId, Refusal, state};
use serde::Deserialize;

use super::{ApiError, Node};
use crate::clock::{rfc3339, wall_ms};
use crate::coordinator::{Figures, SoftState};
use crate::document::{self, JobDocument, JobEvent, JobProgress, JobResults, Page, WorkerStat, duration_words};
use crate::feeds::rematch::Rematch;
use crate::jobs;
use crate::results::report;

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
        let spec = jobs::read_spec(&node.exchange, spec).await.ok();
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
    let rematch = Rematch::new(node.feeds.clone());
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
    let worker_stats: Vec<WorkerStat> =
        state.job_workers(id).map(|(node, stat)| stat_of(state, job, node, stat, active.contains(&node))).collect();
    JobDocument {
        job_id: id.to_string(),
        status: job.status.name().into(),
        workers: u32::try_from(worker_stats.len()).unwrap_or(u32::MAX),
        targets_scanned: job.done,
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
        priority: priority_of(job.priority),
        submitted_at: rfc3339(job.submitted_at_ms),
        started_at: job.started_at_ms.map(rfc3339),
        finished_at: job.finished_at_ms.map(rfc3339),
        elapsed_seconds,
        eta_seconds: eta(job, job.done.saturating_add(running.targets), elapsed_seconds),
        active_workers: u32::try_from(active.len()).unwrap_or(u32::MAX),
        probes_sent: job.counts.probes_sent,
        loss_estimate: job.counts.loss_estimate(),
        recall_estimate: job.counts.recall_estimate(),
        in_progress: progress_of(&running),
        reason: job.reason.clone(),
        ports: None,
        allow_fragile: false,
    }
}

/// What units that are out have done so far, for people who follow the job.
fn progress_of(running: &Figures) -> JobProgress {
    let counts =
        Counts { probes_sent: running.probes_sent, lost_millionths: running.lost_millionths, ..Counts::default() };
    JobProgress {
        targets: running.targets,
        hosts_up: running.hosts_up,
        open_ports: running.open_ports,
        probes_sent: running.probes_sent,
        loss_estimate: counts.loss_estimate(),
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

fn priority_of(priority: Priority) -> document::Priority {
    match priority {
        Priority::Critical => document::Priority::Critical,
        Priority::High => document::Priority::High,
        Priority::Normal => document::Priority::Normal,
        Priority::Low => document::Priority::Low,
    }
}

fn event_of(index: u64, event: &pentora_raft::event::Event) -> JobEvent {
    JobEvent {
        index,
        at: rfc3339(event.at_ms),
        kind: event.what.name().into(),
        message: event.to_string(),
        worker: event.worker.as_ref().map(|(_, name)| name.clone()),
        unit: event.unit.as_ref().map(|(partition, range)| format!("{partition}:{}-{}", range.start, range.end)),
    }
}

/// Whether a job is over, for metrics.
pub(super) fn is_waiting(job: &Job) -> bool {
    job.status == JobStatus::Queued
}
