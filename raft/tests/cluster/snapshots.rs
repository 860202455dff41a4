//! Followers that are too far behind for the log: they get a snapshot, keep it, and start from it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pentora_raft::config::Config;

use crate::harness::{Cluster, Kept, lan, was_written, write};

/// Small numbers, so that a few hundred entries are far behind.
fn often() -> Config {
    Config { snapshot_after_entries: 50, entries_kept: 10, lag_before_snapshot: 20, ..lan() }
}

async fn write_many(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    for number in numbers {
        cluster.raft(1).propose(write(number)).await.unwrap();
    }
}

async fn a_newcomer_gets_a_snapshot(kept: Kept) -> Cluster {
    let cluster = Cluster::start(3, often(), kept).await;
    cluster.form(2, 2).await;
    write_many(&cluster, 0..300).await;
    assert_eq!(cluster.traffic.snapshots.load(Ordering::Relaxed), 0, "whoever keeps up needs none");
    cluster.raft(1).add_learner(3, "peer-3").await.unwrap();
    cluster.all_alike(&[1, 2, 3]).await;
    assert!(cluster.traffic.snapshots.load(Ordering::Relaxed) > 0, "the beginning of the log is purged");
    write_many(&cluster, 300..320).await;
    cluster.all_alike(&[1, 2, 3]).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_in_memory_gets_a_snapshot_and_then_the_log() {
    a_newcomer_gets_a_snapshot(Kept::InMemory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_on_disk_gets_a_snapshot_and_starts_again_from_it() {
    let mut cluster = a_newcomer_gets_a_snapshot(Kept::OnDisk).await;
    let before = cluster.state(3);
    cluster.stop(3).await;
    assert!(std::fs::read_dir(cluster.dir(3).join("snap")).unwrap().count() > 0);
    // Cut off first, so that what it knows is its own.
    cluster.network.isolate(3);
    cluster.restart(3).await;
    assert_eq!(cluster.state(3), before);
    cluster.network.heal();
    write_many(&cluster, 320..330).await;
    cluster.all_alike(&[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_was_away_for_long_gets_a_snapshot() {
    for kept in [Kept::InMemory, Kept::OnDisk] {
        let cluster = Cluster::formed(3, 3, often(), kept).await;
        write_many(&cluster, 0..20).await;
        cluster.all_alike(&[1, 2, 3]).await;
        cluster.network.isolate(3);
        write_many(&cluster, 20..300).await;
        // The leader keeps what it is about to send; it sees that nobody takes it, and then makes room.
        tokio::time::sleep(Duration::from_secs(2)).await;
        write_many(&cluster, 300..400).await;
        assert!(!was_written(&cluster.state(3), 299));
        cluster.network.heal();
        cluster.all_alike(&[1, 2, 3]).await;
        assert!(cluster.traffic.snapshots.load(Ordering::Relaxed) > 0);
        write_many(&cluster, 400..410).await;
        cluster.all_alike(&[1, 2, 3]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_disk_is_whole_again_after_all_its_nodes_stopped() {
    let mut cluster = Cluster::formed(3, 3, often(), Kept::OnDisk).await;
    write_many(&cluster, 0..120).await;
    cluster.all_alike(&[1, 2, 3]).await;
    let before = cluster.state(1);
    for node in 1..=3 {
        cluster.stop(node).await;
    }
    for node in 1..=3 {
        cluster.restart(node).await;
        assert!(cluster.raft(node).is_initialized().await.unwrap());
    }
    let (leader, _) = cluster.propose_among(&[1, 2, 3], &write(1_000)).await;
    cluster.all_alike(&[leader, 1, 2, 3]).await;
    let after = cluster.state(2);
    assert_eq!(after.tokens().count(), before.tokens().count() + 1);
    cluster.raft(leader).snapshot().await.unwrap();
    assert!(cluster.raft(leader).wait_applied(before.tokens().count() as u64, Duration::from_secs(5)).await);
}
