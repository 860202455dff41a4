//! Jobs as the log knows them: how much work, where it may run, how far it is. What is scanned is not here.

use std::collections::BTreeMap;
use std::ops::Range;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Counts, FailureAction, Priority, Remarks, State};
use crate::command::{Refusal, Response, StoredChunk};
use crate::event::EventKind;
use crate::id::{Epoch, JobId, NodeId};
use crate::interval::IntervalSet;
use crate::names::names;

/// A job's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// One line for lists.
    pub title: String,
    /// Before which others it is served.
    pub priority: Priority,
    /// Where it stands.
    pub status: JobStatus,
    /// How much work, and where it may run.
    pub partitions: Vec<Partition>,
    /// How much it may take; every unit is tried once at least.
    pub limits: JobLimits,
    /// The node that took the request.
    pub via: NodeId,
    /// When it was accepted, unix milliseconds of the log's clock.
    pub submitted_at_ms: u64,
    /// When its first unit was granted.
    pub started_at_ms: Option<u64>,
    /// When it ended.
    pub finished_at_ms: Option<u64>,
    /// Targets in accepted units.
    pub done: u64,
    /// Targets that were given up.
    pub dead: u64,
    /// Sums over accepted units.
    pub counts: Counts,
    /// Why it ended, where that needs words; before that, why a unit of it was given up last.
    pub reason: Option<String>,
    /// How many lines its history has.
    pub events: u32,
}

impl Job {
    /// How many targets it has in all.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.partitions.iter().fold(0u64, |sum, partition| sum.saturating_add(partition.target_count))
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status, JobStatus::Queued | JobStatus::Running | JobStatus::Paused | JobStatus::Carried)
    }

    /// Whether it wants work done now.
    #[must_use]
    pub fn wants_work(&self) -> bool {
        matches!(self.status, JobStatus::Queued | JobStatus::Running)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// Accepted; no unit granted yet.
    Queued,
    /// Units are out or were.
    Running,
    /// Every target is in an accepted unit.
    Completed,
    /// Some units were given up.
    Partial,
    /// All units were given up.
    Failed,
    /// Ended by a user; what was found stays.
    Cancelled,
    /// Held by a user; nothing of it is out.
    Paused,
    /// Its work is carried to a worker without a network; no node gets any of it.
    Carried,
}

names! { JobStatus, name, NAMES:
    Queued => "queued",
    Running => "running",
    Completed => "completed",
    Partial => "partial",
    Failed => "failed",
    Cancelled => "cancelled",
    Paused => "paused",
    Carried => "carried",
}

/// How much a job may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobLimits {
    /// Packets per second over all workers together; `None` for as fast as they can.
    pub budget_pps: Option<u64>,
    /// Packets per second into any one destination network, over all workers together.
    pub network_pps: Option<u64>,
    /// How many workers may hold leases on it at once.
    pub max_workers: Option<u32>,
    /// How often a unit is tried before it is given up.
    pub max_attempts: u32,
}

/// The part of a job's targets that needs the same placement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Partition {
    /// How many targets; its index space is `[0, target_count)`.
    pub target_count: u64,
    /// Where it may run.
    pub needs: Needs,
}

/// Where a partition may run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Networks that a worker must reach; empty for no such need.
    pub networks: Vec<IpNet>,
    /// The region a worker must be in.
    pub region: Option<String>,
    /// Tags that a worker must have.
    pub required_tags: Vec<String>,
    /// Tags that make a worker preferred.
    pub preferred_tags: Vec<String>,
    /// The kind of engine that a worker must have.
    pub engine: Option<String>,
}

/// How it stands among the tags that work requires that its results stay in a region. Every node is asked for its region and
/// none for such a tag, so a release that does not know of residency finds nobody for such work, and leases none of it.
const RESIDENCY: &str = "residency:";

/// How it stands among those tags whose signature the order carries. A release that does not know of signed orders finds nobody
/// for such work, so in a cluster of two releases it waits.
const SIGNER: &str = "signed-by:";

impl Needs {
    /// The key of whoever signed the order, where somebody did.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.required_tags.iter().find_map(|tag| signer_in(tag))
    }

    /// The region that the results do not leave, where there is one.
    #[must_use]
    pub fn residency(&self) -> Option<&str> {
        self.required_tags.iter().find_map(|tag| residency_in(tag))
    }
}

/// What work says of itself that was ordered with a signature.
#[must_use]
pub fn of_signer(key: &str) -> String {
    format!("{SIGNER}{key}")
}

/// The key of the signature that a required tag stands for, if it does.
#[must_use]
pub fn signer_in(tag: &str) -> Option<&str> {
    tag.strip_prefix(SIGNER)
}

/// What work requires whose results do not leave a region.
#[must_use]
pub fn of_residency(region: &str) -> String {
    format!("{RESIDENCY}{region}")
}

/// The region that a required tag says results do not leave, if it does.
#[must_use]
pub fn residency_in(tag: &str) -> Option<&str> {
    tag.strip_prefix(RESIDENCY)
}

/// How far one partition is. `next`, `free`, the leases, `done` and `dead` part its index space between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The first index that was never granted.
    pub next: u64,
    /// Ranges that came back, by first index.
    pub free: BTreeMap<u64, FreeRange>,
    /// Ranges in accepted units.
    pub done: IntervalSet,
    /// Ranges that were given up.
    pub dead: IntervalSet,
}

impl Progress {
    /// Takes `range` out of what is free and answers how often it was tried, or `None` where not all of it is free.
    pub(super) fn take(&mut self, range: Range<u64>, target_count: u64) -> Option<u32> {
        if range.start >= range.end || range.end > target_count {
            return None;
        }
        if range.start == self.next {
            self.next = range.end;
            return Some(0);
        }
        let (&from, free) = self.free.range(..=range.start).next_back()?;
        let FreeRange { end: until, attempts } = free.clone();
        if until < range.end {
            return None;
        }
        self.free.remove(&from);
        self.put_back(from..range.start, attempts);
        self.put_back(range.end..until, attempts);
        Some(attempts)
    }

    /// Makes `range` free again, tried `attempts` times, joined with equal neighbours.
    pub(super) fn put_back(&mut self, range: Range<u64>, attempts: u32) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, free)) = self.free.range(..start).next_back()
            && free.end == start
            && free.attempts == attempts
        {
            start = before;
        }
        if let Some(after) = self.free.get(&end)
            && after.attempts == attempts
        {
            let until = after.end;
            self.free.remove(&end);
            end = until;
        }
        self.free.insert(start, FreeRange { end, attempts });
    }
}

/// A range that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeRange {
    /// The index after its last.
    pub end: u64,
    /// How often it was tried.
    pub attempts: u32,
}

/// What one worker did for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerStat {
    /// Targets in its accepted units.
    pub targets: u64,
    /// Its accepted units.
    pub units: u64,
    /// When it got its first unit, unix milliseconds of the log's clock.
    pub first_at_ms: u64,
    /// When its last unit was accepted.
    pub last_at_ms: u64,
}

/// An accepted unit's chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The index after the unit's last.
    pub end: u64,
    /// The unit's results.
    pub stored: StoredChunk,
    /// Who scanned it.
    pub node: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What it counts.
    pub counts: Counts,
}

/// How much of a reason is kept, in characters. Ours: a few lines of a terminal.
const REASON_CHARS_MAX: usize = 300;

impl State {
    pub(super) fn cancel(&mut self, index: u64, job: JobId, reason: &str) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let record = self.jobs.get(&job).ok_or(Refusal::JobUnknown { job })?;
        if record.status == JobStatus::Cancelled {
            return Ok(Response::Done);
        }
        if !record.is_open() {
            return Err(Refusal::JobEnded { job });
        }
        if let Some(record) = self.jobs.get_mut(&job) {
            record.status = JobStatus::Cancelled;
            record.finished_at_ms = Some(now_ms);
            record.reason = Some(reason.to_owned());
        }
        self.put_back_all(job);
        self.holds.remove(&job);
        self.retries.remove_of(job);
        self.note_workers(job);
        self.record(job, index, EventKind::Cancelled { reason: reason.to_owned() }, None, None);
        Ok(Response::Done)
    }

    /// Takes all leases of a job back without blame.
    fn put_back_all(&mut self, job: JobId) {
        let units: Vec<_> = self.job_leases(job).map(|(unit, lease)| (unit, lease.clone())).collect();
        for (unit, lease) in units {
            self.leases.remove(&unit);
            if let Some(progress) = self.progress.get_mut(&(job, unit.partition)) {
                progress.put_back(lease.start..lease.end, lease.attempts);
            }
        }
    }

    /// Holds a job, with nothing of it out, or lets it go on where it was.
    pub(super) fn pause(&mut self, index: u64, job: JobId, paused: bool, reason: &str) -> Result<Response, Refusal> {
        let record = self.jobs.get(&job).ok_or(Refusal::JobUnknown { job })?;
        if !record.is_open() {
            return Err(Refusal::JobEnded { job });
        }
        if record.status == JobStatus::Carried {
            return Err(Refusal::JobCarried { job });
        }
        let is_paused = record.status == JobStatus::Paused;
        if let Some(reason) = self.holds.get(&job).cloned() {
            if !paused {
                return Err(Refusal::JobHeld { job, reason });
            }
            self.holds.remove(&job);
        }
        if is_paused == paused {
            return Ok(Response::Done);
        }
        self.set_paused(job, paused);
        let what = if paused {
            EventKind::Paused { reason: reason.chars().take(REASON_CHARS_MAX).collect() }
        } else {
            EventKind::Resumed
        };
        self.record(job, index, what, None, None);
        Ok(Response::Done)
    }

    /// Holds a job, with its leases taken back, or puts it where it was.
    pub(super) fn set_paused(&mut self, job: JobId, paused: bool) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        let goes_on = if record.started_at_ms.is_some() { JobStatus::Running } else { JobStatus::Queued };
        record.status = if paused { JobStatus::Paused } else { goes_on };
        if paused {
            self.put_back_all(job);
        }
    }

    /// Gives a job another priority.
    pub(super) fn reprioritize(&mut self, index: u64, job: JobId, priority: Priority) -> Result<Response, Refusal> {
        let record = self.jobs.get(&job).ok_or(Refusal::JobUnknown { job })?;
        if !record.is_open() {
            return Err(Refusal::JobEnded { job });
        }
        if record.priority == priority {
            return Ok(Response::Done);
        }
        if let Some(record) = self.jobs.get_mut(&job) {
            record.priority = priority;
        }
        self.record(job, index, EventKind::Reprioritized { priority: priority.name().into() }, None, None);
        Ok(Response::Done)
    }

    /// Forgets an ended job. A submission with its key makes another one from now on.
    pub(super) fn delete_job(&mut self, job: JobId) -> Result<Response, Refusal> {
        let record = self.jobs.get(&job).ok_or(Refusal::JobUnknown { job })?;
        if record.is_open() {
            return Err(Refusal::JobOpen { job });
        }
        let keys: Vec<_> =
            self.idempotency.iter().filter(|(_, earlier)| earlier.job == job).map(|(key, _)| *key).collect();
        for key in &keys {
            self.idempotency.remove(key);
        }
        self.forget_job(job);
        Ok(Response::Done)
    }

    /// Ends a job whose every target is counted or given up.
    pub(super) fn finish_if_over(&mut self, index: u64, job: JobId) {
        let now_ms = self.now_ms();
        let Some(record) = self.jobs.get(&job) else { return };
        if !record.is_open() || record.done.saturating_add(record.dead) < record.targets() {
            return;
        }
        let gives_up_at_once = self.settings().is_some_and(|settings| settings.failure == FailureAction::Fail);
        let not_probed = self.remarks.get(&job).map_or(0, Remarks::not_probed_total);
        let (status, dead, targets) = match (record.done, record.dead) {
            (_, 0) if not_probed > 0 => (JobStatus::Partial, 0, record.targets()),
            (_, 0) => (JobStatus::Completed, 0, record.targets()),
            (0, dead) => (JobStatus::Failed, dead, record.targets()),
            (_, dead) => (JobStatus::Partial, dead, record.targets()),
        };
        let were = if targets == 1 { "target was" } else { "targets were" };
        if let Some(record) = self.jobs.get_mut(&job) {
            record.status = status;
            record.finished_at_ms = Some(now_ms);
            if dead > 0 {
                let last = record.reason.take().map_or_else(String::new, |reason| format!("; the last one: {reason}"));
                let tries = if gives_up_at_once {
                    String::new()
                } else {
                    match record.limits.max_attempts {
                        1 => " after 1 try".to_owned(),
                        tries => format!(" after {tries} tries"),
                    }
                };
                record.reason = Some(format!("{dead} of {targets} {were} given up{tries}{last}"));
            } else if not_probed > 0 {
                record.reason = Some(format!("{not_probed} of {targets} {were} not probed"));
            }
        }
        self.note_workers(job);
        self.record(job, index, EventKind::Finished { status: status.name().into() }, None, None);
    }
}
