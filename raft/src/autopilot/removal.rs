//! What taking a node out for good would come to, or why it must not be done now.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::voters::{choose, is_safe};
use super::{Aim, View};
use crate::id::NodeId;

/// What a removal comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Who leads from then on, where it is the leader that goes.
    pub hands_over_to: Option<NodeId>,
    /// Who votes now.
    pub voters: BTreeSet<NodeId>,
    /// Who votes from then on.
    pub voters_after: BTreeSet<NodeId>,
}

/// Why a node must not be removed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Obstacle {
    /// It is not in the cluster.
    #[error("it is not in the cluster")]
    Unknown,
    /// There is no other.
    #[error("it is the only node of the cluster; stop it and delete its data directory instead")]
    LastNode,
    /// Nobody else has the whole log by right.
    #[error(
        "it is the only voter: without it nothing can be decided. Join nodes until there are three members besides \
         those that only scan; then three vote and this one can go"
    )]
    OnlyVoter,
    /// No other voter is there.
    #[error("it leads, and no other voter answers that could take over; start the voters that are down first")]
    NobodyTakesOver,
    /// Too few voters are there to agree on it.
    #[error("only {there} of {voters} voters answer, so the change would stop writes; start the others first")]
    QuorumAtRisk {
        /// How many answer.
        there: usize,
        /// How many there are.
        voters: usize,
    },
}

/// Looks ahead at taking `node` out.
///
/// # Errors
/// [`Obstacle`], with what to do about it.
pub fn removal(view: &View, aim: &Aim, node: NodeId) -> Result<Removal, Obstacle> {
    if !view.knows(node)
        && !view.outside.contains(&node)
        && !view.voters.contains(&node)
        && !view.learners.contains(&node)
    {
        return Err(Obstacle::Unknown);
    }
    if view.eligible.iter().chain(&view.followers).chain(&view.outside).all(|id| *id == node) {
        return Err(Obstacle::LastNode);
    }
    if view.outside.contains(&node) && !view.voters.contains(&node) {
        return Ok(Removal { hands_over_to: None, voters: view.voters.clone(), voters_after: view.voters.clone() });
    }
    let mut after = view.clone();
    after.eligible.remove(&node);
    after.followers.insert(node);
    after.leaving.insert(node);
    let mut hands_over_to = None;
    if node == view.leader {
        let to = after.successor(aim);
        let alone = view.voters.len() == 1;
        let to = to.ok_or(if alone { Obstacle::OnlyVoter } else { Obstacle::NobodyTakesOver })?;
        after.leader = to;
        after.matched.insert(node, view.last_index);
        after.heard_ms.insert(node, 0);
        hands_over_to = Some(to);
    }
    let there = view.voters.iter().filter(|id| view.is_there(aim, **id)).count();
    if !view.voters.contains(&node) {
        return Ok(Removal { hands_over_to, voters: view.voters.clone(), voters_after: view.voters.clone() });
    }
    let voters_after = choose(&after, aim);
    if voters_after.contains(&node) || !is_safe(&after, aim, &voters_after) {
        return Err(Obstacle::QuorumAtRisk { there, voters: view.voters.len() });
    }
    Ok(Removal { hands_over_to, voters: view.voters.clone(), voters_after })
}
