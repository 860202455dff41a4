//! What must hold in every state, checked after every step of tests and simulations.
//!
//! The central law: for each partition, what is done, given up, free again or out under a lease parts `[0, next)` into
//! disjoint ranges, and nothing else is in it. From it follows that every target is counted exactly once when a job
//! completes. The other laws tie the sums of a job to its chunks, hold budgets and limits, and see that no row outlives
//! what it belongs to.

#[cfg(test)]
mod invariant_test;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::command::{NodeRole, UnitKey};
use crate::id::JobId;
use crate::state::keys::Owner;
use crate::state::{
    Counts, Job, JobStatus, LEASES_PER_NODE_MAX, Lease, NodeRecord, NodeStatus, RUNS_KEPT_MAX, State, shares_of,
};

/// Checks every law on `state`, whose last applied entry is `applied`.
///
/// # Errors
/// One sentence naming the first law that does not hold and where.
pub fn check(state: &State, applied: u64) -> Result<(), String> {
    for (id, job) in state.jobs() {
        if id.0 > applied {
            return Err(format!("{id} is above the log, which ends at {applied}"));
        }
        ranges_are_counted(state, id, job)?;
        chunks_cover_what_is_done(state, id, job, applied)?;
        status_says_what_is_counted(state, id, job)?;
        limits_hold(state, id, job)?;
        history_is_in_order(state, id, job, applied)?;
        retries_are_of_what_is_left(state, id, job)?;
    }
    leases_stand(state, applied)?;
    no_row_outlives_its_job(state)?;
    nodes_keep_to_their_policy(state, applied)?;
    schedules_go_forward(state, applied)?;
    keeps_know_their_slices(state, applied)?;
    nodes_are_told_apart(state, applied)
}

/// A standing scan knows of each of its slices, and names nothing above the log.
fn keeps_know_their_slices(state: &State, applied: u64) -> Result<(), String> {
    for (name, keep) in state.keeps() {
        if keep.slices.len() != keep.spec.slices.len() {
            return Err(format!("standing scan {name} knows of {} slices", keep.slices.len()));
        }
        let mut jobs = keep.slices.iter().filter_map(|slice| slice.job).chain(keep.running.map(|(_, job)| job));
        if jobs.any(|job| job.0 > applied) {
            return Err(format!("standing scan {name} names a job above the log, which ends at {applied}"));
        }
        if keep.slices.iter().any(|slice| slice.seen_ms.is_some_and(|seen| seen > state.now_ms())) {
            return Err(format!("standing scan {name} is ahead of the log's clock"));
        }
    }
    Ok(())
}

/// What is over of a schedule is past, and its runs are as many as are kept, in order.
fn schedules_go_forward(state: &State, applied: u64) -> Result<(), String> {
    for (name, schedule) in state.schedules() {
        if schedule.over_ms > state.now_ms() || schedule.made_at_ms > schedule.over_ms {
            return Err(format!("schedule {name} is ahead of the log's clock, or behind itself"));
        }
        let instants: Vec<u64> = schedule.runs.iter().map(|run| run.occurrence.at_ms).collect();
        let in_order = instants.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if !in_order || instants.len() > RUNS_KEPT_MAX || instants.last().is_some_and(|at| *at > schedule.over_ms) {
            return Err(format!("schedule {name} has runs out of order, or too many: {instants:?}"));
        }
        if schedule.last_job.is_some_and(|job| job.0 > applied) {
            return Err(format!("schedule {name} names a job above the log, which ends at {applied}"));
        }
    }
    Ok(())
}

/// What is done and given up, by ranges, is what the job's row counts.
fn ranges_are_counted(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let (mut done, mut dead) = (0u64, 0u64);
    for (partition, part) in (0u32..).zip(&job.partitions) {
        partition_is_parted(state, id, partition, part.target_count)?;
        let progress = state.progress(id, partition).ok_or_else(|| format!("{id}:{partition} has no progress"))?;
        done += progress.done.total();
        dead += progress.dead.total();
        let tried = progress.free.values().map(|free| free.attempts);
        let tried = tried.chain(leases_of(state, id, partition).map(|lease| lease.attempts)).max().unwrap_or(0);
        if tried >= job.limits.max_attempts {
            return Err(format!(
                "{id}:{partition} goes on after {tried} tries, {} are allowed",
                job.limits.max_attempts
            ));
        }
    }
    if (done, dead) == (job.done, job.dead) {
        Ok(())
    } else {
        Err(format!("{id} counts {}+{} but its ranges hold {done}+{dead}", job.done, job.dead))
    }
}

fn leases_of(state: &State, id: JobId, partition: u32) -> impl Iterator<Item = &Lease> + '_ {
    state.job_leases(id).filter(move |(unit, _)| unit.partition == partition).map(|(_, lease)| lease)
}

fn partition_is_parted(state: &State, job: JobId, partition: u32, target_count: u64) -> Result<(), String> {
    let progress = state.progress(job, partition).ok_or_else(|| format!("{job}:{partition} has no progress"))?;
    let leased = leases_of(state, job, partition);
    let mut ranges: Vec<(Range<u64>, &str)> = leased.map(|lease| (lease.start..lease.end, "leased")).collect();
    ranges.extend(progress.done.iter().map(|range| (range, "done")));
    ranges.extend(progress.dead.iter().map(|range| (range, "dead")));
    ranges.extend(progress.free.iter().map(|(start, free)| (*start..free.end, "free")));
    ranges.sort_by_key(|(range, _)| range.start);
    let mut reached = 0;
    for (range, what) in ranges {
        if range.start != reached || range.end <= range.start {
            return Err(format!("{job}:{partition}: the {what} range {range:?} follows {reached}"));
        }
        reached = range.end;
    }
    if reached != progress.next || progress.next > target_count {
        return Err(format!("{job}:{partition}: ranges reach {reached}, next is {}, of {target_count}", progress.next));
    }
    Ok(())
}

/// Chunks are disjoint, lie in what is done, have holders, and add up to the job's sums.
fn chunks_cover_what_is_done(state: &State, id: JobId, job: &Job, applied: u64) -> Result<(), String> {
    let mut reached: Option<(u32, u64)> = None;
    let (mut total, mut units) = (0u64, 0u64);
    let mut counts = Counts::default();
    for (unit, chunk) in state.job_chunks(id) {
        let place = format!("{id}: the chunk of {}:{}", unit.partition, unit.start);
        if reached.is_some_and(|(partition, end)| partition == unit.partition && end > unit.start) {
            return Err(format!("{place} holds what another holds"));
        }
        let done = state.progress(id, unit.partition).is_some_and(|part| part.done.covers(&(unit.start..chunk.end)));
        if !done || chunk.end <= unit.start {
            return Err(format!("{place} is of a range that is not done"));
        }
        if chunk.stored.holders.is_empty() {
            return Err(format!("{place} has no holder"));
        }
        if chunk.epoch > applied {
            return Err(format!("{place} has an epoch above the log"));
        }
        total += chunk.end - unit.start;
        units += 1;
        counts.add(&chunk.counts);
        reached = Some((unit.partition, chunk.end));
    }
    let by_worker =
        state.job_workers(id).fold((0u64, 0u64), |sum, (_, stat)| (sum.0 + stat.targets, sum.1 + stat.units));
    let (targets, theirs) = by_worker;
    // What a worker has is what it probed; remarks say how much it did not, and a chunk may say more than it has.
    let not_probed = state.job_remarks(id).map_or(0, crate::state::Remarks::not_probed_total);
    let is_theirs = targets <= total && targets.saturating_add(not_probed) >= total && theirs == units;
    if total != job.done || !is_theirs {
        return Err(format!(
            "{id}: {units} chunks hold {total} targets, {} are done, by {targets} targets in {theirs} units of workers",
            job.done
        ));
    }
    if counts == job.counts { Ok(()) } else { Err(format!("{id}: its counts are not the sums over its chunks")) }
}

fn status_says_what_is_counted(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let over = job.done + job.dead == job.targets();
    let is_remarked = state.job_remarks(id).is_some_and(|remarks| remarks.not_probed_total() > 0);
    let right = match job.status {
        JobStatus::Queued => job.started_at_ms.is_none() && job.done + job.dead == 0,
        JobStatus::Running => job.started_at_ms.is_some() && !over,
        JobStatus::Completed => over && job.dead == 0 && !is_remarked,
        JobStatus::Partial => over && (job.dead > 0 || is_remarked) && job.done > 0,
        JobStatus::Failed => over && job.done == 0,
        JobStatus::Cancelled | JobStatus::Paused | JobStatus::Carried => !over,
    };
    if !right {
        let status = job.status.name();
        return Err(format!("{id} is {status} with {}+{} of {} targets", job.done, job.dead, job.targets()));
    }
    if job.is_open() == job.finished_at_ms.is_some() {
        return Err(format!("{id} is {} but its time of ending is {:?}", job.status.name(), job.finished_at_ms));
    }
    if !job.wants_work() && state.job_leases(id).next().is_some() {
        let what = if job.is_open() { "is held" } else { "has ended" };
        return Err(format!("{id} {what} and still has leases"));
    }
    if state.spec(id).is_none() {
        return Err(format!("{id} has no spec"));
    }
    Ok(())
}

/// The budget, the number of workers.
fn limits_hold(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let shares = shares_of(state.job_leases(id).map(|(_, lease)| lease));
    if let Some(limit) = job.limits.max_workers
        && shares.len() > limit as usize
    {
        return Err(format!("{id}: {} workers are on it, {limit} may be", shares.len()));
    }
    network_budget_holds(state, id, job)?;
    let Some(budget_pps) = job.limits.budget_pps else { return Ok(()) };
    let sum: u128 = shares.values().map(|share| u128::from(*share)).sum();
    if shares.values().any(|share| *share == 0) {
        return Err(format!("{id}: a lease without a share of its budget of {budget_pps} pps"));
    }
    let held = sum <= u128::from(budget_pps);
    if held { Ok(()) } else { Err(format!("{id}: shares of {sum} pps exceed {budget_pps}")) }
}

/// What all leases together may send into one network.
fn network_budget_holds(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let Some(network_pps) = job.limits.network_pps else { return Ok(()) };
    let shares = || state.job_leases(id).map(|(_, lease)| lease.share.network_pps.unwrap_or(0));
    if shares().any(|share| share == 0) {
        return Err(format!("{id}: a lease without a share of its {network_pps} pps per network"));
    }
    let sum: u128 = shares().map(u128::from).sum();
    let held = sum <= u128::from(network_pps);
    if held { Ok(()) } else { Err(format!("{id}: shares of {sum} pps per network exceed {network_pps}")) }
}

/// Events come in the order of the log, and their times never run backwards or ahead of the log's clock.
fn history_is_in_order(state: &State, id: JobId, job: &Job, applied: u64) -> Result<(), String> {
    let mut before = job.submitted_at_ms;
    let mut lines = 0;
    for (index, event) in state.job_events(id, 0) {
        lines += 1;
        if index > applied || event.at_ms < before || event.at_ms > state.now_ms() {
            return Err(format!("{id}: the event at {index} has time {} after {before}", event.at_ms));
        }
        before = event.at_ms;
    }
    if lines == job.events { Ok(()) } else { Err(format!("{id}: {lines} events, its row counts {}", job.events)) }
}

/// What was tried in vain is disjoint, and neither counted nor given up nor never tried.
fn retries_are_of_what_is_left(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let mut reached: Option<(u32, u64)> = None;
    for (unit, retry) in state.job_retries(id) {
        let place = format!("{id}: the retry of {}:{}", unit.partition, unit.start);
        if !job.is_open() {
            return Err(format!("{place} outlives the end of its job"));
        }
        if reached.is_some_and(|(partition, end)| partition == unit.partition && end > unit.start) {
            return Err(format!("{place} holds what another holds"));
        }
        let Some(part) = state.progress(id, unit.partition) else { return Err(format!("{place} has no partition")) };
        let range = unit.start..retry.end;
        let is_settled = part.done.overlaps(&range) || part.dead.overlaps(&range);
        if is_settled || range.end <= range.start || range.end > part.next {
            return Err(format!("{place} up to {} is not of what is left", retry.end));
        }
        reached = Some((unit.partition, retry.end));
    }
    Ok(())
}

fn leases_stand(state: &State, applied: u64) -> Result<(), String> {
    let mut held: BTreeMap<u64, usize> = BTreeMap::new();
    for (unit, lease) in state.leases() {
        if lease.epoch > applied {
            return Err(format!("a lease of {} has an epoch above the log", unit.job));
        }
        if lease.start < unit.start || (lease.start > unit.start && !counted_up_to(state, unit, lease)) {
            return Err(format!("a lease of {} goes on at {} behind what is not counted", unit.job, lease.start));
        }
        if state.node(lease.node).is_none() {
            return Err(format!("a lease of {} is held by node {}, who is not there", unit.job, lease.node));
        }
        if state.node(lease.node).is_some_and(|node| node.status.is_gone()) {
            return Err(format!("a lease of {} is held by node {}, who has failed", unit.job, lease.node));
        }
        *held.entry(lease.node).or_default() += 1;
    }
    match held.iter().find(|(_, count)| **count > LEASES_PER_NODE_MAX) {
        Some((node, count)) => Err(format!("node {node} holds {count} leases, {LEASES_PER_NODE_MAX} are allowed")),
        None => Ok(()),
    }
}

/// Whether what a lease has left behind is done.
fn counted_up_to(state: &State, unit: UnitKey, lease: &Lease) -> bool {
    state.progress(unit.job, unit.partition).is_some_and(|part| part.done.covers(&(unit.start..lease.start)))
}

/// Every row that is a job's, in whatever table, is of a job and a partition that are there.
fn no_row_outlives_its_job(state: &State) -> Result<(), String> {
    let mut outliving = None;
    state.for_each_owner(|table, owner| {
        let partitions = state.job(owner.job).map(|job| job.partitions.len());
        let part_is_there = |parts: usize| {
            owner.partition.is_none_or(|partition| usize::try_from(partition).is_ok_and(|at| at < parts))
        };
        if !partitions.is_some_and(part_is_there) {
            outliving.get_or_insert((table, owner));
        }
    });
    match outliving {
        Some((table, Owner { job, partition: None })) => Err(format!("a row of {table} outlives its job {job}")),
        Some((table, Owner { job, partition: Some(part) })) => {
            Err(format!("a row of {table} outlives partition {part} of {job}"))
        }
        None => Ok(()),
    }
}

/// What holds of a node is what its policy leaves of what it says, and nothing is said of a node that is gone.
fn nodes_keep_to_their_policy(state: &State, applied: u64) -> Result<(), String> {
    for (id, standing) in state.standings() {
        let node = state.node(id).ok_or_else(|| format!("node {id} has a standing and is not in the cluster"))?;
        let mut holds = standing.policy.narrow(&standing.says);
        if state.log_place(id).is_some() {
            holds.role = NodeRole::Scanner;
        }
        if holds != node.info {
            return Err(format!("node {id} is more than its policy lets it be, or less than it says"));
        }
    }
    for (id, place) in state.log_places() {
        if state.node(id).is_none_or(NodeRecord::may_vote) || place.since > applied {
            return Err(format!("node {id} holds as a member, or is gone, while it gives up its log"));
        }
    }
    Ok(())
}

fn nodes_are_told_apart(state: &State, applied: u64) -> Result<(), String> {
    let (mut peers, mut workers) = (BTreeSet::new(), BTreeSet::new());
    for (id, node) in state.nodes() {
        if id > applied {
            return Err(format!("node {id} is above the log, which ends at {applied}"));
        }
        if !peers.insert(node.info.peer.as_str()) || !workers.insert(node.worker_id()) {
            return Err(format!("node {id} has the peer or the worker id of another"));
        }
        if node.draining != (node.status == NodeStatus::Draining)
            && !(node.draining && (node.status == NodeStatus::Stale || node.status.is_gone()))
        {
            return Err(format!("node {id} is {:?} while draining is {}", node.status, node.draining));
        }
    }
    Ok(())
}
