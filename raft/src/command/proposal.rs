//! A command on its way into the log.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Command;

/// A command with the leader's wall time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Unix milliseconds of the leader when it proposed, for display, expiry and windows; the state's own clock never runs backwards.
    pub at_ms: u64,
    /// What is to be done.
    pub command: Command,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.name())
    }
}
