//! The form in which a feed travels: a heading and sorted entries, in compressed blocks.
//!
//! Layout, numbers little-endian: `PNFD`, version byte, then kind and source (each a `u16` length and UTF-8), the time it
//! was made (`u64`, unix milliseconds) and the number of records (`u64`); blocks, each a `u32` length and LZ4 behind
//! its unpacked size; a length of 0 ends the bundle. A block holds whole entries: `u16` key length, key, `u32` value
//! length, value; keys ascend over the whole bundle. Readers take no memory for more than one block.

use std::io::{self, Write};
use std::ops::Range;

const MAGIC: &[u8; 4] = b"PNFD";
const VERSION: u8 = 1;
/// A block is closed once it has so many bytes, unpacked.
const BLOCK_BYTES: usize = 256 << 10;
/// The largest block that is unpacked: one entry may be as large as a block, no more.
const BLOCK_BYTES_MAX: usize = 4 << 20;
/// The longest key, in bytes: product names and file names are far shorter.
const KEY_BYTES_MAX: usize = 1024;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// What it is about.
    pub kind: String,
    /// Where its records are from, in the importer's words.
    pub source: String,
    /// When it was made, unix milliseconds.
    pub made_at_ms: u64,
    /// How many records its entries hold, for people.
    pub records: u64,
}

/// Bytes that are no whole bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It does not begin as one of this release's does.
    #[error("these bytes are no feed bundle that this release knows")]
    Layout,
    /// It ends too early.
    #[error("the feed bundle is cut off at byte {at}")]
    CutOff {
        /// Where it ends.
        at: usize,
    },
    /// A part of it makes no sense.
    #[error("the feed bundle is damaged at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Whoever takes the entries failed.
    #[error("{0}")]
    Sink(String),
}

/// Writes a bundle. Entries must come in ascending order of their keys.
#[derive(Debug)]
pub struct BundleWriter<W> {
    out: W,
    block: Vec<u8>,
    last: Option<Vec<u8>>,
}

impl<W: Write> BundleWriter<W> {
    /// A bundle on `out`.
    ///
    /// # Errors
    /// What the output fails with; `InvalidInput` for a heading that does not fit.
    pub fn new(mut out: W, heading: &Heading) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&[VERSION])?;
        for text in [&heading.kind, &heading.source] {
            let length = u16::try_from(text.len()).map_err(|_long| invalid("a heading's text is too long"))?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(text.as_bytes())?;
        }
        out.write_all(&heading.made_at_ms.to_le_bytes())?;
        out.write_all(&heading.records.to_le_bytes())?;
        Ok(Self { out, block: Vec::new(), last: None })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the output fails with; `InvalidInput` for a key that does not ascend, or an entry above the limits.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(invalid("entries of a feed bundle must ascend"));
        }
        if key.len() > KEY_BYTES_MAX || value.len() > BLOCK_BYTES_MAX - KEY_BYTES_MAX - 6 {
            return Err(invalid("an entry is too large for a feed bundle"));
        }
        if !self.block.is_empty() && self.block.len() + key.len() + value.len() > BLOCK_BYTES {
            self.close_block()?;
        }
        let (key_length, value_length) = (u16::try_from(key.len()), u32::try_from(value.len()));
        let (Ok(key_length), Ok(value_length)) = (key_length, value_length) else {
            return Err(invalid("an entry is too large for a feed bundle"));
        };
        self.block.extend(key_length.to_le_bytes());
        self.block.extend(key);
        self.block.extend(value_length.to_le_bytes());
        self.block.extend(value);
        self.last = Some(key.to_vec());
        Ok(())
    }

    /// Ends the bundle and gives the output back.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn finish(mut self) -> io::Result<W> {
        self.close_block()?;
        self.out.write_all(&0_u32.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = lz4_flex::compress_prepend_size(&self.block);
        self.block.clear();
        let length = u32::try_from(packed.len()).map_err(|_long| invalid("a block is too large"))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&packed)
    }
}

/// Reads the heading of a bundle.
///
/// # Errors
/// [`BundleError`].
pub fn heading(bytes: &[u8]) -> Result<Heading, BundleError> {
    Cursor { bytes, at: 0 }.heading()
}

/// Hands every entry of a bundle to `each`, and answers the heading. Entries handed over before an error were whole;
/// the caller must not act on them before this has returned.
///
/// # Errors
/// [`BundleError`], among them what `each` fails with.
pub fn read(bytes: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> Result<(), String>) -> Result<Heading, BundleError> {
    let mut cursor = Cursor { bytes, at: 0 };
    let heading = cursor.heading()?;
    let mut entries = Entries::behind(cursor);
    while let Some((key, value)) = entries.next()? {
        each(key, value).map_err(BundleError::Sink)?;
    }
    Ok(heading)
}

/// An entry's key and value.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of a bundle, one after the other: memory for one block, and the key that was last.
#[derive(Debug)]
pub(super) struct Entries<B> {
    cursor: Cursor<B>,
    /// Where the block began that is read.
    began: usize,
    block: Cursor<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl<B: AsRef<[u8]>> Entries<B> {
    /// Those of a bundle whose heading is of no concern.
    ///
    /// # Errors
    /// [`BundleError`], where it has none.
    pub(super) fn of(bytes: B) -> Result<Self, BundleError> {
        let mut cursor = Cursor { bytes, at: 0 };
        cursor.heading()?;
        Ok(Self::behind(cursor))
    }

    fn behind(cursor: Cursor<B>) -> Self {
        Self { began: cursor.at, cursor, block: Cursor { bytes: Vec::new(), at: 0 }, last: None }
    }

    /// The next entry: its key, which is above the one before, and its value. `None` at the bundle's end.
    ///
    /// # Errors
    /// [`BundleError`], where it is cut or damaged here.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>, BundleError> {
        if self.block.at == self.block.bytes.len() && !self.next_block()? {
            return Ok(None);
        }
        let at = self.began;
        let damaged = |what| BundleError::Damaged { at, what };
        let (key, value) = self.block.entry().map_err(|_inner| damaged("a block ends within an entry"))?;
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(damaged("its keys do not ascend"));
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(Some((key, value)))
    }

    /// Unpacks the next block that holds something; without one the bundle ends here.
    fn next_block(&mut self) -> Result<bool, BundleError> {
        loop {
            self.began = self.cursor.at;
            let at = self.began;
            let damaged = |what| BundleError::Damaged { at, what };
            let length = self.cursor.u32()? as usize;
            if length == 0 {
                let is_whole = self.cursor.at == self.cursor.bytes.as_ref().len();
                // Who asks again is told the same.
                self.cursor.at = at;
                return if is_whole { Ok(false) } else { Err(damaged("there is more behind its end")) };
            }
            let packed = self.cursor.take(length)?;
            let claimed = packed.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
            if claimed > BLOCK_BYTES_MAX {
                return Err(damaged("a block claims to be larger than any can be"));
            }
            let block =
                lz4_flex::decompress_size_prepended(packed).map_err(|_broken| damaged("a block does not unpack"))?;
            self.block = Cursor { bytes: block, at: 0 };
            if !self.block.bytes.is_empty() {
                return Ok(true);
            }
        }
    }
}

#[derive(Debug)]
struct Cursor<B> {
    bytes: B,
    at: usize,
}

impl<B: AsRef<[u8]>> Cursor<B> {
    fn take(&mut self, length: usize) -> Result<&[u8], BundleError> {
        let taken = self.span(length)?;
        Ok(self.bytes.as_ref().get(taken).unwrap_or_default())
    }

    /// Where the next bytes lie, which are taken by this.
    fn span(&mut self, length: usize) -> Result<Range<usize>, BundleError> {
        let there = self.bytes.as_ref().len();
        let end = self.at.checked_add(length).filter(|end| *end <= there);
        let from = self.at;
        self.at = end.ok_or(BundleError::CutOff { at: there })?;
        Ok(from..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_length| BundleError::CutOff { at })
    }

    fn u16(&mut self) -> Result<u16, BundleError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BundleError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, BundleError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, BundleError> {
        let length = self.u16()?.into();
        let at = self.at;
        let text = String::from_utf8(self.take(length)?.to_vec());
        text.map_err(|_bytes| BundleError::Damaged { at, what: "a text is not UTF-8" })
    }

    fn heading(&mut self) -> Result<Heading, BundleError> {
        if self.take(5).map_err(|_short| BundleError::Layout)? != [&MAGIC[..], &[VERSION]].concat() {
            return Err(BundleError::Layout);
        }
        let (kind, source) = (self.text()?, self.text()?);
        Ok(Heading { kind, source, made_at_ms: self.u64()?, records: self.u64()? })
    }

    fn entry(&mut self) -> Result<(&[u8], &[u8]), BundleError> {
        let key = self.u16()?.into();
        let key = self.span(key)?;
        let value = self.u32()? as usize;
        let value = self.span(value)?;
        let part = |span| self.bytes.as_ref().get(span).unwrap_or_default();
        Ok((part(key), part(value)))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

    fn heading_of(records: u64) -> Heading {
        Heading { kind: "cve".into(), source: "cves.zip".into(), made_at_ms: 1_700_000_000_000, records }
    }

    fn bundle(entries: &Entries) -> Vec<u8> {
        let mut writer = BundleWriter::new(Vec::new(), &heading_of(entries.len() as u64)).unwrap();
        entries.iter().for_each(|(key, value)| writer.entry(key, value).unwrap());
        writer.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> Result<Entries, BundleError> {
        let mut entries = Entries::new();
        read(bytes, |key, value| {
            entries.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
        Ok(entries)
    }

    #[test]
    fn entries_over_many_blocks_read_back_and_pack_well() {
        let entries: Entries =
            (0..20_000_u32).map(|number| (number.to_be_bytes().to_vec(), b"openbsd:openssh ".repeat(8))).collect();
        let bytes = bundle(&entries);
        assert_eq!(heading(&bytes).unwrap(), heading_of(20_000));
        assert_eq!(unpack(&bytes).unwrap(), entries);
        assert!(bytes.len() < 20_000 * 32, "{}", bytes.len());
    }

    #[test]
    fn entries_that_do_not_ascend_are_refused_by_writer_and_reader() {
        let mut writer = BundleWriter::new(Vec::new(), &heading_of(2)).unwrap();
        writer.entry(b"b", b"").unwrap();
        assert!(writer.entry(b"b", b"").is_err() && writer.entry(b"a", b"").is_err());
        let (one, two) = (bundle(&Entries::from([(vec![2], vec![])])), bundle(&Entries::from([(vec![1], vec![])])));
        let head = one.len() - 4 - 4 - (one.len() - heading_bytes(&one) - 8);
        let spliced = [&one[..one.len() - 4], &two[head..]].concat();
        assert!(matches!(unpack(&spliced), Err(BundleError::Damaged { what: "its keys do not ascend", .. })));
    }

    fn heading_bytes(bytes: &[u8]) -> usize {
        let mut cursor = Cursor { bytes, at: 0 };
        cursor.heading().unwrap();
        cursor.at
    }

    #[test]
    fn a_block_that_claims_gigabytes_is_refused_before_memory_is_taken() {
        let mut bytes = bundle(&Entries::new());
        bytes.truncate(bytes.len() - 4);
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend([0xff; 8]);
        assert!(matches!(unpack(&bytes), Err(BundleError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn any_entries_read_back_and_any_cut_is_an_error(
            entries in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(any::<u8>(), 0..200), 0..50),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = bundle(&entries);
            prop_assert_eq!(unpack(&bytes).unwrap(), entries);
            prop_assert!(unpack(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_damage_makes_reading_panic(at in any::<prop::sample::Index>(), flip in 1_u8.., junk: Vec<u8>) {
            let mut bytes = bundle(&(0..200_u8).map(|key| (vec![key], vec![key; 100])).collect());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = unpack(&bytes);
            let _ = unpack(&junk);
        }
    }
}
