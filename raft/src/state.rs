//! The replicated state: a set of pure tables and the one function that changes them.
//!
//! [`State::apply`] takes an entry's index and proposal and nothing else: no clock, RNG, hash order, I/O or async, so
//! that every replica comes to the same tables. It never fails; a refused command is a response and changes nothing.
//! Size is O(jobs + active leases + finished ranges + chunks), never O(targets).

mod commands;
mod counts;
mod feeds;
mod jobs;
pub mod keys;
mod leases;
mod nodes;
mod priority;
mod remarks;
mod submit;
pub mod table;
mod tokens;

#[cfg(test)]
mod cases_test;
#[cfg(test)]
mod large_test;
#[cfg(test)]
mod laws_test;

use serde::{Deserialize, Serialize};

pub use commands::CommandKind;
pub use counts::Counts;
pub use feeds::FeedRecord;
pub use jobs::{ChunkRef, FreeRange, Job, JobLimits, JobStatus, Needs, Partition, Progress, WorkerStat};
pub(crate) use leases::{LEASES_PER_NODE_MAX, shares_of};
pub use leases::{Lease, Share};
pub use nodes::{NodeRecord, NodeStatus};
pub use priority::{Priority, PriorityError};
pub use remarks::Remarks;
pub(crate) use submit::EarlierSubmission;
pub use submit::{EVENTS_PER_JOB_MAX, JOBS_ENDED_KEPT_MAX, JOBS_OPEN_MAX};
pub use tokens::JoinToken;

use crate::command::{NodeInfo, Proposal, Refusal, Response, SpecRef, UnitKey, UnitRange};
use crate::event::{Event, EventKind, EventWorker};
use crate::id::{ClusterId, Digest, JobId, NodeId, TokenId};
use keys::{EventKey, Owner};
use table::{RowChange, Table, tables};

/// What the cluster as a whole knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id; `None` before `Begin`.
    pub id: Option<ClusterId>,
    /// When it began, unix milliseconds.
    pub began_at_ms: u64,
    /// The log's clock: the largest time any applied entry carried.
    pub now_ms: u64,
}

tables! {
    /// All tables. Cloning is for tests and snapshots of small states.
    #[derive(Debug, Clone, PartialEq)]
    State:
    1 cluster: u8 => Cluster;
    2 nodes: NodeId => NodeRecord;
    3 tokens: TokenId => JoinToken;
    4 admin_tokens: Digest => String;
    5 jobs: JobId => Job;
    6 specs: JobId => SpecRef;
    7 progress: (JobId, u32) => Progress;
    8 leases: UnitKey => Lease;
    9 chunks: UnitKey => ChunkRef;
    10 events: EventKey => Event;
    /// What submissions are known by if they come again.
    11 idempotency: Digest => EarlierSubmission;
    /// What each worker did for each job; rows of their own, so that a completion rewrites one of them and not all.
    12 stats: (JobId, NodeId) => WorkerStat;
    13 feeds: String => FeedRecord;
    /// What was remarked on the units of a job beside their counts.
    14 remarks: JobId => Remarks;
}

/// The key of the one row of the cluster table.
const CLUSTER: u8 = 0;

impl State {
    /// Applies the entry at `index`. Deterministic; never fails, never panics on any command.
    pub fn apply(&mut self, index: u64, proposal: &Proposal) -> Response {
        let mut cluster = self.cluster.get(&CLUSTER).cloned().unwrap_or_default();
        if proposal.at_ms > cluster.now_ms {
            cluster.now_ms = proposal.at_ms;
            self.cluster.insert(CLUSTER, cluster);
        }
        self.dispatch(index, &proposal.command).unwrap_or_else(Response::Refused)
    }

    /// The cluster's own row.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.cluster.get(&CLUSTER).cloned().unwrap_or_default()
    }

    /// The nodes by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(id, record)| (*id, record))
    }

    /// One node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// The join tokens that were made and not revoked, used up or not.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, &JoinToken)> {
        self.tokens.iter().map(|(id, token)| (*id, token))
    }

    /// Whether a bearer token with this digest is an administrator's.
    #[must_use]
    pub fn is_admin_token(&self, digest: &Digest) -> bool {
        self.admin_tokens.get(digest).is_some()
    }

    /// The jobs by id.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// One job.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// A job's spec.
    #[must_use]
    pub fn spec(&self, job: JobId) -> Option<&SpecRef> {
        self.specs.get(&job)
    }

    /// What each worker did for a job, by node.
    pub fn job_workers(&self, job: JobId) -> impl Iterator<Item = (NodeId, &WorkerStat)> {
        self.stats.of_job(job).map(|((_, node), stat)| (*node, stat))
    }

    /// How far one partition is.
    #[must_use]
    pub fn progress(&self, job: JobId, partition: u32) -> Option<&Progress> {
        self.progress.get(&(job, partition))
    }

    /// All leases that are out.
    pub fn leases(&self) -> impl Iterator<Item = (UnitKey, &Lease)> {
        self.leases.iter().map(|(unit, lease)| (*unit, lease))
    }

    /// The leases that are out for one job.
    pub fn job_leases(&self, job: JobId) -> impl Iterator<Item = (UnitKey, &Lease)> {
        self.leases.of_job(job).map(|(unit, lease)| (*unit, lease))
    }

    /// The accepted chunks of a job, in unit order.
    pub fn job_chunks(&self, job: JobId) -> impl Iterator<Item = (UnitKey, &ChunkRef)> {
        self.chunks.of_job(job).map(|(unit, chunk)| (*unit, chunk))
    }

    /// All accepted chunks.
    pub fn chunks(&self) -> impl Iterator<Item = (UnitKey, &ChunkRef)> {
        self.chunks.iter().map(|(unit, chunk)| (*unit, chunk))
    }

    /// A job's events whose log index is above `after`, with that index, in order.
    pub fn job_events(&self, job: JobId, after: u64) -> impl Iterator<Item = (u64, &Event)> {
        let from = EventKey { job, index: after.saturating_add(1), sequence: 0 };
        let to = EventKey { job, index: u64::MAX, sequence: u32::MAX };
        self.events.range(from..=to).map(|(key, event)| (key.index, event))
    }

    /// The log's clock, unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.cluster.get(&CLUSTER).map_or(0, |cluster| cluster.now_ms)
    }

    fn begin(&mut self, id: ClusterId, info: &NodeInfo, admin: Digest) -> Result<Response, Refusal> {
        let mut cluster = self.cluster();
        if cluster.id.is_some() {
            return Err(Refusal::BegunAlready);
        }
        cluster.id = Some(id);
        cluster.began_at_ms = cluster.now_ms;
        self.cluster.insert(CLUSTER, cluster);
        self.admin_tokens.insert(admin, "admin".into());
        self.nodes.insert(FIRST_NODE, NodeRecord::new(info.clone(), self.now_ms()));
        Ok(Response::Joined { node: FIRST_NODE })
    }

    /// Adds a line to a job's history, unless it has as many as its kind may bring.
    pub(crate) fn record(
        &mut self,
        job: JobId,
        index: u64,
        what: EventKind,
        worker: Option<NodeId>,
        unit: Option<UnitRange>,
    ) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        let limit = match what {
            // Whoever follows a job waits for one of these; each comes once.
            EventKind::Finished { .. } | EventKind::Cancelled { .. } => usize::MAX,
            EventKind::UnitDone { .. } | EventKind::Reassigned { .. } | EventKind::Expired { .. } => EVENTS_PER_JOB_MAX,
            _ => EVENTS_PER_JOB_MAX * 2,
        };
        if record.events as usize >= limit {
            return;
        }
        record.events += 1;
        let sequence = record.events;
        let worker = worker.map(|node| {
            let record = self.nodes.get(&node);
            EventWorker { node, worker_id: record.map_or_else(|| format!("node {node}"), NodeRecord::worker_id) }
        });
        let event = Event { at_ms: self.now_ms(), what, worker, unit };
        self.events.insert(EventKey { job, index, sequence }, event);
    }
}

/// The id of the node that begins a cluster.
pub const FIRST_NODE: NodeId = 1;
