//! Which refusals are news for the log: a peer that is refused may try again at once and for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_p2p::{Class, PeerId};

/// How long the same refusal is told once.
const TOLD_FOR: Duration = Duration::from_secs(10);
/// Refusals that are remembered; whoever has the pre-shared key can have any number of names.
const KEPT_MAX: usize = 256;

/// When what was refused to whom was told last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::app) struct Refusals(Arc<Mutex<BTreeMap<(PeerId, Class), Instant>>>);

impl Refusals {
    /// Whether a refusal is to be told at `now`.
    pub(super) fn is_news(&self, peer: PeerId, class: Class, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= KEPT_MAX {
            told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_FOR);
        }
        let before = told.get(&(peer, class)).copied();
        if before.map_or(told.len() >= KEPT_MAX, |at| now.saturating_duration_since(at) < TOLD_FOR) {
            return false;
        }
        told.insert((peer, class), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_tries_again_and_again_is_told_of_once_in_a_while_and_others_at_once() {
        let refusals = Refusals::default();
        let [one, other] = [1, 2].map(|seed| pentora_p2p::Identity::from_secret([seed; 32]).peer_id());
        let begun = Instant::now();
        let told = |peer, class, ms| refusals.is_news(peer, class, begun + Duration::from_millis(ms));
        assert!(told(one, Class::RaftAppend, 0));
        assert!((1..10_000).step_by(7).all(|ms| !told(one, Class::RaftAppend, ms)));
        assert!(told(one, Class::Relay, 1) && told(other, Class::RaftAppend, 1));
        assert!(told(one, Class::RaftAppend, 10_000));
    }
}
