//! What engines are started with, and why one does not start.

use std::time::Duration;

use crate::spec::EngineChoice;

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Which kind to start.
    pub choice: EngineChoice,
    /// Most sockets open at once; `None` for what the file-descriptor limit leaves after a reserve.
    pub sockets_max: Option<usize>,
    /// Threads that scan; `None` for one per core, four at most. A unit is done by one of them.
    pub threads: Option<usize>,
    /// Longest wait for the addresses of a host name.
    pub resolve_timeout: Duration,
}

impl Default for EngineConfig {
    /// The best kind that this machine allows, as many sockets as it allows, five seconds for a name.
    fn default() -> Self {
        Self { choice: EngineChoice::Auto, sockets_max: None, threads: None, resolve_timeout: Duration::from_secs(5) }
    }
}

/// Why no engine was started.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A raw engine was asked for and there is none.
    #[error("no raw engine on this node ({why}): use engine auto or connect")]
    RawUnavailable {
        /// What it lacks.
        why: String,
    },
    /// The kernel refused what an engine needs.
    #[error("the engine cannot start: {what}: {source}")]
    System {
        /// What was asked of the kernel.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

impl EngineError {
    /// Why the kernel refused `what`.
    pub(super) fn system(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
