//! Accepting jobs, and forgetting the oldest ended ones.

use std::collections::BTreeMap;

use super::jobs::{Counts, Job, JobStatus, Progress};
use super::{State, unit_range};
use crate::command::{Refusal, Response, SPEC_INLINE_BYTES_MAX, SpecRef, Submission};
use crate::event::EventKind;
use crate::id::JobId;

/// How many jobs may wait or run at once. Ours: each costs the planner a look per round.
pub const JOBS_OPEN_MAX: usize = 1_000;

/// How many ended jobs are kept with their results; the oldest goes when another ends up over it. Ours.
pub const JOBS_ENDED_KEPT_MAX: usize = 1_000;

/// How many lines a job's history takes before it keeps only what is rare; at twice that it is full. Ours.
pub const EVENTS_PER_JOB_MAX: usize = 1_000;

/// How many partitions a job may have. Ours: one for each distinct set of reachable networks.
const PARTITIONS_MAX: usize = 256;

/// How long a retried submission is recognised, in milliseconds of the log's clock: a day, as openraft's guide asks
/// an application to keep the answers of at-least-once writes.
const IDEMPOTENCY_MS: u64 = 24 * 3600 * 1000;

impl State {
    pub(super) fn submit(&mut self, index: u64, submission: &Submission) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        self.forget_old_keys(now_ms);
        if let Some(key) = &submission.idempotency_key
            && let Some((job, _)) = self.idempotency.get(key)
        {
            return Ok(Response::Submitted { job: *job, existing: true });
        }
        check(submission)?;
        if self.jobs.iter().filter(|(_, job)| job.is_open()).count() >= JOBS_OPEN_MAX {
            return Err(Refusal::QueueFull { limit: JOBS_OPEN_MAX });
        }
        self.forget_ended_jobs();
        let job = JobId(index);
        self.jobs.insert(
            job,
            Job {
                title: submission.title.clone(),
                priority: submission.priority,
                status: JobStatus::Queued,
                partitions: submission.partitions.clone(),
                budget_pps: submission.budget_pps,
                max_workers: submission.max_workers,
                max_attempts: submission.max_attempts.max(1),
                via: submission.via,
                submitted_at_ms: now_ms,
                started_at_ms: None,
                finished_at_ms: None,
                done: 0,
                dead: 0,
                counts: Counts::default(),
                workers: BTreeMap::new(),
                reason: None,
                events: 0,
            },
        );
        self.specs.insert(job, submission.spec.clone());
        for (partition, _) in (0u32..).zip(&submission.partitions) {
            self.progress.insert((job, partition), Progress::default());
        }
        if let Some(key) = submission.idempotency_key {
            self.idempotency.insert(key, (job, now_ms));
        }
        let targets = self.jobs.get(&job).map_or(0, Job::targets);
        self.record(job, index, EventKind::Submitted { targets }, None, None);
        Ok(Response::Submitted { job, existing: false })
    }

    fn forget_old_keys(&mut self, now_ms: u64) {
        let old: Vec<_> = self
            .idempotency
            .iter()
            .filter(|(_, (_, at_ms))| at_ms.saturating_add(IDEMPOTENCY_MS) < now_ms)
            .map(|(key, _)| *key)
            .collect();
        for key in old {
            self.idempotency.remove(&key);
        }
    }

    fn forget_ended_jobs(&mut self) {
        let ended: Vec<JobId> = self.jobs.iter().filter(|(_, job)| !job.is_open()).map(|(id, _)| *id).collect();
        let over = ended.len().saturating_sub(JOBS_ENDED_KEPT_MAX);
        for job in ended.into_iter().take(over) {
            self.forget_job(job);
        }
    }

    fn forget_job(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.specs.remove(&job);
        let partitions: Vec<_> = self.progress.range((job, 0)..=(job, u32::MAX)).map(|(key, _)| *key).collect();
        partitions.iter().for_each(|key| drop(self.progress.remove(key)));
        let chunks: Vec<_> = self.chunks.range(unit_range(job)).map(|(key, _)| *key).collect();
        chunks.iter().for_each(|key| drop(self.chunks.remove(key)));
        let events: Vec<_> = self.events.range((job, 0, 0)..=(job, u64::MAX, u32::MAX)).map(|(key, _)| *key).collect();
        events.iter().for_each(|key| drop(self.events.remove(key)));
    }
}

fn check(submission: &Submission) -> Result<(), Refusal> {
    let malformed = |what: &str| Err(Refusal::Malformed { what: what.into() });
    if submission.partitions.is_empty() || submission.partitions.iter().any(|part| part.target_count == 0) {
        return malformed("a job needs targets");
    }
    if submission.partitions.len() > PARTITIONS_MAX {
        return malformed("a job has at most 256 partitions");
    }
    let total = submission.partitions.iter().try_fold(0u64, |sum, part| sum.checked_add(part.target_count));
    if total.is_none() {
        return malformed("a job has at most 2^64 - 1 targets");
    }
    if matches!(&submission.spec, SpecRef::Inline(bytes) if bytes.len() > SPEC_INLINE_BYTES_MAX) {
        return malformed("a spec above 64 KiB belongs in a chunk");
    }
    if submission.budget_pps == Some(0) || submission.max_workers == Some(0) {
        return malformed("a budget or a number of workers of 0 would never end");
    }
    Ok(())
}
