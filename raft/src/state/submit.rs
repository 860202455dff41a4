//! Accepting jobs, and forgetting the oldest ended ones.

use serde::{Deserialize, Serialize};

use super::jobs::{ChunkRef, Job, JobLimits, JobStatus, Progress};
use super::{Counts, Priority, State};
use crate::command::{Finished, Refusal, Response, SPEC_INLINE_BYTES_MAX, SpecRef, Submission, UnitRange};
use crate::event::EventKind;
use crate::id::{Digest, JobId, NodeId};

/// How many jobs may wait or run at once where the log has no settings, as those of the first release. Ours.
pub const JOBS_OPEN_MAX: usize = 1_000;

/// How many jobs may wait or run at once where it has. Ours: as many as the planner looks at in a few milliseconds.
pub const JOBS_WAITING_MAX: usize = 10_000;

/// How many ended jobs are kept with their results; the oldest goes when another ends up over it. Ours.
pub const JOBS_ENDED_KEPT_MAX: usize = 1_000;

/// How many lines a job's history takes before it keeps only what is rare; at twice that it takes its end alone. Ours.
pub const EVENTS_PER_JOB_MAX: usize = 1_000;

/// How many partitions a job may have. Ours: one for each distinct set of reachable networks.
const PARTITIONS_MAX: usize = 256;

/// How long a retried submission is recognised, in milliseconds of the log's clock: a day, as openraft's guide asks
/// an application to keep the answers of at-least-once writes.
const IDEMPOTENCY_MS: u64 = 24 * 3600 * 1000;

/// How many keys of submissions are kept; when there are more, the oldest tenth goes even within its day. Ours: a
/// submission each second of a day, in about 10 MB.
pub(super) const IDEMPOTENCY_KEYS_MAX: usize = 86_400;

/// How much of a job's title is kept, in characters. Ours: a line of a wide terminal, twice.
pub(super) const TITLE_CHARS_MAX: usize = 400;

/// The job that an earlier submission with the same key made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EarlierSubmission {
    /// Its id.
    pub(crate) job: JobId,
    /// When it was accepted, unix milliseconds of the log's clock.
    pub(crate) at_ms: u64,
}

impl EarlierSubmission {
    /// Whether the key may be used for another job by now.
    fn is_old(&self, now_ms: u64) -> bool {
        self.at_ms.saturating_add(IDEMPOTENCY_MS) < now_ms
    }
}

/// Whether two specs ask for the same, wherever they are kept.
pub(super) fn is_same_spec(one: &SpecRef, other: &SpecRef) -> bool {
    match (one, other) {
        (SpecRef::Inline(one), SpecRef::Inline(other)) => one == other,
        (SpecRef::Chunk { digest: one, .. }, SpecRef::Chunk { digest: other, .. }) => one == other,
        _ => false,
    }
}

/// How much of a submission's key is of what the submitter calls it; the rest is of what is asked.
const KEY_BYTES: usize = 16;

/// What a submission is known by in the log: `key` is what its submitter calls it, `asked` all that it asks for, of which the log
/// itself keeps a part alone. The same key with something else asked is refused.
#[must_use]
pub fn submission_key(key: &[u8], asked: &[u8]) -> Digest {
    let (Digest(key), Digest(asked)) = (Digest::of(key), Digest::of(asked));
    let mut both = key;
    both.iter_mut().zip(asked).skip(KEY_BYTES).for_each(|(byte, asked)| *byte = asked);
    Digest(both)
}

/// The least, or the greatest, of all that a submission of the same key is known by.
fn end_of_key(key: &Digest, rest: u8) -> Digest {
    let mut end = key.0;
    end.iter_mut().skip(KEY_BYTES).for_each(|byte| *byte = rest);
    Digest(end)
}

impl State {
    /// Whether a submission came before under this key, which is still known.
    pub(super) fn is_asked_again(&self, submission: &Submission) -> bool {
        submission.idempotency_key.as_ref().is_some_and(|key| self.earlier(key).is_some())
    }

    /// What came before under the same key, whatever was asked then.
    fn earlier(&self, key: &Digest) -> Option<(Digest, EarlierSubmission)> {
        let now_ms = self.now_ms();
        let mut of_key = self.idempotency.range(end_of_key(key, 0)..=end_of_key(key, u8::MAX));
        of_key.find(|(_, earlier)| !earlier.is_old(now_ms)).map(|(key, earlier)| (*key, *earlier))
    }

    pub(super) fn submit(&mut self, index: u64, submission: &Submission) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        if let Some(key) = &submission.idempotency_key
            && let Some((known, EarlierSubmission { job, .. })) = self.earlier(key)
        {
            let is_another = || self.specs.get(&job).is_some_and(|spec| !is_same_spec(spec, &submission.spec));
            if known != *key || is_another() {
                return Err(Refusal::KeyReused { job });
            }
            return Ok(Response::Submitted { job, existing: true });
        }
        check(submission)?;
        self.make_room_for_a_job(submission.priority)?;
        let job = JobId(index);
        self.jobs.insert(
            job,
            Job {
                title: submission.title.chars().take(TITLE_CHARS_MAX).collect(),
                priority: submission.priority,
                status: JobStatus::Queued,
                partitions: submission.partitions.clone(),
                limits: JobLimits { max_attempts: submission.limits.max_attempts.max(1), ..submission.limits },
                via: submission.via,
                submitted_at_ms: now_ms,
                started_at_ms: None,
                finished_at_ms: None,
                done: 0,
                dead: 0,
                counts: Counts::default(),
                reason: None,
                events: 0,
            },
        );
        self.specs.insert(job, submission.spec.clone());
        if let Some(region) = submission.partitions.iter().find_map(|part| part.needs.residency()) {
            self.residences.insert(job, region.to_owned());
        }
        for (partition, _) in (0u32..).zip(&submission.partitions) {
            self.progress.insert((job, partition), Progress::default());
        }
        if let Some(key) = submission.idempotency_key {
            self.forget_old_keys(now_ms);
            self.idempotency.insert(key, EarlierSubmission { job, at_ms: now_ms });
        }
        let targets = self.jobs.get(&job).map_or(0, Job::targets);
        self.record(job, index, EventKind::Submitted { targets }, None, None);
        if !submission.finished.is_empty() {
            submission.finished.iter().for_each(|unit| self.count_finished(index, submission.via, unit));
            self.close_gaps(job, submission.partitions.len());
            self.finish_if_over(index, job);
        }
        Ok(Response::Submitted { job, existing: false })
    }

    /// Counts a unit that was finished before the job was submitted, as if its submitter had done it just now.
    fn count_finished(&mut self, index: u64, via: NodeId, finished: &Finished) {
        let (job, now_ms) = (JobId(index), self.now_ms());
        let Finished { unit, ref stored, counts } = *finished;
        let UnitRange { partition, start, end } = unit;
        if let Some(progress) = self.progress.get_mut(&(job, partition)) {
            progress.done.insert(start..end);
            progress.next = progress.next.max(end);
        }
        let chunk = ChunkRef { end, stored: stored.clone(), node: via, epoch: index, counts };
        self.chunks.insert(unit.of(job), chunk);
        self.count_unit(job, via, (unit.targets(), 0), &counts);
        if let Some(record) = self.jobs.get_mut(&job) {
            record.status = JobStatus::Running;
            record.started_at_ms = Some(now_ms);
        }
    }

    /// Frees what lies between the finished units of a new job.
    fn close_gaps(&mut self, job: JobId, partitions: usize) {
        for (partition, _) in (0u32..).zip(0..partitions) {
            let Some(progress) = self.progress.get_mut(&(job, partition)) else { continue };
            let mut reached = 0;
            let mut gaps = Vec::new();
            for done in progress.done.iter() {
                gaps.push(reached..done.start);
                reached = done.end;
            }
            gaps.into_iter().for_each(|gap| progress.put_back(gap, 0));
        }
    }

    /// Forgets keys only when there are as many as are kept, so that a submission does not look at all of them.
    fn forget_old_keys(&mut self, now_ms: u64) {
        if self.idempotency.len() < IDEMPOTENCY_KEYS_MAX {
            return;
        }
        let mut by_age: Vec<(Digest, EarlierSubmission)> =
            self.idempotency.iter().map(|(key, earlier)| (*key, *earlier)).collect();
        by_age.sort_unstable_by_key(|(key, earlier)| (earlier.at_ms, earlier.job, *key));
        let tenth = IDEMPOTENCY_KEYS_MAX / 10;
        let old =
            by_age.iter().enumerate().take_while(|(place, (_, earlier))| *place < tenth || earlier.is_old(now_ms));
        for (_, (key, _)) in old {
            self.idempotency.remove(key);
        }
    }

    /// How many jobs may wait or run at once.
    pub(super) fn jobs_open_max(&self) -> usize {
        if self.settings().is_some() { JOBS_WAITING_MAX } else { JOBS_OPEN_MAX }
    }

    /// Whether a job is in the queue: one that waits for its window is as well.
    pub(super) fn waits(&self, id: JobId, job: &Job) -> bool {
        job.status == JobStatus::Queued || self.hold(id).is_some()
    }

    /// Refuses where too many jobs are open, and forgets those that ended first where too many have ended.
    fn make_room_for_a_job(&mut self, priority: Priority) -> Result<(), Refusal> {
        let mut ended: Vec<(Option<u64>, JobId)> = Vec::new();
        for (id, job) in self.jobs.iter().filter(|(_, job)| !job.is_open()) {
            ended.push((job.finished_at_ms, *id));
        }
        let limit = self.jobs_open_max();
        if self.jobs.len() - ended.len() >= limit {
            return Err(Refusal::QueueFull { limit });
        }
        if let Some(limit) = self.queue_depth(priority) {
            let waiting = self.jobs.iter().filter(|(id, job)| self.waits(**id, job)).count();
            if waiting >= limit {
                return Err(Refusal::QueueDeep { waiting, limit });
            }
        }
        let over = ended.len().saturating_sub(JOBS_ENDED_KEPT_MAX);
        if over > 0 {
            ended.sort_unstable();
            ended.into_iter().take(over).for_each(|(_, job)| self.forget_job(job));
        }
        Ok(())
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
    let limits = &submission.limits;
    if [limits.budget_pps, limits.network_pps].contains(&Some(0)) || limits.max_workers == Some(0) {
        return malformed("a budget or a number of workers of 0 would never end");
    }
    if !finished_units_fit(submission) {
        return malformed("finished units overlap, have no holder, or are not in the job's partitions");
    }
    Ok(())
}

/// Whether the finished units are disjoint parts of the partitions, each with a holder.
fn finished_units_fit(submission: &Submission) -> bool {
    let fits = |finished: &Finished| {
        let unit = finished.unit;
        let part = usize::try_from(unit.partition).ok().and_then(|at| submission.partitions.get(at));
        let in_part = part.is_some_and(|part| unit.start < unit.end && unit.end <= part.target_count);
        in_part && !finished.stored.holders.is_empty()
    };
    let mut units: Vec<UnitRange> = submission.finished.iter().map(|finished| finished.unit).collect();
    units.sort_unstable();
    let apart = |pair: &[UnitRange]| matches!(pair, [a, b] if a.partition != b.partition || a.end <= b.start);
    submission.finished.iter().all(fits) && units.windows(2).all(apart)
}
