//! Keeps nodes from voting, and takes them out, one after the other, as the leader: two voters that give up their seats at once each
//! count on the other, and the second would be left as the only voter, kept from voting.
//!
//! Whichever node is asked for it, it comes here, and what is seen here holds until it is in the log: nobody else's demotion or
//! removal comes between.

use std::time::{Duration, Instant};

use pentora_raft::command::{Command, NodeRole, NotedRetirement, PolicyChange, Voting};
use pentora_raft::{Applied, NodeId, ProposeError, Raft};

use super::WorkSessions;
use super::members::plan_removal;
use crate::rpc::calls::Answer;
use crate::rpc::no_majority::name_of;

/// How long those before this one are waited for, until nobody votes who is not to.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at who votes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whether a node of which this is said votes no more.
#[must_use]
pub fn is_demotion(change: &PolicyChange) -> bool {
    change.voting == Some(Voting::Never) || change.ephemeral == Some(true) || change.role == Some(NodeRole::Scanner)
}

/// Changes the cluster's word about `node` so that it votes no more, where its seat can be given up: `Applied`, or `Removal` with
/// what is in the way, `Unavailable` where another demotion or removal is not done in time, `NotLeader`.
pub async fn demote(raft: &Raft, sessions: &WorkSessions, node: NodeId, change: PolicyChange) -> Answer {
    give_up(raft, sessions, node, Command::SetPolicy { node, change: Box::new(change) }).await
}

/// Has `node` leave for good, under the same conditions and with the same answers.
pub async fn retire(raft: &Raft, sessions: &WorkSessions, node: NodeId) -> Answer {
    give_up(raft, sessions, node, Command::Retire { node }).await
}

/// The same, and the audit log has what came of it.
pub async fn retire_noted(raft: &Raft, sessions: &WorkSessions, noted: NotedRetirement) -> Answer {
    give_up(raft, sessions, noted.node, Command::RetireNoted(Box::new(noted))).await
}

async fn give_up(raft: &Raft, sessions: &WorkSessions, node: NodeId, command: Command) -> Answer {
    let end = Instant::now() + SETTLED_WITHIN;
    let Ok(_alone) = tokio::time::timeout(SETTLED_WITHIN, sessions.demoting()).await else {
        let why = "another node is being taken out, or kept from voting; try again once that is done";
        return Answer::Unavailable(why.to_owned());
    };
    let not_leader = || Answer::NotLeader { leader: raft.status().leader.filter(|leader| *leader != raft.node()) };
    // What a leader before this one decided is applied here by then.
    if raft.ensure_linearizable().await.is_err() {
        return not_leader();
    }
    while let Some(unwanted) = unwanted_beside(raft, node) {
        if Instant::now() >= end {
            let why = format!("{unwanted} still votes and is not to any more; try again once that is done");
            return Answer::Unavailable(why);
        }
        raft.status_changed(LOOK_AGAIN).await;
    }
    match plan_removal(raft, sessions, node) {
        None => return not_leader(),
        Some(Err(obstacle)) => return Answer::Removal(Err(obstacle)),
        Some(Ok(_)) => {}
    }
    match raft.propose(command).await {
        Ok(Applied { index, response }) => Answer::Applied { index, response },
        Err(ProposeError::NotLeader { leader }) => Answer::NotLeader { leader },
        Err(error) => Answer::Unavailable(error.to_string()),
    }
}

/// A voter that is not to vote, by its name, other than a node that is asked about once more. A node without a seat, and without a
/// claim to one, waits for nobody.
fn unwanted_beside(raft: &Raft, node: NodeId) -> Option<String> {
    let voters = raft.status().voters;
    raft.read(|state| {
        let has_seat = voters.contains(&node) || state.may_vote(node);
        let is_unwanted = |voter: &&NodeId| **voter != node && !state.may_vote(**voter);
        voters.iter().filter(|_| has_seat).find(is_unwanted).map(|voter| name_of(state, *voter))
    })
}
