//! The version of the log, and which versions the nodes read.

use super::{CommandKind, State};
use crate::command::{Refusal, Response};
use crate::id::NodeId;
use crate::version::{FIRST, LogVersion, Versions};

/// The key of the one row of the log's version.
const LOG_VERSION: u8 = 0;

impl State {
    /// The version of the log: what is newer is not in it.
    #[must_use]
    pub fn log_version(&self) -> LogVersion {
        self.log_version.get(&LOG_VERSION).copied().unwrap_or(FIRST)
    }

    /// The key of the row that the version is kept in.
    pub(crate) fn log_version_key() -> Vec<u8> {
        Self::default().log_version.stored_key(&LOG_VERSION)
    }

    /// The versions of the log that a node reads.
    #[must_use]
    pub fn versions(&self, node: NodeId) -> Versions {
        self.versions.get(&node).copied().unwrap_or_default()
    }

    /// Whether a node reads the log as it is; one that stands outside need not.
    #[must_use]
    pub fn reads_log(&self, node: NodeId) -> bool {
        let follows = self.node(node).is_none_or(super::NodeRecord::may_vote);
        !follows || self.versions(node).reads(self.log_version())
    }

    /// Whether the log may hold a command.
    ///
    /// # Errors
    /// [`Refusal::NewerThanLog`].
    pub fn holds(&self, command: CommandKind) -> Result<(), Refusal> {
        let (needed, version) = (command.since(), self.log_version());
        if needed <= version { Ok(()) } else { Err(Refusal::NewerThanLog { needed, version }) }
    }

    /// A node says what it reads, and is told what the log is.
    pub(super) fn set_versions(&mut self, node: NodeId, versions: Versions) -> Result<Response, Refusal> {
        if self.nodes.get(&node).is_none() {
            return Err(Refusal::NodeUnknown { node });
        }
        if versions.oldest > versions.newest {
            return Err(Refusal::Malformed { what: format!("no log is of {versions}") });
        }
        if self.versions.get(&node) != Some(&versions) {
            self.versions.insert(node, versions);
        }
        Ok(Response::LogVersion { version: self.log_version() })
    }

    /// Leaves a row that the release before this one does not know.
    #[cfg(feature = "next-version")]
    pub(super) fn rehearse(&mut self, node: NodeId) -> Result<Response, Refusal> {
        let at_ms = self.now_ms();
        self.rehearsals.insert(node, at_ms);
        Ok(Response::Done)
    }

    /// The log never goes back to an older version.
    pub(super) fn raise_log(&mut self, version: LogVersion) -> Response {
        if version > self.log_version() {
            self.log_version.insert(LOG_VERSION, version);
        }
        Response::Done
    }
}
