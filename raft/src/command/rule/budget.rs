//! Budgets: how many packets per second networks may get, from all jobs and nodes together.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How many packets per second networks may get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetRule {
    /// The networks, which share it.
    pub networks: Vec<IpNet>,
    /// Packets per second into all of them together.
    pub rate_pps: u64,
}

impl BudgetRule {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        let idle = (self.rate_pps == 0).then(|| "a budget of 0 packets per second would never end a job".to_owned());
        super::networks_problem(&self.networks).or(idle)
    }
}
