//! Each checker bites: a sound state is broken in one place, and the checker names that place.

use super::check;
use crate::command::sample_test::{begin, stored, submission};
use crate::command::{Command, Completion, LeaseRef, NewLease, Proposal, Response, SpecRef, UnitKey};
use crate::event::{Event, EventKind};
use crate::id::JobId;
use crate::state::keys::EventKey;
use crate::state::{
    ChunkRef, Counts, JobLimits, JobStatus, Keep, KeepSpec, LEASES_PER_NODE_MAX, Lease, MissedPolicy, NodeStatus,
    Occurrence, OverlapPolicy, Run, RunOutcome, Schedule, ScheduleSpec, Share, State,
};

/// The job of the sound state: `[0, 10)` done, `[10, 20)` leased, `[20, 30)` free again, `[30, 100)` new.
const JOB: JobId = JobId(4);
/// The log's last index.
const APPLIED: u64 = 7;

fn unit(start: u64) -> UnitKey {
    UnitKey { job: JOB, partition: 0, start }
}

fn sound() -> State {
    let mut state = State::default();
    let lease = |start| LeaseRef { unit: unit(start), epoch: 5 };
    let share = Share { rate_pps: Some(50), network_pps: Some(3) };
    let grant = |start| NewLease { unit: unit(start), end: start + 10, node: 1, share };
    let counts = Counts { hosts_up: 3, ..Counts::default() };
    let done = Completion { lease: lease(0), start: 0, end: 10, goes_on: false, node: 1, stored: stored(b"c"), counts };
    let limits = JobLimits { budget_pps: Some(60), network_pps: Some(9), max_workers: Some(1), max_attempts: 2 };
    let job = submission(&[100], limits);
    let commands = [
        begin("n0"),
        Command::WorkerBack { node: 1 },
        Command::SubmitJob(Box::new(job)),
        Command::Grant { grants: vec![grant(0), grant(10), grant(20)] },
        Command::Complete { completions: vec![done] },
        Command::Expire { leases: vec![lease(20)], reason: "late".into() },
    ];
    for (index, command) in (2..).zip(commands) {
        let response = state.apply(index, &Proposal { at_ms: index * 1_000, command });
        assert!(!matches!(response, Response::Refused(_)), "{response:?}");
    }
    state
}

/// Breaks a sound state and expects the checker to say so in these words.
#[track_caller]
fn bites(words: &str, break_it: impl FnOnce(&mut State)) {
    let mut state = sound();
    check(&state, APPLIED).unwrap();
    break_it(&mut state);
    let said = check(&state, APPLIED).expect_err("a broken state passed");
    assert!(said.contains(words), "said: {said}");
}

fn job(state: &mut State) -> &mut crate::state::Job {
    state.jobs.get_mut(&JOB).unwrap()
}

fn stat(state: &mut State) -> &mut crate::state::WorkerStat {
    state.stats.get_mut(&(JOB, 1)).unwrap()
}

fn progress(state: &mut State) -> &mut crate::state::Progress {
    state.progress.get_mut(&(JOB, 0)).unwrap()
}

#[test]
fn a_hole_or_an_overlap_between_ranges_is_named() {
    bites("the free range 20..30 follows 10", |state| {
        state.leases.remove(&unit(10));
    });
    bites("the free range 20..30 follows 25", |state| state.leases.get_mut(&unit(10)).unwrap().end = 25);
    bites("the dead range 5..12 follows 10", |state| progress(state).dead.insert(5..12));
    bites("ranges reach 30, next is 31", |state| progress(state).next = 31);
    bites("ranges reach 200, next is 200, of 100", |state| {
        progress(state).free.get_mut(&20).unwrap().end = 200;
        progress(state).next = 200;
    });
    bites("has no progress", |state| drop(state.progress.remove(&(JOB, 0))));
}

#[test]
fn sums_that_differ_from_ranges_or_chunks_are_named() {
    bites("counts 11+0 but its ranges hold 10+0", |state| job(state).done = 11);
    bites("counts 10+1 but its ranges hold 10+0", |state| job(state).dead = 1);
    bites("its counts are not the sums over its chunks", |state| job(state).counts.hosts_up = 4);
    bites("by 9 targets in 1 units", |state| stat(state).targets = 9);
    bites("by 10 targets in 2 units", |state| stat(state).units = 2);
    bites("0 chunks hold 0 targets", |state| drop(state.chunks.remove(&unit(0))));
}

#[test]
fn a_chunk_in_the_wrong_place_is_named() {
    let chunk = |end, epoch| ChunkRef { end, stored: stored(b"d"), node: 1, epoch, counts: Counts::default() };
    bites("holds what another holds", |state| state.chunks.insert(unit(5), chunk(10, 5)));
    bites("is of a range that is not done", |state| state.chunks.insert(unit(10), chunk(15, 5)));
    bites("is of a range that is not done", |state| state.chunks.insert(unit(0), chunk(11, 5)));
    bites("is of a range that is not done", |state| state.chunks.insert(unit(0), chunk(0, 5)));
    bites("has an epoch above the log", |state| state.chunks.insert(unit(0), chunk(10, 8)));
    bites("has no holder", |state| state.chunks.get_mut(&unit(0)).unwrap().stored.holders.clear());
}

#[test]
fn a_status_that_does_not_fit_is_named() {
    for status in [JobStatus::Queued, JobStatus::Completed, JobStatus::Partial, JobStatus::Failed] {
        bites(&format!("is {} with 10+0 of 100 targets", status.name()), |state| job(state).status = status);
    }
    bites("is running with 10+90 of 100 targets", |state| {
        state.leases.remove(&unit(10));
        progress(state).free.clear();
        progress(state).dead.insert(10..100);
        progress(state).next = 100;
        job(state).dead = 90;
    });
    bites("its time of ending is None", |state| {
        job(state).status = JobStatus::Cancelled;
    });
    bites("its time of ending is Some(1)", |state| job(state).finished_at_ms = Some(1));
    bites("has ended and still has leases", |state| {
        job(state).status = JobStatus::Cancelled;
        job(state).finished_at_ms = Some(7_000);
    });
    bites("has no spec", |state| drop(state.specs.remove(&JOB)));
    bites("is above the log", |state| {
        let copy = job(state).clone();
        state.jobs.insert(JobId(APPLIED + 1), copy);
    });
}

#[test]
fn a_limit_that_is_passed_is_named() {
    bites("shares of 61 pps exceed 60", |state| state.leases.get_mut(&unit(10)).unwrap().share.rate_pps = Some(61));
    bites("a lease without a share", |state| state.leases.get_mut(&unit(10)).unwrap().share.rate_pps = None);
    bites("shares of 10 pps per network exceed 9", |state| {
        state.leases.get_mut(&unit(10)).unwrap().share.network_pps = Some(10);
    });
    bites("a lease without a share of its 9 pps per network", |state| {
        state.leases.get_mut(&unit(10)).unwrap().share.network_pps = None;
    });
    bites("goes on after 2 tries, 2 are allowed", |state| progress(state).free.get_mut(&20).unwrap().attempts = 2);
    bites("goes on after 3 tries, 2 are allowed", |state| state.leases.get_mut(&unit(10)).unwrap().attempts = 3);
    bites("2 workers are on it, 1 may be", |state| {
        let lease = Lease { node: 2, start: 30, end: 31, ..state.leases.get(&unit(10)).unwrap().clone() };
        state.leases.insert(unit(30), lease);
        progress(state).next = 31;
    });
    bites("node 1 holds 1001 leases", |state| {
        let one = state.leases.get(&unit(10)).unwrap().clone();
        for start in (30..).take(LEASES_PER_NODE_MAX) {
            state.leases.insert(unit(start), Lease { start, end: start + 1, ..one.clone() });
        }
        job(state).limits.network_pps = None;
        job(state).partitions[0].target_count = 10_000;
        progress(state).next = 30 + LEASES_PER_NODE_MAX as u64;
    });
}

#[test]
fn a_lease_of_nobody_or_of_the_future_is_named() {
    bites("has an epoch above the log", |state| state.leases.get_mut(&unit(10)).unwrap().epoch = 8);
    bites("goes on at 12 behind what is not counted", |state| {
        state.leases.get_mut(&unit(10)).unwrap().start = 12;
        progress(state).free.insert(10, crate::state::FreeRange { end: 12, attempts: 0 });
    });
    bites("held by node 9, who is not there", |state| state.leases.get_mut(&unit(10)).unwrap().node = 9);
    bites("held by node 1, who has failed", |state| {
        state.nodes.get_mut(&1).unwrap().status = NodeStatus::Failed;
    });
}

#[test]
fn a_history_out_of_order_is_named() {
    let line = |index| EventKey { job: JOB, index, sequence: 5 };
    let event = |at_ms| Event { at_ms, what: EventKind::Released, worker: None, unit: None };
    bites("has time 1 after", |state| state.events.insert(line(7), event(1)));
    bites("has time 99999 after", |state| state.events.insert(line(7), event(99_999)));
    bites("the event at 8 has", |state| state.events.insert(line(8), event(7_000)));
    bites("5 events, its row counts 4", |state| state.events.insert(line(7), event(7_000)));
}

#[test]
fn a_row_that_outlives_its_job_is_named() {
    let gone = JobId(3);
    let of_gone = UnitKey { job: gone, partition: 0, start: 0 };
    bites("a row of leases outlives partition 0 of job-000003", |state| {
        let lease = state.leases.get(&unit(10)).unwrap().clone();
        state.leases.insert(of_gone, Lease { start: 0, ..lease });
    });
    bites("a row of chunks outlives partition 0 of job-000003", |state| {
        let chunk = state.chunks.get(&unit(0)).unwrap().clone();
        state.chunks.insert(of_gone, chunk);
    });
    bites("a row of progress outlives partition 1 of job-000004", |state| {
        let copy = progress(state).clone();
        state.progress.insert((JOB, 1), copy);
    });
    bites("a row of stats outlives its job job-000003", |state| {
        let copy = *stat(state);
        state.stats.insert((gone, 1), copy);
    });
    bites("a row of specs outlives its job job-000003", |state| state.specs.insert(gone, SpecRef::Inline(vec![])));
    bites("a row of events outlives its job job-000003", |state| {
        let event = state.job_events(JOB, 0).next().unwrap().1.clone();
        state.events.insert(EventKey { job: gone, index: 5, sequence: 1 }, event);
    });
}

#[test]
fn a_schedule_that_is_ahead_or_whose_runs_are_out_of_order_is_named() {
    let scheduled = |change: fn(&mut Schedule)| {
        move |state: &mut State| {
            let spec = ScheduleSpec {
                cron: "@daily".into(),
                timezone: "UTC".into(),
                missed: MissedPolicy::Skip,
                overlap: OverlapPolicy::Skip,
                request: Vec::new(),
                title: String::new(),
            };
            let add = Command::AddSchedule { name: "s".into(), spec: Box::new(spec) };
            assert_eq!(state.apply(APPLIED, &Proposal { at_ms: 7_000, command: add }), Response::Done);
            change(state.schedules.get_mut(&"s".to_owned()).unwrap());
        }
    };
    bites("schedule s is ahead of the log's clock", scheduled(|schedule| schedule.over_ms = 7_001));
    bites("or behind itself", scheduled(|schedule| schedule.over_ms = 6_999));
    bites("schedule s names a job above the log", scheduled(|schedule| schedule.last_job = Some(JobId(8))));
    bites(
        "schedule s has runs out of order",
        scheduled(|schedule| {
            let occurrence = Occurrence { at_ms: 7_000, passed_over: 0 };
            schedule.runs = vec![Run { occurrence, at_ms: 7_000, outcome: RunOutcome::Missed }; 2];
        }),
    );
}

#[test]
fn a_standing_scan_that_lacks_a_slice_or_is_ahead_is_named() {
    let kept = |change: fn(&mut Keep)| {
        move |state: &mut State| {
            let slices = vec![1, 1];
            let spec = KeepSpec { request: Vec::new(), title: String::new(), fresh_ms: 60_000, rate_pps: 1, slices };
            let add = Command::AddKeep { name: "k".into(), spec: Box::new(spec) };
            assert_eq!(state.apply(APPLIED, &Proposal { at_ms: 7_000, command: add }), Response::Done);
            change(state.keeps.get_mut(&"k".to_owned()).unwrap());
        }
    };
    bites("standing scan k knows of 1 slices", kept(|keep| keep.slices.truncate(keep.slices.len() - 1)));
    bites("standing scan k names a job above the log", kept(|keep| keep.slices[1].job = Some(JobId(8))));
    bites("standing scan k names a job above the log", kept(|keep| keep.running = Some((0, JobId(8)))));
    bites("standing scan k is ahead of the log's clock", kept(|keep| keep.slices[0].seen_ms = Some(7_001)));
}

#[test]
fn two_nodes_alike_or_a_drain_half_done_are_named() {
    bites("node 2 has the peer or the worker id of another", |state| {
        let copy = state.node(1).unwrap().clone();
        state.nodes.insert(2, copy);
    });
    bites("node 8 is above the log", |state| {
        let copy = state.node(1).unwrap().clone();
        state.nodes.insert(8, copy);
    });
    bites("node 1 is Active while draining is true", |state| state.nodes.get_mut(&1).unwrap().draining = true);
    bites("node 1 is Draining while draining is false", |state| {
        state.nodes.get_mut(&1).unwrap().status = NodeStatus::Draining;
    });
}
