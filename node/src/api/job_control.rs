//! What users do to jobs that run, and how jobs stand to each other: `/jobs/{id}/pause|resume|reprioritize|explain`,
//! `/queue`.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use pentora_raft::command::{Command, RuleKind};
use pentora_raft::state::{Job, JobStatus, NodeRecord, Priority};
use pentora_raft::{Applied, JobId, NodeId, Refusal, State as Log};
use pentora_scanner::spec::ScanSpec;

use super::jobs::{job_id, nobody_takes, one};
use super::knowledge::Knowledge;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::coordinator::budgets::{Draw, draws};
use crate::coordinator::{explain, plan};
use crate::document::{
    ExplainBudget, ExplainDocument, ExplainPart, JobDocument, JobPhase, PauseRequest, PlanRefusal, QueueClass,
    QueueDocument, QueuedJob, ReprioritizeRequest,
};
use crate::jobs::needs_words;
use crate::rpc::SoftState;
use crate::spec;

/// How much of a reason is kept, in characters.
const REASON_CHARS_MAX: usize = 200;

pub(super) async fn pause(
    State(node): State<Node>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<JobDocument>, ApiError> {
    let job = job_id(&id)?;
    let pause: PauseRequest = if body.is_empty() { PauseRequest::default() } else { super::scans::read_json(&body)? };
    let reason = pause.reason.unwrap_or_else(|| "asked for".into()).chars().take(REASON_CHARS_MAX).collect();
    let applied = node.stop_job(job, Command::PauseJob { job, paused: true, reason }).await?;
    changed(node, id, applied).await
}

pub(super) async fn resume(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<JobDocument>, ApiError> {
    let job = job_id(&id)?;
    change(node, id, Command::PauseJob { job, paused: false, reason: String::new() }).await
}

pub(super) async fn reprioritize(
    State(node): State<Node>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<JobDocument>, ApiError> {
    let job = job_id(&id)?;
    let ReprioritizeRequest { priority } = super::scans::read_json(&body)?;
    change(node, id, Command::Reprioritize { job, priority }).await
}

/// Changes a job and answers how it stands then.
async fn change(node: Node, id: String, command: Command) -> Result<Json<JobDocument>, ApiError> {
    let applied = node.proposer.propose(command).await?;
    changed(node, id, applied).await
}

async fn changed(node: Node, id: String, applied: Applied) -> Result<Json<JobDocument>, ApiError> {
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    one(State(node), Path(id)).await
}

pub(super) async fn explain(
    State(node): State<Node>,
    Path(id): Path<String>,
) -> Result<Json<ExplainDocument>, ApiError> {
    let job = job_id(&id)?;
    let settings = node.settings();
    let specs = specs_at_work(&node, job).await;
    let soft = node.soft().await;
    let age_ms = Knowledge::of(&node, &node.raft.status(), &soft).status_age_ms();
    let now_ms = node.raft.now_ms();
    let explained = node.raft.read(|state| {
        let record = state.job(job)?;
        let part = |(index, partition)| {
            let standing = explain::standing(state, job, index, &settings, now_ms)?;
            Some(part_of(state, index, partition, without_resting(standing, &soft)))
        };
        let order = plan::served(state, now_ms);
        let place = order.iter().position(|served| served.job == job);
        Some(ExplainDocument {
            job_id: job.to_string(),
            status: record.status.name().into(),
            status_age_ms: age_ms.filter(|_| record.is_open()),
            priority: record.priority,
            served_after: place.and_then(|place| u64::try_from(place).ok()),
            reason: record.reason.clone().or_else(|| nobody_takes(state, record, &soft)),
            partitions: (0u32..).zip(&record.partitions).filter_map(part).collect(),
            budgets: budgets(state, job, record, &specs),
            phases: phases(state, job, record),
        })
    });
    explained.map(Json).ok_or_else(|| Refusal::JobUnknown { job }.into())
}

/// What the log lets take a part, without those that told the leader that they take no work now.
fn without_resting(mut standing: explain::Standing, soft: &SoftState) -> explain::Standing {
    let (resting, eligible) = standing.placed.eligible.into_iter().partition(|id| soft.rests.contains_key(id));
    let resting: Vec<NodeId> = resting;
    let refused =
        resting.into_iter().filter_map(|id| Some((id, format!("it takes no work: {}", soft.rests.get(&id)?))));
    standing.placed.refused.extend(refused);
    standing.placed.eligible = eligible;
    standing
}

/// The specs of a job and of those that have leases: whoever draws on a budget is among them.
async fn specs_at_work(node: &Node, job: JobId) -> Vec<(JobId, ScanSpec)> {
    let kept = node.raft.read(|state| {
        let with_rules = state.rules(RuleKind::Budget).next().is_some();
        let at_work: BTreeSet<JobId> = state.leases().map(|(unit, _)| unit.job).chain([job]).collect();
        let kept = at_work.into_iter().filter_map(|job| Some((job, state.spec(job)?.clone())));
        kept.filter(|_| with_rules).collect::<Vec<_>>()
    });
    let mut specs = Vec::with_capacity(kept.len());
    for (job, kept) in kept {
        // One that is not to be had now draws on nothing that can be told.
        if let Ok(spec) = spec::read(&node.exchange, kept).await {
            specs.push((job, spec));
        }
    }
    specs
}

fn budgets(state: &Log, job: JobId, record: &Job, specs: &[(JobId, ScanSpec)]) -> Vec<ExplainBudget> {
    let workers = state.nodes().filter(|(_, node)| node.takes_leases()).count();
    let draws = draws(state, job, specs.iter().map(|(job, spec)| (*job, spec)));
    let told = draws.into_iter().map(|Draw { name, rate_pps, own_pps, others_pps }| ExplainBudget {
        holds_back: record.wants_work() && !plan::leaves_a_share(rate_pps, workers, own_pps.saturating_add(others_pps)),
        name,
        rate_pps,
        own_pps,
        others_pps,
    });
    told.collect()
}

fn part_of(
    state: &Log,
    index: u32,
    partition: &pentora_raft::state::Partition,
    standing: explain::Standing,
) -> ExplainPart {
    let explain::Standing { placed, done, dead, out, resting, held_up } = standing;
    let name = |id: NodeId| state.node(id).map_or_else(|| format!("node {id}"), NodeRecord::worker_id);
    let refused = placed.refused.into_iter();
    ExplainPart {
        partition: index,
        targets: partition.target_count,
        done,
        given_up: dead,
        out,
        resting,
        needs: needs_words(partition),
        eligible: placed.eligible.into_iter().map(name).collect(),
        refused: refused.map(|(id, reason)| PlanRefusal { worker_id: name(id), reason }).collect(),
        held_up,
    }
}

/// The phases of a job's life: what began, and when.
pub(super) fn phases(state: &Log, id: JobId, job: &Job) -> Vec<JobPhase> {
    let first = |kind: &str| {
        let mut events = state.job_events(id, 0);
        events.find(|(_, event)| event.what.name() == kind).map(|(_, event)| event.at_ms)
    };
    let reported = first("unit_done");
    let last = state.job_workers(id).map(|(_, stat)| stat.last_at_ms).max();
    let over = job.finished_at_ms;
    let times = [
        ("request", Some(job.submitted_at_ms)),
        ("queue", Some(job.submitted_at_ms)),
        ("assign", first("assigned").or(job.started_at_ms)),
        ("execute", job.started_at_ms),
        ("report", reported),
        ("aggregate", reported.and(over).and(last)),
        ("complete", over),
    ];
    times.map(|(phase, at)| JobPhase { phase: phase.into(), at: at.map(rfc3339) }).into()
}

pub(super) async fn queue(State(node): State<Node>) -> Json<QueueDocument> {
    let settings = node.settings();
    let status_age_ms = Knowledge::of(&node, &node.raft.status(), &node.soft().await).status_age_ms();
    let now_ms = node.raft.now_ms();
    let queue = |state: &Log| queue_of(state, settings.queue_depth, now_ms);
    Json(QueueDocument { status_age_ms, ..node.raft.read(queue) })
}

fn queue_of(state: &Log, max_waiting: u32, now_ms: u64) -> QueueDocument {
    let served = plan::served(state, now_ms);
    let held = state
        .jobs()
        .filter(|(_, job)| matches!(job.status, JobStatus::Paused | JobStatus::Carried))
        .map(|(id, job)| (id, job.priority as u64));
    let order: Vec<(JobId, u64)> = served.iter().map(|served| (served.job, served.level)).chain(held).collect();
    let class = |priority: Priority| {
        let jobs = order.iter().filter_map(|(id, level)| Some((*id, *level, state.job(*id)?)));
        let jobs = jobs.filter(|(_, _, job)| job.priority == priority).map(|(id, level, job)| QueuedJob {
            job_id: id.to_string(),
            status: job.status.name().into(),
            targets_left: job.targets().saturating_sub(job.done).saturating_sub(job.dead),
            age_seconds: now_ms.saturating_sub(job.submitted_at_ms) / 1000,
            served_as: format!("P{level}"),
        });
        QueueClass { priority, class: format!("P{}", priority as u8), jobs: jobs.collect() }
    };
    QueueDocument {
        classes: Priority::ALL.map(class).into(),
        waiting: state.jobs().filter(|(_, job)| job.status == JobStatus::Queued).count() as u64,
        max_waiting: u64::from(max_waiting),
        status_age_ms: None,
    }
}
