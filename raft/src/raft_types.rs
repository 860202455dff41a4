//! The consensus library's type parameters, named once. Nothing outside this crate sees them.

use serde::{Deserialize, Serialize};

use crate::command::{Proposal, Response};

/// What membership says of a node: how the transport finds it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Its mesh identity, as text.
    pub peer: String,
}

openraft::declare_raft_types!(
    /// Proposals in, responses out, node ids from the log. At most one node leads in a term, as in Raft's paper: decision 0077.
    pub TypeConfig: D = Proposal, R = Response, NodeId = u64, Node = Member, LeaderId = LeaderId
);

/// A term and who was voted for in it.
pub(crate) type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
