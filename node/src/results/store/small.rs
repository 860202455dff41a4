//! Small chunks, which are kept together as far as they come together: while some are written others gather.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pentora_raft::{Digest, kill_point};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::journal::{AfterRemoval, Retired};
use super::{ChunkStore, Place, Put, StoreError, lock};
use crate::durable_file::{Draft, Readers};

/// Chunks that are written together at most.
pub(super) const TOGETHER_MAX: usize = 256;

/// Small chunks that wait until those before them are written.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    chunks: Vec<(Digest, Bytes, oneshot::Sender<Put>)>,
    is_writing: bool,
}

/// Whoever writes what waits; where that breaks off, those who wait are told so and the next one begins anew.
struct Writing<'a> {
    waiting: &'a Mutex<Waiting>,
    is_over: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            *lock(self.waiting) = Waiting::default();
        }
    }
}

impl ChunkStore {
    /// Keeps a small chunk in a directory; on disk when this returns.
    pub(super) async fn put_small(&self, digest: Digest, bytes: Bytes) -> Put {
        let Place::Directory { waiting, .. } = &*self.0 else { return self.put_now(digest, &bytes) };
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut waiting = lock(waiting);
            waiting.chunks.push((digest, bytes, answer));
            !std::mem::replace(&mut waiting.is_writing, true)
        };
        if begins {
            let store = self.clone();
            drop(tokio::task::spawn_blocking(move || store.write_waiting()));
        }
        let ended = || io::Error::other("the thread that writes chunks has ended");
        answered.await.unwrap_or_else(|_ended| Err(StoreError::Io { digest, source: ended() }))
    }

    /// Writes what waits, those together that have come together, until nothing does.
    fn write_waiting(&self) {
        let Place::Directory { waiting, .. } = &*self.0 else { return };
        let mut writing = Writing { waiting, is_over: false };
        loop {
            let together: Vec<_> = {
                let mut waiting = lock(waiting);
                if waiting.chunks.is_empty() {
                    (waiting.is_writing, writing.is_over) = (false, true);
                    return;
                }
                let count = waiting.chunks.len().min(TOGETHER_MAX);
                waiting.chunks.drain(..count).collect()
            };
            let (chunks, answers): (Vec<_>, Vec<_>) =
                together.into_iter().map(|(digest, bytes, answer)| ((digest, bytes), answer)).unzip();
            for (answer, put) in answers.into_iter().zip(self.put_together(&chunks)) {
                // Whoever does not wait any more asks again.
                let _ = answer.send(put);
            }
        }
    }

    /// Keeps small chunks, and answers what came of each, in their order.
    fn put_together(&self, chunks: &[(Digest, Bytes)]) -> Vec<Put> {
        let Place::Directory { path, damaged, journal, .. } = &*self.0 else { return Vec::new() };
        let one_by_one = || chunks.iter().map(|(digest, bytes)| self.put_now(*digest, bytes)).collect();
        let mut journal = lock(journal);
        // It may have grown long while the other was being emptied.
        self.empty(journal.turn());
        if !journal.is_ready() {
            return one_by_one();
        }
        let mut written = BTreeSet::new();
        let write = |(digest, bytes): &(Digest, Bytes)| -> Put {
            if let Some(name) = self.to_write(*digest, bytes)? {
                let file = write_unsynced(&path.join(name), bytes);
                file.map_err(|source| StoreError::Io { digest: *digest, source })?;
                written.insert(*digest);
            }
            Ok(())
        };
        let puts: Vec<Put> = chunks.iter().map(write).collect();
        if written.is_empty() {
            return puts;
        }
        let new = chunks.iter().filter(|(digest, _)| written.contains(digest));
        if let Err(error) = journal.append(new.map(|(digest, bytes)| (*digest, bytes))) {
            tracing::warn!(%error, "small results are synced file by file");
            // They are not known to be on disk, and must not be found as if they were.
            let is_left = |digest: &&Digest| {
                let removed = std::fs::remove_file(path.join(digest.to_string()));
                removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            };
            // Each is tried, whatever came of the others.
            if written.iter().filter(is_left).count() == 0 {
                return one_by_one();
            }
            let refused = |digest| Err(StoreError::Io { digest, source: io::Error::from(error.kind()) });
            return chunks.iter().map(|(digest, _)| refused(*digest)).collect();
        }
        kill_point::reached("chunk-written");
        lock(damaged).retain(|digest| !written.contains(digest));
        self.empty(journal.turn());
        puts
    }

    /// Has chunks that were removed go from the journal as well, beside whatever goes on. For a thread that may wait: whoever writes holds
    /// the journal for as long as the disk takes.
    pub(super) fn see_to_removed(&self) {
        let Place::Directory { journal, .. } = &*self.0 else { return };
        if !lock(journal).removed() {
            return;
        }
        let place = Arc::downgrade(&self.0);
        drop(TaskTracker::new().spawn(async move {
            while let Some(store) = place.upgrade().map(ChunkStore) {
                let Ok(Some(pause)) = store.apart(Self::look_after_removal).await else { return };
                // Whoever closes the store does not wait for this.
                drop(store);
                tokio::time::sleep(pause).await;
            }
        }));
    }

    /// Does what is due about chunks that were removed, and answers when that is to be looked at again, if it is.
    fn look_after_removal(&self) -> Option<Duration> {
        let Place::Directory { journal, .. } = &*self.0 else { return None };
        let after = lock(journal).after_removal();
        match after {
            AfterRemoval::Nothing => None,
            AfterRemoval::Empty(retired) => {
                self.empty(Some(retired));
                None
            }
            AfterRemoval::Later(pause) => Some(pause),
        }
    }

    /// Empties a journal that takes no more, beside whatever goes on.
    fn empty(&self, retired: Option<Retired>) {
        let Some(retired) = retired else { return };
        let store = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            let emptied = retired.empty();
            if let Place::Directory { journal, .. } = &*store.0 {
                lock(journal).is_emptied(emptied);
            }
        }));
    }
}

/// Puts a file under its name, whole for this process and those after it. It is on disk when the system syncs it.
pub(super) fn write_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::begin(path, Readers::Everybody)?;
    draft.write_all(bytes)?;
    draft.show()
}
