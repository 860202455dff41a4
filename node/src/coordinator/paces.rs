//! How fast each job goes on, over the last half minute: what its expected end is told from.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pentora_raft::JobId;

/// Over which time a pace is measured. Ours: three units of ten seconds.
const WINDOW: Duration = Duration::from_secs(30);
/// How far two samples are apart at least.
const SAMPLE: Duration = Duration::from_secs(1);
/// Over which time at least; before that it is unknown.
const KNOWN_AFTER: Duration = Duration::from_secs(3);
/// How many targets are to be done by then; with fewer it is waited for most of the window, since the first ones come long after the
/// first packets.
const KNOWN_TARGETS: u64 = 10;
const KNOWN_AFTER_FEW: Duration = Duration::from_secs(20);

/// What was seen of each job that wants work.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<JobId, VecDeque<(Instant, u64)>>);

impl Paces {
    /// Looks at how many targets of each job are done at `now`; jobs that are not named are forgotten.
    pub(super) fn look(&mut self, now: Instant, done: impl Iterator<Item = (JobId, u64)>) {
        let mut before = std::mem::take(&mut self.0);
        for (job, done) in done {
            let mut samples = before.remove(&job).unwrap_or_default();
            // What was lost with a unit is not done: what was seen before says nothing of the pace from here on.
            if samples.back().is_some_and(|(_, before)| *before > done) {
                samples.clear();
            }
            if samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SAMPLE) {
                samples.push_back((now, done));
            }
            while samples.len() > 2
                && samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW)
            {
                samples.pop_front();
            }
            self.0.insert(job, samples);
        }
    }

    /// Targets per second of each job of which that is known.
    pub(super) fn targets_per_second(&self) -> BTreeMap<JobId, f64> {
        let pace = |samples: &VecDeque<(Instant, u64)>| {
            let ((from, before), (until, done)) = (samples.front()?, samples.back()?);
            let time = until.saturating_duration_since(*from);
            let gained = done.saturating_sub(*before);
            let known_after = if gained < KNOWN_TARGETS { KNOWN_AFTER_FEW } else { KNOWN_AFTER };
            (time >= known_after && gained > 0).then(|| gained as f64 / time.as_secs_f64())
        };
        self.0.iter().filter_map(|(job, samples)| Some((*job, pace(samples)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_unknown_at_first_then_of_the_last_half_minute_and_unknown_again_after_a_loss() {
        let (begun, job) = (Instant::now(), JobId(7));
        let mut paces = Paces::default();
        let mut look = |seconds: u64, done: u64| {
            paces.look(begun + Duration::from_secs(seconds), [(job, done)].into_iter());
            paces.targets_per_second().get(&job).copied()
        };
        assert_eq!([look(0, 0), look(2, 200)], [None, None]);
        assert_eq!(look(4, 400), Some(100.0));
        let mut slow = Paces::default();
        let mut first = |seconds: u64, done: u64| {
            slow.look(begun + Duration::from_secs(seconds), [(job, done)].into_iter());
            slow.targets_per_second().get(&job).copied()
        };
        assert_eq!([first(0, 0), first(12, 1)], [None, None], "one of thousands tells nothing");
        assert_eq!(first(20, 1), Some(0.05));
        for second in 5..60 {
            look(second, 400 + (second - 4) * 10);
        }
        assert_eq!(look(60, 960), Some(10.0), "the first seconds are forgotten");
        assert_eq!(look(61, 900), None, "a unit was lost");
        for second in 62..120 {
            look(second, 900);
        }
        assert_eq!(look(120, 900), None, "it stands still");
    }
}
