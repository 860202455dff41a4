//! What of one job's budgets is out: each worker's share is the largest of its leases, as the state machine counts.

use std::collections::BTreeMap;

use pentora_raft::NodeId;
use pentora_raft::state::Share;

/// A worker begins with this part of its fair share of a budget at least: less would be a unit of hardly any target.
const SHARE_PARTS_MIN: u64 = 4;

/// What of one job's budgets is out.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Packets per second, by the node that may send them.
    pub(super) rate: BTreeMap<NodeId, u64>,
    /// Their sum.
    pub(super) rate_sum: u64,
    /// Packets per second into any one network, over all leases.
    pub(super) network: u64,
}

impl Shares {
    pub(super) fn add(&mut self, node: NodeId, share: Share) {
        let rate = self.rate.entry(node).or_default();
        let now = (*rate).max(share.rate_pps.unwrap_or(0));
        self.rate_sum = self.rate_sum.saturating_add(now - *rate);
        *rate = now;
        self.network = self.network.saturating_add(share.network_pps.unwrap_or(0));
    }
}

/// What is out of budgets that several jobs draw on, in packets per second.
#[derive(Debug, Default)]
pub(super) struct Drawn(BTreeMap<usize, u64>);

impl Drawn {
    /// So much more is out of each of these.
    pub(super) fn draw(&mut self, budgets: &[usize], pps: u64) {
        for budget in budgets {
            let out = self.0.entry(*budget).or_default();
            *out = out.saturating_add(pps);
        }
    }

    pub(super) fn of(&self, budget: usize) -> u64 {
        self.0.get(&budget).copied().unwrap_or(0)
    }
}

/// A fair part of `budget` among so many workers, or what the others leave of it: `Some(None)` without a budget, `None`
/// where too little is left to begin with.
pub(super) fn fair_share(budget: Option<u64>, workers: usize, others: u64) -> Option<Option<u64>> {
    let Some(budget) = budget else { return Some(None) };
    let fair = (budget / workers as u64).max(1);
    let left = budget.saturating_sub(others);
    (left >= fair.div_ceil(SHARE_PARTS_MIN)).then(|| Some(fair.min(left)))
}
