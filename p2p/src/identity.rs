//! Who a node is: an ed25519 key pair in a file. Its public half is the node's name, [`PeerId`].
//!
//! The key is a node's only proof of identity inside the mesh, so the file is written once, readable by its owner
//! alone, and never overwritten; a file in any other shape is refused instead of being replaced by a fresh identity,
//! which the rest of the cluster would take for a stranger. What a peer may do is not decided here but by membership.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::Keypair;
use libp2p::identity::ed25519::{self, SecretKey};

use crate::PeerId;

/// First line of an identity file. A later shape gets a new word, and this one keeps its reader.
const FILE_HEADER: &str = "pentora-identity-v1";
/// An identity file has two short lines; anything longer is some other file and is not read into memory.
const FILE_BYTES_MAX: u64 = 4096;
/// How often an identity that another process kept from being saved is made again.
const SAVE_TRIES_MAX: u32 = 5;
/// Bytes of an ed25519 secret seed (RFC 8032 section 5.1.5).
const SECRET_BYTES: usize = 32;

/// A node's key pair. Cloning shares nothing but costs little; `Debug` prints the public name only.
#[derive(Clone)]
pub struct Identity {
    keypair: ed25519::Keypair,
    secret: [u8; SECRET_BYTES],
}

impl Identity {
    /// A new key pair from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let mut secret = [0_u8; SECRET_BYTES];
        rand::fill(&mut secret);
        Self::from_secret(secret)
    }

    /// The key pair that belongs to a 32-byte secret seed (RFC 8032); every seed is valid.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "only the length of the seed could be refused, and the type fixes it"
    )]
    pub fn from_secret(secret: [u8; SECRET_BYTES]) -> Self {
        let key = SecretKey::try_from_bytes(secret).expect("every 32-byte string is an ed25519 seed");
        Self { keypair: key.into(), secret }
    }

    /// The name of this identity's public key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId::from_bytes(self.keypair.public().to_bytes())
    }

    /// An ed25519 signature (64 bytes) over `message`, checked by [`PeerId::verify`].
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.keypair.sign(message)
    }

    /// Reads the identity kept at `path`.
    ///
    /// # Errors
    /// [`IdentityError::Io`] when the file cannot be read, [`IdentityError::Exposed`] when everyone on the host may
    /// read it, and [`IdentityError::Format`] when it is not a version 1 identity. The file is never changed.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Io { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            // Opening a pipe would wait for whoever writes into it.
            return Err(IdentityError::Format { path: path.to_owned(), reason: "it is no regular file" });
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(IdentityError::Exposed { path: path.to_owned(), mode });
        }
        if mode & 0o070 != 0 {
            // Volume managers set group bits on everything they mount, so this is worth a word but not a refusal.
            tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "identity file is readable by its group");
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(IdentityError::Format { path: path.to_owned(), reason: "it is too long for an identity file" });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        parse(&text).map_err(|reason| IdentityError::Format { path: path.to_owned(), reason })
    }

    /// Writes the identity to a new file at `path` with mode 0600 and makes it durable.
    ///
    /// # Errors
    /// [`IdentityError::Io`], also when a file is already there: an identity is never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        self.write_new(path).map_err(|source| IdentityError::Io { path: path.to_owned(), source })
    }

    /// Loads the identity at `path`, or makes one and saves it there when no file exists. Several processes may do so at
    /// once: all answer the one that came to be there.
    ///
    /// # Errors
    /// As [`Identity::load`] and [`Identity::save`]; only a missing file leads to a new identity.
    pub fn load_or_generate(path: &Path) -> Result<Self, IdentityError> {
        let mut tries = 0;
        loop {
            match Self::load(path) {
                Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            let identity = Self::generate();
            tries += 1;
            match identity.save(path) {
                Ok(()) => return Ok(identity),
                // Another process was first, or one that starts took our half-written file for what a crash left behind.
                Err(IdentityError::Io { source, .. })
                    if tries < SAVE_TRIES_MAX
                        && matches!(source.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes beside the target and links into place, so that a crash leaves either no file or a whole one.
    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut staging = path.as_os_str().to_owned();
        staging.push(format!(".{:016x}.tmp", rand::random::<u64>()));
        let staging = PathBuf::from(staging);
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staging)?;
            writeln!(file, "{FILE_HEADER}\n{}", hex::encode(self.secret))?;
            file.sync_all()?;
            fs::hard_link(&staging, path)
        })();
        let removed = fs::remove_file(&staging);
        written?;
        removed?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
            _ => fs::File::open(".")?.sync_all(),
        }
    }

    /// The key pair in the form that libp2p's handshake takes.
    pub(crate) fn keypair(&self) -> Keypair {
        self.keypair.clone().into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.peer_id()).finish()
    }
}

/// Reads the two lines of an identity file; the reason names what is wrong, never what was found.
fn parse(text: &str) -> Result<Identity, &'static str> {
    let mut lines = text.lines();
    match lines.next() {
        Some(FILE_HEADER) => {}
        Some(other) if other.starts_with("pentora-identity-") => {
            return Err("it was written by another version of this program");
        }
        _ => return Err("its first line is not \"pentora-identity-v1\""),
    }
    let secret = lines.next().ok_or("the line with the key is missing")?;
    if lines.any(|line| !line.trim().is_empty()) {
        return Err("there is text after the key");
    }
    let mut bytes = [0_u8; SECRET_BYTES];
    hex::decode_to_slice(secret.trim_end(), &mut bytes).map_err(|_hides_the_key| "the key is not 64 hex digits")?;
    Ok(Identity::from_secret(bytes))
}

/// Why an identity could not be read or written. The file is as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system said no.
    #[error("identity file {path}: {source}", path = path.display())]
    Io {
        /// The identity file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Everyone on this host may read or write the secret key.
    #[error("identity file {path} is open to everyone (mode {mode:o}): chmod 600 it, and replace the key if it may have been read", path = path.display())]
    Exposed {
        /// The identity file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not an identity of a version we know.
    #[error("identity file {path} is not usable: {reason}", path = path.display())]
    Format {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_identity_loads_as_the_same_peer_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let identity = Identity::generate();
        identity.save(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap().peer_id(), identity.peer_id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no staging file stays behind");
    }

    #[test]
    fn an_identity_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let first = Identity::load_or_generate(&path).unwrap();
        assert!(matches!(Identity::generate().save(&path), Err(IdentityError::Io { .. })));
        assert_eq!(Identity::load_or_generate(&path).unwrap().peer_id(), first.peer_id());
    }

    #[test]
    fn processes_that_begin_at_once_get_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let names = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Identity::load_or_generate(&path).unwrap().peer_id())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_half_written_identity_that_another_process_sweeps_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        std::thread::scope(|scope| {
            let made = scope.spawn(|| Identity::load_or_generate(&path).unwrap());
            let mut swept = 0;
            while swept < SAVE_TRIES_MAX - 1 && !path.exists() {
                for entry in fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()) {
                    let is_half = entry.extension().is_some_and(|extension| extension == "tmp");
                    swept += u32::from(is_half && fs::remove_file(entry).is_ok());
                }
            }
            assert_eq!(made.join().unwrap().peer_id(), Identity::load(&path).unwrap().peer_id());
        });
    }

    #[test]
    fn files_in_another_shape_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let long = format!("{FILE_HEADER}\n{}\nmore\n", "00".repeat(32));
        for text in
            ["", "-----BEGIN PRIVATE KEY-----\n", "pentora-identity-v9\n00\n", "pentora-identity-v1\n00ff\n", &long]
        {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Identity::load_or_generate(&path).unwrap_err();
            assert!(matches!(error, IdentityError::Format { .. }), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_regular_file_is_no_key_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let socket = folder.path().join("socket");
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [folder.path(), &socket, &pipe] {
            let error = Identity::load(path).unwrap_err();
            assert!(error.to_string().contains("no regular file"), "{error}");
        }
    }

    #[test]
    fn a_key_that_everyone_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        Identity::generate().save(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn the_secret_never_shows_in_debug_output() {
        let identity = Identity::from_secret([7; 32]);
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.peer_id()));
    }
}
