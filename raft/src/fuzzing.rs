//! Readers that are private to this crate, for the fuzz targets, which are crates of their own.
//!
//! Compiled only with `--cfg fuzzing`, which cargo-fuzz sets: nobody else sees more of the crate than it shows.

use bytes::Bytes;

use crate::store::record;

/// A frame between two Raft peers, read as each of the values that it may hold, and each written again.
#[must_use]
pub fn frames_written_again(bytes: &[u8]) -> Vec<Bytes> {
    crate::network::each_written_again(bytes)
}

/// An entry of the log, read and written again; `None` where it is refused.
#[must_use]
pub fn entry_written_again(bytes: &[u8]) -> Option<Vec<u8>> {
    record::decode_entry(bytes).ok().map(|entry| record::encode_entry(&entry))
}
