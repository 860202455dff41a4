//! Since which version of the log a call is known: to nodes of a release before, it is no call at all, and they refuse it. So it
//! waits, as a command does, until the log is of that version.

use pentora_raft::LogVersion;
use pentora_raft::version::{FIRST, SECOND};

use super::Request;

impl Request {
    /// The first version of the log at which every node that follows it knows this call.
    #[must_use]
    pub fn since(&self) -> LogVersion {
        match self {
            Self::Lacking | Self::RetireNoted(_) => SECOND,
            Self::Propose { .. }
            | Self::GetChunk(_)
            | Self::PutChunk { .. }
            | Self::Soft
            | Self::TransferLeader(_)
            | Self::KeepChunk { .. }
            | Self::Api(_)
            | Self::Addresses(_)
            | Self::PlanRemoval(_)
            | Self::HandIn { .. }
            | Self::ApiStream(_)
            | Self::Suffer { .. }
            | Self::ReadIndex
            | Self::Certify { .. }
            | Self::Demote(..)
            | Self::Retire(_)
            | Self::Figures
            | Self::EndUnits(_)
            // Whoever does not know it hangs up, and is brought one by one.
            | Self::Bring { .. } => FIRST,
        }
    }

    /// Whether a log of `version` says that whoever follows it knows this call.
    #[must_use]
    pub fn is_known_at(&self, version: LogVersion) -> bool {
        self.since() <= version
    }
}
