//! A chunk: the records of one unit, encoded and compressed.
//!
//! Layout: version byte, kind byte, in version 3 the region that the chunk does not leave behind its length, the heading
//! behind its length, then blocks of records to the end. A block is LZ4 of
//! some 256 KiB behind its length and its unpacked length; in it, each record stands behind its own, so that one of a later
//! release, with further fields at its end, is read as far as it is known here. Lengths are `u32`,
//! little-endian. So a chunk is written and read with one block in memory, however many hosts it holds. The digest that
//! names a chunk is over these bytes, so holders verify without unpacking; and whoever has a chunk knows from it alone to
//! whom it may be given, also where the log has forgotten its job.

use bytes::{Buf, Bytes};
use pentora_raft::JobId;
use pentora_raft::codec::{self, CodecError, Kind};
use pentora_raft::command::UnitKey;
use pentora_scanner::finding::HostRecord;
use serde::{Deserialize, Serialize};

const LAYOUT_VERSION: u8 = 2;
/// The same with a region in front; releases that do not know of regions refuse it.
const LAYOUT_VERSION_OF_REGION: u8 = 3;
/// The longest name of a region, in bytes. Ours: far above any label.
const REGION_BYTES_MAX: usize = 256;
const LAYOUT_LZ4_BLOCKS: u8 = 1;
/// A block is closed when it holds so many bytes: LZ4 looks back over 64 KiB, so larger ones pack no better.
const BLOCK_BYTES: usize = 256 << 10;
/// The largest block that is unpacked, in bytes after unpacking: one record of the largest size that is decoded.
const BLOCK_UNPACKED_BYTES_MAX: usize = BLOCK_BYTES + codec::DECODE_BYTES_MAX;

/// The job in the heading of a unit that was finished before its job was submitted, and so before that had an id.
pub const EARLIER_RUN: JobId = JobId(0);

/// What a chunk holds the results of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Which unit.
    pub unit: UnitKey,
    /// The index after its last.
    pub end: u64,
}

/// Bytes that are no chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Of another layout, or no chunk at all.
    #[error("these bytes are no chunk that this release knows")]
    Layout,
    /// A length that leads out of the chunk.
    #[error("the chunk is cut short")]
    CutShort,
    /// Larger than any block.
    #[error("a block of {bytes} bytes unpacked is larger than any can be")]
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

/// A chunk that is being written, record by record.
#[derive(Debug)]
pub struct ChunkWriter {
    packed: Vec<u8>,
    block: Vec<u8>,
}

impl ChunkWriter {
    /// A chunk without records yet.
    #[must_use]
    pub fn new(heading: &Heading) -> Self {
        Self::within(None, heading)
    }

    /// The same, of a chunk that does not leave `region`, where there is one.
    #[must_use]
    pub fn within(region: Option<&str>, heading: &Heading) -> Self {
        let version = if region.is_some() { LAYOUT_VERSION_OF_REGION } else { LAYOUT_VERSION };
        let mut packed = vec![version, LAYOUT_LZ4_BLOCKS];
        if let Some(region) = region {
            put(&mut packed, region.as_bytes());
        }
        put(&mut packed, &codec::encode(Kind::Chunk, heading));
        Self { packed, block: Vec::new() }
    }

    /// Adds a host.
    pub fn push(&mut self, record: &HostRecord) {
        put(&mut self.block, &codec::encode(Kind::Host, record));
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    /// Adds the hosts of a whole chunk, without unpacking them.
    ///
    /// # Errors
    /// [`ChunkError`] where it does not begin like one.
    pub fn append(&mut self, chunk: Bytes) -> Result<(), ChunkError> {
        let reader = ChunkReader::open(chunk)?;
        self.close_block();
        self.packed.extend(&reader.rest);
        Ok(())
    }

    /// The chunk's bytes.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.close_block();
        self.packed.into()
    }

    fn close_block(&mut self) {
        if !self.block.is_empty() {
            put(&mut self.packed, &lz4_flex::compress_prepend_size(&self.block));
            self.block.clear();
        }
    }
}

/// A chunk that is being read, block by block.
#[derive(Debug)]
pub struct ChunkReader {
    rest: Bytes,
    heading: Heading,
    region: Option<String>,
}

impl ChunkReader {
    /// Begins to read a chunk.
    ///
    /// # Errors
    /// [`ChunkError`] where it does not begin like one.
    pub fn open(bytes: Bytes) -> Result<Self, ChunkError> {
        let [version @ (LAYOUT_VERSION | LAYOUT_VERSION_OF_REGION), LAYOUT_LZ4_BLOCKS, ..] = bytes[..] else {
            return Err(ChunkError::Layout);
        };
        let mut rest = bytes.slice(2..);
        let region = if version == LAYOUT_VERSION_OF_REGION { Some(region_of(&take(&mut rest)?)?) } else { None };
        let heading = codec::decode(Kind::Chunk, &take(&mut rest)?)?;
        Ok(Self { rest, heading, region })
    }

    /// The region that it does not leave, where there is one.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// What it holds the results of.
    #[must_use]
    pub fn heading(&self) -> Heading {
        self.heading
    }

    /// The next records; `None` after the last.
    ///
    /// # Errors
    /// [`ChunkError`]; memory is taken only for what a block can be. Nothing can be read behind an error.
    pub fn next_block(&mut self) -> Result<Option<Vec<HostRecord>>, ChunkError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let packed = take(&mut self.rest)?;
        let claimed = packed.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        let claimed = claimed.ok_or(ChunkError::CutShort)?;
        if claimed > BLOCK_UNPACKED_BYTES_MAX {
            return Err(ChunkError::TooLarge { bytes: claimed });
        }
        let mut block = Bytes::from(lz4_flex::decompress_size_prepended(&packed)?);
        let mut records = Vec::new();
        while !block.is_empty() {
            // In the middle of an upgrade there are chunks of the release after this one.
            records.push(codec::decode_known(Kind::Host, &take(&mut block)?)?);
        }
        Ok(Some(records))
    }

    /// All records that follow, in one piece.
    ///
    /// # Errors
    /// As [`Self::next_block`].
    pub fn into_records(mut self) -> Result<Vec<HostRecord>, ChunkError> {
        let mut records = Vec::new();
        while let Some(block) = self.next_block()? {
            records.extend(block);
        }
        Ok(records)
    }
}

/// The name of a region.
fn region_of(bytes: &[u8]) -> Result<String, ChunkError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && text.len() <= REGION_BYTES_MAX);
    text.map(str::to_owned).ok_or(ChunkError::Layout)
}

/// Writes bytes behind their length.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("blocks and records are far below 4 GiB");
    out.extend(length.to_le_bytes());
    out.extend(bytes);
}

/// Takes bytes from behind their length.
fn take(from: &mut Bytes) -> Result<Bytes, ChunkError> {
    let length = from.try_get_u32_le().map_err(|_short| ChunkError::CutShort)? as usize;
    if length > from.len() { Err(ChunkError::CutShort) } else { Ok(from.split_to(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_scanner::finding::{HostState, Identity, NotShown, PortRecord, PortState, Reason};
    use pentora_scanner::port::Protocol;
    use proptest::prelude::*;

    const HEADING: Heading = Heading { unit: UnitKey { job: JobId(9), partition: 0, start: 0 }, end: 200 };

    fn records(hosts: u16) -> Vec<HostRecord> {
        let record = |host: u16| HostRecord {
            address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::from(host)).into(),
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
            ended_at_ms: 1_700_000_009_000,
            tcp: None,
            identity: Identity::default(),
            likely_found_permille: None,
            is_target_itself: false,
            redirected: Vec::new(),
            stopped_after_probes: None,
        };
        (0..hosts).map(record).collect()
    }

    fn packed(records: &[HostRecord]) -> Bytes {
        let mut chunk = ChunkWriter::new(&HEADING);
        records.iter().for_each(|record| chunk.push(record));
        chunk.finish()
    }

    #[test]
    fn fields_that_a_later_release_adds_to_a_record_are_passed_over() {
        let later = |record: &HostRecord| [codec::encode(Kind::Host, record), vec![1, 77, 3]].concat();
        let records = records(3);
        let mut writer = ChunkWriter::new(&HEADING);
        records.iter().for_each(|record| put(&mut writer.block, &later(record)));
        assert_eq!(ChunkReader::open(writer.finish()).unwrap().into_records().unwrap(), records);
    }

    #[test]
    fn a_chunk_reads_back_and_packs_well() {
        let records = records(200);
        let bytes = packed(&records);
        assert!(bytes.len() < 200 * 16, "{}", bytes.len());
        let chunk = ChunkReader::open(bytes).unwrap();
        assert_eq!(chunk.heading(), HEADING);
        assert_eq!(chunk.into_records().unwrap(), records);
        assert!(ChunkReader::open(packed(&[])).unwrap().next_block().unwrap().is_none());
    }

    #[test]
    fn a_chunk_that_stays_in_a_region_says_so_in_front_and_is_none_to_releases_that_do_not_know_of_it() {
        let mut chunk = ChunkWriter::within(Some("eu"), &HEADING);
        records(3).iter().for_each(|record| chunk.push(record));
        let bytes = chunk.finish();
        assert_eq!(bytes[..8], [3, 1, 2, 0, 0, 0, b'e', b'u'], "another version, then the region");
        let read = ChunkReader::open(bytes).unwrap();
        assert_eq!((read.region(), read.heading()), (Some("eu"), HEADING));
        assert_eq!(read.into_records().unwrap(), records(3));
        assert_eq!(ChunkReader::open(packed(&[])).unwrap().region(), None);
        let nameless = ChunkWriter::within(Some(""), &HEADING).finish();
        assert!(matches!(ChunkReader::open(nameless), Err(ChunkError::Layout)), "it would be nowhere");
    }

    #[test]
    fn chunks_are_joined_without_being_unpacked() {
        let records = records(30);
        let mut joined = ChunkWriter::new(&Heading { end: 999, ..HEADING });
        joined.push(&records[0]);
        joined.append(packed(&records[1..20])).unwrap();
        joined.append(packed(&[])).unwrap();
        joined.append(packed(&records[20..])).unwrap();
        assert!(joined.append(Bytes::from_static(b"no chunk")).is_err());
        let chunk = ChunkReader::open(joined.finish()).unwrap();
        assert_eq!(chunk.heading().end, 999);
        assert_eq!(chunk.into_records().unwrap(), records);
    }

    #[test]
    fn a_large_chunk_is_read_a_block_at_a_time() {
        let records = records(20_000);
        let mut chunk = ChunkReader::open(packed(&records)).unwrap();
        let (mut read, mut blocks) = (Vec::new(), 0);
        while let Some(block) = chunk.next_block().unwrap() {
            assert!(block.len() < 10_000, "{}", block.len());
            read.extend(block);
            blocks += 1;
        }
        assert!(blocks > 3, "{blocks}");
        assert_eq!(read, records);
    }

    #[test]
    fn a_block_that_claims_gigabytes_is_refused_before_memory_is_taken() {
        let mut bytes = packed(&[]).to_vec();
        put(&mut bytes, &[0xff, 0xff, 0xff, 0xff, 0]);
        let refused = ChunkReader::open(bytes.into()).unwrap().next_block();
        assert!(matches!(refused, Err(ChunkError::TooLarge { .. })), "{refused:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let _ = ChunkReader::open(bytes.into()).map(ChunkReader::into_records);
            let whole = packed(&records(5));
            let at = at.index(whole.len());
            prop_assert!(at == 0 || ChunkReader::open(whole.slice(..at)).and_then(ChunkReader::into_records).is_ok_and(|read| read.is_empty())
                || ChunkReader::open(whole.slice(..at)).and_then(ChunkReader::into_records).is_err());
            let mut damaged = whole.to_vec();
            damaged[at] ^= flip;
            let _ = ChunkReader::open(damaged.into()).map(ChunkReader::into_records);
        }
    }
}
