//! Fixed commands and their parts, for tests that need one of a kind and care for none of its details.

use crate::command::{Command, Finished, NewToken, NodeInfo, NodeRole, SpecRef, StoredChunk, Submission, UnitRange};
use crate::id::{ClusterId, Digest, TokenId};
use crate::state::{Counts, JobLimits, Needs, Partition, Priority};

pub(crate) fn node_info(name: &str) -> NodeInfo {
    NodeInfo {
        name: name.into(),
        peer: format!("peer-{name}"),
        addresses: vec!["127.0.0.1:7400".into()],
        version: "0.1.0".into(),
        region: Some("eu".into()),
        tags: vec!["dmz".into()],
        networks: Some(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]),
        max_concurrent_scans: 10,
        max_targets_per_scan: 65_536,
        role: NodeRole::Auto,
        engines: vec!["connect".into(), "raw".into()],
    }
}

pub(crate) fn begin(name: &str) -> Command {
    Command::Begin { cluster: ClusterId([7; 16]), info: node_info(name), admin_token: Digest::of(b"admin") }
}

/// Begins a cluster at index 2 and admits a second node, id 5; both work.
pub(crate) fn two_nodes() -> [Command; 5] {
    [
        begin("n0"),
        Command::WorkerBack { node: 1 },
        Command::CreateToken(new_token(0)),
        Command::Join { token: TokenId([0; 8]), secret: Digest::of(b"secret"), info: node_info("n1") },
        Command::WorkerBack { node: 5 },
    ]
}

pub(crate) fn new_token(token: u8) -> NewToken {
    NewToken {
        token: TokenId([token; 8]),
        secret: Digest::of(b"secret"),
        name: "n".into(),
        ttl_ms: 5_000,
        uses: 2,
        role: NodeRole::Auto,
        region: None,
        networks: None,
    }
}

/// No limit but three tries.
pub(crate) fn limits() -> JobLimits {
    JobLimits { max_attempts: 3, ..JobLimits::default() }
}

/// A job with a partition of each of these sizes.
pub(crate) fn submission(parts: &[u64], limits: JobLimits) -> Submission {
    let partition = |target_count: &u64| Partition { target_count: *target_count, needs: Needs::default() };
    Submission {
        spec: SpecRef::Inline(vec![1, 2, 3]),
        partitions: parts.iter().map(partition).collect(),
        priority: Priority::Normal,
        limits,
        via: 1,
        idempotency_key: None,
        title: "a job".into(),
        finished: Vec::new(),
    }
}

pub(crate) fn stored(bytes: &[u8]) -> StoredChunk {
    StoredChunk { digest: Digest::of(bytes), bytes: 9, holders: vec![1, 5] }
}

/// A unit that is finished before its job is submitted: one host up, in partition 0.
pub(crate) fn finished(start: u64, end: u64) -> Finished {
    let counts = Counts { hosts_up: 1, ..Counts::default() };
    Finished { unit: UnitRange { partition: 0, start, end }, stored: stored(b"before"), counts }
}
