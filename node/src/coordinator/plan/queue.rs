//! In which order jobs are served.
//!
//! By level, which is a job's priority, one better for each minute that it waits with nothing out, so that whatever comes
//! in above it a job is served at last. Within a level unit by unit: the job that has least out for its weight is next, so
//! that none takes everything before the others get anything. The slot that a finished unit leaves goes to the first in
//! this order: urgent jobs pass others between two units, never within one.

use std::collections::{BTreeMap, BTreeSet};

use pentora_raft::state::{Job, Priority};
use pentora_raft::{JobId, State};

/// How long a job with nothing out waits to be served as one of the next better priority, in milliseconds. Ours: a job of
/// low priority is beside critical ones after three minutes.
const AGE_STEP_MS: u64 = 60_000;

/// What a unit counts for a job's part, by its priority: the inverse of its weight of 8, 4, 2, 1.
fn cost(priority: Priority) -> u64 {
    match priority {
        Priority::Critical => 1,
        Priority::High => 2,
        Priority::Normal => 4,
        Priority::Low => 8,
    }
}

/// What a job's part of what several share is by its priority.
pub(super) fn weight(priority: Priority) -> u64 {
    cost(Priority::Low) / cost(priority)
}

/// A job's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// Its priority, better by what it waited.
    pub level: u64,
    /// What it has out, for its weight.
    pub part: u64,
    /// The job; of equal ones, the older first.
    pub job: JobId,
    cost: u64,
}

/// The jobs that want work, in the order in which they are served.
pub(super) struct Queue(BTreeSet<Served>);

impl Queue {
    pub(super) fn new(state: &State, now_ms: u64) -> Self {
        Self(order(state, now_ms))
    }

    /// The jobs, the one that is served next first.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.0.iter().map(|served| served.job)
    }

    pub(super) fn pop(&mut self) -> Option<Served> {
        self.0.pop_first()
    }

    /// Puts a job that got a unit back to its place.
    pub(super) fn put_back(&mut self, served: Served) {
        self.0.insert(Served { part: served.part + served.cost, ..served });
    }
}

/// The jobs that want work, the one that is served next first.
#[must_use]
pub fn served(state: &State, now_ms: u64) -> Vec<Served> {
    order(state, now_ms).into_iter().collect()
}

fn order(state: &State, now_ms: u64) -> BTreeSet<Served> {
    let mut out: BTreeMap<JobId, u64> = BTreeMap::new();
    for (unit, _) in state.leases() {
        *out.entry(unit.job).or_default() += 1;
    }
    let place = |(id, job): (JobId, &Job)| {
        let held = out.get(&id).copied().unwrap_or(0);
        let waited_ms = if held > 0 { 0 } else { now_ms.saturating_sub(served_at(state, id, job)) };
        let level = (job.priority as u64).saturating_sub(waited_ms / AGE_STEP_MS);
        let cost = cost(job.priority);
        Served { level, part: held * cost, job: id, cost }
    };
    state.jobs().filter(|(_, job)| job.wants_work()).map(place).collect()
}

/// When a job with nothing out was served last.
fn served_at(state: &State, id: JobId, job: &Job) -> u64 {
    if job.started_at_ms.is_none() {
        return job.submitted_at_ms;
    }
    let last = state.job_workers(id).map(|(_, stat)| stat.last_at_ms).max();
    last.unwrap_or(0).max(job.submitted_at_ms)
}
