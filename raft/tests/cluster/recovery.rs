//! A node that lost its majority for good goes on alone with all that it had; a learner that lost its log gets it again.

use std::time::Duration;

use pentora_raft::command::{Command, NewToken, NodeRole};
use pentora_raft::recovery::{self, RecoveryError};
use pentora_raft::{Digest, RecoveryId, Response, Role, TokenId};

use super::harness::{Cluster, Kept, job, job_id, lan, node_info, was_written, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_of_three_goes_on_alone_with_its_jobs_and_without_the_others() {
    let mut cluster = Cluster::formed(3, 3, lan(), Kept::OnDisk).await;
    let leader = cluster.leader_among(&[1, 2, 3]).await;
    let (_, submitted) = cluster.propose_among(&[leader], &job(1, 100)).await;
    let kept = job_id(&submitted.response);
    let secret = Digest::of(b"secret");
    let token = TokenId([7; 8]);
    let new = NewToken {
        token,
        secret,
        name: "n".into(),
        ttl_ms: 3_600_000,
        uses: 1,
        role: NodeRole::Auto,
        region: None,
        networks: None,
    };
    cluster.propose_among(&[leader], &Command::CreateToken(new)).await;
    let join = Command::Join { token, secret, info: node_info("n2") };
    let (_, joined) = cluster.propose_among(&[leader], &join).await;
    let Response::Joined { node: other } = joined.response else { panic!("{joined:?}") };
    cluster.propose_among(&[leader], &write(5)).await;
    cluster.all_alike(&[1, 2, 3]).await;
    for node in [1, 2, 3] {
        cluster.stop(node).await;
    }

    let seen = recovery::survey(&cluster.dir(1)).unwrap();
    assert_eq!((seen.voters.len(), seen.state.jobs().count()), (3, 1));
    assert!(seen.committed_index <= seen.last_index && seen.state.node(other).is_some());
    let unknown = recovery::stand_alone(&cluster.dir(1), 99, RecoveryId([1; 16]));
    assert!(matches!(unknown, Err(RecoveryError::Unknown { node: 99 })), "{unknown:?}");
    let before = recovery::stand_alone(&cluster.dir(1), 1, RecoveryId([1; 16])).unwrap();
    assert_eq!(before.last_index, seen.last_index);

    cluster.restart(1).await;
    cluster
        .until("node 1 leads alone", || {
            let status = cluster.raft(1).status();
            status.role == Role::Leader && status.voters.len() == 1
        })
        .await;
    cluster.propose_among(&[1], &write(6)).await;
    let last = cluster.raft(1).status().last_index;
    assert!(cluster.raft(1).wait_applied(last, Duration::from_secs(10)).await);
    let state = cluster.state(1);
    assert!(state.job(kept).is_some() && was_written(&state, 5) && was_written(&state, 6));
    assert_eq!(state.nodes().map(|(id, _)| id).collect::<Vec<_>>(), [1], "the others join anew");
    assert!(cluster.raft(1).status().term > seen.term);
    let recoveries: Vec<_> = state.recoveries().map(|record| record.recovery.clone()).collect();
    assert_eq!((recoveries.len(), recoveries[0].id, recoveries[0].node), (1, RecoveryId([1; 16]), 1));
    assert_eq!(recoveries[0].taken_out.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["n2"]);
    assert!(state.reads_log(1) && state.log_version() >= 2, "the log knows of recoveries");

    cluster.stop(1).await;
    cluster.restart(1).await;
    cluster.until("node 1 leads again", || cluster.raft(1).status().role == Role::Leader).await;
    assert_eq!(recovered_nodes(&cluster), 1);
}

fn recovered_nodes(cluster: &Cluster) -> usize {
    cluster.state(1).nodes().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_begins_its_log_anew_is_given_all_of_it_again() {
    let mut cluster = Cluster::formed(2, 1, lan(), Kept::InMemory).await;
    cluster.propose_among(&[1], &write(5)).await;
    cluster.all_alike(&[1, 2]).await;
    cluster.stop(2).await;
    // In memory a stopped node has lost everything, and the leader has not heard of that.
    cluster.restart(2).await;
    cluster.propose_among(&[1], &write(6)).await;
    cluster.all_alike(&[1, 2]).await;
    assert!(was_written(&cluster.state(2), 5) && was_written(&cluster.state(2), 6));
}
