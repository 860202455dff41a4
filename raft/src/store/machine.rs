//! The state machine as the consensus library sees it: applies entries to [`State`], keeps it, snapshots it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::disk::DiskDb;
use super::memory::MemoryLog;
use super::record::MetaRecord;
use super::simulated::Opened;
use super::snapshot::{self, FileWriter, SnapshotData, Writer};
use super::{LogStore, OpenError, Storage, World};
use crate::clock::LogClock;
use crate::codec::{self, Kind};
use crate::command::Response;
use crate::kill_point;
use crate::raft_types::{Entry, LogId, Member, SnapshotMeta, StoredMembership, TypeConfig};
use crate::state::State;
use crate::state::table::RowChange;
use crate::version::Versions;

/// How many entries are applied before their rows are written and their proposers answered. Ours: bounds the batch.
const APPLY_BATCH_MAX: usize = 256;

/// The key of the row that holds the applied log id and membership; tables are numbered from 1.
const KEY_APPLIED: &[u8] = &[0];

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// The state and how far it is, shared with readers.
pub(crate) struct Shared {
    state: RwLock<State>,
    applied: watch::Sender<u64>,
    /// The log's clock, which entries carry forward that are applied as they come.
    pub(crate) clock: Mutex<LogClock>,
    /// The last entry that was in the log when consensus started: up to there it is read again. The largest until then.
    read_again_until: AtomicU64,
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// What a node outside the log has before a gateway showed it anything.
    pub(crate) fn of_a_view() -> Self {
        let (applied, _) = watch::channel(0);
        Self { state: RwLock::default(), applied, clock: Mutex::default(), read_again_until: AtomicU64::new(0) }
    }

    /// Changes what a node outside the log has, which is then as of `applied`: whoever reads the index while it looks at the
    /// state reads the one that belongs to it.
    pub(crate) fn show(&self, applied: u64, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.write();
        change(&mut state)?;
        self.applied.send_if_modified(|known| {
            *known = applied.max(*known);
            // Rows may come without a further entry: those of a node that became a member.
            true
        });
        Ok(())
    }

    /// Entries behind `index` are new ones, applied as they come.
    pub(crate) fn read_again_until(&self, index: u64) {
        self.read_again_until.store(index, Ordering::Relaxed);
    }

    /// Carries the log's clock forward by an entry that was applied as it came.
    fn note_time(&self, index: u64, now_ms: u64) {
        if index > self.read_again_until.load(Ordering::Relaxed) {
            self.clock.lock().unwrap_or_else(PoisonError::into_inner).note(now_ms, Instant::now());
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the state is kept beside memory.
#[derive(Clone)]
pub(crate) enum Keep {
    Disk(Arc<DiskDb>),
    Memory(Arc<Mutex<Option<KeptSnapshot>>>),
    Simulated(Opened),
}

/// A snapshot, and what it holds up to.
#[derive(Clone)]
pub(crate) struct KeptSnapshot {
    meta: MetaRecord,
    data: SnapshotData,
}

impl KeptSnapshot {
    /// The last entry that it holds.
    pub(super) fn last(&self) -> Option<LogId> {
        self.meta.last()
    }

    fn into_snapshot(self) -> io::Result<Snapshot> {
        Ok(Snapshot { meta: self.meta.to_meta()?, snapshot: self.data })
    }
}

/// The state machine handed to the consensus library.
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
    keep: Keep,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// Opens a store: its log and its state machine.
pub(crate) fn open(storage: &Storage) -> Result<(LogStore, StateMachine), OpenError> {
    let (log, keep) = match storage {
        Storage::Memory => (LogStore(Arc::new(MemoryLog::default())), Keep::Memory(Arc::default())),
        Storage::Disk(path) => {
            let db = DiskDb::open(path)?;
            (LogStore(Arc::clone(&db) as Arc<_>), Keep::Disk(db))
        }
        Storage::Simulated(disk) => {
            let opened = disk.open();
            (LogStore(Arc::new(opened.clone())), Keep::Simulated(opened))
        }
    };
    let damaged = |error: io::Error| {
        let path = if let Storage::Disk(path) = storage { path.clone() } else { std::path::PathBuf::new() };
        OpenError::Damaged { path, reason: error.to_string() }
    };
    let mut state = State::default();
    let mut meta = None;
    if let Keep::Disk(db) = &keep {
        // Before any row is read, because rows of another version may not be understood.
        let row = db.state_row(&State::log_version_key()).map_err(damaged)?;
        let version = row.map(|row| codec::decode_stored(Kind::Row, &row)).transpose().map_err(damaged)?;
        if let Some(version) = version.filter(|version| !Versions::OWN.reads(*version)) {
            return Err(OpenError::OtherVersion { path: db.path().to_path_buf(), version });
        }
        db.for_each_state_row(|key, value| load_row(&mut state, &mut meta, key, value)).map_err(damaged)?;
    }
    if let Keep::Simulated(opened) = &keep {
        opened
            .rows()
            .iter()
            .try_for_each(|(key, value)| load_row(&mut state, &mut meta, key, value))
            .map_err(damaged)?;
    }
    let (last, membership) = match &meta {
        None => (None, StoredMembership::default()),
        Some(meta) => (meta.last(), meta.membership().map_err(damaged)?),
    };
    let (applied, _) = watch::channel(last.as_ref().map_or(0, |id| id.index));
    let shared = Shared {
        state: RwLock::new(state),
        applied,
        clock: Mutex::default(),
        read_again_until: AtomicU64::new(u64::MAX),
    };
    let shared = Arc::new(shared);
    Ok((log, StateMachine { shared, keep, last, membership }))
}

impl StateMachine {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Cancelled when the store on disk is closed and may be opened again; `None` for memory.
    pub(crate) fn closed(&self) -> Option<CancellationToken> {
        match &self.keep {
            Keep::Disk(db) => Some(db.closed()),
            Keep::Memory(_) | Keep::Simulated(_) => None,
        }
    }

    /// How far it is, and who was a member then.
    pub(crate) fn applied(&self) -> (Option<LogId>, &openraft::Membership<u64, Member>) {
        (self.last, self.membership.membership())
    }

    /// Makes a snapshot the state of an empty store on disk.
    pub(crate) fn install(&mut self, meta: &MetaRecord, data: &SnapshotData) -> io::Result<()> {
        let mut state = State::default();
        match &self.keep {
            Keep::Disk(db) => install_on_disk(db, meta, data, &mut state),
            Keep::Memory(_) | Keep::Simulated(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "memory outlives no process"))
            }
        }
    }

    /// Where a snapshot that is being received may be staged; `None` for memory.
    pub(crate) fn staging_dir(&self) -> Option<std::path::PathBuf> {
        match &self.keep {
            Keep::Disk(db) => Some(db.snapshot_dir()),
            Keep::Memory(_) | Keep::Simulated(_) => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn disk(&self) -> Option<Arc<DiskDb>> {
        match &self.keep {
            Keep::Disk(db) => Some(Arc::clone(db)),
            Keep::Memory(_) | Keep::Simulated(_) => None,
        }
    }

    fn meta(&self) -> MetaRecord {
        MetaRecord::new(self.last.as_ref(), &self.membership)
    }

    /// Applies a batch, makes its rows one atomic write, then answers the proposers.
    fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut answers = Vec::with_capacity(batch.len());
        let world = match &self.keep {
            Keep::Simulated(opened) => Some(opened.world()),
            Keep::Disk(_) | Keep::Memory(_) => None,
        };
        let changes = {
            let mut state = self.shared.write();
            for (entry, responder) in batch {
                let response = apply_entry(&mut state, &mut self.membership, &entry, world.as_deref());
                if let openraft::EntryPayload::Normal(_) = &entry.payload {
                    self.shared.note_time(entry.log_id.index, state.cluster().now_ms);
                }
                self.last = Some(entry.log_id);
                answers.extend(responder.map(|responder| (responder, response)));
            }
            state.drain_changes()
        };
        let applied = || RowChange { key: KEY_APPLIED.to_vec(), value: Some(codec::encode(Kind::Row, &self.meta())) };
        match &self.keep {
            Keep::Disk(db) => {
                kill_point::reached("state-before-write");
                db.write_state(changes.into_iter().chain([applied()]))?;
                kill_point::reached("state-written");
            }
            Keep::Simulated(opened) => opened.write_rows(changes.into_iter().chain([applied()]).collect()),
            Keep::Memory(_) => {}
        }
        if let Some(last) = &self.last {
            self.shared.applied.send_replace(last.index);
        }
        for (responder, response) in answers {
            responder.send(response);
        }
        Ok(())
    }

    /// What a snapshot is made from: on disk the rows as they are when it is built, in memory a copy made now, because
    /// building goes on beside applying.
    fn builder(&self) -> SnapshotBuilder {
        match &self.keep {
            Keep::Disk(db) => SnapshotBuilder::Disk(Arc::clone(db)),
            Keep::Memory(_) | Keep::Simulated(_) => SnapshotBuilder::Memory {
                state: Box::new(self.shared.read().clone()),
                meta: self.meta(),
                keep: self.keep.clone(),
            },
        }
    }
}

/// Makes one snapshot.
pub(crate) enum SnapshotBuilder {
    Disk(Arc<DiskDb>),
    Memory { state: Box<State>, meta: MetaRecord, keep: Keep },
}

impl SnapshotBuilder {
    fn build(&self) -> io::Result<KeptSnapshot> {
        let (state, meta, keep) = match self {
            Self::Disk(db) => return build_on_disk(db),
            Self::Memory { state, meta, keep } => (state, meta, keep),
        };
        let mut writer = Writer::begin(Vec::new(), meta)?;
        let mut result = Ok(());
        state.for_each_row(|key, value| {
            if result.is_ok() {
                result = writer.row(&key, &value);
            }
        });
        result?;
        let data = SnapshotData::Memory(Arc::new(writer.finish()?));
        let built = KeptSnapshot { meta: meta.clone(), data };
        match keep {
            Keep::Memory(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                // One that was installed meanwhile is newer and stays.
                if kept.as_ref().is_none_or(|newest| newest.meta.last() <= meta.last()) {
                    *kept = Some(built.clone());
                }
            }
            Keep::Simulated(opened) => opened.keep_snapshot(built.clone()),
            Keep::Disk(_) => {}
        }
        Ok(built)
    }
}

fn apply_entry(
    state: &mut State,
    membership: &mut StoredMembership,
    entry: &Entry,
    world: Option<&dyn World>,
) -> Response {
    match &entry.payload {
        openraft::EntryPayload::Blank => Response::Done,
        openraft::EntryPayload::Normal(proposal) => match world {
            Some(world) => world.apply(state, entry.log_id.index, proposal),
            None => state.apply(entry.log_id.index, proposal),
        },
        openraft::EntryPayload::Membership(config) => {
            *membership = StoredMembership::new(Some(entry.log_id), config.clone());
            Response::Done
        }
    }
}

fn load_row(state: &mut State, meta: &mut Option<MetaRecord>, key: &[u8], value: &[u8]) -> io::Result<()> {
    if key == KEY_APPLIED {
        *meta = Some(codec::decode_stored(Kind::Row, value)?);
        return Ok(());
    }
    state.load_row(key, value)
}

/// Streams a consistent view of the rows into a file. The applied row, whose key sorts first, says how far it is.
fn build_on_disk(db: &DiskDb) -> io::Result<KeptSnapshot> {
    let _publishing = db.publish_snapshot();
    let dir = db.snapshot_dir();
    let mut file = None;
    db.for_each_state_row(|key, value| match &mut file {
        None if key == KEY_APPLIED => {
            file = Some(FileWriter::create(&dir, codec::decode_stored(Kind::Row, value)?)?);
            Ok(())
        }
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the state does not say how far it is")),
        Some(file) => file.row(key, value),
    })?;
    let file = match file {
        Some(file) => file,
        None => FileWriter::create(&dir, MetaRecord::new(None, &StoredMembership::default()))?,
    };
    kill_point::reached("snapshot-rows");
    db.sync()?;
    let meta = file.meta().clone();
    let path = file.finish()?;
    kill_point::reached("snapshot-published");
    remove_other_snapshots(&dir, &path)?;
    Ok(KeptSnapshot { meta, data: SnapshotData::kept_file(path) })
}

fn remove_other_snapshots(dir: &std::path::Path, keep: &std::path::Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "snap") && path != keep {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl RaftSnapshotBuilder<TypeConfig> for Arc<SnapshotBuilder> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        if matches!(**self, SnapshotBuilder::Memory { .. }) {
            // There is no disk to wait for.
            return self.build()?.into_snapshot();
        }
        let builder = Arc::clone(self);
        tokio::task::spawn_blocking(move || builder.build()).await.map_err(io::Error::other)??.into_snapshot()
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Arc<SnapshotBuilder>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH_MAX);
        while let Some(batch) = batches.next().await {
            self.apply_batch(batch.into_iter().collect::<io::Result<Vec<_>>>()?)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Arc<SnapshotBuilder> {
        Arc::new(self.builder())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let mut state = State::default();
        let record = MetaRecord::from(meta);
        match &self.keep {
            Keep::Memory(current) => {
                snapshot::read(&data, |key, value| state.load_row(&key, &value))?;
                let kept = KeptSnapshot { meta: record.clone(), data };
                *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            }
            Keep::Simulated(opened) => {
                let mut rows = std::collections::BTreeMap::new();
                snapshot::read(&data, |key, value| {
                    state.load_row(&key, &value)?;
                    rows.insert(key, value);
                    Ok(())
                })?;
                rows.insert(KEY_APPLIED.to_vec(), codec::encode(Kind::Row, &record));
                opened.install(KeptSnapshot { meta: record.clone(), data }, rows);
            }
            Keep::Disk(db) => install_on_disk(db, &record, &data, &mut state)?,
        }
        self.last = record.last();
        self.membership = record.membership()?;
        let mut shown = self.shared.write();
        state.take_place_of(&shown);
        *shown = state;
        drop(shown);
        if let Some(last) = &self.last {
            self.shared.applied.send_replace(last.index);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let current = match &self.keep {
            Keep::Memory(current) => current.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Keep::Disk(db) => newest_snapshot(db)?,
            Keep::Simulated(opened) => opened.snapshot(),
        };
        current.map(KeptSnapshot::into_snapshot).transpose()
    }
}

/// Verifies the snapshot, makes its rows the state, and keeps its file as the current snapshot.
fn install_on_disk(db: &DiskDb, meta: &MetaRecord, data: &SnapshotData, state: &mut State) -> io::Result<()> {
    let _publishing = db.publish_snapshot();
    snapshot::read(data, |key, value| state.load_row(&key, &value))?;
    db.sync()?;
    kill_point::reached("install-read");
    let path = snapshot::keep(data, &db.snapshot_dir(), meta)?;
    kill_point::reached("install-kept");
    let kept = SnapshotData::kept_file(path.clone());
    db.replace_state(|put| {
        put(KEY_APPLIED.to_vec(), codec::encode(Kind::Row, meta))?;
        snapshot::read(&kept, put)?;
        kill_point::reached("install-rows");
        Ok(())
    })?;
    kill_point::reached("install-replaced");
    remove_other_snapshots(&db.snapshot_dir(), &path)
}

fn newest_snapshot(db: &DiskDb) -> io::Result<Option<KeptSnapshot>> {
    let mut names: Vec<_> = std::fs::read_dir(db.snapshot_dir())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "snap"))
        .collect();
    names.sort();
    let Some(path) = names.pop() else { return Ok(None) };
    let data = SnapshotData::kept_file(path);
    Ok(Some(KeptSnapshot { meta: snapshot::read_header(&data)?, data }))
}
