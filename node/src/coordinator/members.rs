//! Carries out the autopilot's next step: who follows the log, who votes.

use pentora_raft::autopilot::{Aim, Step, View, next_step};
use pentora_raft::state::NodeStatus;
use pentora_raft::{NodeId, Raft};

/// Every node follows the log for now, so that each answers reads by itself; see `docs/decisions/0004`.
const STANDBYS: usize = 64;

/// Looks at the members and makes at most one change.
pub(super) async fn step(raft: &Raft) {
    let view = view_of(raft);
    let aim = Aim { standbys: STANDBYS, ..Aim::default() };
    let Some(step) = next_step(&view, &aim) else { return };
    let outcome = match &step {
        Step::AddLearner(node) => match peer_of(raft, *node) {
            Some(peer) => raft.add_learner(*node, &peer).await,
            None => return,
        },
        Step::SetVoters(voters) => raft.change_voters(voters.clone()).await,
        Step::Remove(node) => raft.remove_learner(*node).await,
    };
    match outcome {
        Ok(()) => tracing::info!(?step, "membership changed"),
        Err(error) => tracing::debug!(?step, %error, "membership not changed; the next round looks again"),
    }
}

fn view_of(raft: &Raft) -> View {
    let status = raft.status();
    let mut view = View {
        leader: status.node,
        last_index: status.last_index,
        voters: status.voters,
        learners: status.learners,
        joint: status.joint,
        matched: status.matched,
        heard_ms: status.heard_ms,
        ..View::default()
    };
    raft.read(|state| {
        for (id, node) in state.nodes() {
            if node.may_vote() {
                view.eligible.insert(id)
            } else {
                view.followers.insert(id)
            };
            if node.status == NodeStatus::Failed {
                view.failed.insert(id);
            }
        }
    });
    view
}

fn peer_of(raft: &Raft, node: NodeId) -> Option<String> {
    raft.read(|state| state.node(node).map(|record| record.info.peer.clone()))
}
