//! How many workers a scan needs: the formula, and what past jobs say of the seconds that a target takes. Pure.

use std::collections::BTreeMap;

use pentora_raft::state::{Job, JobStatus};
use pentora_raft::{JobId, State};

use crate::document::{CapacityDocument, CapacityOf};

/// By how little a quotient may be over a whole number and still be it: what is lost in a sum of decimals is far less.
const ROUNDING: f64 = 1e-9;

/// How many workers are needed, not rounded: targets x seconds of each / (seconds of the window x targets at once). `None`
/// where the window is empty or a figure is none.
#[must_use]
pub fn workers_exact(targets: u64, seconds_per_target: f64, window_seconds: f64, concurrency: u32) -> Option<f64> {
    let needed = targets as f64 * seconds_per_target / (window_seconds * f64::from(concurrency));
    (needed.is_finite() && needed >= 0.0).then_some(needed)
}

/// The same as a number of workers: one at least, unless there is nothing to scan.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a float clamps")]
pub fn workers_of(exact: f64) -> u64 {
    (exact * (1.0 - ROUNDING)).ceil().max(0.0) as u64
}

/// What one job took.
struct Took {
    workers: u32,
    targets: u64,
    worker_ms: u64,
}

/// What past jobs took, or `job` alone: seconds of one worker for a target, and how that changes with the number of workers.
#[must_use]
pub fn measured(state: &State, job: Option<JobId>) -> CapacityDocument {
    let wanted = |id: JobId| job.is_none_or(|job| job == id);
    let ended = state.jobs().filter(|(id, job)| wanted(*id) && is_measured(job));
    let took: Vec<Took> =
        ended.map(|(id, _)| took(state, id)).filter(|took| took.targets > 0 && took.worker_ms > 0).collect();
    let mut by_workers: BTreeMap<u32, Vec<&Took>> = BTreeMap::new();
    took.iter().for_each(|took| by_workers.entry(took.workers).or_default().push(took));
    let rate = |took: &[&Took]| {
        let (targets, worker_ms) = sums(took.iter().copied());
        targets as f64 * 1_000.0 / worker_ms as f64
    };
    let of_fewest = by_workers.values().next().map(|took| rate(took));
    let (targets, worker_ms) = sums(took.iter());
    CapacityDocument {
        jobs: took.len() as u64,
        targets,
        worker_seconds: worker_ms as f64 / 1_000.0,
        seconds_per_target: (targets > 0).then(|| worker_ms as f64 / 1_000.0 / targets as f64),
        by_workers: by_workers
            .iter()
            .map(|(workers, took)| CapacityOf {
                workers: *workers,
                jobs: took.len() as u64,
                targets_per_worker_second: rate(took),
                efficiency: of_fewest.map_or(1.0, |fewest| rate(took) / fewest),
            })
            .collect(),
    }
}

/// Whether a job says how long targets take: it ended by itself, and a worker did something of it.
fn is_measured(job: &Job) -> bool {
    matches!(job.status, JobStatus::Completed | JobStatus::Partial) && job.done > 0
}

fn took(state: &State, job: JobId) -> Took {
    let mut took = Took { workers: 0, targets: 0, worker_ms: 0 };
    for (_, stat) in state.job_workers(job).filter(|(_, stat)| stat.targets > 0) {
        took.workers += 1;
        took.targets += stat.targets;
        took.worker_ms += stat.last_at_ms.saturating_sub(stat.first_at_ms);
    }
    took
}

fn sums<'a>(took: impl Iterator<Item = &'a Took>) -> (u64, u64) {
    took.fold((0, 0), |(targets, ms), took| (targets.saturating_add(took.targets), ms.saturating_add(took.worker_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_original_description_needs_three_workers() {
        let exact = workers_exact(50_000, 2.0, 3_600.0, 10).unwrap();
        assert_eq!((format!("{exact:.2}").as_str(), workers_of(exact)), ("2.78", 3));
    }

    #[test]
    fn a_whole_number_is_not_rounded_up_and_what_is_no_number_is_none() {
        assert_eq!(workers_exact(36_000, 0.1, 3_600.0, 1).map(workers_of), Some(1));
        assert_eq!(workers_exact(36_001, 0.1, 3_600.0, 1).map(workers_of), Some(2));
        assert_eq!(workers_exact(1, 0.001, 3_600.0, 10).map(workers_of), Some(1));
        assert_eq!(workers_exact(0, 2.0, 3_600.0, 10).map(workers_of), Some(0));
        assert_eq!(workers_exact(u64::MAX, 86_400.0, 1.0, 1).map(workers_of), Some(u64::MAX));
        for (seconds, window, concurrency) in [(1.0, 0.0, 1), (1.0, 3_600.0, 0), (f64::NAN, 1.0, 1), (-1.0, 1.0, 1)] {
            assert_eq!(workers_exact(5, seconds, window, concurrency), None);
        }
    }
}
