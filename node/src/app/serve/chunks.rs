//! Chunks that other nodes bring, hand in or ask for, as far as `access` lets them.

use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::FrameStream;
use pentora_raft::Digest;

use super::StreamServices;
use crate::access::{self, Denied, Peer};
use crate::results::{ChunkReader, NotKept};
use crate::rpc::calls::{self, Answer, CallError};

/// Holds a chunk that a peer brings against what the peer may have kept.
pub(super) fn may_keep(services: &StreamServices, peer: Peer, bytes: &Bytes) -> Result<(), Denied> {
    let chunk = ChunkReader::open(bytes.clone()).ok();
    let heading = chunk.as_ref().map(ChunkReader::heading);
    let region = chunk.as_ref().and_then(ChunkReader::region);
    services.raft.read(|state| access::chunk(state, services.raft.node(), peer, heading.as_ref(), region))
}

/// Has what a node outside hands in on as many nodes as there should be, in that time.
pub(super) async fn take_in(services: &StreamServices, bytes: Bytes, within: Duration) -> Answer {
    match tokio::time::timeout(within, services.exchange.make_durable(bytes)).await {
        Ok(stored) => Answer::Stored(stored),
        Err(_elapsed) => Answer::Unavailable("the results are not on as many disks as needed yet".into()),
    }
}

/// Gives a node outside what it may read, wherever that is.
pub(super) async fn pass_on_chunk(
    stream: &mut FrameStream,
    services: &StreamServices,
    peer: Peer,
    digest: Digest,
) -> Result<(), CallError> {
    let holders = match services.raft.read(|state| access::readable(state, peer, digest)) {
        Ok(holders) => holders,
        Err(denied) => return calls::send_answer(stream, &Answer::Denied(denied.to_string())).await,
    };
    match services.exchange.fetch(digest, &holders).await {
        Ok(bytes) => {
            calls::send_answer(stream, &Answer::Chunk { bytes: bytes.len() as u64 }).await?;
            calls::send_parts(stream, &bytes).await
        }
        Err(error) => {
            tracing::debug!(%error, "a chunk that a node outside asks for is not to be had now");
            calls::send_answer(stream, &Answer::Unavailable(error.to_string())).await
        }
    }
}

pub(super) async fn send_chunk(
    stream: &mut FrameStream,
    services: &StreamServices,
    peer: Peer,
    digest: Digest,
) -> Result<(), CallError> {
    match services.exchange.store().get(digest).await {
        Ok(Some(bytes)) => {
            let chunk = ChunkReader::open(bytes.clone()).ok();
            let region = chunk.as_ref().and_then(ChunkReader::region);
            if let Err(denied) = services.raft.read(|state| access::given(state, peer, region)) {
                return calls::send_answer(stream, &Answer::Denied(denied.to_string())).await;
            }
            calls::send_answer(stream, &Answer::Chunk { bytes: bytes.len() as u64 }).await?;
            calls::send_parts(stream, &bytes).await
        }
        Ok(None) => calls::send_answer(stream, &Answer::NotFound).await,
        Err(error) => {
            tracing::warn!(%error, "a chunk asked for is not given");
            calls::send_answer(stream, &Answer::Unavailable(error.to_string())).await
        }
    }
}

pub(super) fn kept(kept: Result<(), NotKept>) -> Answer {
    match kept {
        Ok(()) => Answer::Done,
        Err(NotKept::Full(why)) => Answer::Full(why),
        Err(NotKept::Failed(why)) => Answer::Unavailable(why),
    }
}
