//! What can be decided: every command that an entry of the log may carry, and what applying it answers.
//!
//! A command holds decisions, digests and counts, never findings; what is scanned is opaque bytes. The enums are
//! append only, because old logs are replayed by new releases.
//!
//! What is said of every command alike (its name, what it does to the state, which events it brings) is one row in
//! `state/commands.rs`, and how tests draw it one arm in `command/draw_test.rs`; a command without them does not compile.

mod answer;
#[cfg(test)]
pub(crate) mod draw_test;
#[cfg(test)]
mod parts_test;
#[cfg(test)]
pub(crate) mod sample_test;

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::answer::{Refusal, Response};
use crate::id::{ClusterId, Digest, Epoch, JobId, NodeId, TokenId};
use crate::state::{Counts, FeedRecord, JobLimits, Partition, Priority, Remarks, Share};

/// A command with the leader's wall time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Unix milliseconds of the leader when it proposed. For display, expiry of tokens and windows only; the state's
    /// own clock never runs backwards whatever stands here.
    pub at_ms: u64,
    /// What is to be done.
    pub command: Command,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.name())
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Begins the cluster with its first node; once only.
    Begin {
        /// The cluster's id, made at random by the node that begins it.
        cluster: ClusterId,
        /// That node.
        info: NodeInfo,
        /// Digest of the first administrator token.
        admin_token: Digest,
    },
    /// Makes a join token.
    CreateToken(NewToken),
    /// Makes a join token void.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Admits a node; its id is this entry's log index. The same peer joining again keeps its id.
    Join {
        /// The public half of the token.
        token: TokenId,
        /// Digest of the secret half.
        secret: Digest,
        /// Who joins.
        info: NodeInfo,
    },
    /// A node started again, perhaps with another address, version or capacity.
    UpdateNode {
        /// Which.
        node: NodeId,
        /// What it says of itself now.
        info: NodeInfo,
    },
    /// Accepts a job; its id is this entry's log index.
    SubmitJob(Box<Submission>),
    /// Gives units to workers; each that is no longer free, or over a limit, is left out.
    Grant {
        /// The leases to make; their epoch is this entry's log index.
        grants: Vec<NewLease>,
    },
    /// Counts finished units, each once.
    Complete {
        /// The finished units.
        completions: Vec<Completion>,
    },
    /// Hands unfinished units back without blame, as a stopping node does.
    Release {
        /// Which.
        leases: Vec<LeaseRef>,
    },
    /// Takes back leases whose worker was not heard from in time, or that failed there.
    Expire {
        /// Which.
        leases: Vec<LeaseRef>,
        /// Why, for the job's events.
        reason: String,
    },
    /// A worker missed its heartbeats; it keeps its leases for now.
    WorkerSuspect {
        /// Which.
        node: NodeId,
    },
    /// Ends a job; what was found stays.
    Cancel {
        /// Which.
        job: JobId,
        /// Why, for its events.
        reason: String,
    },
    /// A worker's grace period is over: its leases are free again.
    WorkerFailed {
        /// Which.
        node: NodeId,
    },
    /// A worker that was suspected or failed is heard again.
    WorkerBack {
        /// Which.
        node: NodeId,
    },
    /// Chunks have other holders after a repair.
    SetHolders {
        /// Unit, and who holds its chunk now.
        updates: Vec<(UnitKey, Vec<NodeId>)>,
    },
    /// Takes a node out of the cluster for good; its id is not used again.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Starts or ends draining: a draining node gets no new leases.
    DrainNode {
        /// Which.
        node: NodeId,
        /// Whether it drains from now on.
        draining: bool,
    },
    /// Makes a bundle the cluster's feed of a kind, in place of the one before.
    SetFeed {
        /// Which kind, such as `cve`.
        kind: String,
        /// The bundle.
        record: Box<FeedRecord>,
    },
    /// Takes a feed away.
    RemoveFeed {
        /// Which kind.
        kind: String,
    },
    /// A feed's bundle has other holders after a repair.
    SetFeedHolders {
        /// Which bundle.
        digest: Digest,
        /// Who holds it now.
        holders: Vec<NodeId>,
    },
    /// Specs that are chunks have other holders after a repair.
    SetSpecHolders {
        /// Job, and who holds its spec now.
        updates: Vec<(JobId, Vec<NodeId>)>,
    },
    /// Counts a finished unit of which there is more to say than its counts.
    CompleteWith {
        /// The finished unit.
        completion: Box<Completion>,
        /// What there is to say.
        remarks: Remarks,
    },
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique in the cluster.
    pub name: String,
    /// Its mesh identity, as text.
    pub peer: String,
    /// Mesh addresses `host:port` under which others may dial it; empty for a node that only dials out.
    pub addresses: Vec<String>,
    /// The release it runs.
    pub version: String,
    /// Where it is.
    pub region: Option<String>,
    /// What it may be chosen by.
    pub tags: Vec<String>,
    /// The networks it reaches; `None` for whatever its routes reach.
    pub networks: Option<Vec<IpNet>>,
    /// How many leases it takes at once.
    pub max_concurrent_scans: u32,
    /// The largest unit it takes, in targets.
    pub max_targets_per_scan: u64,
    /// Whether it may vote.
    pub role: NodeRole,
    /// The kinds of engine it has, as words that a partition's needs may name.
    pub engines: Vec<String>,
}

/// What a node may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NodeRole {
    /// A voter or a standby, as the autopilot sees fit.
    #[default]
    Auto,
    /// Scans, and never votes.
    Scanner,
}

/// A join token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The public half.
    pub token: TokenId,
    /// Digest of the secret half.
    pub secret: Digest,
    /// The node name it is for.
    pub name: String,
    /// How long it lasts, in milliseconds of the log's clock.
    pub ttl_ms: u64,
    /// How many nodes may use it.
    pub uses: u32,
    /// The role it allows.
    pub role: NodeRole,
    /// The region it puts a node in, overriding the node's own word.
    pub region: Option<String>,
    /// The networks it limits a node to.
    pub networks: Option<Vec<IpNet>>,
}

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// What to scan, opaque here.
    pub spec: SpecRef,
    /// How much work there is and where it may run.
    pub partitions: Vec<Partition>,
    /// Before which others it is served.
    pub priority: Priority,
    /// How much it may take.
    pub limits: JobLimits,
    /// Who took the request.
    pub via: NodeId,
    /// What the request is known by if it comes again.
    pub idempotency_key: Option<Digest>,
    /// One line for lists: what the user asked for, cut to a length that suits one.
    pub title: String,
    /// Units that an earlier run of the same spec has finished: counted from the start, and not granted again.
    pub finished: Vec<Finished>,
}

/// A unit that an earlier run of a job has finished. Its chunk is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which.
    pub unit: UnitRange,
    /// Its results.
    pub stored: StoredChunk,
    /// What it counts.
    pub counts: Counts,
}

/// A chunk that is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who holds it.
    pub holders: Vec<NodeId>,
}

/// A scan spec, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecRef {
    /// The bytes themselves, at most [`SPEC_INLINE_BYTES_MAX`].
    Inline(Vec<u8>),
    /// A chunk that holds them.
    Chunk {
        /// The chunk's name.
        digest: Digest,
        /// Who holds it.
        holders: Vec<NodeId>,
    },
}

/// The largest spec that an entry carries itself, in bytes; a larger one is stored as a chunk. Ours: a frame between
/// peers is at most 256 KiB and should hold an entry with room to spare.
pub const SPEC_INLINE_BYTES_MAX: usize = 64 << 10;

/// The largest command that the log takes, encoded, in bytes. Ours: with its heading it must fit into one frame between
/// peers, of 256 KiB; a submission with an inline spec and the needs of 256 partitions does.
pub const ENTRY_BYTES_MAX: usize = 192 << 10;

/// Names a unit: the part of a partition that begins at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// Of which job.
    pub job: JobId,
    /// Of which of its partitions.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
}

impl UnitKey {
    /// The unit up to before `end`.
    #[must_use]
    pub fn until(self, end: u64) -> UnitRange {
        UnitRange { partition: self.partition, start: self.start, end }
    }
}

/// A unit of a job that is known: the part of a partition from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitRange {
    /// Of which of the job's partitions.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
    /// The index after its last.
    pub end: u64,
}

impl UnitRange {
    /// Its name among the units of all jobs.
    #[must_use]
    pub fn of(self, job: JobId) -> UnitKey {
        UnitKey { job, partition: self.partition, start: self.start }
    }

    /// How many targets it has.
    #[must_use]
    pub fn targets(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// `partition:start-end`, as events name it.
impl fmt::Display for UnitRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.partition, self.start, self.end)
    }
}

/// A lease to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLease {
    /// The unit.
    pub unit: UnitKey,
    /// The index after its last.
    pub end: u64,
    /// Who is to scan it.
    pub node: NodeId,
    /// What that worker may send for it.
    pub share: Share,
}

/// Names a lease: a unit under one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseRef {
    /// The unit.
    pub unit: UnitKey,
    /// The log index of its grant.
    pub epoch: Epoch,
}

/// A unit, or the first part of what is left of one, whose chunk is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Which lease.
    pub lease: LeaseRef,
    /// The first index scanned: where the lease's uncounted part begins.
    pub start: u64,
    /// The index after the last one scanned.
    pub end: u64,
    /// Whether the worker goes on with what lies behind `end`; otherwise that is handed back.
    pub goes_on: bool,
    /// Who scanned it.
    pub node: NodeId,
    /// Its results.
    pub stored: StoredChunk,
    /// What it counts.
    pub counts: Counts,
}
