//! The replicated state: a set of pure tables and the one function that changes them.
//!
//! [`State::apply`] takes an entry's index and proposal and nothing else: no clock, RNG, hash order, I/O or async, so
//! that every replica comes to the same tables. It never fails; a refused command is a response and changes nothing.
//! Size is O(jobs + active leases + finished ranges + chunks), never O(targets).

mod access;
mod audit;
mod authority;
mod commands;
mod counts;
mod ends;
mod feeds;
mod health;
mod history;
mod jobs;
mod keeps;
pub mod keys;
mod leases;
mod log_places;
mod measures;
mod nodes;
mod offline;
mod orders;
mod priority;
mod quotas;
mod recoveries;
mod remarks;
mod restore;
mod retries;
mod rules;
mod schedules;
mod session_keys;
mod settings;
mod signers;
mod standing;
mod submit;
pub mod table;
mod tokens;
mod versions;

#[cfg(test)]
mod cases_test;
#[cfg(test)]
mod large_test;
#[cfg(test)]
mod laws_test;
#[cfg(test)]
mod members_test;
#[cfg(test)]
mod versions_test;
#[cfg(test)]
mod work_test;

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use access::{ACCESS_TOKENS_MAX, AccessToken, WorkOf};
pub use audit::{AUDIT_AT_ONCE_MAX, AUDIT_KEPT_MAX, AuditEnds, AuditRecord, chained};
pub use authority::Authority;
pub use commands::CommandKind;
pub use counts::Counts;
pub use ends::{WorkerEnd, WorkerEndState};
pub use feeds::FeedRecord;
pub use health::Health;
pub use history::{CLUSTER_EVENTS_KEPT_MAX, NO_JOB};
pub use jobs::{
    ChunkRef, FreeRange, Job, JobLimits, JobStatus, Needs, Partition, Progress, WorkerStat, of_residency, of_signer,
    residency_in, signer_in,
};
pub use keeps::{FRESH_MS_MIN, KEEPS_MAX, Keep, KeepSpec, SLICES_MAX, Slice};
pub(crate) use leases::{LEASES_PER_NODE_MAX, shares_of};
pub use leases::{Lease, Share};
pub use log_places::LogPlace;
pub use measures::Measures;
pub use nodes::{ADDRESSES_MAX, NodeRecord, NodeStatus};
pub use offline::{BUNDLE_NUMBER_MAX, NUMBERING_MAX, OfflineWorker, kept_number};
pub use orders::{ORDERS_KEPT_MAX, OrderRecord};
pub use priority::{Priority, PriorityError};
pub use quotas::TokenDay;
pub use recoveries::{Recovery, RecoveryRecord, TAKEN_OUT_MAX, TakenOut};
pub use remarks::Remarks;
pub use restore::Beginning;
pub use retries::Retry;
pub use rules::{RULES_MAX, RuleKey, RuleRecord, RulesMark};
pub use schedules::{
    MissedPolicy, Occurrence, OverlapPolicy, PassReason, REQUEST_BYTES_MAX, RUNS_KEPT_MAX, Run, RunOutcome,
    SCHEDULES_MAX, Schedule, ScheduleSpec, is_schedule_name,
};
pub use session_keys::{NewSessionKey, SESSION_KEYS_MAX, SessionKey};
pub use settings::{Backoff, FailureAction, Preference, Settings};
pub use signers::{SIGNER_BYTES_MAX, SIGNERS_MAX};
pub use standing::{Shape, Standing, VOTERS_ALLOWED};
pub(crate) use submit::EarlierSubmission;
pub use submit::{EVENTS_PER_JOB_MAX, JOBS_ENDED_KEPT_MAX, JOBS_OPEN_MAX, JOBS_WAITING_MAX, submission_key};
pub use tokens::JoinToken;

use crate::command::{
    Author, NodeInfo, NodePolicy, Proposal, Refusal, Response, SpecRef, TokenLimits, UnitKey, UnitRange,
};
use crate::event::{ClusterEvent, ClusterEventKind, Event, EventKind, EventWorker};
use crate::id::{ClusterId, Digest, JobId, NodeId, TokenId};
use crate::version::{LogVersion, Versions};
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
    /// The clusters whose state this one began with, restored from a backup; the latest last, and [`FORMER_MAX`] at most.
    pub former: Vec<ClusterId>,
}

/// How many clusters of before one remembers. Ours: whoever restores more often has other troubles.
pub const FORMER_MAX: usize = 16;

impl Cluster {
    /// The ids that it goes by: its own, and those of the clusters that it began with.
    pub fn ids(&self) -> impl Iterator<Item = ClusterId> {
        self.id.iter().chain(&self.former).copied()
    }
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
    /// How work is shared out, timed and tried again.
    15 settings: u8 => Settings;
    /// Ranges that were tried in vain.
    16 retries: UnitKey => Retry;
    /// Workers that fail what they get.
    17 health: NodeId => Health;
    /// What the cluster says of nodes; a node without a row has no limit and stays.
    18 standings: NodeId => Standing;
    /// What the nodes may be that use a token; a token without a row says it itself.
    19 token_policies: TokenId => NodePolicy;
    /// What the cluster as a whole aims at.
    20 shape: u8 => Shape;
    /// What the workers of an ended job were when it ended.
    21 ends: (JobId, NodeId) => WorkerEnd;
    /// Workers without a network whose results may be carried in.
    22 offline: NodeId => OfflineWorker;
    /// Scans that begin by themselves, by name.
    23 schedules: String => Schedule;
    /// The cluster's policy.
    24 rules: RuleKey => RuleRecord;
    /// Who asked for jobs.
    25 authors: JobId => Author;
    /// Why policy holds jobs.
    26 holds: JobId => String;
    /// What scanners have measured of how much of a job they found.
    27 measures: JobId => Measures;
    /// Promises of freshness, by name.
    28 keeps: String => Keep;
    /// The version of the log; without a row the first.
    29 log_version: u8 => LogVersion;
    /// The versions of the log that nodes read.
    30 versions: NodeId => Versions;
    /// The region that the results of a job do not leave; a job without a row may have them anywhere.
    31 residences: JobId => String;
    /// Who asked for schedules; one without a row is nobody's.
    32 schedule_authors: String => Author;
    /// Who asked for standing scans; one without a row is nobody's.
    33 keep_authors: String => Author;
    /// What a next release would keep.
    /// Who may use the API, by the digests of what is shown.
    40 access_tokens: Digest => AccessToken;
    /// What was asked of the API, by number.
    41 audit: u64 => AuditRecord;
    /// Where the audit log begins and ends.
    42 audit_ends: u8 => AuditEnds;
    /// The networks that those were limited to who asked for jobs.
    43 job_networks: JobId => Vec<IpNet>;
    /// The keys of those whose orders a node takes alone; a node without a row takes all.
    44 signers: NodeId => Vec<String>;
    /// How much bearers of access tokens may ask for, by their names; a token without a row has no bound of its own.
    45 token_limits: String => TokenLimits;
    /// What they asked for on their last day.
    46 token_days: String => TokenDay;
    /// Nodes on their way out of the log, or back into it.
    48 log_places: NodeId => LogPlace;
    /// What happened to nodes and to the policy, numbered.
    49 history: u64 => ClusterEvent;
    /// Who signs the certificates of the nodes' APIs.
    50 authority: u8 => Authority;
    /// What signs sessions, by number.
    51 session_keys: u64 => SessionKey;
    /// The job that was made of each order that asks for one: it outlasts the job.
    52 orders: Digest => OrderRecord;
    /// Each time one node went on alone, by log index.
    53 recoveries: u64 => RecoveryRecord;
    #[cfg(feature = "next-version")]
    255 rehearsals: NodeId => u64;
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
        let held = self.holds(proposal.command.kind());
        held.and_then(|()| self.dispatch(index, &proposal.command)).unwrap_or_else(Response::Refused)
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

    /// Grows with each change of what is known of nodes: as long as it is the same, so are they.
    #[must_use]
    pub fn nodes_revision(&self) -> u64 {
        self.nodes.revision()
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

    /// The name of the administrator's token with this digest; `None` where it is nobody's.
    #[must_use]
    pub fn admin_token(&self, digest: &Digest) -> Option<&str> {
        self.admin_tokens.get(digest).map(String::as_str)
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

    /// The region that the results of a job do not leave, where there is one.
    #[must_use]
    pub fn residency(&self, job: JobId) -> Option<&str> {
        self.residences.get(&job).map(String::as_str)
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

    /// The lease of a unit, where it is out.
    #[must_use]
    pub fn lease(&self, unit: &UnitKey) -> Option<&Lease> {
        self.leases.get(unit)
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

    /// The accepted chunks from `first` on, in unit order.
    pub fn chunks_from(&self, first: UnitKey) -> impl Iterator<Item = (UnitKey, &ChunkRef)> {
        self.chunks.range(first..).map(|(unit, chunk)| (*unit, chunk))
    }

    /// A job's events whose log index is above `after`, with that index, in order.
    pub fn job_events(&self, job: JobId, after: u64) -> impl Iterator<Item = (u64, &Event)> {
        let from = EventKey { job, index: after.saturating_add(1), sequence: 0 };
        let to = EventKey { job, index: u64::MAX, sequence: u32::MAX };
        self.events.range(from..=to).map(|(key, event)| (key.index, event))
    }

    /// The events behind a place, of all jobs and of the cluster, or of `only` one job, in the order of the log: at most `limit`
    /// of them. Every node that has applied the same says the same.
    ///
    /// The cost is that of a look at each job, and of what is returned.
    #[must_use]
    pub fn events_behind(&self, place: EventPlace, only: Option<JobId>, limit: usize) -> Vec<PlacedEvent<'_>> {
        let of_job = |job: JobId| {
            let from = EventKey { job, index: place.index, sequence: 0 };
            let to = EventKey { job, index: u64::MAX, sequence: u32::MAX };
            let rows = self.events.range(from..=to).map(|(key, event)| (EventPlace::of(key), Happening::OfJob(event)));
            head(Box::new(rows.skip_while(move |(at, _)| *at <= place)))
        };
        let jobs = only.map_or(JobId(0)..=JobId(u64::MAX), |only| only..=only);
        // The next event of each job.
        let mut heads: BTreeMap<_, _> = self.jobs.range(jobs).filter_map(|(job, _)| of_job(*job)).collect();
        if only.is_none() {
            let rows = self.cluster_events_behind(place).map(|(at, event)| (at, Happening::OfCluster(event)));
            heads.extend(head(Box::new(rows)));
        }
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((place, (event, mut rows))) = heads.pop_first() else { break };
            if let Some((next, event)) = rows.next() {
                heads.insert(next, (event, rows));
            }
            let is_last = heads.first_key_value().is_none_or(|(next, _)| next.index != place.index);
            found.push(PlacedEvent { place, is_last, event });
        }
        found
    }

    /// The log's clock, unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.cluster.get(&CLUSTER).map_or(0, |cluster| cluster.now_ms)
    }

    fn begin(&mut self, index: u64, id: ClusterId, info: &NodeInfo, admin: Digest) -> Result<Response, Refusal> {
        let mut cluster = self.cluster();
        if cluster.id.is_some() {
            return Err(Refusal::BegunAlready);
        }
        cluster.id = Some(id);
        cluster.began_at_ms = cluster.now_ms;
        self.cluster.insert(CLUSTER, cluster);
        self.admin_tokens.insert(admin, "admin".into());
        self.nodes.insert(FIRST_NODE, NodeRecord::new(info.clone(), self.now_ms()));
        self.tell_of_node(index, FIRST_NODE, ClusterEventKind::NodeJoined);
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
        let worker = worker.map(|node| EventWorker { node, worker_id: self.worker_id(node) });
        let event = Event { at_ms: self.now_ms(), what, worker, unit };
        self.events.insert(EventKey { job, index, sequence }, event);
    }
}

/// What is left of one history, in its order.
type Rows<'a> = Box<dyn Iterator<Item = (EventPlace, Happening<'a>)> + 'a>;

/// The first of a history, with what comes after it.
fn head(mut rows: Rows<'_>) -> Option<(EventPlace, (Happening<'_>, Rows<'_>))> {
    let (place, event) = rows.next()?;
    Some((place, (event, rows)))
}

/// Where an event stands among those of all jobs and of the cluster: in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// The log index of the entry that brought it.
    pub index: u64,
    /// Its job; [`NO_JOB`] for an event of the cluster.
    pub job: JobId,
    /// Which line of its job's history it is, or of those that the entry brought to the cluster's.
    pub sequence: u32,
}

impl EventPlace {
    /// Behind all that the entry at `index` brought.
    #[must_use]
    pub fn behind(index: u64) -> Self {
        Self { index, job: JobId(u64::MAX), sequence: u32::MAX }
    }

    fn of(key: &EventKey) -> Self {
        Self { index: key.index, job: key.job, sequence: key.sequence }
    }
}

/// An event with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedEvent<'a> {
    /// Where it stands.
    pub place: EventPlace,
    /// Whether its entry brought no further one of those asked for.
    pub is_last: bool,
    /// What happened.
    pub event: Happening<'a>,
}

/// What happened, to a job or to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// A line of a job's history.
    OfJob(&'a Event),
    /// A line of the cluster's.
    OfCluster(&'a ClusterEvent),
}

impl Happening<'_> {
    /// Its word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OfJob(event) => event.what.name(),
            Self::OfCluster(event) => event.what.name(),
        }
    }
}

/// The id of the node that begins a cluster.
pub const FIRST_NODE: NodeId = 1;
