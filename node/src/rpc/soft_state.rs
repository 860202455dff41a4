//! What only the leader knows, as any node asks it for documents: soft, because a new leader begins without it.

use std::collections::BTreeMap;

use pentora_raft::{JobId, NodeId};
use serde::{Deserialize, Serialize};

use crate::work_protocol::Figures;

/// What only the leader knows, for the documents of any node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SoftState {
    /// Milliseconds since each worker was heard.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// How many entries each member trails by.
    pub lag: BTreeMap<NodeId, u64>,
    /// How far the units are that are still out, by job.
    pub in_progress: BTreeMap<JobId, Figures>,
    /// How many chunks lack a holder that they should have, by reason.
    pub results_short: BTreeMap<String, u64>,
    /// Targets per second of each job over the last half minute, as far as known.
    pub targets_per_second: BTreeMap<JobId, f64>,
    /// Why workers take no work that take none.
    pub rests: BTreeMap<NodeId, String>,
    /// How many milliseconds each worker's clock is ahead of the leader's.
    pub skew_ms: BTreeMap<NodeId, i64>,
}

/// What a member tells of the log in figures: those of all, and what of them is one node's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogFigures {
    /// Targets that are not done.
    pub targets_waiting: u64,
    /// The same in units.
    pub units_waiting: u64,
    /// What of them the node could take, shared with the others that could.
    pub units_own: f64,
    /// Jobs without a granted unit.
    pub jobs_waiting: usize,
    /// Jobs that are not over.
    pub jobs_open: usize,
    /// Leases that are out.
    pub leases: usize,
    /// Leases of the node.
    pub leases_own: usize,
    /// Accepted units of the jobs that are kept.
    pub units_done: u64,
    /// Probes of those.
    pub probes_sent: u64,
    /// Probes of those that were sent again.
    pub probes_retransmitted: u64,
    /// Answers to those.
    pub probes_received: u64,
    /// Round trips of those that were lost, as far as estimated.
    pub probes_lost: f64,
    /// Nodes by the word for their status.
    pub nodes: BTreeMap<String, usize>,
}
