//! Sites: private ranges that several places use, each for its own hosts.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The networks of a site; its name is the rule's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRule {
    /// Its networks, which other sites may have as well.
    pub networks: Vec<IpNet>,
}

impl SiteRule {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        super::networks_problem(&self.networks)
    }
}
