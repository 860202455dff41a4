//! The log's time over a leader whose wall clock leaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pentora_raft::clock::WallClock;
use pentora_raft::network::memory::Network;
use pentora_raft::store::{SimulatedDisk, Storage, World};
use pentora_raft::{Config, Raft, Role, State};

use crate::harness::{Cluster, Kept, begin, lan, was_written, write};

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

struct Sound;
impl World for Sound {}

#[tokio::test]
async fn a_node_that_starts_again_goes_by_its_wall_clock_and_not_by_the_entries_that_it_reads_again() {
    let ahead_ms = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&ahead_ms);
    let wall = WallClock::new(move || BEGUN_MS + read.load(Ordering::Relaxed));
    let config = Config { wall, ..lan() };
    let disk = SimulatedDisk::new(Arc::new(Sound));
    let start = async || {
        let (transport, _inbound) = Network::default().join(1);
        Raft::start(1, config.clone(), &Storage::Simulated(disk.clone()), transport).await.unwrap()
    };
    let leads = async |raft: &Raft| {
        while raft.status().role != Role::Leader {
            raft.status_changed(std::time::Duration::from_secs(1)).await;
        }
    };
    let raft = start().await;
    raft.initialize("peer").await.unwrap();
    leads(&raft).await;
    raft.propose(begin()).await.unwrap();
    raft.propose(write(1)).await.unwrap();
    let mut unsynced = 0;
    disk.crash(|writes| {
        unsynced = writes;
        0
    });
    assert!(unsynced > 0, "what was applied is not synced: it is read again");
    raft.shutdown().await;
    ahead_ms.store(HOURS_2_MS, Ordering::Relaxed);
    let raft = start().await;
    leads(&raft).await;
    raft.propose(write(2)).await.unwrap();
    assert!(raft.read(|state| was_written(state, 1)), "it was acknowledged");
    let now_ms = raft.read(State::cluster).now_ms;
    assert!(now_ms >= BEGUN_MS + HOURS_2_MS, "{now_ms}");
    raft.shutdown().await;
}
