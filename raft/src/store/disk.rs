//! One RocksDB for log and state: one write-ahead log, so one flush serves every append of a group.
//!
//! Appends and votes are written unsynced and are readable at once; a single flusher thread then syncs the write-ahead
//! log for everything that queued meanwhile and fires all their callbacks. Applying is one atomic unsynced batch of
//! the changed rows and the applied log id: recovery keeps a prefix of the write-ahead log, so after a crash the state
//! is older but consistent and the entries behind it are applied again. A snapshot is installed into a new generation
//! of the state's column family, which one synced write then makes current.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options,
    ReadOptions, WriteBatch, WriteOptions,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::OpenError;
use super::log::{Ends, Flushed, LogEngine, Reading};
use super::record::{self, LogIdRecord, VoteRecord};
use super::slowness::Slowness;
use super::tail::Tail;
use crate::codec::{self, Kind};
use crate::kill_point;
use crate::raft_types::{Entry, LogId, Vote};
use crate::state::table::RowChange;

const CF_META: &str = "raft_meta";
const CF_LOG: &str = "raft_log";
const STATE_PREFIX: &str = "state_";

const KEY_VOTE: &[u8] = b"vote";
const KEY_COMMITTED: &[u8] = b"committed";
const KEY_PURGED: &[u8] = b"purged";
const KEY_GENERATION: &[u8] = b"generation";

/// How many flushes may wait for the flusher; each is one append of the consensus core, which has few in flight.
const FLUSH_QUEUE: usize = 4_096;
/// Memory for reads, in bytes: state is read once at start and the log's tail is still in the write buffer.
const BLOCK_CACHE_BYTES: usize = 8 << 20;
/// Memory for writes per column family, in bytes.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// The write-ahead log is cut at this size, in bytes.
const WAL_BYTES_MAX: u64 = 64 << 20;

/// The store on disk.
pub(crate) struct DiskDb {
    db: Arc<DB>,
    path: PathBuf,
    /// For families that are made later; all share one cache.
    family: Options,
    ends: Mutex<Ends>,
    /// The last entries, which each follower is sent and which are applied soon: otherwise each of them reads them anew.
    tail: Mutex<Tail>,
    /// What syncs wait for in a drill.
    slowness: Arc<Slowness>,
    /// `None` only while this is dropped.
    flusher: Option<(SyncSender<Flushed>, JoinHandle<()>)>,
    /// The state's current generation.
    generation: Mutex<u64>,
    /// Held while a snapshot is built or installed, so that a stale one never replaces a newer one.
    publishing: Mutex<()>,
    /// Says that the database is closed: the last field, so that it goes after the database.
    closed: DropGuard,
}

impl Drop for DiskDb {
    /// Waits for the flusher, which has the database open as well: whoever sees `closed` may open it again.
    fn drop(&mut self) {
        self.slowness.end();
        if let Some((queue, thread)) = self.flusher.take() {
            drop(queue);
            if thread.join().is_err() {
                tracing::error!("the thread that syncs the log had panicked");
            }
        }
    }
}

impl DiskDb {
    /// Opens or makes the store in `path`.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
        std::fs::create_dir_all(path.join("snap")).map_err(failed)?;
        let database = path.join("db");
        let mut families = DB::list_cf(&Options::default(), &database).unwrap_or_default();
        for needed in ["default", CF_META, CF_LOG] {
            if !families.iter().any(|name| name == needed) {
                families.push(needed.to_owned());
            }
        }
        let options = database_options();
        let family = family_options();
        let descriptors = families.iter().map(|name| ColumnFamilyDescriptor::new(name, family.clone()));
        let db = DB::open_cf_descriptors(&options, &database, descriptors).map_err(|error| failed(to_io(error)))?;
        let db = Arc::new(db);
        let (flusher, requests) = sync_channel(FLUSH_QUEUE);
        let slowness = Arc::new(Slowness::default());
        let (flushing, slow) = (Arc::clone(&db), Arc::clone(&slowness));
        let thread = std::thread::Builder::new()
            .name("pentora-wal".into())
            .spawn(move || flush_loop(&flushing, &slow, &requests))
            .map_err(failed)?;
        let store = Self {
            db,
            path: path.to_owned(),
            family,
            ends: Mutex::default(),
            tail: Mutex::default(),
            slowness,
            flusher: Some((flusher, thread)),
            generation: Mutex::new(0),
            publishing: Mutex::new(()),
            closed: CancellationToken::new().drop_guard(),
        };
        store
            .recover(&families)
            .map_err(|error| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Arc::new(store))
    }

    /// Reads where the log begins and ends and drops what an interrupted installation left.
    fn recover(&self, families: &[String]) -> io::Result<()> {
        let purged = self.get_meta::<LogIdRecord>(KEY_PURGED, Kind::LogId)?.map(LogId::from);
        let log = self.family(CF_LOG)?;
        let last = match self.db.iterator_cf(&log, IteratorMode::End).next() {
            Some(row) => Some(record::decode_entry(&row.map_err(to_io)?.1)?.log_id),
            None => None,
        };
        *self.ends_lock() = Ends { purged, last };
        let generation = self.get_meta::<u64>(KEY_GENERATION, Kind::LogId)?.unwrap_or(0);
        *self.generation_lock() = generation;
        for stale in families.iter().filter(|name| name.starts_with(STATE_PREFIX) && **name != state_name(generation)) {
            self.db.drop_cf(stale).map_err(to_io)?;
        }
        if self.db.cf_handle(&state_name(generation)).is_none() {
            self.db.create_cf(state_name(generation), &self.family).map_err(to_io)?;
        }
        for leftover in std::fs::read_dir(self.snapshot_dir())?.flatten() {
            if leftover.path().extension().is_some_and(|extension| extension == "tmp") {
                std::fs::remove_file(leftover.path())?;
            }
        }
        Ok(())
    }

    /// Keeps every other snapshot from being built or installed until the guard goes.
    pub(crate) fn publish_snapshot(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs everything that was written. A snapshot must not outlive a crash that takes the truncation or the vote
    /// before it: then log and state would contradict each other for good.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.db.flush_wal(true).map_err(to_io)
    }

    /// Cancelled when the database is closed and may be opened again.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.token().clone()
    }

    /// The store's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where snapshots are kept.
    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.path.join("snap")
    }

    /// Calls `row` with every row of the current state.
    pub(crate) fn for_each_state_row(&self, mut row: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        let generation = *self.generation_lock();
        let family = self.family(&state_name(generation))?;
        let snapshot = self.db.snapshot();
        for item in snapshot.iterator_cf(&family, IteratorMode::Start) {
            let (key, value) = item.map_err(to_io)?;
            row(&key, &value)?;
        }
        Ok(())
    }

    /// One row of the current state.
    pub(crate) fn state_row(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let family = self.family(&state_name(*self.generation_lock()))?;
        self.db.get_cf(&family, key).map_err(to_io)
    }

    /// Writes rows of the current state in one atomic unsynced batch.
    pub(crate) fn write_state(&self, rows: impl Iterator<Item = RowChange>) -> io::Result<()> {
        let family = self.family(&state_name(*self.generation_lock()))?;
        let mut batch = WriteBatch::default();
        for RowChange { key, value } in rows {
            match value {
                Some(value) => batch.put_cf(&family, key, value),
                None => batch.delete_cf(&family, key),
            }
        }
        self.db.write(batch).map_err(to_io)
    }

    /// Replaces the whole state: rows go into a new generation, which one synced write makes current.
    pub(crate) fn replace_state(
        &self,
        fill: impl FnOnce(&mut dyn FnMut(Vec<u8>, Vec<u8>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut generation = self.generation_lock();
        let (old, new) = (state_name(*generation), state_name(*generation + 1));
        if self.db.cf_handle(&new).is_some() {
            self.db.drop_cf(&new).map_err(to_io)?;
        }
        self.db.create_cf(&new, &self.family).map_err(to_io)?;
        let family = self.family(&new)?;
        let mut batch = WriteBatch::default();
        fill(&mut |key, value| {
            batch.put_cf(&family, key, value);
            if batch.size_in_bytes() > WRITE_BUFFER_BYTES / 4 {
                self.db.write(std::mem::take(&mut batch)).map_err(to_io)?;
            }
            Ok(())
        })?;
        let next = *generation + 1;
        batch.put_cf(&self.family(CF_META)?, KEY_GENERATION, codec::encode(Kind::LogId, &next));
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(batch, &synced).map_err(to_io)?;
        *generation = next;
        self.db.drop_cf(&old).map_err(to_io)
    }

    /// Makes a hole in the log, as no writer does.
    #[cfg(test)]
    pub(crate) fn forget_entry(&self, index: u64) {
        self.db.delete_cf(&self.family(CF_LOG).unwrap(), index.to_be_bytes()).unwrap();
        *self.tail_lock() = Tail::default();
    }

    fn family(&self, name: &str) -> io::Result<Arc<BoundColumnFamily<'_>>> {
        self.db.cf_handle(name).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no table {name}")))
    }

    fn get_meta<T: serde::de::DeserializeOwned>(&self, key: &[u8], kind: Kind) -> io::Result<Option<T>> {
        let value = self.db.get_cf(&self.family(CF_META)?, key).map_err(to_io)?;
        value.map(|bytes| codec::decode_stored(kind, &bytes)).transpose()
    }

    fn ends_lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail_lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation_lock(&self) -> MutexGuard<'_, u64> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogEngine for DiskDb {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.tail_lock().read(&range, bytes_max) {
            return Ok(entries);
        }
        let family = self.family(CF_LOG)?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end.to_be_bytes());
        // Begins at the first key that can be there, never at tombstones of purged ones (rocksdb#10300).
        let start = range.start.to_be_bytes();
        let rows = self.db.iterator_cf_opt(&family, options, IteratorMode::From(&start, Direction::Forward));
        let mut reading = Reading::new(bytes_max);
        for row in rows {
            let (_, value) = row.map_err(to_io)?;
            if !reading.take(record::decode_entry(&value)?, value.len())? {
                break;
            }
        }
        Ok(reading.into_entries())
    }

    fn ends(&self) -> Ends {
        *self.ends_lock()
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.get_meta::<VoteRecord>(KEY_VOTE, Kind::Vote)?.map(Vote::from))
    }

    fn write_vote(&self, vote: &Vote) -> io::Result<()> {
        let value = codec::encode(Kind::Vote, &VoteRecord::from(vote));
        self.db.put_cf(&self.family(CF_META)?, KEY_VOTE, value).map_err(to_io)?;
        kill_point::reached("vote-written");
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.get_meta::<LogIdRecord>(KEY_COMMITTED, Kind::LogId)?.map(LogId::from))
    }

    fn write_committed(&self, committed: Option<&LogId>) -> io::Result<()> {
        let family = self.family(CF_META)?;
        match committed {
            Some(id) => {
                let value = codec::encode(Kind::LogId, &LogIdRecord::from(id));
                self.db.put_cf(&family, KEY_COMMITTED, value).map_err(to_io)?;
                kill_point::reached("committed-written");
                Ok(())
            }
            None => self.db.delete_cf(&family, KEY_COMMITTED).map_err(to_io),
        }
    }

    fn append(&self, entries: Vec<Entry>) -> io::Result<()> {
        let mut ends = self.ends_lock();
        ends.check_append(&entries)?;
        let family = self.family(CF_LOG)?;
        let mut batch = WriteBatch::default();
        let mut sizes = Vec::with_capacity(entries.len());
        for entry in &entries {
            let encoded = record::encode_entry(entry);
            sizes.push(encoded.len());
            batch.put_cf(&family, entry.log_id.index.to_be_bytes(), encoded);
        }
        self.db.write(batch).map_err(to_io)?;
        kill_point::reached("log-appended");
        if let Some(entry) = entries.last() {
            ends.last = Some(entry.log_id);
        }
        self.tail_lock().append(entries.into_iter().zip(sizes));
        Ok(())
    }

    fn truncate_after(&self, last: Option<&LogId>) -> io::Result<()> {
        let mut ends = self.ends_lock();
        let family = self.family(CF_LOG)?;
        let from = last.map_or(0, |id| id.index + 1);
        *self.tail_lock() = Tail::default();
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(&family, from.to_be_bytes(), u64::MAX.to_be_bytes());
        self.db.write(batch).map_err(to_io)?;
        ends.last = match self.db.iterator_cf(&family, IteratorMode::End).next() {
            Some(row) => Some(record::decode_entry(&row.map_err(to_io)?.1)?.log_id),
            None => None,
        };
        Ok(())
    }

    fn purge(&self, upto: &LogId) -> io::Result<()> {
        let mut ends = self.ends_lock();
        if ends.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        let family = self.family(CF_LOG)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.family(CF_META)?, KEY_PURGED, codec::encode(Kind::LogId, &LogIdRecord::from(upto)));
        let first = ends.purged.as_ref().map_or(0, |id| id.index);
        batch.delete_range_cf(&family, first.to_be_bytes(), (upto.index + 1).to_be_bytes());
        self.db.write(batch).map_err(to_io)?;
        kill_point::reached("log-purged");
        ends.purged = Some(*upto);
        self.tail_lock().forget_until(upto.index);
        if ends.last.as_ref().is_some_and(|last| last.index <= upto.index) {
            ends.last = None;
        }
        Ok(())
    }

    fn flush(&self, done: Flushed) {
        let queued = match &self.flusher {
            Some((queue, _)) => queue.try_send(done),
            None => Err(TrySendError::Disconnected(done)),
        };
        if let Err(TrySendError::Full(done) | TrySendError::Disconnected(done)) = queued {
            // Slower, never lost: this caller syncs for itself.
            done(self.sync());
        }
    }

    fn slowness(&self) -> Option<Arc<Slowness>> {
        Some(Arc::clone(&self.slowness))
    }
}

/// Syncs the write-ahead log once for everything that is queued, then fires all their callbacks.
fn flush_loop(db: &DB, slowness: &Slowness, requests: &Receiver<Flushed>) {
    while let Ok(first) = requests.recv() {
        slowness.wait();
        let group: Vec<Flushed> = std::iter::once(first).chain(requests.try_iter()).collect();
        kill_point::reached("log-before-sync");
        let result = db.flush_wal(true);
        kill_point::reached("log-synced");
        for done in group {
            done(result.clone().map_err(to_io));
        }
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_keep_log_file_num(3);
    options.set_max_open_files(256);
    options.set_max_background_jobs(2);
    options
}

fn family_options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options
}

fn state_name(generation: u64) -> String {
    format!("{STATE_PREFIX}{generation}")
}

pub(crate) fn to_io(error: rocksdb::Error) -> io::Error {
    io::Error::other(error.into_string())
}
