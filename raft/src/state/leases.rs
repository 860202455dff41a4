//! Leases: units given to workers, counted once, taken back when their worker is gone.
//!
//! A unit is fenced by its epoch, the log index of its grant: only a completion with the lease's own epoch is
//! counted, whatever a late or cut-off worker sends. `invariant::check` states what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Counts;
use super::jobs::{ChunkRef, Job, JobStatus, WorkerStat};
use super::{FailureAction, Measures, Remarks, State};
use crate::command::{Completion, LeaseRef, NewLease, Response, SpecRef, UnitKey, UnitRange};
use crate::event::EventKind;
use crate::id::{Epoch, JobId, NodeId};

/// A unit that a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The first index that is not counted yet: the unit's own first, and further after each part that was counted.
    pub start: u64,
    /// The index after its last.
    pub end: u64,
    /// Who has it.
    pub node: NodeId,
    /// The log index of its grant.
    pub epoch: Epoch,
    /// How often it was tried before.
    pub attempts: u32,
    /// What its worker may send for it.
    pub share: Share,
    /// When it was granted, unix milliseconds of the log's clock.
    pub granted_at_ms: u64,
}

/// A lease's share of what its job may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// The worker's part of the job's budget, in packets per second.
    pub rate_pps: Option<u64>,
    /// This lease's part of what the job may send into one network, in packets per second.
    pub network_pps: Option<u64>,
}

/// What a lease that was taken back leaves: the part of its unit that is not counted.
struct Uncounted {
    /// That part; its first index is where the lease's uncounted part began.
    unit: UnitKey,
    /// The index after its last.
    end: u64,
    /// Who had it.
    node: NodeId,
    /// How often it was tried before.
    attempts: u32,
}

impl Uncounted {
    fn range(&self) -> UnitRange {
        self.unit.until(self.end)
    }
}

/// How much of the reason for which a unit was given up is kept, in characters. Ours: a few lines of a terminal.
const REASON_CHARS_MAX: usize = 300;
/// Why the units of a worker that failed are given up.
const WORKER_FAILED: &str = "its worker failed";
/// Why leases of a worker are taken back whose process is gone.
const HUNG_UP: &str = "its worker hung up and did not come back";
/// How many leases one worker may hold. Ours: far above what keeps an engine busy; bounds the state.
pub(crate) const LEASES_PER_NODE_MAX: usize = 1_000;

impl State {
    /// Makes those of the leases that may be made.
    pub(super) fn grant(&mut self, index: u64, grants: &[NewLease]) -> Response {
        let mut held = Held::of(self);
        let made = grants.iter().filter_map(|grant| self.grant_one(index, grant, &mut held)).collect();
        Response::Granted { leases: made }
    }

    fn grant_one(&mut self, index: u64, grant: &NewLease, held: &mut Held) -> Option<(UnitKey, Lease)> {
        let UnitKey { job, partition, start } = grant.unit;
        let now_ms = self.now_ms();
        if !self.nodes.get(&grant.node)?.takes_leases() || !held.has_room(self, grant) {
            return None;
        }
        let target_count = self.jobs.get(&job)?.partitions.get(usize::try_from(partition).ok()?)?.target_count;
        let attempts = self.progress.get_mut(&(job, partition))?.take(start..grant.end, target_count)?;
        let lease = Lease {
            start,
            end: grant.end,
            node: grant.node,
            epoch: index,
            attempts,
            share: grant.share,
            granted_at_ms: now_ms,
        };
        self.leases.insert(grant.unit, lease.clone());
        held.add(grant);
        let range = grant.unit.until(grant.end);
        let record = self.jobs.get_mut(&job)?;
        record.status = JobStatus::Running;
        record.started_at_ms.get_or_insert(now_ms);
        if self.stats.get(&(job, grant.node)).is_none() {
            let stat = WorkerStat { first_at_ms: now_ms, last_at_ms: now_ms, ..WorkerStat::default() };
            self.stats.insert((job, grant.node), stat);
            self.record(job, index, EventKind::Assigned, Some(grant.node), Some(range));
        }
        if attempts > 0 {
            let what = EventKind::Reassigned { attempts };
            self.record(job, index, what, Some(grant.node), Some(range));
        }
        Some((grant.unit, lease))
    }

    /// Counts those of the completions whose lease stands.
    pub(super) fn complete(&mut self, index: u64, completions: &[Completion]) -> Response {
        let (nothing, none) = (Remarks::default(), Measures::default());
        let accepted =
            completions.iter().map(|completion| self.complete_one(index, completion, &nothing, &none)).collect();
        Response::Completed { accepted }
    }

    /// Counts a unit of which there is more to say.
    pub(super) fn complete_with(&mut self, index: u64, completion: &Completion, remarks: &Remarks) -> Response {
        self.complete_measured(index, completion, remarks, &Measures::default())
    }

    /// Counts a unit of which more was measured.
    pub(super) fn complete_measured(
        &mut self,
        index: u64,
        completion: &Completion,
        remarks: &Remarks,
        measures: &Measures,
    ) -> Response {
        Response::Completed { accepted: vec![self.complete_one(index, completion, remarks, measures)] }
    }

    fn complete_one(&mut self, index: u64, completion: &Completion, remarks: &Remarks, measures: &Measures) -> bool {
        let LeaseRef { unit, epoch } = completion.lease;
        let part = UnitKey { start: completion.start, ..unit };
        if self
            .chunks
            .get(&part)
            .is_some_and(|chunk| chunk.epoch == epoch && chunk.stored.digest == completion.stored.digest)
        {
            return true;
        }
        let Some(lease) = self.leases.get(&unit) else { return false };
        let stands = lease.epoch == epoch && lease.node == completion.node && lease.start == completion.start;
        let fits = completion.start < completion.end && completion.end <= lease.end;
        if !stands || !fits || completion.stored.holders.is_empty() {
            return false;
        }
        let (lease_end, attempts) = (lease.end, lease.attempts);
        let goes_on = completion.goes_on && completion.end < lease_end;
        if goes_on && let Some(lease) = self.leases.get_mut(&unit) {
            lease.start = completion.end;
        } else {
            self.leases.remove(&unit);
        }
        if let Some(progress) = self.progress.get_mut(&(unit.job, unit.partition)) {
            progress.done.insert(completion.start..completion.end);
            if !goes_on {
                progress.put_back(completion.end..lease_end, attempts);
            }
        }
        self.cut_retries(unit.job, part.until(completion.end));
        self.clear_health(completion.node);
        let targets = completion.end - completion.start;
        self.chunks.insert(
            part,
            ChunkRef {
                end: completion.end,
                stored: completion.stored.clone(),
                node: completion.node,
                epoch,
                counts: completion.counts,
            },
        );
        self.count_unit(unit.job, completion.node, (targets, remarks.not_probed_total()), &completion.counts);
        let what = EventKind::UnitDone { targets, hosts_up: completion.counts.hosts_up };
        self.record(unit.job, index, what, Some(completion.node), Some(part.until(completion.end)));
        self.remark(unit.job, remarks);
        self.measured(unit.job, measures);
        self.finish_if_over(index, unit.job);
        true
    }

    /// Adds an accepted chunk to the sums of its job and of its worker, whose targets are those that it probed.
    pub(super) fn count_unit(&mut self, job: JobId, node: NodeId, (targets, not_probed): (u64, u64), counts: &Counts) {
        let now_ms = self.now_ms();
        if let Some(record) = self.jobs.get_mut(&job) {
            record.done = record.done.saturating_add(targets);
            record.counts.add(counts);
        }
        if self.stats.get(&(job, node)).is_none() {
            self.stats.insert((job, node), WorkerStat { first_at_ms: now_ms, ..WorkerStat::default() });
        }
        if let Some(stat) = self.stats.get_mut(&(job, node)) {
            stat.targets = stat.targets.saturating_add(targets.saturating_sub(not_probed));
            stat.units += 1;
            stat.last_at_ms = now_ms;
        }
    }

    /// Whether a unit that was leased up to `end` was counted under that lease from its beginning, and is done.
    #[must_use]
    pub fn was_counted(&self, lease: &LeaseRef, end: u64) -> bool {
        let LeaseRef { unit, epoch } = *lease;
        let first = self.chunks.get(&unit).is_some_and(|chunk| chunk.epoch == epoch);
        first
            && self.progress(unit.job, unit.partition).is_some_and(|progress| progress.done.covers(&(unit.start..end)))
    }

    /// Frees leases without blame.
    pub(super) fn release(&mut self, index: u64, leases: &[LeaseRef]) -> Response {
        for lease in leases {
            if let Some(left) = self.drop_lease(lease) {
                self.free(&left);
                self.record(left.unit.job, index, EventKind::Released, Some(left.node), Some(left.range()));
            }
        }
        Response::Done
    }

    /// Takes leases back and counts the try against their units.
    pub(super) fn expire(&mut self, index: u64, leases: &[LeaseRef], reason: &str) -> Response {
        for lease in leases {
            if let Some(node) = self.expire_one(index, lease, reason) {
                self.note_failure(node, reason);
            }
        }
        Response::Done
    }

    /// Takes one lease back and counts the try against its unit. Answers whose it was.
    fn expire_one(&mut self, index: u64, lease: &LeaseRef, reason: &str) -> Option<NodeId> {
        let left = self.drop_lease(lease)?;
        let node = left.node;
        let what = EventKind::Expired { reason: reason.to_owned() };
        self.record(left.unit.job, index, what, Some(node), Some(left.range()));
        self.free_or_give_up(index, left, reason);
        Some(node)
    }

    /// Takes leases back whose worker may not do them by its own node's file, and counts that against nobody. Others get them first;
    /// where there are no others, a unit that is declined by the same again and again is given up, as one that fails.
    pub(super) fn decline(&mut self, index: u64, leases: &[LeaseRef], reason: &str) -> Response {
        for lease in leases {
            let Some(left) = self.drop_lease(lease) else { continue };
            let job = left.unit.job;
            let what = EventKind::Expired { reason: reason.to_owned() };
            self.record(job, index, what, Some(left.node), Some(left.range()));
            let limit = self.jobs.get(&job).map_or(1, |job| job.limits.max_attempts);
            let declined = self.note_declined(job, left.range(), left.node);
            if declined < limit {
                self.free(&left);
            } else {
                let left = Uncounted { attempts: left.attempts.saturating_add(declined), ..left };
                self.give_up(index, &left, reason);
            }
        }
        Response::Done
    }

    /// Takes back all leases of a node that hung up, where those of one that fails go to others.
    pub(super) fn take_back(&mut self, index: u64, node: NodeId) -> Response {
        if self.failure_action() == FailureAction::Reassign {
            for lease in self.leases_of(node) {
                self.expire_one(index, &lease, HUNG_UP);
            }
        }
        Response::Done
    }

    /// Makes a lease's share of a budget smaller: its worker keeps to that already.
    pub(super) fn yield_share(&mut self, lease: &LeaseRef, rate_pps: u64) -> Response {
        let smaller = |standing: &Lease| {
            standing.epoch == lease.epoch && standing.share.rate_pps.is_some_and(|share| (1..share).contains(&rate_pps))
        };
        if self.leases.get(&lease.unit).is_some_and(smaller)
            && let Some(standing) = self.leases.get_mut(&lease.unit)
        {
            standing.share.rate_pps = Some(rate_pps);
        }
        Response::Done
    }

    /// What happens with the units of a worker that fails.
    fn failure_action(&self) -> FailureAction {
        self.settings().map_or_else(FailureAction::default, |settings| settings.failure)
    }

    /// Takes back all leases of a node that failed, and does with their units what the settings say.
    pub(super) fn take_back_all(&mut self, index: u64, node: NodeId) {
        let action = self.failure_action();
        for lease in self.leases_of(node) {
            let Some(left) = self.drop_lease(&lease) else { continue };
            match action {
                FailureAction::Reassign => self.free_or_give_up(index, left, WORKER_FAILED),
                FailureAction::Wait => {
                    self.free(&left);
                    self.note_retry(left.unit.job, left.range(), node, true);
                }
                FailureAction::Fail => {
                    let left = Uncounted { attempts: left.attempts + 1, ..left };
                    self.give_up(index, &left, WORKER_FAILED);
                }
            }
        }
    }

    /// All leases of a node, by unit.
    pub(super) fn leases_of(&self, node: NodeId) -> Vec<LeaseRef> {
        let held = self.leases.iter().filter(|(_, lease)| lease.node == node);
        held.map(|(unit, lease)| LeaseRef { unit: *unit, epoch: lease.epoch }).collect()
    }

    pub(super) fn set_holders(&mut self, updates: &[(UnitKey, Vec<NodeId>)]) -> Response {
        for (unit, holders) in updates.iter().filter(|(_, holders)| !holders.is_empty()) {
            if let Some(chunk) = self.chunks.get_mut(unit) {
                chunk.stored.holders.clone_from(holders);
            }
        }
        Response::Done
    }

    pub(super) fn set_spec_holders(&mut self, updates: &[(JobId, Vec<NodeId>)]) -> Response {
        for (job, now) in updates.iter().filter(|(_, now)| !now.is_empty()) {
            if let Some(SpecRef::Chunk { holders, .. }) = self.specs.get_mut(job) {
                holders.clone_from(now);
            }
        }
        Response::Done
    }

    /// Removes a lease that stands under this epoch.
    fn drop_lease(&mut self, lease: &LeaseRef) -> Option<Uncounted> {
        self.leases.get(&lease.unit).filter(|standing| standing.epoch == lease.epoch)?;
        let Lease { start, end, node, attempts, .. } = self.leases.remove(&lease.unit)?;
        Some(Uncounted { unit: UnitKey { start, ..lease.unit }, end, node, attempts })
    }

    fn free(&mut self, left: &Uncounted) {
        if let Some(progress) = self.progress.get_mut(&(left.unit.job, left.unit.partition)) {
            progress.put_back(left.unit.start..left.end, left.attempts);
        }
    }

    /// Counts one more try, and frees the part, or gives it up after as many as its job allows.
    fn free_or_give_up(&mut self, index: u64, left: Uncounted, reason: &str) {
        let left = Uncounted { attempts: left.attempts + 1, ..left };
        let Uncounted { unit, attempts, .. } = left;
        let limit = self.jobs.get(&unit.job).map_or(1, |job| job.limits.max_attempts);
        if attempts < limit {
            self.free(&left);
            self.note_retry(unit.job, left.range(), left.node, false);
            return;
        }
        self.give_up(index, &left, reason);
    }

    /// Tries the part no more.
    fn give_up(&mut self, index: u64, left: &Uncounted, reason: &str) {
        let Uncounted { unit, end, attempts, .. } = *left;
        self.cut_retries(unit.job, left.range());
        if let Some(progress) = self.progress.get_mut(&(unit.job, unit.partition)) {
            progress.dead.insert(unit.start..end);
        }
        if let Some(job) = self.jobs.get_mut(&unit.job) {
            job.dead = job.dead.saturating_add(end - unit.start);
            job.reason = Some(reason.chars().take(REASON_CHARS_MAX).collect());
        }
        self.record(unit.job, index, EventKind::GivenUp { attempts }, None, Some(left.range()));
        self.finish_if_over(index, unit.job);
    }
}

/// What is out while one command grants: counted once for the command, then kept up with each lease it makes, so that
/// a batch of grants costs one look at the leases and not one per grant.
struct Held {
    /// How many leases each node has.
    leases: BTreeMap<NodeId, usize>,
    /// What is out of each job that was asked for.
    shares: BTreeMap<JobId, Shares>,
}

/// What is out of one job's budgets.
#[derive(Default)]
struct Shares {
    /// Each worker's share of the job's budget, and their sum.
    rate: BTreeMap<NodeId, u64>,
    rate_sum: u64,
    /// The shares of all leases of what may go into one network.
    network_sum: u64,
}

impl Shares {
    fn of(state: &State, job: JobId) -> Self {
        let rate = shares_of(state.job_leases(job).map(|(_, lease)| lease));
        let rate_sum = rate.values().fold(0u64, |sum, share| sum.saturating_add(*share));
        let network = state.job_leases(job).filter_map(|(_, lease)| lease.share.network_pps);
        Self { rate, rate_sum, network_sum: network.fold(0, u64::saturating_add) }
    }

    /// Whether a lease with these shares exceeds neither the job's budgets nor its number of workers.
    fn have_room(&self, job: &Job, grant: &NewLease) -> bool {
        let own = self.rate.get(&grant.node).copied();
        let others = self.rate.len() - usize::from(own.is_some());
        if job.limits.max_workers.is_some_and(|limit| others >= limit as usize) {
            return false;
        }
        let fits = |budget: Option<u64>, share: Option<u64>, sum: u64, own: u64| {
            let Some(budget_pps) = budget else { return true };
            let Some(share) = share.filter(|share| *share > 0) else { return false };
            sum.checked_add(share.saturating_sub(own)).is_some_and(|sum| sum <= budget_pps)
        };
        let Share { rate_pps, network_pps } = grant.share;
        fits(job.limits.budget_pps, rate_pps, self.rate_sum, own.unwrap_or(0))
            && fits(job.limits.network_pps, network_pps, self.network_sum, 0)
    }

    fn add(&mut self, grant: &NewLease) {
        let own = self.rate.entry(grant.node).or_default();
        let rate_pps = grant.share.rate_pps.unwrap_or(0);
        self.rate_sum = self.rate_sum.saturating_add(rate_pps.saturating_sub(*own));
        *own = (*own).max(rate_pps);
        self.network_sum = self.network_sum.saturating_add(grant.share.network_pps.unwrap_or(0));
    }
}

impl Held {
    fn of(state: &State) -> Self {
        let mut leases = BTreeMap::new();
        for (_, lease) in state.leases.iter() {
            *leases.entry(lease.node).or_default() += 1;
        }
        Self { leases, shares: BTreeMap::new() }
    }

    /// Whether the job is open and neither its budgets, its number of workers nor the worker's leases are exceeded.
    fn has_room(&mut self, state: &State, grant: &NewLease) -> bool {
        let job = grant.unit.job;
        let Some(record) = state.jobs.get(&job).filter(|record| record.wants_work()) else { return false };
        if self.leases.get(&grant.node).is_some_and(|count| *count >= LEASES_PER_NODE_MAX) {
            return false;
        }
        self.shares.entry(job).or_insert_with(|| Shares::of(state, job)).have_room(record, grant)
    }

    fn add(&mut self, grant: &NewLease) {
        *self.leases.entry(grant.node).or_default() += 1;
        if let Some(shares) = self.shares.get_mut(&grant.unit.job) {
            shares.add(grant);
        }
    }
}

/// Each worker's share of a job's budget: the largest that any of its leases carries.
pub(crate) fn shares_of<'a>(leases: impl Iterator<Item = &'a Lease>) -> BTreeMap<NodeId, u64> {
    let mut shares = BTreeMap::new();
    for lease in leases {
        let share: &mut u64 = shares.entry(lease.node).or_default();
        *share = (*share).max(lease.share.rate_pps.unwrap_or(0));
    }
    shares
}

impl State {
    /// The workers that hold leases on `job`.
    #[must_use]
    pub fn workers_on(&self, job: JobId) -> BTreeSet<NodeId> {
        self.job_leases(job).map(|(_, lease)| lease.node).collect()
    }
}
