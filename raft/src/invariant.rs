//! What must hold in every state, checked after every step of tests and simulations.
//!
//! The central law: for each partition, what is done, given up, free again or out under a lease parts `[0, next)` into
//! disjoint ranges, and nothing else is in it. From it follows that every target is counted exactly once when a job
//! completes.

use crate::command::UnitKey;
use crate::id::JobId;
use crate::state::{Job, State};
use std::ops::Range;

/// Checks every law on `state`, whose last applied entry is `applied`.
///
/// # Errors
/// One sentence naming the first law that does not hold and where.
pub fn check(state: &State, applied: u64) -> Result<(), String> {
    for (id, job) in state.jobs() {
        let mut done = 0u64;
        let mut dead = 0u64;
        for (partition, part) in (0u32..).zip(&job.partitions) {
            partition_is_parted(state, id, partition, part.target_count)?;
            let progress = state.progress(id, partition).ok_or_else(|| format!("{id}:{partition} has no progress"))?;
            done += progress.done.total();
            dead += progress.dead.total();
        }
        if (done, dead) != (job.done, job.dead) {
            return Err(format!("{id} counts {}+{} but its ranges hold {done}+{dead}", job.done, job.dead));
        }
        chunks_cover_what_is_done(state, id, job)?;
        budget_holds(state, id, job)?;
        if !job.is_open() && state.job_leases(id).next().is_some() {
            return Err(format!("{id} has ended and still has leases"));
        }
        let over = done + dead == job.targets();
        if over && job.is_open() {
            return Err(format!("every target of {id} is counted but it is open"));
        }
    }
    for (unit, lease) in state.leases() {
        if state.job(unit.job).is_none() {
            return Err(format!("a lease of {} outlives its job", unit.job));
        }
        if lease.epoch > applied {
            return Err(format!("a lease of {} has an epoch above the log", unit.job));
        }
        if state.node(lease.node).is_none() {
            return Err(format!("a lease of {} is held by node {}, who is not there", unit.job, lease.node));
        }
    }
    Ok(())
}

fn partition_is_parted(state: &State, job: JobId, partition: u32, target_count: u64) -> Result<(), String> {
    let progress = state.progress(job, partition).ok_or_else(|| format!("{job}:{partition} has no progress"))?;
    let leased = state.job_leases(job).filter(|(unit, _)| unit.partition == partition);
    let mut ranges: Vec<(Range<u64>, &str)> = leased.map(|(unit, lease)| (unit.start..lease.end, "leased")).collect();
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

fn chunks_cover_what_is_done(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let mut reached: Option<(UnitKey, u64)> = None;
    let mut total = 0u64;
    for (unit, chunk) in state.job_chunks(id) {
        if let Some((last, end)) = reached
            && last.partition == unit.partition
            && end > unit.start
        {
            return Err(format!("{id}: two chunks hold target {}:{}", unit.partition, unit.start));
        }
        if chunk.holders.is_empty() {
            return Err(format!("{id}: the chunk of {}:{} has no holder", unit.partition, unit.start));
        }
        total += chunk.end - unit.start;
        reached = Some((unit, chunk.end));
    }
    if total == job.done { Ok(()) } else { Err(format!("{id}: chunks hold {total} targets, {} are done", job.done)) }
}

fn budget_holds(state: &State, id: JobId, job: &Job) -> Result<(), String> {
    let Some(budget_pps) = job.budget_pps else { return Ok(()) };
    let shares = crate::state::shares_of(state.job_leases(id).map(|(_, lease)| (lease.node, lease.rate_pps)));
    let sum: u64 = shares.values().sum();
    if sum <= budget_pps { Ok(()) } else { Err(format!("{id}: shares of {sum} pps exceed {budget_pps}")) }
}
