//! Readers that are private to this crate, for the fuzz targets, which are crates of their own.
//!
//! Compiled only with `--cfg fuzzing`, which cargo-fuzz sets: nobody else sees more of the crate than it shows.

use crate::frame::codec;
use crate::{Class, FrameError};

/// What a stream's bytes hold.
#[derive(Debug)]
pub struct Read {
    /// The whole frames in them, written again.
    pub written: Vec<u8>,
    /// How many bytes stand behind these.
    pub left: usize,
    /// Why those are refused, where they are.
    pub error: Option<FrameError>,
}

/// Reads the frames in bytes that come in pieces.
#[must_use]
pub fn read_frames(class: Class, pieces: &[&[u8]]) -> Read {
    let (written, left, error) = codec::written_again(class, pieces);
    Read { written: written.to_vec(), left, error }
}
