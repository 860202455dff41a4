//! What is done about failures: how long a unit rests, and which worker is set aside. Pure, but for the jitter that is
//! handed in: the leader draws it, and what it drew goes into the log.

use pentora_raft::command::{Command, UnitKey};
use pentora_raft::state::{Backoff, Retry, Settings};
use pentora_raft::{NodeId, State};

/// The pause before the second try, in milliseconds; each further one is twice as long. Ours: what is over in a second, as
/// a full disk or a lost route, is met by none.
const PAUSE_MS: u64 = 1_000;
/// The longest pause, in milliseconds. Ours.
const PAUSE_MS_MAX: u64 = 60_000;
/// The pause where it is always the same, in milliseconds. Ours.
const FIXED_PAUSE_MS: u64 = 5_000;
/// A worker is set aside after so many failures in a row, and at each one after that. Ours: one may be the unit's fault,
/// and a second unit may be as poisonous.
const FAILURES_MAX: u32 = 3;
/// How long it is set aside at first, in milliseconds; twice as long each time. Ours.
const ASIDE_MS: u64 = 30_000;
/// The longest it is set aside, in milliseconds. Ours.
const ASIDE_MS_MAX: u64 = 600_000;
/// Pauses in one entry; keeps an entry far below a frame.
const PAUSES_MAX: usize = 256;

/// The pauses that are to be proposed; `is_here` tells whether a worker has a session, and `draw` answers a number from 0 to the one
/// it is given. What was lost with its worker for the first time does not rest: a process that is gone says nothing of the unit. The
/// second time it does, for a unit may be what ends them.
pub(super) fn pauses(
    state: &State,
    settings: &Settings,
    now_ms: u64,
    is_here: impl Fn(NodeId) -> bool,
    mut draw: impl FnMut(u64) -> u64,
) -> Option<Command> {
    let undecided = state.retries().filter(|(_, retry)| retry.not_before_ms.is_none());
    let is_lost = |retry: &Retry| retry.failed_by.last().is_some_and(|node| !is_here(*node));
    let mut pause = |tries: u32| match settings.backoff {
        Backoff::None => 0,
        Backoff::Fixed => FIXED_PAUSE_MS,
        Backoff::Exponential => draw((PAUSE_MS << (tries.clamp(1, 30) - 1)).min(PAUSE_MS_MAX)),
    };
    let tries = undecided.map(|(unit, retry)| (unit, retry, tries_of(state, unit).max(retry.declined)));
    let pause = tries.map(|(unit, retry, tries)| (unit, if tries <= 1 && is_lost(retry) { 0 } else { pause(tries) }));
    let updates: Vec<(UnitKey, u64)> =
        pause.take(PAUSES_MAX).map(|(unit, pause_ms)| (unit, now_ms.saturating_add(pause_ms))).collect();
    (!updates.is_empty()).then_some(Command::SetBackoff { updates })
}

/// How often what begins at `unit` was tried.
fn tries_of(state: &State, unit: UnitKey) -> u32 {
    let progress = state.progress(unit.job, unit.partition);
    let free = progress.and_then(|progress| progress.free.range(..=unit.start).next_back());
    free.map_or(1, |(_, free)| free.attempts)
}

/// The workers that are to be set aside. One whose own file declines what it got has not failed, and is not counted among these.
pub(super) fn aside(state: &State, now_ms: u64) -> Vec<Command> {
    let failing = state.failing().filter(|(_, health)| {
        let allowed = if health.times == 0 { FAILURES_MAX } else { 1 };
        health.failures >= allowed && !health.is_aside(now_ms)
    });
    let until = |times: u32| now_ms.saturating_add((ASIDE_MS << times.min(10)).min(ASIDE_MS_MAX));
    failing.map(|(node, health)| Command::SetAside { node, until_ms: until(health.times) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::command::{LeaseRef, NewLease, NodeInfo, Proposal, SpecRef, Submission};
    use pentora_raft::state::{JobLimits, Partition, Priority, Share};
    use pentora_raft::{ClusterId, Digest, JobId};

    /// A state in which node 1 had unit `0..8` in vain so many times.
    fn failed(times: u32) -> State {
        handed_back(times, |leases| Command::Expire { leases, reason: "engine".into() })
    }

    /// A worker that handed back so many units in a row.
    fn handed_back(times: u32, back: impl Fn(Vec<LeaseRef>) -> Command) -> State {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |command: Command| {
            index += 1;
            state.apply(index, &Proposal { at_ms: index, command });
            index
        };
        let info = NodeInfo { name: "a".into(), peer: "a".into(), ..NodeInfo::default() };
        apply(Command::Begin { cluster: ClusterId([1; 16]), info, admin_token: Digest::of(b"t") });
        apply(Command::WorkerBack { node: 1 });
        let job = JobId(apply(Command::SubmitJob(Box::new(Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count: 8, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 99, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        }))));
        let unit = UnitKey { job, partition: 0, start: 0 };
        for _ in 0..times {
            let epoch =
                apply(Command::Grant { grants: vec![NewLease { unit, end: 8, node: 1, share: Share::default() }] });
            apply(back(vec![LeaseRef { unit, epoch }]));
        }
        state
    }

    fn pause(times: u32, backoff: Backoff) -> u64 {
        let settings = Settings { backoff, ..Settings::default() };
        match pauses(&failed(times), &settings, 1_000_000, |_| true, |most| most) {
            Some(Command::SetBackoff { updates }) => updates[0].1 - 1_000_000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_chance_takes_any_part_off() {
        assert_eq!(
            [1, 2, 3, 7, 40].map(|times| pause(times, Backoff::Exponential)),
            [1_000, 2_000, 4_000, 60_000, 60_000]
        );
        assert_eq!([1, 7].map(|times| pause(times, Backoff::Fixed)), [5_000, 5_000]);
        assert_eq!(pause(3, Backoff::None), 0);
        let none = pauses(&failed(3), &Settings::default(), 5, |_| true, |_| 0);
        assert!(matches!(none, Some(Command::SetBackoff { updates }) if updates[0].1 == 5));
        assert_eq!(pauses(&failed(0), &Settings::default(), 5, |_| true, |_| 0), None);
    }

    #[test]
    fn what_was_lost_with_its_worker_is_free_at_once_the_first_time_and_rests_the_next() {
        let pause = |times| match pauses(&failed(times), &Settings::default(), 7, |node| node != 1, |most| most) {
            Some(Command::SetBackoff { updates }) => updates[0].1 - 7,
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3].map(pause), [0, 2_000, 4_000]);
    }

    #[test]
    fn a_worker_whose_own_file_declines_what_it_got_is_not_set_aside_whatever_the_reason_says() {
        let reason = || "engine".to_owned();
        let declined = handed_back(9, |leases| Command::Decline { leases, reason: reason() });
        assert!(aside(&declined, 10).is_empty() && declined.health(1).is_none());
        let pauses = pauses(&declined, &Settings::default(), 0, |_| true, |most| most);
        let unit = UnitKey { job: JobId(3), partition: 0, start: 0 };
        assert_eq!(pauses, Some(Command::SetBackoff { updates: vec![(unit, 60_000)] }), "the ninth time, to the same");
        assert_eq!(aside(&failed(9), 10).len(), 1);
    }

    #[test]
    fn a_worker_is_set_aside_at_its_third_failure_in_a_row_and_longer_each_time() {
        assert!(aside(&failed(2), 10).is_empty());
        let mut state = failed(3);
        for (now_ms, until_ms) in [(0, 30_000), (30_000, 90_000), (90_000, 210_000)] {
            let proposed = aside(&state, now_ms);
            assert_eq!(proposed, [Command::SetAside { node: 1, until_ms }]);
            for command in proposed {
                state.apply(1_000 + now_ms, &Proposal { at_ms: 1, command });
            }
            assert!(aside(&state, until_ms).is_empty(), "it has another try");
            let unit = UnitKey { job: JobId(3), partition: 0, start: 0 };
            let grant = Command::Grant { grants: vec![NewLease { unit, end: 8, node: 1, share: Share::default() }] };
            state.apply(1_001 + now_ms, &Proposal { at_ms: 1, command: grant });
            let leases = vec![LeaseRef { unit, epoch: 1_001 + now_ms }];
            state
                .apply(1_002 + now_ms, &Proposal { at_ms: 1, command: Command::Expire { leases, reason: "x".into() } });
        }
    }
}
