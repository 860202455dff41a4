//! What the cluster says of a node, beside what the node says of itself: its policy, and whether it is to leave.
//!
//! A node that joined before there were policies has no row: it has no limit, and what it says is what holds.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{
    AuditEntry, NodeInfo, NodePolicy, NotedRetirement, Outcome, PolicyChange, Refusal, Response, Voting,
};
use crate::event::ClusterEventKind;
use crate::id::NodeId;

/// The numbers of voters that a cluster may aim at. Odd, because one more tolerates no further loss; at most seven,
/// because each voter has to confirm every entry.
pub const VOTERS_ALLOWED: [u32; 3] = [3, 5, 7];
/// How many networks a policy may name. Ours: a site has dozens.
const POLICY_NETWORKS_MAX: usize = 1024;
/// The status of what is decided and not carried out yet (RFC 9110 section 15.3.3).
const ACCEPTED: u16 = 202;
/// The key of the one row of the shape.
const SHAPE: u8 = 0;

/// What the cluster says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What it may be.
    pub policy: NodePolicy,
    /// What it says of itself, whole: what holds is worked out anew when its policy changes.
    pub says: NodeInfo,
    /// Since when it is to leave, unix milliseconds of the log's clock.
    pub leaving_since_ms: Option<u64>,
}

/// What the cluster as a whole aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many voters it aims at.
    pub voters: u32,
}

impl Default for Shape {
    /// Three voters: the fewest that survive a loss.
    fn default() -> Self {
        Self { voters: 3 }
    }
}

impl State {
    /// What the cluster says of nodes, by node.
    pub fn standings(&self) -> impl Iterator<Item = (NodeId, &Standing)> {
        self.standings.iter().map(|(id, standing)| (*id, standing))
    }

    /// What a node may be.
    #[must_use]
    pub fn policy(&self, node: NodeId) -> NodePolicy {
        self.standings.get(&node).map_or_else(NodePolicy::default, |standing| standing.policy.clone())
    }

    /// The site that a node is at; `None` where nobody said so.
    #[must_use]
    pub fn site_of(&self, node: NodeId) -> Option<&str> {
        self.standings.get(&node)?.policy.site.as_deref()
    }

    /// Whether a node is to leave for good.
    #[must_use]
    pub fn is_leaving(&self, node: NodeId) -> bool {
        self.standings.get(&node).is_some_and(|standing| standing.leaving_since_ms.is_some())
    }

    /// Whether results may be kept on a node for others: not on one that is to leave.
    #[must_use]
    pub fn keeps_results(&self, node: NodeId) -> bool {
        let standing = self.standings.get(&node);
        standing.is_none_or(|standing| standing.policy.keeps_results && standing.leaving_since_ms.is_none())
    }

    /// Whether a node may be among the voters.
    #[must_use]
    pub fn may_vote(&self, node: NodeId) -> bool {
        let standing = self.standings.get(&node);
        let barred = standing.is_some_and(|standing| {
            let policy = &standing.policy;
            policy.ephemeral || policy.voting == Voting::Never || standing.leaving_since_ms.is_some()
        });
        !barred && self.node(node).is_some_and(super::NodeRecord::may_vote)
    }

    /// Whether a member could vote, and the cluster's word is that it does not.
    #[must_use]
    pub fn is_kept_from_voting(&self, node: NodeId) -> bool {
        let is_kept = |standing: &Standing| standing.policy.voting == Voting::Never;
        self.standings.get(&node).is_some_and(is_kept) && self.node(node).is_some_and(super::NodeRecord::may_vote)
    }

    /// What the cluster as a whole aims at.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape.get(&SHAPE).copied().unwrap_or_default()
    }

    pub(super) fn aim_voters(&mut self, voters: u32) -> Result<Response, Refusal> {
        if !VOTERS_ALLOWED.contains(&voters) {
            return Err(Refusal::Malformed { what: format!("a cluster has 3, 5 or 7 voters, not {voters}") });
        }
        self.shape.insert(SHAPE, Shape { voters });
        Ok(Response::Done)
    }

    pub(super) fn set_policy(&mut self, index: u64, node: NodeId, change: &PolicyChange) -> Result<Response, Refusal> {
        if change.networks.as_ref().is_some_and(|networks| networks.len() > POLICY_NETWORKS_MAX) {
            return Err(Refusal::Malformed { what: format!("a policy names at most {POLICY_NETWORKS_MAX} networks") });
        }
        let before = self.standing(node)?;
        let after = Standing { policy: before.policy.changed(change), ..before };
        let is_new = self.policy(node) != after.policy;
        let role = self.node(node).map(|record| record.info.role);
        let holds = self.in_steps(index, node, after.policy.narrow(&after.says));
        if let Some(record) = self.nodes.get_mut(&node) {
            record.info = holds;
        }
        self.standings.insert(node, after);
        if is_new {
            self.tell_of_node(index, node, ClusterEventKind::NodePolicy);
        }
        if let Some(before) = role {
            self.tell_of_role(index, node, before);
        }
        Ok(Response::Done)
    }

    pub(super) fn retire(&mut self, index: u64, node: NodeId) -> Result<Response, Refusal> {
        let before = self.standing(node)?;
        let since_ms = before.leaving_since_ms.unwrap_or_else(|| self.now_ms());
        self.standings.insert(node, Standing { leaving_since_ms: Some(since_ms), ..before });
        self.drain_node(node, true)?;
        self.release(index, &self.leases_of(node));
        Ok(Response::Done)
    }

    /// The same, with what came of it in the audit log: by the time it is carried out the node may be out, and say nothing any more.
    pub(super) fn retire_noted(&mut self, index: u64, noted: &NotedRetirement) -> Result<Response, Refusal> {
        let NotedRetirement { node, author, action, asked, batch } = noted;
        let done = self.retire(index, *node)?;
        let name = self.node(*node).map_or_else(String::new, |record| format!("name={}", record.info.name));
        let outcome = Outcome::Answered { asked: *asked, status: ACCEPTED };
        let (author, action) = (author.clone(), action.clone());
        self.note_audit(*batch, &[AuditEntry { author, action, object: name, outcome, times: 1 }])?;
        Ok(done)
    }

    /// Notes under which policy a node was admitted, and what it says of itself.
    pub(super) fn stand(&mut self, node: NodeId, policy: NodePolicy, says: &NodeInfo) {
        self.standings.insert(node, Standing { policy, says: says.clone(), leaving_since_ms: None });
    }

    /// Notes what a node says of itself now, and answers what holds of it.
    pub(super) fn report(&mut self, index: u64, node: NodeId, says: &NodeInfo) -> NodeInfo {
        let Ok(before) = self.standing(node) else { return says.clone() };
        let holds = self.in_steps(index, node, before.policy.narrow(says));
        // One without limits needs no row, unless it holds as less than it says.
        if self.standings.get(&node).is_some() || self.log_place(node).is_some() {
            self.standings.insert(node, Standing { says: says.clone(), ..before });
        }
        holds
    }

    /// The row of a node, made up for one that joined before there were any.
    pub(super) fn standing(&self, node: NodeId) -> Result<Standing, Refusal> {
        let record = self.node(node).ok_or(Refusal::NodeUnknown { node })?;
        Ok(self.standings.get(&node).cloned().unwrap_or_else(|| Standing {
            policy: NodePolicy::default(),
            says: record.info.clone(),
            leaving_since_ms: None,
        }))
    }

    /// The nodes that went and do not come back by themselves: those that have been gone for longer than their kind is
    /// waited for, with the time since when. `now_ms` is the log's time.
    pub fn long_gone(&self, now_ms: u64) -> impl Iterator<Item = (NodeId, u64)> {
        let gone = self.nodes().filter(|(_, record)| record.status.is_gone());
        gone.filter_map(move |(id, record)| {
            let away_ms = now_ms.saturating_sub(record.changed_at_ms);
            let patience_ms = self.patience_ms(id, record.may_vote())?;
            (away_ms >= patience_ms).then_some((id, record.changed_at_ms))
        })
    }

    /// For how long a node of this kind is waited for; `None` where a person decides.
    fn patience_ms(&self, node: NodeId, may_vote: bool) -> Option<u64> {
        match (self.policy(node).ephemeral, may_vote) {
            (true, _) => Some(EPHEMERAL_PATIENCE_MS),
            (false, false) => Some(SCANNER_PATIENCE_MS),
            (false, true) => None,
        }
    }
}

/// How long a node is waited for that comes and goes. Ours: an orchestrator replaces one within minutes.
const EPHEMERAL_PATIENCE_MS: u64 = 10 * 60 * 1000;
/// How long a node is waited for that only scans. Ours: a day, so that one that is off over night stays known.
const SCANNER_PATIENCE_MS: u64 = 24 * 3600 * 1000;
