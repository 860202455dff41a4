//! A disk that exists in memory, for simulations: it outlives its node, takes its time, and loses in a crash what was not
//! synced.
//!
//! It keeps what the store on disk keeps, in the order of one write-ahead log: a crash leaves a beginning of that log, which
//! holds everything that was synced (`disk`). What else goes wrong on it is told by a [`World`], which is the simulation's; the
//! one here does nothing wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::{Ends, Flushed, LogEngine, Reading};
use super::machine::KeptSnapshot;
use crate::command::{Proposal, Response};
use crate::raft_types::{Entry, LogId, Vote};
use crate::state::State;
use crate::state::table::RowChange;

/// What is below a node that is simulated. Each default is what a sound node and a sound disk do.
pub trait World: Send + Sync + 'static {
    /// Calls `sync`, which ends the sync that begins now, once that has taken its time.
    fn sync(&self, sync: Box<dyn FnOnce() + Send>) {
        sync();
    }

    /// Whether a sync that was asked for is done before it is answered.
    fn is_synced(&self) -> bool {
        true
    }

    /// Whether a vote is written.
    fn is_vote_kept(&self) -> bool {
        true
    }

    /// A vote in this term was answered, because the disk says that it is synced.
    fn voted(&self, _term: u64) {}

    /// Applies an entry.
    fn apply(&self, state: &mut State, index: u64, proposal: &Proposal) -> Response {
        state.apply(index, proposal)
    }
}

/// What is on a disk.
#[derive(Clone, Default)]
struct Contents {
    entries: BTreeMap<u64, Entry>,
    ends: Ends,
    vote: Option<Vote>,
    committed: Option<LogId>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    snapshot: Option<KeptSnapshot>,
}

/// One record of the write-ahead log.
#[derive(Clone)]
enum Write {
    Append(Vec<Entry>),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
    Vote(Vote),
    Committed(Option<LogId>),
    Rows(Vec<RowChange>),
    Snapshot(KeptSnapshot),
    /// Takes the place of all rows.
    Install(KeptSnapshot, BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Contents {
    fn write(&mut self, write: Write) {
        match write {
            Write::Append(entries) => {
                for entry in entries {
                    self.ends.last = Some(entry.log_id);
                    self.entries.insert(entry.log_id.index, entry);
                }
            }
            Write::TruncateAfter(last) => {
                self.entries.split_off(&last.map_or(0, |id| id.index + 1));
                self.note_last();
            }
            Write::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.ends.purged = Some(upto);
                self.note_last();
            }
            Write::Vote(vote) => self.vote = Some(vote),
            Write::Committed(committed) => self.committed = committed,
            Write::Rows(changes) => {
                for RowChange { key, value } in changes {
                    match value {
                        Some(value) => self.rows.insert(key, value),
                        None => self.rows.remove(&key),
                    };
                }
            }
            Write::Snapshot(snapshot) => self.snapshot = Some(snapshot),
            Write::Install(snapshot, rows) => (self.snapshot, self.rows) = (Some(snapshot), rows),
        }
    }

    fn note_last(&mut self) {
        self.ends.last = self.entries.values().next_back().map(|entry| entry.log_id);
    }
}

#[derive(Default)]
struct Inner {
    /// As whoever reads now sees it.
    now: Contents,
    /// As it is after a crash at worst.
    synced: Contents,
    /// What was written since, in order.
    unsynced: Vec<Write>,
    /// The term of the last vote that was to be written.
    asked: Option<u64>,
    /// How many writes were synced since the last crash.
    count_synced: u64,
    /// Counts crashes: a process of before a crash writes nothing any more.
    life: u64,
}

impl Inner {
    /// Makes what was written before the write number `upto` durable.
    fn sync(&mut self, upto: u64) {
        let count = usize::try_from(upto.saturating_sub(self.count_synced)).unwrap_or(usize::MAX);
        for write in self.unsynced.drain(..count.min(self.unsynced.len())) {
            self.synced.write(write);
            self.count_synced += 1;
        }
    }

    fn count_written(&self) -> u64 {
        self.count_synced + self.unsynced.len() as u64
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
    world: Arc<dyn World>,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(world: Arc<dyn World>) -> Self {
        Self { inner: Arc::default(), world }
    }

    /// The machine loses its power: of the writes that were not synced, as many are left as `kept` says of how many there
    /// are. Whoever had the disk open writes nothing any more and hears of no sync; the next to open it finds what is left.
    pub fn crash(&self, kept: impl FnOnce(usize) -> usize) {
        let mut inner = self.lock();
        let left = kept(inner.unsynced.len());
        let left: Vec<Write> = inner.unsynced.drain(..).take(left).collect();
        left.into_iter().for_each(|write| inner.synced.write(write));
        *inner =
            Inner { now: inner.synced.clone(), synced: inner.synced.clone(), life: inner.life + 1, ..Inner::default() };
    }

    /// The disk as one process has it open.
    pub(super) fn open(&self) -> Opened {
        Opened { life: self.lock().life, disk: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk that is open.
#[derive(Clone)]
pub(crate) struct Opened {
    disk: SimulatedDisk,
    life: u64,
}

impl Opened {
    pub(super) fn world(&self) -> Arc<dyn World> {
        Arc::clone(&self.disk.world)
    }

    pub(super) fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.disk.lock().now.rows.clone()
    }

    pub(super) fn snapshot(&self) -> Option<KeptSnapshot> {
        self.disk.lock().now.snapshot.clone()
    }

    /// Keeps changed rows, like everything durable after a later sync.
    pub(super) fn write_rows(&self, changes: Vec<RowChange>) {
        self.write(Write::Rows(changes));
    }

    /// Keeps a snapshot that was built, unless a newer one was installed meanwhile; durable on return.
    pub(super) fn keep_snapshot(&self, snapshot: KeptSnapshot) {
        if self.snapshot().is_none_or(|kept| kept.last() <= snapshot.last()) {
            self.write(Write::Snapshot(snapshot));
            self.sync();
        }
    }

    /// Makes a snapshot's rows the state; durable on return.
    pub(super) fn install(&self, snapshot: KeptSnapshot, rows: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.write(Write::Install(snapshot, rows));
        self.sync();
    }

    fn write(&self, write: Write) {
        let mut inner = self.disk.lock();
        if inner.life == self.life {
            inner.now.write(write.clone());
            inner.unsynced.push(write);
        }
    }

    fn sync(&self) {
        let mut inner = self.disk.lock();
        if inner.life == self.life && self.disk.world.is_synced() {
            let upto = inner.count_written();
            inner.sync(upto);
        }
    }
}

impl LogEngine for Opened {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let inner = self.disk.lock();
        let mut reading = Reading::new(bytes_max);
        for (_, entry) in inner.now.entries.range(range.start..range.end.max(range.start)) {
            let bytes = if bytes_max == usize::MAX { 0 } else { super::record::encode_entry(entry).len() };
            if !reading.take(entry.clone(), bytes)? {
                break;
            }
        }
        Ok(reading.into_entries())
    }

    fn ends(&self) -> Ends {
        self.disk.lock().now.ends
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.disk.lock().now.vote)
    }

    fn write_vote(&self, vote: &Vote) -> io::Result<()> {
        self.disk.lock().asked = Some(vote.leader_id.term);
        if self.disk.world.is_vote_kept() {
            self.write(Write::Vote(*vote));
        }
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.disk.lock().now.committed)
    }

    fn write_committed(&self, committed: Option<&LogId>) -> io::Result<()> {
        self.write(Write::Committed(committed.copied()));
        Ok(())
    }

    fn append(&self, entries: Vec<Entry>) -> io::Result<()> {
        self.ends().check_append(&entries)?;
        self.write(Write::Append(entries));
        Ok(())
    }

    fn truncate_after(&self, last: Option<&LogId>) -> io::Result<()> {
        self.write(Write::TruncateAfter(last.copied()));
        Ok(())
    }

    fn purge(&self, upto: &LogId) -> io::Result<()> {
        if self.ends().purged.is_none_or(|purged| purged.index < upto.index) {
            self.write(Write::Purge(*upto));
        }
        Ok(())
    }

    fn flush(&self, done: Flushed) {
        let (opened, asked) = (self.clone(), self.disk.lock().asked);
        let upto = self.disk.lock().count_written();
        self.disk.world.sync(Box::new(move || {
            let mut inner = opened.disk.lock();
            let is_open = inner.life == opened.life;
            if is_open && opened.disk.world.is_synced() {
                inner.sync(upto);
            }
            drop(inner);
            if let Some(term) = asked.filter(|_| is_open) {
                opened.disk.world.voted(term);
            }
            done(if is_open { Ok(()) } else { Err(io::Error::other("the machine has lost its power")) });
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_types::Vote;

    struct Sound;
    impl World for Sound {}

    fn vote(term: u64) -> Vote {
        Vote::new(term, 1)
    }

    #[tokio::test]
    async fn a_crash_leaves_what_was_synced_and_a_beginning_of_the_rest_and_ends_who_had_it_open() {
        let disk = SimulatedDisk::new(Arc::new(Sound));
        let opened = disk.open();
        opened.write_vote(&vote(1)).unwrap();
        let (sender, synced) = tokio::sync::oneshot::channel();
        opened.flush(Box::new(move |result| sender.send(result.is_ok()).unwrap()));
        assert!(synced.await.unwrap());
        opened.write_vote(&vote(2)).unwrap();
        opened.write_vote(&vote(3)).unwrap();
        assert_eq!(opened.vote().unwrap(), Some(vote(3)), "what is written is read");
        disk.crash(|unsynced| {
            assert_eq!(unsynced, 2);
            1
        });
        assert_eq!(disk.open().vote().unwrap(), Some(vote(2)));
        opened.write_vote(&vote(9)).unwrap();
        let (sender, synced) = tokio::sync::oneshot::channel();
        opened.flush(Box::new(move |result| sender.send(result.is_ok()).unwrap()));
        assert!(!synced.await.unwrap(), "a process of before the crash hears of no sync");
        disk.crash(|_| 0);
        assert_eq!(disk.open().vote().unwrap(), Some(vote(2)));
    }
}
