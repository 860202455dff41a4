//! What the cluster's own history says: one line per thing that happened to a node or to the policy.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::command::{NodeRole, RuleKind};
use crate::id::NodeId;
use crate::names::names;

/// One line of the cluster's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEvent {
    /// The log index of the entry that brought it.
    pub index: u64,
    /// Which line of that entry it is, from 1 on.
    pub sequence: u32,
    /// Unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// What happened.
    pub what: ClusterEventKind,
    /// The node it happened to.
    pub node: Option<EventNode>,
}

/// The node of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventNode {
    /// Its id.
    pub node: NodeId,
    /// Its name, which another node may have later.
    pub name: String,
}

/// What can happen to the cluster. Append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterEventKind {
    /// A node was admitted.
    NodeJoined,
    /// A node that had failed or stopped is heard again.
    NodeBack,
    /// A node was not heard from for the grace period.
    NodeFailed,
    /// A node stopped in order.
    NodeLeft,
    /// A node is out of the cluster for good.
    NodeRemoved,
    /// A node is a member, or only scans, from now on.
    NodeRole {
        /// Which.
        role: NodeRole,
    },
    /// The cluster's word about a node has changed.
    NodePolicy,
    /// A rule of the policy is there, or says something else.
    RuleSet {
        /// Its kind.
        kind: RuleKind,
        /// Its name.
        name: String,
    },
    /// A rule of the policy is gone.
    RuleRemoved {
        /// Its kind.
        kind: RuleKind,
        /// Its name.
        name: String,
    },
}

names! { ClusterEventKind, name, NAMES:
    NodeJoined => "node_joined",
    NodeBack => "node_back",
    NodeFailed => "node_failed",
    NodeLeft => "node_left",
    NodeRemoved => "node_removed",
    NodeRole => "node_role",
    NodePolicy => "node_policy",
    RuleSet => "rule_set",
    RuleRemoved => "rule_removed",
}

impl fmt::Display for ClusterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.as_ref().map_or("?", |node| node.name.as_str());
        match &self.what {
            ClusterEventKind::NodeJoined => write!(f, "node {node} joined"),
            ClusterEventKind::NodeBack => write!(f, "node {node} is back"),
            ClusterEventKind::NodeFailed => write!(f, "node {node} failed"),
            ClusterEventKind::NodeLeft => write!(f, "node {node} stopped"),
            ClusterEventKind::NodeRemoved => write!(f, "node {node} was taken out of the cluster"),
            ClusterEventKind::NodeRole { role: NodeRole::Auto } => write!(f, "node {node} is a member"),
            ClusterEventKind::NodeRole { role: NodeRole::Scanner } => write!(f, "node {node} only scans"),
            ClusterEventKind::NodePolicy => write!(f, "the policy of node {node} changed"),
            ClusterEventKind::RuleSet { kind, name } => write!(f, "{} rule {name} is set", kind.name()),
            ClusterEventKind::RuleRemoved { kind, name } => write!(f, "{} rule {name} is removed", kind.name()),
        }
    }
}
