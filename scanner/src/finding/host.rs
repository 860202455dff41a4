//! The host that findings are about, from its target to its last finding.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Finding, Observation};

/// A host that is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScannedHost {
    /// The target's index in its partition.
    pub(crate) target_index: u64,
    /// Its address; the unspecified one while a name has none yet.
    pub(crate) address: IpAddr,
    /// The name that the address was resolved from.
    pub(crate) name: Option<Arc<str>>,
}

impl ScannedHost {
    /// Something seen of this host.
    pub(crate) fn finding(&self, observation: Observation) -> Finding {
        let Self { target_index, address, ref name } = *self;
        Finding { target_index, address, name: name.clone(), observation }
    }
}
