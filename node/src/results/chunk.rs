//! A chunk: the records of one unit, encoded and compressed.
//!
//! Layout: version byte, kind byte, then LZ4 of the codec's encoding behind its length (`u32`, little-endian). The
//! digest that names a chunk is over these bytes, so holders verify without unpacking.

use pentora_raft::JobId;
use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::UnitKey;
use pentora_scanner::finding::HostRecord;
use serde::{Deserialize, Serialize};

/// The largest chunk that is unpacked, in bytes after unpacking: what the codec decodes at most.
const UNPACKED_BYTES_MAX: usize = codec::DECODE_BYTES_MAX;

const LAYOUT_VERSION: u8 = 1;
const LAYOUT_LZ4: u8 = 1;

/// The job in the heading of a unit that was finished before its job was submitted, and so before that had an id.
pub const EARLIER_RUN: JobId = JobId(0);

/// The results of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Which unit.
    pub unit: UnitKey,
    /// The index after its last.
    pub end: u64,
    /// The hosts that answered, by address.
    pub records: Vec<HostRecord>,
}

/// Bytes that are no chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Of another layout, or no chunk at all.
    #[error("these bytes are no chunk that this release knows")]
    Layout,
    /// Larger than any chunk.
    #[error("a chunk of {bytes} bytes unpacked is larger than any can be")]
    TooLarge {
        /// What it claims to unpack to.
        bytes: usize,
    },
    /// The compression is broken.
    #[error("the chunk does not unpack: {0}")]
    Packed(#[from] lz4_flex::block::DecompressError),
    /// The contents do not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Chunk {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        let mut bytes = vec![LAYOUT_VERSION, LAYOUT_LZ4];
        bytes.extend(lz4_flex::compress_prepend_size(&codec::encode(Kind::Chunk, self)));
        bytes.into()
    }

    /// Reads a chunk back.
    ///
    /// # Errors
    /// [`ChunkError`]; memory is taken only for what a chunk can be.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let [LAYOUT_VERSION, LAYOUT_LZ4, packed @ ..] = bytes else { return Err(ChunkError::Layout) };
        let claimed = packed.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        let claimed = claimed.ok_or(ChunkError::Layout)?;
        if claimed > UNPACKED_BYTES_MAX {
            return Err(ChunkError::TooLarge { bytes: claimed });
        }
        Ok(codec::decode(Kind::Chunk, &lz4_flex::decompress_size_prepended(packed)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_scanner::finding::{HostState, NotShown, PortRecord, PortState, Reason};
    use pentora_scanner::port::Protocol;
    use proptest::prelude::*;

    fn chunk(hosts: u8) -> Chunk {
        let record = |host: u8| HostRecord {
            address: [10, 0, 0, host].into(),
            name: host.is_multiple_of(3).then(|| "db.example".into()),
            state: HostState::Up,
            reason: Reason::SynAck,
            ports: vec![PortRecord {
                port: 22,
                protocol: Protocol::Tcp,
                state: PortState::Open,
                reason: Reason::SynAck,
                banner: Some("SSH-2.0".into()),
                service: None,
                weaknesses: Vec::new(),
            }],
            not_shown: vec![NotShown { state: PortState::Closed, reason: Reason::ConnRefused, count: 99 }],
            started_at_ms: 1_700_000_000_000,
            worker: "wrk_n1".into(),
            is_middlebox: false,
        };
        let unit = UnitKey { job: JobId(9), partition: 0, start: 0 };
        Chunk { unit, end: u64::from(hosts), records: (0..hosts).map(record).collect() }
    }

    #[test]
    fn a_chunk_reads_back_and_packs_well() {
        let chunk = chunk(200);
        let bytes = chunk.encode();
        assert_eq!(Chunk::decode(&bytes).unwrap(), chunk);
        assert!(bytes.len() < 200 * 12, "{}", bytes.len());
    }

    #[test]
    fn a_chunk_that_claims_gigabytes_is_refused_before_memory_is_taken() {
        let bytes = [LAYOUT_VERSION, LAYOUT_LZ4, 0xff, 0xff, 0xff, 0xff, 0];
        assert!(matches!(Chunk::decode(&bytes), Err(ChunkError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let _ = Chunk::decode(&bytes);
            let mut damaged = chunk(5).encode().to_vec();
            let at = at.index(damaged.len());
            damaged[at] ^= flip;
            let _ = Chunk::decode(&damaged);
        }
    }
}
