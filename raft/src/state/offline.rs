//! Work that leaves the mesh on a medium: jobs whose orders are carried out, the workers that do them, and their results.
//!
//! A carried job is leased to nobody. What comes back is counted as a worker's completion would be, each target once; the
//! fence is not an epoch but what is counted already. Who may sign results is a row of its own, because such a worker is no
//! node: it is never heard, holds nothing, and does not vote.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::State;
use super::jobs::{ChunkRef, JobStatus, Progress};
use crate::command::{Imported, ImportedUnit, Refusal, Response, Submission, UnitRange};
use crate::event::EventKind;
use crate::id::{JobId, NodeId, is_node_name, worker_id};
use crate::interval::IntervalSet;

/// How many workers without a network a cluster may know. Ours: bounds the state.
const OFFLINE_WORKERS_MAX: usize = 10_000;
/// How many separate ranges of bundle numbers are remembered of one worker; more gaps than that are not told apart. Ours.
const BUNDLE_RANGES_MAX: usize = 1_000;

/// How many low bits of a number that is kept are a bundle's own number; those above name the numbering that it is of. So
/// what releases without numberings kept is of numbering 0.
const NUMBER_BITS: u32 = 24;
/// The highest number that a bundle may have. Ours: one a minute for thirty years.
pub const BUNDLE_NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;
/// The highest name of a numbering.
pub const NUMBERING_MAX: u64 = (1 << (u64::BITS - NUMBER_BITS)) - 2;

/// The number under which bundle `number` of a numbering is kept.
#[must_use]
pub const fn kept_number(numbering: u64, number: u64) -> u64 {
    (if numbering > NUMBERING_MAX { NUMBERING_MAX } else { numbering }) << NUMBER_BITS
        | (if number > BUNDLE_NUMBER_MAX { BUNDLE_NUMBER_MAX } else { number })
}

/// A worker without a network whose results may be carried in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineWorker {
    /// What people call it; no node and no other worker has the same.
    pub name: String,
    /// The key that it signs with, as the mesh writes peers.
    pub peer: String,
    /// When it was let in, unix milliseconds of the log's clock.
    pub since_ms: u64,
    /// When something of it was carried in last; 0 for never.
    pub imported_at_ms: u64,
    /// The numbers of its bundles that were carried in, each as [`kept_number`].
    pub bundles: IntervalSet,
    /// The highest such number that any bundle of it told of.
    pub last: u64,
}

impl OfflineWorker {
    /// The id under which it scans.
    #[must_use]
    pub fn worker_id(&self) -> String {
        worker_id(&self.name)
    }

    /// The number of the last bundle that is known, in the latest numbering.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.last & BUNDLE_NUMBER_MAX
    }

    /// The latest numbering: a worker that lost its results begins one, and its name is higher.
    #[must_use]
    pub fn numbering(&self) -> u64 {
        self.last >> NUMBER_BITS
    }

    /// The numbers that were carried in, for each numbering.
    #[must_use]
    pub fn arrived(&self) -> BTreeMap<u64, Vec<Range<u64>>> {
        let mut arrived: BTreeMap<u64, Vec<Range<u64>>> = BTreeMap::new();
        for range in self.bundles.iter() {
            let (numbering, start) = (range.start >> NUMBER_BITS, range.start & BUNDLE_NUMBER_MAX);
            // A range that a release without a bound took in ends with its numbering.
            let end = (range.end - range.start).saturating_add(start).min(BUNDLE_NUMBER_MAX + 1);
            arrived.entry(numbering).or_default().push(start..end);
        }
        arrived
    }

    /// The numbers of bundles that it wrote and nobody carried in, as far as is known, each with its numbering.
    #[must_use]
    pub fn missing(&self) -> Vec<(u64, Range<u64>)> {
        let mut arrived = self.arrived();
        let told = self.last_number() + 1;
        arrived.entry(self.numbering()).or_default().push(told..told);
        let mut missing = Vec::new();
        for (numbering, ranges) in arrived {
            let mut reached = 1;
            for range in ranges {
                if reached < range.start {
                    missing.push((numbering, reached..range.start));
                }
                reached = reached.max(range.end);
            }
        }
        missing
    }
}

impl State {
    /// The workers without a network whose results may be carried in.
    pub fn offline_workers(&self) -> impl Iterator<Item = (NodeId, &OfflineWorker)> {
        self.offline.iter().map(|(id, worker)| (*id, worker))
    }

    /// The id under which `node` scans, be it a node or a worker without a network.
    #[must_use]
    pub fn worker_id(&self, node: NodeId) -> String {
        let node_of = self.nodes.get(&node).map(super::NodeRecord::worker_id);
        let offline = || self.offline.get(&node).map(OfflineWorker::worker_id);
        node_of.or_else(offline).unwrap_or_else(|| format!("node {node}"))
    }

    /// Accepts a job whose work is carried to a worker without a network: no lease is ever made for it.
    pub(super) fn carry(&mut self, index: u64, submission: &Submission) -> Result<Response, Refusal> {
        if !submission.finished.is_empty() {
            return Err(Refusal::Malformed { what: "a carried job begins with nothing finished".into() });
        }
        let response = self.submit(index, submission)?;
        if let Response::Submitted { job, existing: false } = response
            && let Some(record) = self.jobs.get_mut(&job)
        {
            record.status = JobStatus::Carried;
        }
        Ok(response)
    }

    /// Lets results of the worker with this key in under a name, or, without one, no more.
    pub(super) fn set_offline(&mut self, index: u64, peer: &str, name: Option<&str>) -> Result<Response, Refusal> {
        let known = self.offline_workers().find(|(_, worker)| worker.peer == peer).map(|(id, _)| id);
        let Some(name) = name else {
            if let Some(id) = known {
                self.offline.remove(&id);
            }
            return Ok(Response::Done);
        };
        if let Some(id) = known.filter(|id| self.offline.get(id).is_some_and(|worker| worker.name == name)) {
            return Ok(Response::Joined { node: id });
        }
        if !is_node_name(name) || self.nodes.iter().any(|(_, node)| node.info.peer == peer) {
            return Err(Refusal::Malformed { what: "the name is none, or the key is a node's".into() });
        }
        let wanted = worker_id(name);
        let is_taken = self.nodes.iter().any(|(_, node)| node.worker_id() == wanted)
            || self.offline_workers().any(|(id, worker)| Some(id) != known && worker.worker_id() == wanted);
        if is_taken {
            return Err(Refusal::NameTaken { name: name.to_owned() });
        }
        if let Some(id) = known {
            if let Some(worker) = self.offline.get_mut(&id) {
                name.clone_into(&mut worker.name);
            }
            return Ok(Response::Joined { node: id });
        }
        if self.offline.len() >= OFFLINE_WORKERS_MAX {
            return Err(Refusal::Malformed {
                what: format!("more than {OFFLINE_WORKERS_MAX} workers without a network"),
            });
        }
        let (name, peer) = (name.to_owned(), peer.to_owned());
        let since_ms = self.now_ms();
        let bundles = IntervalSet::default();
        self.offline.insert(index, OfflineWorker { name, peer, since_ms, imported_at_ms: 0, bundles, last: 0 });
        Ok(Response::Joined { node: index })
    }

    /// Whether the key is that of a worker without a network, or the name one's: neither may be a node's as well.
    pub(super) fn is_offline_worker(&self, peer: &str, name: &str) -> bool {
        let wanted = worker_id(name);
        self.offline_workers().any(|(_, worker)| worker.peer == peer || worker.worker_id() == wanted)
    }

    /// Counts those of the units that are not counted yet.
    pub(super) fn import(&mut self, index: u64, imported: &Imported) -> Result<Response, Refusal> {
        let Imported { worker, job, ref units } = *imported;
        if self.offline.get(&worker).is_none() {
            return Err(Refusal::NodeUnknown { node: worker });
        }
        if self.jobs.get(&job).is_none() {
            return Err(Refusal::JobUnknown { job });
        }
        let accepted = units.iter().map(|unit| self.import_one(index, worker, job, unit)).collect();
        self.finish_if_over(index, job);
        Ok(Response::Completed { accepted })
    }

    fn import_one(&mut self, index: u64, worker: NodeId, job: JobId, imported: &ImportedUnit) -> bool {
        let UnitRange { partition, start, end } = imported.finished.unit;
        let (stored, counts) = (&imported.finished.stored, imported.finished.counts);
        let key = imported.finished.unit.of(job);
        let same = |chunk: &ChunkRef| chunk.end == end && chunk.stored.digest == stored.digest;
        if self.chunks.get(&key).is_some_and(same) {
            return true;
        }
        let now_ms = self.now_ms();
        let Some(record) = self.jobs.get(&job).filter(|record| record.status == JobStatus::Carried) else {
            return false;
        };
        let part = usize::try_from(partition).ok().and_then(|at| record.partitions.get(at));
        let fits = part.is_some_and(|part| start < end && end <= part.target_count);
        let Some(progress) = self.progress.get_mut(&(job, partition)) else { return false };
        if !fits || stored.holders.is_empty() || !progress.claim(start..end) {
            return false;
        }
        progress.done.insert(start..end);
        if let Some(record) = self.jobs.get_mut(&job) {
            record.started_at_ms.get_or_insert(now_ms);
        }
        self.chunks.insert(key, ChunkRef { end, stored: stored.clone(), node: worker, epoch: index, counts });
        self.count_unit(job, worker, (end - start, imported.remarks.not_probed_total()), &counts);
        let what = EventKind::UnitDone { targets: end - start, hosts_up: counts.hosts_up };
        self.record(job, index, what, Some(worker), Some(imported.finished.unit));
        self.remark(job, &imported.remarks);
        true
    }

    /// Notes that the bundles `first..=last` of a worker were carried in; `last` may be below `first` for one that held
    /// nothing new, and then tells only how many there are.
    pub(super) fn note_bundles(&mut self, worker: NodeId, first: u64, last: u64) -> Result<Response, Refusal> {
        let now_ms = self.now_ms();
        let record = self.offline.get_mut(&worker).ok_or(Refusal::NodeUnknown { node: worker })?;
        record.imported_at_ms = now_ms;
        record.last = record.last.max(last);
        if record.bundles.len() < BUNDLE_RANGES_MAX {
            record.bundles.insert(first..last.saturating_add(1));
        }
        Ok(Response::Done)
    }
}

impl Progress {
    /// Takes `range` out of what is neither counted nor given up; answers whether all of it was. Only for a partition of
    /// which nothing is leased.
    fn claim(&mut self, range: Range<u64>) -> bool {
        if self.done.overlaps(&range) || self.dead.overlaps(&range) {
            return false;
        }
        let free: Vec<(u64, u64, u32)> = self
            .free
            .range(..range.end)
            .filter(|(_, free)| free.end > range.start)
            .map(|(start, free)| (*start, free.end, free.attempts))
            .collect();
        for (start, end, attempts) in free {
            self.free.remove(&start);
            self.put_back(start..range.start.max(start), attempts);
            self.put_back(range.end.min(end)..end, attempts);
        }
        let next = self.next;
        self.put_back(next..range.start.max(next), 0);
        self.next = next.max(range.end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample_test::{finished, limits, submission, two_nodes};
    use crate::command::{Command, Proposal};
    use crate::invariant;
    use crate::state::Remarks;

    /// A cluster with a carried job of 40 targets and a worker that may do it: job and worker.
    fn carried() -> (State, JobId, NodeId) {
        let mut state = State::default();
        let opening = two_nodes().into_iter().chain([
            Command::CarryJob(Box::new(submission(&[40], limits()))),
            Command::SetOffline { peer: "far".into(), name: Some("plant-7".into()) },
        ]);
        for (index, command) in (2..).zip(opening) {
            let response = state.apply(index, &Proposal { at_ms: index, command });
            assert!(!matches!(response, Response::Refused(_)), "{response:?}");
        }
        (state, JobId(7), 8)
    }

    fn brought(state: &mut State, index: u64, worker: NodeId, job: JobId, ranges: &[(u64, u64)]) -> Vec<bool> {
        let unit = |(start, end): &(u64, u64)| ImportedUnit {
            finished: finished(*start, *end),
            remarks: Remarks { not_probed: [(0, 1)].into(), ..Remarks::default() },
        };
        let imported = Imported { worker, job, units: ranges.iter().map(unit).collect() };
        let command = Command::Import(Box::new(imported));
        let response = state.apply(index, &Proposal { at_ms: index, command });
        invariant::check(state, index).unwrap();
        let Response::Completed { accepted } = response else { panic!("{response:?}") };
        accepted
    }

    #[test]
    fn a_carried_job_is_that_of_whoever_asked_for_it_and_one_whose_results_stay_in_a_region_says_so() {
        use crate::command::{Arrangement, Author};
        use crate::state::of_residency;
        let mut state = carried().0;
        let author = Author { who: "ci".into(), from: "10.0.0.7".into() };
        let mut bound = submission(&[4, 4], limits());
        bound.partitions[1].needs.required_tags = vec!["dmz".into(), of_residency("eu")];
        let arrangement = Box::new(Arrangement::Carried(bound));
        let command = Command::ArrangeAs { author: author.clone(), arrangement };
        let response = state.apply(20, &Proposal { at_ms: 20, command });
        assert_eq!(response, Response::Submitted { job: JobId(20), existing: false });
        assert_eq!(state.job(JobId(20)).unwrap().status, JobStatus::Carried);
        assert_eq!((state.author(JobId(20)), state.residency(JobId(20))), (Some(&author), Some("eu")));
        assert_eq!((state.author(JobId(7)), state.residency(JobId(7))), (None, None));
        let command = Command::Cancel { job: JobId(20), reason: "over".into() };
        state.apply(21, &Proposal { at_ms: 21, command });
        state.apply(22, &Proposal { at_ms: 22, command: Command::DeleteJob { job: JobId(20) } });
        assert_eq!((state.author(JobId(20)), state.residency(JobId(20))), (None, None));
    }

    #[test]
    fn a_carried_job_is_leased_to_nobody_and_neither_held_nor_let_go_on() {
        let (mut state, job, _) = carried();
        assert!(!state.job(job).unwrap().wants_work());
        for paused in [true, false] {
            let command = Command::PauseJob { job, paused, reason: String::new() };
            let response = state.apply(20, &Proposal { at_ms: 20, command });
            assert_eq!(response, Response::Refused(Refusal::JobCarried { job }));
        }
        assert_eq!(state.job(job).unwrap().status, JobStatus::Carried);
    }

    #[test]
    fn units_are_counted_once_in_any_order_and_the_last_one_ends_the_job() {
        let (mut state, job, worker) = carried();
        assert_eq!(brought(&mut state, 20, worker, job, &[(20, 30), (0, 5)]), [true, true]);
        assert_eq!(brought(&mut state, 21, worker, job, &[(20, 30)]), [true], "known before");
        assert_eq!(
            brought(&mut state, 22, worker, job, &[(25, 40), (4, 6), (30, 41)]),
            [false; 3],
            "overlaps, too long"
        );
        let record = state.job(job).unwrap();
        assert_eq!((record.done, record.status, record.counts.hosts_up), (15, JobStatus::Carried, 2));
        assert_eq!(brought(&mut state, 23, worker, job, &[(10, 20), (5, 10), (30, 40)]), [true; 3]);
        let record = state.job(job).unwrap();
        assert_eq!((record.done, record.status), (40, JobStatus::Partial), "five targets were not probed");
        assert_eq!(state.job_remarks(job).unwrap().not_probed_total(), 5, "what is known before is remarked once");
        assert_eq!(brought(&mut state, 24, worker, job, &[(10, 20)]), [true], "also after the end");
        assert_eq!(state.worker_end(job, worker).unwrap().worker_id, "wrk_plant_7");
    }

    #[test]
    fn only_known_workers_bring_results_and_a_worker_is_no_node() {
        let (mut state, job, worker) = carried();
        let unit = ImportedUnit { finished: finished(0, 5), remarks: Remarks::default() };
        let mut apply = |command| state.apply(20, &Proposal { at_ms: 20, command });
        let stranger = Imported { worker: 1, job, units: vec![unit] };
        assert!(matches!(
            apply(Command::Import(Box::new(stranger))),
            Response::Refused(Refusal::NodeUnknown { node: 1 })
        ));
        let named = |peer: &str, name: &str| Command::SetOffline { peer: peer.into(), name: Some(name.into()) };
        assert_eq!(apply(named("far", "plant-7")), Response::Joined { node: worker });
        assert!(matches!(apply(named("else", "plant_7")), Response::Refused(Refusal::NameTaken { .. })));
        assert!(matches!(apply(named("else", "n1")), Response::Refused(Refusal::NameTaken { .. })));
        assert!(matches!(apply(named("peer-n1", "x")), Response::Refused(Refusal::Malformed { .. })));
        assert_eq!(apply(Command::SetOffline { peer: "far".into(), name: None }), Response::Done);
        assert_eq!(state.offline_workers().count(), 0);
    }

    #[test]
    fn a_bundle_that_nobody_carried_in_is_noticed() {
        let (mut state, _, worker) = carried();
        let mut note = |first, last| {
            let command = Command::NoteBundles { worker, first, last };
            assert_eq!(state.apply(20, &Proposal { at_ms: 20, command }), Response::Done);
            state.offline_workers().next().unwrap().1.missing()
        };
        assert_eq!(note(1, 1), []);
        assert_eq!(note(4, 4), [(0, 2..4)]);
        assert_eq!(note(7, 6), [(0, 2..4), (0, 5..7)], "one that holds nothing new tells how many there are");
        assert_eq!(note(1, 6), []);
    }

    #[test]
    fn numbers_of_another_numbering_are_other_bundles() {
        let (mut state, _, worker) = carried();
        let mut note = |numbering, first, last| {
            let (first, last) = (kept_number(numbering, first), kept_number(numbering, last));
            let command = Command::NoteBundles { worker, first, last };
            assert_eq!(state.apply(20, &Proposal { at_ms: 20, command }), Response::Done);
            state.offline_workers().next().unwrap().1.clone()
        };
        assert_eq!(note(0, 1, 6).missing(), []);
        let worker = note(70, 3, 3);
        assert_eq!((worker.missing(), worker.last_number(), worker.numbering()), (vec![(70, 1..3)], 3, 70));
        let worker = note(70, 6, 5);
        assert_eq!(worker.missing(), [(70, 1..3), (70, 4..6)]);
        assert_eq!(note(0, 8, 8).missing(), [(0, 7..8), (70, 1..3), (70, 4..6)], "one that comes late");
        let worker = note(70, 1, 5);
        assert_eq!(worker.missing(), [(0, 7..8)]);
        assert_eq!(worker.arrived()[&70].as_slice(), std::slice::from_ref(&(1..6)));
    }

    #[test]
    fn what_was_kept_before_numbers_had_a_bound_is_read() {
        let mut bundles = IntervalSet::default();
        bundles.insert(1..u64::MAX - 1);
        let worker = OfflineWorker {
            name: "w".into(),
            peer: "p".into(),
            since_ms: 0,
            imported_at_ms: 0,
            bundles,
            last: u64::MAX - 2,
        };
        assert_eq!(worker.arrived()[&0].as_slice(), std::slice::from_ref(&(1..BUNDLE_NUMBER_MAX + 1)));
        assert!(worker.missing().len() <= 1, "{:?}", worker.missing());
    }
}
