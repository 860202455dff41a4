//! The state's edges, one by one: what random sequences meet seldom or never.

use super::submit::{IDEMPOTENCY_KEYS_MAX, TITLE_CHARS_MAX};
use super::{
    CLUSTER_EVENTS_KEPT_MAX, EVENTS_PER_JOB_MAX, EventPlace, Happening, JOBS_ENDED_KEPT_MAX, JOBS_OPEN_MAX, JobStatus,
    LEASES_PER_NODE_MAX, NO_JOB, NodeStatus, State,
};
use crate::command::sample_test::{finished, limits, new_token, node_info, stored, submission, two_nodes};
use crate::command::{
    Author, Command, Completion, LeaseRef, NewLease, NewRule, NewToken, NodeRole, PolicyChange, Proposal, Refusal,
    Response, Rule, RuleKind, SPEC_INLINE_BYTES_MAX, ScopeEffect, ScopeRule, SpecRef, Submission, UnitKey,
};
use crate::event::EventKind;
use crate::id::{Digest, JobId, NodeId, TokenId};
use crate::invariant;
use crate::state::{Counts, JobLimits, Share, submission_key};

/// A state and its log index and clock.
pub(super) struct Log {
    pub(super) state: State,
    pub(super) index: u64,
    pub(super) at_ms: u64,
}

impl Log {
    /// Two working nodes, 1 and 5.
    pub(super) fn begun() -> Self {
        let mut log = Self { state: State::default(), index: 1, at_ms: 1_000 };
        two_nodes().into_iter().for_each(|command| drop(log.apply(command)));
        log
    }

    pub(super) fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        self.state.apply(self.index, &Proposal { at_ms: self.at_ms, command })
    }

    /// Applies, and checks every law; too slow for the cases with thousands of jobs.
    pub(super) fn checked(&mut self, command: Command) -> Response {
        let response = self.apply(command);
        invariant::check(&self.state, self.index).unwrap();
        response
    }

    pub(super) fn submit(&mut self, submission: Submission) -> JobId {
        match self.apply(Command::SubmitJob(Box::new(submission))) {
            Response::Submitted { job, .. } => job,
            other => panic!("not submitted: {other:?}"),
        }
    }

    /// The lease that a grant makes, if it makes one.
    pub(super) fn grant(
        &mut self,
        job: JobId,
        range: std::ops::Range<u64>,
        node: NodeId,
        rate_pps: Option<u64>,
    ) -> Option<LeaseRef> {
        let share = Share { rate_pps, network_pps: None };
        let unit = UnitKey { job, partition: 0, start: range.start };
        match self.checked(Command::Grant { grants: vec![NewLease { unit, end: range.end, node, share }] }) {
            Response::Granted { leases } => {
                leases.first().map(|(unit, lease)| LeaseRef { unit: *unit, epoch: lease.epoch })
            }
            other => panic!("not an answer to a grant: {other:?}"),
        }
    }

    pub(super) fn complete(&mut self, lease: LeaseRef, end: u64, node: NodeId) -> bool {
        match self.checked(Command::Complete { completions: vec![completion(lease, end, node)] }) {
            Response::Completed { accepted } => accepted == [true],
            other => panic!("not an answer to a completion: {other:?}"),
        }
    }

    pub(super) fn free(&self, job: JobId) -> Vec<(u64, u64, u32)> {
        let free = &self.state.progress(job, 0).unwrap().free;
        free.iter().map(|(start, range)| (*start, range.end, range.attempts)).collect()
    }

    pub(super) fn event_names(&self, job: JobId) -> Vec<&'static str> {
        self.state.job_events(job, 0).map(|(_, event)| event.what.name()).collect()
    }
}

fn completion(lease: LeaseRef, end: u64, node: NodeId) -> Completion {
    part(lease, lease.unit.start..end, node)
}

/// A part of a lease's unit, behind which the worker does not go on.
fn part(lease: LeaseRef, range: std::ops::Range<u64>, node: NodeId) -> Completion {
    let counts = Counts { hosts_up: 1, ..Counts::default() };
    Completion { lease, start: range.start, end: range.end, goes_on: false, node, stored: stored(b"c"), counts }
}

pub(super) fn job_of(targets: u64) -> Submission {
    submission(&[targets], limits())
}

#[test]
fn a_removed_node_hands_its_units_back_without_blame_and_its_chunks_stay() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[20], JobLimits { max_attempts: 1, ..limits() }));
    let first = log.grant(job, 0..10, 5, None).unwrap();
    assert!(log.complete(first, 10, 5));
    let second = log.grant(job, 10..20, 5, None).unwrap();
    assert_eq!(log.checked(Command::RemoveNode { node: 5 }), Response::Done);
    assert_eq!(log.free(job), [(10, 20, 0)], "one try is allowed, and removing a node takes none");
    assert_eq!(log.state.job_chunks(job).count(), 1);
    assert!(!log.complete(second, 20, 5), "a removed node's completion is not counted");
    assert_eq!(log.event_names(job).last(), Some(&"released"));
    let again = log.grant(job, 10..20, 1, None).unwrap();
    assert!(log.complete(again, 20, 1));
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Completed);
}

#[test]
fn a_unit_that_is_counted_in_parts_goes_on_under_one_lease_and_loses_only_its_last_part() {
    let mut log = Log::begun();
    let job = log.submit(job_of(30));
    let lease = log.grant(job, 0..30, 5, None).unwrap();
    let first = Completion { goes_on: true, ..part(lease, 0..10, 5) };
    let accepted = |log: &mut Log, completion: &Completion| {
        log.checked(Command::Complete { completions: vec![completion.clone()] })
            == Response::Completed { accepted: vec![true] }
    };
    assert!(accepted(&mut log, &first));
    assert_eq!(log.state.leases().map(|(unit, lease)| (unit.start, lease.start)).collect::<Vec<_>>(), [(0, 10)]);
    assert!(accepted(&mut log, &first), "a repeated part is counted once");
    let wrong = Completion { stored: stored(b"d"), ..first };
    assert!(!accepted(&mut log, &wrong), "the part before is counted already");
    assert!(accepted(&mut log, &Completion { goes_on: true, ..part(lease, 10..20, 5) }));
    let stat = log.state.job_workers(job).next().unwrap().1;
    assert_eq!((log.state.job(job).unwrap().done, stat.units, log.free(job)), (20, 2, vec![]));
    log.checked(Command::WorkerFailed { node: 5 });
    assert_eq!(log.free(job), [(20, 30, 1)], "what was counted is not scanned again");
    assert!(!accepted(&mut log, &part(lease, 20..30, 5)));
    let again = log.grant(job, 20..30, 1, None).unwrap();
    assert!(
        accepted(&mut log, &Completion { goes_on: true, ..part(again, 20..30, 1) }),
        "there is nothing to go on with"
    );
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Completed);
    assert_eq!(log.state.leases().count(), 0);
}

#[test]
fn a_job_says_why_its_units_were_given_up() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[10], JobLimits { max_attempts: 1, ..limits() }));
    for (range, reason) in [(0..5, "no route".to_owned()), (5..10, "x".repeat(9_000))] {
        let lease = log.grant(job, range, 1, None).unwrap();
        log.checked(Command::Expire { leases: vec![lease], reason });
        let said = log.state.job(job).unwrap().reason.clone().unwrap();
        assert!(said.len() < 400, "{said}");
    }
    let ended = log.state.job(job).unwrap();
    let said = ended.reason.clone().unwrap();
    assert_eq!(ended.status, JobStatus::Failed);
    assert!(said.starts_with("10 of 10 targets were given up after 1 try; the last one: xxx"), "{said}");
}

#[test]
fn what_a_nodes_own_file_declines_counts_against_nobody_until_the_same_node_alone_is_left() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[10], JobLimits { max_attempts: 2, ..limits() }));
    let unit = UnitKey { job, partition: 0, start: 0 };
    let declines = |log: &mut Log, node| {
        let lease = log.grant(job, 0..10, node, None).unwrap();
        log.checked(Command::Decline { leases: vec![lease], reason: "its hours".into() });
        let retry = log.state.job_retries(job).next().map(|(_, retry)| retry.clone());
        retry.map(|retry| (retry.failed_by, retry.not_before_ms, retry.declined))
    };
    assert_eq!(declines(&mut log, 1), Some((vec![1], Some(0), 0)), "somebody else may have it at once");
    assert_eq!(declines(&mut log, 5), Some((vec![1, 5], Some(0), 0)));
    assert_eq!((log.free(job), log.state.failing().count()), (vec![(0, 10, 0)], 0), "no try, and no failure");
    assert_eq!(declines(&mut log, 1), Some((vec![5, 1], None, 1)), "nobody else is left: it rests");
    log.checked(Command::SetBackoff { updates: vec![(unit, 1)] });
    let lease = log.grant(job, 0..10, 5, None).unwrap();
    log.checked(Command::Decline { leases: vec![lease], reason: "its hours".into() });
    let ended = log.state.job(job).unwrap();
    assert_eq!((ended.status, log.state.failing().count()), (JobStatus::Failed, 0));
    assert!(ended.reason.as_ref().is_some_and(|said| said.ends_with("the last one: its hours")), "{:?}", ended.reason);
}

#[test]
fn what_may_go_into_one_network_is_shared_by_all_leases() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[30], JobLimits { network_pps: Some(10), ..limits() }));
    let mut grant = |start, node, network_pps| {
        let unit = UnitKey { job, partition: 0, start };
        let grants = vec![NewLease { unit, end: start + 1, node, share: Share { rate_pps: None, network_pps } }];
        match log.checked(Command::Grant { grants }) {
            Response::Granted { leases } => leases.len(),
            other => panic!("not an answer to a grant: {other:?}"),
        }
    };
    assert_eq!([grant(0, 1, None), grant(0, 1, Some(0)), grant(0, 1, Some(11))], [0, 0, 0]);
    assert_eq!([grant(0, 1, Some(6)), grant(1, 1, Some(5)), grant(1, 1, Some(1)), grant(2, 5, Some(3))], [1, 0, 1, 1]);
}

#[test]
fn units_finished_before_a_job_was_submitted_are_counted_and_the_rest_is_granted() {
    let mut log = Log::begun();
    let job = log.submit(Submission { finished: vec![finished(20, 25), finished(5, 10)], ..job_of(30) });
    invariant::check(&log.state, log.index).unwrap();
    assert_eq!(log.free(job), [(0, 5, 0), (10, 20, 0)]);
    assert_eq!((log.state.job(job).unwrap().done, log.state.job_chunks(job).count()), (10, 2));
    for range in [0..5, 10..20, 25..30] {
        let end = range.end;
        let lease = log.grant(job, range.clone(), 1, None).unwrap();
        let done = Command::Complete { completions: vec![part(lease, range, 1)] };
        assert_eq!(log.checked(done), Response::Completed { accepted: vec![true] }, "{end}");
    }
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Completed);
    assert_eq!(log.state.job(job).unwrap().counts.hosts_up, 5);
    let whole = log.submit(Submission { finished: vec![finished(0, 30)], ..job_of(30) });
    invariant::check(&log.state, log.index).unwrap();
    assert_eq!(log.state.job(whole).unwrap().status, JobStatus::Completed, "nothing is left to do");
    for wrong in [vec![finished(0, 31)], vec![finished(3, 3)], vec![finished(0, 5), finished(4, 6)]] {
        let refused = log.checked(Command::SubmitJob(Box::new(Submission { finished: wrong, ..job_of(30) })));
        assert!(matches!(refused, Response::Refused(Refusal::Malformed { .. })), "{refused:?}");
    }
}

#[test]
fn a_spec_that_is_a_chunk_has_other_holders_after_a_repair_and_an_inline_one_none() {
    let mut log = Log::begun();
    let digest = Digest::of(b"spec");
    let chunk = log.submit(Submission { spec: SpecRef::Chunk { digest, holders: vec![1, 5] }, ..job_of(3) });
    let inline = log.submit(job_of(3));
    let updates = vec![(chunk, vec![1, 7]), (inline, vec![7]), (JobId(999), vec![7]), (chunk, vec![])];
    assert_eq!(log.checked(Command::SetSpecHolders { updates }), Response::Done);
    assert_eq!(log.state.spec(chunk), Some(&SpecRef::Chunk { digest, holders: vec![1, 7] }));
    assert!(matches!(log.state.spec(inline), Some(SpecRef::Inline(_))));
}

#[test]
fn after_a_cancel_nothing_is_granted_or_counted() {
    let mut log = Log::begun();
    let job = log.submit(job_of(10));
    let lease = log.grant(job, 0..5, 1, None).unwrap();
    assert_eq!(log.checked(Command::Cancel { job, reason: "asked".into() }), Response::Done);
    assert_eq!(log.checked(Command::Cancel { job, reason: "again".into() }), Response::Done);
    assert_eq!(log.grant(job, 0..5, 1, None), None);
    assert!(!log.complete(lease, 5, 1));
    log.checked(Command::Expire { leases: vec![lease], reason: "late".into() });
    log.checked(Command::Release { leases: vec![lease] });
    assert_eq!(log.state.job(job).unwrap().reason.as_deref(), Some("asked"));
    assert_eq!(log.event_names(job), ["submitted", "assigned", "cancelled"]);
}

#[test]
fn a_deleted_job_is_gone_from_every_table_and_its_key_makes_another_one() {
    let mut log = Log::begun();
    let keyed = || Submission { idempotency_key: Some(Digest::of(b"key")), ..job_of(5) };
    let job = log.submit(keyed());
    assert_eq!(log.checked(Command::DeleteJob { job }), Response::Refused(Refusal::JobOpen { job }));
    let lease = log.grant(job, 0..5, 1, None).unwrap();
    assert!(log.complete(lease, 5, 1));
    assert_eq!(log.submit(keyed()), job, "the key stands while the job is known");
    assert_eq!(log.state.chunks_from(UnitKey { job, partition: 0, start: 0 }).count(), 1);
    assert_eq!(log.checked(Command::DeleteJob { job }), Response::Done);
    assert_eq!(log.checked(Command::DeleteJob { job }), Response::Refused(Refusal::JobUnknown { job }));
    assert_eq!((log.state.chunks().count(), log.state.spec(job)), (0, None));
    assert_ne!(log.submit(keyed()), job);
}

#[test]
fn a_key_with_anything_else_asked_is_refused_also_where_the_spec_is_the_same() {
    let mut log = Log::begun();
    let keyed = |key: &str, asked: &str| Submission {
        idempotency_key: Some(submission_key(key.as_bytes(), asked.as_bytes())),
        ..job_of(5)
    };
    let job = log.submit(keyed("key", "low"));
    assert_eq!(log.submit(keyed("key", "low")), job);
    let other = log.checked(Command::SubmitJob(Box::new(keyed("key", "high"))));
    assert_eq!(other, Response::Refused(Refusal::KeyReused { job }));
    assert_ne!(log.submit(keyed("another", "low")), job);
}

#[test]
fn neighbours_that_came_back_merge_only_when_tried_equally_often() {
    let mut log = Log::begun();
    let job = log.submit(job_of(30));
    let leases: Vec<_> = (0..3).map(|n| log.grant(job, n * 10..(n + 1) * 10, 1, None).unwrap()).collect();
    log.checked(Command::Release { leases: vec![leases[0], leases[2]] });
    assert_eq!(log.free(job), [(0, 10, 0), (20, 30, 0)]);
    log.checked(Command::Expire { leases: vec![leases[1]], reason: "late".into() });
    assert_eq!(log.free(job), [(0, 10, 0), (10, 20, 1), (20, 30, 0)]);
    let middle = log.grant(job, 12..18, 5, None).unwrap();
    assert_eq!(log.free(job), [(0, 10, 0), (10, 12, 1), (18, 20, 1), (20, 30, 0)]);
    log.checked(Command::Release { leases: vec![middle] });
    assert_eq!(log.free(job), [(0, 10, 0), (10, 20, 1), (20, 30, 0)]);
}

#[test]
fn a_range_that_is_partly_taken_is_not_granted_at_all() {
    let mut log = Log::begun();
    let job = log.submit(job_of(30));
    let lease = log.grant(job, 0..10, 1, None).unwrap();
    for (range, why) in [
        (5..15, "half leased, half new"),
        (0..10, "leased"),
        (11..20, "leaves a hole before it"),
        (10..31, "ends behind the last target"),
        (10..10, "empty"),
        (u64::MAX..u64::MAX, "empty and far away"),
        (0..u64::MAX, "everything"),
    ] {
        assert_eq!(log.grant(job, range, 5, None), None, "{why}");
    }
    log.checked(Command::Release { leases: vec![lease] });
    assert_eq!(log.grant(job, 0..12, 5, None), None, "half free, half new");
    assert_eq!(log.grant(JobId(999), 0..1, 5, None), None);
}

#[test]
fn a_unit_that_failed_as_often_as_allowed_is_given_up_and_the_job_ends() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[10], JobLimits { max_attempts: 2, ..limits() }));
    let done = log.grant(job, 0..4, 1, None).unwrap();
    assert!(log.complete(done, 4, 1));
    for _ in 0..2 {
        log.grant(job, 4..10, 5, None).unwrap();
        log.checked(Command::WorkerFailed { node: 5 });
        log.checked(Command::WorkerBack { node: 5 });
    }
    let record = log.state.job(job).unwrap();
    assert_eq!((record.status, record.done, record.dead), (JobStatus::Partial, 4, 6));
    assert_eq!(log.event_names(job).last(), Some(&"finished"));
}

#[test]
fn a_job_of_all_numbers_can_be_submitted_granted_and_finished() {
    let mut log = Log::begun();
    let job = log.submit(job_of(u64::MAX));
    let most = log.grant(job, 0..u64::MAX - 1, 1, None).unwrap();
    let last = log.grant(job, u64::MAX - 1..u64::MAX, 5, None).unwrap();
    assert!(log.complete(most, u64::MAX - 1, 1));
    assert!(log.complete(last, u64::MAX, 5));
    let record = log.state.job(job).unwrap();
    assert_eq!((record.status, record.done), (JobStatus::Completed, u64::MAX));
}

#[test]
fn a_budget_of_all_numbers_is_still_a_budget() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[10], JobLimits { budget_pps: Some(u64::MAX), ..limits() }));
    log.grant(job, 0..1, 1, Some(u64::MAX)).unwrap();
    assert_eq!(log.grant(job, 1..2, 5, Some(1)), None);
    assert!(log.grant(job, 1..2, 1, Some(7)).is_some(), "a share that is held already costs nothing more");
}

#[test]
fn grants_of_one_command_share_the_budget_and_the_limit_of_workers() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[10], JobLimits { budget_pps: Some(10), max_workers: Some(1), ..limits() }));
    let lease = |start, node, rate| NewLease {
        unit: UnitKey { job, partition: 0, start },
        end: start + 1,
        node,
        share: Share { rate_pps: Some(rate), network_pps: None },
    };
    let grants = vec![lease(0, 1, 6), lease(1, 1, 11), lease(1, 5, 4), lease(1, 1, 10)];
    let Response::Granted { leases } = log.checked(Command::Grant { grants }) else { panic!("not granted") };
    let made: Vec<_> = leases.iter().map(|(unit, lease)| (unit.start, lease.node, lease.share.rate_pps)).collect();
    assert_eq!(made, [(0, 1, Some(6)), (1, 1, Some(10))]);
}

#[test]
fn a_node_holds_so_many_leases_and_no_more() {
    let mut log = Log::begun();
    let job = log.submit(job_of(5_000));
    let grants = (0..5_000)
        .map(|start| NewLease {
            unit: UnitKey { job, partition: 0, start },
            end: start + 1,
            node: 1,
            share: Share::default(),
        })
        .collect();
    let Response::Granted { leases } = log.checked(Command::Grant { grants }) else { panic!("not granted") };
    assert_eq!(leases.len(), LEASES_PER_NODE_MAX);
    assert_eq!(log.grant(job, LEASES_PER_NODE_MAX as u64..LEASES_PER_NODE_MAX as u64 + 1, 1, None), None);
    assert!(log.grant(job, LEASES_PER_NODE_MAX as u64..LEASES_PER_NODE_MAX as u64 + 1, 5, None).is_some());
}

#[test]
fn draining_outlives_silence_and_ends_by_word_or_by_a_new_start() {
    let mut log = Log::begun();
    let status = |log: &Log| log.state.node(5).unwrap().status;
    log.checked(Command::DrainNode { node: 5, draining: true });
    for lost in [Command::WorkerSuspect { node: 5 }, Command::WorkerFailed { node: 5 }] {
        log.checked(lost);
        log.checked(Command::WorkerBack { node: 5 });
        assert_eq!(status(&log), NodeStatus::Draining);
    }
    log.checked(Command::DrainNode { node: 5, draining: false });
    assert_eq!(status(&log), NodeStatus::Active);
    log.checked(Command::WorkerFailed { node: 5 });
    log.checked(Command::DrainNode { node: 5, draining: true });
    assert_eq!(status(&log), NodeStatus::Failed, "asking a silent node to drain does not make it heard");
    log.checked(Command::UpdateNode { node: 5, info: node_info("n1") });
    log.checked(Command::WorkerBack { node: 5 });
    assert_eq!(status(&log), NodeStatus::Active);
}

#[test]
fn a_suspicion_that_comes_after_the_failure_does_not_undo_it() {
    let mut log = Log::begun();
    log.checked(Command::WorkerFailed { node: 5 });
    log.checked(Command::WorkerSuspect { node: 5 });
    assert_eq!(log.state.node(5).unwrap().status, NodeStatus::Failed);
}

#[test]
fn a_full_history_still_takes_the_end_of_its_job() {
    let mut log = Log::begun();
    let job = log.submit(job_of(10));
    for _ in 0..EVENTS_PER_JOB_MAX * 4 {
        let lease = log.state.job_leases(job).next().map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch });
        let unit = UnitKey { job, partition: 0, start: 0 };
        match lease {
            Some(lease) => log.apply(Command::Release { leases: vec![lease] }),
            None => {
                log.apply(Command::Grant { grants: vec![NewLease { unit, end: 10, node: 1, share: Share::default() }] })
            }
        };
    }
    assert_eq!(log.event_names(job).len(), EVENTS_PER_JOB_MAX * 2);
    log.checked(Command::Cancel { job, reason: "asked".into() });
    assert_eq!(log.event_names(job).last(), Some(&"cancelled"));
}

#[test]
fn the_job_that_ended_first_is_forgotten_first_whenever_it_was_submitted() {
    let mut log = Log::begun();
    let slow = log.submit(job_of(1));
    let mut ended = Vec::new();
    for _ in 0..JOBS_ENDED_KEPT_MAX + 1 {
        log.at_ms += 1;
        let job = log.submit(job_of(1));
        log.apply(Command::Cancel { job, reason: "asked".into() });
        ended.push(job);
    }
    log.at_ms += 1;
    log.apply(Command::Cancel { job: slow, reason: "asked".into() });
    log.checked(Command::SubmitJob(Box::new(job_of(1))));
    assert!(log.state.job(slow).is_some(), "it ended last, though it was the first");
    assert!(log.state.job(ended[0]).is_none() && log.state.job(ended[1]).is_none());
    assert!(log.state.job(ended[2]).is_some());
    assert_eq!(log.state.jobs().filter(|(_, job)| !job.is_open()).count(), JOBS_ENDED_KEPT_MAX);
}

#[test]
fn more_open_jobs_than_the_cluster_keeps_are_refused_until_one_ends() {
    let mut log = Log::begun();
    let jobs: Vec<JobId> = (0..JOBS_OPEN_MAX).map(|_| log.submit(job_of(1))).collect();
    let refused = Response::Refused(Refusal::QueueFull { limit: JOBS_OPEN_MAX });
    assert_eq!(log.apply(Command::SubmitJob(Box::new(job_of(1)))), refused);
    log.apply(Command::Cancel { job: jobs[0], reason: "asked".into() });
    log.submit(job_of(1));
}

#[test]
fn keys_of_submissions_are_kept_for_a_day_and_bounded_in_number() {
    let mut log = Log::begun();
    let keyed = |n: u64| Submission { idempotency_key: Some(Digest::of(&n.to_le_bytes())), ..job_of(1) };
    let first = log.submit(keyed(0));
    log.at_ms += 24 * 3600 * 1000;
    assert_eq!(log.submit(keyed(0)), first, "a day later it is still the same");
    log.at_ms += 1;
    let renewed = log.submit(keyed(0));
    assert_ne!(renewed, first);
    for n in 1..IDEMPOTENCY_KEYS_MAX as u64 + 10 {
        let job = log.submit(keyed(n));
        log.apply(Command::Cancel { job, reason: "asked".into() });
    }
    assert!(log.state.idempotency.len() <= IDEMPOTENCY_KEYS_MAX);
    assert!(log.state.idempotency.get(&Digest::of(&0u64.to_le_bytes())).is_none(), "the oldest went first");
    let newest = IDEMPOTENCY_KEYS_MAX as u64 + 9;
    assert!(log.state.idempotency.get(&Digest::of(&newest.to_le_bytes())).is_some());
}

#[test]
fn a_malformed_submission_is_refused_with_its_reason() {
    let mut log = Log::begun();
    let mut refused = |submission: Submission| {
        let before = log.state.clone();
        let response = log.apply(Command::SubmitJob(Box::new(submission)));
        assert!(matches!(response, Response::Refused(Refusal::Malformed { .. })), "{response:?}");
        assert_eq!(log.state, before);
    };
    refused(submission(&[], limits()));
    refused(submission(&[5, 0], limits()));
    refused(submission(&[u64::MAX, 1], limits()));
    refused(submission(&[1; 257], limits()));
    refused(submission(&[1], JobLimits { budget_pps: Some(0), ..limits() }));
    refused(submission(&[1], JobLimits { max_workers: Some(0), ..limits() }));
    refused(Submission { spec: SpecRef::Inline(vec![0; SPEC_INLINE_BYTES_MAX + 1]), ..job_of(1) });
}

#[test]
fn a_title_is_cut_between_characters() {
    let mut log = Log::begun();
    let job = log.submit(Submission { title: "é".repeat(10_000), ..job_of(1) });
    assert_eq!(log.state.job(job).unwrap().title, "é".repeat(TITLE_CHARS_MAX));
}

#[test]
fn a_token_made_again_keeps_what_was_used_up_and_another_secret_is_refused() {
    let mut log = Log::begun();
    let uses_left = |log: &Log| log.state.tokens().next().unwrap().1.uses_left;
    assert_eq!(uses_left(&log), 1, "one of two was used by the second node");
    assert_eq!(log.checked(Command::CreateToken(new_token(0))), Response::Done);
    assert_eq!(uses_left(&log), 1);
    let other = NewToken { secret: Digest::of(b"other"), ..new_token(0) };
    assert!(matches!(log.checked(Command::CreateToken(other)), Response::Refused(Refusal::Malformed { .. })));
}

#[test]
fn a_token_is_held_to_its_uses_its_time_and_its_secret() {
    let mut log = Log::begun();
    let token = TokenId([0; 8]);
    let join = |name: &str, secret: &[u8]| Command::Join { token, secret: Digest::of(secret), info: node_info(name) };
    assert_eq!(log.checked(join("n2", b"guess")), Response::Refused(Refusal::TokenSecretWrong));
    let taken = Response::Refused(Refusal::NameTaken { name: "N0".into() });
    assert_eq!(log.checked(join("N0", b"secret")), taken, "a name that makes the same worker id");
    let id = log.index + 1;
    assert_eq!(log.checked(join("n2", b"secret")), Response::Joined { node: id });
    assert_eq!(log.checked(join("n3", b"secret")), Response::Refused(Refusal::TokenUsed));
    assert_eq!(log.checked(join("n1", b"secret")), Response::Joined { node: 5 }, "the same peer asks again");
    log.checked(Command::CreateToken(new_token(1)));
    log.at_ms += 5_000;
    let late = Command::Join { token: TokenId([1; 8]), secret: Digest::of(b"secret"), info: node_info("n4") };
    assert_eq!(log.checked(late), Response::Refused(Refusal::TokenExpired));
}

#[test]
fn no_token_is_made_before_the_cluster_begins() {
    let mut state = State::default();
    let response = state.apply(2, &Proposal { at_ms: 1, command: Command::CreateToken(new_token(0)) });
    assert!(matches!(response, Response::Refused(Refusal::Malformed { .. })));
}

#[test]
fn the_clock_stands_still_while_the_leaders_clock_is_behind() {
    let mut log = Log::begun();
    log.at_ms = u64::MAX;
    let job = log.submit(job_of(5));
    log.at_ms = 7;
    let lease = log.grant(job, 0..5, 1, None).unwrap();
    assert!(log.complete(lease, 5, 1));
    let times: Vec<u64> = log.state.job_events(job, 0).map(|(_, event)| event.at_ms).collect();
    assert_eq!(times, [u64::MAX; 4]);
    assert!(matches!(log.state.job_events(job, 0).last().unwrap().1.what, EventKind::Finished { .. }));
}

#[test]
fn events_of_all_jobs_come_in_the_order_of_the_log_and_go_on_behind_any_place() {
    let mut log = Log::begun();
    let (one, two) = (log.submit(job_of(5)), log.submit(job_of(5)));
    for job in [two, one] {
        let lease = log.grant(job, 0..5, 1, None).unwrap();
        assert!(log.complete(lease, 5, 1));
    }
    let start = EventPlace::behind(0);
    let all = log.state.events_behind(start, None, usize::MAX);
    let of_jobs: Vec<_> = all.iter().filter(|it| it.place.job != NO_JOB).collect();
    let said: Vec<_> = of_jobs.iter().map(|it| (it.place.job, it.event.name(), it.is_last)).collect();
    let run = |job| [(job, "assigned", true), (job, "unit_done", false), (job, "finished", true)];
    let begun = [(one, "submitted", true), (two, "submitted", true)];
    assert_eq!(said, [&begun[..], &run(two), &run(one)].concat());
    // Whoever reads in parts, from whatever place, reads the same.
    for limit in 1..4 {
        let (mut place, mut read) = (start, Vec::new());
        while let Some(last) = log.state.events_behind(place, None, limit).last().map(|it| it.place) {
            read.extend(log.state.events_behind(place, None, limit).iter().map(|it| it.place));
            place = last;
        }
        assert_eq!(read, all.iter().map(|it| it.place).collect::<Vec<_>>());
    }
    let of_one: Vec<_> = log.state.events_behind(start, Some(one), usize::MAX).iter().map(|it| it.place).collect();
    assert_eq!(of_one, all.iter().map(|it| it.place).filter(|it| it.job == one).collect::<Vec<_>>());
    let behind = EventPlace::behind(of_jobs[3].place.index);
    assert_eq!(log.state.events_behind(behind, None, 1)[0].place, of_jobs[5].place, "all of an entry is passed over");
}

#[test]
fn what_happens_to_nodes_and_to_the_policy_is_told_once_among_the_events_of_jobs() {
    let mut log = Log::begun();
    log.submit(job_of(5));
    let set = |role| {
        let change = PolicyChange { role: Some(role), ..PolicyChange::default() };
        Command::SetPolicy { node: 5, change: Box::new(change) }
    };
    let rule = || {
        let scope = ScopeRule {
            networks: vec!["203.0.113.0/24".parse().unwrap()],
            tokens: Vec::new(),
            effect: ScopeEffect::Allow,
        };
        Box::new(NewRule {
            name: "lab".into(),
            rule: Rule::Scope(scope),
            reason: "x".into(),
            author: Author::default(),
        })
    };
    // Each comes twice, as a proposal may whose answer was lost.
    for command in [
        Command::WorkerFailed { node: 5 },
        Command::WorkerBack { node: 5 },
        set(NodeRole::Scanner),
        Command::SetRule(rule()),
        Command::RemoveRule { kind: RuleKind::Scope, name: "lab".into(), author: Author::default() },
        Command::NodeLeft { node: 5 },
        Command::RemoveNode { node: 5 },
    ] {
        log.apply(command.clone());
        log.apply(command);
    }
    let all = log.state.events_behind(EventPlace::behind(0), None, usize::MAX);
    let said: Vec<_> = all.iter().map(|it| (it.event.name(), it.is_last)).collect();
    let expected = [
        ("node_joined", true),
        ("node_joined", true),
        ("submitted", true),
        ("node_failed", true),
        ("node_back", true),
        ("node_policy", false),
        ("node_role", true),
        ("rule_set", true),
        ("rule_removed", true),
        ("node_left", true),
        ("node_removed", true),
    ];
    assert_eq!(said, expected);
    let between = all[5].place;
    assert_eq!(log.state.events_behind(between, None, 1)[0].event.name(), "node_role", "a place within an entry");
    let Happening::OfCluster(last) = all[10].event else { panic!("of the cluster") };
    assert_eq!(last.to_string(), "node n1 was taken out of the cluster");
    for _ in 0..CLUSTER_EVENTS_KEPT_MAX {
        log.apply(Command::SetRule(rule()));
        log.apply(Command::RemoveRule { kind: RuleKind::Scope, name: "lab".into(), author: Author::default() });
    }
    let kept = log.state.events_behind(EventPlace::behind(0), None, usize::MAX);
    let kept = kept.iter().filter(|it| it.place.job == NO_JOB).count() as u64;
    assert_eq!(kept, CLUSTER_EVENTS_KEPT_MAX);
    let first = log.state.events_behind(EventPlace::behind(0), None, usize::MAX);
    let first = first.iter().find(|it| it.place.job == NO_JOB).map(|it| it.place).unwrap();
    assert_eq!(log.state.cluster_events_gone(between), Some(first.index), "lines behind it are gone");
    assert_eq!(log.state.cluster_events_gone(EventPlace::behind(first.index - 1)), Some(first.index));
    assert_eq!(log.state.cluster_events_gone(EventPlace::behind(first.index)), None);
}
