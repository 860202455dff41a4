//! Chunks that come together: each is held against what its peer may have kept, and all are written at the same time.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use pentora_p2p::FrameStream;
use pentora_raft::Digest;

use super::chunks::{kept, may_keep, take_in};
use super::{StreamServices, copies};
use crate::access::{Denied, Peer};
use crate::results::NotKept;
use crate::rpc::calls::{self, Answer, BROUGHT_MAX, CHUNK_BYTES_MAX, CallError, Receipt};

/// How long what a node outside hands in may take to be durable; it asks again after that.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(25);
/// The same where others came with it, which are answered together.
const TAKEN_IN_TOGETHER_WITHIN: Duration = Duration::from_secs(5);

/// Takes chunks off a stream, and answers what came of each.
pub(super) async fn take(
    stream: &mut FrameStream,
    services: &StreamServices,
    (peer, may): (Peer, Result<(), Denied>),
    (chunks, to_hand_in): (&[(Digest, u64)], bool),
) -> Result<Answer, CallError> {
    let total = chunks.iter().try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
    let total = total.filter(|total| chunks.len() <= BROUGHT_MAX && *total <= CHUNK_BYTES_MAX as u64);
    let total = total.ok_or(CallError::Unexpected("more chunks than are brought at once"))?;
    let began_ns = services.traces.begin();
    let mut bytes = calls::receive_parts(stream, total).await?;
    if let Err(denied) = may {
        return Ok(Answer::Denied(denied.to_string()));
    }
    let keeping = chunks.iter().map(|(digest, length)| {
        let own = bytes.split_to(usize::try_from(*length).unwrap_or(bytes.len()).min(bytes.len()));
        keep(services, peer, (*digest, own), to_hand_in.then_some(TAKEN_IN_TOGETHER_WITHIN), began_ns)
    });
    let keeping: Vec<_> = keeping.collect();
    Ok(Answer::Brought(join_all(keeping).await))
}

/// The same for one that comes alone.
pub(super) async fn take_one(
    stream: &mut FrameStream,
    services: &StreamServices,
    (peer, may): (Peer, Result<(), Denied>),
    (digest, length): (Digest, u64),
    to_hand_in: bool,
) -> Result<Answer, CallError> {
    let began_ns = services.traces.begin();
    let bytes = calls::receive_parts(stream, length).await?;
    if let Err(denied) = may {
        return Ok(Answer::Denied(denied.to_string()));
    }
    Ok(match keep(services, peer, (digest, bytes), to_hand_in.then_some(TAKEN_IN_WITHIN), began_ns).await {
        Receipt::Kept => Answer::Done,
        Receipt::Stored(stored) => Answer::Stored(stored),
        Receipt::Full(why) => Answer::Full(why),
        Receipt::Unavailable(why) => Answer::Unavailable(why),
        Receipt::Denied(why) => Answer::Denied(why),
    })
}

/// Keeps a chunk here, or has it on as many nodes as there should be `within` a time.
async fn keep(
    services: &StreamServices,
    peer: Peer,
    (digest, bytes): (Digest, Bytes),
    within: Option<Duration>,
    began_ns: u64,
) -> Receipt {
    if Digest::of(&bytes) != digest {
        return Receipt::Unavailable("its bytes are not those that its name says".into());
    }
    if let Err(denied) = may_keep(services, peer, &bytes) {
        return Receipt::Denied(denied.to_string());
    }
    let answer = match within {
        Some(within) => take_in(services, bytes.clone(), within).await,
        None => kept(services.exchange.write(digest, bytes.clone()).await.map_err(NotKept::from)),
    };
    let receipt = match answer {
        Answer::Stored(stored) => Receipt::Stored(stored),
        Answer::Full(why) => Receipt::Full(why),
        Answer::Unavailable(why) => Receipt::Unavailable(why),
        _ => Receipt::Kept,
    };
    let fault = match &receipt {
        Receipt::Full(why) | Receipt::Unavailable(why) => Some(why),
        Receipt::Kept | Receipt::Stored(_) | Receipt::Denied(_) => None,
    };
    copies::tell(services, digest, &bytes, began_ns, fault);
    receipt
}
