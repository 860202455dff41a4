//! Standing scans in the log: one pass at a time, and what is known of a slice when it has ended.

use super::*;
use crate::command::sample_test::{limits, submission};
use crate::command::{Command, Completion};
use crate::state::cases_test::Log;
use crate::state::{Counts, Remarks};
use crate::version::FIRST;

fn spec() -> KeepSpec {
    KeepSpec { request: vec![1], title: "t".into(), fresh_ms: FRESH_MS_MIN, rate_pps: 9, slices: vec![20, 20] }
}

fn add(name: &str, spec: KeepSpec) -> Command {
    Command::AddKeep { name: name.into(), spec: Box::new(spec) }
}

fn log() -> Log {
    let mut log = Log::begun();
    assert_eq!(log.checked(add("k", spec())), Response::Done);
    log
}

fn start(slice: u32) -> Command {
    Command::StartSlice { keep: "k".into(), slice, submission: Box::new(submission(&[20], limits())) }
}

fn end(job: JobId) -> Command {
    Command::EndSlice { keep: "k".into(), job }
}

fn not_due() -> Response {
    Response::Refused(Refusal::NotDue { name: "k".into() })
}

fn started(log: &mut Log, slice: u32) -> JobId {
    let Response::Submitted { job, existing: false } = log.checked(start(slice)) else { panic!("not started") };
    job
}

/// Has node 1 scan all of a pass that began at once, with so many hosts up, in a second.
fn scan(log: &mut Log, job: JobId, hosts_up: u64, remarks: Remarks) {
    let lease = log.grant(job, 0..20, 1, None).unwrap();
    log.at_ms += 1_000;
    let stored = crate::command::sample_test::stored(b"x");
    let counts = Counts { hosts_up, ..Counts::default() };
    let completion = Completion { lease, start: 0, end: 20, goes_on: false, node: 1, stored, counts };
    let done = Command::CompleteWith { completion: Box::new(completion), remarks };
    assert_eq!(log.checked(done), Response::Completed { accepted: vec![true] });
}

fn slice(log: &Log, slice: usize) -> Slice {
    log.state.keep("k").unwrap().slices[slice].clone()
}

#[test]
fn one_pass_is_on_at_a_time_and_its_end_is_noted_once() {
    let mut log = log();
    assert_eq!(log.checked(start(2)), not_due(), "there is no such slice");
    let began_ms = log.at_ms;
    let job = started(&mut log, 1);
    assert_eq!(log.checked(start(0)), not_due());
    assert_eq!(log.checked(end(job)), not_due(), "it is not over");
    scan(&mut log, job, 3, Remarks::default());
    assert_eq!(log.checked(start(0)), not_due(), "what came of it is not noted yet");
    assert_eq!(log.checked(end(job)), Response::Done);
    assert_eq!(log.checked(end(job)), not_due());
    let known = slice(&log, 1);
    assert_eq!((known.seen_ms, known.took_ms, known.hosts_up), (Some(began_ms), 1_000, 3));
    assert_eq!((known.unseen, known.changed_ms, known.job), (0, None, Some(job)));
    assert_eq!(slice(&log, 0), Slice::default());
    started(&mut log, 0);
}

#[test]
fn a_later_pass_replaces_the_one_before_and_says_whether_something_changed() {
    let mut log = log();
    let mut before = None;
    for (hosts_up, changed) in [(3, false), (3, false), (4, true)] {
        let job = started(&mut log, 0);
        scan(&mut log, job, hosts_up, Remarks::default());
        assert_eq!(log.checked(end(job)), Response::Done);
        assert_eq!(slice(&log, 0).changed_ms, changed.then_some(log.at_ms));
        if let Some(before) = before {
            assert_eq!(log.state.job(before), None, "results of an earlier pass are not kept");
        }
        assert!(log.state.job(job).is_some());
        before = Some(job);
    }
}

#[test]
fn a_pass_takes_as_long_as_it_went_on_and_not_as_long_as_it_was_held() {
    for version in [FIRST, SECOND] {
        let mut log = log();
        log.checked(Command::RaiseLog { version });
        let job = started(&mut log, 0);
        let lease = log.grant(job, 0..20, 1, None).unwrap();
        log.at_ms += 400;
        log.checked(Command::HoldJob { job, hold: Some("a blackout".into()) });
        log.checked(Command::Release { leases: vec![lease] });
        log.at_ms += 25_000;
        log.checked(Command::HoldJob { job, hold: None });
        log.checked(Command::PauseJob { job, paused: true, reason: "a person".into() });
        log.at_ms += 3_000;
        log.checked(Command::PauseJob { job, paused: false, reason: String::new() });
        scan(&mut log, job, 0, Remarks::default());
        assert_eq!(log.checked(end(job)), Response::Done);
        // Replicas of a release that counted holds count as that one does.
        let took_ms = if version == FIRST { 29_400 } else { 1_400 };
        assert_eq!(slice(&log, 0).took_ms, took_ms);
    }
}

#[test]
fn what_a_pass_did_not_get_to_is_counted_and_one_that_was_stopped_has_seen_nothing() {
    let mut log = log();
    let job = started(&mut log, 0);
    scan(&mut log, job, 0, Remarks { not_probed: [(0, 7)].into(), ..Remarks::default() });
    log.checked(end(job));
    assert_eq!((slice(&log, 0).unseen, slice(&log, 0).seen_ms.is_some()), (7, true));
    let job = started(&mut log, 1);
    log.at_ms += 5;
    log.checked(Command::Cancel { job, reason: String::new() });
    assert_eq!(log.checked(end(job)), Response::Done);
    assert_eq!((slice(&log, 1).seen_ms, slice(&log, 1).failed_ms), (None, Some(log.at_ms)));
    let job = started(&mut log, 1);
    log.checked(Command::Cancel { job, reason: String::new() });
    log.checked(Command::DeleteJob { job });
    assert_eq!(log.checked(end(job)), Response::Done, "its job is forgotten");
}

#[test]
fn addresses_that_were_no_targets_of_a_pass_are_counted_as_left_out() {
    let mut log = log();
    // Of the slice's twenty addresses rules leave three out.
    let submission = Box::new(submission(&[17], limits()));
    let started = log.checked(Command::StartSlice { keep: "k".into(), slice: 0, submission });
    let Response::Submitted { job, .. } = started else { panic!("{started:?}") };
    let lease = log.grant(job, 0..17, 1, None).unwrap();
    let stored = crate::command::sample_test::stored(b"x");
    let completion =
        Completion { lease, start: 0, end: 17, goes_on: false, node: 1, stored, counts: Counts::default() };
    log.checked(Command::CompleteWith { completion: Box::new(completion), remarks: Remarks::default() });
    assert_eq!(log.checked(end(job)), Response::Done);
    assert_eq!((slice(&log, 0).left_out, slice(&log, 0).unseen, slice(&log, 1).left_out), (3, 0, 0));
}

#[test]
fn a_hold_begins_nothing_a_refusal_is_kept_until_a_pass_begins_and_an_end_stops_the_pass() {
    let mut log = log();
    let pause = |paused| Command::PauseKeep { name: "k".into(), paused };
    let refuse = |reason: &str| Command::RefuseSlice { keep: "k".into(), reason: reason.into() };
    assert_eq!(log.checked(pause(true)), Response::Done);
    assert_eq!(log.checked(start(0)), not_due());
    assert_eq!(log.checked(pause(false)), Response::Done);
    let since_ms = log.at_ms;
    log.checked(refuse("outside the scope"));
    log.at_ms += 9;
    log.checked(refuse("outside the scope"));
    assert_eq!(log.state.keep("k").unwrap().refused, Some((since_ms, "outside the scope".into())), "since when");
    let job = started(&mut log, 0);
    assert_eq!(log.state.keep("k").unwrap().refused, None);
    assert_eq!(log.checked(Command::RemoveKeep { name: "k".into() }), Response::Done);
    assert_eq!(log.state.job(job).unwrap().status, JobStatus::Cancelled);
    let unknown = Response::Refused(Refusal::KeepUnknown { name: "k".into() });
    for command in [end(job), start(0), pause(true), refuse("x"), Command::RemoveKeep { name: "k".into() }] {
        assert_eq!(log.checked(command), unknown);
    }
}

#[test]
fn a_promise_has_slices_a_time_and_a_budget_and_a_name_of_its_own() {
    let mut log = log();
    assert_eq!(log.checked(add("k", spec())), Response::Done, "the same once more");
    let other = KeepSpec { rate_pps: 8, ..spec() };
    assert_eq!(log.checked(add("k", other)), Response::Refused(Refusal::KeepExists { name: "k".into() }));
    for (name, spec) in [
        ("a/b", spec()),
        ("a", KeepSpec { request: vec![0; REQUEST_BYTES_MAX + 1], ..spec() }),
        ("a", KeepSpec { fresh_ms: FRESH_MS_MIN - 1, ..spec() }),
        ("a", KeepSpec { rate_pps: 0, ..spec() }),
        ("a", KeepSpec { slices: Vec::new(), ..spec() }),
        ("a", KeepSpec { slices: vec![1; SLICES_MAX + 1], ..spec() }),
        ("a", KeepSpec { slices: vec![1, 0], ..spec() }),
        ("a", KeepSpec { slices: vec![u64::MAX, 1], ..spec() }),
    ] {
        let response = log.checked(add(name, spec));
        assert!(matches!(response, Response::Refused(Refusal::Malformed { .. })), "{response:?}");
    }
    for number in 1..KEEPS_MAX {
        assert_eq!(log.apply(add(&format!("k{number}"), spec())), Response::Done);
    }
    assert_eq!(log.apply(add("more", spec())), Response::Refused(Refusal::KeepsFull { limit: KEEPS_MAX }));
}

#[test]
fn a_standing_scans_passes_are_those_of_whoever_asked_for_it() {
    use crate::command::{Arrangement, Author};
    let author = Author { who: "ci".into(), from: "10.0.0.7".into() };
    let arrangement = Box::new(Arrangement::Keep { name: "k".into(), spec: spec() });
    let mut log = Log::begun();
    assert_eq!(log.checked(Command::ArrangeAs { author: author.clone(), arrangement }), Response::Done);
    let job = started(&mut log, 1);
    assert_eq!((log.state.author(job), log.state.keep_author("k")), (Some(&author), Some(&author)));
    assert_eq!(log.checked(Command::RemoveKeep { name: "k".into() }), Response::Done);
    assert_eq!(log.state.keep_author("k"), None);
}
