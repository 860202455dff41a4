//! Results that no disk takes for now, each with the reason: what a worker tells the leader, and the leader whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pentora_raft::Digest;

/// The chunks of this node that wait for a disk. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldUp(Arc<Mutex<BTreeMap<Digest, String>>>);

/// One chunk on its way to durability; it waits no longer once this goes, whatever came of it.
#[derive(Debug)]
pub(super) struct OnItsWay {
    held_up: HeldUp,
    digest: Digest,
}

impl HeldUp {
    /// A chunk sets out.
    pub(super) fn begin(&self, digest: Digest) -> OnItsWay {
        OnItsWay { held_up: self.clone(), digest }
    }

    /// Why results wait, where any do.
    pub(super) fn reason(&self) -> Option<String> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().next().cloned()
    }
}

impl OnItsWay {
    /// It was not taken, and is tried again.
    pub(super) fn waits(&self, reason: String) {
        self.held_up.0.lock().unwrap_or_else(PoisonError::into_inner).insert(self.digest, reason);
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.held_up.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_wait_from_the_first_try_in_vain_until_they_are_taken_or_given_up() {
        let held_up = HeldUp::default();
        let way = held_up.begin(Digest::of(b"a"));
        assert_eq!(held_up.reason(), None, "under way is not waiting");
        way.waits("n1: full".into());
        way.waits("n1: full; n2: full".into());
        assert_eq!(held_up.reason().as_deref(), Some("n1: full; n2: full"));
        drop(way);
        assert_eq!(held_up.reason(), None);
    }
}
