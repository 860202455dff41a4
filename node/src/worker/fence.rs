//! Stops this node's sending when no leader was heard for a lease's term: by then its units may be another's.
//!
//! Measured on this node's monotonic clock, from the moment it asked, with a margin; sending goes on by itself once a
//! leader is heard again and the lease still stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Context;

/// Part of the term that is given up, so that this node stops well before a leader gives its units away.
const MARGIN: f64 = 0.2;
/// How often the fence is looked at; far below the margin of the shortest term.
const LOOK: Duration = Duration::from_millis(100);

/// When a leader was last heard, and for how long that holds.
#[derive(Debug)]
pub struct Fence(Mutex<(Instant, Duration)>);

impl Fence {
    /// Heard just now.
    #[must_use]
    pub fn new(term: Duration) -> Self {
        Self(Mutex::new((Instant::now(), term)))
    }

    /// A leader was heard in answer to something sent at `sent`.
    pub fn heard(&self, sent: Instant) {
        let mut fence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fence.0 = fence.0.max(sent);
    }

    /// The leader says how long leases hold.
    pub fn set_term(&self, term: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = term;
    }

    /// Whether leases still hold at `now`.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        let (heard, term) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(heard) < term.mul_f64(1.0 - MARGIN)
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
                tracing::warn!("no leader was heard for the lease's term; units pause");
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
        let begun = fence.0.lock().unwrap().0;
        assert!(fence.holds(begun + Duration::from_millis(7_900)));
        assert!(!fence.holds(begun + Duration::from_millis(8_100)));
        fence.heard(begun + Duration::from_secs(5));
        assert!(fence.holds(begun + Duration::from_millis(12_900)));
        fence.heard(begun);
        assert!(fence.holds(begun + Duration::from_millis(12_900)), "late news of an earlier word changes nothing");
    }
}
