//! Files that are part of the program, packed by `scanner/build.rs`.

use std::io::{Read, Result};

use flate2::read::DeflateDecoder;

/// Name of a file, and its packed text.
pub(crate) type Packed = (&'static str, &'static [u8]);

/// A file of a folder, by its name.
macro_rules! packed {
    ($folder:literal, $name:literal) => {
        ($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $folder, "/", $name)).as_slice())
    };
}
pub(crate) use packed;

/// Name and text of each of `files`.
///
/// # Errors
/// One is not what was packed.
pub(crate) fn unpack(files: &[Packed]) -> Result<Vec<(&'static str, String)>> {
    let text = |(name, packed): &Packed| {
        let mut text = String::new();
        DeflateDecoder::new(*packed).read_to_string(&mut text)?;
        Ok((*name, text))
    };
    files.iter().map(text).collect()
}
