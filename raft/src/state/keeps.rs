//! Standing scans: promises that every address of some networks is seen at least once in a time, within a budget.
//!
//! The addresses are parted into slices, and each pass over a slice is a job. What is kept of a slice is when it was seen
//! last and how much answered, so that a row is bounded whatever it covers. Which slice is next is not decided here: whoever
//! leads chooses, and names it; a job and the word that its slice is being looked at are one entry.

use serde::{Deserialize, Serialize};

use super::schedules::{REQUEST_BYTES_MAX, is_schedule_name};
use super::{JobStatus, State};
use crate::command::{Refusal, Response, Submission};
use crate::event::EventKind;
use crate::id::JobId;
use crate::version::SECOND;

/// How many standing scans there may be. Ours: each has a row with its slices.
pub const KEEPS_MAX: usize = 64;

/// How many slices one has at most. Ours: of a /8, each is a /16.
pub const SLICES_MAX: usize = 256;

/// The shortest time that can be promised, in milliseconds. Ours: below it, passes over small networks are all there is.
pub const FRESH_MS_MIN: u64 = 60_000;

/// Longest title, and longest reason that is kept, in characters.
const TEXT_CHARS_MAX: usize = 400;

/// What is promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepSpec {
    /// What to scan; opaque here.
    pub request: Vec<u8>,
    /// One line for lists.
    pub title: String,
    /// Within which time every address is to be seen, in milliseconds.
    pub fresh_ms: u64,
    /// Packets per second that may be spent on it, over all nodes together.
    pub rate_pps: u64,
    /// How many addresses each slice has.
    pub slices: Vec<u64>,
}

/// A standing scan's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// What is promised.
    pub spec: KeepSpec,
    /// When it was made, unix milliseconds of the log's clock.
    pub made_at_ms: u64,
    /// Whether it is held.
    pub paused: bool,
    /// What is known of each slice.
    pub slices: Vec<Slice>,
    /// The slice that is being looked at, and its job.
    pub running: Option<(u32, JobId)>,
    /// Why the last pass could not begin, and since when that is so; nothing where it could.
    pub refused: Option<(u64, String)>,
}

/// What is known of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// When its last pass began, unix milliseconds of the log's clock: none of its addresses was seen earlier in it.
    pub seen_ms: Option<u64>,
    /// How many of its addresses that pass did not get to.
    pub unseen: u64,
    /// How long that pass took, in milliseconds, without the time for which it was held.
    pub took_ms: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Ports that were open.
    pub open_ports: u64,
    /// When a pass last counted other than the one before.
    pub changed_ms: Option<u64>,
    /// When a pass last ended without having seen it.
    pub failed_ms: Option<u64>,
    /// The job of its last pass, whose results are those of the slice.
    pub job: Option<JobId>,
    /// How many of its addresses were no targets of that pass, because rules leave them out.
    pub left_out: u64,
}

impl State {
    /// The standing scans by name.
    pub fn keeps(&self) -> impl Iterator<Item = (&String, &Keep)> {
        self.keeps.iter()
    }

    /// One standing scan.
    #[must_use]
    pub fn keep(&self, name: &str) -> Option<&Keep> {
        self.keeps.get(&name.to_owned())
    }

    /// Asked again with the same words it is the same standing scan.
    pub(super) fn add_keep(&mut self, name: &str, spec: &KeepSpec) -> Result<Response, Refusal> {
        let malformed = |what: &str| Err(Refusal::Malformed { what: what.into() });
        if !is_schedule_name(name) {
            return malformed("a standing scan's name has 1 to 64 letters, digits, - _ and .");
        }
        if spec.request.len() > REQUEST_BYTES_MAX || spec.title.chars().count() > TEXT_CHARS_MAX {
            return malformed("a standing scan's request has at most 64 KiB: name networks or ranges");
        }
        if !(1..=SLICES_MAX).contains(&spec.slices.len()) || spec.slices.contains(&0) {
            return malformed("a standing scan has 1 to 256 slices, each with addresses");
        }
        if spec.slices.iter().try_fold(0u64, |sum, slice| sum.checked_add(*slice)).is_none() {
            return malformed("a standing scan has at most 2^64 - 1 addresses");
        }
        if spec.fresh_ms < FRESH_MS_MIN || spec.rate_pps == 0 {
            return malformed("a minute is the shortest that can be promised, and without a budget nothing can");
        }
        match self.keep(name) {
            Some(there) if there.spec == *spec => return Ok(Response::Done),
            Some(_) => return Err(Refusal::KeepExists { name: name.into() }),
            None if self.keeps.len() >= KEEPS_MAX => return Err(Refusal::KeepsFull { limit: KEEPS_MAX }),
            None => {}
        }
        let (made_at_ms, slices) = (self.now_ms(), vec![Slice::default(); spec.slices.len()]);
        let spec = spec.clone();
        self.keeps.insert(name.into(), Keep { spec, made_at_ms, paused: false, slices, running: None, refused: None });
        Ok(Response::Done)
    }

    /// Ends a standing scan, and the pass that is on; what earlier passes found stays.
    pub(super) fn remove_keep(&mut self, index: u64, name: &str) -> Result<Response, Refusal> {
        let keep = self.keeps.remove(&name.to_owned()).ok_or_else(|| unknown(name))?;
        self.keep_authors.remove(&name.to_owned());
        if let Some((_, job)) = keep.running
            && self.job(job).is_some_and(super::Job::is_open)
        {
            self.cancel(index, job, "its standing scan was removed")?;
        }
        Ok(Response::Done)
    }

    /// Holds a standing scan, or lets it go on; the pass that is on goes on either way.
    pub(super) fn pause_keep(&mut self, name: &str, paused: bool) -> Result<Response, Refusal> {
        if self.keep(name).ok_or_else(|| unknown(name))?.paused != paused
            && let Some(keep) = self.keeps.get_mut(&name.to_owned())
        {
            keep.paused = paused;
        }
        Ok(Response::Done)
    }

    /// Makes the job of a pass over a slice, unless another pass is on.
    pub(super) fn start_slice(
        &mut self,
        index: u64,
        name: &str,
        slice: u32,
        submission: &Submission,
    ) -> Result<Response, Refusal> {
        if submission.idempotency_key.is_some() || !submission.finished.is_empty() {
            return Err(Refusal::Malformed { what: "a slice's job begins anew".into() });
        }
        let keep = self.keep(name).ok_or_else(|| unknown(name))?;
        let is_there = usize::try_from(slice).is_ok_and(|slice| slice < keep.slices.len());
        if keep.paused || keep.running.is_some() || !is_there {
            return Err(Refusal::NotDue { name: name.into() });
        }
        let response = self.submit(index, submission)?;
        if let (Response::Submitted { job, .. }, Some(keep)) = (&response, self.keeps.get_mut(&name.to_owned())) {
            keep.running = Some((slice, *job));
            keep.refused = None;
        }
        if let (Response::Submitted { job, .. }, Some(author)) = (&response, self.keep_author(name).cloned()) {
            self.note_author(*job, author);
        }
        Ok(response)
    }

    /// Notes what came of a pass that has ended. The job of the pass before is forgotten: what the slice's addresses are
    /// was seen anew.
    pub(super) fn end_slice(&mut self, name: &str, job: JobId) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let keep = self.keep(name).ok_or_else(|| unknown(name))?;
        let Some((slice, _)) = keep.running.filter(|(_, running)| *running == job) else {
            return Err(Refusal::NotDue { name: name.into() });
        };
        let place = usize::try_from(slice).ok();
        let addresses = place.and_then(|slice| keep.spec.slices.get(slice)).copied().unwrap_or(0);
        let ended = self.job(job).cloned();
        if ended.as_ref().is_some_and(super::Job::is_open) {
            return Err(Refusal::NotDue { name: name.into() });
        }
        // An older release counts a hold as time that the pass took, and the same on every replica.
        let held_ms = if self.log_version() >= SECOND { self.held_ms(job, now_ms) } else { 0 };
        let not_probed = self.job_remarks(job).map_or(0, super::Remarks::not_probed_total);
        let Some(keep) = self.keeps.get_mut(&name.to_owned()) else { return Ok(Response::Done) };
        keep.running = None;
        let Some(known) = place.and_then(|slice| keep.slices.get_mut(slice)) else {
            return Ok(Response::Done);
        };
        let seen = ended.filter(|ended| matches!(ended.status, JobStatus::Completed | JobStatus::Partial));
        let (Some(seen), before) = (seen, known.clone()) else {
            known.failed_ms = Some(now_ms);
            return Ok(Response::Done);
        };
        let began_ms = seen.started_at_ms.unwrap_or(now_ms);
        let counts = (seen.counts.hosts_up, seen.counts.open_ports);
        let changed = before.seen_ms.is_some() && (before.hosts_up, before.open_ports) != counts;
        *known = Slice {
            seen_ms: Some(began_ms),
            unseen: seen.dead.saturating_add(not_probed),
            took_ms: now_ms.saturating_sub(began_ms).saturating_sub(held_ms),
            hosts_up: counts.0,
            open_ports: counts.1,
            changed_ms: if changed { Some(now_ms) } else { before.changed_ms },
            failed_ms: None,
            job: Some(job),
            left_out: addresses.saturating_sub(seen.targets()),
        };
        if let Some(former) = before.job
            && self.job(former).is_some_and(|former| !former.is_open())
        {
            self.delete_job(former)?;
        }
        Ok(Response::Done)
    }

    /// For how long a job was held after it began, as far as its history says, in milliseconds.
    fn held_ms(&self, job: JobId, now_ms: u64) -> u64 {
        let began_ms = self.job(job).and_then(|job| job.started_at_ms).unwrap_or(now_ms);
        let (mut held_ms, mut since) = (0u64, None);
        for (_, event) in self.job_events(job, 0) {
            let at_ms = event.at_ms.max(began_ms);
            match event.what {
                EventKind::Paused { .. } => _ = since.get_or_insert(at_ms),
                EventKind::Resumed => {
                    held_ms = held_ms.saturating_add(at_ms.saturating_sub(since.take().unwrap_or(at_ms)));
                }
                _ => {}
            }
        }
        held_ms.saturating_add(now_ms.saturating_sub(since.unwrap_or(now_ms)))
    }

    /// Notes why a pass could not begin.
    pub(super) fn refuse_slice(&mut self, name: &str, reason: &str) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let reason: String = reason.chars().take(TEXT_CHARS_MAX).collect();
        let keep = self.keep(name).ok_or_else(|| unknown(name))?;
        let is_known = keep.refused.as_ref().is_some_and(|(_, known)| *known == reason);
        if !is_known && let Some(keep) = self.keeps.get_mut(&name.to_owned()) {
            keep.refused = Some((now_ms, reason));
        }
        Ok(Response::Done)
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::KeepUnknown { name: name.chars().take(64).collect() }
}

#[cfg(test)]
#[path = "keeps_test.rs"]
mod tests;
