//! A log in memory: for the node inside `pentora scan`, which needs nothing to outlive it, and for tests.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::log::{Ends, Flushed, LogEngine, Reading};
use crate::raft_types::{Entry, LogId, Vote};

#[derive(Default)]
pub(super) struct MemoryLog(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u64, Entry>,
    ends: Ends,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogEngine for MemoryLog {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let inner = self.lock();
        let mut reading = Reading::new(bytes_max);
        for (_, entry) in inner.entries.range(range.start..range.end.max(range.start)) {
            let bytes = if bytes_max == usize::MAX { 0 } else { super::record::encode_entry(entry).len() };
            if !reading.take(entry.clone(), bytes)? {
                break;
            }
        }
        Ok(reading.into_entries())
    }

    fn ends(&self) -> Ends {
        self.lock().ends
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }

    fn write_vote(&self, vote: &Vote) -> io::Result<()> {
        self.lock().vote = Some(*vote);
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.lock().committed)
    }

    fn write_committed(&self, committed: Option<&LogId>) -> io::Result<()> {
        self.lock().committed = committed.cloned();
        Ok(())
    }

    fn append(&self, entries: Vec<Entry>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.ends.check_append(&entries)?;
        for entry in entries {
            inner.ends.last = Some(entry.log_id);
            inner.entries.insert(entry.log_id.index, entry);
        }
        Ok(())
    }

    fn truncate_after(&self, last: Option<&LogId>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.entries.split_off(&last.map_or(0, |id| id.index + 1));
        inner.ends.last = inner.entries.values().next_back().map(|entry| entry.log_id);
        Ok(())
    }

    fn purge(&self, upto: &LogId) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.ends.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        inner.entries = inner.entries.split_off(&(upto.index + 1));
        inner.ends.purged = Some(*upto);
        inner.ends.last = inner.entries.values().next_back().map(|entry| entry.log_id);
        Ok(())
    }

    fn flush(&self, done: Flushed) {
        done(Ok(()));
    }
}
