//! Scans that begin by themselves at times: what is to be scanned when, and which of its times are over.
//!
//! When a schedule's times are is not known here: whoever leads works that out and names the one that is due (an
//! *occurrence*, by its instant). What is known is the last one that is over, and nothing at or before it is ever started
//! again. A job and the word that its occurrence is over are one entry, so that an occurrence has one job at most, however
//! many leaders try, and whatever their clocks say.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response, Submission};
use crate::id::JobId;
use crate::names::names;

/// How many schedules there may be. Ours: the leader looks at all of them in each round.
pub const SCHEDULES_MAX: usize = 1_000;

/// The largest request that a schedule carries, encoded, in bytes: as much as a spec that an entry carries itself.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// How many of its last runs are kept of a schedule. Ours: two weeks of one that runs each day.
pub const RUNS_KEPT_MAX: usize = 14;

/// Longest name of a schedule, cron line and zone, in characters. Ours: the longest zone has 30.
const TEXT_CHARS_MAX: usize = 200;
/// Longest name of a schedule, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest reason that is kept, in characters. Ours: a few lines of a terminal.
const REASON_CHARS_MAX: usize = 400;

/// What is to be scanned, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The times, as the user wrote them; opaque here.
    pub cron: String,
    /// In which zone they are meant, by its IANA name; opaque here.
    pub timezone: String,
    /// What becomes of times at which nothing could be started.
    pub missed: MissedPolicy,
    /// What becomes of a time at which the run before is not over.
    pub overlap: OverlapPolicy,
    /// What to scan; opaque here.
    pub request: Vec<u8>,
    /// One line for lists.
    pub title: String,
}

/// What becomes of times at which nothing could be started, because no leader was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MissedPolicy {
    /// Nothing; the next one comes.
    #[default]
    Skip,
    /// One run for all of them, as soon as it can be.
    RunOnce,
}

names! { MissedPolicy, name, NAMES:
    Skip => "skip",
    RunOnce => "run-once",
}

/// What becomes of a time at which the run before is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OverlapPolicy {
    /// Nothing; the next one comes.
    #[default]
    Skip,
    /// One run when it is over, for all of them that came meanwhile.
    Queue,
    /// Another run beside it.
    Allow,
}

names! { OverlapPolicy, name, NAMES:
    Skip => "skip",
    Queue => "queue",
    Allow => "allow",
}

/// A schedule's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// What and when.
    pub spec: ScheduleSpec,
    /// When it was made, unix milliseconds of the log's clock.
    pub made_at_ms: u64,
    /// Whether it is held.
    pub paused: bool,
    /// Its times up to here, unix milliseconds, are over.
    pub over_ms: u64,
    /// The job that it began last.
    pub last_job: Option<JobId>,
    /// What came of its last times, the latest last.
    pub runs: Vec<Run>,
}

/// A time of a schedule, as the leader names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The instant, unix milliseconds.
    pub at_ms: u64,
    /// How many earlier ones go with it, for which nothing is started.
    pub passed_over: u32,
}

/// What came of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub occurrence: Occurrence,
    /// When that was decided, unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// What came of it.
    pub outcome: RunOutcome,
}

/// What came of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunOutcome {
    /// A job.
    Started {
        /// Which.
        job: JobId,
    },
    /// Nothing, because the run before was not over.
    Overlapped {
        /// That run's job.
        job: JobId,
    },
    /// Nothing, because nobody could start it in time.
    Missed,
    /// Nothing, because the request was refused as any other would have been.
    Refused {
        /// Why.
        reason: String,
    },
}

names! { RunOutcome, name, NAMES:
    Started => "started",
    Overlapped => "overlapped",
    Missed => "missed",
    Refused => "refused",
}

/// Why nothing is started at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PassReason {
    /// The run before is not over.
    Overlapped,
    /// It is too late.
    Missed,
    /// The request is refused.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Whether a schedule may have this name: letters, digits, `-`, `_` and `.`, so that it can stand in a path.
#[must_use]
pub fn is_schedule_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name.chars().all(good)
        && name.chars().any(|c| c != '.')
        && !crate::id::looks_secret(name)
}

impl State {
    /// The schedules by name.
    pub fn schedules(&self) -> impl Iterator<Item = (&String, &Schedule)> {
        self.schedules.iter()
    }

    /// One schedule.
    #[must_use]
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.schedules.get(&name.to_owned())
    }

    /// The job of a schedule's run that is not over, where there is one.
    #[must_use]
    pub fn unfinished_run(&self, schedule: &Schedule) -> Option<JobId> {
        schedule.last_job.filter(|job| self.job(*job).is_some_and(super::Job::is_open))
    }

    /// Asked again with the same words it is the same schedule.
    pub(super) fn add_schedule(&mut self, name: &str, spec: &ScheduleSpec) -> Result<Response, Refusal> {
        let malformed = |what: &str| Err(Refusal::Malformed { what: what.into() });
        if !is_schedule_name(name) {
            return malformed("a schedule's name has 1 to 64 letters, digits, - _ and .");
        }
        let is_long = |text: &str| text.is_empty() || text.chars().count() > TEXT_CHARS_MAX;
        if is_long(&spec.cron) || is_long(&spec.timezone) || spec.title.chars().count() > TEXT_CHARS_MAX {
            return malformed("a schedule's times, zone and title have up to 200 characters");
        }
        if spec.request.len() > REQUEST_BYTES_MAX {
            return malformed(
                "a schedule's request has at most 64 KiB: name networks or ranges in place of single targets",
            );
        }
        match self.schedule(name) {
            Some(there) if there.spec == *spec => return Ok(Response::Done),
            Some(_) => return Err(Refusal::ScheduleExists { name: name.into() }),
            None if self.schedules.len() >= SCHEDULES_MAX => {
                return Err(Refusal::SchedulesFull { limit: SCHEDULES_MAX });
            }
            None => {}
        }
        let now_ms = self.now_ms();
        let (spec, paused, last_job, runs) = (spec.clone(), false, None, Vec::new());
        self.schedules
            .insert(name.into(), Schedule { spec, made_at_ms: now_ms, paused, over_ms: now_ms, last_job, runs });
        Ok(Response::Done)
    }

    pub(super) fn remove_schedule(&mut self, name: &str) -> Result<Response, Refusal> {
        self.schedules.remove(&name.to_owned()).ok_or_else(|| unknown(name))?;
        self.schedule_authors.remove(&name.to_owned());
        Ok(Response::Done)
    }

    /// Holds a schedule, or lets it go on with its next time: those of the pause are over.
    pub(super) fn pause_schedule(&mut self, name: &str, paused: bool) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let held = self.schedule(name).ok_or_else(|| unknown(name))?.paused;
        if held != paused
            && let Some(schedule) = self.schedules.get_mut(&name.to_owned())
        {
            schedule.paused = paused;
            schedule.over_ms = schedule.over_ms.max(now_ms);
        }
        Ok(Response::Done)
    }

    /// Makes the job of an occurrence, unless that is over, or not due by the log's clock.
    pub(super) fn start_occurrence(
        &mut self,
        index: u64,
        name: &str,
        occurrence: Occurrence,
        submission: &Submission,
    ) -> Result<Response, Refusal> {
        if submission.idempotency_key.is_some() || !submission.finished.is_empty() {
            return Err(Refusal::Malformed {
                what: "a schedule's job begins anew, and its occurrence is its key".into(),
            });
        }
        let schedule = self.due(name, occurrence)?;
        if schedule.spec.overlap != OverlapPolicy::Allow && self.unfinished_run(schedule).is_some() {
            return Err(Refusal::NotDue { name: name.into() });
        }
        let who = self.schedule_author(name).map(|author| author.who.clone()).unwrap_or_default();
        self.within_limits(&who, submission)?;
        let response = self.submit(index, submission)?;
        if let Response::Submitted { job, .. } = response {
            self.count_targets(&who, submission);
            self.end_occurrence(name, occurrence, RunOutcome::Started { job });
            if let Some(author) = self.schedule_author(name).cloned() {
                self.note_author(job, author);
            }
        }
        Ok(response)
    }

    /// Says of an occurrence that nothing is started for it.
    pub(super) fn pass_occurrence(
        &mut self,
        name: &str,
        occurrence: Occurrence,
        why: &PassReason,
    ) -> Result<Response, Refusal> {
        let schedule = self.due(name, occurrence)?;
        let outcome = match why {
            PassReason::Missed => RunOutcome::Missed,
            PassReason::Refused { reason } => {
                RunOutcome::Refused { reason: reason.chars().take(REASON_CHARS_MAX).collect() }
            }
            PassReason::Overlapped => match self.unfinished_run(schedule) {
                Some(job) => RunOutcome::Overlapped { job },
                // It ended meanwhile: there is a job to be made.
                None => return Err(Refusal::NotDue { name: name.into() }),
            },
        };
        self.end_occurrence(name, occurrence, outcome);
        Ok(Response::Done)
    }

    /// The schedule, where this occurrence of it is due and not over.
    fn due(&self, name: &str, occurrence: Occurrence) -> Result<&Schedule, Refusal> {
        let schedule = self.schedule(name).ok_or_else(|| unknown(name))?;
        let is_due = !schedule.paused && schedule.over_ms < occurrence.at_ms && occurrence.at_ms <= self.now_ms();
        if is_due { Ok(schedule) } else { Err(Refusal::NotDue { name: name.into() }) }
    }

    fn end_occurrence(&mut self, name: &str, occurrence: Occurrence, outcome: RunOutcome) {
        let at_ms = self.now_ms();
        let Some(schedule) = self.schedules.get_mut(&name.to_owned()) else { return };
        schedule.over_ms = occurrence.at_ms;
        if let RunOutcome::Started { job } = outcome {
            schedule.last_job = Some(job);
        }
        schedule.runs.push(Run { occurrence, at_ms, outcome });
        let over = schedule.runs.len().saturating_sub(RUNS_KEPT_MAX);
        schedule.runs.drain(..over);
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::ScheduleUnknown { name: name.chars().take(NAME_CHARS_MAX).collect() }
}

#[cfg(test)]
#[path = "schedules_test.rs"]
mod tests;
