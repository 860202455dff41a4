//! The nodes of the cluster: who was admitted, and what the leader last found of each.
//!
//! Liveness is not measured here: the leader proposes what it saw (`WorkerSuspect`, `WorkerFailed`, `WorkerBack`) and
//! these rows keep it, so that every node gives the same answer about a peer.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{NodeInfo, NodeRole, Refusal, Response};
use crate::event::{ClusterEventKind, EventKind};
use crate::id::{JobId, NodeId, worker_id};

/// How many addresses a node that runs may say it has now. Ours: a machine with many containers has dozens.
pub const ADDRESSES_MAX: usize = 64;
/// The longest of them, in bytes: a host's name (RFC 1035 section 2.3.4) and a port.
const ADDRESS_BYTES_MAX: usize = 270;

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What holds of it: what it says of itself, within its policy.
    pub info: NodeInfo,
    /// What the leader last found.
    pub status: NodeStatus,
    /// Whether it was asked to drain: it stays so when it is suspected, fails and is heard again, until it is asked to
    /// work again or starts again.
    pub draining: bool,
    /// When it was admitted, unix milliseconds of the log's clock.
    pub joined_at_ms: u64,
    /// When it last started.
    pub started_at_ms: u64,
    /// When its status last changed.
    pub changed_at_ms: u64,
}

/// What the leader last found of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeStatus {
    /// Admitted, not heard from yet.
    Joining,
    /// Heard in time.
    Active,
    /// Missed its heartbeats; keeps its leases for the grace period.
    Stale,
    /// Its grace period is over.
    Failed,
    /// Finishes what it has and gets nothing new.
    Draining,
    /// Stopped in order, after it had handed its work back.
    Left,
}

impl NodeStatus {
    /// Whether the node is known to be away.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Failed | Self::Left)
    }
}

impl NodeRecord {
    /// A row for a node admitted at `now_ms`.
    pub(super) fn new(info: NodeInfo, now_ms: u64) -> Self {
        Self {
            info,
            status: NodeStatus::Joining,
            draining: false,
            joined_at_ms: now_ms,
            started_at_ms: now_ms,
            changed_at_ms: now_ms,
        }
    }

    /// The id under which it scans.
    #[must_use]
    pub fn worker_id(&self) -> String {
        worker_id(&self.info.name)
    }

    /// Whether it may be given leases.
    #[must_use]
    pub fn takes_leases(&self) -> bool {
        self.status == NodeStatus::Active
    }

    /// Whether its role lets it vote; [`State::may_vote`] asks its policy as well.
    #[must_use]
    pub fn may_vote(&self) -> bool {
        self.info.role == NodeRole::Auto
    }
}

impl State {
    /// Admits a node under `index`, or answers the id that the same peer got before.
    pub(super) fn admit(&mut self, index: u64, info: &NodeInfo) -> Result<NodeId, Refusal> {
        if let Some((&id, _)) = self.nodes.iter().find(|(_, node)| node.info.peer == info.peer) {
            return Ok(id);
        }
        let wanted = worker_id(&info.name);
        let is_taken = self.nodes.iter().any(|(_, node)| node.worker_id() == wanted);
        if info.name.is_empty() || is_taken || self.is_offline_worker(&info.peer, &info.name) {
            return Err(Refusal::NameTaken { name: info.name.clone() });
        }
        self.nodes.insert(index, NodeRecord::new(info.clone(), self.now_ms()));
        self.tell_of_node(index, index, ClusterEventKind::NodeJoined);
        Ok(index)
    }

    pub(super) fn update_node(&mut self, index: u64, node: NodeId, info: &NodeInfo) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let record = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?;
        // Name and peer are what the node was admitted as; a restart cannot change them.
        let info = NodeInfo { name: record.info.name.clone(), peer: record.info.peer.clone(), ..info.clone() };
        let before = record.info.role;
        let holds = self.report(index, node, &info);
        let leaving = self.is_leaving(node);
        if let Some(record) = self.nodes.get_mut(&node) {
            record.info = holds;
            record.started_at_ms = now_ms;
            // One that is to leave gets no more work, however often it starts.
            record.draining = leaving;
            if matches!(record.status, NodeStatus::Draining | NodeStatus::Left) {
                record.status = if leaving { NodeStatus::Draining } else { NodeStatus::Joining };
                record.changed_at_ms = now_ms;
            }
        }
        self.clear_health(node);
        self.tell_of_role(index, node, before);
        Ok(Response::Done)
    }

    /// Routes come and go while a node runs; nothing else of it changes.
    pub(super) fn set_networks(
        &mut self,
        index: u64,
        node: NodeId,
        networks: Option<&[IpNet]>,
    ) -> Result<Response, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?;
        let said = self.standings.get(&node).map_or(&record.info, |standing| &standing.says);
        let says = NodeInfo { networks: networks.map(<[IpNet]>::to_vec), ..said.clone() };
        let holds = self.report(index, node, &says);
        if let Some(record) = self.nodes.get_mut(&node) {
            record.info = holds;
        }
        Ok(Response::Done)
    }

    /// An interface has another address, or the node advertises another one; nothing else of it changes.
    pub(super) fn set_addresses(
        &mut self,
        index: u64,
        node: NodeId,
        addresses: &[String],
    ) -> Result<Response, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?;
        let is_long = addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX);
        if addresses.len() > ADDRESSES_MAX || is_long {
            let what = format!("a node has at most {ADDRESSES_MAX} addresses of {ADDRESS_BYTES_MAX} bytes");
            return Err(Refusal::Malformed { what });
        }
        let said = self.standings.get(&node).map_or(&record.info, |standing| &standing.says);
        let says = NodeInfo { addresses: addresses.to_vec(), ..said.clone() };
        let holds = self.report(index, node, &says);
        if let Some(record) = self.nodes.get_mut(&node) {
            record.info = holds;
        }
        Ok(Response::Done)
    }

    pub(super) fn worker_suspect(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        // A suspicion that was overtaken by the failure it led to, or by the node's goodbye, must not undo it.
        let gone = self.nodes.get(&node).is_some_and(|record| record.status.is_gone());
        if !gone && self.change_status(node, NodeStatus::Stale)? {
            self.record_for_jobs_of(index, node, &EventKind::HeartbeatMissed);
        }
        Ok(Response::Done)
    }

    pub(super) fn worker_failed(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        let left = self.nodes.get(&node).is_some_and(|record| record.status == NodeStatus::Left);
        if !left && self.change_status(node, NodeStatus::Failed)? {
            self.record_for_jobs_of(index, node, &EventKind::WorkerFailed);
            self.tell_of_node(index, node, ClusterEventKind::NodeFailed);
        }
        self.take_back_all(index, node);
        Ok(Response::Done)
    }

    pub(super) fn worker_back(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?;
        let was_lost = record.status == NodeStatus::Stale || record.status.is_gone();
        let was_gone = record.status.is_gone();
        let status = if record.draining { NodeStatus::Draining } else { NodeStatus::Active };
        if self.change_status(node, status)? && was_lost {
            self.record_for_jobs_of(index, node, &EventKind::WorkerBack);
            if was_gone {
                self.tell_of_node(index, node, ClusterEventKind::NodeBack);
            }
        }
        Ok(Response::Done)
    }

    pub(super) fn drain_node(&mut self, node: NodeId, draining: bool) -> Result<Response, Refusal> {
        let draining = draining || self.is_leaving(node);
        let record = self.nodes.get_mut(&node).ok_or(Refusal::NodeUnknown { node })?;
        record.draining = draining;
        // A node that is not heard from keeps that status; it drains or works once it is heard again.
        match (record.status, draining) {
            (NodeStatus::Active | NodeStatus::Joining, true) => self.change_status(node, NodeStatus::Draining)?,
            (NodeStatus::Draining, false) => self.change_status(node, NodeStatus::Active)?,
            _ => false,
        };
        Ok(Response::Done)
    }

    pub(super) fn remove_node(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        let Some(record) = self.nodes.get(&node) else { return Err(Refusal::NodeUnknown { node }) };
        if record.may_vote() {
            // It could open the keys that sign sessions. Whoever is logged in does so again.
            self.forget_session_keys();
        }
        self.tell_of_node(index, node, ClusterEventKind::NodeRemoved);
        // An operator's decision says nothing about the units, so they are handed back without blame.
        self.release(index, &self.leases_of(node));
        self.free_retries_of(node);
        self.clear_health(node);
        self.note_gone(node);
        self.nodes.remove(&node);
        self.standings.remove(&node);
        self.log_places.remove(&node);
        self.versions.remove(&node);
        self.signers.remove(&node);
        Ok(Response::Done)
    }

    /// A node says goodbye: what it still holds is handed back without blame.
    pub(super) fn node_left(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        if self.change_status(node, NodeStatus::Left)? {
            self.tell_of_node(index, node, ClusterEventKind::NodeLeft);
        }
        self.release(index, &self.leases_of(node));
        Ok(Response::Done)
    }

    /// Takes away a node that has been gone since `since_ms`, and none that was heard from meanwhile.
    pub(super) fn forget(&mut self, index: u64, node: NodeId, since_ms: u64) -> Result<Response, Refusal> {
        let record = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?;
        if record.status.is_gone() && record.changed_at_ms == since_ms {
            return self.remove_node(index, node);
        }
        Ok(Response::Done)
    }

    /// Whether the status changed.
    fn change_status(&mut self, node: NodeId, status: NodeStatus) -> Result<bool, Refusal> {
        let now_ms = self.now_ms();
        let before = self.nodes.get(&node).ok_or(Refusal::NodeUnknown { node })?.status;
        if before == status {
            return Ok(false);
        }
        if let Some(record) = self.nodes.get_mut(&node) {
            record.status = status;
            record.changed_at_ms = now_ms;
        }
        Ok(true)
    }

    /// Adds a line to the history of each job that `node` holds leases of.
    fn record_for_jobs_of(&mut self, index: u64, node: NodeId, what: &EventKind) {
        let mut jobs: Vec<JobId> =
            self.leases.iter().filter(|(_, lease)| lease.node == node).map(|(unit, _)| unit.job).collect();
        jobs.dedup();
        for job in jobs {
            self.record(job, index, what.clone(), Some(node), None);
        }
    }
}
