//! Where the log and the state are kept: on disk in RocksDB, in memory for an embedded node and for tests, or on a disk that
//! is simulated.
//!
//! All sit behind the same two types, `LogStore` and `StateMachine`, over a small trait each, so that the node
//! inside `pentora scan` runs the same code as one in a mesh.

pub(crate) mod disk;
pub(crate) mod log;
pub(crate) mod machine;
mod memory;
pub(crate) mod record;
mod simulated;
pub(crate) mod slowness;
pub(crate) mod snapshot;
mod tail;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod engine_test;
#[cfg(test)]
mod machine_test;

use std::path::PathBuf;

pub(crate) use log::LogStore;
pub use simulated::{SimulatedDisk, World};

use crate::raft_types::TypeConfig;
use crate::version::{LogVersion, Versions};

/// The library's node over this crate's state machine, whichever store is below that.
pub(crate) type Openraft = openraft::Raft<TypeConfig, machine::StateMachine>;

/// Which store a node uses.
#[derive(Debug, Clone)]
pub enum Storage {
    /// RocksDB in this directory.
    Disk(PathBuf),
    /// Nothing outlives the process.
    Memory,
    /// A disk in memory, for simulations.
    Simulated(SimulatedDisk),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or the disk refuses.
    #[error("cannot open the store in {path}: {source}")]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its contents do not decode.
    #[error("the store in {path} cannot be read: {reason}")]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A release that is newer, or one that is older, wrote it.
    #[error("the store in {path} is of version {version} of the log, and this release reads {reads}", reads = Versions::OWN)]
    OtherVersion {
        /// The store's directory.
        path: PathBuf,
        /// The version of the log in it.
        version: LogVersion,
    },
}
