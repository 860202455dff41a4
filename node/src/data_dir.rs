//! A node's data directory: who it is, its keys, its store and its chunks, held by one process at a time.
//!
//! `node.id` says which node of which cluster lives here. A directory with an identity and an emptied store is refused,
//! because a node that forgot its votes could vote twice; it has to join again as another node.

mod exposure;
mod owners;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs4::FileExt;
use pentora_p2p::{Identity, PreSharedKey};
use pentora_raft::codec::{self, Kind};
use pentora_raft::{ClusterId, NodeId, kill_point};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::exposure::{is_kept, is_read_by_others, is_secret};
use crate::durable_file::{self, Readers};
use crate::member_address::MemberAddress;
use crate::tls::{AUTHORITY_FILE, WAITING_FILE};

/// The file that says that the node stands outside the log.
const OUTSIDE: &str = "outside";
/// What it says where the cluster knows that.
const IS_TOLD: &str = "this node only scans; it follows no log\n";
/// What it says of a node that has given up its log by its own file, of which the cluster has yet to hear.
const UNTOLD: &str = "this node only scans; it follows no log, of which its cluster has yet to hear\n";
/// The file that says since which index of the log the node, once outside, is a member again.
const INSIDE_SINCE: &str = "inside-since";

/// The file with the API's certificate and its key, on a node that only scans.
const API_CERTIFICATE: &str = "api.pem";

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
    /// Others could read a secret of it, or put another in its place.
    #[error("{what}; to mend it: {mend}")]
    Exposed {
        /// What others can do.
        what: String,
        /// The command that mends it.
        mend: String,
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
    /// Opens or makes the directory (mode 0700, also where it was there before) and locks it for this process.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        exposure::is_private(path, exposure::is_alone())?;
        exposure::close(path, exposure::is_alone());
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

    /// Where results wait that no gateway has taken yet, on a node outside the log.
    #[must_use]
    pub fn handed_in_dir(&self) -> PathBuf {
        self.path.join("hand-in")
    }

    /// Whether the node stands outside the log by what its cluster said last.
    #[must_use]
    pub fn stands_outside(&self) -> bool {
        self.path.join(OUTSIDE).exists()
    }

    /// Whether the node has given up its log and its cluster may not know that.
    #[must_use]
    pub fn is_outside_untold(&self) -> bool {
        std::fs::read_to_string(self.path.join(OUTSIDE)).is_ok_and(|text| text.starts_with(UNTOLD))
    }

    /// Notes that the node stands outside the log from its next start on, as its cluster knows since the entry at `since`.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn note_outside(&self, since: u64) -> Result<(), DataDirError> {
        self.write(OUTSIDE, format!("{IS_TOLD}{since}\n").as_bytes())
    }

    /// The index of the log by which the node was known to stand outside; 0 where it was told none. What a gateway shows that
    /// has applied less is older than that.
    #[must_use]
    pub fn outside_since(&self) -> u64 {
        let text = std::fs::read_to_string(self.path.join(OUTSIDE)).unwrap_or_default();
        text.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(0)
    }

    /// Notes that the node stands outside the log, and removes the log and the state that it had. Answers whether it had any.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn stand_outside(&self, identity: &mut NodeIdentity) -> Result<bool, DataDirError> {
        let store = self.store_dir();
        if !self.stands_outside() {
            let text = if store.exists() { UNTOLD } else { IS_TOLD };
            self.write(OUTSIDE, text.as_bytes())?;
        }
        if identity.store_begun {
            identity.store_begun = false;
            self.save_identity(identity)?;
        }
        kill_point::reached("outside-begun");
        match std::fs::remove_dir_all(&store) {
            Ok(()) => {
                kill_point::reached("outside-log-gone");
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(DataDirError::Io { path: store, source }),
        }
    }

    /// Notes that the node follows the log again, from its beginning, and is a member since the entry at `since`.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn stand_inside(&self, since: u64) -> Result<(), DataDirError> {
        self.write(INSIDE_SINCE, since.to_string().as_bytes())?;
        kill_point::reached("back-noted");
        let path = self.path.join(OUTSIDE);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataDirError::Io { path, source }),
            // Were it back after a power cut, a node that votes by then would lose its log.
            _ => File::open(&self.path)
                .and_then(|directory| directory.sync_all())
                .map_err(|source| DataDirError::Io { path: self.path.clone(), source }),
        }
    }

    /// The index of the log since which the node is a member again; 0 where it never was outside. What the log says of its
    /// role before is history.
    #[must_use]
    pub fn inside_since(&self) -> u64 {
        let text = std::fs::read_to_string(self.path.join(INSIDE_SINCE)).unwrap_or_default();
        // One that does not read costs a detour: the node goes outside, and comes back with a new one.
        text.trim().parse().unwrap_or(0)
    }

    /// Writes something where a slow disk holds up no other task.
    ///
    /// # Errors
    /// As `write`, in a sentence.
    pub async fn beside(
        self: &Arc<Self>,
        write: impl FnOnce(&Self) -> Result<(), DataDirError> + Send + 'static,
    ) -> Result<(), String> {
        let data_dir = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || write(&data_dir)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Where feeds are.
    #[must_use]
    pub fn feed_dir(&self) -> PathBuf {
        self.path.join("feeds")
    }

    /// Where bundles lie while they come in and go out.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.path.join("spool")
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
        key_in(&self.path)
    }

    /// The mesh's pre-shared key, if it is known here.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn pre_shared_key(&self) -> Result<Option<PreSharedKey>, DataDirError> {
        let path = self.path.join("mesh.psk");
        match std::fs::read_to_string(&path).map(Zeroizing::new) {
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
        let text = Zeroizing::new(key.to_hex());
        self.write("mesh.psk", Zeroizing::new(format!("{}\n", *text)).as_bytes())
    }

    /// Keeps the API's certificate with its key, on a node that only scans.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_api_certificate(&self, pem: &str) -> Result<(), DataDirError> {
        self.write(API_CERTIFICATE, pem.as_bytes())
    }

    /// What [`Self::save_api_certificate`] kept, if it is there.
    #[must_use]
    pub fn api_certificate(&self) -> Option<Vec<u8>> {
        std::fs::read(self.path.join(API_CERTIFICATE)).ok()
    }

    /// Writes down the certificate of the cluster's authority, unless it is there already. It is no secret.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_authority(&self, pem: &str) -> Result<(), DataDirError> {
        let path = self.path.join(AUTHORITY_FILE);
        if std::fs::read(&path).is_ok_and(|kept| kept == pem.as_bytes()) {
            return Ok(());
        }
        durable_file::write(&path, pem.as_bytes(), Readers::Everybody)
            .map_err(|source| DataDirError::Io { path, source })
    }

    /// Writes down the certificate that is shown while this node waits to be let in. It is no secret.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_waiting(&self, pem: &str) -> Result<(), DataDirError> {
        let path = self.path.join(WAITING_FILE);
        durable_file::write(&path, pem.as_bytes(), Readers::Everybody)
            .map_err(|source| DataDirError::Io { path, source })
    }

    /// Removes what [`Self::save_waiting`] wrote: it is shown no longer.
    pub fn forget_waiting(&self) {
        // One that stays is of a key that nobody has any more.
        drop(std::fs::remove_file(self.path.join(WAITING_FILE)));
    }

    /// Writes the first administrator token and answers where.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn save_admin_token(&self, token: &str) -> Result<PathBuf, DataDirError> {
        self.write("admin.token", Zeroizing::new(format!("{token}\n")).as_bytes())?;
        Ok(self.path.join("admin.token"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        let path = self.path.join(name);
        durable_file::write(&path, bytes, Readers::Owner).map_err(|source| DataDirError::Io { path, source })
    }
}

/// The key of the node whose data directory `path` is, made at the first call; the directory may be another process's.
///
/// # Errors
/// [`DataDirError`].
pub fn key_in(path: &Path) -> Result<Identity, DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
    let path = path.join("mesh.key");
    Identity::load_or_generate(&path).map_err(|error| DataDirError::Damaged { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
    fn a_node_that_stands_outside_has_no_log_and_begins_anew_when_it_follows_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        std::fs::create_dir_all(data_dir.store_dir().join("snapshots")).unwrap();
        let mut node = NodeIdentity { store_begun: true, ..identity() };
        data_dir.save_identity(&node).unwrap();
        assert!(!data_dir.stands_outside());
        assert!(data_dir.stand_outside(&mut node).unwrap(), "it had a log");
        assert!(data_dir.is_outside_untold(), "nobody had it do so");
        data_dir.note_outside(40).unwrap();
        assert_eq!((data_dir.is_outside_untold(), data_dir.outside_since()), (false, 40));
        assert!(!data_dir.stand_outside(&mut node).unwrap());
        assert!(data_dir.stands_outside() && !data_dir.store_dir().exists());
        assert_eq!(data_dir.identity().unwrap(), Some(identity()), "an empty store is no loss from here on");
        assert_eq!(data_dir.inside_since(), 0);
        data_dir.stand_inside(41).unwrap();
        data_dir.stand_inside(42).unwrap();
        assert!(!data_dir.stands_outside());
        assert_eq!(data_dir.inside_since(), 42);
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
