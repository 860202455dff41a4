//! Which units go to whom next: a pure look at the state and at what each worker is good for.
//!
//! Jobs are served by priority, then by age. Each worker holds at most two units of a job, one running and one behind
//! it, sized to take about ten seconds of that worker's own measured rate; near a job's end what is left is shared, so
//! that no worker is waited for. A unit that failed before is halved for each try, so that a poisonous target is left
//! alone with few neighbours. A job with a limit per network is given out one unit at a time and worker: two units of
//! one worker could be in the same network at once, each with its own share.

use std::collections::BTreeMap;

use pentora_raft::command::{NewLease, UnitKey};
use pentora_raft::state::{Job, NodeRecord, Partition, Progress, Share};
use pentora_raft::{JobId, NodeId, State};

use super::placement;
use super::work_sessions::Rates;

/// How long a unit should take, in seconds. The design asks for 5 to 30.
const UNIT_SECONDS: f64 = 10.0;
/// Units of one job that a worker holds: one running, one behind it.
const UNITS_PER_JOB: u32 = 2;
/// A worker begins with this part of its fair share of a budget at least: less would be a unit of hardly any target.
const SHARE_PARTS_MIN: u64 = 4;
/// Grants in one entry; keeps an entry far below a frame.
const GRANTS_MAX: usize = 256;
/// Ports per target of a job whose spec is not at hand.
pub const PORTS_UNKNOWN: u64 = 100;

/// Whom to prefer among workers that may take a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// In turn.
    RoundRobin,
    /// The one with the most room.
    #[default]
    LeastLoaded,
    /// The one with most of the job's preferred tags.
    TagAffinity,
}

/// How units are shared out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanConfig {
    /// Whom to prefer.
    pub preference: Preference,
    /// How long a unit of a job whose budget is below what the worker can do should take, in seconds: that is known
    /// beforehand.
    pub paced_unit_seconds: f64,
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self { preference: Preference::default(), paced_unit_seconds: UNIT_SECONDS }
    }
}

/// A worker as the planner sees it.
struct Worker<'a> {
    id: NodeId,
    record: &'a NodeRecord,
    rates: &'a Rates,
    leases: u32,
    by_job: BTreeMap<JobId, u32>,
}

/// What of one job's budgets is out.
#[derive(Debug, Default)]
struct Shares {
    /// Packets per second, by the node that may send them.
    rate: BTreeMap<NodeId, u64>,
    /// Packets per second into any one network, over all leases.
    network: u64,
}

/// What of a partition can be granted.
struct Cursor {
    free: Vec<(u64, u64, u32)>,
    next: u64,
    end: u64,
}

/// The grants to propose now. `rates` are the workers with a session; `ports` how many ports a job asks of a target.
#[must_use]
pub fn plan(
    state: &State,
    rates: &BTreeMap<NodeId, Rates>,
    ports: &BTreeMap<JobId, u64>,
    config: &PlanConfig,
) -> Vec<NewLease> {
    let mut jobs: Vec<(JobId, &Job)> = state.jobs().filter(|(_, job)| job.is_open()).collect();
    if jobs.is_empty() {
        return Vec::new();
    }
    let mut workers = workers(state, rates);
    let mut shares = shares(state);
    jobs.sort_by_key(|(id, job)| (job.priority, *id));
    let mut grants = Vec::new();
    for (id, job) in jobs {
        let ports = ports.get(&id).copied().unwrap_or(PORTS_UNKNOWN);
        let shares = shares.entry(id).or_default();
        for (index, partition) in (0u32..).zip(&job.partitions) {
            if let Some(progress) = state.progress(id, index) {
                let part = Part { job: id, record: job, index, partition, ports };
                part.share_out(progress, &mut workers, shares, config, &mut grants);
            }
        }
        if grants.len() >= GRANTS_MAX {
            break;
        }
    }
    grants
}

fn workers<'a>(state: &'a State, rates: &'a BTreeMap<NodeId, Rates>) -> Vec<Worker<'a>> {
    let mut workers: Vec<Worker<'_>> = state
        .nodes()
        .filter(|(_, record)| record.takes_leases())
        .filter_map(|(id, record)| {
            let rates = rates.get(&id)?;
            Some(Worker { id, record, rates, leases: 0, by_job: BTreeMap::new() })
        })
        .collect();
    for (unit, lease) in state.leases() {
        if let Some(worker) = workers.iter_mut().find(|worker| worker.id == lease.node) {
            worker.leases += 1;
            *worker.by_job.entry(unit.job).or_default() += 1;
        }
    }
    workers
}

/// Who holds leases of each job, and each one's share of its budget: the largest of its leases, as the state machine
/// counts. Workers that are silent count until they are failed, because they may still be sending.
fn shares(state: &State) -> BTreeMap<JobId, Shares> {
    let mut shares: BTreeMap<JobId, Shares> = BTreeMap::new();
    for (unit, lease) in state.leases() {
        shares.entry(unit.job).or_default().add(lease.node, lease.share);
    }
    shares
}

impl Shares {
    fn add(&mut self, node: NodeId, share: Share) {
        let rate = self.rate.entry(node).or_default();
        *rate = (*rate).max(share.rate_pps.unwrap_or(0));
        self.network = self.network.saturating_add(share.network_pps.unwrap_or(0));
    }
}

/// A fair part of `budget` among so many workers, or what the others leave of it: `Some(None)` without a budget, `None`
/// where too little is left to begin with.
fn fair_share(budget: Option<u64>, workers: usize, others: u64) -> Option<Option<u64>> {
    let Some(budget) = budget else { return Some(None) };
    let fair = (budget / workers as u64).max(1);
    let left = budget.saturating_sub(others);
    (left >= fair.div_ceil(SHARE_PARTS_MIN)).then(|| Some(fair.min(left)))
}

/// One partition of one job, while it is shared out.
struct Part<'a> {
    job: JobId,
    record: &'a Job,
    index: u32,
    partition: &'a Partition,
    ports: u64,
}

impl Part<'_> {
    fn share_out(
        &self,
        progress: &Progress,
        workers: &mut [Worker<'_>],
        shares: &mut Shares,
        config: &PlanConfig,
        grants: &mut Vec<NewLease>,
    ) {
        let mut cursor = Cursor {
            free: progress.free.iter().map(|(start, free)| (*start, free.end, free.attempts)).collect(),
            next: progress.next,
            end: self.partition.target_count,
        };
        let eligible: Vec<usize> = (0..workers.len())
            .filter(|at| {
                workers
                    .get(*at)
                    .is_some_and(|worker| placement::mismatch(worker.record, &self.partition.needs).is_none())
            })
            .collect();
        let limit =
            self.record.limits.max_workers.map_or(eligible.len(), |limit| eligible.len().min(limit as usize)).max(1);
        while grants.len() < GRANTS_MAX && cursor.left() > 0 {
            let Some(worker) = self.choose(workers, &eligible, limit, shares, config) else { return };
            let Some(share) = self.share(worker.id, limit, shares) else { return };
            let wanted = self.targets_wanted(worker, share.rate_pps, config);
            let wanted = Self::unit_targets(worker, cursor.left(), limit as u64, wanted);
            let Some((start, end)) = cursor.take(wanted) else { return };
            worker.leases += 1;
            *worker.by_job.entry(self.job).or_default() += 1;
            shares.add(worker.id, share);
            let unit = UnitKey { job: self.job, partition: self.index, start };
            grants.push(NewLease { unit, end, node: worker.id, share });
        }
    }

    /// What a lease of `node` may send; `None` where too little of a budget is left to begin with.
    fn share(&self, node: NodeId, limit: usize, shares: &Shares) -> Option<Share> {
        let others = shares.rate.iter().filter(|(holder, _)| **holder != node).map(|(_, share)| share).sum();
        Some(Share {
            rate_pps: fair_share(self.record.limits.budget_pps, limit, others)?,
            network_pps: fair_share(self.record.limits.network_pps, limit, shares.network)?,
        })
    }

    /// How many units of this job a worker holds at once.
    fn units_held(&self) -> u32 {
        if self.record.limits.network_pps.is_some() { 1 } else { UNITS_PER_JOB }
    }

    /// The worker that gets the next unit.
    fn choose<'w, 'r>(
        &self,
        workers: &'w mut [Worker<'r>],
        eligible: &[usize],
        limit: usize,
        shares: &Shares,
        config: &PlanConfig,
    ) -> Option<&'w mut Worker<'r>> {
        let fits = |worker: &Worker<'_>| {
            let own = worker.by_job.get(&self.job).copied().unwrap_or(0);
            own < self.units_held()
                && worker.leases < worker.record.info.max_concurrent_scans
                && (own > 0 || shares.rate.len() < limit)
                && self.share(worker.id, limit, shares).is_some()
        };
        let tags = &self.partition.needs.preferred_tags;
        let rank = |worker: &Worker<'_>| {
            let own = worker.by_job.get(&self.job).copied().unwrap_or(0);
            let affinity = tags.iter().filter(|tag| worker.record.info.tags.contains(tag)).count();
            let affinity = usize::MAX - affinity;
            match config.preference {
                Preference::TagAffinity => (affinity, own, worker.leases),
                Preference::LeastLoaded => {
                    (usize::from(own > 0), worker.leases, u32::try_from(affinity).unwrap_or(u32::MAX))
                }
                Preference::RoundRobin => (0, own, worker.leases),
            }
        };
        let best = eligible
            .iter()
            .copied()
            .filter(|at| workers.get(*at).is_some_and(fits))
            .min_by_key(|at| workers.get(*at).map(rank))?;
        workers.get_mut(best)
    }

    /// How many targets `worker` is expected to do in the time of a unit. A budget sets that time only where it is what
    /// the worker waits for.
    fn targets_wanted(&self, worker: &Worker<'_>, share_pps: Option<u64>, config: &PlanConfig) -> f64 {
        let ports = self.ports as f64;
        let guess = worker.rates.engine_pps / ports;
        let able = worker.rates.targets_per_second.get(&self.job).copied().unwrap_or(guess);
        match share_pps.map(|share| share as f64 / ports).filter(|share| *share < able) {
            Some(share) => share * config.paced_unit_seconds,
            None => able * UNIT_SECONDS,
        }
    }

    /// How many targets a unit for `worker` should have, of about `wanted`.
    fn unit_targets(worker: &Worker<'_>, left: u64, workers: u64, wanted: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the worker's limit next"
        )]
        let wanted = wanted.clamp(1.0, 1e15) as u64;
        // Guided sharing: with others at work, a unit is at most half of a fair share of what is left.
        let fair = if workers > 1 { left.div_ceil(2 * workers) } else { left };
        wanted.min(fair).clamp(1, worker.record.info.max_targets_per_scan.max(1))
    }
}

impl Cursor {
    fn left(&self) -> u64 {
        self.end.saturating_sub(self.next) + self.free.iter().map(|(start, end, _)| end - start).sum::<u64>()
    }

    /// Takes up to `wanted` targets, what came back first.
    fn take(&mut self, wanted: u64) -> Option<(u64, u64)> {
        if let Some((start, end, attempts)) = self.free.first_mut() {
            let halved = (wanted >> (*attempts).min(63)).max(1);
            let from = *start;
            let until = from.saturating_add(halved).min(*end);
            *start = until;
            if until >= *end {
                self.free.remove(0);
            }
            return Some((from, until));
        }
        if self.next >= self.end {
            return None;
        }
        let from = self.next;
        self.next = from.saturating_add(wanted).min(self.end);
        Some((from, self.next))
    }
}

#[cfg(test)]
#[path = "plan/plan_test.rs"]
mod tests;
