//! The frames between two Raft peers.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::FRAME_BYTES_MAX;
use crate::codec::{self, Kind};
use crate::id::NodeId;
use crate::raft_types::{Entry, LogId, TypeConfig, Vote};
use crate::store::record::{EntryRecord, LogIdRecord, MetaRecord, VoteRecord};

/// The first frame of every stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
}

/// A call, or a part of a snapshot. Append only.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Append { vote: VoteRecord, prev: Option<LogIdRecord>, entries: Vec<EntryRecord>, commit: Option<LogIdRecord> },
    Vote(Ballot),
    PreVote(Ballot),
    Transfer { from: VoteRecord, to: NodeId, last: Option<LogIdRecord> },
    Snapshot { vote: VoteRecord, meta: MetaRecord },
    SnapshotPart(Vec<u8>),
    SnapshotEnd,
}

/// What a candidate asks for: its vote, the end of its log, and whether its leader asked it to stand.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ballot {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    transfer: bool,
}

/// An answer. Append only.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Appended(Option<LogIdRecord>),
    Conflict(LogIdRecord),
    HigherVote(VoteRecord),
    Voted { vote: VoteRecord, granted: bool, last: Option<LogIdRecord> },
    Transferred(Result<(), String>),
    Installed { vote: VoteRecord },
    Failed(String),
}

pub(super) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(super) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(super) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;

impl From<&VoteRequest> for Ballot {
    fn from(request: &VoteRequest) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(LogIdRecord::from),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<Ballot> for VoteRequest {
    fn from(ballot: Ballot) -> Self {
        let mut request = Self::new(ballot.vote.into(), ballot.last.map(LogId::from));
        request.leadership_transfer = ballot.transfer;
        request
    }
}

impl Request {
    pub(super) fn append(request: &AppendRequest) -> Self {
        Self::Append {
            vote: (&request.vote).into(),
            prev: request.prev_log_id.as_ref().map(LogIdRecord::from),
            entries: request.entries.iter().map(EntryRecord::from).collect(),
            commit: request.leader_commit.as_ref().map(LogIdRecord::from),
        }
    }

    /// The append in it.
    pub(super) fn into_append(self) -> io::Result<AppendRequest> {
        let Self::Append { vote, prev, entries, commit } = self else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "expected an append"));
        };
        let request = AppendRequest {
            vote: vote.into(),
            prev_log_id: prev.map(LogId::from),
            entries: entries.into_iter().map(EntryRecord::into_entry).collect::<io::Result<Vec<Entry>>>()?,
            leader_commit: commit.map(LogId::from),
        };
        check_append(&request)?;
        Ok(request)
    }
}

/// Refuses what no leader sends and what would stop the core that takes it: entries that do not follow each other, or
/// that are newer than the vote they come under.
fn check_append(request: &AppendRequest) -> io::Result<()> {
    let refused = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, format!("an append {what}")));
    let mut before = request.prev_log_id;
    for entry in &request.entries {
        if entry.log_id.index != before.map_or(0, |id| id.index.saturating_add(1)) {
            return refused("with a gap");
        }
        if before.is_some_and(|before| before >= entry.log_id) {
            return refused("whose terms run backwards");
        }
        before = Some(entry.log_id);
    }
    check_under_vote(before, &request.vote)
}

/// Refuses a log id that is newer than the vote it comes under.
pub(super) fn check_under_vote(last: Option<LogId>, vote: &Vote) -> io::Result<()> {
    if last.is_some_and(|last| last.leader_id.term > vote.leader_id.term) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "entries of a leader that is newer than the sender"));
    }
    Ok(())
}

impl Answer {
    pub(super) fn of_append(result: &AppendResult) -> Self {
        match result {
            Ok(id) => Self::Appended(id.as_ref().map(LogIdRecord::from)),
            Err(openraft::raft::StreamAppendError::Conflict(id)) => Self::Conflict(id.into()),
            Err(openraft::raft::StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }

    /// The outcome of an append in it.
    pub(super) fn into_append(self) -> io::Result<AppendResult> {
        match self {
            Self::Appended(id) => Ok(Ok(id.map(LogId::from))),
            Self::Conflict(id) => Ok(Err(openraft::raft::StreamAppendError::Conflict(id.into()))),
            Self::HigherVote(vote) => Ok(Err(openraft::raft::StreamAppendError::HigherVote(Vote::from(vote)))),
            Self::Failed(reason) => Err(io::Error::other(reason)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "expected the outcome of an append")),
        }
    }
}

pub(super) fn frame<T: Serialize>(value: &T) -> Bytes {
    codec::encode(Kind::RaftFrame, value).into()
}

pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    if bytes.len() > FRAME_BYTES_MAX {
        let text = format!("a frame of {} bytes, at most {FRAME_BYTES_MAX} are taken", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    codec::decode_stored(Kind::RaftFrame, bytes)
}

/// A frame read as each of the values that it may hold, and as the calls of consensus that come of them; each written again. For the
/// fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn each_written_again(bytes: &[u8]) -> Vec<Bytes> {
    let mut written = Vec::new();
    if let Ok(hello) = read::<Hello>(bytes) {
        written.push(frame(&hello));
    }
    if let Ok(request) = read::<Request>(bytes) {
        written.push(frame(&request));
        match request {
            Request::Vote(ballot) | Request::PreVote(ballot) => drop(VoteRequest::from(ballot)),
            Request::Snapshot { vote, meta } => {
                let is_under = check_under_vote(meta.last(), &vote.into());
                drop(is_under.and_then(|()| meta.to_meta()));
            }
            request => drop(request.into_append()),
        }
    }
    if let Ok(answer) = read::<Answer>(bytes) {
        written.push(frame(&answer));
        drop(answer.into_append());
    }
    written
}
