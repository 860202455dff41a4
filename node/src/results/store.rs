//! The chunks this node holds: files named by their digest, or memory for an embedded node.
//!
//! A chunk is said to be kept only when it is whole and on disk: a large one in its file, small ones that come together in a journal
//! that is synced once for all of them (`journal`), until the system has synced their files as well. What a crash leaves half-written
//! has another name and is removed at the next start. Bytes are verified against their name whenever they are read. Files rather than
//! RocksDB: see `docs/decisions/0005`; why a journal: `docs/decisions/0075`.

mod journal;
mod records;
mod small;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use pentora_raft::{Digest, kill_point};
use tokio::sync::Notify;
use tokio::task::JoinError;

use self::journal::{Journal, SMALL_BYTES_MAX};
use self::small::Waiting;
use crate::durable_file::{self, Readers, size_words};

/// What a disk that was full must take before it counts as one with room: some chunks of a usual size.
const TRIAL_BYTES: usize = 1 << 20;

/// What is said of a chunk whose bytes are not its own.
pub(super) const DAMAGED: &str = "is damaged: its bytes have another digest";

/// Why a chunk was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refuses.
    #[error("chunk {digest}: {source}")]
    Io {
        /// Which.
        digest: Digest,
        /// What the system says.
        source: io::Error,
    },
    /// There is less free space than the floor below which no more results are taken.
    #[error(
        "chunk {digest} is not taken: {free} are free, results.free_space_floor is {floor}; make room or lower it",
        free = size_words(*free_bytes),
        floor = size_words(*floor_bytes)
    )]
    Full {
        /// Which.
        digest: Digest,
        /// What is free.
        free_bytes: u64,
        /// The floor.
        floor_bytes: u64,
    },
    /// The bytes are not those that the name stands for.
    #[error("chunk {digest} {}", DAMAGED)]
    Damaged {
        /// Which.
        digest: Digest,
    },
}

/// The chunks of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChunkStore(Arc<Place>);

#[derive(Debug)]
enum Place {
    Directory {
        path: PathBuf,
        /// Free space below which no chunk is taken.
        floor_bytes: u64,
        /// Files whose bytes were read and are not those of their name.
        damaged: Mutex<BTreeSet<Digest>>,
        /// Told of each that is found so.
        found: Notify,
        waiting: Mutex<Waiting>,
        journal: Mutex<Journal>,
    },
    Memory(Mutex<BTreeMap<Digest, Bytes>>),
}

/// What came of a chunk that was to be kept.
type Put = Result<(), StoreError>;

/// What the chunks that are here take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A chunk that is kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How long ago it was written, or last asked to be kept.
    pub age: Duration,
    /// Its bytes were read and are not those of its name.
    pub is_damaged: bool,
}

impl ChunkStore {
    /// Chunks in `directory`, which is made; none is taken while less than `floor_bytes` are free there. Half-written
    /// files of an earlier process are removed.
    ///
    /// # Errors
    /// Where the directory cannot be made or read.
    pub fn open(directory: &Path, floor_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        durable_file::remove_half_written(directory)?;
        let (damaged, found, waiting) = (Mutex::default(), Notify::new(), Mutex::default());
        let journal = Journal::open(directory, |digest, bytes| {
            let file = directory.join(digest.to_string());
            // Anew even where it reads whole: what a failed write left in memory reads so as well. All of them are synced together.
            // Where there is no room for that, what is there does.
            small::write_unsynced(&file, bytes)
                .or_else(|error| if is_whole(&file, digest).unwrap_or(false) { Ok(()) } else { Err(error) })
        });
        let journal = Mutex::new(journal?);
        let path = directory.to_owned();
        Ok(Self(Arc::new(Place::Directory { path, floor_bytes, damaged, found, waiting, journal })))
    }

    /// The same for chunks that go again once they were handed over: none of them stays in a journal.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_spool(directory: &Path, floor_bytes: u64) -> io::Result<Self> {
        let store = Self::open(directory, floor_bytes)?;
        if let Place::Directory { journal, .. } = &*store.0 {
            lock(journal).take_nothing();
        }
        Ok(store)
    }

    /// Whether a directory has chunks, in files of their own or in a journal.
    #[must_use]
    pub fn has_any(directory: &Path) -> bool {
        let is_chunk = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<Digest>().is_ok());
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        files.into_iter().any(|entry| is_chunk(&entry.file_name())) || journal::has_any(directory)
    }

    /// Chunks in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self(Arc::new(Place::Memory(Mutex::default())))
    }

    /// Keeps `bytes`; on disk when this returns. A damaged file of that name is replaced.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(&self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        if (1..=SMALL_BYTES_MAX).contains(&bytes.len()) && matches!(*self.0, Place::Directory { .. }) {
            return self.put_small(digest, bytes).await;
        }
        let put = self.apart(move |store| store.put_now(digest, &bytes)).await;
        put.unwrap_or_else(|error| Err(StoreError::Io { digest, source: io::Error::other(error) }))
    }

    /// Reads a chunk; `None` where it is not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        let got = self.apart(move |store| store.get_now(digest)).await;
        got.unwrap_or_else(|error| Err(StoreError::Io { digest, source: io::Error::other(error) }))
    }

    /// Whether the chunk is here and whole; it then counts as asked for just now.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn renew(&self, digest: Digest) -> Result<bool, StoreError> {
        match self.get(digest).await {
            Ok(Some(bytes)) => self.put(digest, bytes).await.map(|()| true),
            Ok(None) | Err(StoreError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until a chunk is read that is damaged and was not known to be, or was since the last call. Cancel-safe.
    pub async fn found_damage(&self) {
        match &*self.0 {
            Place::Directory { found, .. } => found.notified().await,
            Place::Memory(_) => std::future::pending().await,
        }
    }

    /// The chunks that are here.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub async fn list(&self) -> io::Result<BTreeMap<Digest, Kept>> {
        self.apart(Self::list_now).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// What the chunks that are here take, by a look at each.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub async fn usage(&self) -> io::Result<Usage> {
        self.apart(Self::usage_now).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Removes chunks; one that is not here is no error.
    ///
    /// # Errors
    /// What the system refuses; some may be gone by then.
    pub async fn remove(&self, digests: Vec<Digest>) -> io::Result<()> {
        let removing = self.apart(move |store| {
            let removed = digests.iter().try_for_each(|digest| store.remove_now(*digest));
            // Here, so that it is done also where nobody waits for the answer any more.
            store.see_to_removed();
            removed
        });
        removing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether the disk takes a chunk of usual size: writes one that is none, and removes it.
    ///
    /// # Errors
    /// What the system says.
    pub async fn try_disk(&self) -> io::Result<()> {
        let Place::Directory { path, .. } = &*self.0 else { return Ok(()) };
        // Ends like what a crash leaves half-written, so that the next start removes it if this one does not.
        let path = path.join("trial.tmp");
        let trying = tokio::task::spawn_blocking(move || {
            let written = std::fs::File::create(&path).and_then(|mut file| {
                file.write_all(&vec![0; TRIAL_BYTES])?;
                file.sync_all()
            });
            std::fs::remove_file(&path)?;
            written
        });
        trying.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Does what may wait for a disk on a thread where it holds nobody up; in memory there is nothing to wait for.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Result<T, JoinError> {
        if matches!(*self.0, Place::Memory(_)) {
            return Ok(work(self));
        }
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store)).await
    }

    fn put_now(&self, digest: Digest, bytes: &Bytes) -> Put {
        match &*self.0 {
            Place::Memory(chunks) => {
                if Digest::of(bytes) != digest {
                    return Err(StoreError::Damaged { digest });
                }
                lock(chunks).insert(digest, bytes.clone());
                Ok(())
            }
            Place::Directory { path, damaged, .. } => {
                if let Some(file) = self.to_write(digest, bytes)? {
                    let written = durable_file::write(&path.join(file), bytes, Readers::Everybody);
                    written.map_err(|source| StoreError::Io { digest, source })?;
                    kill_point::reached("chunk-written");
                    lock(damaged).remove(&digest);
                }
                Ok(())
            }
        }
    }

    /// The name of the file that a chunk is to be written to; `None` where it is there already, which then counts as asked for just now.
    fn to_write(&self, digest: Digest, bytes: &Bytes) -> Result<Option<String>, StoreError> {
        let Place::Directory { path, floor_bytes, .. } = &*self.0 else { return Ok(None) };
        if Digest::of(bytes) != digest {
            return Err(StoreError::Damaged { digest });
        }
        let failed = |source| StoreError::Io { digest, source };
        let name = digest.to_string();
        let file = path.join(&name);
        if is_whole(&file, digest).map_err(failed)? {
            renew_file(&file).map_err(failed)?;
            return Ok(None);
        }
        let free_bytes = free_bytes(path).map_err(failed)?;
        if free_bytes < *floor_bytes {
            return Err(StoreError::Full { digest, free_bytes, floor_bytes: *floor_bytes });
        }
        Ok(Some(name))
    }

    fn get_now(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        let bytes = match &*self.0 {
            Place::Memory(chunks) => lock(chunks).get(&digest).cloned(),
            Place::Directory { path, .. } => match std::fs::read(path.join(digest.to_string())) {
                Ok(bytes) => Some(Bytes::from(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(StoreError::Io { digest, source }),
            },
        };
        match bytes {
            Some(bytes) if Digest::of(&bytes) != digest => {
                if let Place::Directory { damaged, found, .. } = &*self.0
                    && lock(damaged).insert(digest)
                {
                    found.notify_one();
                }
                Err(StoreError::Damaged { digest })
            }
            other => Ok(other),
        }
    }

    fn list_now(&self) -> io::Result<BTreeMap<Digest, Kept>> {
        let (path, damaged) = match &*self.0 {
            Place::Directory { path, damaged, .. } => (path, damaged),
            Place::Memory(chunks) => {
                let chunks = lock(chunks);
                let kept = Kept { age: Duration::ZERO, is_damaged: false };
                return Ok(chunks.keys().map(|digest| (*digest, kept)).collect());
            }
        };
        let mut chunks = BTreeMap::new();
        for entry in std::fs::read_dir(path)?.flatten() {
            let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else {
                continue;
            };
            // One that was removed meanwhile is not here.
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            let is_damaged = lock(damaged).contains(&digest);
            chunks.insert(digest, Kept { age, is_damaged });
        }
        Ok(chunks)
    }

    fn usage_now(&self) -> io::Result<Usage> {
        let add =
            |usage: Usage, bytes: u64| Usage { chunks: usage.chunks + 1, bytes: usage.bytes.saturating_add(bytes) };
        match &*self.0 {
            Place::Memory(chunks) => {
                let chunks = lock(chunks);
                Ok(chunks.values().fold(Usage::default(), |usage, bytes| add(usage, bytes.len() as u64)))
            }
            Place::Directory { path, .. } => {
                let mut usage = Usage::default();
                for entry in std::fs::read_dir(path)?.flatten() {
                    let is_chunk = entry.file_name().to_str().is_some_and(|name| name.parse::<Digest>().is_ok());
                    // One that was removed meanwhile is not here.
                    let Ok(metadata) = entry.metadata() else { continue };
                    if is_chunk {
                        usage = add(usage, metadata.len());
                    }
                }
                Ok(usage)
            }
        }
    }

    fn remove_now(&self, digest: Digest) -> io::Result<()> {
        match &*self.0 {
            Place::Memory(chunks) => {
                lock(chunks).remove(&digest);
                Ok(())
            }
            Place::Directory { path, damaged, .. } => {
                lock(damaged).remove(&digest);
                match std::fs::remove_file(path.join(digest.to_string())) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_whole(file: &Path, digest: Digest) -> io::Result<bool> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Digest::of(&bytes) == digest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks a file as asked for just now, so that it is not taken for garbage before the log names it.
fn renew_file(file: &Path) -> io::Result<()> {
    std::fs::File::options().write(true).open(file)?.set_modified(now())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ages of files are told by the clock that the system stamps them with"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let space = statvfs(directory)?;
    Ok(space.blocks_available().saturating_mul(space.fragment_size()))
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
