//! What can be decided: every command that an entry of the log may carry, and what applying it answers.
//!
//! A command holds decisions, digests and counts, never findings; what is scanned is opaque bytes. The enums are
//! append only, because old logs are replayed by new releases.

mod answer;

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::answer::{Refusal, Response};
use crate::id::{ClusterId, Digest, Epoch, JobId, NodeId, TokenId};
use crate::state::{Counts, FeedRecord, Partition, Priority};

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
}

impl Command {
    /// The command's name, for traces.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::CreateToken(_) => "create-token",
            Self::RevokeToken { .. } => "revoke-token",
            Self::Join { .. } => "join",
            Self::UpdateNode { .. } => "update-node",
            Self::SubmitJob(_) => "submit-job",
            Self::Grant { .. } => "grant",
            Self::Complete { .. } => "complete",
            Self::Release { .. } => "release",
            Self::Expire { .. } => "expire",
            Self::WorkerSuspect { .. } => "worker-suspect",
            Self::Cancel { .. } => "cancel",
            Self::WorkerFailed { .. } => "worker-failed",
            Self::WorkerBack { .. } => "worker-back",
            Self::SetHolders { .. } => "set-holders",
            Self::RemoveNode { .. } => "remove-node",
            Self::DrainNode { .. } => "drain-node",
            Self::SetFeed { .. } => "set-feed",
            Self::RemoveFeed { .. } => "remove-feed",
            Self::SetFeedHolders { .. } => "set-feed-holders",
            Self::SetSpecHolders { .. } => "set-spec-holders",
        }
    }
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
    /// Packets per second over all workers together; `None` for as fast as they can.
    pub budget_pps: Option<u64>,
    /// Packets per second into any one destination network, over all workers together.
    pub network_pps: Option<u64>,
    /// How many workers may hold leases on it at once.
    pub max_workers: Option<u32>,
    /// How often a unit is tried before it is given up.
    pub max_attempts: u32,
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
    /// Of which partition.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
    /// The index after its last.
    pub end: u64,
    /// The chunk's name.
    pub digest: Digest,
    /// The chunk's size in bytes.
    pub bytes: u64,
    /// Who holds it.
    pub holders: Vec<NodeId>,
    /// What it counts.
    pub counts: Counts,
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

/// A lease to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLease {
    /// The unit.
    pub unit: UnitKey,
    /// The index after its last.
    pub end: u64,
    /// Who is to scan it.
    pub node: NodeId,
    /// That worker's share of the job's budget, in packets per second.
    pub rate_pps: Option<u64>,
    /// This lease's share of what the job may send into one network, in packets per second.
    pub network_pps: Option<u64>,
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
    /// The chunk's name.
    pub digest: Digest,
    /// The chunk's size in bytes.
    pub bytes: u64,
    /// Who holds it.
    pub holders: Vec<NodeId>,
    /// What it counts.
    pub counts: Counts,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::state::Needs;
    use proptest::prelude::*;

    pub(crate) fn node_info(name: &str) -> NodeInfo {
        NodeInfo {
            name: name.into(),
            peer: format!("peer-{name}"),
            addresses: vec!["127.0.0.1:7400".into()],
            version: "0.1.0".into(),
            region: Some("eu".into()),
            tags: vec!["dmz".into()],
            networks: Some(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]),
            max_concurrent_scans: 10,
            max_targets_per_scan: 65_536,
            role: NodeRole::Auto,
            engines: vec!["connect".into(), "raw".into()],
        }
    }

    fn any_unit() -> impl Strategy<Value = UnitKey> {
        (1u64..9, 0u32..3, 0u64..1000).prop_map(|(job, partition, start)| UnitKey { job: JobId(job), partition, start })
    }

    fn any_lease() -> impl Strategy<Value = LeaseRef> {
        (any_unit(), any::<u64>()).prop_map(|(unit, epoch)| LeaseRef { unit, epoch })
    }

    pub(crate) fn any_command() -> impl Strategy<Value = Command> {
        let submission = (proptest::collection::vec(any::<u8>(), 0..40), any::<u64>(), any::<Option<u64>>()).prop_map(
            |(spec, target_count, budget_pps)| {
                Command::SubmitJob(Box::new(Submission {
                    spec: SpecRef::Inline(spec),
                    partitions: vec![Partition { target_count, needs: Needs::default() }],
                    priority: Priority::Normal,
                    budget_pps,
                    network_pps: Some(7),
                    max_workers: Some(3),
                    max_attempts: 3,
                    via: 1,
                    idempotency_key: Some(Digest::of(b"key")),
                    title: "10.0.0.0/8".into(),
                    finished: vec![Finished {
                        partition: 0,
                        start: 3,
                        end: 9,
                        digest: Digest::of(b"chunk"),
                        bytes: 5,
                        holders: vec![1],
                        counts: Counts::default(),
                    }],
                }))
            },
        );
        let grant = (any_unit(), any::<u64>(), any::<Option<u64>>()).prop_map(|(unit, end, rate_pps)| Command::Grant {
            grants: vec![NewLease { unit, end, node: 2, rate_pps, network_pps: rate_pps }],
        });
        let complete = (any_lease(), any::<u64>(), any::<u64>()).prop_map(|(lease, end, hosts_up)| Command::Complete {
            completions: vec![Completion {
                lease,
                start: lease.unit.start,
                end,
                goes_on: hosts_up % 2 == 1,
                node: 2,
                digest: Digest::of(b"chunk"),
                bytes: 5,
                holders: vec![1, 2],
                counts: Counts { hosts_up, ..Counts::default() },
            }],
        });
        prop_oneof![
            Just(Command::Begin { cluster: ClusterId([7; 16]), info: node_info("n1"), admin_token: Digest::of(b"a") }),
            Just(Command::Join { token: TokenId([1; 8]), secret: Digest::of(b"s"), info: node_info("n2") }),
            any::<u64>().prop_map(|node| Command::UpdateNode { node, info: node_info("n2") }),
            submission,
            grant,
            complete,
            proptest::collection::vec(any_lease(), 0..4).prop_map(|leases| Command::Release { leases }),
            (proptest::collection::vec(any_lease(), 0..4), ".{0,20}")
                .prop_map(|(leases, reason)| Command::Expire { leases, reason }),
            (any::<u64>(), ".{0,20}").prop_map(|(job, reason)| Command::Cancel { job: JobId(job), reason }),
            (any_unit(), proptest::collection::vec(any::<u64>(), 0..4))
                .prop_map(|update| Command::SetHolders { updates: vec![update] }),
            (any::<u64>(), proptest::collection::vec(any::<u64>(), 0..4))
                .prop_map(|(job, holders)| Command::SetSpecHolders { updates: vec![(JobId(job), holders)] }),
            any::<u64>().prop_map(|node| Command::WorkerFailed { node }),
            (any::<u64>(), any::<bool>()).prop_map(|(node, draining)| Command::DrainNode { node, draining }),
        ]
    }
}
