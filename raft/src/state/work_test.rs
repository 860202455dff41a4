//! How work comes back: what is remembered of a failed range, what each action does with a failed worker's units, and
//! what a user's hold on a job does.

use super::cases_test::{Log, job_of};
use super::{Backoff, FailureAction, JobStatus, Priority, Settings};
use crate::command::sample_test::submission;
use crate::command::{Command, LeaseRef, Refusal, Response, UnitKey};
use crate::id::JobId;
use crate::state::JobLimits;

fn set(log: &mut Log, change: impl FnOnce(&mut Settings)) {
    let mut settings = Settings { backoff: Backoff::Fixed, ..Settings::default() };
    change(&mut settings);
    assert_eq!(log.checked(Command::SetSettings { settings: Box::new(settings) }), Response::Done);
}

/// First index, end, who failed it, when it may be tried again, whose alone it is.
type Row = (u64, u64, Vec<u64>, Option<u64>, Option<u64>);

fn retries(log: &Log, job: JobId) -> Vec<Row> {
    let rows = log.state.job_retries(job);
    rows.map(|(unit, row)| (unit.start, row.end, row.failed_by.clone(), row.not_before_ms, row.only)).collect()
}

fn expire(log: &mut Log, lease: LeaseRef) {
    log.checked(Command::Expire { leases: vec![lease], reason: "engine".into() });
}

#[test]
fn whoever_failed_a_range_is_remembered_until_it_is_counted_and_a_part_of_it_keeps_the_rest() {
    let mut log = Log::begun();
    let job = log.submit(job_of(100));
    let lease = log.grant(job, 0..10, 1, None).unwrap();
    expire(&mut log, lease);
    assert_eq!(retries(&log, job), [(0, 10, vec![1], None, None)]);
    let unit = UnitKey { job, partition: 0, start: 0 };
    log.checked(Command::SetBackoff { updates: vec![(unit, 77)] });
    log.checked(Command::SetBackoff { updates: vec![(unit, 99)] });
    assert_eq!(retries(&log, job), [(0, 10, vec![1], Some(77), None)], "it is said once");
    let half = log.grant(job, 0..5, 5, None).unwrap();
    expire(&mut log, half);
    assert_eq!(retries(&log, job), [(0, 5, vec![1, 5], None, None), (5, 10, vec![1], Some(77), None)]);
    let half = log.grant(job, 0..5, 1, None).unwrap();
    assert!(log.complete(half, 5, 1));
    assert_eq!(retries(&log, job), [(5, 10, vec![1], Some(77), None)]);
    log.checked(Command::Cancel { job, reason: "enough".into() });
    assert!(retries(&log, job).is_empty());
}

#[test]
fn failures_in_a_row_are_counted_until_a_unit_is_done_and_a_node_that_does_not_fail_is_not_set_aside() {
    let mut log = Log::begun();
    let job = log.submit(submission(&[100], JobLimits { max_attempts: 9, ..JobLimits::default() }));
    log.checked(Command::SetAside { node: 5, until_ms: 9_000 });
    assert!(log.state.health(5).is_none());
    for _ in 0..2 {
        let lease = log.grant(job, 0..10, 5, None).unwrap();
        expire(&mut log, lease);
    }
    let health = log.state.health(5).unwrap();
    assert_eq!((health.failures, health.reason.as_str(), health.is_aside(0)), (2, "engine", false));
    log.checked(Command::SetAside { node: 5, until_ms: 9_000 });
    let health = log.state.health(5).unwrap();
    assert_eq!((health.failures, health.times), (0, 1));
    assert!(health.is_aside(8_999) && !health.is_aside(9_000));
    let lease = log.grant(job, 0..10, 5, None).unwrap();
    assert!(log.complete(lease, 10, 5));
    assert!(log.state.health(5).is_none());
}

#[test]
fn a_failed_workers_units_go_to_others_or_wait_for_it_or_are_given_up_as_the_settings_say() {
    for (failure, expected) in [
        (FailureAction::Reassign, (vec![(0, 10, 1)], JobStatus::Running, 0)),
        (FailureAction::Wait, (vec![(0, 10, 0)], JobStatus::Running, 0)),
        (FailureAction::Fail, (vec![], JobStatus::Running, 10)),
    ] {
        let mut log = Log::begun();
        set(&mut log, |settings| settings.failure = failure);
        let job = log.submit(job_of(100));
        log.grant(job, 0..10, 5, None).unwrap();
        log.checked(Command::WorkerFailed { node: 5 });
        let record = log.state.job(job).unwrap();
        assert_eq!((log.free(job), record.status, record.dead), expected, "{failure:?}");
        let only: Vec<_> = retries(&log, job).into_iter().map(|row| row.4).collect();
        assert_eq!(only, [None, Some(5)].get(failure as usize).map_or(vec![], |only| vec![*only]), "{failure:?}");
        log.checked(Command::RemoveNode { node: 5 });
        assert!(retries(&log, job).iter().all(|row| row.4.is_none()), "nobody waits for a node that is gone");
    }
}

#[test]
fn a_job_that_is_held_has_nothing_out_gets_nothing_and_goes_on_where_it_was() {
    let mut log = Log::begun();
    let job = log.submit(job_of(100));
    let hold = |paused| Command::PauseJob { job, paused, reason: "a window".into() };
    log.checked(hold(true));
    log.checked(hold(false));
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Queued);
    let lease = log.grant(job, 0..10, 1, None).unwrap();
    log.checked(hold(true));
    assert_eq!((log.state.leases().count(), log.free(job)), (0, vec![(0, 10, 0)]));
    assert!(log.grant(job, 0..10, 1, None).is_none());
    assert!(!log.complete(lease, 10, 1), "what was held is not counted");
    log.checked(hold(false));
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Running);
    assert!(log.grant(job, 0..10, 1, None).is_some());
    log.checked(Command::Reprioritize { job, priority: Priority::Critical });
    assert_eq!(log.state.job(job).unwrap().priority, Priority::Critical);
    let said: Vec<&str> = log.state.job_events(job, 0).map(|(_, event)| event.what.name()).collect();
    assert_eq!(said, ["submitted", "paused", "resumed", "assigned", "paused", "resumed", "reprioritized"]);
    log.checked(Command::Cancel { job, reason: "x".into() });
    for command in [hold(true), hold(false), Command::Reprioritize { job, priority: Priority::Low }] {
        assert_eq!(log.checked(command), Response::Refused(Refusal::JobEnded { job }));
    }
}

#[test]
fn a_share_is_made_smaller_under_its_own_lease_alone_and_leaves_room_for_another() {
    let mut log = Log::begun();
    let job =
        log.submit(submission(&[100], JobLimits { budget_pps: Some(10), max_attempts: 3, ..JobLimits::default() }));
    let lease = log.grant(job, 0..10, 1, Some(10)).unwrap();
    let share = |log: &Log| log.state.lease(&lease.unit).unwrap().share.rate_pps;
    let give_back = |log: &mut Log, epoch, rate_pps| {
        let lease = LeaseRef { epoch, ..lease };
        assert_eq!(log.checked(Command::YieldShare { lease, rate_pps }), Response::Done);
    };
    for (epoch, rate_pps) in [(lease.epoch + 1, 4), (lease.epoch, 0), (lease.epoch, 10), (lease.epoch, 11)] {
        give_back(&mut log, epoch, rate_pps);
        assert_eq!(share(&log), Some(10), "{epoch} {rate_pps}");
    }
    assert!(log.grant(job, 10..20, 5, Some(6)).is_none());
    give_back(&mut log, lease.epoch, 4);
    assert_eq!(share(&log), Some(4));
    assert!(log.grant(job, 10..20, 5, Some(7)).is_none());
    assert!(log.grant(job, 10..20, 5, Some(6)).is_some());
    give_back(&mut log, lease.epoch, 9);
    assert_eq!(share(&log), Some(4), "it does not grow again");
    let whole = log.submit(job_of(10));
    let unbounded = log.grant(whole, 0..10, 1, None).unwrap();
    log.checked(Command::YieldShare { lease: unbounded, rate_pps: 1 });
    assert_eq!(log.state.lease(&unbounded.unit).unwrap().share.rate_pps, None, "nothing bounds it");
}

#[test]
fn a_deep_queue_turns_normal_and_low_jobs_away_and_lets_urgent_ones_in() {
    let mut log = Log::begun();
    let submit = |log: &mut Log, priority| {
        let submission = crate::command::Submission { priority, ..job_of(1) };
        log.checked(Command::SubmitJob(Box::new(submission)))
    };
    let is_full =
        |response: Response| matches!(response, Response::Refused(Refusal::QueueDeep { waiting: 2, limit: 2 }));
    set(&mut log, |settings| settings.queue_depth = 2);
    let first = submit(&mut log, Priority::Low);
    submit(&mut log, Priority::Normal);
    assert!(is_full(submit(&mut log, Priority::Low)) && is_full(submit(&mut log, Priority::Normal)));
    let Response::Submitted { job, .. } = first else { panic!("{first:?}") };
    log.grant(job, 0..1, 1, None).unwrap();
    assert!(matches!(submit(&mut log, Priority::Normal), Response::Submitted { .. }), "one less waits");
    for priority in [Priority::High, Priority::Critical] {
        assert!(matches!(submit(&mut log, priority), Response::Submitted { .. }));
    }
}
