//! Handing in before a job stops.

use std::sync::Arc;

use pentora_raft::command::{Command, Completion, NewLease, NodeInfo, SpecRef, StoredChunk, Submission, UnitKey};
use pentora_raft::network::memory::Network;
use pentora_raft::state::{Counts, FIRST_NODE, Share};
use pentora_raft::store::Storage;
use pentora_raft::{ClusterId, Config, Digest, Profile, Response};

use super::*;
use crate::work_protocol::{LeaderFrame, pair};

async fn leader() -> Raft {
    let (transport, _no_peers) = Network::default().join(FIRST_NODE);
    let config = Config { profile: Profile::Fast, ..Config::default() };
    let raft = Raft::start(FIRST_NODE, config, &Storage::Memory, transport).await.unwrap();
    raft.initialize("first").await.unwrap();
    let info = NodeInfo { name: "first".into(), peer: "first".into(), max_concurrent_scans: 1, ..NodeInfo::default() };
    let begin = Command::Begin { cluster: ClusterId::default(), info, admin_token: Digest::of(&[]) };
    while raft.propose(begin.clone()).await.is_err() {
        raft.status_changed(Duration::from_millis(50)).await;
    }
    raft.propose(Command::WorkerBack { node: FIRST_NODE }).await.unwrap();
    raft
}

/// A job of ten targets that the first node has a lease of.
async fn leased(raft: &Raft) -> LeaseRef {
    let submission = Submission::plain(SpecRef::Inline(Vec::new()), 10, FIRST_NODE);
    let submitted = raft.propose(Command::SubmitJob(Box::new(submission))).await.unwrap().response;
    let Response::Submitted { job, .. } = submitted else { panic!("{submitted:?}") };
    let unit = UnitKey { job, partition: 0, start: 0 };
    let grant = NewLease { unit, end: 10, node: FIRST_NODE, share: Share::default() };
    let granted = raft.propose(Command::Grant { grants: vec![grant] }).await.unwrap();
    LeaseRef { unit, epoch: granted.index }
}

#[tokio::test]
async fn what_is_settled_of_a_job_that_is_to_stop_is_counted_before_and_nothing_of_it_is_granted_meanwhile() {
    let raft = leader().await;
    let lease = leased(&raft).await;
    let job = lease.unit.job;
    let sessions = Arc::new(WorkSessions::new(1_000, 10_000));
    sessions.open();
    let (mut worker, link) = pair();
    let serving = Arc::clone(&sessions);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { serving.serve(FIRST_NODE, link, Vec::new).await });
    assert!(matches!(worker.from.recv().await, Some(LeaderFrame::Welcome { .. })));
    let works = async {
        assert_eq!(worker.from.recv().await, Some(LeaderFrame::EndEarly(vec![lease])));
        assert!(sessions.is_closing(job, Instant::now()));
        let stored = StoredChunk { digest: Digest::of(b"x"), bytes: 1, holders: vec![FIRST_NODE] };
        let (counts, node) = (Counts::default(), FIRST_NODE);
        let settled = Completion { lease, start: 0, end: 4, goes_on: true, node, stored, counts };
        raft.propose(Command::Complete { completions: vec![settled] }).await.unwrap();
        raft.propose(Command::Release { leases: vec![lease] }).await.unwrap();
    };
    tokio::join!(hand_in(&raft, &sessions, job), works);
    let (done, is_out) = raft.read(|state| (state.job(job).unwrap().done, state.job_leases(job).next().is_some()));
    assert_eq!((done, is_out), (4, false), "it was waited for");
    assert!(sessions.is_closing(job, Instant::now()) && !sessions.is_closing(job, Instant::now() + CLOSED_FOR));
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_not_waited_for() {
    let raft = leader().await;
    let lease = leased(&raft).await;
    let sessions = WorkSessions::new(1_000, 10_000);
    sessions.open();
    // Its lease stays out: were it waited for, this would end by the limit alone, which the test would not see.
    let waited = tokio::time::timeout(HAND_IN / 2, hand_in(&raft, &sessions, lease.unit.job)).await;
    assert!(waited.is_ok());
    assert!(raft.read(|state| state.job_leases(lease.unit.job).next().is_some()), "the order takes it back");
}
