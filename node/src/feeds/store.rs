//! The feeds of this node, in one RocksDB: each kind is replaced whole, in one step.
//!
//! Entries of a bundle are written under a generation number that nobody reads yet; one synced write then makes that
//! generation the kind's current one, and the rows of the generation before it are dropped. A crash in between leaves
//! rows that no generation claims; they are dropped at the next opening. Readers that run meanwhile see the old feed or
//! the new one, never a mixture.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pentora_raft::Digest;
use pentora_scanner::vuln::store::{Row, RowSource, StoreError};
use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use super::FeedKind;
use super::bundle::{self, BundleError, Heading};

/// Rows of the current generations begin with this byte: kind to generation, digest and heading.
const CURRENT: u8 = b'c';
/// Entries begin with this byte and the generation.
const ENTRY: u8 = b'e';
/// Entries written at once, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Memory for writes, in bytes.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Form of a current row.
const ROW_VERSION: u8 = 1;

/// Why a feed was not stored or read. The feed before it stays.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The database cannot be opened.
    #[error("the feeds in {path} cannot be opened: {why}")]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What RocksDB says.
        why: String,
    },
    /// The database fails.
    #[error("the feeds cannot be read or written: {0}")]
    Database(String),
    /// The bundle is not whole.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle is about something else.
    #[error("the bundle is a feed of kind {found}, not {wanted}")]
    Kind {
        /// What it says.
        found: String,
        /// What was to be stored.
        wanted: FeedKind,
    },
    /// It was opened for reading only.
    #[error("these feeds are open for reading only")]
    ReadOnly,
}

impl From<rocksdb::Error> for FeedError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Database(error.into_string())
    }
}

/// The current feed of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// What the bundle said of itself.
    pub heading: Heading,
    /// The bundle's digest.
    pub digest: Digest,
    generation: u64,
}

/// The feeds of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FeedStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Opened at the first use, where it is not at once.
    db: OnceLock<DB>,
    opening: Mutex<()>,
    is_writable: bool,
    /// Held while a feed is replaced: one at a time.
    replacing: Mutex<()>,
}

impl FeedStore {
    /// Opens or makes the feeds in a folder, for the one process that may change them.
    ///
    /// # Errors
    /// [`FeedError::Open`], also where another process has them open.
    pub fn open(path: &Path) -> Result<Self, FeedError> {
        let store = Self::lazy(path);
        store.db()?;
        store.drop_unclaimed()?;
        Ok(store)
    }

    /// The feeds in a folder, for the one process that may change them. Nothing is opened or made before the first feed is
    /// there.
    #[must_use]
    pub fn lazy(path: &Path) -> Self {
        Self::of(path, OnceLock::new(), true)
    }

    fn of(path: &Path, db: OnceLock<DB>, is_writable: bool) -> Self {
        let (path, opening, replacing) = (path.to_owned(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { path, db, opening, is_writable, replacing }))
    }

    /// The database, opened where it is not yet.
    fn db(&self) -> Result<&DB, FeedError> {
        let _opening = self.0.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = self.0.db.get() {
            return Ok(db);
        }
        let failed = |why: String| FeedError::Open { path: self.0.path.clone(), why };
        std::fs::create_dir_all(&self.0.path).map_err(|error: io::Error| failed(error.to_string()))?;
        let db = DB::open(&options(), &self.0.path).map_err(|error| failed(error.into_string()))?;
        Ok(self.0.db.get_or_init(|| db))
    }

    /// Whether there may be a feed: without one nothing is opened to look for it.
    fn is_begun(&self) -> bool {
        self.0.db.get().is_some() || self.0.path.join("CURRENT").exists()
    }

    /// Opens feeds for reading beside whoever writes them; `None` where there are none.
    ///
    /// # Errors
    /// [`FeedError::Open`].
    pub fn open_to_read(path: &Path) -> Result<Option<Self>, FeedError> {
        if !path.join("CURRENT").exists() {
            return Ok(None);
        }
        let db = DB::open_for_read_only(&options(), path, false)
            .map_err(|error| FeedError::Open { path: path.to_owned(), why: error.into_string() })?;
        Ok(Some(Self::of(path, OnceLock::from(db), false)))
    }

    /// The current feed of a kind.
    ///
    /// # Errors
    /// [`FeedError::Database`].
    pub fn current(&self, kind: FeedKind) -> Result<Option<Current>, FeedError> {
        if !self.is_begun() {
            return Ok(None);
        }
        let row = self.db()?.get(current_key(kind))?;
        row.map(|row| decode_current(&row).ok_or_else(|| damaged(kind))).transpose()
    }

    /// One entry of a kind's current feed.
    ///
    /// # Errors
    /// [`FeedError::Database`].
    pub fn get(&self, kind: FeedKind, key: &[u8]) -> Result<Option<Vec<u8>>, FeedError> {
        let Some(current) = self.current(kind)? else { return Ok(None) };
        Ok(self.db()?.get(entry_key(current.generation, key))?)
    }

    /// Hands every entry of a kind's current feed to `each`, by ascending key.
    ///
    /// # Errors
    /// [`FeedError::Database`], and what `each` fails with.
    pub fn for_each(
        &self,
        kind: FeedKind,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<(), FeedError> {
        let Some(current) = self.current(kind)? else { return Ok(()) };
        let prefix = entry_key(current.generation, &[]);
        for row in self.db()?.iterator(IteratorMode::From(&prefix, Direction::Forward)) {
            let (key, value) = row?;
            let Some(key) = key.strip_prefix(prefix.as_slice()) else { break };
            each(key, &value).map_err(FeedError::Database)?;
        }
        Ok(())
    }

    /// Up to `rows_max` entries whose keys begin with `prefix`, by ascending key.
    ///
    /// # Errors
    /// [`FeedError::Database`].
    pub fn entries(&self, kind: FeedKind, prefix: &[u8], rows_max: usize) -> Result<Vec<Row>, FeedError> {
        let Some(current) = self.current(kind)? else { return Ok(Vec::new()) };
        let generation = entry_key(current.generation, &[]);
        let from = entry_key(current.generation, prefix);
        let mut entries = Vec::new();
        for row in self.db()?.iterator(IteratorMode::From(&from, Direction::Forward)).take(rows_max) {
            let (key, value) = row?;
            let Some(key) = key.strip_prefix(generation.as_slice()).filter(|key| key.starts_with(prefix)) else {
                break;
            };
            entries.push(Row { key: key.to_vec(), value: value.into_vec() });
        }
        Ok(entries)
    }

    /// Makes a bundle the current feed of its kind; on disk when this returns. With an error the feed before it stays.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn replace(&self, kind: FeedKind, bytes: &[u8]) -> Result<Current, FeedError> {
        if !self.0.is_writable {
            return Err(FeedError::ReadOnly);
        }
        let found = bundle::heading(bytes)?.kind;
        if found != kind.as_str() {
            return Err(FeedError::Kind { found, wanted: kind });
        }
        let _replacing = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generations()?.into_iter().max().unwrap_or(0) + 1;
        let stored = self.write_entries(generation, bytes).and_then(|heading| {
            let current = Current { heading, digest: Digest::of(bytes), generation };
            let mut batch = WriteBatch::default();
            batch.put(current_key(kind), encode_current(&current));
            self.db()?.write_opt(batch, &synced())?;
            Ok(current)
        });
        // After a success these are the rows of the feed before, after a failure those that were written in vain.
        let tidied = self.drop_unclaimed();
        let current = stored?;
        tidied?;
        Ok(current)
    }

    /// Takes a kind's feed away.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn remove(&self, kind: FeedKind) -> Result<(), FeedError> {
        if !self.0.is_writable {
            return Err(FeedError::ReadOnly);
        }
        if !self.is_begun() {
            return Ok(());
        }
        let _replacing = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = WriteBatch::default();
        batch.delete(current_key(kind));
        self.db()?.write_opt(batch, &synced())?;
        self.drop_unclaimed()
    }

    fn write_entries(&self, generation: u64, bytes: &[u8]) -> Result<Heading, FeedError> {
        let db = self.db()?;
        let mut batch = WriteBatch::default();
        let heading = bundle::read(bytes, |key, value| {
            batch.put(entry_key(generation, key), value);
            if batch.size_in_bytes() >= BATCH_BYTES {
                db.write(std::mem::take(&mut batch)).map_err(rocksdb::Error::into_string)?;
            }
            Ok(())
        })?;
        db.write(batch)?;
        Ok(heading)
    }

    /// Every generation that has rows. Each is found by one seek, so this costs nothing beside the rows themselves.
    fn generations(&self) -> Result<Vec<u64>, FeedError> {
        let mut found = Vec::new();
        let mut from = vec![ENTRY];
        while let Some(row) = self.db()?.iterator(IteratorMode::From(&from, Direction::Forward)).next() {
            let (key, _) = row?;
            let Some(generation) = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes) else {
                break;
            };
            if key.first() != Some(&ENTRY) {
                break;
            }
            found.push(generation);
            let Some(next) = generation.checked_add(1) else { break };
            from = entry_key(next, &[]);
        }
        // A feed without entries has a generation all the same.
        for kind in FeedKind::ALL {
            found.extend(self.current(kind)?.map(|current| current.generation));
        }
        Ok(found)
    }

    /// Drops the rows of generations that are nobody's current one.
    fn drop_unclaimed(&self) -> Result<(), FeedError> {
        let mut claimed = Vec::new();
        for kind in FeedKind::ALL {
            claimed.extend(self.current(kind)?.map(|current| current.generation));
        }
        for generation in self.generations()? {
            if !claimed.contains(&generation) {
                let mut batch = WriteBatch::default();
                batch.delete_range(entry_key(generation, &[]), entry_key(generation + 1, &[]));
                self.db()?.write(batch)?;
            }
        }
        Ok(())
    }
}

/// The rows of advisories, each under the byte of its feed.
impl RowSource for FeedStore {
    fn rows(&self, prefix: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let Some(kind) = kind_of(prefix) else { return Ok(Vec::new()) };
        self.entries(kind, prefix, rows_max).map_err(|error| StoreError::Read(error.to_string()))
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(kind) = kind_of(key) else { return Ok(None) };
        self.get(kind, key).map_err(|error| StoreError::Read(error.to_string()))
    }
}

/// The feed that a row of advisories belongs to, by the first byte of its key.
fn kind_of(key: &[u8]) -> Option<FeedKind> {
    let byte = *key.first()?;
    FeedKind::ALL.into_iter().find(|kind| kind.of_advisories().is_some_and(|feed| feed.byte() == byte))
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_keep_log_file_num(2);
    options.set_max_open_files(64);
    options
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn current_key(kind: FeedKind) -> Vec<u8> {
    [&[CURRENT], kind.as_str().as_bytes()].concat()
}

fn entry_key(generation: u64, key: &[u8]) -> Vec<u8> {
    [&[ENTRY], &generation.to_be_bytes()[..], key].concat()
}

fn encode_current(current: &Current) -> Vec<u8> {
    let Current { heading, digest, generation } = current;
    let mut row = vec![ROW_VERSION];
    row.extend(generation.to_be_bytes());
    row.extend(digest.0);
    row.extend(heading.made_at_ms.to_be_bytes());
    row.extend(heading.records.to_be_bytes());
    row.extend(u32::try_from(heading.kind.len()).unwrap_or(0).to_be_bytes());
    row.extend(heading.kind.as_bytes());
    row.extend(heading.source.as_bytes());
    row
}

fn decode_current(row: &[u8]) -> Option<Current> {
    let (&version, rest) = row.split_first()?;
    if version != ROW_VERSION {
        return None;
    }
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let (made_at_ms, rest) = rest.split_first_chunk::<8>()?;
    let (records, rest) = rest.split_first_chunk::<8>()?;
    let (kind_length, rest) = rest.split_first_chunk::<4>()?;
    let (kind, source) = rest.split_at_checked(u32::from_be_bytes(*kind_length) as usize)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let heading = Heading {
        kind: text(kind)?,
        source: text(source)?,
        made_at_ms: u64::from_be_bytes(*made_at_ms),
        records: u64::from_be_bytes(*records),
    };
    Some(Current { heading, digest: Digest(*digest), generation: u64::from_be_bytes(*generation) })
}

fn damaged(kind: FeedKind) -> FeedError {
    FeedError::Database(format!("the row of feed {kind} is not one of this release: import the feed again"))
}

#[cfg(test)]
mod tests {
    use super::super::bundle::BundleWriter;
    use super::*;

    fn bundle(kind: &str, entries: &[(&str, &str)]) -> Vec<u8> {
        let heading =
            Heading { kind: kind.into(), source: "a file".into(), made_at_ms: 5, records: entries.len() as u64 };
        let mut writer = BundleWriter::new(Vec::new(), &heading).unwrap();
        entries.iter().for_each(|(key, value)| writer.entry(key.as_bytes(), value.as_bytes()).unwrap());
        writer.finish().unwrap()
    }

    fn rows(store: &FeedStore) -> usize {
        store.db().unwrap().iterator(IteratorMode::Start).count()
    }

    #[test]
    fn a_feed_is_replaced_whole_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let store = FeedStore::open(folder.path()).unwrap();
        store.replace(FeedKind::Cve, &bundle("cve", &[("a", "1"), ("b", "2")])).unwrap();
        store.replace(FeedKind::Kev, &bundle("kev", &[("a", "k")])).unwrap();
        let current = store.replace(FeedKind::Cve, &bundle("cve", &[("b", "3"), ("c", "4")])).unwrap();
        assert_eq!((current.heading.records, current.heading.source.as_str()), (2, "a file"));
        let check = |store: &FeedStore| {
            let value = |kind, key: &str| store.get(kind, key.as_bytes()).unwrap();
            assert_eq!(value(FeedKind::Cve, "a"), None);
            assert_eq!(value(FeedKind::Cve, "b"), Some(b"3".to_vec()));
            assert_eq!(value(FeedKind::Kev, "a"), Some(b"k".to_vec()));
            let mut keys = Vec::new();
            store
                .for_each(FeedKind::Cve, |key, _| {
                    keys.push(key.to_vec());
                    Ok(())
                })
                .unwrap();
            assert_eq!(keys, [b"b".to_vec(), b"c".to_vec()]);
            assert_eq!(rows(store), 2 + 3, "nothing of the feed before is left");
        };
        check(&store);
        drop(store);
        check(&FeedStore::open(folder.path()).unwrap());
        check(&FeedStore::open_to_read(folder.path()).unwrap().unwrap());
    }

    #[test]
    fn a_bundle_that_is_cut_or_of_another_kind_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = FeedStore::open(folder.path()).unwrap();
        let before = store.replace(FeedKind::Osv, &bundle("osv", &[("a", "1")])).unwrap();
        let many: Vec<(String, String)> = (0..9000).map(|n| (format!("{n:05}"), "x".repeat(999))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let whole = bundle("osv", &many);
        assert!(matches!(store.replace(FeedKind::Osv, &whole[..whole.len() - 9]), Err(FeedError::Bundle(_))));
        assert!(matches!(store.replace(FeedKind::Osv, &bundle("cve", &[])), Err(FeedError::Kind { .. })));
        assert!(matches!(store.replace(FeedKind::Osv, b"PK\x03\x04"), Err(FeedError::Bundle(BundleError::Layout))));
        assert_eq!(store.current(FeedKind::Osv).unwrap(), Some(before));
        assert_eq!(rows(&store), 2, "what was written in vain is gone");
    }

    #[test]
    fn a_removed_feed_is_gone_and_where_there_is_none_nothing_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FeedStore::open_to_read(&folder.path().join("none")).unwrap().is_none());
        let store = FeedStore::open(folder.path()).unwrap();
        store.replace(FeedKind::Epss, &bundle("epss", &[("a", "1")])).unwrap();
        store.remove(FeedKind::Epss).unwrap();
        assert_eq!((store.current(FeedKind::Epss).unwrap(), rows(&store)), (None, 0));
    }
}
