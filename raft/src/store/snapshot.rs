//! A snapshot: a header, the state's rows, and the BLAKE3 of all of it, in a file or in memory.
//!
//! Layout: `u32` length and header (codec, [`Kind::SnapshotHeader`]); then for each row `u32` length and key, `u32`
//! length and value; a zero `u32`; 32 bytes of BLAKE3 over everything before. Integers are little-endian. The digest is
//! verified before the first row is used.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::MetaRecord;
use crate::codec::{self, Kind};
use crate::kill_point;

/// The largest key or value that a snapshot may carry, in bytes: no larger row decodes.
const CELL_BYTES_MAX: usize = codec::DECODE_BYTES_MAX;

/// A whole snapshot, ready to be sent or installed.
#[derive(Debug, Clone)]
pub(crate) enum SnapshotData {
    /// In a file; one that was received is removed when the last handle goes.
    File(Arc<SnapshotFile>),
    /// In memory.
    Memory(Arc<Vec<u8>>),
}

/// A snapshot's file.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    temporary: bool,
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a received snapshot was not removed");
        }
    }
}

impl SnapshotData {
    pub(crate) fn kept_file(path: PathBuf) -> Self {
        Self::File(Arc::new(SnapshotFile { path, temporary: false }))
    }

    pub(crate) fn received_file(path: PathBuf) -> Self {
        Self::File(Arc::new(SnapshotFile { path, temporary: true }))
    }

    /// Its bytes from the beginning.
    pub(crate) fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File(file) => Box::new(BufReader::with_capacity(256 << 10, File::open(&file.path)?)),
            Self::Memory(bytes) => Box::new(Cursor::new(SharedBytes(Arc::clone(bytes)))),
        })
    }
}

struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Writes a snapshot row by row.
pub(crate) struct Writer<W: Write> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    pub(crate) fn begin(out: W, meta: &MetaRecord) -> io::Result<Self> {
        let mut writer = Self { out, hasher: blake3::Hasher::new() };
        writer.cell(&codec::encode(Kind::SnapshotHeader, meta))?;
        Ok(writer)
    }

    pub(crate) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.cell(key)?;
        self.cell(value)
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.put(&0u32.to_le_bytes())?;
        let digest = self.hasher.finalize();
        self.out.write_all(digest.as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn cell(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a snapshot whole: verifies it, then calls `row` for each row. Answers its header.
pub(crate) fn read(
    data: &SnapshotData,
    mut row: impl FnMut(Vec<u8>, Vec<u8>) -> io::Result<()>,
) -> io::Result<MetaRecord> {
    walk(data, &mut |_, _| Ok(()))?;
    walk(data, &mut row)
}

/// Reads only the header.
pub(crate) fn read_header(data: &SnapshotData) -> io::Result<MetaRecord> {
    let mut hashed = Hashed { input: data.reader()?, hasher: blake3::Hasher::new() };
    let header = hashed.cell()?.ok_or_else(|| damaged("it is empty"))?;
    codec::decode_stored(Kind::SnapshotHeader, &header)
}

fn walk(data: &SnapshotData, row: &mut dyn FnMut(Vec<u8>, Vec<u8>) -> io::Result<()>) -> io::Result<MetaRecord> {
    let mut hashed = Hashed { input: data.reader()?, hasher: blake3::Hasher::new() };
    let header = hashed.cell()?.ok_or_else(|| damaged("it is empty"))?;
    let meta = codec::decode_stored(Kind::SnapshotHeader, &header)?;
    while let Some(key) = hashed.cell()? {
        let value = hashed.cell()?.ok_or_else(|| damaged("a row has no value"))?;
        row(key, value)?;
    }
    let mut stored = [0u8; 32];
    hashed.input.read_exact(&mut stored)?;
    if *hashed.hasher.finalize().as_bytes() == stored { Ok(meta) } else { Err(damaged("its digest is another")) }
}

struct Hashed {
    input: Box<dyn Read + Send>,
    hasher: blake3::Hasher,
}

impl Hashed {
    /// The next cell, or `None` at the end mark.
    fn cell(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0u8; 4];
        self.input.read_exact(&mut length)?;
        self.hasher.update(&length);
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > CELL_BYTES_MAX {
            return Err(damaged("a row is larger than any row can be"));
        }
        let mut bytes = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(damaged("it is cut short"));
        }
        self.hasher.update(&bytes);
        Ok(Some(bytes))
    }
}

/// Writes a snapshot's file, durable before it is visible under its name.
pub(crate) struct FileWriter {
    writer: Writer<BufWriter<File>>,
    meta: MetaRecord,
    dir: PathBuf,
    temporary: PathBuf,
}

impl FileWriter {
    pub(crate) fn create(dir: &Path, meta: MetaRecord) -> io::Result<Self> {
        let temporary = dir.join("building.tmp");
        let writer = Writer::begin(BufWriter::new(File::create(&temporary)?), &meta)?;
        Ok(Self { writer, meta, dir: dir.to_owned(), temporary })
    }

    pub(crate) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.writer.row(key, value)
    }

    pub(crate) fn meta(&self) -> &MetaRecord {
        &self.meta
    }

    /// Answers where the file is kept.
    pub(crate) fn finish(self) -> io::Result<PathBuf> {
        let file = self.writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        publish(&self.temporary, &self.dir, &self.meta)
    }
}

/// Makes a verified snapshot the kept one in `dir`.
pub(crate) fn keep(data: &SnapshotData, dir: &Path, meta: &MetaRecord) -> io::Result<PathBuf> {
    let temporary = dir.join("keeping.tmp");
    let mut file = File::create(&temporary)?;
    io::copy(&mut data.reader()?, &mut file)?;
    file.sync_all()?;
    publish(&temporary, dir, meta)
}

/// Gives a finished file its name, which sorts by what it holds up to.
fn publish(temporary: &Path, dir: &Path, meta: &MetaRecord) -> io::Result<PathBuf> {
    let path = dir.join(format!("{:020}.snap", meta.last().map_or(0, |id| id.index)));
    kill_point::reached("snapshot-written");
    std::fs::rename(temporary, &path)?;
    kill_point::reached("snapshot-renamed");
    File::open(dir)?.sync_all()?;
    Ok(path)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta() -> MetaRecord {
        MetaRecord::new(None, &crate::raft_types::StoredMembership::default())
    }

    fn snapshot(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &meta()).unwrap();
        rows.iter().for_each(|(key, value)| writer.row(key, value).unwrap());
        writer.finish().unwrap()
    }

    fn collect(bytes: Vec<u8>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut rows = Vec::new();
        read(&SnapshotData::Memory(Arc::new(bytes)), |key, value| {
            rows.push((key, value));
            Ok(())
        })?;
        Ok(rows)
    }

    proptest! {
        #[test]
        fn a_snapshot_reads_back_and_any_damage_is_found(
            rows in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..20), proptest::collection::vec(any::<u8>(), 1..60)), 0..20),
            at in any::<proptest::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let bytes = snapshot(&rows);
            prop_assert_eq!(collect(bytes.clone()).unwrap(), rows);
            let mut broken = bytes.clone();
            broken[at.index(bytes.len())] ^= flip;
            prop_assert!(collect(broken).is_err());
            prop_assert!(collect(bytes[..at.index(bytes.len())].to_vec()).is_err());
        }
    }
}
