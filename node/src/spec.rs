//! A job's spec as bytes: read and written here alone, wherever the log keeps it.

use std::sync::Arc;
use std::time::Duration;

use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::{LeaseRef, SpecRef};
use pentora_raft::{Digest, Raft};
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
        SpecRef::Chunk { digest, holders } => exchange.fetch(digest, &holders).await?.to_vec(),
    };
    decode(&bytes).map_err(|error| error.to_string())
}

/// The spec of a leased unit.
///
/// # Errors
/// A sentence where it is not to be had now.
pub async fn of_lease(raft: &Raft, exchange: &Exchange, lease: LeaseRef) -> Result<Arc<ScanSpec>, String> {
    if !raft.wait_applied(lease.epoch, SPEC_WAIT).await {
        return Err("this node has not applied the grant yet".into());
    }
    let job = lease.unit.job;
    let kept = raft.read(|state| state.spec(job).cloned()).ok_or_else(|| format!("{job} is gone"))?;
    read(exchange, kept).await.map(Arc::new)
}
