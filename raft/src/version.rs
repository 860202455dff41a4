//! Versions of the log: what its entries and rows may hold.
//!
//! A release reads every version from [`Versions::OWN`]'s oldest to its newest. The log is of one version at a time
//! (`state/versions.rs`), and a command that is newer than that is not put into it, so that releases run side by side while
//! a cluster is upgraded node by node, and can go back, until every node that follows the log can read more.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the log. Raised by one whenever a release brings a command, an answer, a table or a field that earlier
/// ones do not read.
pub type LogVersion = u32;

/// The version of a log that says none.
pub const FIRST: LogVersion = 1;
/// The version of what came since then: `SetAddresses`, `RetireNoted` and `Recover`, with the calls that say so
/// (`rpc/calls/since.rs` of the node).
pub const SECOND: LogVersion = 2;

/// The versions of the log that a release reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub oldest: LogVersion,
    /// The newest.
    pub newest: LogVersion,
}

impl Versions {
    /// What this release reads.
    pub const OWN: Self =
        Self { oldest: FIRST, newest: if cfg!(feature = "next-version") { SECOND + 1 } else { SECOND } };

    /// Whether a log of this version is read.
    #[must_use]
    pub fn reads(self, version: LogVersion) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

impl Default for Versions {
    /// What is known of a node that has not said what it reads.
    fn default() -> Self {
        Self { oldest: FIRST, newest: FIRST }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            return write!(f, "version {}", self.newest);
        }
        write!(f, "versions {} to {}", self.oldest, self.newest)
    }
}
