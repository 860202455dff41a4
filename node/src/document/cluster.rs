//! What a node tells about the cluster: who leads, who votes, who scans.

use serde::{Deserialize, Serialize};

/// The cluster as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterDocument {
    /// The cluster's id, hexadecimal.
    pub cluster_id: String,
    /// The leader's name; absent while there is none.
    pub leader: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Highest committed log index known here.
    #[serde(default)]
    pub commit_index: u64,
    /// Highest log index applied here.
    #[serde(default)]
    pub applied_index: u64,
    /// How many voters there are and may be lost.
    pub quorum: Quorum,
    /// Every node, voters first.
    pub nodes: Vec<NodeDocument>,
    /// Name of the node that answered.
    #[serde(default)]
    pub answered_by: String,
}

/// Voters, and the margin before writes stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quorum {
    /// Voters in the membership.
    pub voters: u32,
    /// Voters that must agree.
    pub needed: u32,
    /// Reachable voters beyond `needed`, as the leader sees it; 0 means the next loss stops writes.
    pub failures_tolerated: u32,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDocument {
    /// The operator's name for the node.
    pub name: String,
    /// Raft's number for the node; never reused.
    pub node_id: u64,
    /// `voter`, `learner` or `scanner`.
    pub role: String,
    /// The status words of [`WorkerDocument::status`].
    pub status: String,
    /// The node's region label.
    #[serde(default)]
    pub region: Option<String>,
    /// Mesh address.
    #[serde(default)]
    pub address: Option<String>,
    /// Program version.
    #[serde(default)]
    pub version: Option<String>,
    /// Milliseconds since the answering node last heard from it; absent if never.
    #[serde(default)]
    pub last_contact_ms: Option<u64>,
    /// Log entries it is behind the leader; known on the leader only.
    #[serde(default)]
    pub lag: Option<u64>,
    /// Units it scans now.
    #[serde(default)]
    pub load: Option<WorkerLoad>,
}

/// Units running on a worker, and how many it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Leases it holds now.
    pub running: u32,
    /// Leases it takes at most.
    pub capacity: u32,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerDocument {
    /// `wrk_...`.
    pub worker_id: String,
    /// The operator's name for the node.
    pub name: String,
    /// `Active`, `Idle`, `Stale`, `Draining`, `Failed`, or `Joining`.
    pub status: String,
    /// Region label.
    #[serde(default)]
    pub region: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Absent while the worker is not heard from.
    #[serde(default)]
    pub load: Option<WorkerLoad>,
    /// Seconds since its process started; absent while the worker is not heard from.
    #[serde(default)]
    pub uptime_seconds: Option<u64>,
    /// Program version.
    #[serde(default)]
    pub version: Option<String>,
    /// Networks it says it can reach; empty means every network.
    #[serde(default)]
    pub network_access: Vec<String>,
    /// The kinds of engine it has: `connect`, `raw`.
    #[serde(default)]
    pub engines: Vec<String>,
    /// RFC 3339; absent if never heard from.
    #[serde(default)]
    pub last_seen: Option<String>,
}

/// `POST /api/v1/cluster/transfer-leadership`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferRequest {
    /// Name of the voter that shall lead; absent lets the leader choose the most caught-up one.
    pub to: Option<String>,
}

/// `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDocument {
    /// `pentora`.
    pub name: String,
    /// Program version.
    pub version: String,
    /// The API's version, `v1`.
    pub api: String,
}
