//! Who is let in by a token and at what cost, and how a node learns that it is out.

use super::*;
use crate::app::removed;
use crate::join::Membership;

/// A node learns of its removal within this.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

async fn refused(mesh: &Mesh, token: &JoinToken) -> (String, String) {
    match join::request_admission(mesh, first_address(), token, said("x", mesh)).await {
        Err(JoinError::Refused { code, message }) => (code, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_costs_no_entry_of_the_log_and_after_five_its_address_waits() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let token = cluster.token(&first, 1).await;
    let before = first.raft.status().last_index;
    let (mesh, _incoming) = cluster.mesh(5);
    for _ in 0..5 {
        assert_eq!(refused(&mesh, &token.guessed()).await.0, "token_wrong");
    }
    let (code, message) = refused(&mesh, &token).await;
    assert!(code == "too_many_tries" && message.contains("wait"), "{code}: {message}");
    let entries = first.raft.status().last_index - before;
    let admissions = first.raft.read(|state| state.nodes().count());
    assert_eq!(admissions, 1);
    assert!(entries < 5, "{entries} entries for five wrong tokens");
    let (other, _incoming) = cluster.mesh(6);
    assert!(
        join::request_admission(&other, first_address(), &token, said("y", &other)).await.is_ok(),
        "others may try"
    );
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_cut_off_and_learns_why() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let (node, peer) = (second.raft.node(), first.mesh.peer_id());
    assert_eq!(join::ask_membership(&second.mesh, peer, (node, 0), None).await, Ok(Membership::In));
    let applied = *first.raft.watch_applied().borrow();
    assert_eq!(join::ask_membership(&second.mesh, peer, (node, applied), None).await, Ok(Membership::In));
    let later = join::ask_membership(&second.mesh, peer, (node, applied + 1_000_000), None).await;
    assert_eq!(later, Ok(Membership::Unknown), "it has not read so far");
    let noticed = removed::noticed(second.raft.clone(), second.mesh.clone(), Vec::new(), 0);
    let noticed = second.tasks.spawn(noticed);
    first.proposer.propose(Command::Retire { node }).await.unwrap();
    tokio::time::timeout(NOTICED_WITHIN, noticed).await.expect("it does not notice").unwrap();
    for _ in 0..100 {
        if second.mesh.open(peer, Class::Admin).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(second.mesh.open(peer, Class::Admin).await.is_err(), "the first still lets it in");
    assert_eq!(
        join::ask_membership(&second.mesh, peer, (node, 0), None).await,
        Ok(Membership::Removed),
        "and says why"
    );
    // One that was away while it was removed starts and asks, and its own log says nothing of it.
    let returned = removed::noticed(second.raft.clone(), second.mesh.clone(), Vec::new(), 0);
    assert!(tokio::time::timeout(NOTICED_WITHIN, returned).await.is_ok(), "after a restart");
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_voter_is_not_removed_and_a_follower_is_told_so() {
    let cluster = TestCluster::new();
    let first = cluster.first().await;
    let second = cluster.second(&first).await;
    let (calls, peer) = second.proposer.reach(FIRST_NODE).unwrap();
    let plan = calls.ask(peer, &Request::PlanRemoval(FIRST_NODE), Duration::from_secs(5)).await.unwrap();
    let Answer::Removal(Err(obstacle)) = plan else { panic!("{plan:?}") };
    assert!(obstacle.to_string().contains("only voter"), "{obstacle}");
    second.close().await;
    first.close().await;
}
