//! A reader's first program: one node in memory takes a job, grants its units, counts them, and tells its history.
//!
//! `cargo run --release -p pentora-raft --example single`

use std::time::Duration;

use pentora_raft::command::{Completion, LeaseRef, NewLease, NodeInfo, SpecRef, StoredChunk, Submission, UnitKey};
use pentora_raft::network::memory::Network;
use pentora_raft::state::{Counts, JobLimits, Partition, Priority, Share};
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Command, Config, Digest, Raft, Response};

const NODE: u64 = 1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A node reaches others through a transport; this one has no others.
    let (transport, _inbound) = Network::default().join(NODE);
    let raft = Raft::start(NODE, Config::default(), &Storage::Memory, transport).await?;
    raft.initialize("peer-1").await?;
    while raft.status().leader != Some(NODE) {
        raft.status_changed(Duration::from_secs(1)).await;
    }

    // The cluster begins with this node, which is heard and may work from now on.
    let info = NodeInfo { name: "n1".into(), peer: "peer-1".into(), ..NodeInfo::default() };
    raft.propose(Command::Begin { cluster: ClusterId([1; 16]), info, admin_token: Digest::of(b"admin") }).await?;
    raft.propose(Command::WorkerBack { node: NODE }).await?;

    // A job is opaque bytes and a number of targets; its id is the index of its entry.
    let submission = Submission {
        spec: SpecRef::Inline(b"what to scan".to_vec()),
        partitions: vec![Partition { target_count: 512, ..Partition::default() }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 3, ..JobLimits::default() },
        via: NODE,
        idempotency_key: Some(Digest::of(b"the same request is one job")),
        title: "10.0.0.0/23".into(),
        finished: Vec::new(),
    };
    let Response::Submitted { job, .. } = raft.propose(Command::SubmitJob(Box::new(submission))).await?.response else {
        return Err("the job was refused".into());
    };

    // Two units of 256 targets each are granted, scanned elsewhere, and counted once.
    for start in [0, 256] {
        let unit = UnitKey { job, partition: 0, start };
        let grant = NewLease { unit, end: start + 256, node: NODE, share: Share::default() };
        let Response::Granted { leases } = raft.propose(Command::Grant { grants: vec![grant] }).await?.response else {
            return Err("the unit was not granted".into());
        };
        let epoch = leases.first().ok_or("the unit was taken")?.1.epoch;
        let completion = Completion {
            lease: LeaseRef { unit, epoch },
            start,
            end: start + 256,
            goes_on: false,
            node: NODE,
            stored: StoredChunk { digest: Digest::of(b"the results of this unit"), bytes: 24, holders: vec![NODE] },
            counts: Counts { hosts_up: 17, ..Counts::default() },
        };
        let twice = Command::Complete { completions: vec![completion.clone(), completion] };
        println!("{start:>4}: {:?}", raft.propose(twice).await?.response);
    }

    raft.read(|state| {
        let record = state.job(job).ok_or("the job is gone")?;
        println!("{job} is {}: {} targets, {} hosts up", record.status.name(), record.done, record.counts.hosts_up);
        for (index, event) in state.job_events(job, 0) {
            println!("  {index:>3}  {event}");
        }
        Ok::<_, &str>(())
    })?;
    raft.shutdown().await;
    Ok(())
}
