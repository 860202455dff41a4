//! A copy of results that this node was given, as a part of its job's trace.

use bytes::Bytes;
use pentora_raft::Digest;

use super::StreamServices;
use crate::results::{ChunkReader, EARLIER_RUN};
use crate::traces::Place;

/// Tells of a copy that this node was given, as a part of the chunk's own job; what is no unit's results belongs to none.
pub(super) fn tell(
    services: &StreamServices,
    digest: Digest,
    bytes: &Bytes,
    began_ns: u64,
    fault: Option<&impl ToString>,
) {
    if !services.traces.are_told() {
        return;
    }
    let heading = ChunkReader::open(bytes.clone()).ok().map(|chunk| chunk.heading());
    if let Some(heading) = heading.filter(|heading| heading.unit.job != EARLIER_RUN) {
        let place = Place::Keep(digest, services.raft.node());
        let facts = || vec![("bytes", (bytes.len() as u64).into())];
        services.traces.tell(heading.unit.job, place, began_ns, facts, fault.map(ToString::to_string));
    }
}
