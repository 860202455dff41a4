//! What is to be done about schedules now: a pure function of the log and its clock.

use std::collections::BTreeMap;

use pentora_raft::State;
use pentora_raft::state::{MissedPolicy, Occurrence, OverlapPolicy, PassReason, Schedule};

use super::times::Times;

/// How late a time may be begun before it is missed. Ours: a failover takes seconds, and of the most frequent schedule, one
/// of every minute, no two times are ever late together.
pub(super) const MISSED_AFTER_MS: u64 = 60_000;
/// How many times of one schedule are gone through in a round.
const TIMES_MAX: usize = 1_000;

/// What is to be done about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin the job of this time, from this request.
    Start(Occurrence, Vec<u8>),
    /// Say that nothing is begun.
    Pass(Occurrence, PassReason),
}

/// A schedule's next time, worked out once.
#[derive(Debug)]
pub(super) struct Watched {
    made_at_ms: u64,
    over_ms: u64,
    /// `None` where this release does not understand them.
    times: Option<Times>,
    next_ms: Option<u64>,
}

impl Watched {
    fn of(schedule: &Schedule) -> Self {
        let times = Times::parse(&schedule.spec.cron, &schedule.spec.timezone).ok();
        let next_ms = times.as_ref().and_then(|times| times.next_ms(schedule.over_ms));
        Self { made_at_ms: schedule.made_at_ms, over_ms: schedule.over_ms, times, next_ms }
    }

    fn is_of(&self, schedule: &Schedule) -> bool {
        (self.made_at_ms, self.over_ms) == (schedule.made_at_ms, schedule.over_ms)
    }
}

/// What is to be done now. `watched` is kept from round to round.
pub(super) fn steps(state: &State, watched: &mut BTreeMap<String, Watched>, now_ms: u64) -> Vec<(String, Step)> {
    watched.retain(|name, _| state.schedule(name).is_some());
    let mut steps = Vec::new();
    for (name, schedule) in state.schedules().filter(|(_, schedule)| !schedule.paused) {
        if !watched.get(name).is_some_and(|known| known.is_of(schedule)) {
            watched.insert(name.clone(), Watched::of(schedule));
        }
        let Some(known) = watched.get(name) else { continue };
        let Some(times) = known.times.as_ref().filter(|_| known.next_ms.is_some_and(|next| next <= now_ms)) else {
            continue;
        };
        if let Some(step) = step(state, schedule, times, now_ms) {
            steps.push((name.clone(), step));
        }
    }
    steps
}

/// What is to be done about a schedule that has a time up to now.
fn step(state: &State, schedule: &Schedule, times: &Times, now_ms: u64) -> Option<Step> {
    let due: Vec<u64> = times.upcoming(schedule.over_ms).take_while(|at| *at <= now_ms).take(TIMES_MAX).collect();
    let at_ms = *due.last()?;
    let passed_over = u32::try_from(due.len() - 1).unwrap_or(u32::MAX);
    let occurrence = Occurrence { at_ms, passed_over };
    if due.len() == TIMES_MAX {
        // Those behind it are looked at in the next round.
        return Some(Step::Pass(occurrence, PassReason::Missed));
    }
    let unfinished = state.unfinished_run(schedule);
    // What waited for the run before could not begin earlier than that ended.
    let waited_until = match schedule.spec.overlap {
        OverlapPolicy::Queue => schedule.last_job.and_then(|job| state.job(job)?.finished_at_ms),
        OverlapPolicy::Skip | OverlapPolicy::Allow => None,
    };
    match (schedule.spec.overlap, unfinished) {
        (OverlapPolicy::Queue, Some(_)) => return None,
        (OverlapPolicy::Skip, Some(_)) => return Some(Step::Pass(occurrence, PassReason::Overlapped)),
        _ => {}
    }
    let could_begin = at_ms.max(waited_until.unwrap_or(0));
    let is_missed = now_ms.saturating_sub(could_begin) > MISSED_AFTER_MS;
    if is_missed && schedule.spec.missed == MissedPolicy::Skip {
        return Some(Step::Pass(occurrence, PassReason::Missed));
    }
    Some(Step::Start(occurrence, schedule.spec.request.clone()))
}

#[cfg(test)]
#[path = "due_test.rs"]
mod tests;
