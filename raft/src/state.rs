//! The replicated state: a set of pure tables and the one function that changes them.
//!
//! [`State::apply`] takes an entry's index and proposal and nothing else: no clock, RNG, hash order, I/O or async, so
//! that every replica comes to the same tables. It never fails; a refused command is a response and changes nothing.
//! Size is O(jobs + active leases + finished ranges + chunks), never O(targets).

mod counts;
mod feeds;
mod jobs;
mod leases;
mod nodes;
mod priority;
mod submit;
pub mod table;
mod tokens;

#[cfg(test)]
mod cases_test;
#[cfg(test)]
mod large_test;
#[cfg(test)]
mod laws_test;
#[cfg(test)]
mod ops_test;

use std::io;

use serde::{Deserialize, Serialize};

pub use counts::Counts;
pub use feeds::FeedRecord;
pub use jobs::{ChunkRef, FreeRange, Job, JobStatus, Needs, Partition, Progress, WorkerStat};
pub use leases::Lease;
pub(crate) use leases::{LEASES_PER_NODE_MAX, shares_of};
pub use nodes::{NodeRecord, NodeStatus};
pub use priority::{Priority, PriorityError};
pub use submit::{EVENTS_PER_JOB_MAX, JOBS_ENDED_KEPT_MAX, JOBS_OPEN_MAX};
pub use tokens::JoinToken;

use crate::command::{Command, Proposal, Refusal, Response, SpecRef, UnitKey};
use crate::event::{Event, EventKind};
use crate::id::{ClusterId, Digest, JobId, NodeId, TokenId};
use table::{RowChange, Table};

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

/// All tables. Cloning is for tests and snapshots of small states.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub(crate) cluster: Table<u8, Cluster>,
    pub(crate) nodes: Table<NodeId, NodeRecord>,
    pub(crate) tokens: Table<TokenId, JoinToken>,
    pub(crate) admin_tokens: Table<Digest, String>,
    pub(crate) jobs: Table<JobId, Job>,
    pub(crate) specs: Table<JobId, SpecRef>,
    pub(crate) progress: Table<(JobId, u32), Progress>,
    pub(crate) leases: Table<UnitKey, Lease>,
    pub(crate) chunks: Table<UnitKey, ChunkRef>,
    pub(crate) events: Table<(JobId, u64, u32), Event>,
    pub(crate) idempotency: Table<Digest, (JobId, u64)>,
    /// What each worker did for each job; rows of their own, so that a completion rewrites one of them and not all.
    pub(crate) stats: Table<(JobId, NodeId), WorkerStat>,
    pub(crate) feeds: Table<String, FeedRecord>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            cluster: Table::new(1),
            nodes: Table::new(2),
            tokens: Table::new(3),
            admin_tokens: Table::new(4),
            jobs: Table::new(5),
            specs: Table::new(6),
            progress: Table::new(7),
            leases: Table::new(8),
            chunks: Table::new(9),
            events: Table::new(10),
            idempotency: Table::new(11),
            stats: Table::new(12),
            feeds: Table::new(13),
        }
    }
}

/// Runs `$call` on every table: the one list of tables that storage code walks.
macro_rules! each_table {
    ($state:ident, $method:ident $(, $argument:expr)*) => {
        $state.cluster.$method($($argument),*);
        $state.nodes.$method($($argument),*);
        $state.tokens.$method($($argument),*);
        $state.admin_tokens.$method($($argument),*);
        $state.jobs.$method($($argument),*);
        $state.specs.$method($($argument),*);
        $state.progress.$method($($argument),*);
        $state.leases.$method($($argument),*);
        $state.chunks.$method($($argument),*);
        $state.events.$method($($argument),*);
        $state.idempotency.$method($($argument),*);
        $state.stats.$method($($argument),*);
        $state.feeds.$method($($argument),*);
    };
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
        let result = match &proposal.command {
            Command::Begin { cluster, info, admin_token } => self.begin(*cluster, info, *admin_token),
            Command::CreateToken(token) => self.create_token(token),
            Command::RevokeToken { token } => self.revoke_token(*token),
            Command::Join { token, secret, info } => self.join(index, *token, *secret, info),
            Command::UpdateNode { node, info } => self.update_node(*node, info),
            Command::SubmitJob(submission) => self.submit(index, submission),
            Command::Grant { grants } => Ok(self.grant(index, grants)),
            Command::Complete { completions } => Ok(self.complete(index, completions)),
            Command::Release { leases } => Ok(self.release(index, leases)),
            Command::Expire { leases, reason } => Ok(self.expire(index, leases, reason)),
            Command::WorkerSuspect { node } => self.worker_suspect(index, *node),
            Command::Cancel { job, reason } => self.cancel(index, *job, reason),
            Command::WorkerFailed { node } => self.worker_failed(index, *node),
            Command::WorkerBack { node } => self.worker_back(index, *node),
            Command::SetHolders { updates } => Ok(self.set_holders(updates)),
            Command::RemoveNode { node } => self.remove_node(index, *node),
            Command::DrainNode { node, draining } => self.drain_node(*node, *draining),
            Command::SetSpecHolders { updates } => Ok(self.set_spec_holders(updates)),
            Command::SetFeed { kind, record } => self.set_feed(kind, record),
            Command::RemoveFeed { kind } => Ok(self.remove_feed(kind)),
            Command::SetFeedHolders { digest, holders } => Ok(self.set_feed_holders(*digest, holders)),
        };
        result.unwrap_or_else(Response::Refused)
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
        self.stats.range((job, 0)..=(job, NodeId::MAX)).map(|((_, node), stat)| (*node, stat))
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
        self.leases.range(unit_range(job)).map(|(unit, lease)| (*unit, lease))
    }

    /// The accepted chunks of a job, in unit order.
    pub fn job_chunks(&self, job: JobId) -> impl Iterator<Item = (UnitKey, &ChunkRef)> {
        self.chunks.range(unit_range(job)).map(|(unit, chunk)| (*unit, chunk))
    }

    /// All accepted chunks.
    pub fn chunks(&self) -> impl Iterator<Item = (UnitKey, &ChunkRef)> {
        self.chunks.iter().map(|(unit, chunk)| (*unit, chunk))
    }

    /// A job's events whose log index is above `after`, with that index, in order.
    pub fn job_events(&self, job: JobId, after: u64) -> impl Iterator<Item = (u64, &Event)> {
        let from = (job, after.saturating_add(1), 0);
        self.events.range(from..=(job, u64::MAX, u32::MAX)).map(|((_, index, _), event)| (*index, event))
    }

    /// Moves the rows that changed since the last call out, encoded for the store.
    #[must_use]
    pub fn drain_changes(&mut self) -> Vec<RowChange> {
        let mut changes = Vec::new();
        each_table!(self, drain_changes, &mut changes);
        changes
    }

    /// Calls `row` with every row, encoded as the store keeps it.
    pub fn for_each_row(&self, mut row: impl FnMut(Vec<u8>, Vec<u8>)) {
        each_table!(self, for_each_stored, &mut row);
    }

    /// Puts one stored row back.
    ///
    /// # Errors
    /// `InvalidData` where the row belongs to no table of this release or does not decode.
    pub fn load_row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (&number, key) =
            key.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a row without a table"))?;
        match number {
            1 => self.cluster.load(key, value),
            2 => self.nodes.load(key, value),
            3 => self.tokens.load(key, value),
            4 => self.admin_tokens.load(key, value),
            5 => self.jobs.load(key, value),
            6 => self.specs.load(key, value),
            7 => self.progress.load(key, value),
            8 => self.leases.load(key, value),
            9 => self.chunks.load(key, value),
            10 => self.events.load(key, value),
            11 => self.idempotency.load(key, value),
            12 => self.stats.load(key, value),
            13 => self.feeds.load(key, value),
            other => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("table {other} is unknown to this release")))
            }
        }
    }

    /// The log's clock, unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.cluster.get(&CLUSTER).map_or(0, |cluster| cluster.now_ms)
    }

    fn begin(&mut self, id: ClusterId, info: &crate::command::NodeInfo, admin: Digest) -> Result<Response, Refusal> {
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
        unit: Option<(UnitKey, u64)>,
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
        let worker = worker.map(|id| {
            let name = self.nodes.get(&id).map_or_else(|| format!("node {id}"), |node| node.worker_id());
            (id, name)
        });
        let unit = unit.map(|(key, end)| (key.partition, key.start..end));
        let event = Event { at_ms: self.now_ms(), what, worker, unit };
        self.events.insert((job, index, sequence), event);
    }
}

/// The id of the node that begins a cluster.
pub const FIRST_NODE: NodeId = 1;

/// All unit keys of `job`.
fn unit_range(job: JobId) -> std::ops::RangeInclusive<UnitKey> {
    UnitKey { job, partition: 0, start: 0 }..=UnitKey { job, partition: u32::MAX, start: u64::MAX }
}
