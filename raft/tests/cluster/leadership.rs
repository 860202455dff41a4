//! Who leads: forming, failing over, handing over, and not being disturbed.

use std::time::{Duration, Instant};

use pentora_raft::leadership::margin;
use pentora_raft::{Config, Leadership, Profile, ProposeError, Role};

use crate::harness::{Cluster, Kept, is_no_quorum, lan, set, was_written, write};

const ALL: [u64; 3] = [1, 2, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_and_apply_every_proposal_alike() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    for number in 0..50 {
        cluster.raft(1).propose(write(number)).await.unwrap();
    }
    cluster.all_alike(&ALL).await;
    let status = cluster.raft(1).status();
    assert_eq!((status.voters, status.joint), (set(&ALL), false));
    assert!((0..50).all(|number| was_written(&cluster.state(3), number)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_to_a_follower_or_learner_names_the_leader_and_changes_nothing() {
    let cluster = Cluster::formed(3, 2, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    for node in [2, 3] {
        let error = cluster.raft(node).propose(write(7)).await.unwrap_err();
        assert_eq!(error, ProposeError::NotLeader { leader: Some(1) });
    }
    assert_eq!(cluster.raft(2).status().role, Role::Voter);
    assert_eq!(cluster.raft(3).status().role, Role::Learner);
    assert!(ALL.iter().all(|node| !was_written(&cluster.state(*node), 7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_steps_down_and_catches_up() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.raft(1).propose(write(1)).await.unwrap();
    cluster.all_alike(&ALL).await;
    cluster.network.isolate(1);
    let cut = Instant::now();
    let old = async {
        let begun = Instant::now();
        (cluster.raft(1).propose(write(2)).await, begun.elapsed())
    };
    let command = write(3);
    let new = cluster.propose_among(&[2, 3], &command);
    let ((refused, waited), (leader, _)) = tokio::join!(old, new);
    println!("a write went through node {leader} {} ms after the leader was cut off", cut.elapsed().as_millis());
    assert!(is_no_quorum(&refused.unwrap_err()));
    assert!(waited < lan().propose_timeout + Duration::from_millis(500), "it waited {waited:?}");
    cluster.until("the old leader has stepped down", || cluster.raft(1).status().role != Role::Leader).await;
    let refused = cluster.raft(1).propose(write(4)).await.unwrap_err();
    assert!(is_no_quorum(&refused), "{refused}");
    cluster.raft(leader).propose(write(5)).await.unwrap();
    cluster.network.heal();
    cluster.all_alike(&[leader, 1, 5 - leader]).await;
    let state = cluster.state(1);
    assert_eq!([1, 2, 3, 4, 5].map(|number| was_written(&state, number)), [true, false, true, false, true]);
    assert!(cluster.raft(1).status().stopped.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_of_three_knows_no_leader_and_keeps_on_saying_whom_it_heard_last() {
    let mut cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    let known = cluster.raft(3).leadership();
    assert!(matches!(known, Leadership::Known { leader: 1, age } if age < lan().profile.election_max()), "{known:?}");
    cluster.stop(1).await;
    cluster.stop(2).await;
    let stopped = Instant::now();
    cluster.until("the survivor knows no leader", || cluster.raft(3).leadership().leader().is_none()).await;
    println!("the survivor knew no leader after {} ms", stopped.elapsed().as_millis());
    // It stands again and again, and never takes the dead one for a leader.
    while stopped.elapsed() < Duration::from_secs(4) {
        let leadership = cluster.raft(3).leadership();
        assert!(matches!(leadership, Leadership::Lost { last: Some(1), since: Some(_) }), "{leadership:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_hears_a_lost_voter_no_more_within_an_election_and_the_margin_shrinks() {
    let mut cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    let margin_at_leader = |cluster: &Cluster| {
        let status = cluster.raft(1).status();
        let limit = status.election_max.as_millis();
        margin(&status.voter_sets, |voter| {
            voter == 1 || status.heard_ms.get(&voter).is_some_and(|heard| u128::from(*heard) <= limit)
        })
    };
    cluster.until("both followers are heard", || margin_at_leader(&cluster) == 1).await;
    cluster.stop(2).await;
    let stopped = Instant::now();
    cluster.until("one more loss would stop writes", || margin_at_leader(&cluster) == 0).await;
    println!("the margin was right after {} ms", stopped.elapsed().as_millis());
    assert_eq!(cluster.raft(1).status().role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_when_asked_again_and_again() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    let mut took = Vec::new();
    for turn in 0..9 {
        let (from, to) = (turn % 3 + 1, (turn + 1) % 3 + 1);
        assert_eq!(cluster.leader_among(&ALL).await, from);
        let term = cluster.raft(from).status().term;
        let begun = Instant::now();
        cluster.raft(from).transfer_leader(to).await.unwrap();
        let (leader, _) = cluster.propose_among(&[to], &write(turn)).await;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_eq!((leader, cluster.raft(to).status().term), (to, term + 1), "one election, won by the one asked");
    }
    took.sort_by(f64::total_cmp);
    println!("transfer until a write is applied: p50 {:.1} ms, longest {:.1} ms", took[4], took[8]);
    cluster.all_alike(&[cluster.leader_among(&ALL).await, 1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_of_an_earlier_term_that_comes_when_its_leader_leads_again_is_refused() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    assert_eq!(cluster.leader_among(&ALL).await, 1);
    let term = cluster.raft(1).status().term;
    for (from, to) in [(1, 2), (2, 1)] {
        cluster.raft(from).transfer_leader(to).await.unwrap();
        cluster.propose_among(&[to], &write(to)).await;
    }
    let now = cluster.raft(1).status();
    assert!((now.leader, now.term) == (Some(1), term + 2), "{now:?}");
    let late = cluster.raft(1).propose_in(term, write(7)).await;
    assert!(matches!(late, Err(ProposeError::NotLeader { .. })), "{late:?}");
    cluster.raft(1).propose_in(now.term, write(8)).await.unwrap();
    cluster.all_alike(&ALL).await;
    assert_eq!([7, 8].map(|number| was_written(&cluster.state(2), number)), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_cut_off_does_not_disturb_the_leader_when_it_is_back() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    let term = cluster.raft(1).status().term;
    cluster.network.isolate(3);
    // Long enough for the cut-off node to stand several times, if it would.
    let until = Instant::now() + Duration::from_secs(4);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        cluster.raft(1).propose(write(number)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.network.heal();
    cluster.all_alike(&ALL).await;
    for node in ALL {
        let status = cluster.raft(node).status();
        assert_eq!((status.term, status.leader), (term, Some(1)), "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_but_hears_nobody_is_replaced() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    let cut = Instant::now();
    cluster.network.lose(2, 1);
    cluster.network.lose(3, 1);
    let (leader, _) = cluster.propose_among(&[2, 3], &write(1)).await;
    println!("a deaf leader is replaced by node {leader} after {} ms", cut.elapsed().as_millis());
    assert_ne!(cluster.raft(1).status().role, Role::Leader);
    cluster.network.heal();
    cluster.all_alike(&[leader, 1, 5 - leader]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_have_forgotten_their_logs_elect_nobody_before_they_have_them_again() {
    let config = Config { votes_from: u64::MAX, ..lan() };
    let cluster = Cluster::formed(3, 3, config, Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    cluster.network.isolate(1);
    let (cut, watched) = (Instant::now(), 3 * Profile::Lan.election_max());
    while cut.elapsed() < watched {
        for node in [2, 3] {
            assert_ne!(cluster.raft(node).status().role, Role::Leader, "node {node} leads");
            cluster.raft(node).status_changed(watched / 20).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_frames_are_swallowed_catches_up_when_they_pass_again() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.all_alike(&ALL).await;
    cluster.network.lose(1, 3);
    cluster.network.lose(3, 1);
    for number in 0..20 {
        cluster.raft(1).propose(write(number)).await.unwrap();
    }
    cluster.network.heal();
    let healed = Instant::now();
    cluster.all_alike(&ALL).await;
    println!("whole again {} ms after frames pass", healed.elapsed().as_millis());
    assert_eq!(cluster.raft(1).status().role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linearizable_read_sees_every_write_before_it_and_fails_without_a_quorum() {
    let cluster = Cluster::formed(3, 3, lan(), Kept::InMemory).await;
    cluster.raft(1).propose(write(1)).await.unwrap();
    cluster.raft(1).ensure_linearizable().await.unwrap();
    assert!(was_written(&cluster.state(1), 1));
    let elsewhere = cluster.raft(2).ensure_linearizable().await.unwrap_err();
    assert_eq!(elsewhere, ProposeError::NotLeader { leader: Some(1) });
    cluster.network.isolate(1);
    let alone = cluster.raft(1).ensure_linearizable().await.unwrap_err();
    assert!(is_no_quorum(&alone), "{alone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_replaced_and_the_one_taken_out_stays_out() {
    let cluster = Cluster::formed(4, 3, lan(), Kept::InMemory).await;
    cluster.raft(1).change_voters(set(&[1, 2, 4])).await.unwrap();
    cluster.raft(1).propose(write(1)).await.unwrap();
    cluster.all_alike(&[1, 2, 3, 4]).await;
    assert_eq!(cluster.raft(1).status().learners, set(&[3]));
    cluster.raft(1).remove_learner(3).await.unwrap();
    cluster.raft(1).propose(write(2)).await.unwrap();
    cluster.all_alike(&[1, 2, 4]).await;
    let status = cluster.raft(1).status();
    assert_eq!((status.voters, status.learners), (set(&[1, 2, 4]), set(&[])));
    cluster.network.isolate(1);
    cluster.network.isolate(3);
    let (leader, _) = cluster.propose_among(&[2, 4], &write(3)).await;
    assert_ne!(leader, 3);
}
