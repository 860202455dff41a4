//! When what failed is tried again: each thing by itself, so that one that cannot be done holds up no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long after the first failure a thing is tried again. Ours: as long as a holder takes to restart.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause. Ours: a disk that was given room again is noticed while somebody still looks.
const LONGEST: Duration = Duration::from_secs(300);

/// What failed, by name.
#[derive(Debug)]
pub(super) struct Backoff<K> {
    failed: BTreeMap<K, Failed>,
}

/// A thing that was tried and not done.
#[derive(Debug)]
struct Failed {
    times: u32,
    not_before: Instant,
    why: String,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failed: BTreeMap::new() }
    }
}

impl<K: Ord> Backoff<K> {
    /// Whether a thing may be tried at `now`.
    pub(super) fn is_ready(&self, key: &K, now: Instant) -> bool {
        self.failed.get(key).is_none_or(|failed| failed.not_before <= now)
    }

    /// How often it failed.
    pub(super) fn times(&self, key: &K) -> u32 {
        self.failed.get(key).map_or(0, |failed| failed.times)
    }

    /// It failed. Answers whether the reason is news, and so worth a line of the log.
    pub(super) fn failed(&mut self, key: K, now: Instant, why: String) -> bool {
        let failed = self.failed.entry(key).or_insert(Failed { times: 0, not_before: now, why: String::new() });
        let pause = FIRST.saturating_mul(1u32.checked_shl(failed.times).unwrap_or(u32::MAX)).min(LONGEST);
        failed.times = failed.times.saturating_add(1);
        failed.not_before = now + pause;
        std::mem::replace(&mut failed.why, why) != failed.why
    }

    /// It was done, or is wanted no more.
    pub(super) fn done(&mut self, key: &K) {
        self.failed.remove(key);
    }

    /// Forgets what is not `wanted` any more.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&K) -> bool) {
        self.failed.retain(|key, _| wanted(key));
    }

    /// What was tried last in vain.
    pub(super) fn names(&self) -> impl Iterator<Item = &K> {
        self.failed.keys()
    }

    /// How many things cannot be done, by reason.
    pub(super) fn reasons(&self) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        for failed in self.failed.values() {
            *reasons.entry(failed.why.clone()).or_insert(0) += 1;
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_of_that_thing_alone_up_to_a_bound() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        assert!(backoff.failed("a", start, "no room".into()));
        assert!(!backoff.is_ready(&"a", start) && backoff.is_ready(&"b", start));
        assert!(backoff.is_ready(&"a", start + FIRST));
        assert!(!backoff.failed("a", start + FIRST, "no room".into()), "the same reason is no news");
        assert!(!backoff.is_ready(&"a", start + FIRST * 2) && backoff.is_ready(&"a", start + FIRST * 3));
        for _ in 0..80 {
            backoff.failed("a", start, "gone".into());
        }
        assert!(backoff.is_ready(&"a", start + LONGEST));
        assert_eq!((backoff.times(&"a"), backoff.reasons()), (82, BTreeMap::from([("gone".into(), 1)])));
        backoff.done(&"a");
        assert!(backoff.is_ready(&"a", start));
    }
}
