//! Who should vote: a pure look at the members and their health that names the next single change, or none.
//!
//! Learners come first and are promoted once they have caught up; never two changes at once; a half-done change is
//! finished before another begins. `voters` chooses the set, `removal` says what taking a node out would come to. What
//! time it is comes in as an argument: how long each member has been silent, and how long the leader has led.
//!
//! **Invariant: the number of voters that is aimed at is odd**, so that no voter is one whose loss costs and whose
//! presence buys nothing. `docs/decisions/0018` says why a cluster of two has one voter.

#[cfg(test)]
mod autopilot_test;
mod removal;
mod voters;

use std::collections::{BTreeMap, BTreeSet};

pub use self::removal::{Obstacle, Removal, removal};
use self::voters::{choose, is_safe};
use crate::id::NodeId;

/// What the autopilot aims at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// How many voters, as far as there are nodes for it. Odd.
    pub voters: usize,
    /// How many learners follow beside them.
    pub standbys: usize,
    /// A learner is caught up when it trails the leader by at most so many entries.
    pub lag_max: u64,
    /// A member is there when it answered within so many milliseconds.
    pub heard_within_ms: u64,
    /// A voter that was silent for so long is replaced.
    pub lost_after_ms: u64,
}

/// Silence after which a voter is replaced. Ours, as in Consul's autopilot: a node that restarts is back before.
pub const STABILISATION_MS: u64 = 10_000;

impl Default for Aim {
    /// Three voters and two standbys; the lag and contact limits follow Consul's autopilot (250 entries, contact
    /// within a few heartbeats).
    fn default() -> Self {
        Self { voters: 3, standbys: 2, lag_max: 250, heard_within_ms: 2_000, lost_after_ms: STABILISATION_MS }
    }
}

/// What the autopilot looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The leader, which is looking.
    pub leader: NodeId,
    /// For how long it has led, in milliseconds of its monotonic clock. Nobody is blamed for silence before that.
    pub led_ms: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// Who votes; of a change that is half done, both sets.
    pub voters: BTreeSet<NodeId>,
    /// Who follows.
    pub learners: BTreeSet<NodeId>,
    /// The voters that a half-done change leads to.
    pub becoming: Option<BTreeSet<NodeId>>,
    /// Nodes of the cluster that may vote.
    pub eligible: BTreeSet<NodeId>,
    /// Nodes of the cluster that only follow.
    pub followers: BTreeSet<NodeId>,
    /// Nodes of the cluster that stand outside the log.
    pub outside: BTreeSet<NodeId>,
    /// Nodes that are to leave; they are not among the eligible.
    pub leaving: BTreeSet<NodeId>,
    /// Nodes that are to vote before others.
    pub preferred: BTreeSet<NodeId>,
    /// Where each node is, as far as that is known.
    pub places: BTreeMap<NodeId, String>,
    /// The last entry each member has.
    pub matched: BTreeMap<NodeId, u64>,
    /// Milliseconds since each member answered.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// Members that the cluster holds for gone.
    pub failed: BTreeSet<NodeId>,
}

/// The next change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let a node follow.
    AddLearner(NodeId),
    /// Make exactly these vote.
    SetVoters(BTreeSet<NodeId>),
    /// Hand leadership to a voter, because the leader is not to vote any more.
    HandOver(NodeId),
    /// Take a node out that left the cluster.
    Remove(NodeId),
}

/// Names the next change, or none.
#[must_use]
pub fn next_step(view: &View, aim: &Aim) -> Option<Step> {
    if let Some(becoming) = &view.becoming {
        // A crash left both sets in force. Whether both have a majority cannot be told from their union; the way out is
        // tried until they have.
        return Some(Step::SetVoters(becoming.clone()));
    }
    if let Some(gone) = view.learners.iter().find(|id| !view.knows(**id)) {
        return Some(Step::Remove(*gone));
    }
    if !view.eligible.contains(&view.leader)
        && let Some(to) = view.successor(aim)
    {
        return Some(Step::HandOver(to));
    }
    let wanted = choose(view, aim);
    if wanted != view.voters && is_safe(view, aim, &wanted) {
        return Some(Step::SetVoters(wanted));
    }
    let newcomers = view.eligible.iter().chain(&view.followers).filter(|id| {
        let follows = view.voters.contains(id) || view.learners.contains(id);
        !follows && !view.leaving.contains(id)
    });
    // Those that are held for gone come last, but they come: one that is back without a log is heard of by nobody before it
    // follows.
    let next = newcomers.min_by_key(|id| view.failed.contains(id));
    next.filter(|_| view.learners.len() < aim.standbys).map(|id| Step::AddLearner(*id))
}

impl View {
    fn knows(&self, id: NodeId) -> bool {
        self.eligible.contains(&id) || self.followers.contains(&id)
    }

    /// Whether a member answers now.
    fn is_there(&self, aim: &Aim, id: NodeId) -> bool {
        id == self.leader || self.heard_ms.get(&id).is_some_and(|heard| *heard <= aim.heard_within_ms)
    }

    /// For how long this leader has not heard a member.
    fn silent_ms(&self, id: NodeId) -> u64 {
        if id == self.leader { 0 } else { self.heard_ms.get(&id).copied().unwrap_or(u64::MAX).min(self.led_ms) }
    }

    /// Whether a learner may become a voter: it has really answered, and has what the leader has.
    fn is_ready(&self, aim: &Aim, id: NodeId) -> bool {
        let caught_up = self.matched.get(&id).is_some_and(|at| at.saturating_add(aim.lag_max) >= self.last_index);
        caught_up && self.is_there(aim, id) && !self.failed.contains(&id)
    }

    /// The most caught-up voter that is there and stays one.
    fn successor(&self, aim: &Aim) -> Option<NodeId> {
        let others = self.voters.iter().filter(|id| **id != self.leader && self.eligible.contains(id));
        others
            .filter(|id| self.is_there(aim, **id))
            .max_by_key(|id| (self.matched.get(id), std::cmp::Reverse(**id)))
            .copied()
    }
}
