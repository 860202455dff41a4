//! Answering another node's calls. One task per inbound stream; it ends when the stream does.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::{SinkExt, StreamExt};
use openraft::async_runtime::WatchReceiver;
use tokio::io::AsyncWriteExt;

use super::wire::{Answer, Hello, Request, check_under_vote, frame, read};
use super::{Class, Duplex};
use crate::id::NodeId;
use crate::leadership::{Heard, Word};
use crate::raft_types::Vote;
use crate::store::Openraft;
use crate::store::record::{LogIdRecord, MetaRecord, VoteRecord};
use crate::store::snapshot::{self, SnapshotData};

/// The largest snapshot that is taken, in bytes. Ours: hundreds of times what a large cluster's state needs.
const SNAPSHOT_BYTES_MAX: usize = 4 << 30;

/// The largest snapshot that a node without a disk takes, in bytes.
const SNAPSHOT_MEMORY_BYTES_MAX: usize = 256 << 20;

/// Between which nodes a stream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// This node.
    pub(crate) own: NodeId,
    /// Whose key opened it, where the log names that.
    pub(crate) from: Option<NodeId>,
    /// Below which end of its log this node grants no vote.
    pub(crate) votes_from: u64,
}

/// Tells why a stream is not served, once it has greeted.
pub(crate) async fn refuse(mut duplex: Duplex, why: String) -> io::Result<()> {
    duplex.source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    duplex.sink.send(frame(&Answer::Failed(why))).await?;
    duplex.sink.close().await
}

/// Answers what comes on one stream until it ends. Each append is a word of a leader, which is noted in `heard`.
///
/// # Errors
/// Where the stream breaks, is meant for another node, or carries what no peer of this release sends.
pub(crate) async fn serve(
    raft: &Openraft,
    Ends { own, from, votes_from }: Ends,
    staging: Option<PathBuf>,
    class: Class,
    mut duplex: Duplex,
    heard: Arc<Heard>,
) -> io::Result<()> {
    let hello = duplex.source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    let hello: Hello = read(&hello)?;
    let wrong = match from {
        _ if hello.to != own => Some(format!("this is node {own}, not node {}", hello.to)),
        Some(from) if hello.from != from => Some(format!("the key is that of node {from}, not of node {}", hello.from)),
        _ => None,
    };
    if let Some(text) = wrong {
        duplex.sink.send(frame(&Answer::Failed(text.clone()))).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    match class {
        Class::Append => serve_appends(raft, duplex, heard).await,
        Class::Control => serve_calls(raft, duplex, votes_from, &heard).await,
        Class::Snapshot => serve_snapshot(raft, staging, duplex).await,
    }
}

async fn serve_appends(raft: &Openraft, duplex: Duplex, heard: Arc<Heard>) -> io::Result<()> {
    let Duplex { mut sink, source } = duplex;
    // Noted before the core has it: the core answers after its disk, and a slow disk is no silence of the leader.
    let requests = source.scan(heard, |heard, frame| {
        let request = frame.and_then(|bytes| read::<Request>(&bytes)).and_then(Request::into_append);
        if let Ok(request) = &request {
            heard.note(word_of(&request.vote));
        }
        if let Err(error) = &request {
            tracing::debug!(%error, "append stream broke");
        }
        std::future::ready(request.ok())
    });
    let answers = raft.stream_append(requests);
    futures::pin_mut!(answers);
    while let Some(answer) = answers.next().await {
        let answer = match &answer {
            Ok(result) => Answer::of_append(result),
            Err(fatal) => Answer::Failed(fatal.to_string()),
        };
        sink.send(frame(&answer)).await?;
    }
    sink.close().await
}

async fn serve_calls(raft: &Openraft, duplex: Duplex, votes_from: u64, heard: &Heard) -> io::Result<()> {
    let Duplex { mut sink, mut source } = duplex;
    while let Some(bytes) = source.next().await {
        match answer(raft, read(&bytes?)?, votes_from, heard).await {
            Ok(answer) => sink.send(frame(&answer)).await?,
            Err(error) => {
                sink.send(frame(&Answer::Failed(error.to_string()))).await?;
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn answer(raft: &Openraft, request: Request, votes_from: u64, heard: &Heard) -> io::Result<Answer> {
    if matches!(request, Request::Vote(_) | Request::PreVote(_))
        && let Some(refused) = has_forgotten(raft, votes_from)
    {
        return Ok(refused);
    }
    match request {
        Request::Append { .. } => {
            let request = request.into_append()?;
            heard.note(word_of(&request.vote));
            let (prev, last) = (request.prev_log_id, request.entries.last().map(|entry| entry.log_id));
            let last = last.or(prev);
            let response = raft.append_entries(request).await.map_err(io::Error::other)?;
            if response.is_conflict() && prev.is_none() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a conflict before the first entry"));
            }
            Ok(Answer::of_append(&response.into_stream_result(prev, last)))
        }
        Request::Vote(ballot) => Ok(voted(&raft.vote(ballot.into()).await.map_err(io::Error::other)?)),
        Request::PreVote(ballot) => Ok(voted(&raft.pre_vote(ballot.into()).await.map_err(io::Error::other)?)),
        Request::Transfer { from, to, last } => {
            let request = openraft::raft::TransferLeaderRequest::new(Vote::from(from), to, last.map(Into::into));
            let response = raft.handle_transfer_leader(request).await.map_err(io::Error::other)?;
            Ok(Answer::Transferred(response.map_err(|error| error.to_string())))
        }
        Request::Snapshot { .. } | Request::SnapshotPart(_) | Request::SnapshotEnd => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot needs a stream of its own"))
        }
    }
}

fn word_of(vote: &Vote) -> Word {
    Word { leader: vote.leader_id.voted_for, term: vote.leader_id.term, at: Instant::now() }
}

type Raft = crate::raft_types::TypeConfig;

/// The answer to whoever wants a vote of this node while its log ends before `votes_from`.
fn has_forgotten(raft: &Openraft, votes_from: u64) -> Option<Answer> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let has_forgotten = metrics.last_log_index.unwrap_or(0) < votes_from;
    has_forgotten.then(|| Answer::Voted { vote: (&metrics.vote).into(), granted: false, last: None })
}

fn voted(response: &openraft::raft::VoteResponse<Raft>) -> Answer {
    Answer::Voted {
        vote: (&response.vote).into(),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(LogIdRecord::from),
    }
}

async fn serve_snapshot(raft: &Openraft, staging: Option<PathBuf>, duplex: Duplex) -> io::Result<()> {
    let Duplex { mut sink, mut source } = duplex;
    let first = source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    let Request::Snapshot { vote, meta } = read(&first)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected the beginning of a snapshot"));
    };
    check_under_vote(meta.last(), &Vote::from(vote))?;
    let answer = match take_snapshot(&mut source, staging, &meta).await {
        Ok(data) => install(raft, vote, &meta, data).await,
        Err(error) => Err(error),
    };
    let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
    sink.send(frame(&answer)).await
}

async fn install(raft: &Openraft, vote: VoteRecord, meta: &MetaRecord, snapshot: SnapshotData) -> io::Result<Answer> {
    let snapshot = openraft::alias::SnapshotOf::<Raft, SnapshotData> { meta: meta.to_meta()?, snapshot };
    let response = raft.install_full_snapshot(vote.into(), snapshot).await.map_err(io::Error::other)?;
    Ok(Answer::Installed { vote: (&response.vote).into() })
}

/// Receives a snapshot into a file, or into memory where there is no disk, and verifies it.
async fn take_snapshot(
    source: &mut (impl futures::Stream<Item = io::Result<bytes::Bytes>> + Unpin),
    staging: Option<PathBuf>,
    meta: &MetaRecord,
) -> io::Result<SnapshotData> {
    let data = match staging {
        Some(dir) => {
            let path = dir.join(format!("received-{:016x}.tmp", rand::random::<u64>()));
            let mut file = tokio::fs::File::create(&path).await?;
            let data = SnapshotData::received_file(path);
            let mut size = 0usize;
            while let Some(part) = next_part(source).await? {
                size = grown(size, part.len(), SNAPSHOT_BYTES_MAX)?;
                file.write_all(&part).await?;
            }
            file.sync_all().await?;
            data
        }
        None => {
            let mut bytes = Vec::new();
            while let Some(part) = next_part(source).await? {
                grown(bytes.len(), part.len(), SNAPSHOT_MEMORY_BYTES_MAX)?;
                bytes.extend(part);
            }
            SnapshotData::Memory(std::sync::Arc::new(bytes))
        }
    };
    let found = match &data {
        SnapshotData::Memory(_) => snapshot::read(&data, |_, _| Ok(()))?,
        SnapshotData::File(_) => {
            let checked = data.clone();
            let checking = tokio::task::spawn_blocking(move || snapshot::read(&checked, |_, _| Ok(())));
            checking.await.map_err(io::Error::other)??
        }
    };
    if found == *meta {
        Ok(data)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is another one"))
    }
}

fn grown(size: usize, by: usize, limit: usize) -> io::Result<usize> {
    let size = size + by;
    if size <= limit { Ok(size) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is too large")) }
}

async fn next_part(
    source: &mut (impl futures::Stream<Item = io::Result<bytes::Bytes>> + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let bytes = source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    match read(&bytes)? {
        Request::SnapshotPart(part) => Ok(Some(part)),
        Request::SnapshotEnd => Ok(None),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "expected a part of a snapshot")),
    }
}
