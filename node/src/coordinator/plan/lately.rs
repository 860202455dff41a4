//! What jobs, and those who asked for them, lately had of the workers' time, by which equals share it.
//!
//! A unit counts for as long as it is out, times the cost of its job's priority, and what was had fades. Whoever begins to want
//! work is taken for one that had as much as the one beside it that had least: it has its part from then on, and nothing is made up
//! for. Soft: under a new leader all begin with nothing but what is out.

use std::collections::BTreeMap;
use std::sync::Arc;

use pentora_raft::state::Priority;
use pentora_raft::{JobId, State};

use super::queue::cost;

/// After so long a third is left of what was had, in milliseconds. Ours: long against a unit, so that long units and short ones come to
/// the same, and short against a day's work, so that nobody pays for the night.
const FADES_MS: u64 = 300_000;
/// What a unit counts at least, in milliseconds: its way into the log and back, however little there is to do.
const UNIT_MIN_MS: u64 = 250;
/// In which parts of a millisecond it is counted: between two looks there may be one only, of which hardly anything fades.
const PARTS: u64 = 1_000;

/// What one of them had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Had {
    parts: u64,
    wants: bool,
}

impl Had {
    fn fade(&mut self, ms: u64) {
        let faded = u128::from(self.parts) * u128::from(ms.min(FADES_MS));
        self.parts -= u64::try_from(faded.div_ceil(u128::from(FADES_MS))).unwrap_or(self.parts).min(self.parts);
    }

    fn add(&mut self, ms: u64, cost: u64) {
        self.parts = self.parts.saturating_add(in_parts(ms, cost));
    }

    /// Begins to want work beside others, of which the one that had least had so much.
    fn want(&mut self, least: Option<u64>) {
        if !self.wants {
            self.parts = self.parts.max(least.unwrap_or(0));
        }
        self.wants = true;
    }
}

/// So long out for a job of such a cost.
pub(super) fn in_parts(ms: u64, cost: u64) -> u64 {
    ms.saturating_mul(PARTS).saturating_mul(cost)
}

/// What whoever asked for jobs had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfMaker {
    had: Had,
    /// When a job of each priority was served last.
    served_ms: [Option<u64>; Priority::ALL.len()],
}

/// What each had lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lately {
    as_of_ms: Option<u64>,
    jobs: BTreeMap<JobId, (Arc<str>, Had)>,
    /// By who asked.
    makers: BTreeMap<Arc<str>, OfMaker>,
}

impl Lately {
    /// Counts what was out since the last look, and who wants work now.
    pub fn look(&mut self, state: &State, now_ms: u64) {
        let ms = now_ms.saturating_sub(self.as_of_ms.unwrap_or(now_ms));
        self.as_of_ms = Some(now_ms);
        for (_, had) in self.jobs.values_mut() {
            had.fade(ms);
        }
        self.makers.values_mut().for_each(|maker| maker.had.fade(ms));
        for (unit, _) in state.leases() {
            self.add(state, unit.job, ms);
        }
        let was_wanted = std::mem::take(&mut self.jobs);
        let least = Least::of(&was_wanted, &self.makers);
        let mut before = was_wanted.into_iter().peekable();
        for (id, job) in state.jobs().filter(|(_, job)| job.is_open()) {
            while before.next_if(|(known, _)| *known < id).is_some() {}
            let known = before.next_if(|(known, _)| *known == id).map(|(_, known)| known);
            let (maker, mut had) = known.unwrap_or_else(|| (Arc::from(maker_of(state, id)), Had::default()));
            if job.wants_work() {
                had.want(least.jobs.get(&maker).copied());
            } else {
                had.wants = false;
            }
            self.jobs.insert(id, (maker, had));
        }
        let mut wanting: Vec<&Arc<str>> =
            self.jobs.values().filter(|(_, had)| had.wants).map(|(maker, _)| maker).collect();
        wanting.sort_unstable();
        wanting.dedup();
        self.makers.retain(|name, OfMaker { had, .. }| {
            had.wants &= wanting.binary_search(&name).is_ok();
            had.wants || had.parts > 0
        });
        for maker in wanting {
            self.makers.entry(Arc::clone(maker)).or_default().had.want(least.maker);
        }
    }

    /// Counts units that were given out.
    pub fn note(&mut self, state: &State, grants: impl Iterator<Item = JobId>) {
        grants.for_each(|job| self.add(state, job, UNIT_MIN_MS));
    }

    /// Who asked for a job, and what it had; what its maker had is told by [`Self::of_maker`].
    pub(super) fn of_job<'a>(&'a self, state: &'a State, job: JobId) -> (&'a str, u64) {
        match self.jobs.get(&job) {
            Some((maker, had)) => (maker, had.parts),
            None => (maker_of(state, job), 0),
        }
    }

    pub(super) fn of_maker(&self, maker: &str) -> u64 {
        self.makers.get(maker).map_or(0, |maker| maker.had.parts)
    }

    /// When a job of this priority was served last that this one asked for.
    pub(super) fn served_ms(&self, maker: &str, priority: Priority) -> Option<u64> {
        *self.makers.get(maker)?.served_ms.get(priority as usize)?
    }

    fn add(&mut self, state: &State, id: JobId, ms: u64) {
        let Some(job) = state.job(id) else { return };
        let cost = cost(job.priority);
        let (maker, had) = self.jobs.entry(id).or_insert_with(|| (Arc::from(maker_of(state, id)), Had::default()));
        had.add(ms, cost);
        if !self.makers.contains_key(&**maker) {
            self.makers.insert(Arc::clone(maker), OfMaker::default());
        }
        if let Some(of_maker) = self.makers.get_mut(&**maker) {
            of_maker.had.add(ms, cost);
            if let Some(served) = of_maker.served_ms.get_mut(job.priority as usize) {
                *served = self.as_of_ms;
            }
        }
    }
}

/// What those had that had least, of all that want work.
struct Least {
    maker: Option<u64>,
    jobs: BTreeMap<Arc<str>, u64>,
}

impl Least {
    fn of(jobs: &BTreeMap<JobId, (Arc<str>, Had)>, makers: &BTreeMap<Arc<str>, OfMaker>) -> Self {
        let mut of_maker: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (maker, had) in jobs.values().filter(|(_, had)| had.wants) {
            match of_maker.get_mut(maker) {
                Some(least) => *least = had.parts.min(*least),
                None => {
                    of_maker.insert(Arc::clone(maker), had.parts);
                }
            }
        }
        let maker = makers.values().filter(|maker| maker.had.wants).map(|maker| maker.had.parts).min();
        Self { maker, jobs: of_maker }
    }
}

/// Who asked for a job; nobody where the log does not say.
fn maker_of(state: &State, job: JobId) -> &str {
    state.author(job).map_or("", |author| author.who.as_str())
}
