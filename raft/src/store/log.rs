//! The log as the consensus library sees it, over an engine that keeps it on disk or in memory.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};

use super::slowness::Slowness;
use crate::raft_types::{Entry, LogId, TypeConfig, Vote};

/// How many bytes of entries one append to a follower carries, so that its frame stays below 256 KiB. An entry that is
/// larger goes alone; [`ENTRY_BYTES_MAX`](crate::command::ENTRY_BYTES_MAX) keeps it below a frame too.
pub(crate) const APPEND_BYTES_MAX: usize = 128 << 10;

/// Called once when what was written before it is on disk.
pub(crate) type Flushed = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What keeps a log.
pub(crate) trait LogEngine: Send + Sync + 'static {
    /// Entries of `range` in order; where they would pass `bytes_max` the rest is left out, but never the first.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>>;
    /// Where it begins and ends.
    fn ends(&self) -> Ends;
    fn vote(&self) -> io::Result<Option<Vote>>;
    /// Readable on return, durable after a later `flush`.
    fn write_vote(&self, vote: &Vote) -> io::Result<()>;
    fn committed(&self) -> io::Result<Option<LogId>>;
    fn write_committed(&self, committed: Option<&LogId>) -> io::Result<()>;
    /// Readable on return, durable after a later `flush`. A gap is refused and nothing is written.
    fn append(&self, entries: Vec<Entry>) -> io::Result<()>;
    fn truncate_after(&self, last: Option<&LogId>) -> io::Result<()>;
    fn purge(&self, upto: &LogId) -> io::Result<()>;
    /// Calls `done` once everything written before is durable; one disk flush may serve many.
    fn flush(&self, done: Flushed);
    /// How its flushes are slowed down for a drill; `None` where nothing of it is on a disk.
    fn slowness(&self) -> Option<Arc<Slowness>> {
        None
    }
}

/// The log store handed to the consensus library.
#[derive(Clone)]
pub(crate) struct LogStore(pub(crate) Arc<dyn LogEngine>);

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.0.read(half_open(&range), usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0.vote()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self.0.read(start..end, APPEND_BYTES_MAX)?;
        // What goes to a follower must begin where its log ends: a later entry in its place would corrupt that log
        // (openraft#1795). A leader that was just deposed may ask for what is purged or cut off by now; it takes nothing
        // for a heartbeat and then sees that it is deposed, while an error would stop the node.
        let begins_right = entries.first().is_none_or(|entry| entry.log_id.index == start);
        Ok(if begins_right { entries } else { Vec::new() })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let Ends { purged, last } = self.0.ends();
        Ok(LogState { last_log_id: last.or(purged), last_purged_log_id: purged })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.write_vote(vote)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.0.flush(Box::new(move |result| drop(sender.send(result))));
        receiver.await.map_err(io::Error::other)?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.write_committed(committed.as_ref())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.committed()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.append(entries.into_iter().collect())?;
        self.0.flush(Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last_log_id.as_ref())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.0.purge(&log_id)
    }
}

/// Collects entries in order until they would pass a number of bytes, and refuses a hole between them.
pub(crate) struct Reading {
    entries: Vec<Entry>,
    bytes_left: usize,
}

impl Reading {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: Vec::new(), bytes_left: bytes_max }
    }

    /// Takes an entry that is `bytes` long; `false` where it would be too much.
    pub(crate) fn take(&mut self, entry: Entry, bytes: usize) -> io::Result<bool> {
        if let Some(before) = self.entries.last() {
            if before.log_id.index + 1 != entry.log_id.index {
                let text = format!("the log has a hole between {} and {}", before.log_id.index, entry.log_id.index);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if bytes > self.bytes_left {
                return Ok(false);
            }
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.entries.push(entry);
        Ok(true)
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// Where a log begins and ends; both engines keep one and check appends against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ends {
    /// The last log id that was purged.
    pub(crate) purged: Option<LogId>,
    /// The last one that is there.
    pub(crate) last: Option<LogId>,
}

impl Ends {
    /// Refuses entries that leave a gap between themselves or to the log.
    pub(crate) fn check_append(&self, entries: &[Entry]) -> io::Result<()> {
        let before = self.last.as_ref().or(self.purged.as_ref()).map(|id| id.index);
        let mut expected = before.map(|index| index + 1);
        for entry in entries {
            let index = entry.log_id.index;
            if expected.is_some_and(|expected| index != expected) {
                let text = format!("entry {index} does not follow {}", expected.unwrap_or_default().saturating_sub(1));
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            expected = Some(index + 1);
        }
        Ok(())
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
