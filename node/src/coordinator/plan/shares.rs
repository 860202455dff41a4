//! What of one job's budgets is out: each worker's share is the largest of its leases, as the state machine counts.

use std::collections::{BTreeMap, BTreeSet};

use pentora_raft::state::Share;
use pentora_raft::{JobId, NodeId};

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

/// What is out of budgets that several jobs draw on, and between whom each is shared out.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// Packets per second.
    out: BTreeMap<usize, u64>,
    /// Weights of the jobs that draw on it, and want work: those with something out, and of those without the first.
    weights: BTreeMap<usize, BTreeMap<JobId, u64>>,
    /// The budgets for which that first one is known.
    awaited: BTreeSet<usize>,
}

impl Drawn {
    /// So much more is out of each of these.
    pub(super) fn draw(&mut self, budgets: &[usize], pps: u64) {
        for budget in budgets {
            let out = self.out.entry(*budget).or_default();
            *out = out.saturating_add(pps);
        }
    }

    /// Whether the first that has nothing out is not known for some of these.
    pub(super) fn lacks(&self, budgets: &[usize]) -> bool {
        budgets.iter().any(|budget| !self.awaited.contains(budget))
    }

    /// A job wants work that draws on these; to be told in the order in which jobs are served.
    pub(super) fn want(&mut self, budgets: &[usize], job: JobId, weight: u64, has_some_out: bool) {
        for budget in budgets {
            if has_some_out || self.awaited.insert(*budget) {
                self.weights.entry(*budget).or_default().insert(job, weight);
            }
        }
    }

    /// Packets per second that are out of a budget.
    pub(super) fn of(&self, budget: usize) -> u64 {
        self.out.get(&budget).copied().unwrap_or(0)
    }

    /// The part of a budget that is a job's, of how many.
    pub(super) fn part(&self, budget: usize, job: JobId, weight: u64) -> (u64, u64) {
        let others = self.weights.get(&budget).into_iter().flatten().filter(|(other, _)| **other != job);
        (weight, others.fold(weight, |sum, (_, other)| sum.saturating_add(*other)))
    }
}

/// A fair part of `budget` among so many workers, or what the others leave of it: `Some(None)` without a budget, `None`
/// where too little is left to begin with.
pub(super) fn fair_share(budget: Option<u64>, workers: usize, others: u64) -> Option<Option<u64>> {
    fair_part(budget, (1, 1), workers, others)
}

/// The same of a part of `budget`: so many of so many.
pub(super) fn fair_part(
    budget: Option<u64>,
    (part, of): (u64, u64),
    workers: usize,
    others: u64,
) -> Option<Option<u64>> {
    let Some(budget) = budget else { return Some(None) };
    let whole = u128::from(of) * workers as u128;
    let fair = (u128::from(budget) * u128::from(part)).checked_div(whole);
    let fair = fair.and_then(|fair| u64::try_from(fair).ok()).unwrap_or(budget).max(1);
    let left = budget.saturating_sub(others);
    (left >= fair.div_ceil(SHARE_PARTS_MIN)).then(|| Some(fair.min(left)))
}
