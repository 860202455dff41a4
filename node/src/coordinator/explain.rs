//! Who may take a part of a job, and for each other the reason why not: what `plan` decides, told by the log alone, so
//! that every node gives the same answer. Pure.

use pentora_raft::state::{Job, JobStatus, Needs, NodeRecord, Priority, Retry, Settings};
use pentora_raft::{JobId, NodeId, State};

use super::{VERSION, placement};

/// Who may take a part, and why the others may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// Those that may.
    pub eligible: Vec<NodeId>,
    /// Each other, with its reason.
    pub refused: Vec<(NodeId, String)>,
    /// Of these, those that may once they have room.
    pub busy: Vec<NodeId>,
}

/// How a partition of a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who may take it.
    pub placed: Placed,
    /// Targets that are counted.
    pub done: u64,
    /// Targets that were given up.
    pub dead: u64,
    /// Targets that are out.
    pub out: u64,
    /// Targets that rest after a try in vain.
    pub resting: u64,
    /// What holds the rest up beside the nodes, if anything does.
    pub held_up: Option<String>,
}

/// Who may take work with these needs now.
#[must_use]
pub fn placed(state: &State, needs: &Needs, priority: Priority, settings: &Settings, now_ms: u64) -> Placed {
    let (mut placed, unkept) = (Placed::default(), placement::unkept(state, needs));
    for (id, record) in state.nodes() {
        let refusal = placement::refused(state, id, record, needs, VERSION)
            .or_else(|| unkept.clone())
            .or_else(|| placement::set_aside(state.health(id), now_ms));
        let full = if refusal.is_none() { no_room(state, id, priority, settings) } else { None };
        placed.busy.extend(full.as_ref().map(|_| id));
        match refusal.or(full) {
            None => placed.eligible.push(id),
            Some(reason) => placed.refused.push((id, reason)),
        }
    }
    placed
}

/// A carried job is no node's.
fn nobody(state: &State) -> Placed {
    let why = |(id, _): (NodeId, &NodeRecord)| (id, "the work is carried to workers without a network".to_owned());
    Placed { refused: state.nodes().map(why).collect(), ..Placed::default() }
}

/// Why `node` has no room for another lease, or `None` where it has.
fn no_room(state: &State, node: NodeId, priority: Priority, settings: &Settings) -> Option<String> {
    let (urgent, other) = placement::rooms(state.node(node)?, settings.max_load_thousandths);
    let held = state.leases().filter(|(_, lease)| lease.node == node).count();
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    if held >= urgent {
        return Some(format!("it has no room: it holds {held} of {urgent} leases"));
    }
    (priority > Priority::High && held >= other)
        .then(|| format!("it holds {held} of {urgent} leases, and keeps the rest for urgent work"))
}

/// How the partition `index` of a job stands; `None` where there is no such.
#[must_use]
pub fn standing(state: &State, id: JobId, index: u32, settings: &Settings, now_ms: u64) -> Option<Standing> {
    let job = state.job(id)?;
    let part = job.partitions.get(usize::try_from(index).ok()?)?;
    let progress = state.progress(id, index)?;
    let leases = state.job_leases(id).filter(|(unit, _)| unit.partition == index);
    let resting: Vec<(u64, &Retry)> = state
        .job_retries(id)
        .filter(|(unit, retry)| unit.partition == index && retry.not_before_ms.is_none_or(|at| at > now_ms))
        .map(|(unit, retry)| (retry.end - unit.start, retry))
        .collect();
    Some(Standing {
        placed: if job.status == JobStatus::Carried {
            nobody(state)
        } else {
            placed(state, &part.needs, job.priority, settings, now_ms)
        },
        done: progress.done.total(),
        dead: progress.dead.total(),
        out: leases.map(|(_, lease)| lease.end - lease.start).sum(),
        resting: resting.iter().map(|(targets, _)| targets).sum(),
        held_up: held_up(state, id, job, index, now_ms),
    })
}

/// What holds a job up beside the nodes.
fn held_up(state: &State, id: JobId, job: &Job, index: u32, now_ms: u64) -> Option<String> {
    if !job.wants_work() {
        return Some(match state.hold(id) {
            Some(why) => format!("policy holds the job: {why}"),
            None => format!("the job is {}", job.status.name()),
        });
    }
    let at_work = state.workers_on(id);
    if let Some(limit) = job.limits.max_workers.filter(|limit| at_work.len() >= *limit as usize) {
        return Some(format!("{} of {limit} workers that may are on it", at_work.len()));
    }
    let mut waiting = state.job_retries(id).filter(|(unit, _)| unit.partition == index);
    if let Some((_, only)) = waiting.find_map(|(unit, retry)| Some((unit, retry.only?))) {
        let worker = state.node(only).map_or_else(|| format!("node {only}"), |record| record.worker_id());
        return Some(format!("units of {worker}, which failed, wait until it is back"));
    }
    let next = state.job_retries(id).filter(|(unit, _)| unit.partition == index);
    let next = next.filter_map(|(_, retry)| retry.not_before_ms.filter(|at| *at > now_ms)).min()?;
    Some(format!("what failed is tried again in {} s", next.saturating_sub(now_ms).div_ceil(1000)))
}
