//! Nodes on their way out of the log, or back into it.
//!
//! A member that is to scan only gives up its log. To the leader it must be a stranger before it begins another one: a leader
//! that counts on entries which a node has thrown away never gets through to it. So a change of role is carried out in steps,
//! whatever is asked for meanwhile: the node gives up its log, the leader takes it out of the group, and only then, where it is
//! to be a member (again), it says that it has none and holds as one. Until then it holds as one that only scans.
//!
//! A node that was admitted to scan only has no row until it is to be a member.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{LogStep, NodeInfo, NodeRole, Refusal, Response};
use crate::id::NodeId;

/// Where a node is that gives up its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// The log index since which it is to give up its log; steps name it, so that a late one is none.
    pub since: u64,
    /// Whether the group does not count on it any more.
    pub is_out: bool,
}

impl State {
    /// Where a node is on its way out of the log or back; `None` where it is on none.
    #[must_use]
    pub fn log_place(&self, node: NodeId) -> Option<LogPlace> {
        self.log_places.get(&node).copied()
    }

    /// The nodes on their way.
    pub fn log_places(&self) -> impl Iterator<Item = (NodeId, LogPlace)> {
        self.log_places.iter().map(|(node, place)| (*node, *place))
    }

    /// What a node is to be, by its policy and its own word, however far it is on its way there.
    #[must_use]
    pub fn wanted_role(&self, node: NodeId) -> Option<NodeRole> {
        let record = self.node(node)?;
        let standing = self.standings.get(&node);
        Some(standing.map_or(record.info.role, |standing| standing.policy.narrow(&standing.says).role))
    }

    /// A node takes a step out of the log or back. One that was taken already, or that later ones have overtaken, changes
    /// nothing.
    pub(super) fn move_in_log(&mut self, index: u64, node: NodeId, step: LogStep) -> Result<Response, Refusal> {
        let role = self.node(node).ok_or(Refusal::NodeUnknown { node })?.info.role;
        let place = self.log_place(node);
        match step {
            LogStep::GiveUp if role == NodeRole::Auto => {
                // What it is to be stands there, while what it holds as is less.
                let standing = self.standing(node)?;
                self.standings.insert(node, standing);
                self.log_places.insert(node, LogPlace { since: index, is_out: false });
                self.hold_as(node, NodeRole::Scanner);
            }
            LogStep::Out { since } if place == Some(LogPlace { since, is_out: false }) => {
                self.log_places.insert(node, LogPlace { since, is_out: true });
            }
            LogStep::Back { since }
                if place == Some(LogPlace { since, is_out: true })
                    && self.wanted_role(node) == Some(NodeRole::Auto) =>
            {
                self.log_places.remove(&node);
                self.hold_as(node, NodeRole::Auto);
            }
            LogStep::GiveUp | LogStep::Out { .. } | LogStep::Back { .. } => {}
        }
        self.tell_of_role(index, node, role);
        Ok(Response::Done)
    }

    /// What holds at once of a node that by policy and word would be `wanted`: its role changes in steps.
    pub(super) fn in_steps(&mut self, index: u64, node: NodeId, wanted: NodeInfo) -> NodeInfo {
        let role = self.node(node).map_or(wanted.role, |record| record.info.role);
        match (role, wanted.role, self.log_place(node)) {
            (NodeRole::Auto, NodeRole::Scanner, _) => {
                self.log_places.insert(node, LogPlace { since: index, is_out: false });
            }
            (NodeRole::Scanner, NodeRole::Auto, None) => {
                self.log_places.insert(node, LogPlace { since: index, is_out: true });
            }
            _ => {}
        }
        let is_on_its_way = self.log_place(node).is_some();
        NodeInfo { role: if is_on_its_way { NodeRole::Scanner } else { wanted.role }, ..wanted }
    }

    fn hold_as(&mut self, node: NodeId, role: NodeRole) {
        if let Some(record) = self.nodes.get_mut(&node) {
            record.info.role = role;
        }
    }
}
