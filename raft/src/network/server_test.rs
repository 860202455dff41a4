//! What no peer of this release sends: it ends its own stream, and the node goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use proptest::prelude::*;

use super::wire::{Answer, Hello, Request, VoteRequest, frame, read};
use super::{Class, Duplex, FRAME_BYTES_MAX};
use crate::codec::{self, Kind};
use crate::config::Config;
use crate::handle::{Raft, Role};
use crate::network::memory::Network;
use crate::raft_types::{Entry, LeaderId, LogId, StoredMembership, Vote};
use crate::store::Storage;
use crate::store::record::{EntryRecord, LogIdRecord, MetaRecord};

async fn node() -> Raft {
    let (transport, _inbound) = Network::default().join(1);
    let raft = Raft::start(1, Config::default(), &Storage::Memory, transport).await.unwrap();
    raft.initialize("peer-1").await.unwrap();
    while raft.status().role != Role::Leader {
        raft.status_changed(Duration::from_secs(1)).await;
    }
    raft
}

/// A stream that brings these frames, and what is answered on it.
fn stream(frames: Vec<Bytes>) -> (Duplex, Arc<Mutex<Vec<Bytes>>>) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&answers);
    let sink = futures::sink::unfold(kept, |kept, bytes: Bytes| async move {
        kept.lock().unwrap().push(bytes);
        Ok::<_, std::io::Error>(kept)
    });
    let source = futures::stream::iter(frames.into_iter().map(Ok));
    (Duplex { sink: Box::pin(sink.sink_map_err(|error| error)), source: source.boxed() }, answers)
}

fn hello(to: u64) -> Bytes {
    frame(&Hello { from: 9, to })
}

#[tokio::test]
async fn a_stream_that_greets_as_another_than_its_key_and_one_to_a_node_outside_the_log_are_told_why() {
    let raft = node().await;
    let (duplex, answers) = stream(vec![hello(1), frame(&append(1, None, &[]))]);
    assert!(raft.serve(Class::Append, duplex, Some(3)).await.is_err());
    let (outside, _viewer) = Raft::outside(1, Config::default());
    let (refused, told) = stream(vec![hello(1)]);
    outside.serve(Class::Append, refused, Some(9)).await.unwrap();
    let words = |answers: &Arc<Mutex<Vec<Bytes>>>| match read::<Answer>(&answers.lock().unwrap()[0]).unwrap() {
        Answer::Failed(words) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(words(&answers), "the key is that of node 3, not of node 9");
    assert_eq!(words(&told), "this node stands outside the log");
    raft.shutdown().await;
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

fn append(vote_term: u64, prev: Option<LogId>, entries: &[LogId]) -> Request {
    let vote = Vote { leader_id: LeaderId { term: vote_term, voted_for: 9 }, committed: true };
    let entry = |id: &LogId| EntryRecord::from(&Entry::new(*id, EntryPayload::Blank));
    Request::Append {
        vote: (&vote).into(),
        prev: prev.as_ref().map(LogIdRecord::from),
        entries: entries.iter().map(entry).collect(),
        commit: None,
    }
}

fn bad_frames() -> Vec<(&'static str, Bytes)> {
    let good = frame(&append(1, None, &[id(1, 0)]));
    let mut other_version = good.to_vec();
    other_version[0] = 99;
    let mut other_kind = good.to_vec();
    other_kind[1] = Kind::Chunk as u8;
    vec![
        ("nothing at all", Bytes::new()),
        ("one byte", Bytes::from_static(&[1])),
        ("an unknown version", other_version.into()),
        ("another kind", other_kind.into()),
        ("cut short", good.slice(..good.len() - 1)),
        ("bytes behind the end", [&good[..], &[0]].concat().into()),
        ("noise", Bytes::from_static(&[1, Kind::RaftFrame as u8, 255, 255, 255, 255, 255, 255, 255])),
        ("larger than a frame", codec::encode(Kind::RaftFrame, &vec![7u8; FRAME_BYTES_MAX]).into()),
        ("an answer", frame(&Answer::Failed("no".into()))),
        ("a gap after what came before", frame(&append(5, Some(id(1, 4)), &[id(1, 6)]))),
        ("a gap at the beginning", frame(&append(5, None, &[id(1, 1)]))),
        ("a gap between entries", frame(&append(5, None, &[id(1, 0), id(1, 2)]))),
        ("terms that run backwards", frame(&append(5, Some(id(3, 4)), &[id(2, 5)]))),
        ("entries newer than the vote", frame(&append(5, Some(id(3, 4)), &[id(6, 5)]))),
        ("the largest index", frame(&append(5, Some(id(3, u64::MAX)), &[id(3, u64::MAX)]))),
    ]
}

#[tokio::test]
async fn a_bad_frame_ends_its_stream_and_nothing_else() {
    let raft = node().await;
    for class in [Class::Append, Class::Control, Class::Snapshot] {
        for (what, bad) in bad_frames() {
            let (duplex, answers) = stream(vec![hello(1), bad, frame(&append(1, None, &[]))]);
            let ended = tokio::time::timeout(Duration::from_secs(5), raft.serve(class, duplex, None)).await.unwrap();
            let answers = answers.lock().unwrap();
            let good = |bytes: &Bytes| !matches!(read::<Answer>(bytes), Ok(Answer::Failed(_)));
            assert!(!answers.iter().any(good), "{what} on {class:?} is answered: {answers:?}, {ended:?}");
        }
        for (what, bad) in bad_frames() {
            let (duplex, _) = stream(vec![bad]);
            assert!(raft.serve(class, duplex, None).await.is_err(), "{what} is no greeting");
        }
    }
    let status = raft.status();
    assert_eq!((status.role, status.stopped), (Role::Leader, None));
    raft.propose(crate::Command::RemoveNode { node: 5 }).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_meant_for_another_node_is_refused_with_its_reason() {
    let raft = node().await;
    for class in [Class::Append, Class::Control, Class::Snapshot] {
        let (duplex, answers) = stream(vec![hello(2), frame(&append(9, None, &[]))]);
        let error = raft.serve(class, duplex, None).await.unwrap_err();
        assert!(error.to_string().contains("this is node 1, not node 2"), "{error}");
        let answers = answers.lock().unwrap();
        assert!(matches!(read::<Answer>(&answers[0]).unwrap(), Answer::Failed(_)));
        assert_eq!(answers.len(), 1);
    }
    assert_eq!(raft.status().role, Role::Leader, "a vote on such a stream is not heard");
}

#[tokio::test]
async fn a_snapshot_that_is_cut_damaged_or_too_new_is_refused() {
    let raft = node().await;
    let vote = Vote { leader_id: LeaderId { term: 9, voted_for: 9 }, committed: true };
    let meta = |term| MetaRecord::new(Some(&id(term, 50)), &StoredMembership::default());
    let begin = |term| frame(&Request::Snapshot { vote: (&vote).into(), meta: meta(term) });
    let part = || frame(&Request::SnapshotPart(vec![1, 2, 3]));
    let end = || frame(&Request::SnapshotEnd);
    for (what, frames) in [
        ("cut short", vec![begin(8), part()]),
        ("damaged", vec![begin(8), part(), end()]),
        ("empty", vec![begin(8), end()]),
        ("newer than its sender", vec![begin(10), part(), end()]),
        ("without its beginning", vec![part(), end()]),
        ("broken by something else", vec![begin(8), part(), frame(&append(9, None, &[]))]),
    ] {
        let (duplex, answers) = stream([vec![hello(1)], frames].concat());
        let ended = raft.serve(Class::Snapshot, duplex, None).await;
        let refused = answers.lock().unwrap().iter().all(|answer| matches!(read(answer), Ok(Answer::Failed(_))));
        assert!(refused, "{what}: {ended:?}");
    }
    assert_eq!(raft.status().role, Role::Leader);
    assert!(raft.status().last_index < 50);
}

#[test]
fn a_ballot_has_the_bytes_of_the_first_release() {
    let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 9 }, committed: false };
    let mut asked = VoteRequest::new(vote, Some(id(2, 7)));
    asked.leadership_transfer = true;
    for (variant, request) in [(1, Request::Vote((&asked).into())), (2, Request::PreVote((&asked).into()))] {
        assert_eq!(frame(&request), [1, Kind::RaftFrame as u8, variant, 3, 9, 0, 1, 2, 7, 1][..]);
    }
}

proptest! {
    #[test]
    fn no_frame_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), variant in 0u8..8) {
        let framed = [&[codec::VERSION, Kind::RaftFrame as u8, variant][..], &bytes].concat();
        for bytes in [&bytes, &framed] {
            let _ = read::<Request>(bytes).and_then(Request::into_append);
            let _ = read::<Answer>(bytes).and_then(Answer::into_append);
            let _ = read::<Hello>(bytes);
        }
    }
}
