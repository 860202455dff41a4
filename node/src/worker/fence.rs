//! Stops this node's sending when no leader was heard for a lease's term, or when a member has hung up on it and it has had no session with
//! a leader for a moment: by then its units may be another's.
//!
//! Measured on this node's monotonic clock, from the moment it asked, with a margin; sending goes on by itself once a
//! leader is heard again and the lease still stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Context;

/// Part of the term that is given up, so that this node stops well before a leader gives its units away.
const MARGIN: f64 = 0.2;

/// For how long units go on without a session after a member hung up: a leader for which this node did waits longer than this before
/// it gives them away (`coordinator`), and a new session takes less.
const PARTED_FOR: Duration = Duration::from_millis(300);
/// A session that ends so soon after a member hung up ends for that.
const HUNG_UP_LATELY: Duration = Duration::from_secs(1);

/// When a leader was last heard, for how long that holds, whether there is a session and who hung up.
#[derive(Debug)]
pub struct Fence(watch::Sender<Word>);

#[derive(Debug, Clone, Copy)]
struct Word {
    heard: Instant,
    term: Duration,
    has_session: bool,
    /// When a member hung up of late: whatever was between may have ended that connection on both of its sides.
    hung_up: Option<Instant>,
}

impl Word {
    /// Until when leases hold, where nothing more is heard.
    fn ends(self) -> Instant {
        let silent = self.heard + self.term.mul_f64(1.0 - MARGIN);
        self.hung_up.filter(|_| !self.has_session).map_or(silent, |at| silent.min(at + PARTED_FOR))
    }
}

impl Fence {
    /// Heard just now.
    #[must_use]
    pub fn new(term: Duration) -> Self {
        Self(watch::Sender::new(Word { heard: Instant::now(), term, has_session: false, hung_up: None }))
    }

    /// A leader was heard in answer to something sent at `sent`.
    pub fn heard(&self, sent: Instant) {
        self.change(|word| word.heard = word.heard.max(sent));
    }

    /// A leader welcomed this node to a session, which is over when the answer is dropped.
    #[must_use]
    pub fn met(&self) -> Met<'_> {
        self.change(|word| (word.has_session, word.hung_up) = (true, None));
        Met(self)
    }

    /// A member hung up on this node just now.
    pub fn hung_up(&self) {
        self.change(|word| word.hung_up = Some(Instant::now()));
    }

    /// The leader says how long leases hold.
    pub fn set_term(&self, term: Duration) {
        self.change(|word| word.term = term);
    }

    /// Whoever waits for the end of the word is woken where that comes sooner, or had come: otherwise it looks again by itself.
    fn change(&self, change: impl FnOnce(&mut Word)) {
        self.0.send_if_modified(|word| {
            let before = word.ends();
            change(word);
            word.ends() < before || before <= Instant::now()
        });
    }

    /// Whether leases still hold at `now`.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        now < self.0.borrow().ends()
    }

    /// Waits until leases hold, or hold no longer, against `held`.
    async fn turned(&self, held: bool) {
        let mut changes = self.0.subscribe();
        loop {
            let ends = changes.borrow_and_update().ends();
            if (Instant::now() < ends) != held {
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(ends.into()), if held => {}
            }
        }
    }
}

/// A session that stands.
#[derive(Debug)]
pub struct Met<'a>(&'a Fence);

impl Drop for Met<'_> {
    fn drop(&mut self) {
        self.0.change(|word| {
            word.has_session = false;
            word.hung_up = word.hung_up.filter(|at| at.elapsed() < HUNG_UP_LATELY);
        });
    }
}

/// Pauses and resumes all units as the fence says, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let mut held = true;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = context.fence.turned(held) => {}
        }
        held = !held;
        context.units.pause(!held);
        if held {
            tracing::info!("a leader is heard again; units go on");
        } else {
            tracing::warn!(
                "no leader was heard for the lease's term, or a member hung up and there is no session; units pause"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_until_a_fifth_before_its_term_and_again_after_word_of_a_leader() {
        let fence = Fence::new(Duration::from_secs(10));
        let begun = fence.0.borrow().heard;
        assert!(fence.holds(begun + Duration::from_millis(7_900)));
        assert!(!fence.holds(begun + Duration::from_millis(8_100)));
        fence.heard(begun + Duration::from_secs(5));
        assert!(fence.holds(begun + Duration::from_millis(12_900)));
        fence.heard(begun);
        assert!(fence.holds(begun + Duration::from_millis(12_900)), "late news of an earlier word changes nothing");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_shorter_term_and_by_word_of_a_leader_and_by_nothing_between() {
        let fence = Fence::new(Duration::from_hours(1));
        let watching = fence.0.subscribe();
        let mut lapses = std::pin::pin!(fence.turned(true));
        assert!(futures::poll!(&mut lapses).is_pending());
        fence.heard(Instant::now());
        assert!(!watching.has_changed().unwrap(), "it holds for longer");
        fence.set_term(Duration::ZERO);
        assert!(watching.has_changed().unwrap());
        lapses.await;
        let mut resumes = std::pin::pin!(fence.turned(false));
        assert!(futures::poll!(&mut resumes).is_pending(), "nothing is due without word of a leader");
        fence.set_term(Duration::from_hours(1));
        resumes.await;
    }

    #[test]
    fn units_go_on_without_a_session_but_for_a_moment_alone_where_a_member_hung_up() {
        let fence = Fence::new(Duration::from_secs(10));
        let soon = || Instant::now() + Duration::from_secs(1);
        drop(fence.met());
        assert!(fence.holds(soon()), "nobody hung up: the leader stands still, say, and gives nothing away");
        let met = fence.met();
        fence.hung_up();
        assert!(fence.holds(soon()), "there is a session");
        drop(met);
        let hung_up = fence.0.borrow().hung_up.unwrap();
        assert!(fence.holds(hung_up + Duration::from_millis(299)));
        assert!(!fence.holds(hung_up + Duration::from_millis(300)));
        let _met = fence.met();
        assert!(fence.holds(soon()));
    }
}
