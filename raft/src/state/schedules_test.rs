//! Schedules in the log: one job per occurrence whoever proposes it, and what holds when.

use super::*;
use crate::command::Command;
use crate::command::sample_test::{limits, submission};
use crate::id::NodeId;
use crate::state::JobStatus;
use crate::state::cases_test::Log;

fn spec(overlap: OverlapPolicy) -> ScheduleSpec {
    ScheduleSpec {
        cron: "0 2 * * *".into(),
        timezone: "Europe/Berlin".into(),
        missed: MissedPolicy::Skip,
        overlap,
        request: vec![1],
        title: "10.0.0.0/8".into(),
    }
}

fn log(overlap: OverlapPolicy) -> Log {
    let mut log = Log::begun();
    let add = Command::AddSchedule { name: "nightly".into(), spec: Box::new(spec(overlap)) };
    assert_eq!(log.checked(add), Response::Done);
    log
}

fn start(at_ms: u64) -> Command {
    let submission = Box::new(submission(&[20], limits()));
    Command::StartOccurrence {
        schedule: "nightly".into(),
        occurrence: Occurrence { at_ms, passed_over: 0 },
        submission,
    }
}

fn pass(at_ms: u64, why: PassReason) -> Command {
    Command::PassOccurrence { schedule: "nightly".into(), occurrence: Occurrence { at_ms, passed_over: 2 }, why }
}

fn not_due() -> Response {
    Response::Refused(Refusal::NotDue { name: "nightly".into() })
}

fn runs(log: &Log) -> Vec<(u64, &'static str)> {
    let schedule = log.state.schedule("nightly").unwrap();
    schedule.runs.iter().map(|run| (run.occurrence.at_ms, run.outcome.name())).collect()
}

#[test]
fn an_occurrence_has_one_job_however_many_leaders_start_it_and_whatever_their_clocks_say() {
    let mut log = log(OverlapPolicy::Allow);
    let due = log.at_ms + 1_000;
    assert_eq!(log.checked(start(due)), not_due(), "the log's clock says that it is not due");
    log.at_ms = due + 5;
    let Response::Submitted { job, existing: false } = log.checked(start(due)) else { panic!("not started") };
    // The next leader, which had not applied that, and whose clock is behind.
    log.at_ms = due - 900;
    assert_eq!(log.checked(start(due)), not_due());
    // One that works with another table of zones, and comes to an earlier instant.
    assert_eq!(log.checked(start(due - 500)), not_due());
    assert_eq!(log.checked(pass(due, PassReason::Missed)), not_due());
    assert_eq!(log.state.jobs().count(), 1);
    assert_eq!(runs(&log), [(due, "started")]);
    assert_eq!(log.state.schedule("nightly").unwrap().last_job, Some(job));
}

#[test]
fn what_is_refused_at_its_time_leaves_the_occurrence_to_be_passed_with_its_reason() {
    let mut log = log(OverlapPolicy::Skip);
    let due = log.at_ms + 10;
    log.at_ms = due;
    let empty = Command::StartOccurrence {
        schedule: "nightly".into(),
        occurrence: Occurrence { at_ms: due, passed_over: 0 },
        submission: Box::new(submission(&[], limits())),
    };
    assert!(matches!(log.checked(empty), Response::Refused(Refusal::Malformed { .. })));
    assert_eq!(runs(&log), []);
    let reason = "x".repeat(REASON_CHARS_MAX + 9);
    assert_eq!(log.checked(pass(due, PassReason::Refused { reason })), Response::Done);
    let run = log.state.schedule("nightly").unwrap().runs[0].clone();
    assert_eq!((run.occurrence.passed_over, run.at_ms), (2, due));
    let RunOutcome::Refused { reason } = run.outcome else { panic!("{run:?}") };
    assert_eq!(reason.len(), REASON_CHARS_MAX);
}

#[test]
fn while_the_run_before_is_not_over_only_a_schedule_that_allows_it_begins_another() {
    for (overlap, begins) in [(OverlapPolicy::Skip, false), (OverlapPolicy::Queue, false), (OverlapPolicy::Allow, true)]
    {
        let mut log = log(overlap);
        let due = log.at_ms + 10;
        log.at_ms += 100;
        let Response::Submitted { job, .. } = log.checked(start(due)) else { panic!("not started") };
        assert_eq!(log.checked(start(due + 1)) == not_due(), !begins, "{overlap:?}");
        let overlapped = log.checked(pass(due + 2, PassReason::Overlapped));
        assert_eq!(overlapped, Response::Done, "the run before is not over");
        for job in log.state.jobs().map(|(id, _)| id).collect::<Vec<_>>() {
            log.checked(Command::Cancel { job, reason: String::new() });
        }
        assert_eq!(log.state.job(job).unwrap().status, JobStatus::Cancelled);
        assert_eq!(log.checked(pass(due + 3, PassReason::Overlapped)), not_due(), "nothing overlaps any more");
        assert!(matches!(log.checked(start(due + 3)), Response::Submitted { .. }), "{overlap:?}");
    }
}

#[test]
fn a_pause_ends_the_occurrences_that_come_meanwhile_and_begins_none() {
    let mut log = log(OverlapPolicy::Skip);
    let pause = |paused| Command::PauseSchedule { name: "nightly".into(), paused };
    let due = log.at_ms + 10;
    assert_eq!(log.checked(pause(true)), Response::Done);
    log.at_ms += 100;
    assert_eq!(log.checked(start(due)), not_due());
    assert_eq!(log.checked(pause(false)), Response::Done);
    assert_eq!(log.checked(start(due)), not_due(), "it came while the schedule was held");
    log.at_ms += 10;
    assert!(matches!(log.checked(start(log.at_ms)), Response::Submitted { .. }));
    let over_ms = log.state.schedule("nightly").unwrap().over_ms;
    log.at_ms += 10;
    assert_eq!(log.checked(pause(false)), Response::Done);
    assert_eq!(log.state.schedule("nightly").unwrap().over_ms, over_ms, "a schedule that is not held loses nothing");
}

#[test]
fn a_name_is_one_schedule_and_there_are_so_many_at_most_each_of_a_bounded_size() {
    let mut log = log(OverlapPolicy::Skip);
    let add = |name: &str, spec: ScheduleSpec| Command::AddSchedule { name: name.into(), spec: Box::new(spec) };
    let before = log.state.schedule("nightly").cloned();
    log.at_ms += 50;
    assert_eq!(log.checked(add("nightly", spec(OverlapPolicy::Skip))), Response::Done, "the same once more");
    assert_eq!(log.state.schedule("nightly").cloned(), before);
    let other = log.checked(add("nightly", spec(OverlapPolicy::Queue)));
    assert_eq!(other, Response::Refused(Refusal::ScheduleExists { name: "nightly".into() }));
    let good = spec(OverlapPolicy::Skip);
    for (name, spec) in [
        ("", good.clone()),
        ("a/b", good.clone()),
        ("..", good.clone()),
        (&"x".repeat(65), good.clone()),
        ("a", ScheduleSpec { cron: String::new(), ..good.clone() }),
        ("a", ScheduleSpec { timezone: "x".repeat(201), ..good.clone() }),
        ("a", ScheduleSpec { request: vec![0; REQUEST_BYTES_MAX + 1], ..good.clone() }),
    ] {
        let response = log.checked(add(name, spec));
        assert!(matches!(response, Response::Refused(Refusal::Malformed { .. })), "{name}: {response:?}");
    }
    for number in 1..SCHEDULES_MAX {
        assert_eq!(log.apply(add(&format!("s{number}"), good.clone())), Response::Done);
    }
    let full = Response::Refused(Refusal::SchedulesFull { limit: SCHEDULES_MAX });
    assert_eq!(log.apply(add("more", good.clone())), full);
    assert_eq!(log.apply(Command::RemoveSchedule { name: "s1".into() }), Response::Done);
    assert_eq!(log.apply(add("more", good)), Response::Done);
    let gone = Command::PauseSchedule { name: "s1".into(), paused: true };
    assert_eq!(log.apply(gone), Response::Refused(Refusal::ScheduleUnknown { name: "s1".into() }));
}

#[test]
fn of_many_runs_the_last_are_kept_and_a_restored_log_begins_behind_their_jobs() {
    let mut log = log(OverlapPolicy::Allow);
    let mut last: NodeId = 0;
    for _ in 0..RUNS_KEPT_MAX + 3 {
        log.at_ms += 10;
        let Response::Submitted { job, .. } = log.checked(start(log.at_ms)) else { panic!("not started") };
        log.checked(Command::Cancel { job, reason: String::new() });
        log.checked(Command::DeleteJob { job });
        last = job.0;
    }
    let kept = log.state.schedule("nightly").unwrap().runs.len();
    assert_eq!(kept, RUNS_KEPT_MAX);
    assert!(log.state.last_index() >= last, "no later job may have the id of one that a schedule names");
}

#[test]
fn a_schedules_jobs_are_those_of_whoever_asked_for_it_first() {
    use crate::command::{Arrangement, Author};
    let by = |who: &str| Author { who: who.into(), from: "10.0.0.7".into() };
    let arrange = |who: &str| Command::ArrangeAs {
        author: by(who),
        arrangement: Box::new(Arrangement::Schedule { name: "nightly".into(), spec: spec(OverlapPolicy::Allow) }),
    };
    let mut log = Log::begun();
    assert_eq!(log.checked(arrange("ci")), Response::Done);
    assert_eq!(log.checked(arrange("another")), Response::Done, "the same words are the same schedule");
    assert_eq!(log.state.schedule_author("nightly"), Some(&by("ci")));
    let due = log.at_ms + 1_000;
    log.at_ms = due + 5;
    let Response::Submitted { job, existing: false } = log.checked(start(due)) else { panic!("not started") };
    assert_eq!(log.state.author(job), Some(&by("ci")));
    assert_eq!(log.checked(Command::RemoveSchedule { name: "nightly".into() }), Response::Done);
    assert_eq!(log.state.schedule_author("nightly"), None);
    // One of an earlier release is nobody's.
    let add = Command::AddSchedule { name: "nightly".into(), spec: Box::new(spec(OverlapPolicy::Allow)) };
    assert_eq!(log.checked(add), Response::Done);
    log.at_ms += 2_000;
    let due = log.at_ms;
    let Response::Submitted { job, .. } = log.checked(start(due)) else { panic!("not started") };
    assert_eq!(log.state.author(job), None);
}
