//! The chunks this node holds: files named by their digest, or memory for an embedded node.
//!
//! A file appears under its name only when it is whole and on disk; what a crash leaves half-written has another name
//! and is removed at the next start. Bytes are verified against their name whenever they are read. Files rather than
//! RocksDB: see `docs/decisions/0005`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pentora_raft::Digest;

use crate::durable_file::{self, Readers};

/// Chunks that nothing in the log names are kept for so long, because a completion may be on its way.
const GARBAGE_GRACE: Duration = Duration::from_secs(3600);

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
    /// The bytes are not those that the name stands for.
    #[error("chunk {digest} is damaged: its bytes have another digest")]
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
    Directory(PathBuf),
    Memory(Mutex<BTreeMap<Digest, Bytes>>),
}

impl ChunkStore {
    /// Chunks in `directory`, which is made. Half-written files of an earlier process are removed.
    ///
    /// # Errors
    /// Where the directory cannot be made or read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        durable_file::remove_half_written(directory)?;
        Ok(Self(Arc::new(Place::Directory(directory.to_owned()))))
    }

    /// Chunks in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self(Arc::new(Place::Memory(Mutex::default())))
    }

    /// Keeps `bytes`; on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(&self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        let store = self.clone();
        let put = tokio::task::spawn_blocking(move || store.put_now(digest, &bytes)).await;
        put.unwrap_or_else(|error| Err(StoreError::Io { digest, source: io::Error::other(error) }))
    }

    /// Reads a chunk; `None` where it is not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        let store = self.clone();
        let got = tokio::task::spawn_blocking(move || store.get_now(digest)).await;
        got.unwrap_or_else(|error| Err(StoreError::Io { digest, source: io::Error::other(error) }))
    }

    /// Removes the chunks that are not in `wanted` and older than the grace time. Answers how many.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub async fn collect_garbage(&self, wanted: BTreeSet<Digest>) -> io::Result<usize> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.collect_now(&wanted))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn put_now(&self, digest: Digest, bytes: &Bytes) -> Result<(), StoreError> {
        if Digest::of(bytes) != digest {
            return Err(StoreError::Damaged { digest });
        }
        match &*self.0 {
            Place::Memory(chunks) => {
                chunks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes.clone());
                Ok(())
            }
            Place::Directory(directory) => {
                write_whole(directory, digest, bytes).map_err(|source| StoreError::Io { digest, source })
            }
        }
    }

    fn get_now(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        let bytes = match &*self.0 {
            Place::Memory(chunks) => chunks.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned(),
            Place::Directory(directory) => match std::fs::read(directory.join(digest.to_string())) {
                Ok(bytes) => Some(Bytes::from(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(StoreError::Io { digest, source }),
            },
        };
        match bytes {
            Some(bytes) if Digest::of(&bytes) != digest => Err(StoreError::Damaged { digest }),
            other => Ok(other),
        }
    }

    fn collect_now(&self, wanted: &BTreeSet<Digest>) -> io::Result<usize> {
        let Place::Directory(directory) = &*self.0 else { return Ok(0) };
        let mut removed = 0;
        for entry in std::fs::read_dir(directory)?.flatten() {
            let named = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            let old = entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > GARBAGE_GRACE);
            if old && named.is_some_and(|digest| !wanted.contains(&digest)) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn write_whole(directory: &Path, digest: Digest, bytes: &[u8]) -> io::Result<()> {
    let path = directory.join(digest.to_string());
    if path.exists() {
        return Ok(());
    }
    durable_file::write(&path, bytes, Readers::Everybody)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[tokio::test]
    async fn a_chunk_is_read_back_by_name_and_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for store in [ChunkStore::open(directory.path()).unwrap(), ChunkStore::memory()] {
            let bytes = Bytes::from_static(b"findings");
            let digest = Digest::of(&bytes);
            assert_eq!(store.get(digest).await.unwrap(), None);
            store.put(digest, bytes.clone()).await.unwrap();
            assert_eq!(store.get(digest).await.unwrap(), Some(bytes));
            let wrong = store.put(Digest::of(b"else"), Bytes::from_static(b"findings")).await;
            assert!(matches!(wrong, Err(StoreError::Damaged { .. })));
        }
        let digest = Digest::of(b"findings");
        std::fs::write(directory.path().join(digest.to_string()), b"other bytes").unwrap();
        let store = ChunkStore::open(directory.path()).unwrap();
        assert!(matches!(store.get(digest).await, Err(StoreError::Damaged { .. })));
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_removed_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("abc.tmp"), b"half").unwrap();
        ChunkStore::open(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn garbage_is_collected_only_after_its_grace_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(directory.path()).unwrap();
        let digest = Digest::of(b"x");
        store.put(digest, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(store.collect_garbage(BTreeSet::new()).await.unwrap(), 0);
        let file = File::options().write(true).open(directory.path().join(digest.to_string())).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(store.collect_garbage(BTreeSet::from([digest])).await.unwrap(), 0);
        assert_eq!(store.collect_garbage(BTreeSet::new()).await.unwrap(), 1);
    }
}
