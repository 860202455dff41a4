//! What a node is asked to do when its process starts.

use super::{NodeConfig, Secret};

/// A checked configuration and what to do with it.
#[derive(Debug, Clone)]
pub struct StartPlan {
    /// The configuration.
    pub config: NodeConfig,
    /// What to do when the data directory holds no node yet.
    pub action: StartAction,
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
}
