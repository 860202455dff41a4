//! Stops this node's sending when no leader was heard for a lease's term, or when it has had no session with one for a moment: by then
//! its units may be another's.
//!
//! Measured on this node's monotonic clock, from the moment it asked, with a margin; sending goes on by itself once a
//! leader is heard again and the lease still stands.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Context;

/// Part of the term that is given up, so that this node stops well before a leader gives its units away.
const MARGIN: f64 = 0.2;
/// How often the fence is looked at; far below the margin of the shortest term.
const LOOK: Duration = Duration::from_millis(100);

/// For how long units go on without a session: a leader that sees this node's connection end waits longer than this before
/// it gives them away (`coordinator`), and a new session takes less.
const PARTED_FOR: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Word {
    heard: Instant,
    term: Duration,
    /// Since when there is no session where there was one.
    parted: Option<Instant>,
}

/// When a leader was last heard, for how long that holds, and whether there is a session.
#[derive(Debug)]
pub struct Fence(Mutex<Word>);

impl Fence {
    /// Heard just now.
    #[must_use]
    pub fn new(term: Duration) -> Self {
        Self(Mutex::new(Word { heard: Instant::now(), term, parted: None }))
    }

    /// A leader was heard in answer to something sent at `sent`.
    pub fn heard(&self, sent: Instant) {
        let mut word = self.word();
        word.heard = word.heard.max(sent);
    }

    /// A leader welcomed this node to a session, which is over when the answer is dropped.
    #[must_use]
    pub fn met(&self) -> Met<'_> {
        self.word().parted = None;
        Met(self)
    }

    /// The leader says how long leases hold.
    pub fn set_term(&self, term: Duration) {
        self.word().term = term;
    }

    /// Whether leases still hold at `now`.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        let word = self.word();
        let is_parted = word.parted.is_some_and(|at| now.saturating_duration_since(at) >= PARTED_FOR);
        !is_parted && now.saturating_duration_since(word.heard) < word.term.mul_f64(1.0 - MARGIN)
    }

    fn word(&self) -> MutexGuard<'_, Word> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that stands.
#[derive(Debug)]
pub struct Met<'a>(&'a Fence);

impl Drop for Met<'_> {
    fn drop(&mut self) {
        self.0.word().parted = Some(Instant::now());
    }
}

/// Pauses and resumes all units as the fence says, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let mut held = true;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let holds = context.fence.holds(Instant::now());
        if holds != held {
            held = holds;
            context.units.pause(!holds);
            if holds {
                tracing::info!("a leader is heard again; units go on");
            } else {
                tracing::warn!(
                    "no leader was heard for the lease's term, or there is no session with one; units pause"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_until_a_fifth_before_its_term_and_again_after_word_of_a_leader() {
        let fence = Fence::new(Duration::from_secs(10));
        let begun = fence.word().heard;
        assert!(fence.holds(begun + Duration::from_millis(7_900)));
        assert!(!fence.holds(begun + Duration::from_millis(8_100)));
        fence.heard(begun + Duration::from_secs(5));
        assert!(fence.holds(begun + Duration::from_millis(12_900)));
        fence.heard(begun);
        assert!(fence.holds(begun + Duration::from_millis(12_900)), "late news of an earlier word changes nothing");
    }

    #[test]
    fn units_go_on_for_a_moment_without_a_session_and_again_with_the_next() {
        let fence = Fence::new(Duration::from_secs(10));
        assert!(fence.holds(Instant::now() + Duration::from_secs(1)), "there was none yet");
        let met = fence.met();
        assert!(fence.holds(Instant::now() + Duration::from_secs(1)));
        drop(met);
        let parted = fence.word().parted.unwrap();
        assert!(fence.holds(parted + Duration::from_millis(299)));
        assert!(!fence.holds(parted + Duration::from_millis(300)));
        let _met = fence.met();
        assert!(fence.holds(parted + Duration::from_secs(5)));
    }
}
