//! Calls between nodes: one request, one answer, on pooled mesh streams.
//!
//! A call takes an idle stream or opens one, and gives it back once the answer is whole; a stream whose call failed or
//! was abandoned is dropped, so that a late answer is never taken for that of the next call. Chunks are larger than a
//! frame and travel in parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::{Class, FrameError, FrameStream, Mesh, OpenError, PeerId};
use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::Command;
use pentora_raft::{Digest, NodeId, Response};
use serde::{Deserialize, Serialize};

use super::SoftState;

/// Idle streams kept per peer and class.
const IDLE_STREAMS_MAX: usize = 4;
/// Bytes of a chunk in one frame; a frame holds 256 KiB.
const PART_BYTES: usize = 192 << 10;
/// The largest chunk that is taken or sent, in bytes. Ours: a unit of 65,536 hosts with thousands of open ports.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;

/// What one node asks another. Append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Put a command into the log; for the leader.
    Propose(Box<Command>),
    /// Give a chunk.
    GetChunk(Digest),
    /// Keep a chunk; its bytes follow in parts.
    PutChunk {
        /// Its name.
        digest: Digest,
        /// Its size.
        bytes: u64,
    },
    /// Give what only the leader knows: contacts, lags, work in progress.
    Soft,
    /// Hand leadership to a node; for the leader.
    TransferLeader(NodeId),
}

/// What it answers. Append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// The command is applied.
    Applied {
        /// Its log index.
        index: u64,
        /// What applying it answered.
        response: Response,
    },
    /// Another node leads.
    NotLeader {
        /// Who, as far as known.
        leader: Option<NodeId>,
    },
    /// It could not be done now.
    Unavailable(String),
    /// The chunk follows in parts.
    Chunk {
        /// Its size.
        bytes: u64,
    },
    /// It is not here.
    NotFound,
    /// Done.
    Done,
    /// What the leader knows.
    Soft(SoftState),
}

/// A call that brought no answer. What it asked for may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side hung up before it answered.
    #[error("the peer hung up before it answered")]
    HungUp,
    /// It did not answer in time.
    #[error("no answer within {} ms", after.as_millis())]
    TimedOut {
        /// The time it was given.
        after: Duration,
    },
    /// Its answer does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Its answer makes no sense.
    #[error("an answer that does not fit: {0}")]
    Unexpected(&'static str),
}

/// Streams that no call uses.
type Idle = HashMap<(PeerId, Class), Vec<FrameStream>>;

/// Calls to other nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calls {
    mesh: Mesh,
    idle: Arc<Mutex<Idle>>,
}

impl Calls {
    /// Calls over `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh, idle: Arc::default() }
    }

    /// One small request and its answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(&self, peer: PeerId, request: &Request, after: Duration) -> Result<Answer, CallError> {
        let class = Class::Admin;
        let asking = async {
            let mut stream = self.take(peer, class).await?;
            stream.send(encode(request)).await?;
            let answer = receive(&mut stream).await?;
            self.give_back(peer, class, stream);
            Ok(answer)
        };
        tokio::time::timeout(after, asking).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// Sends a chunk and waits until the other side has it on disk.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn put_chunk(
        &self,
        peer: PeerId,
        digest: Digest,
        bytes: &Bytes,
        after: Duration,
    ) -> Result<(), CallError> {
        let putting = async {
            let mut stream = self.take(peer, Class::Chunk).await?;
            stream.send(encode(&Request::PutChunk { digest, bytes: bytes.len() as u64 })).await?;
            send_parts(&mut stream, bytes).await?;
            match receive(&mut stream).await? {
                Answer::Done => {
                    self.give_back(peer, Class::Chunk, stream);
                    Ok(())
                }
                Answer::Unavailable(_) => Err(CallError::Unexpected("the chunk was not kept")),
                _ => Err(CallError::Unexpected("expected a receipt for the chunk")),
            }
        };
        tokio::time::timeout(after, putting).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// Fetches a chunk; `None` where the other side does not have it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_chunk(&self, peer: PeerId, digest: Digest, after: Duration) -> Result<Option<Bytes>, CallError> {
        let getting = async {
            let mut stream = self.take(peer, Class::Chunk).await?;
            stream.send(encode(&Request::GetChunk(digest))).await?;
            let chunk = match receive(&mut stream).await? {
                Answer::Chunk { bytes } => Some(receive_parts(&mut stream, bytes).await?),
                Answer::NotFound => None,
                _ => return Err(CallError::Unexpected("expected a chunk")),
            };
            self.give_back(peer, Class::Chunk, stream);
            Ok(chunk)
        };
        tokio::time::timeout(after, getting).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    async fn take(&self, peer: PeerId, class: Class) -> Result<FrameStream, OpenError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&(peer, class)).and_then(Vec::pop);
        match idle {
            Some(stream) if self.mesh.is_connected(peer) => Ok(stream),
            _ => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&(peer, class));
                self.mesh.open(peer, class).await
            }
        }
    }

    fn give_back(&self, peer: PeerId, class: Class, stream: FrameStream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = idle.entry((peer, class)).or_default();
        if streams.len() < IDLE_STREAMS_MAX {
            streams.push(stream);
        }
    }
}

/// Reads the next request of a served stream; `None` where the caller is done.
///
/// # Errors
/// [`CallError`].
pub async fn next_request(stream: &mut FrameStream) -> Result<Option<Request>, CallError> {
    match stream.receive().await? {
        None => Ok(None),
        Some(frame) => Ok(Some(codec::decode(Kind::CallFrame, &frame)?)),
    }
}

/// Sends an answer.
///
/// # Errors
/// [`CallError`].
pub async fn send_answer(stream: &mut FrameStream, answer: &Answer) -> Result<(), CallError> {
    Ok(stream.send(encode(answer)).await?)
}

/// Sends `bytes` in parts.
///
/// # Errors
/// [`CallError`].
pub async fn send_parts(stream: &mut FrameStream, bytes: &Bytes) -> Result<(), CallError> {
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let part = rest.split_to(PART_BYTES.min(rest.len()));
        stream.send(part).await?;
    }
    Ok(())
}

/// Receives `bytes` in parts; never takes more memory than has really come.
///
/// # Errors
/// [`CallError`].
pub async fn receive_parts(stream: &mut FrameStream, bytes: u64) -> Result<Bytes, CallError> {
    let total = usize::try_from(bytes).unwrap_or(usize::MAX);
    if total > CHUNK_BYTES_MAX {
        return Err(CallError::Unexpected("a chunk larger than any chunk can be"));
    }
    let mut whole = Vec::new();
    while whole.len() < total {
        let part = stream.receive().await?.ok_or(CallError::HungUp)?;
        if part.is_empty() || whole.len() + part.len() > total {
            return Err(CallError::Unexpected("parts that do not add up to the chunk"));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

async fn receive(stream: &mut FrameStream) -> Result<Answer, CallError> {
    let frame = stream.receive().await?.ok_or(CallError::HungUp)?;
    Ok(codec::decode(Kind::CallFrame, &frame)?)
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    codec::encode(Kind::CallFrame, value).into()
}
