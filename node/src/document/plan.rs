//! What a request would become (`POST /scans?plan=true`), why a job stands as it does (`GET /jobs/{id}/explain`), and in
//! which order jobs are served (`GET /queue`).

use pentora_raft::state::Priority;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::foreign;

/// From the least to the most that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Between<T> {
    /// Where nobody answers.
    pub least: T,
    /// Where everybody does, or what is plausible of it.
    pub most: T,
}

/// What a request would become. Nothing was sent, and nothing is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanDocument {
    /// Whether it would be accepted: every part has a node that may take it.
    pub accepted: bool,
    /// Targets in scope, less exclusions.
    pub targets: u64,
    /// Ports asked of each.
    pub ports: u32,
    /// Its class.
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
    /// All packets that it sends to its targets.
    pub packets: Between<u64>,
    /// Seconds at what each node's engine is taken to be good for; absent where a part has no node.
    pub seconds: Option<Between<f64>>,
    /// What the most of both rests on, as sentences.
    #[serde(default)]
    pub rests_on: Vec<String>,
    /// The parts.
    pub partitions: Vec<PlanPart>,
}

/// One part of what a request would become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanPart {
    /// How many targets.
    pub targets: u64,
    /// The first of them.
    pub addresses: String,
    /// What it needs of a worker.
    pub needs: Vec<String>,
    /// Who may take it now.
    pub eligible: Vec<String>,
    /// Every other node, with its reason.
    pub refused: Vec<PlanRefusal>,
    /// All packets that it sends to its targets.
    pub packets: Between<u64>,
    /// Seconds, from when a node has room; absent where no node may take it.
    pub seconds: Option<Between<f64>>,
}

/// A node that may not take a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanRefusal {
    /// `wrk_...`.
    pub worker_id: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// Why a job stands as it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainDocument {
    /// `job-...`.
    pub job_id: String,
    /// Its status.
    pub status: String,
    /// How old all of this is, in milliseconds, where no leader is known since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_age_ms: Option<u64>,
    /// Its class.
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
    /// How many jobs are served before it; absent where it wants no work.
    pub served_after: Option<u64>,
    /// Why it is as it is, where that needs words.
    pub reason: Option<String>,
    /// The parts.
    pub partitions: Vec<ExplainPart>,
    /// The budgets of networks that it draws on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<ExplainBudget>,
    /// The phases of its life so far.
    pub phases: Vec<JobPhase>,
}

/// A budget of networks that a job draws on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainBudget {
    /// Its rule.
    pub name: String,
    /// Packets per second into all of its networks.
    pub rate_pps: u64,
    /// What of that this job's leases have.
    pub own_pps: u64,
    /// What those of other jobs have.
    pub others_pps: u64,
    /// Whether so little is left that no further unit of the job is given out.
    pub holds_back: bool,
}

/// One part of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainPart {
    /// Which.
    pub partition: u32,
    /// How many targets.
    pub targets: u64,
    /// Targets that are counted.
    pub done: u64,
    /// Targets that were given up.
    pub given_up: u64,
    /// Targets that are out with workers.
    pub out: u64,
    /// Targets that rest after a try in vain.
    pub resting: u64,
    /// What it needs of a worker.
    pub needs: Vec<String>,
    /// Who may take a unit of it now.
    pub eligible: Vec<String>,
    /// Every other node, with its reason.
    pub refused: Vec<PlanRefusal>,
    /// What holds it up beside the nodes.
    pub held_up: Option<String>,
}

/// A phase of a job's life: request, queue, assign, execute, report, aggregate, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobPhase {
    /// Its word.
    pub phase: String,
    /// When it began, RFC 3339; absent where it has not.
    pub at: Option<String>,
}

/// The jobs that are not over, by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueDocument {
    /// One per class, the first served first.
    pub classes: Vec<QueueClass>,
    /// How many jobs wait, with nothing granted yet.
    pub waiting: u64,
    /// How many may before those of normal and low priority are turned away.
    pub max_waiting: u64,
    /// How old all of this is, in milliseconds, where no leader is known since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_age_ms: Option<u64>,
}

/// The jobs of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueClass {
    /// Which.
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
    /// Its short name, `P0` to `P3`.
    pub class: String,
    /// Its jobs, the one that is served next first.
    pub jobs: Vec<QueuedJob>,
}

/// A job in its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedJob {
    /// `job-...`.
    pub job_id: String,
    /// `queued`, `running` or `paused`.
    pub status: String,
    /// Targets that are neither counted nor given up.
    pub targets_left: u64,
    /// Seconds since it was accepted.
    pub age_seconds: u64,
    /// The class as which it is served by now: it gets better while it waits.
    pub served_as: String,
}
