//! Which units go to whom next: a pure look at the state and at what each worker is good for.
//!
//! Jobs come in the order of `queue`. For each unit in turn: which workers may take it (`placement`), which of those has
//! room, and which of these is best (`score`). Each worker holds at most two units of a job, one running and one behind
//! it, or more where it takes only short ones, sized to take about ten seconds of that worker's own measured rate; near a job's end what is left is shared, so
//! that no worker is waited for, in units that are still worth their way ([`UNIT_SECONDS_MIN`]). A unit that failed before
//! is halved for each try, so that a poisonous target is left alone with few neighbours, and goes to those who failed it
//! last of all (`ranges`). A job with a limit per network is given out one unit at a time and worker: two units of one
//! worker could be in the same network at once, each with its own share.

mod lately;
mod queue;
mod ranges;
mod score;
mod shares;

use std::collections::BTreeMap;

use pentora_raft::command::{NewLease, UnitKey};
use pentora_raft::state::{Job, Needs, NodeRecord, Partition, Priority, Settings, Share};
use pentora_raft::{JobId, NodeId, State};

pub use lately::Lately;
pub use queue::{Served, served};
pub use score::Turns;

use super::budgets::Budgets;
use super::placement;
use super::work_sessions::Rates;
use queue::{Queue, weight};
use ranges::{Cursor, Piece};
use shares::{Drawn, Shares, fair_part, fair_share};

/// How long a unit should take, in seconds. The design asks for 5 to 30.
pub const UNIT_SECONDS: f64 = 10.0;
/// The least time that a unit should take, in seconds, of a worker whose rate at the job was measured. Ours: a unit costs its way
/// into the log and back, tens of milliseconds; without this what is left of a job near its end becomes twice as many units as all
/// that came before, all of them at once, for which everybody waits. Nobody waits for longer than this for the last one.
pub const UNIT_SECONDS_MIN: f64 = 0.25;
/// Units of one job that a worker holds: one running, one behind it.
const UNITS_PER_JOB: u32 = 2;
/// How much work a worker holds behind the unit that is running, in seconds, where its units are short because it takes no more
/// targets at once. Ours: several times the way of a unit into the log and back.
const SECONDS_AHEAD: f64 = 0.5;
/// And one of another's that was lost or failed: it is behind the others already, and until somebody has it nobody sends that other's
/// share of the job's budget.
const UNITS_TAKEN_OVER: u32 = 1;
/// Grants in one entry; keeps an entry far below a frame.
const GRANTS_MAX: usize = 256;
/// Ports per target of a job whose spec is not at hand.
pub const PORTS_UNKNOWN: u64 = 100;

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The replicated state.
    pub state: &'a State,
    /// The workers with a session, and what each is good for.
    pub rates: &'a BTreeMap<NodeId, Rates>,
    /// How many ports a job asks of a target.
    pub ports: &'a BTreeMap<JobId, u64>,
    /// Who got a unit when.
    pub turns: &'a Turns,
    /// What jobs had.
    pub lately: &'a Lately,
    /// What networks may get, from all jobs together.
    pub budgets: &'a Budgets,
    /// How work is shared out.
    pub settings: &'a Settings,
    /// How long a unit of a job whose budget is below what the worker can do should take, in seconds: that is known
    /// beforehand.
    pub paced_unit_seconds: f64,
    /// The release that plans.
    pub version: &'a str,
    /// The leader's wall time, unix milliseconds.
    pub now_ms: u64,
}

/// A worker as the planner sees it.
struct Worker<'a> {
    id: NodeId,
    record: &'a NodeRecord,
    rates: &'a Rates,
    leases: u32,
    by_job: BTreeMap<JobId, u32>,
    /// The same before this plan.
    held: BTreeMap<JobId, u32>,
    /// How many leases it may hold: with urgent ones, without.
    rooms: (u32, u32),
    /// Whether it is set aside.
    aside: bool,
    /// When it got a unit last, counted in units.
    turn: u64,
}

/// The workers for the partitions with the same needs, of urgent jobs or of others.
struct Group {
    /// Whether it is for urgent jobs.
    urgent: bool,
    /// Those that may take them, where any is not set aside only such.
    eligible: Vec<usize>,
    /// Those of them that have room.
    with_room: Vec<usize>,
}

/// One job, while it is shared out.
struct Work<'a> {
    id: JobId,
    record: &'a Job,
    ports: u64,
    parts: Vec<Part<'a>>,
}

/// One partition of it.
struct Part<'a> {
    index: u32,
    partition: &'a Partition,
    cursor: Cursor,
    group: usize,
}

/// A plan while it is made.
struct Planner<'a> {
    view: View<'a>,
    workers: Vec<Worker<'a>>,
    groups: Vec<Group>,
    by_needs: BTreeMap<(bool, NeedsKey<'a>), usize>,
    shares: BTreeMap<JobId, Shares>,
    /// What is out of each budget of networks.
    out: Drawn,
    turn: u64,
}

/// What groups are told apart by: needs without the preferences, which choose among a group.
type NeedsKey<'a> = (&'a [ipnet::IpNet], Option<&'a str>, &'a [String], Option<&'a str>);

/// Whether so much of a budget that is out leaves one of `workers` a share to begin with.
#[must_use]
pub fn leaves_a_share(rate_pps: u64, workers: usize, out_pps: u64) -> bool {
    fair_share(Some(rate_pps), workers.max(1), out_pps).is_some()
}

/// The grants to propose now.
#[must_use]
pub fn plan(view: &View<'_>) -> Vec<NewLease> {
    let mut planner = Planner::new(*view);
    if planner.workers.iter().all(|worker| worker.leases >= worker.rooms.0) {
        return Vec::new();
    }
    let mut queue = Queue::new(view.state, view.lately, view.now_ms);
    planner.share_out(queue.jobs());
    let mut works: BTreeMap<JobId, Work<'_>> = BTreeMap::new();
    let mut grants = Vec::new();
    while grants.len() < GRANTS_MAX
        && let Some(next) = queue.pop()
    {
        let Some(record) = view.state.job(next.job) else { continue };
        let mut work = works.remove(&next.job).unwrap_or_else(|| planner.work(next.job, record));
        if let Some(grant) = planner.grant(&mut work) {
            grants.push(grant);
            works.insert(next.job, work);
            queue.put_back(next);
        }
    }
    grants
}

impl<'a> Planner<'a> {
    fn new(view: View<'a>) -> Self {
        let mut shares: BTreeMap<JobId, Shares> = BTreeMap::new();
        let mut workers = workers(&view);
        let places: BTreeMap<NodeId, usize> = workers.iter().enumerate().map(|(at, worker)| (worker.id, at)).collect();
        // Workers that are silent count until they are failed, because they may still be sending.
        for (unit, lease) in view.state.leases() {
            shares.entry(unit.job).or_default().add(lease.node, lease.share);
            if let Some(worker) = places.get(&lease.node).and_then(|at| workers.get_mut(*at)) {
                worker.leases += 1;
                *worker.by_job.entry(unit.job).or_default() += 1;
            }
        }
        for worker in &mut workers {
            worker.held.clone_from(&worker.by_job);
        }
        let mut out = Drawn::default();
        for (job, shares) in &shares {
            out.draw(view.budgets.of_job(*job), shares.rate_sum);
        }
        let turn = view.turns.latest();
        Self { view, workers, groups: Vec::new(), by_needs: BTreeMap::new(), shares, out, turn }
    }

    /// Notes between which jobs, in the order in which they are served, each budget of networks is shared out: as each gets its next
    /// unit, it goes down to its part by weight, and leaves the rest to those that wait.
    fn share_out(&mut self, jobs: impl Iterator<Item = JobId>) {
        for id in jobs {
            let budgets = self.view.budgets.of_job(id);
            let Some(record) = self.view.state.job(id).filter(|_| !budgets.is_empty()) else { continue };
            let has_some_out = self.shares.contains_key(&id);
            let wants = match has_some_out {
                // The last units of a job keep what they have, and nothing is kept for units that will not come.
                true => has_more(self.view.state, id, record),
                false => self.out.lacks(budgets) && self.has_takers(id, record),
            };
            if wants {
                self.out.want(budgets, id, weight(record.priority), has_some_out);
            }
        }
    }

    /// Whether some worker may take what there is to do of a job now. For one that nobody may, nothing is kept.
    fn has_takers(&mut self, id: JobId, record: &'a Job) -> bool {
        let Work { parts, .. } = self.work(id, record);
        parts.iter().any(|part| self.groups.get(part.group).is_some_and(|group| !group.eligible.is_empty()))
    }

    /// What there is to do of a job.
    fn work(&mut self, id: JobId, record: &'a Job) -> Work<'a> {
        let ports = self.view.ports.get(&id).copied().unwrap_or(PORTS_UNKNOWN);
        let mut parts = Vec::new();
        for (index, partition) in (0u32..).zip(&record.partitions) {
            let Some(progress) = self.view.state.progress(id, index) else { continue };
            let cursor = Cursor::new(&self.view, id, index, progress, partition.target_count);
            if cursor.has_any() {
                let group = self.group(is_urgent(record), &partition.needs);
                parts.push(Part { index, partition, cursor, group });
            }
        }
        Work { id, record, ports, parts }
    }

    /// The workers for these needs; looked up once for all jobs with the same.
    fn group(&mut self, urgent: bool, needs: &'a Needs) -> usize {
        let key: NeedsKey<'a> =
            (&needs.networks, needs.region.as_deref(), &needs.required_tags, needs.engine.as_deref());
        if let Some(at) = self.by_needs.get(&(urgent, key)) {
            return *at;
        }
        let version = self.view.version;
        let is_kept = placement::unkept(self.view.state, needs).is_none();
        let fits = |worker: &Worker<'_>| {
            is_kept
                && placement::incompatible(worker.record, version).is_none()
                && placement::mismatch(worker.record, self.view.state.site_of(worker.id), needs).is_none()
                && placement::untrusted(self.view.state.signers(worker.id), needs).is_none()
        };
        let all: Vec<usize> =
            self.workers.iter().enumerate().filter(|(_, worker)| fits(worker)).map(|(at, _)| at).collect();
        let at_work = |at: &usize| self.workers.get(*at).is_some_and(|worker| !worker.aside);
        let healthy: Vec<usize> = all.iter().copied().filter(at_work).collect();
        let eligible = if healthy.is_empty() { all } else { healthy };
        let has_room = |at: &usize| self.workers.get(*at).is_some_and(|worker| worker.has_room(urgent));
        let with_room = eligible.iter().copied().filter(has_room).collect();
        self.groups.push(Group { urgent, with_room, eligible });
        self.by_needs.insert((urgent, key), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// The next unit of a job, to whom it is best given; `None` where nothing of it can be given now.
    fn grant(&mut self, work: &mut Work<'a>) -> Option<NewLease> {
        let Work { id, record, ports, parts } = work;
        for part in parts {
            for piece in part.cursor.pieces() {
                let Some(at) = self.choose(*id, record, part, &piece) else { continue };
                return self.take(*id, record, *ports, part, &piece, at);
            }
        }
        None
    }

    /// Takes a worker out of the groups for which it has no room any more: within a plan nobody gets room back.
    fn leave_full(&mut self, at: usize) {
        let Some(worker) = self.workers.get(at) else { return };
        let (urgent, other) = (worker.has_room(true), worker.has_room(false));
        if urgent && other {
            return;
        }
        for group in &mut self.groups {
            if !(if group.urgent { urgent } else { other }) {
                group.with_room.retain(|with_room| *with_room != at);
            }
        }
    }

    /// The worker that gets a piece.
    fn choose(&mut self, id: JobId, record: &Job, part: &Part<'_>, piece: &Piece) -> Option<usize> {
        let group = self.groups.get(part.group)?;
        let limit = limit_of(record, group.eligible.len());
        let shares = self.shares.entry(id).or_default();
        let units_held = |worker: &Worker<'_>| match record.limits.network_pps {
            Some(_) => 1,
            None => worker.units_held(id),
        };
        let blamed = |at: &usize| self.workers.get(*at).is_some_and(|worker| piece.failed_by.contains(&worker.id));
        let draws = (self.view.budgets, id, &self.out);
        let is_unlimited = record.limits.budget_pps.is_none()
            && record.limits.network_pps.is_none()
            && self.view.budgets.of_job(id).is_empty();
        let all_blamed = !piece.failed_by.is_empty() && group.eligible.iter().all(blamed);
        let fits = |worker: &Worker<'_>| {
            let own = worker.by_job.get(&id).copied().unwrap_or(0);
            let is_anothers = !piece.failed_by.is_empty() && !piece.failed_by.contains(&worker.id);
            let takes_over = if is_anothers && record.limits.network_pps.is_none() { UNITS_TAKEN_OVER } else { 0 };
            own < units_held(worker) + takes_over
                && piece.only.is_none_or(|only| only == worker.id)
                && (all_blamed || !piece.failed_by.contains(&worker.id))
                && (own > 0 || shares.rate.len() < limit)
                && (is_unlimited || share_of(record, worker.id, limit, shares, draws).is_some())
        };
        let rank = |worker: &Worker<'_>| {
            // Where all have failed it, the one whose try is longest ago.
            let failed_at = piece.failed_by.iter().position(|node| *node == worker.id).map_or(0, |at| at + 1);
            let own = worker.by_job.get(&id).copied().unwrap_or(0);
            let facts = score::Facts {
                own,
                leases: worker.leases,
                capacity: worker.rooms.0,
                turn: worker.turn,
                tags: &worker.record.info.tags,
            };
            (failed_at, score::rank(self.view.settings.preference, &part.partition.needs.preferred_tags, &facts))
        };
        let able = group.with_room.iter().copied().filter(|at| self.workers.get(*at).is_some_and(fits));
        able.min_by_key(|at| self.workers.get(*at).map(rank))
    }

    /// Takes a unit off a piece for the worker at `at`.
    fn take(
        &mut self,
        id: JobId,
        record: &Job,
        ports: u64,
        part: &mut Part<'_>,
        piece: &Piece,
        at: usize,
    ) -> Option<NewLease> {
        let limit = limit_of(record, self.groups.get(part.group)?.eligible.len());
        let shares = self.shares.entry(id).or_default();
        let worker = self.workers.get_mut(at)?;
        let share = share_of(record, worker.id, limit, shares, (self.view.budgets, id, &self.out))?;
        let wanted = worker.targets_wanted(id, ports, share.rate_pps, self.view.paced_unit_seconds);
        let wanted = worker.unit_targets(part.cursor.left(), limit as u64, wanted, worker.targets_least(id));
        let (start, end) = part.cursor.take(piece, wanted)?;
        self.turn += 1;
        worker.turn = self.turn;
        worker.leases += 1;
        *worker.by_job.entry(id).or_default() += 1;
        let node = worker.id;
        let before = shares.rate_sum;
        shares.add(node, share);
        self.out.draw(self.view.budgets.of_job(id), shares.rate_sum - before);
        self.leave_full(at);
        let unit = UnitKey { job: id, partition: part.index, start };
        Some(NewLease { unit, end, node, share })
    }
}

/// Whether a job may have the room that is kept for urgent ones.
fn is_urgent(record: &Job) -> bool {
    record.priority <= Priority::High
}

/// Whether anything of a job is not out, done or given up.
fn has_more(state: &State, id: JobId, record: &Job) -> bool {
    (0u32..).zip(&record.partitions).any(|(index, partition)| {
        let progress = state.progress(id, index);
        progress.is_some_and(|progress| !progress.free.is_empty() || progress.next < partition.target_count)
    })
}

/// How many workers may be at work on a job for which so many are eligible.
fn limit_of(record: &Job, eligible: usize) -> usize {
    record.limits.max_workers.map_or(eligible, |limit| eligible.min(limit as usize)).max(1)
}

/// What a lease of `node` may send; `None` where too little of a budget is left to begin with.
fn share_of(
    record: &Job,
    node: NodeId,
    limit: usize,
    shares: &Shares,
    (budgets, job, out): (&Budgets, JobId, &Drawn),
) -> Option<Share> {
    let own = shares.rate.get(&node).copied().unwrap_or(0);
    let mut rate_pps = fair_share(record.limits.budget_pps, limit, shares.rate_sum - own)?;
    for budget in budgets.of_job(job) {
        let others = out.of(*budget).saturating_sub(own);
        let part = out.part(*budget, job, weight(record.priority));
        let share = fair_part(budgets.rate(*budget), part, limit, others)?;
        rate_pps = [rate_pps, share].into_iter().flatten().min();
    }
    Some(Share { rate_pps, network_pps: fair_share(record.limits.network_pps, limit, shares.network)? })
}

fn workers<'a>(view: &View<'a>) -> Vec<Worker<'a>> {
    let live = view.state.nodes().filter(|(_, record)| record.takes_leases());
    let worker = |(id, record): (NodeId, &'a NodeRecord)| {
        Some(Worker {
            id,
            record,
            rates: view.rates.get(&id)?,
            leases: 0,
            by_job: BTreeMap::new(),
            held: BTreeMap::new(),
            rooms: placement::rooms(record, view.settings.max_load_thousandths),
            aside: view.state.health(id).is_some_and(|health| health.is_aside(view.now_ms)),
            turn: view.turns.of(id),
        })
    };
    live.filter_map(worker).collect()
}

impl Worker<'_> {
    fn has_room(&self, urgent: bool) -> bool {
        self.leases < if urgent { self.rooms.0 } else { self.rooms.1 }
    }

    /// How many targets it is expected to do in the time of a unit. A budget sets that time only where it is what the
    /// worker waits for.
    fn targets_wanted(&self, job: JobId, ports: u64, share_pps: Option<u64>, paced_unit_seconds: f64) -> f64 {
        let ports = ports as f64;
        let guess = self.rates.engine_pps / ports;
        let able = self.rates.targets_per_second.get(&job).copied().unwrap_or(guess);
        match share_pps.map(|share| share as f64 / ports).filter(|share| *share < able) {
            Some(share) => share * paced_unit_seconds,
            None => able * UNIT_SECONDS,
        }
    }

    /// How many units of a job it holds at most. Its rate is that of one unit, beside those that it holds: those that are in turn wait
    /// for each other, and those that are not are done side by side, and either way it is done with one in a fraction of the time.
    fn units_held(&self, job: JobId) -> u32 {
        let Some(able) = self.rates.targets_per_second.get(&job) else { return UNITS_PER_JOB };
        let at_once = f64::from(self.held.get(&job).copied().unwrap_or(0).max(1));
        let unit_seconds =
            self.record.info.max_targets_per_scan.max(1) as f64 / (able * at_once).max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what it may hold")]
        let ahead = (SECONDS_AHEAD / unit_seconds).ceil().clamp(1.0, f64::from(self.rooms.0.max(1))) as u32;
        (1 + ahead).max(UNITS_PER_JOB)
    }

    /// How many targets it does in the least time that a unit is worth; of a job at which it was not measured, any.
    fn targets_least(&self, job: JobId) -> f64 {
        self.rates.targets_per_second.get(&job).map_or(0.0, |able| able * UNIT_SECONDS_MIN)
    }

    /// How many targets a unit for it should have, of about `wanted`, and not for its share's sake fewer than `least`.
    fn unit_targets(&self, left: u64, workers: u64, wanted: f64, least: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the worker's limit next"
        )]
        let [wanted, least] = [wanted, least].map(|targets| targets.clamp(1.0, 1e15) as u64);
        // Guided sharing: with others at work, a unit is at most half of a fair share of what is left.
        let fair = if workers > 1 { left.div_ceil(2 * workers) } else { left };
        wanted.min(fair.max(least)).clamp(1, self.record.info.max_targets_per_scan.max(1))
    }
}

#[cfg(test)]
#[path = "plan/laws_test.rs"]
mod laws_test;
#[cfg(test)]
#[path = "plan/plan_test.rs"]
mod tests;
