//! How fast the log takes proposals; prints figures and fails on none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pentora_raft::{Command, Raft, TokenId};
use tokio::task::JoinSet;

use crate::harness::{Cluster, Kept, lan, write};

const PROPOSERS: u64 = 64;
const DURATION: Duration = Duration::from_secs(2);

/// Makes and revokes tokens until the time is over; answers how long each proposal took.
async fn propose_for(raft: Raft, proposer: u64, until: Instant, done: Arc<AtomicU64>) -> Vec<Duration> {
    let mut took = Vec::new();
    let token = TokenId(proposer.to_le_bytes());
    while Instant::now() < until {
        for command in [write(proposer), Command::RevokeToken { token }] {
            let begun = Instant::now();
            raft.propose(command).await.unwrap();
            took.push(begun.elapsed());
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    took
}

async fn measure(name: &str, cluster: &Cluster, proposers: u64) {
    let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for proposer in 0..proposers {
        tasks.spawn(propose_for(cluster.raft(1).clone(), proposer, begun + DURATION, Arc::clone(&done)));
    }
    let mut took: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    took.sort();
    let per_second = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{name}, {proposers} proposers: {per_second:.0} proposals/s, p50 {p50:.1?}, p99 {p99:.1?}");
    assert!(took.len() as u64 >= proposers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposers_share_the_flushes_of_the_log() {
    for (name, nodes, kept) in [
        ("one node on disk", 1, Kept::OnDisk),
        ("three nodes on disk", 3, Kept::OnDisk),
        ("three nodes in memory", 3, Kept::InMemory),
    ] {
        let cluster = Cluster::formed(nodes, nodes, lan(), kept).await;
        measure(name, &cluster, 1).await;
        measure(name, &cluster, PROPOSERS).await;
        let all: Vec<u64> = (1..=nodes).collect();
        cluster.all_alike(&all).await;
    }
}
