//! A node's data directory: who it is, its keys, its store and its chunks, held by one process at a time.
//!
//! `node.id` says which node of which cluster lives here. A directory with an identity and an emptied store is refused,
//! because a node that forgot its votes could vote twice; it has to join again as another node.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs4::FileExt;
use pentora_p2p::{Identity, PreSharedKey};
use pentora_raft::codec::{self, Kind};
use pentora_raft::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use crate::durable_file::{self, Readers};
use crate::member_address::MemberAddress;

/// Who lives in a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id in it.
    pub node: NodeId,
    /// The node's name in it.
    pub name: String,
    /// Members known when it joined, to find the cluster again before the store knows more.
    pub members: Vec<MemberAddress>,
    /// Whether the store has held entries; from then on an empty one is a loss.
    pub store_begun: bool,
}

/// Why a data directory cannot be used. Nothing in it changed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refuses.
    #[error("the data directory {path} cannot be used: {source}", path = path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data directory {path} is in use by another pentora process", path = path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A file in it does not read.
    #[error("{path} cannot be read: {reason}", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens or makes the directory (mode 0700) and locks it for this process.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match FileExt::try_lock(&lock) {
            Ok(()) => {
                durable_file::remove_half_written(path).map_err(failed)?;
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
            Err(_held) => Err(DataDirError::InUse { path: path.to_owned() }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log and the state are.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.path.join("raft")
    }

    /// Where feeds are.
    #[must_use]
    pub fn feed_dir(&self) -> PathBuf {
        self.path.join("feeds")
    }

    /// Where chunks are.
    #[must_use]
    pub fn chunk_dir(&self) -> PathBuf {
        self.path.join("chunks")
    }

    /// Who lives here, if anybody.
    ///
    /// # Errors
    /// [`DataDirError`] where the file is there and does not read.
    pub fn identity(&self) -> Result<Option<NodeIdentity>, DataDirError> {
        let path = self.path.join("node.id");
        match std::fs::read(&path) {
            Ok(bytes) => codec::decode(Kind::Identity, &bytes)
                .map(Some)
                .map_err(|error| DataDirError::Damaged { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Writes who lives here, whole or not at all.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_identity(&self, identity: &NodeIdentity) -> Result<(), DataDirError> {
        self.write("node.id", &codec::encode(Kind::Identity, identity))
    }

    /// Whether the node's key is there. Where a node has an identity and no key, it is another peer than was admitted.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.path.join("mesh.key").exists()
    }

    /// The node's key, made at the first call.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn key(&self) -> Result<Identity, DataDirError> {
        let path = self.path.join("mesh.key");
        Identity::load_or_generate(&path).map_err(|error| DataDirError::Damaged { path, reason: error.to_string() })
    }

    /// The mesh's pre-shared key, if it is known here.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn pre_shared_key(&self) -> Result<Option<PreSharedKey>, DataDirError> {
        let path = self.path.join("mesh.psk");
        match std::fs::read_to_string(&path) {
            Ok(text) => PreSharedKey::from_hex(text.trim())
                .map(Some)
                .map_err(|error| DataDirError::Damaged { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Keeps the mesh's pre-shared key.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_pre_shared_key(&self, key: &PreSharedKey) -> Result<(), DataDirError> {
        self.write("mesh.psk", format!("{}\n", key.to_hex()).as_bytes())
    }

    /// Writes the first administrator token and answers where.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_admin_token(&self, token: &str) -> Result<PathBuf, DataDirError> {
        self.write("admin.token", format!("{token}\n").as_bytes())?;
        Ok(self.path.join("admin.token"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        let path = self.path.join(name);
        durable_file::write(&path, bytes, Readers::Owner).map_err(|source| DataDirError::Io { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn identity() -> NodeIdentity {
        NodeIdentity {
            cluster: ClusterId([3; 16]),
            node: 7,
            name: "n2".into(),
            members: vec![MemberAddress { peer: "peer".into(), addresses: vec!["10.0.0.1:7400".into()] }],
            store_begun: false,
        }
    }

    #[test]
    fn an_identity_reads_back_and_secrets_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        assert_eq!(data_dir.identity().unwrap(), None);
        data_dir.save_identity(&identity()).unwrap();
        assert_eq!(data_dir.identity().unwrap(), Some(identity()));
        let token = data_dir.save_admin_token("secret").unwrap();
        assert_eq!(std::fs::metadata(token).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_process_is_refused_and_a_damaged_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::InUse { .. })));
        std::fs::write(dir.path().join("node.id"), b"half").unwrap();
        assert!(data_dir.identity().unwrap_err().to_string().contains("node.id"));
    }

    #[test]
    fn the_directory_is_the_owners_and_what_a_crash_left_half_written_is_gone_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1");
        drop(DataDir::open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("node.id.tmp"), b"half").unwrap();
        std::fs::write(path.join("admin.token.tmp"), b"half").unwrap();
        let data_dir = DataDir::open(&path).unwrap();
        assert_eq!(data_dir.identity().unwrap(), None);
        assert!(std::fs::read_dir(&path).unwrap().all(|entry| entry.unwrap().file_name() == "lock"));
        data_dir.save_admin_token("secret").unwrap();
        assert_eq!(std::fs::metadata(path.join("admin.token")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
