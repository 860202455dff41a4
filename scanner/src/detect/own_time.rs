//! The time that a port's detection has, which stands still while one of its connections waits for a slot of the pace: a low rate
//! makes it later, and takes nothing from it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// No slot is waited for longer: who sends once a minute has no use for detection.
pub(super) const SLOT_WAIT_MAX: Duration = Duration::from_secs(600);

/// How long a port has waited for slots, in all.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Waited>);

#[derive(Debug, Default)]
struct Waited {
    /// Waits that are on, which count once, and since when one is.
    on: u32,
    since: Option<Instant>,
    before: Duration,
}

/// A wait that is on.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Waits);

impl Waits {
    /// A wait begins; it ends when that is dropped.
    pub(super) fn begin(&self) -> Waiting<'_> {
        let mut waited = self.locked();
        waited.on += 1;
        waited.since.get_or_insert_with(Instant::now);
        Waiting(self)
    }

    /// How long they were up to now.
    pub(super) fn so_far(&self) -> Duration {
        let waited = self.locked();
        waited.before + waited.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn locked(&self) -> MutexGuard<'_, Waited> {
        // Whoever panicked in between has left figures that are as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waited = self.0.locked();
        waited.on -= 1;
        if waited.on == 0
            && let Some(since) = waited.since.take()
        {
            waited.before += since.elapsed();
        }
    }
}

/// A port's time: moments of it are as if there were no waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnTime<'a> {
    pub(super) waits: &'a Waits,
    /// When everything ends.
    pub(super) ends: Instant,
    /// But for a greeting: until when that is listened to.
    pub(super) listens_until: Instant,
}

impl<'a> OwnTime<'a> {
    /// A time that begins now and lasts for `budget`; a port that `greets` is listened to for as long again.
    pub(super) fn new(waits: &'a Waits, budget: Duration, greets: bool) -> Self {
        let ends = Instant::now().checked_sub(waits.so_far()).unwrap_or_else(Instant::now) + budget;
        Self { waits, ends, listens_until: if greets { ends + budget } else { ends } }
    }

    /// The moment that it is.
    pub(super) fn now(&self) -> Instant {
        Instant::now().checked_sub(self.waits.so_far()).unwrap_or_else(Instant::now)
    }

    /// When a moment of it will be, if nothing waits from now on.
    pub(super) fn real(&self, moment: Instant) -> Instant {
        moment + self.waits.so_far()
    }

    /// The same with so much left at least.
    pub(super) fn with_at_least(self, left: Duration) -> Self {
        let ends = self.ends.max(self.now() + left);
        Self { ends, listens_until: self.listens_until.max(ends), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_while_anything_waits_and_waits_at_once_count_once() {
        let (ms, waits) = (Duration::from_millis, Waits::default());
        let time = OwnTime::new(&waits, ms(8000), true);
        let begun = time.now();
        tokio::time::advance(ms(100)).await;
        let first = waits.begin();
        tokio::time::advance(ms(300)).await;
        let second = waits.begin();
        drop(first);
        tokio::time::advance(ms(9000)).await;
        assert_eq!((waits.so_far(), time.now() - begun), (ms(9300), ms(100)));
        drop(second);
        tokio::time::advance(ms(50)).await;
        assert_eq!((waits.so_far(), time.now() - begun), (ms(9300), ms(150)));
        assert_eq!(time.real(time.ends) - Instant::now(), ms(7850));
        assert_eq!(time.listens_until - time.ends, ms(8000));
        tokio::time::advance(ms(7000)).await;
        let again = time.with_at_least(ms(3000));
        assert_eq!(again.ends - again.now(), ms(3000));
    }
}
