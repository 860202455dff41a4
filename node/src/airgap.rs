//! Across an air gap: what leaves a network that is connected to no other, and what goes into it, as files on a medium.
//!
//! A bundle is an archive whose signed [`manifest`] says everything else in it; [`archive`] writes one, and reads one entry
//! by entry in the order that the manifest gives, so that no name in it is ever used. The cluster writes its orders
//! ([`outgoing`]); a worker without a network takes them in ([`queue`]), scans, keeps results as chunks ([`kept`]) and writes
//! them out; the cluster counts them ([`incoming`]). The cluster's policy goes with its orders ([`carried_policy`]).
//! A bundle of another kind holds a finished job with all by which it can be verified without a node ([`job_record`]). Every file is checked whole before anything is changed. What a medium
//! must be is told by [`medium`], and how results are encrypted to their cluster by [`encryption`]. Not in here: who scans (`app`), and what a person types (`cli`).

pub mod archive;
pub mod carried_policy;
pub mod encryption;
pub mod incoming;
pub mod job_record;
pub mod kept;
pub mod manifest;
pub mod medium;
pub mod outgoing;
pub mod queue;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use pentora_p2p::PeerId;

use self::archive::{ArchiveError, ArchiveReader};
use self::encryption::{ClusterKey, EncryptionError};
use self::manifest::{Manifest, ManifestError};
use self::medium::MediumError;

/// Why a bundle was not taken in, or not written. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is no whole bundle.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its manifest is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is encrypted, and not to whoever reads it.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// It is to be encrypted to the cluster's key, and the orders do not say which that is.
    #[error("the orders that were taken in last do not name the cluster's key, to which results are encrypted")]
    NoRecipient,
    /// The same, because there are no orders.
    #[error("no orders were taken in yet, and the cluster's key, to which results are encrypted, comes with them")]
    NoOrders,
    /// The medium or the disk is not what it must be.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// It goes the other way.
    #[error("{0}")]
    Direction(&'static str),
    /// It is another cluster's.
    #[error("it is of cluster {named}, and {whose} cluster {here}")]
    OtherCluster {
        /// Whose it is.
        named: String,
        /// Who says so: `this is`, or `this worker works for`.
        whose: &'static str,
        /// Whose it would have to be.
        here: String,
    },
    /// Nobody said that its signer is to be trusted.
    #[error("it is signed by {signer}, and that key is not trusted here")]
    UnknownSigner {
        /// Who signed it.
        signer: PeerId,
    },
    /// Another signer than the one that was named.
    #[error("it is signed by {signer}, not by {named}")]
    OtherSigner {
        /// Who signed it.
        signer: PeerId,
        /// Who was to have signed it.
        named: PeerId,
    },
    /// A newer one has been taken in.
    #[error(
        "it is older than what is here: it was made at index {revision} of the cluster's log, and what is here at {here}"
    )]
    Older {
        /// Its index.
        revision: u64,
        /// The index of what is here.
        here: u64,
    },
    /// What it holds cannot be right.
    #[error("{0}")]
    Contents(String),
    /// The system refuses.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl BundleError {
    /// Whether the bundle is at fault, and not the machine.
    #[must_use]
    pub fn is_of_bundle(&self) -> bool {
        let is_read = !matches!(
            self,
            Self::Io { .. } | Self::Archive(ArchiveError::Io(_)) | Self::Encryption(EncryptionError::Io(_))
        );
        is_read && !matches!(self, Self::Medium(_) | Self::NoRecipient | Self::NoOrders)
    }
}

/// A bundle that is signed by somebody who is trusted: its reader, and its manifest.
type Opened = (ArchiveReader<Box<dyn BufRead>>, Manifest);

/// What is said of the record of a job where it is of no use.
const IS_A_RECORD: &str = "it holds a finished job, to be verified: pentora job verify JOB --bundle FILE --key KEY";

/// Opens a bundle, one that is encrypted with `key`. `trusted` says whether a signer is; its manifest is not looked at before.
fn open(
    path: &Path,
    key: Option<&ClusterKey>,
    trusted: impl FnOnce(PeerId) -> Result<(), BundleError>,
) -> Result<Opened, BundleError> {
    // Opening a pipe would wait for whoever writes into it.
    if !std::fs::metadata(path).map_err(at(path))?.is_file() {
        return Err(BundleError::Contents("it is no file".into()));
    }
    let file = File::open(path).map_err(at(path))?;
    let reader = ArchiveReader::open(encryption::open(BufReader::new(file), key)?)?;
    trusted(reader.signer())?;
    let manifest = Manifest::parse(reader.manifest())?;
    Ok((reader, manifest))
}

/// The key that a bundle names as its signer's, and nothing of whether it is.
///
/// # Errors
/// [`BundleError`].
pub fn signer_of(path: &Path) -> Result<PeerId, BundleError> {
    open(path, None, |_anybody| Ok(())).map(|(reader, _)| reader.signer())
}

/// Keeps other processes away from a directory for as long as the file lives.
fn locked(directory: &Path) -> Result<File, BundleError> {
    let path = directory.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.and_then(|file| fs4::FileExt::lock(&file).map(|()| file));
    lock.map_err(|source| BundleError::Io { path, source })
}

/// Answers errors of the system with the file that they are about.
fn at(path: &Path) -> impl Fn(io::Error) -> BundleError + '_ {
    move |source| BundleError::Io { path: path.to_owned(), source }
}
