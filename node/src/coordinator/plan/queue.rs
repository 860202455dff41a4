//! In which order jobs are served.
//!
//! Whoever asked for jobs has them in a queue of their own. A job's level is its priority, one better for each minute that it waits
//! with nothing out, so that whatever comes in above it a job is served at last; of its queue the best level is next, and within
//! it the job that had least lately for its weight (`lately`), what is out included: none takes everything before the others get
//! anything, and who has just ended a unit does not take the slot again that it left.
//!
//! Between queues it is the same, but that a queue ages only while nothing of a priority is served: whoever asks for a thousand jobs lets
//! most of them wait, and that is nobody else's delay. Nor does an aged job take the turn that an urgent one of its queue brought, unless
//! it would be served before the other queues all the same. Urgent jobs pass others between two units, never within one.

use std::collections::{BTreeMap, BTreeSet};

use pentora_raft::state::{Job, Priority};
use pentora_raft::{JobId, State};

use super::lately::{Lately, in_parts};

/// How long a job with nothing out waits to be served as one of the next better priority, in milliseconds. Ours: a job of
/// low priority is beside critical ones after three minutes.
const AGE_STEP_MS: u64 = 60_000;
/// What a unit that is out counts beforehand, in milliseconds: about as long as it is out.
const UNIT_MS: u64 = 10_000;

/// What a unit counts for a job's part, by its priority: the inverse of its weight of 8, 4, 2, 1.
pub(super) fn cost(priority: Priority) -> u64 {
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

/// A job that is served, with its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The job.
    pub job: JobId,
    /// Its priority, better by what it waited.
    pub level: u64,
    /// What it had and has out, for its weight.
    part: u64,
    priority: Priority,
    maker: usize,
}

/// Jobs of one priority that whoever asked for has.
#[derive(Debug)]
struct Class {
    /// How many of them want work.
    waiting: usize,
    /// How long none was served, in milliseconds.
    waited_ms: u64,
    /// When the first of them came.
    came_ms: u64,
}

/// The jobs of whoever asked for them.
#[derive(Debug, Default)]
struct OfMaker {
    /// What all of them had and have out, for their weights.
    part: u64,
    /// Those that want work, by level and priority: each with its part; of equal ones, the older first.
    waiting: BTreeMap<(u64, Priority), BTreeSet<(u64, JobId)>>,
    classes: BTreeMap<Priority, Class>,
}

/// A turn of one of them: the level of what is next of it, what it had, and who it is.
type Turn = (u64, u64, usize);

impl OfMaker {
    /// The level of what is next of it; `None` where nothing wants work.
    fn level(&self) -> Option<u64> {
        let waiting = self.classes.iter().filter(|(_, class)| class.waiting > 0);
        waiting.map(|(priority, class)| aged(*priority, class.waited_ms)).min()
    }

    /// Notes a job that wants work.
    fn waits(&mut self, (level, part, job, priority): (u64, u64, JobId, Priority)) {
        self.waiting.entry((level, priority)).or_default().insert((part, job));
        if let Some(class) = self.classes.get_mut(&priority) {
            class.waiting += 1;
        }
    }

    /// Takes out the first of its jobs that is of a class which is before `next`, the turn of another. Beside nobody that is any of
    /// them; beside others the class that its own turn is by is one at least.
    fn take(&mut self, maker: usize, next: Option<Turn>) -> Option<Served> {
        let is_before = |priority: Priority, class: &Class| {
            next.is_none_or(|next| (aged(priority, class.waited_ms), self.part, maker) < next)
        };
        let firsts = self.waiting.iter().filter_map(|((level, priority), jobs)| {
            let (part, job) = jobs.first()?;
            let class = self.classes.get(priority)?;
            is_before(*priority, class).then_some((*level, *part, *job, *priority))
        });
        let (level, part, job, priority) = firsts.min()?;
        self.waiting.get_mut(&(level, priority))?.pop_first();
        self.classes.get_mut(&priority)?.waiting -= 1;
        Some(Served { job, level, part, priority, maker })
    }

    /// Its jobs of a level that want work, in their order.
    fn at(&self, level: u64) -> impl Iterator<Item = JobId> {
        let classes = self.waiting.range((level, Priority::Critical)..=(level, Priority::Low));
        let mut classes: Vec<_> = classes.map(|(_, jobs)| jobs.iter().peekable()).collect();
        std::iter::from_fn(move || {
            let firsts = classes.iter_mut().filter_map(|jobs| Some((**jobs.peek()?, jobs)));
            let ((_, job), jobs) = firsts.min_by_key(|(first, _)| *first)?;
            jobs.next();
            Some(job)
        })
    }
}

/// A priority, better by what was waited.
fn aged(priority: Priority, waited_ms: u64) -> u64 {
    (priority as u64).saturating_sub(waited_ms / AGE_STEP_MS)
}

/// The jobs that want work, in the order in which they are served.
pub(super) struct Queue {
    makers: Vec<OfMaker>,
    /// Whose turn it is.
    turns: BTreeSet<Turn>,
}

impl Queue {
    pub(super) fn new(state: &State, lately: &Lately, now_ms: u64) -> Self {
        let mut out: BTreeMap<JobId, u64> = BTreeMap::new();
        for (unit, _) in state.leases() {
            *out.entry(unit.job).or_default() += 1;
        }
        let mut queue = Self { makers: Vec::new(), turns: BTreeSet::new() };
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, job) in state.jobs().filter(|(id, job)| job.wants_work() || out.contains_key(id)) {
            let held = out.get(&id).copied().unwrap_or(0);
            let (maker, had) = lately.of_job(state, id);
            let number = *numbers.entry(maker).or_insert(queue.makers.len());
            if number == queue.makers.len() {
                queue.makers.push(OfMaker { part: lately.of_maker(maker), ..OfMaker::default() });
            }
            let Some(of_maker) = queue.makers.get_mut(number) else { continue };
            let waited_ms = if held > 0 { 0 } else { now_ms.saturating_sub(served_at(state, id, job)) };
            let came_ms = job.submitted_at_ms;
            let class = of_maker.classes.entry(job.priority).or_insert_with(|| {
                let served_ms = lately.served_ms(maker, job.priority).unwrap_or(0);
                Class { waiting: 0, waited_ms: now_ms.saturating_sub(served_ms), came_ms }
            });
            class.came_ms = class.came_ms.min(came_ms);
            if job.started_at_ms.is_some() {
                class.waited_ms = class.waited_ms.min(waited_ms);
            }
            let ahead = in_parts(UNIT_MS, cost(job.priority)).saturating_mul(held);
            of_maker.part = of_maker.part.saturating_add(ahead);
            if job.wants_work() {
                of_maker.waits((aged(job.priority, waited_ms), had.saturating_add(ahead), id, job.priority));
            }
        }
        for (number, of_maker) in queue.makers.iter_mut().enumerate() {
            for class in of_maker.classes.values_mut() {
                class.waited_ms = class.waited_ms.min(now_ms.saturating_sub(class.came_ms));
            }
            queue.turns.extend(of_maker.level().map(|level| (level, of_maker.part, number)));
        }
        queue
    }

    /// The jobs, the most urgent first, and of equal ones those of whoever is next.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        (0..Priority::ALL.len() as u64).flat_map(move |level| {
            let makers = self.turns.iter().filter_map(move |(_, _, maker)| self.makers.get(*maker));
            makers.flat_map(move |of_maker| of_maker.at(level))
        })
    }

    pub(super) fn pop(&mut self) -> Option<Served> {
        let (_, _, maker) = self.turns.pop_first()?;
        let of_maker = self.makers.get_mut(maker)?;
        let served = of_maker.take(maker, self.turns.first().copied())?;
        self.turns.extend(of_maker.level().map(|level| (level, of_maker.part, maker)));
        Some(served)
    }

    /// Puts a job that got a unit back to its place, and whoever asked for it to theirs.
    pub(super) fn put_back(&mut self, served: Served) {
        self.charge(served, true);
    }

    /// Counts a unit for whoever asked for its job, and where that wants more, for the job.
    fn charge(&mut self, served: Served, wants_more: bool) {
        let Served { job, level, part, priority, maker } = served;
        let Some(of_maker) = self.makers.get_mut(maker) else { return };
        if let Some(before) = of_maker.level() {
            self.turns.remove(&(before, of_maker.part, maker));
        }
        let unit = in_parts(UNIT_MS, cost(priority));
        of_maker.part = of_maker.part.saturating_add(unit);
        if let Some(class) = of_maker.classes.get_mut(&priority) {
            class.waited_ms = 0;
        }
        if wants_more {
            of_maker.waits((level, part.saturating_add(unit), job, priority));
        }
        self.turns.extend(of_maker.level().map(|level| (level, of_maker.part, maker)));
    }
}

/// The jobs that want work, in the order in which each would get its next unit, by what is out. What each had lately the leader alone
/// knows; every node says the same here.
#[must_use]
pub fn served(state: &State, now_ms: u64) -> Vec<Served> {
    let mut queue = Queue::new(state, &Lately::default(), now_ms);
    let mut all = Vec::new();
    while let Some(next) = queue.pop() {
        all.push(next);
        queue.charge(next, false);
    }
    all
}

/// When a job with nothing out was served last.
fn served_at(state: &State, id: JobId, job: &Job) -> u64 {
    if job.started_at_ms.is_none() {
        return job.submitted_at_ms;
    }
    let last = state.job_workers(id).map(|(_, stat)| stat.last_at_ms).max();
    last.unwrap_or(0).max(job.submitted_at_ms)
}
