//! What a node is asked to do when its process starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::remember::noted;
use super::{API_FILE, NodeConfig, REMEMBERED_FILE, ReadFrom, Secret};
use crate::durable_file::{self, Readers};

/// A checked configuration and what to do with it.
#[derive(Debug, Clone)]
pub struct StartPlan {
    /// The configuration.
    pub config: NodeConfig,
    /// What to do when the data directory holds no node yet.
    pub action: StartAction,
    /// A backup that a new cluster begins with.
    pub restore: Option<PathBuf>,
    /// What the configuration was read from, to be read again while the node runs.
    pub read_from: ReadFrom,
    /// What [`StartPlan::remember`] writes down.
    pub remembered: String,
}

impl StartPlan {
    /// Writes down what this start was told by flags and environment, in [`REMEMBERED_FILE`] of the data directory, so
    /// that the next start needs only that directory. To be called once the directory is this process's own.
    ///
    /// # Errors
    /// The file cannot be written; an older one is then still whole.
    pub fn remember(&self) -> std::io::Result<()> {
        self.write(REMEMBERED_FILE, &self.remembered)
    }

    /// Writes down where the API listens, in [`API_FILE`], for commands on this machine. To be called as soon as it does: a node that
    /// waits to be let into its cluster is asked as well.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub fn note_api(&self, at: SocketAddr) -> std::io::Result<()> {
        self.write(API_FILE, &noted(&self.config.api, at))
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<()> {
        durable_file::write(&self.config.data_dir.join(name), text.as_bytes(), Readers::Everybody)
    }
}

/// What to do when the data directory holds no node yet.
///
/// A data directory that holds one is always resumed: the same command line, unit file or container must survive the
/// restart of its own process.
#[derive(Debug, Clone)]
pub enum StartAction {
    /// Create a cluster of one node.
    Init,
    /// Join a cluster.
    Join {
        /// `host:port` of mesh listeners to try, in order. May be empty: the token can name some.
        peers: Vec<String>,
        /// The join token, `pnj_...`.
        token: Secret,
    },
    /// Refuse: there must be a node already.
    Resume,
    /// Be a worker without a mesh, whether for the first time or again.
    Standalone,
}
