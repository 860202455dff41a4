//! Budgets of networks: which jobs draw on which, and what is out of each. Pure.
//!
//! A job that sends into a network with a budget gets shares of it with its leases, as it gets shares of its own budget, and
//! every lease carries its share in the log: so all jobs and nodes together stay within it, whoever leads. The share is for
//! the whole of the job's part on a node, because a worker paces a job and not its networks.

use std::collections::{BTreeMap, BTreeSet};

use pentora_raft::command::{LeaseRef, RuleKind};
use pentora_raft::state::Lease;
use pentora_raft::{JobId, State};
use pentora_scanner::spec::ScanSpec;

use crate::policy::Policy;

/// The budgets there are, and who draws on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    rates: Vec<u64>,
    of_job: BTreeMap<JobId, Vec<usize>>,
}

impl Budgets {
    /// Those of the rules, with the jobs whose targets they are about.
    pub(super) fn of<'a>(rules: &Policy, jobs: impl Iterator<Item = (JobId, &'a ScanSpec)>) -> Self {
        let rates: Vec<u64> = rules.budgets().map(|budget| budget.rate_pps).collect();
        let draws = |spec: &ScanSpec| {
            let about = rules.budgets().enumerate();
            let about = about.filter(|(_, budget)| spec.partitions.iter().any(|targets| budget.is_about(targets)));
            about.map(|(at, _)| at).collect::<Vec<_>>()
        };
        let of_job = match rates.is_empty() {
            true => BTreeMap::new(),
            false => jobs.map(|(job, spec)| (job, draws(spec))).filter(|(_, on)| !on.is_empty()).collect(),
        };
        Self { rates, of_job }
    }

    /// Budgets of these rates, and which of them jobs draw on.
    #[cfg(test)]
    pub(super) fn for_test(rates: &[u64], jobs: &[(JobId, &[usize])]) -> Self {
        Self { rates: rates.to_vec(), of_job: jobs.iter().map(|(job, on)| (*job, on.to_vec())).collect() }
    }

    /// The budgets that a job draws on, by their numbers.
    pub(super) fn of_job(&self, job: JobId) -> &[usize] {
        self.of_job.get(&job).map_or(&[], Vec::as_slice)
    }

    /// Packets per second of a budget.
    pub(super) fn rate(&self, budget: usize) -> Option<u64> {
        self.rates.get(budget).copied()
    }

    /// Leases whose share is that of a budget which is gone or was raised since `before`: they would send as little to their end.
    pub(super) fn loosened(&self, before: &Self, state: &State) -> Vec<LeaseRef> {
        let mut loosened = Vec::new();
        for job in before.of_job.keys() {
            let (Some(was), now) = (before.tightest(*job), self.tightest(*job)) else { continue };
            let own = state.job(*job).and_then(|record| record.limits.budget_pps);
            // What the job itself asks for may be the tighter of the two: then nothing changes for it.
            if now.is_some_and(|now| now <= was) || own.is_some_and(|own| own <= was) {
                continue;
            }
            let leases = state.job_leases(*job).filter(|(_, lease)| lease.share.rate_pps.is_some());
            loosened.extend(leases.map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }));
        }
        loosened
    }

    /// The lowest rate of those that a job draws on.
    fn tightest(&self, job: JobId) -> Option<u64> {
        self.of_job(job).iter().filter_map(|budget| self.rate(*budget)).min()
    }

    /// Leases that are out beyond a budget, which was written or lowered after they were granted: those without a share first,
    /// and then the youngest. Whoever has one is to hand it back.
    pub(super) fn over(&self, state: &State) -> Vec<LeaseRef> {
        let mut over: BTreeSet<LeaseRef> = BTreeSet::new();
        for (budget, rate) in self.rates.iter().enumerate() {
            let drawing = self.of_job.iter().filter(|(_, on)| on.contains(&budget)).map(|(job, _)| *job);
            let leases = drawing.flat_map(|job| state.job_leases(job));
            let mut out: Vec<(LeaseRef, &Lease)> =
                leases.map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease)).collect();
            over.extend(out.iter().filter(|(_, lease)| lease.share.rate_pps.is_none()).map(|(lease, _)| *lease));
            out.retain(|(reference, _)| !over.contains(reference));
            out.sort_by_key(|(reference, _)| reference.epoch);
            while sum(&out) > *rate
                && let Some((youngest, _)) = out.pop()
            {
                over.insert(youngest);
            }
        }
        over.into_iter().collect()
    }
}

/// What a job draws on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The budget's rule.
    pub name: String,
    /// Packets per second into all of its networks.
    pub rate_pps: u64,
    /// What of that the job's leases have.
    pub own_pps: u64,
    /// What those of other jobs have.
    pub others_pps: u64,
}

/// The budgets that a job draws on, and what is out of each; `specs` are its own and those of the jobs with leases.
#[must_use]
pub fn draws<'a>(state: &State, job: JobId, specs: impl Iterator<Item = (JobId, &'a ScanSpec)>) -> Vec<Draw> {
    let budgets = Budgets::of(&Policy::of(state, ""), specs);
    let names: Vec<&str> = state.rules(RuleKind::Budget).map(|(name, _)| name).collect();
    let draw = |budget: &usize| {
        let drawing = budgets.of_job.iter().filter(|(_, on)| on.contains(budget)).map(|(job, _)| *job);
        let leases = drawing.flat_map(|job| state.job_leases(job));
        let leases = leases.map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease));
        let (own, others): (Vec<_>, Vec<_>) = leases.partition(|(lease, _)| lease.unit.job == job);
        let name = (*names.get(*budget)?).to_owned();
        Some(Draw { name, rate_pps: budgets.rate(*budget)?, own_pps: sum(&own), others_pps: sum(&others) })
    };
    budgets.of_job(job).iter().filter_map(draw).collect()
}

/// What leases may send together: of each job and node the largest share counts, as its worker has it.
fn sum(leases: &[(LeaseRef, &Lease)]) -> u64 {
    let mut shares: BTreeMap<(JobId, u64), u64> = BTreeMap::new();
    for (reference, lease) in leases {
        let share = shares.entry((reference.unit.job, lease.node)).or_default();
        *share = (*share).max(lease.share.rate_pps.unwrap_or(0));
    }
    shares.values().fold(0, |sum, share| sum.saturating_add(*share))
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::UnitKey;
    use pentora_raft::state::Share;

    use super::*;

    #[test]
    fn the_largest_share_of_each_job_and_node_counts() {
        let lease = |node, rate_pps| Lease {
            start: 0,
            end: 9,
            node,
            epoch: 1,
            attempts: 0,
            share: Share { rate_pps, network_pps: None },
            granted_at_ms: 0,
        };
        let named = |job, start| LeaseRef { unit: UnitKey { job: JobId(job), partition: 0, start }, epoch: 1 };
        let (a, b, c) = (lease(1, Some(10)), lease(1, Some(20)), lease(2, Some(5)));
        assert_eq!(sum(&[(named(1, 0), &a), (named(1, 9), &b), (named(1, 18), &c), (named(2, 0), &a)]), 35);
    }
}
