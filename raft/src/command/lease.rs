//! Leases as commands name them: one to be made, one that is out, and what was done with it.

use serde::{Deserialize, Serialize};

use super::{StoredChunk, UnitKey};
use crate::id::{Epoch, NodeId};
use crate::state::{Counts, Share};

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
