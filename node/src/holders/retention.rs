//! Which ended jobs are kept no longer: a pure choice by age, number and bytes of their results.

use std::time::Duration;

use pentora_raft::{JobId, State};

/// What is kept of ended jobs; `None` for no limit of that kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long after its end.
    pub max_age: Option<Duration>,
    /// How many, the latest.
    pub max_jobs: Option<u64>,
    /// How many bytes of results, over the latest.
    pub max_bytes: Option<u64>,
}

/// Jobs that go in one round. Ours: an entry of the log for each.
const DELETED_MAX: usize = 16;

/// The jobs that are over a limit at `now_ms`, oldest first, each with which limit.
pub(super) fn over(state: &State, kept: &Retention, now_ms: u64) -> Vec<(JobId, String)> {
    let mut ended: Vec<(u64, JobId)> =
        state.jobs().filter_map(|(id, job)| Some((job.finished_at_ms.filter(|_| !job.is_open())?, id))).collect();
    ended.sort_unstable_by(|a, b| b.cmp(a));
    let (mut bytes, mut over) = (0u64, Vec::new());
    for (number, (finished_at_ms, job)) in (1u64..).zip(ended) {
        let age = Duration::from_millis(now_ms.saturating_sub(finished_at_ms));
        if kept.max_bytes.is_some() {
            let own = state.job_chunks(job).map(|(_, chunk)| chunk.stored.bytes);
            bytes = own.fold(bytes, u64::saturating_add);
        }
        let why = match kept {
            Retention { max_age: Some(limit), .. } if age > *limit => {
                format!("it ended {} ago, results.retention.max_age is {}", words(age), words(*limit))
            }
            Retention { max_jobs: Some(limit), .. } if number > *limit => {
                format!("results.retention.max_jobs is {limit}")
            }
            Retention { max_bytes: Some(limit), .. } if bytes > *limit && number > 1 => {
                format!(
                    "its results and those of later jobs have {bytes} bytes, results.retention.max_bytes is {limit}"
                )
            }
            _ => continue,
        };
        over.push((job, why));
    }
    over.reverse();
    over.truncate(DELETED_MAX);
    over
}

fn words(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

#[cfg(test)]
#[path = "retention_test.rs"]
mod tests;
