//! What must hold at every moment of a simulation, whatever goes wrong in it.
//!
//! Every entry that a node applies is seen here with what came of it, and a book is kept apart from the state that it changes:
//! what was granted, what was counted, who led. The first thing that does not hold is kept, and ends the run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pentora_raft::command::{Command, Completion, Proposal, UnitKey};
use pentora_raft::state::{Job, Lease};
use pentora_raft::{Digest, Epoch, JobId, NodeId, Response, State, invariant};

use super::TOO_NEW;

/// What was seen so far. One for all nodes of a simulation.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Book>);

/// A part of a job that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) end: u64,
    epoch: Epoch,
    pub(super) digest: Digest,
}

#[derive(Debug, Default)]
struct Book {
    /// The digest of each entry, and of what came of it, as it was applied first.
    entries: BTreeMap<u64, (Digest, Digest)>,
    /// Leases by job and partition, in the order of their grants.
    grants: BTreeMap<(JobId, u32), Vec<(UnitKey, Lease)>>,
    counted: BTreeMap<UnitKey, Counted>,
    /// Chunks that were counted since they were asked for last, with who is to hold them.
    stored: Vec<(Digest, Vec<NodeId>)>,
    /// Who led in each term.
    leaders: BTreeMap<u64, NodeId>,
    /// The last term in which each node led.
    terms: BTreeMap<NodeId, u64>,
    ended: BTreeMap<JobId, Job>,
    /// Jobs whose submission was acknowledged, with the entry.
    acknowledged: BTreeMap<JobId, u64>,
    /// What does not hold.
    broken: Option<String>,
    /// All that happened, in order.
    trace: Vec<u8>,
}

impl Checks {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not hold, if anything.
    pub(super) fn broken(&self) -> Result<(), String> {
        self.lock().broken.clone().map_or(Ok(()), Err)
    }

    /// Notes that something does not hold.
    pub(super) fn breaks(&self, what: String) {
        self.lock().broken.get_or_insert(what);
    }

    /// Adds a line to what happened.
    pub(super) fn happens(&self, what: &str) {
        let mut book = self.lock();
        book.trace.extend(what.as_bytes());
        book.trace.push(b'\n');
    }

    /// What happened, in short.
    pub(super) fn trace(&self) -> Digest {
        Digest::of(&self.lock().trace)
    }

    /// How much was done: entries, and parts counted.
    pub(super) fn figures(&self) -> (usize, usize) {
        let book = self.lock();
        (book.entries.len(), book.counted.len())
    }

    /// A submission was acknowledged.
    pub(super) fn acknowledged(&self, job: JobId, index: u64) {
        self.lock().acknowledged.insert(job, index);
    }

    /// A node leads in a term: nobody else ever does in that one, and its own terms only grow, whatever it has forgotten.
    pub(super) fn leads(&self, node: NodeId, term: u64) {
        let mut book = self.lock();
        let other = *book.leaders.entry(term).or_insert(node);
        if other != node {
            book.broken.get_or_insert(format!("nodes {other} and {node} lead in term {term}"));
        }
        let before = book.terms.insert(node, term).unwrap_or(0);
        if before > term {
            book.broken.get_or_insert(format!("node {node} leads in term {term} and did in term {before}"));
        }
    }

    /// A lease of `unit` from before the one under `epoch`.
    pub(super) fn lease_before(&self, unit: UnitKey, epoch: Epoch) -> Option<Lease> {
        let book = self.lock();
        let grants = book.grants.get(&(unit.job, unit.partition))?;
        let before = grants.iter().rev().find(|(of, grant)| *of == unit && grant.epoch < epoch);
        before.map(|(_, grant)| grant.clone())
    }

    /// The chunks that were counted since the last call.
    pub(super) fn take_stored(&self) -> Vec<(Digest, Vec<NodeId>)> {
        std::mem::take(&mut self.lock().stored)
    }

    /// All that was counted.
    pub(super) fn counted(&self) -> Vec<(UnitKey, Counted)> {
        self.lock().counted.iter().map(|(unit, counted)| (*unit, counted.clone())).collect()
    }

    /// A node applied an entry.
    pub(super) fn applied(&self, node: NodeId, index: u64, proposal: &Proposal, response: &Response, state: &State) {
        let digests = [format!("{proposal:?}"), format!("{response:?}")].map(|text| Digest::of(text.as_bytes()));
        let mut book = self.lock();
        let book = &mut *book;
        match book.entries.get(&index) {
            Some((entry, _)) if *entry != digests[0] => {
                let what = format!("entry {index} is another one on node {node} than it was: {:?}", proposal.command);
                book.broken.get_or_insert(what);
            }
            Some((_, answer)) if *answer != digests[1] => {
                book.broken.get_or_insert(format!("entry {index} came to something else on node {node}: {response:?}"));
            }
            Some(_) => {}
            None => {
                book.entries.insert(index, (digests[0], digests[1]));
                book.trace.extend(index.to_be_bytes());
                book.trace.extend(digests[0].0);
                let held = book.take_in(index, proposal, response, state);
                let held = held.and_then(|()| invariant::check(state, index).map_err(|error| error.to_string()));
                if let Err(why) = held {
                    let what = format!("at entry {index}, {}: {why}", proposal.command.name());
                    book.broken.get_or_insert(what);
                }
            }
        }
    }

    /// Looks at the whole of a node's state, as of `applied`.
    pub(super) fn look(&self, node: NodeId, applied: u64, state: &State) {
        let mut book = self.lock();
        let lost = book.acknowledged.iter().find(|(job, index)| **index <= applied && state.job(**job).is_none());
        if let Some((job, _)) = lost {
            let what = format!("{job} was accepted, and node {node} does not know it");
            book.broken.get_or_insert(what);
        }
        for (id, job) in state.jobs().filter(|(_, job)| !job.is_open()) {
            let first = book.ended.entry(id).or_insert_with(|| job.clone()).clone();
            if first != *job {
                book.broken.get_or_insert(format!("{id} has ended and changed on node {node}: {first:?}, now {job:?}"));
            }
        }
    }
}

impl Book {
    fn take_in(&mut self, index: u64, proposal: &Proposal, response: &Response, state: &State) -> Result<(), String> {
        match (&proposal.command, response) {
            (_, Response::Granted { leases }) => {
                for (unit, lease) in leases {
                    if lease.epoch != index {
                        return Err(format!("a lease has epoch {}", lease.epoch));
                    }
                    may_have(state, *unit, lease)?;
                    self.grants.entry((unit.job, unit.partition)).or_default().push((*unit, lease.clone()));
                }
                Ok(())
            }
            (Command::Complete { completions }, Response::Completed { accepted }) => {
                let counted = completions.iter().zip(accepted).filter(|(_, accepted)| **accepted);
                counted.map(|(completion, _)| completion).try_for_each(|completion| self.count(completion))
            }
            (
                Command::CompleteWith { completion, .. } | Command::CompleteMeasured { completion, .. },
                Response::Completed { accepted },
            ) if *accepted == [true] => self.count(completion),
            _ => Ok(()),
        }
    }

    /// Holds a completion that was accepted against what was granted and counted before.
    fn count(&mut self, completion: &Completion) -> Result<(), String> {
        let Completion { lease, start, end, node, stored, .. } = completion;
        let part = UnitKey { start: *start, ..lease.unit };
        let new = Counted { end: *end, epoch: lease.epoch, digest: stored.digest };
        if self.counted.get(&part) == Some(&new) {
            // The same once more, whose first answer was lost.
            return Ok(());
        }
        let overlaps = |(at, counted): &(&UnitKey, &Counted)| {
            (at.job, at.partition) == (part.job, part.partition) && at.start < *end && *start < counted.end
        };
        if let Some((at, counted)) = self.counted.iter().find(overlaps) {
            return Err(format!("{part:?} to {end} is counted twice: {at:?} to {} was before", counted.end));
        }
        let grants = self.grants.get(&(part.job, part.partition));
        let overlapping = grants.into_iter().flatten().filter(|(unit, grant)| unit.start < *end && *start < grant.end);
        let Some((_, latest)) = overlapping.max_by_key(|(_, grant)| grant.epoch) else {
            return Err(format!("{part:?} was counted and never granted"));
        };
        if latest.epoch != lease.epoch || latest.node != *node {
            return Err(format!(
                "{part:?} was counted for node {node} under epoch {}, and node {} had it under {}",
                lease.epoch, latest.node, latest.epoch
            ));
        }
        self.counted.insert(part, new);
        self.stored.push((stored.digest, stored.holders.clone()));
        Ok(())
    }
}

/// Whether a worker may have a lease at all.
fn may_have(state: &State, unit: UnitKey, lease: &Lease) -> Result<(), String> {
    let node = state.node(lease.node).ok_or_else(|| format!("a lease of node {}, who is not there", lease.node))?;
    let partition = usize::try_from(unit.partition).ok().and_then(|at| state.job(unit.job)?.partitions.get(at));
    let required = &partition.ok_or("a lease of nothing")?.needs.required_tags;
    let lacks = required.iter().find(|tag| !node.info.tags.contains(tag));
    if let Some(tag) = lacks {
        return Err(format!("node {} has a lease of work for nodes with {tag}", lease.node));
    }
    let is_other = node.info.version == TOO_NEW;
    if is_other { Err(format!("node {} runs {TOO_NEW} and has a lease", lease.node)) } else { Ok(()) }
}
