//! The log's time over a leader whose wall clock leaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pentora_raft::Config;
use pentora_raft::clock::WallClock;

use crate::harness::{Cluster, Kept, lan, write};

const ALL: [u64; 3] = [1, 2, 3];
const BEGUN_MS: u64 = 1_760_000_000_000;
const HOURS_2_MS: u64 = 7_200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_is_two_hours_ahead_for_a_while_does_not_stop_the_clusters_time() {
    let (ahead_ms, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let read = Arc::clone(&ahead_ms);
    let passed = move || u64::try_from(begun.elapsed().as_millis()).unwrap();
    let wall = WallClock::new(move || BEGUN_MS + passed() + read.load(Ordering::Relaxed));
    let cluster = Cluster::formed(3, 3, Config { wall, ..lan() }, Kept::InMemory).await;
    let write_at = async |number| {
        cluster.raft(1).propose(write(number)).await.unwrap();
        cluster.all_alike(&ALL).await;
        cluster.state(3).cluster().now_ms
    };
    let before = write_at(1).await;
    ahead_ms.store(HOURS_2_MS, Ordering::Relaxed);
    let during = write_at(2).await;
    assert!(during >= before && during < BEGUN_MS + HOURS_2_MS / 2, "{before} then {during}");
    let shown = cluster.raft(3).now_ms();
    assert!(shown >= during && shown < BEGUN_MS + HOURS_2_MS / 2, "the same clock is shown elsewhere: {shown}");
    ahead_ms.store(0, Ordering::Relaxed);
    let after = write_at(3).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(write_at(4).await > after && after >= during, "time goes on");
}
