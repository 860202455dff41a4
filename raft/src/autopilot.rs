//! Who should vote: a pure look at the members and their health that names the next single change, or none.
//!
//! Learners come first and are promoted once they have caught up; never two changes at once; a half-done change is
//! finished before another begins; the quorum never depends on a member that is not healthy.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;

/// What the autopilot aims at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// How many voters, as far as there are nodes for it. Odd.
    pub voters: usize,
    /// How many learners stand by to replace a voter.
    pub standbys: usize,
    /// A learner is caught up when it trails the leader by at most so many entries.
    pub lag_max: u64,
    /// A member is healthy when it answered within so many milliseconds.
    pub heard_within_ms: u64,
}

impl Default for Aim {
    /// Three voters and two standbys; the lag and contact limits follow Consul's autopilot (250 entries, contact
    /// within a few heartbeats).
    fn default() -> Self {
        Self { voters: 3, standbys: 2, lag_max: 250, heard_within_ms: 2_000 }
    }
}

/// What the autopilot looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The leader, which is looking.
    pub leader: NodeId,
    /// The last entry of its log.
    pub last_index: u64,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who follows.
    pub learners: BTreeSet<NodeId>,
    /// Whether a change is half done.
    pub joint: bool,
    /// Nodes of the cluster that may vote.
    pub eligible: BTreeSet<NodeId>,
    /// Nodes of the cluster that only follow.
    pub followers: BTreeSet<NodeId>,
    /// The last entry each member has.
    pub matched: BTreeMap<NodeId, u64>,
    /// Milliseconds since each member answered.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// Members that the cluster holds for failed.
    pub failed: BTreeSet<NodeId>,
}

/// The next change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let a node follow.
    AddLearner(NodeId),
    /// Make exactly these vote.
    SetVoters(BTreeSet<NodeId>),
    /// Take a node out that left the cluster.
    Remove(NodeId),
}

/// Names the next change, or none.
#[must_use]
pub fn next_step(view: &View, aim: &Aim) -> Option<Step> {
    if view.joint {
        let known: BTreeSet<NodeId> = view.voters.iter().copied().filter(|id| view.eligible.contains(id)).collect();
        return (!known.is_empty()).then_some(Step::SetVoters(known));
    }
    let known = |id: &NodeId| view.eligible.contains(id) || view.followers.contains(id);
    if let Some(gone) = view.learners.iter().find(|id| !known(id)) {
        return Some(Step::Remove(*gone));
    }
    if let Some(gone) = view.voters.iter().find(|id| !known(id) && **id != view.leader) {
        return Some(Step::SetVoters(without(&view.voters, *gone)));
    }
    if let Some(surplus) = surplus(view, aim) {
        return Some(Step::SetVoters(without(&view.voters, surplus)));
    }
    if let Some(step) = promote_or_replace(view, aim) {
        return Some(step);
    }
    let members = view.voters.len() + view.learners.len();
    let room = view.learners.len() < aim.standbys || members < aim.voters;
    let newcomer = view
        .eligible
        .iter()
        .chain(&view.followers)
        .find(|id| !view.voters.contains(id) && !view.learners.contains(id) && !view.failed.contains(id));
    newcomer.filter(|_| room).map(|id| Step::AddLearner(*id))
}

/// The voter to do without where there are more than aimed at: a replacement whose leader died in the middle of it ends
/// with the lost voter and its successor both voting. One that failed goes first, then one that is not healthy, then
/// the youngest; the leader never.
fn surplus(view: &View, aim: &Aim) -> Option<NodeId> {
    if view.voters.len() <= aim.voters {
        return None;
    }
    let others = view.voters.iter().copied().filter(|id| *id != view.leader);
    others.max_by_key(|id| (view.failed.contains(id), !healthy(view, aim, *id), *id))
}

fn promote_or_replace(view: &View, aim: &Aim) -> Option<Step> {
    let ready = view.learners.iter().find(|id| view.eligible.contains(id) && healthy(view, aim, **id))?;
    // An even number of voters tolerates no more failures than one fewer, yet a second voter is worth having: without
    // it the log has one copy. So voters grow one by one up to the aim.
    if view.voters.len() < aim.voters {
        let mut voters = view.voters.clone();
        voters.insert(*ready);
        return Some(Step::SetVoters(voters));
    }
    let lost = view.voters.iter().find(|id| view.failed.contains(id) && **id != view.leader)?;
    let mut voters = without(&view.voters, *lost);
    voters.insert(*ready);
    Some(Step::SetVoters(voters))
}

fn healthy(view: &View, aim: &Aim, id: NodeId) -> bool {
    let caught_up = view.matched.get(&id).is_some_and(|matched| matched.saturating_add(aim.lag_max) >= view.last_index);
    let heard = view.heard_ms.get(&id).is_some_and(|heard| *heard <= aim.heard_within_ms);
    caught_up && heard && !view.failed.contains(&id)
}

fn without(voters: &BTreeSet<NodeId>, gone: NodeId) -> BTreeSet<NodeId> {
    voters.iter().copied().filter(|id| *id != gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(voters: &[u64], learners: &[u64], eligible: &[u64]) -> View {
        let members: Vec<u64> = voters.iter().chain(learners).copied().collect();
        View {
            leader: 1,
            last_index: 1_000,
            voters: voters.iter().copied().collect(),
            learners: learners.iter().copied().collect(),
            eligible: eligible.iter().copied().collect(),
            matched: members.iter().map(|id| (*id, 1_000)).collect(),
            heard_ms: members.iter().map(|id| (*id, 100)).collect(),
            ..View::default()
        }
    }

    fn voters(ids: &[u64]) -> Step {
        Step::SetVoters(ids.iter().copied().collect())
    }

    #[test]
    fn a_new_node_follows_before_it_votes() {
        let aim = Aim::default();
        assert_eq!(next_step(&view(&[1], &[], &[1, 5]), &aim), Some(Step::AddLearner(5)));
        assert_eq!(next_step(&view(&[1], &[5], &[1, 5]), &aim), Some(voters(&[1, 5])));
    }

    #[test]
    fn a_learner_that_trails_or_is_silent_is_not_promoted() {
        let aim = Aim::default();
        let mut behind = view(&[1], &[5], &[1, 5]);
        behind.matched.insert(5, 700);
        assert_eq!(next_step(&behind, &aim), None);
        let mut silent = view(&[1], &[5], &[1, 5]);
        silent.heard_ms.insert(5, 9_000);
        assert_eq!(next_step(&silent, &aim), None);
    }

    #[test]
    fn voters_stop_at_three_and_two_stand_by() {
        let aim = Aim::default();
        assert_eq!(next_step(&view(&[1, 2, 3], &[4], &[1, 2, 3, 4, 5, 6]), &aim), Some(Step::AddLearner(5)));
        assert_eq!(next_step(&view(&[1, 2, 3], &[4, 5], &[1, 2, 3, 4, 5, 6]), &aim), None);
    }

    #[test]
    fn a_failed_voter_is_replaced_by_a_standby_and_the_leader_never() {
        let aim = Aim::default();
        let mut lost = view(&[1, 2, 3], &[4], &[1, 2, 3, 4]);
        lost.failed = BTreeSet::from([1, 3]);
        assert_eq!(next_step(&lost, &aim), Some(voters(&[1, 2, 4])));
    }

    #[test]
    fn a_replacement_that_was_interrupted_ends_with_as_many_voters_as_aimed_at() {
        let aim = Aim::default();
        let mut four = view(&[1, 2, 3, 4], &[5], &[1, 2, 3, 4, 5]);
        four.failed = BTreeSet::from([2]);
        assert_eq!(next_step(&four, &aim), Some(voters(&[1, 3, 4])), "the lost one goes");
        four.failed.clear();
        four.heard_ms.insert(3, 60_000);
        assert_eq!(next_step(&four, &aim), Some(voters(&[1, 2, 4])), "one that is silent goes");
        four.heard_ms.insert(3, 10);
        assert_eq!(next_step(&four, &aim), Some(voters(&[1, 2, 3])), "the youngest goes");
        let leader_is_youngest = View { leader: 4, ..four };
        assert_eq!(next_step(&leader_is_youngest, &aim), Some(voters(&[1, 2, 4])), "the leader stays");
    }

    #[test]
    fn a_removed_node_leaves_and_a_half_done_change_is_finished_first() {
        let aim = Aim::default();
        assert_eq!(next_step(&view(&[1, 2], &[9], &[1, 2]), &aim), Some(Step::Remove(9)));
        assert_eq!(next_step(&view(&[1, 2, 9], &[], &[1, 2]), &aim), Some(voters(&[1, 2])));
        let mut joint = view(&[1, 2], &[7], &[1, 2, 7]);
        joint.joint = true;
        assert_eq!(next_step(&joint, &aim), Some(voters(&[1, 2])));
    }
}
