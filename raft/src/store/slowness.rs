//! A disk that is slow for a while because somebody rehearses that: each sync of the log waits before it begins, as it does
//! behind a worn disk or a busy volume. It ends by itself, and with the process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long syncs wait, and until when.
#[derive(Debug, Default)]
pub(crate) struct Slowness {
    now: Mutex<Option<Slow>>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Slow {
    delay: Duration,
    until: Instant,
}

impl Slowness {
    /// Has each sync that begins within `lasts` wait for `delay`, in place of what was said before.
    pub(crate) fn begin(&self, delay: Duration, lasts: Duration) {
        *self.lock() = Instant::now().checked_add(lasts).map(|until| Slow { delay, until });
        self.changed.notify_all();
    }

    /// Has no sync wait any more.
    pub(crate) fn end(&self) {
        *self.lock() = None;
        self.changed.notify_all();
    }

    /// Waits as a sync that begins now is to, and no longer than it is slow.
    pub(crate) fn wait(&self) {
        let begun = Instant::now();
        let mut now = self.lock();
        while let Some(left) = now.and_then(|slow| left(slow, begun, Instant::now())) {
            now = self.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if now.is_some_and(|slow| slow.until <= Instant::now()) {
            *now = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slow>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a sync that was to begin at `begun` still waits at `now`; `None` where it may begin.
fn left(slow: Slow, begun: Instant, now: Instant) -> Option<Duration> {
    let end = begun.checked_add(slow.delay)?.min(slow.until);
    Some(end.saturating_duration_since(now)).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sync_waits_for_the_delay_and_never_beyond_the_end() {
        let begun = Instant::now();
        let slow = |delay, until| Slow { delay: SECOND * delay, until: begun + SECOND * until };
        assert_eq!(left(slow(2, 10), begun, begun), Some(SECOND * 2));
        assert_eq!(left(slow(2, 10), begun, begun + SECOND), Some(SECOND));
        assert_eq!(left(slow(2, 10), begun, begun + SECOND * 2), None);
        assert_eq!(left(slow(20, 10), begun, begun), Some(SECOND * 10));
        assert_eq!(left(slow(2, 10), begun + SECOND * 11, begun + SECOND * 11), None, "it is over");
    }

    #[test]
    fn what_waits_goes_on_when_it_is_said_that_nothing_is_slow() {
        let slowness = Arc::new(Slowness::default());
        slowness.wait();
        slowness.begin(SECOND * 1_000, SECOND * 1_000);
        let waiting = std::thread::spawn({
            let slowness = Arc::clone(&slowness);
            move || slowness.wait()
        });
        slowness.end();
        waiting.join().unwrap();
        slowness.begin(SECOND * 1_000, Duration::ZERO);
        slowness.wait();
        assert!(slowness.lock().is_none(), "what is over is forgotten");
    }
}
