//! Calls between nodes: one request, one answer, on pooled mesh streams.
//!
//! A call takes an idle stream or opens one, and gives it back once the answer is whole; a stream whose call failed or
//! was abandoned is dropped, so that a late answer is never taken for that of the next call. Chunks are larger than a
//! frame and travel in parts (`bring`).

mod bring;

mod since;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::{Class, FrameError, FrameStream, Mesh, OpenError, PeerId};
use pentora_raft::autopilot::{Obstacle, Removal};
use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::{Command, NotedRetirement, PolicyChange, StoredChunk};
use pentora_raft::{Digest, JobId, NodeId, Response};
use serde::{Deserialize, Serialize};

use self::bring::send_with;
pub use self::bring::{BROUGHT_MAX, Receipt};
use super::{LogFigures, SoftState};
use crate::drill::Fault;
use crate::member_address::MemberAddress;

/// Idle streams kept per peer and class: as many as are in use at once by a node that is busy, because each new one is agreed on first.
const IDLE_STREAMS_MAX: usize = 16;
/// Bytes of a chunk in one frame; a frame holds 256 KiB.
const PART_BYTES: usize = 192 << 10;
/// The largest chunk that is taken or sent, in bytes. Ours: a unit of 65,536 hosts with thousands of open ports.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;

/// What one node asks another. Append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Put a command into the log, in this term and in no other; for the leader. A gateway goes by the term that it knows.
    Propose {
        /// The term in which the asked node leads.
        term: u64,
        /// What is to be decided.
        command: Box<Command>,
    },
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
    /// Hold a chunk, which one of its holders gives.
    KeepChunk {
        /// Its name.
        digest: Digest,
        /// Who has it.
        holders: Vec<NodeId>,
    },
    /// Carry out a request of the API that a node took which only scans; its body, of so many bytes, follows in parts.
    Api(Box<(ApiCall, u64)>),
    /// Where the asking node is, and others that it is connected to; say the same.
    Addresses(Vec<MemberAddress>),
    /// Look ahead at removing a node; for the leader.
    PlanRemoval(NodeId),
    /// Have a chunk on as many nodes as there should be; its bytes follow in parts. For a gateway.
    HandIn {
        /// Its name.
        digest: Digest,
        /// Its size.
        bytes: u64,
    },
    /// As `Api`, with the answer's body in parts as they come, and at last an empty one.
    ApiStream(Box<(ApiCall, u64)>),
    /// Have a node suffer a fault that an administrator rehearses: the one that is asked, or one that only scans and is
    /// connected to it.
    Suffer {
        /// Which.
        node: NodeId,
        /// What.
        fault: Fault,
        /// In how many milliseconds.
        after_ms: u64,
    },
    /// Say up to which index the log is committed, once a majority says that the asked node leads; for the leader.
    ReadIndex,
    /// Sign a certificate for the API of a node that only scans.
    Certify {
        /// Its public key: a point on P-256, uncompressed.
        key: Vec<u8>,
    },
    /// Change the cluster's word about a node so that it votes no more, where its seat can be given up, and no other's at the same
    /// time; for the leader.
    Demote(NodeId, Box<PolicyChange>),
    /// Have a node leave for good, where it can be spared, and no other at the same time; for the leader.
    Retire(NodeId),
    /// Say how much work waits, and how much of it is the asking node's.
    Figures,
    /// Have workers end what they do of a job that is to stop, with what is settled handed in; for the leader.
    EndUnits(JobId),
    /// Name the chunks that you should hold and get from nobody; for a member.
    Lacking,
    /// Keep these chunks, each as `PutChunk` asks, or as `HandIn` does where it is `to_hand_in`; the bytes of all of them follow in
    /// parts, one behind the other.
    Bring {
        /// Their names and sizes.
        chunks: Vec<(Digest, u64)>,
        /// Whether each is to be on as many nodes as there should be.
        to_hand_in: bool,
    },
    /// As `Retire`, with what the audit log has of it.
    RetireNoted(Box<NotedRetirement>),
}

/// The header of an [`ApiCall`] that says where the request came from, as the node says that took it. No client's own header
/// of this name is handed on.
pub const FORWARDED_FROM: &str = "pentora-forwarded-from";

/// The head of a request of the API that another node took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCall {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// What of its head matters.
    pub headers: Vec<(String, String)>,
}

/// An answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAnswer {
    /// Its status.
    pub status: u16,
    /// What of its head matters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
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
    /// The node is below its floor of free space and takes no more results.
    Full(String),
    /// The caller may not do that, for this reason.
    Denied(String),
    /// The API's answer; its body follows in parts.
    Api {
        /// Its status.
        status: u16,
        /// What of its head matters.
        headers: Vec<(String, String)>,
        /// The size of its body.
        bytes: u64,
    },
    /// Where the answering node is, and others that it is connected to.
    Addresses(Vec<MemberAddress>),
    /// What a removal would come to.
    Removal(Result<Removal, Obstacle>),
    /// The chunk that was handed in is durable there.
    Stored(StoredChunk),
    /// The API's answer; its body follows as it comes.
    ApiHead {
        /// Its status.
        status: u16,
        /// What of its head matters.
        headers: Vec<(String, String)>,
    },
    /// Up to which index the log is committed.
    ReadIndex(u64),
    /// What was signed.
    Certified {
        /// The certificate, and that of who signed, in DER.
        chain: Vec<Vec<u8>>,
    },
    /// How much work waits.
    Figures(Box<LogFigures>),
    /// The chunks that the answering node should hold and gets from nobody.
    Lacking(Vec<Digest>),
    /// What came of each chunk that was brought.
    Brought(Vec<Receipt>),
    /// Some of them, and how many there are.
    LackingMany(Vec<Digest>, u64),
}

/// A call that brought no answer. What it asked for may or may not have happened.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream broke.
    #[error(transparent)]
    Frame(FrameError),
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
    /// The other side is below its floor of free space.
    #[error("{0}")]
    Full(String),
    /// This node may not ask that of the other.
    #[error("{0}")]
    Denied(String),
    /// It could not do what it was asked.
    #[error("{0}")]
    NotDone(String),
    /// Its answer makes no sense.
    #[error("an answer that does not fit: {0}")]
    Unexpected(&'static str),
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        match error {
            // The whole stream, where `Answer::Denied` is for one call on it.
            FrameError::Refused { reason } => Self::Denied(reason),
            error => Self::Frame(error),
        }
    }
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
            let mut stream = self.begin(peer, class, request).await?;
            let answer = receive(&mut stream).await?;
            self.give_back(peer, class, stream);
            Ok(answer)
        };
        tokio::time::timeout(after, asking).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// Has the other side hold a chunk that one of `holders` gives, and waits until it is on its disk.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn keep_chunk(
        &self,
        peer: PeerId,
        digest: Digest,
        holders: &[NodeId],
        after: Duration,
    ) -> Result<(), CallError> {
        received(self.ask(peer, &Request::KeepChunk { digest, holders: holders.to_vec() }, after).await?)
    }

    /// Fetches a chunk; `None` where the other side does not have it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_chunk(&self, peer: PeerId, digest: Digest, after: Duration) -> Result<Option<Bytes>, CallError> {
        let getting = async {
            let mut stream = self.begin(peer, Class::Chunk, &Request::GetChunk(digest)).await?;
            let chunk = match receive(&mut stream).await? {
                Answer::Chunk { bytes } => Some(receive_parts(&mut stream, bytes).await?),
                Answer::NotFound => None,
                Answer::Unavailable(why) => return Err(CallError::NotDone(why)),
                Answer::Denied(why) => return Err(CallError::Denied(why)),
                _ => return Err(CallError::Unexpected("expected a chunk")),
            };
            self.give_back(peer, Class::Chunk, stream);
            Ok(chunk)
        };
        tokio::time::timeout(after, getting).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// A stream for [`Self::api_stream`], of its own and not a pooled one: it is held for as long as whoever asked reads.
    ///
    /// # Errors
    /// [`OpenError`]; the other side has taken nothing then.
    pub async fn open_api(&self, peer: PeerId) -> Result<FrameStream, OpenError> {
        self.mesh.open(peer, Class::Admin).await
    }

    /// Has the other side carry out a request of its API, and answers with its head and the stream that brings the body
    /// by [`next_part`]. `after` is for the head.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn api_stream(
        &self,
        mut stream: FrameStream,
        call: ApiCall,
        body: &Bytes,
        after: Duration,
    ) -> Result<(ApiAnswer, FrameStream), CallError> {
        let asking = async {
            stream.send(encode(&Request::ApiStream(Box::new((call, body.len() as u64))))).await?;
            send_parts(&mut stream, body).await?;
            match receive(&mut stream).await? {
                Answer::ApiHead { status, headers } => Ok((ApiAnswer { status, headers, body: Bytes::new() }, stream)),
                Answer::Unavailable(why) => Err(CallError::NotDone(why)),
                Answer::Denied(why) => Err(CallError::Denied(why)),
                _ => Err(CallError::Unexpected("expected an answer of the API")),
            }
        };
        tokio::time::timeout(after, asking).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// A stream on which `request` was sent. One that no call used may be of a connection that is gone, and does not take it:
    /// the others of that time are no better, and a new one is opened.
    async fn begin(&self, peer: PeerId, class: Class, request: &Request) -> Result<FrameStream, CallError> {
        self.begin_with(peer, class, request, &Bytes::new()).await
    }

    async fn stream_with(
        &self,
        peer: PeerId,
        class: Class,
        (request, part): (Bytes, Bytes),
    ) -> Result<FrameStream, CallError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&(peer, class)).and_then(Vec::pop);
        if let Some(mut stream) = idle.filter(|_| self.mesh.is_connected(peer)) {
            match send_with(&mut stream, request.clone(), part.clone()).await {
                Ok(()) => return Ok(stream),
                Err(FrameError::Lost { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&(peer, class));
        let mut stream = self.mesh.open(peer, class).await?;
        send_with(&mut stream, request, part).await?;
        Ok(stream)
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

/// The next part of a body that comes as it is made; `None` at its end.
///
/// # Errors
/// [`CallError`] where it breaks off.
pub async fn next_part(stream: &mut FrameStream) -> Result<Option<Bytes>, CallError> {
    let part = stream.receive().await?.ok_or(CallError::HungUp)?;
    Ok((!part.is_empty()).then_some(part))
}

/// What the other side says of a chunk that it was to hold.
fn received(receipt: Answer) -> Result<(), CallError> {
    match receipt {
        Answer::Done => Ok(()),
        Answer::Full(why) => Err(CallError::Full(why)),
        Answer::Unavailable(why) => Err(CallError::NotDone(why)),
        Answer::Denied(why) => Err(CallError::Denied(why)),
        _ => Err(CallError::Unexpected("expected a receipt for the chunk")),
    }
}

async fn receive(stream: &mut FrameStream) -> Result<Answer, CallError> {
    let frame = stream.receive().await?.ok_or(CallError::HungUp)?;
    Ok(codec::decode(Kind::CallFrame, &frame)?)
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    codec::encode(Kind::CallFrame, value).into()
}
