//! A job's spec as bytes: read and written here alone, wherever the log keeps it.

use std::sync::Arc;
use std::time::Duration;

use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::{LeaseRef, SpecRef};
use pentora_raft::{Digest, NodeId, Raft, State};
use pentora_scanner::spec::ScanSpec;

use crate::results::Exchange;

/// How long a worker waits for the entry that granted its unit before it asks another node for the spec.
const SPEC_WAIT: Duration = Duration::from_secs(5);

/// A spec as the log keeps it.
#[must_use]
pub fn encode(spec: &ScanSpec) -> Vec<u8> {
    codec::encode(Kind::Spec, spec)
}

/// Reads a spec back.
///
/// # Errors
/// Where the bytes are no spec of this release.
pub fn decode(bytes: &[u8]) -> Result<ScanSpec, CodecError> {
    codec::decode(Kind::Spec, bytes)
}

/// The name of a spec, wherever it is kept.
#[must_use]
pub fn digest(kept: &SpecRef) -> Digest {
    match kept {
        SpecRef::Inline(bytes) => Digest::of(bytes),
        SpecRef::Chunk { digest, .. } => *digest,
    }
}

/// A spec that the log holds, or names the chunk of.
///
/// # Errors
/// A sentence where it is not to be had now.
pub async fn read(exchange: &Exchange, kept: SpecRef) -> Result<ScanSpec, String> {
    let bytes = match kept {
        SpecRef::Inline(bytes) => bytes,
        SpecRef::Chunk { digest, holders } => {
            exchange.fetch(digest, &holders).await.map_err(|error| error.to_string())?.to_vec()
        }
    };
    decode(&bytes).map_err(|error| error.to_string())
}

/// Why a leased unit's spec is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotToBeHad {
    /// It may come.
    #[error("{0}")]
    Now(String),
    /// The log grants no such lease to this node, or not any more.
    #[error("the log does not grant that unit to this node")]
    NotGranted,
}

/// The spec of a unit that was said to be leased to this node up to `end`, once the log says so here as well.
///
/// # Errors
/// [`NotToBeHad`].
pub async fn of_lease(
    raft: &Raft,
    exchange: &Exchange,
    lease: LeaseRef,
    end: u64,
) -> Result<Arc<ScanSpec>, NotToBeHad> {
    if !raft.wait_applied(lease.epoch, SPEC_WAIT).await {
        return Err(NotToBeHad::Now("this node has not applied the grant yet".into()));
    }
    if !raft.read(|state| is_granted(state, lease, end, raft.node())) {
        return Err(NotToBeHad::NotGranted);
    }
    let job = lease.unit.job;
    let kept = raft.read(|state| state.spec(job).cloned()).ok_or(NotToBeHad::NotGranted)?;
    read(exchange, kept).await.map(Arc::new).map_err(NotToBeHad::Now)
}

/// Whether the log has this lease, for this node, up to there: whoever leads may say what it likes.
fn is_granted(state: &State, lease: LeaseRef, end: u64, own: NodeId) -> bool {
    let standing = state.lease(&lease.unit);
    standing.is_some_and(|standing| (standing.epoch, standing.node, standing.end) == (lease.epoch, own, end))
}
