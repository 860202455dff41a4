//! Results that no disk takes for now, each with the reason: what a worker tells the leader, and the leader whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pentora_raft::Digest;
use tokio::sync::watch;

/// The chunks of this node that wait for a disk. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldUp(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    chunks: Mutex<BTreeMap<Digest, String>>,
    /// The reason of the first of them.
    reason: watch::Sender<Option<String>>,
}

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
        self.0.reason.borrow().clone()
    }

    /// The same, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.0.reason.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Digest, String>)) {
        let mut chunks = self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut chunks);
        let now = chunks.values().next();
        self.0.reason.send_if_modified(|known| {
            let is_news = known.as_ref() != now;
            if is_news {
                *known = now.cloned();
            }
            is_news
        });
    }
}

impl OnItsWay {
    /// It was not taken, and is tried again.
    pub(super) fn waits(&self, reason: String) {
        self.held_up.change(|chunks| drop(chunks.insert(self.digest, reason)));
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.held_up.change(|chunks| drop(chunks.remove(&self.digest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_wait_from_the_first_try_in_vain_until_they_are_taken_or_given_up() {
        let held_up = HeldUp::default();
        let mut changes = held_up.watch();
        let way = held_up.begin(Digest::of(b"a"));
        drop(held_up.begin(Digest::of(b"b")));
        assert_eq!(held_up.reason(), None, "under way is not waiting");
        assert!(!changes.has_changed().unwrap(), "and nobody is woken");
        way.waits("n1: full".into());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        way.waits("n1: full".into());
        assert!(!changes.has_changed().unwrap(), "the same again is no change");
        way.waits("n1: full; n2: full".into());
        assert_eq!(held_up.reason().as_deref(), Some("n1: full; n2: full"));
        drop(way);
        assert_eq!(held_up.reason(), None);
    }
}
