//! Chunks on their way to another node, one or many with a call.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use pentora_p2p::{Class, FrameError, FrameStream, PeerId};
use pentora_raft::Digest;
use pentora_raft::command::StoredChunk;
use serde::{Deserialize, Serialize};

use super::{Answer, CallError, Calls, PART_BYTES, Request, encode, receive, received, send_parts};

/// What came of one of the chunks that a node was brought. Append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receipt {
    /// It is on that node's disk.
    Kept,
    /// It is durable there.
    Stored(StoredChunk),
    /// The node is below its floor of free space and takes no more results.
    Full(String),
    /// It could not be kept now.
    Unavailable(String),
    /// The caller may not have it kept, for this reason.
    Denied(String),
}

/// Chunks that are brought with one call at most.
pub const BROUGHT_MAX: usize = 128;

impl Calls {
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
            let request = Request::PutChunk { digest, bytes: bytes.len() as u64 };
            let mut stream = self.begin_with(peer, Class::Chunk, &request, bytes).await?;
            let receipt = receive(&mut stream).await?;
            self.give_back(peer, Class::Chunk, stream);
            received(receipt)
        };
        tokio::time::timeout(after, putting).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// Has a gateway make a chunk durable, and waits for its word on where it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn hand_in(
        &self,
        peer: PeerId,
        digest: Digest,
        bytes: &Bytes,
        after: Duration,
    ) -> Result<StoredChunk, CallError> {
        let handing = async {
            let request = Request::HandIn { digest, bytes: bytes.len() as u64 };
            let mut stream = self.begin_with(peer, Class::Chunk, &request, bytes).await?;
            let answer = receive(&mut stream).await?;
            self.give_back(peer, Class::Chunk, stream);
            match answer {
                Answer::Stored(stored) => Ok(stored),
                other => Err(received(other).err().unwrap_or(CallError::Unexpected("expected where the chunk is"))),
            }
        };
        tokio::time::timeout(after, handing).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// Brings chunks, [`BROUGHT_MAX`] at most, and waits until it is known what came of each.
    ///
    /// # Errors
    /// [`CallError`]; a node of an earlier release, which does not know this call, hangs up.
    pub async fn bring(
        &self,
        peer: PeerId,
        chunks: &[(Digest, Bytes)],
        to_hand_in: bool,
        after: Duration,
    ) -> Result<Vec<Receipt>, CallError> {
        let bringing = async {
            let names = chunks.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
            let bytes: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let request = Request::Bring { chunks: names, to_hand_in };
            let mut stream = self.begin_with(peer, Class::Chunk, &request, &bytes.into()).await?;
            let answer = receive(&mut stream).await?;
            self.give_back(peer, Class::Chunk, stream);
            match answer {
                Answer::Brought(receipts) if receipts.len() == chunks.len() => Ok(receipts),
                other => {
                    Err(received(other).err().unwrap_or(CallError::Unexpected("expected what came of each chunk")))
                }
            }
        };
        tokio::time::timeout(after, bringing).await.unwrap_or(Err(CallError::TimedOut { after }))
    }

    /// The same with bytes behind the request, in parts, of which the first one goes with it.
    pub(super) async fn begin_with(
        &self,
        peer: PeerId,
        class: Class,
        request: &Request,
        bytes: &Bytes,
    ) -> Result<FrameStream, CallError> {
        let mut behind = bytes.clone();
        let first = (encode(request), behind.split_to(PART_BYTES.min(behind.len())));
        let mut stream = self.stream_with(peer, class, first).await?;
        send_parts(&mut stream, &behind).await?;
        Ok(stream)
    }
}

/// Sends a request and what is behind it, if anything, in one write where both are small.
pub(super) async fn send_with(stream: &mut FrameStream, request: Bytes, part: Bytes) -> Result<(), FrameError> {
    if part.is_empty() {
        return stream.send(request).await;
    }
    stream.sink.feed(request).await?;
    stream.send(part).await
}
