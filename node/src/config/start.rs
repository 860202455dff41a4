//! What a node is asked to do when its process starts.

use std::path::PathBuf;

use super::{API_FILE, NodeConfig, REMEMBERED_FILE, Secret, Sources};
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
    pub sources: Sources,
    /// What [`StartPlan::remember`] writes down.
    pub remembered: String,
    /// What it writes down of the API, for commands on this machine.
    pub remembered_api: String,
}

impl StartPlan {
    /// Writes down what this start was told by flags and environment, in [`REMEMBERED_FILE`] of the data directory, so
    /// that the next start needs only that directory. To be called once the directory is this process's own.
    ///
    /// # Errors
    /// The file cannot be written; an older one is then still whole.
    pub fn remember(&self) -> std::io::Result<()> {
        for (name, text) in [(REMEMBERED_FILE, &self.remembered), (API_FILE, &self.remembered_api)] {
            durable_file::write(&self.config.data_dir.join(name), text.as_bytes(), Readers::Everybody)?;
        }
        Ok(())
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
