//! What a node knows of consensus at one moment, from the core's figures and from what it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::id::NodeId;
use crate::leadership::{Evidence, Leadership, Word, judge};
use crate::network::spawn_owned;
use crate::raft_types::{LogId, TypeConfig};
use crate::store::Openraft;

/// A node's part in elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads, and a quorum has answered it within its lease (the longest election time-out).
    Leader,
    /// It votes.
    Voter,
    /// It follows the log and does not vote.
    Learner,
    /// It is not in the membership.
    Outside,
}

/// What a node knows of consensus right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// Its part.
    pub role: Role,
    /// Whether a leader is known.
    pub leadership: Leadership,
    /// Who leads, where a leader is known.
    pub leader: Option<NodeId>,
    /// The longest election time-out: whoever was not heard for as long is not known to be there.
    pub election_max: Duration,
    /// The current term.
    pub term: u64,
    /// The last entry in its log.
    pub last_index: u64,
    /// The last entry known to be on a quorum.
    pub commit_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// The voters; those of both sets while membership changes.
    pub voters: BTreeSet<NodeId>,
    /// The voter sets, two while membership changes.
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// Whether a membership change is half done.
    pub joint: bool,
    /// The voters that a half-done change leads to.
    pub becoming: Option<BTreeSet<NodeId>>,
    /// The learners.
    pub learners: BTreeSet<NodeId>,
    /// Leader only: the last entry each member has.
    pub matched: BTreeMap<NodeId, u64>,
    /// Leader only: milliseconds since each member last answered.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// Leader only: milliseconds since a quorum last answered.
    pub quorum_heard_ms: Option<u64>,
    /// `None` while the core runs; otherwise why it stopped.
    pub stopped: Option<String>,
}

/// A leader that has not heard a quorum for its lease takes no proposals, though consensus keeps it in office until it
/// hears of another; whoever asks is told that nobody leads. The same for a follower whose leader fell silent.
pub(super) fn of(
    node: NodeId,
    election_max: Duration,
    metrics: &openraft::RaftMetrics<TypeConfig>,
    word: Option<Word>,
    now: Instant,
) -> RaftStatus {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let learners: BTreeSet<NodeId> = membership.learner_ids().collect();
    let quorum_heard_ms = metrics.last_quorum_acked.as_ref().map(elapsed_ms);
    let alone = voters.len() == 1 && voters.contains(&node);
    let evidence = Evidence {
        own: node,
        term: metrics.current_term,
        named: metrics.current_leader,
        alone,
        quorum: quorum_heard_ms.map(Duration::from_millis),
        word,
        now,
    };
    let leadership = judge(&evidence, election_max);
    let role = match metrics.state {
        openraft::ServerState::Leader if leadership.leader() == Some(node) => Role::Leader,
        _ if voters.contains(&node) => Role::Voter,
        _ if learners.contains(&node) => Role::Learner,
        _ => Role::Outside,
    };
    let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index);
    let mut heard_ms = BTreeMap::new();
    for (id, at) in metrics.heartbeat.iter().flatten() {
        if let Some(at) = at {
            heard_ms.insert(*id, elapsed_ms(at));
        }
    }
    RaftStatus {
        node,
        role,
        leadership,
        leader: leadership.leader(),
        election_max,
        term: metrics.current_term,
        last_index: metrics.last_log_index.unwrap_or(0),
        commit_index: index(&metrics.cluster_committed).max(index(&metrics.local_committed)),
        applied_index: index(&metrics.last_applied),
        voter_sets: membership.get_joint_config().clone(),
        joint: membership.get_joint_config().len() > 1,
        becoming: membership.get_joint_config().get(1..).and_then(<[_]>::last).cloned(),
        voters,
        learners,
        matched: metrics.replication.iter().flatten().map(|(id, matched)| (*id, index(matched))).collect(),
        heard_ms,
        quorum_heard_ms,
        stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

/// Counts changes of what [`Raft::status`](super::Raft::status) tells of role, leader, term and membership.
///
/// The whole picture is followed, which is what `status` shows. The core has a smaller one of what changes rarely, but tells that first, and
/// it lacks that a quorum answered, without which a new leader takes no proposals: who looked at that and then at the status would see
/// what was before, and wait for a change that has come already.
pub(super) fn watch_changes(
    raft: &Openraft,
    election_max: Duration,
) -> (watch::Sender<u64>, watch::Receiver<u64>, Arc<AbortOnDropHandle<()>>) {
    let (changed, changes) = watch::channel(0u64);
    let count = changed.clone();
    let mut core = raft.metrics();
    let watching = spawn_owned(async move {
        let mut told = standing(&core.borrow_watched(), election_max);
        while core.changed().await.is_ok() {
            let now = standing(&core.borrow_watched(), election_max);
            if now != told {
                told = now;
                count.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
        // The core has ended: whoever waits should look now.
        count.send_modify(|count| *count = count.wrapping_add(1));
    });
    (changed, changes, Arc::new(AbortOnDropHandle::new(watching)))
}

/// What a node's standing is made of: two that are alike give the same role, leader, term and membership.
fn standing(metrics: &openraft::RaftMetrics<TypeConfig>, election_max: Duration) -> impl PartialEq + Send + use<> {
    let is_heard =
        metrics.last_quorum_acked.as_ref().is_some_and(|at| Duration::from_millis(elapsed_ms(at)) <= election_max);
    let membership = *metrics.membership_config.log_id();
    (metrics.vote, metrics.state, metrics.current_leader, membership, is_heard)
}

fn elapsed_ms(at: &openraft::alias::SerdeInstantOf<TypeConfig>) -> u64 {
    u64::try_from(at.into_inner().elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use openraft::RaftMetrics;
    use openraft::alias::InstantOf;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_makes_a_leader_known_changes_a_nodes_standing_and_an_entry_does_not() {
        let before = RaftMetrics::<TypeConfig>::new_initial(1);
        let entry = RaftMetrics { last_log_index: Some(7), ..before.clone() };
        assert!(standing(&entry, LIMIT) == standing(&before, LIMIT));
        let named = RaftMetrics { current_leader: Some(1), ..before.clone() };
        assert!(standing(&named, LIMIT) != standing(&before, LIMIT));
        // A new leader takes proposals once a quorum has answered it, which changes nothing else.
        let answered = RaftMetrics { last_quorum_acked: Some(InstantOf::<TypeConfig>::now().into()), ..named.clone() };
        assert!(standing(&answered, LIMIT) != standing(&named, LIMIT));
        let again = RaftMetrics { last_quorum_acked: Some(InstantOf::<TypeConfig>::now().into()), ..named.clone() };
        assert!(standing(&again, LIMIT) == standing(&answered, LIMIT));
    }
}
