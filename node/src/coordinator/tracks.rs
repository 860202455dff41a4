//! The leader's part of each job's trace: its plans, its leases once they are gone, and the job itself once it is over. All of it
//! is read off the log's state, so a new leader tells what the one before it could not.

use std::collections::{BTreeMap, BTreeSet};

use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::state::{JobStatus, Lease};
use pentora_raft::{JobId, State};

use crate::traces::{Place, Span, Traces};

/// A new leader tells of a job again that was over so shortly before: whoever led may not have come to it. Ours: longer than a
/// failover in every profile. What is told twice has the same names, so it is one span to whoever joins them.
const OVER_BEFORE_MS: u64 = 10_000;
/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    has_looked: bool,
    leases: BTreeMap<LeaseRef, Lease>,
    over: BTreeSet<JobId>,
}

impl Tracks {
    /// Notes leases at their grant: a quick one is gone before the next look.
    pub(super) fn granted(&mut self, leases: &[(UnitKey, Lease)]) {
        let named = leases.iter().map(|(unit, lease)| (LeaseRef { unit: *unit, epoch: lease.epoch }, lease.clone()));
        self.leases.extend(named);
    }

    /// What is gone or over since the last look; `now_ms` is the log's clock.
    pub(super) fn look(&mut self, state: &State, now_ms: u64) -> Vec<Span> {
        let standing: BTreeMap<LeaseRef, Lease> =
            state.leases().map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease.clone())).collect();
        let before = std::mem::replace(&mut self.leases, standing);
        let gone = before.into_iter().filter(|(reference, _)| !self.leases.contains_key(reference));
        let mut spans: Vec<Span> = gone.map(|(reference, lease)| span_of(state, reference, &lease, now_ms)).collect();
        for (id, job) in state.jobs() {
            let Some(finished_at_ms) = job.finished_at_ms.filter(|_| !job.is_open()) else { continue };
            let is_old = !self.has_looked && finished_at_ms.saturating_add(OVER_BEFORE_MS) < now_ms;
            if self.over.insert(id) && !is_old {
                let is_bad = matches!(job.status, JobStatus::Partial | JobStatus::Failed);
                let status = job.status.name();
                spans.push(Span {
                    job: id,
                    place: Place::Job,
                    began_ns: job.submitted_at_ms.saturating_mul(MS),
                    ended_ns: finished_at_ms.saturating_mul(MS),
                    facts: vec![
                        ("status", status.into()),
                        ("priority", job.priority.name().into()),
                        ("targets", job.targets().into()),
                        ("hosts_up", job.counts.hosts_up.into()),
                        ("open_ports", job.counts.open_ports.into()),
                    ],
                    fault: is_bad.then(|| job.reason.clone().unwrap_or_else(|| status.to_owned())),
                });
            }
        }
        self.over.retain(|job| state.job(*job).is_some());
        self.has_looked = true;
        spans
    }
}

/// A lease that is gone.
fn span_of(state: &State, reference: LeaseRef, lease: &Lease, now_ms: u64) -> Span {
    let UnitKey { job, partition, .. } = reference.unit;
    let progress = state.progress(job, partition);
    let counted = progress.is_some_and(|progress| progress.done.covers(&(lease.start..lease.end)));
    let worker = state.node(lease.node).map_or_else(String::new, |node| node.info.name.clone());
    Span {
        job,
        place: Place::Lease(reference),
        began_ns: lease.granted_at_ms.saturating_mul(MS),
        ended_ns: now_ms.saturating_mul(MS),
        facts: vec![
            ("unit", reference.unit.until(lease.end).to_string().into()),
            ("epoch", reference.epoch.into()),
            ("worker", worker.into()),
            ("attempts", u64::from(lease.attempts).into()),
        ],
        fault: (!counted).then(|| "it was taken back, handed back, or its job ended".to_owned()),
    }
}

/// Tells of the plan that these leases came of, once for each of their jobs.
pub(super) fn planned(leases: &[(UnitKey, Lease)], began_ns: u64, traces: &Traces) {
    let mut plans: BTreeMap<(JobId, u64), u64> = BTreeMap::new();
    for (unit, lease) in leases {
        *plans.entry((unit.job, lease.epoch)).or_default() += 1;
    }
    for ((job, epoch), count) in plans {
        traces.tell(
            job,
            Place::Plan(epoch),
            began_ns,
            || vec![("epoch", epoch.into()), ("leases", count.into())],
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use pentora_raft::command::{Command, Completion, NewLease, NodeInfo, Proposal, SpecRef, StoredChunk, Submission};
    use pentora_raft::state::{Counts, JobLimits, Partition, Priority, Share};
    use pentora_raft::{ClusterId, Digest, Response};

    use super::*;

    #[derive(Default)]
    struct World {
        state: State,
        index: u64,
    }

    impl World {
        fn apply(&mut self, command: Command) -> Response {
            self.index += 1;
            self.state.apply(self.index, &Proposal { at_ms: self.index, command })
        }

        /// A job of so many targets, of which leases of ten each are out.
        fn job(&mut self, targets: u64) -> (JobId, Vec<(UnitKey, Lease)>) {
            let submission = Submission {
                spec: SpecRef::Inline(Vec::new()),
                partitions: vec![Partition { target_count: targets, ..Partition::default() }],
                priority: Priority::Normal,
                limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
                via: 1,
                idempotency_key: None,
                title: String::new(),
                finished: Vec::new(),
            };
            let Response::Submitted { job, .. } = self.apply(Command::SubmitJob(Box::new(submission))) else {
                panic!("a job")
            };
            let grant = |start| NewLease {
                unit: UnitKey { job, partition: 0, start },
                end: start + 10,
                node: 1,
                share: Share::default(),
            };
            let grants = (0..targets / 10).map(|number| grant(number * 10)).collect();
            let Response::Granted { leases } = self.apply(Command::Grant { grants }) else { panic!("leases") };
            assert_eq!(leases.len() as u64, targets / 10);
            (job, leases)
        }

        fn complete(&mut self, (unit, lease): &(UnitKey, Lease)) {
            let completion = Completion {
                lease: LeaseRef { unit: *unit, epoch: lease.epoch },
                start: lease.start,
                end: lease.end,
                goes_on: false,
                node: lease.node,
                stored: StoredChunk { digest: Digest::of(&unit.start.to_be_bytes()), bytes: 1, holders: vec![1] },
                counts: Counts::default(),
            };
            self.apply(Command::Complete { completions: vec![completion] });
        }
    }

    fn world() -> World {
        let mut world = World::default();
        let info = NodeInfo { name: "n1".into(), peer: "n1".into(), ..NodeInfo::default() };
        world.apply(Command::Begin { cluster: ClusterId([1; 16]), info, admin_token: Digest::of(b"admin") });
        world.apply(Command::WorkerBack { node: 1 });
        world
    }

    fn told(spans: &[Span]) -> Vec<(Place, bool)> {
        spans.iter().map(|span| (span.place, span.fault.is_some())).collect()
    }

    #[test]
    fn each_lease_is_told_once_it_is_gone_and_a_job_once_it_is_over_however_quick_they_were() {
        let (mut world, mut tracks) = (world(), Tracks::default());
        assert!(tracks.look(&world.state, 1).is_empty());
        let (job, leases) = world.job(20);
        tracks.granted(&leases);
        let place = |at: usize| Place::Lease(LeaseRef { unit: leases[at].0, epoch: leases[at].1.epoch });
        world.complete(&leases[0]);
        assert_eq!(told(&tracks.look(&world.state, 10)), [(place(0), false)], "it was never seen to stand");
        assert!(tracks.look(&world.state, 11).is_empty());
        let lost = vec![LeaseRef { unit: leases[1].0, epoch: leases[1].1.epoch }];
        world.apply(Command::Expire { leases: lost, reason: "late".into() });
        let spans = tracks.look(&world.state, 12);
        assert_eq!(
            told(&spans),
            [(place(1), true), (Place::Job, true)],
            "a target that is given up, and a partial job"
        );
        assert!(spans.iter().all(|span| span.job == job && span.began_ns <= span.ended_ns));
        assert!(tracks.look(&world.state, 13).is_empty());
    }

    #[test]
    fn a_new_leader_tells_again_of_what_was_over_just_before_and_of_nothing_older() {
        let mut world = world();
        let (_, leases) = world.job(10);
        world.complete(&leases[0]);
        let over = |now_ms| told(&Tracks::default().look(&world.state, now_ms));
        assert_eq!(over(OVER_BEFORE_MS), [(Place::Job, false)]);
        assert!(over(10 * OVER_BEFORE_MS).is_empty());
    }
}
