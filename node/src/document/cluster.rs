//! What a node tells about the cluster: who leads, who votes, who scans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AuditHead;

/// The cluster as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterDocument {
    /// The cluster's id, hexadecimal.
    pub cluster_id: String,
    /// The leader's name; absent while the answering node knows none.
    pub leader: Option<String>,
    /// Milliseconds since the answering node last heard the leader, or where it leads itself since a majority last
    /// answered it; absent while it knows no leader.
    #[serde(default)]
    pub leader_heard_ms: Option<u64>,
    /// Why nothing can be decided now, in a sentence; absent while a leader is known.
    #[serde(default)]
    pub no_majority: Option<String>,
    /// While no leader is known: who led last, as far as the answering node heard.
    #[serde(default)]
    pub last_leader: Option<String>,
    /// While no leader is known: milliseconds since one last was; absent if none was since the node started.
    #[serde(default)]
    pub lost_ms: Option<u64>,
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
    /// The fingerprint of the authority that signs the certificates of the nodes' APIs; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Every node, voters first.
    pub nodes: Vec<NodeDocument>,
    /// Name of the node that answered.
    #[serde(default)]
    pub answered_by: String,
    /// Name of the node that was asked and handed the request on to the one that answered; absent where that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_on_by: Option<String>,
    /// How many chunks of results, specs and feeds lack a holder that they should have, by reason.
    #[serde(default)]
    pub results_short: BTreeMap<String, u64>,
    /// The version of the log: what is newer is not in it.
    #[serde(default)]
    pub log_version: u32,
    /// The version that the answering node reads and the log is not raised to yet: some node does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_log_version: Option<u32>,
    /// How many milliseconds the cluster's time is ahead of the clocks of most nodes, which were ahead and were set right; absent where it
    /// goes with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ahead_ms: Option<u64>,
    /// Until when it goes at half their pace, so that they catch up, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_slowed_until: Option<String>,
    /// Other clusters that this one has met and that go by the same name and key: another node went on alone from the same lost
    /// majority, or members run that this cluster has taken out. A sentence each, with what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<String>,
    /// Where the audit log ends, by which an export is known to be whole; absent while it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditHead>,
}

/// Voters, and the margin before writes stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Quorum {
    /// Voters in the membership.
    pub voters: u32,
    /// Voters that must agree.
    pub needed: u32,
    /// Voters beyond `needed` that the leader hears now; 0 means the next loss stops writes. Absent where it cannot be
    /// known: there is no leader, or it does not answer.
    #[serde(default)]
    pub failures_tolerated: Option<u32>,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeDocument {
    /// The operator's name for the node.
    pub name: String,
    /// Raft's number for the node; never reused.
    pub node_id: u64,
    /// `voter`, `learner` or `scanner`.
    pub role: String,
    /// The status words of [`WorkerDocument::status`].
    pub status: String,
    /// Where `status` is not of now, because no leader is known: how old it is, in milliseconds.
    #[serde(default)]
    pub status_age_ms: Option<u64>,
    /// The node's region label.
    #[serde(default)]
    pub region: Option<String>,
    /// Mesh address.
    #[serde(default)]
    pub address: Option<String>,
    /// Program version.
    #[serde(default)]
    pub version: Option<String>,
    /// Milliseconds since it was last heard: by the leader, or while none is known by the answering node. Absent if
    /// never.
    #[serde(default)]
    pub last_contact_ms: Option<u64>,
    /// Log entries it is behind the leader; known on the leader only.
    #[serde(default)]
    pub lag: Option<u64>,
    /// Units it scans now.
    #[serde(default)]
    pub load: Option<WorkerLoad>,
    /// Why it takes no work, where it says that it takes none.
    #[serde(default)]
    pub takes_no_work: Option<String>,
    /// How many milliseconds its clock is ahead of the leader's, as it measured last; below zero where it is behind.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// While the answering node has no connection to it: where it was looked for, and what came of that.
    #[serde(default)]
    pub unreached: Option<String>,
    /// Whether it could vote and is kept from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_from_voting: bool,
    /// The oldest and the newest version of the log that it reads.
    #[serde(default)]
    pub log_versions: Vec<u32>,
    /// Its key: what it signs exports of the audit log and jobs' bundles with, and what it is known by on the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Units running on a worker, and how many it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct WorkerLoad {
    /// Leases it holds now.
    pub running: u32,
    /// Leases it takes at most.
    pub capacity: u32,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerDocument {
    /// `wrk_...`.
    pub worker_id: String,
    /// The operator's name for the node.
    pub name: String,
    /// `Active`, `Idle`, `Stale`, `Draining`, `Failed`, `Left` (stopped in order), `Incompatible` (it
    /// runs a release that does not read the cluster's log), or `Joining`.
    pub status: String,
    /// Where `status` is not of now, because no leader is known: how old it is, in milliseconds.
    #[serde(default)]
    pub status_age_ms: Option<u64>,
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
    /// Networks it may scan: what it says it reaches, within what the cluster lets it, or the
    /// latter where it reaches none of that; `auto` for every network.
    #[serde(default)]
    pub network_access: Vec<String>,
    /// The kinds of engine it has: `connect`, `raw`.
    #[serde(default)]
    pub engines: Vec<String>,
    /// RFC 3339; absent if never heard from.
    #[serde(default)]
    pub last_seen: Option<String>,
    /// Why it gets no work for now: it failed its last units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// Why it takes no work, where it says that it takes none.
    #[serde(default)]
    pub takes_no_work: Option<String>,
    /// The site that the cluster puts it at.
    #[serde(default)]
    pub site: Option<String>,
    /// Whether it comes and goes.
    #[serde(default)]
    pub ephemeral: bool,
    /// Whether results may be kept on it for others.
    #[serde(default)]
    pub keeps_results: bool,
    /// Whether it is to leave for good.
    #[serde(default)]
    pub leaving: bool,
}

/// `POST /api/v1/cluster/transfer-leadership`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransferRequest {
    /// Name of the voter that shall lead; absent lets the leader choose the most caught-up one.
    pub to: Option<String>,
}

/// `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionDocument {
    /// `pentora`.
    pub name: String,
    /// Program version.
    pub version: String,
    /// The API's version, `v1`.
    pub api: String,
}
