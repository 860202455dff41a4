//! What the leader does about schedules, from the log and its clock alone.

use pentora_raft::command::{Command, Proposal, SpecRef, Submission};
use pentora_raft::state::{JobLimits, Partition, Priority, ScheduleSpec};
use pentora_raft::{JobId, Response};

use super::*;

const MINUTE: u64 = 60_000;
/// 2026-11-29, 12:00:00 UTC.
const NOON: u64 = 1_795_953_600_000;

struct Log {
    state: State,
    index: u64,
    watched: BTreeMap<String, Watched>,
}

impl Log {
    /// A log with a schedule of every ten minutes, made at noon.
    fn with(missed: MissedPolicy, overlap: OverlapPolicy) -> Self {
        let mut log = Self { state: State::default(), index: 1, watched: BTreeMap::new() };
        let spec = ScheduleSpec {
            cron: "*/10 * * * *".into(),
            timezone: "Europe/Berlin".into(),
            missed,
            overlap,
            request: b"{}".to_vec(),
            title: "t".into(),
        };
        let response = log.apply(NOON, Command::AddSchedule { name: "s".into(), spec: Box::new(spec) });
        assert_eq!(response, Response::Done);
        log
    }

    fn apply(&mut self, at_ms: u64, command: Command) -> Response {
        self.index += 1;
        self.state.apply(self.index, &Proposal { at_ms, command })
    }

    fn step(&mut self, now_ms: u64) -> Option<Step> {
        steps(&self.state, &mut self.watched, now_ms).pop().map(|(_, step)| step)
    }

    /// Carries a start out.
    fn start(&mut self, now_ms: u64) -> JobId {
        let Some(Step::Start(occurrence, _)) = self.step(now_ms) else { panic!("nothing is due at {now_ms}") };
        let submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count: 1, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits::default(),
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        let command = Command::StartOccurrence { schedule: "s".into(), occurrence, submission: Box::new(submission) };
        let Response::Submitted { job, .. } = self.apply(now_ms, command) else { panic!("not started") };
        job
    }
}

fn start(minutes: u64, passed_over: u32) -> Option<Step> {
    Some(Step::Start(Occurrence { at_ms: NOON + minutes * MINUTE, passed_over }, b"{}".to_vec()))
}

fn pass(minutes: u64, passed_over: u32, why: PassReason) -> Option<Step> {
    Some(Step::Pass(Occurrence { at_ms: NOON + minutes * MINUTE, passed_over }, why))
}

#[test]
fn a_time_is_begun_when_it_is_due_and_once() {
    let mut log = Log::with(MissedPolicy::Skip, OverlapPolicy::Allow);
    assert_eq!(log.step(NOON), None, "the time at which it was made is over");
    assert_eq!(log.step(NOON + 10 * MINUTE - 1), None);
    assert_eq!(log.step(NOON + 10 * MINUTE), start(10, 0));
    log.start(NOON + 10 * MINUTE + 5);
    assert_eq!(log.step(NOON + 10 * MINUTE + 9), None);
    assert_eq!(log.step(NOON + 20 * MINUTE), start(20, 0));
    let pause = Command::PauseSchedule { name: "s".into(), paused: true };
    log.apply(NOON + 11 * MINUTE, pause);
    assert_eq!(log.step(NOON + 20 * MINUTE), None);
}

#[test]
fn what_nobody_could_begin_for_a_minute_is_missed_and_run_once_begins_one_for_all_of_it() {
    let late = NOON + 45 * MINUTE;
    assert_eq!(Log::with(MissedPolicy::Skip, OverlapPolicy::Skip).step(late), pass(40, 3, PassReason::Missed));
    assert_eq!(Log::with(MissedPolicy::RunOnce, OverlapPolicy::Skip).step(late), start(40, 3));
    let just = NOON + 41 * MINUTE;
    assert_eq!(Log::with(MissedPolicy::Skip, OverlapPolicy::Skip).step(just), start(40, 3));
}

#[test]
fn a_year_of_missed_times_is_gone_through_in_parts_and_begins_one_job() {
    let mut log = Log::with(MissedPolicy::RunOnce, OverlapPolicy::Skip);
    let now = NOON + 365 * 24 * 60 * MINUTE + MINUTE;
    let mut rounds = 0;
    while let Some(Step::Pass(occurrence, why)) = log.step(now) {
        rounds += 1;
        let command = Command::PassOccurrence { schedule: "s".into(), occurrence, why };
        assert_eq!(log.apply(now, command), Response::Done);
    }
    assert_eq!(rounds, 365 * 24 * 6 / TIMES_MAX);
    log.start(now);
    assert_eq!(log.step(now), None);
}

#[test]
fn a_run_that_is_not_over_lets_the_next_pass_wait_or_begin_as_the_schedule_says() {
    let next = NOON + 20 * MINUTE + 5;
    let end = NOON + 50 * MINUTE;
    for (overlap, then, at_its_end) in [
        (OverlapPolicy::Skip, pass(20, 0, PassReason::Overlapped), pass(50, 3, PassReason::Overlapped)),
        (OverlapPolicy::Queue, None, None),
        (OverlapPolicy::Allow, start(20, 0), start(50, 3)),
    ] {
        let mut log = Log::with(MissedPolicy::Skip, overlap);
        let job = log.start(NOON + 10 * MINUTE);
        assert_eq!(log.step(next), then, "{overlap:?}");
        assert_eq!(log.step(end), at_its_end, "{overlap:?}");
        log.apply(end + 5 * MINUTE, Command::Cancel { job, reason: String::new() });
        let after = log.step(end + 5 * MINUTE + 100);
        match overlap {
            OverlapPolicy::Queue => assert_eq!(after, start(50, 3), "what waited is not missed"),
            _ => assert_eq!(after, pass(50, 3, PassReason::Missed), "{overlap:?}"),
        }
    }
}

#[test]
fn a_schedule_made_anew_under_a_name_or_not_understood_is_looked_at_by_itself() {
    let mut log = Log::with(MissedPolicy::Skip, OverlapPolicy::Skip);
    assert_eq!(log.step(NOON + MINUTE), None);
    let spec = |cron: &str| {
        let spec = log.state.schedule("s").map(|schedule| schedule.spec.clone()).unwrap();
        Box::new(ScheduleSpec { cron: cron.into(), ..spec })
    };
    let (odd, every) = (spec("? ? ? ? ? 2026"), spec("* * * * *"));
    log.apply(NOON + 2 * MINUTE, Command::RemoveSchedule { name: "s".into() });
    assert_eq!(log.step(NOON + 30 * MINUTE), None);
    log.apply(NOON + 2 * MINUTE, Command::AddSchedule { name: "s".into(), spec: every });
    assert_eq!(log.step(NOON + 3 * MINUTE), start(3, 0));
    log.apply(NOON + 3 * MINUTE, Command::AddSchedule { name: "of a newer release".into(), spec: odd.clone() });
    log.apply(NOON + 3 * MINUTE, Command::AddSchedule { name: "newer".into(), spec: odd });
    assert_eq!(steps(&log.state, &mut log.watched, NOON + 3 * MINUTE).len(), 1);
}
