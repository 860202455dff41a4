//! What members of an earlier release do not know is not asked of them, and whose word counts after a recovery.

use std::collections::BTreeSet;

use pentora_raft::state::Recovery;
use pentora_raft::version::SECOND;
use pentora_raft::{Digest, RecoveryId};

use super::*;
use crate::join::Membership;
use crate::rpc::calls::Request;

/// What a member of an earlier release refused and logged every ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_asked_what_it_lacks_once_the_log_says_that_all_know_the_question() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let node = second.raft.node();
    second.exchange.set_lacking(BTreeSet::from([Digest::of(b"x")]));
    assert!(!Request::Lacking.is_known_at(first.raft.read(State::log_version)));
    assert_eq!(first.exchange.lacking_of(node).await, None, "it may be of an earlier release");
    first.proposer.propose(Command::RaiseLog { version: SECOND }).await.unwrap();
    let told = first.exchange.lacking_of(node).await.expect("it is asked now");
    assert_eq!((told.chunks, told.in_all), (vec![Digest::of(b"x")], 1));
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_a_recovery_took_out_is_told_by_which_it_is_out() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let (node, peer) = (second.raft.node(), first.mesh.peer_id());
    let id = RecoveryId([7; 16]);
    first.proposer.propose(Command::RaiseLog { version: SECOND }).await.unwrap();
    let recovery = Recovery { id, node: FIRST_NODE, taken_out: Vec::new() };
    first.proposer.propose(Command::Recover(Box::new(recovery))).await.unwrap();
    let asked =
        async |recoveries: Vec<RecoveryId>| join::ask_membership(&second.mesh, peer, (node, 0), Some(recoveries)).await;
    assert_eq!(asked(Vec::new()).await, Ok(Membership::In), "it is none of those that were taken out");
    first.proposer.propose(Command::Retire { node }).await.unwrap();
    while first.raft.read(|state| state.node(node).is_some()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked(Vec::new()).await, Ok(Membership::TakenOut), "its own cluster may go on");
    assert_eq!(asked(vec![RecoveryId([8; 16])]).await, Ok(Membership::TakenOut), "by a recovery of its own");
    assert_eq!(asked(vec![id]).await, Ok(Membership::Removed), "from the cluster that it is of");
    second.close().await;
    first.close().await;
}
