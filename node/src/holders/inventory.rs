//! A holder's step towards what the log says it holds: pure, from the names and the files to what is fetched and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pentora_raft::{Digest, NodeId};

use super::backoff::Backoff;
use crate::results::Kept;

/// Chunks that are fetched in one look. Ours: a few seconds of a mesh between sites.
const FETCHED_MAX: usize = 16;

/// What this node remembers of its chunks.
#[derive(Debug)]
pub(super) struct Inventory {
    grace: Duration,
    backoff: Backoff<Digest>,
    /// The last chunk that was fetched, behind which the next look begins.
    last: Option<Digest>,
}

/// What one look comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Named for this node, and not here or damaged: to be fetched from these.
    pub(super) fetch: Vec<(Digest, Vec<NodeId>)>,
    /// Here, and named for others only or by nothing, for longer than the grace time.
    pub(super) remove: Vec<Digest>,
}

impl Inventory {
    /// What is not named goes after `grace`.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, backoff: Backoff::default(), last: None }
    }

    /// Compares what the log names this node a holder of with what it keeps. Nothing is removed unless `may_remove`.
    pub(super) fn look(
        &mut self,
        named: &[(Digest, Vec<NodeId>)],
        kept: &BTreeMap<Digest, Kept>,
        may_remove: bool,
        now: Instant,
    ) -> Look {
        let wanted: BTreeMap<Digest, &Vec<NodeId>> = named.iter().map(|(digest, holders)| (*digest, holders)).collect();
        let is_missing = |digest: &Digest| kept.get(digest).is_none_or(|kept| kept.is_damaged);
        self.backoff.retain(|digest| wanted.contains_key(digest) && is_missing(digest));
        let missing: BTreeSet<Digest> = wanted.keys().copied().filter(is_missing).collect();
        let behind = missing.iter().filter(|digest| self.last.is_some_and(|last| **digest > last));
        let before = missing.iter().filter(|digest| self.last.is_none_or(|last| **digest <= last));
        let due = behind.chain(before).filter(|digest| self.backoff.is_ready(digest, now)).take(FETCHED_MAX);
        let fetch: Vec<(Digest, Vec<NodeId>)> =
            due.filter_map(|digest| Some((*digest, (*wanted.get(digest)?).clone()))).collect();
        self.last = fetch.last().map(|(digest, _)| *digest).or(self.last);
        let is_over = |digest: &Digest, kept: &Kept| !wanted.contains_key(digest) && kept.age > self.grace;
        let over = kept.iter().filter(|(digest, kept)| may_remove && is_over(digest, kept));
        Look { fetch, remove: over.map(|(digest, _)| *digest).collect() }
    }

    /// What this node should hold, and no other holder gave it when it was asked last.
    pub(super) fn lacking(&self) -> BTreeSet<Digest> {
        self.backoff.names().copied().collect()
    }

    /// A chunk is here again.
    pub(super) fn fetched(&mut self, digest: Digest) {
        self.backoff.done(&digest);
    }

    /// No other holder gave it. Answers whether the reason is news.
    pub(super) fn not_fetched(&mut self, digest: Digest, why: String, now: Instant) -> bool {
        self.backoff.failed(digest, now, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn kept(age_seconds: u64) -> Kept {
        Kept { age: Duration::from_secs(age_seconds), is_damaged: false }
    }

    #[test]
    fn what_is_missing_or_damaged_is_fetched_and_what_is_not_named_goes_after_its_grace_time() {
        let [here, damaged, missing, young, old] = [b"a", b"b", b"c", b"d", b"e"].map(|bytes| Digest::of(bytes));
        let named = [here, damaged, missing].map(|digest| (digest, vec![1, 2]));
        let files = BTreeMap::from([
            (here, kept(900)),
            (damaged, Kept { is_damaged: true, ..kept(900) }),
            (young, kept(59)),
            (old, kept(61)),
        ]);
        let (mut inventory, now) = (Inventory::new(GRACE), Instant::now());
        let look = inventory.look(&named, &files, true, now);
        let fetched: BTreeSet<Digest> = look.fetch.iter().map(|(digest, _)| *digest).collect();
        assert_eq!(fetched, BTreeSet::from([damaged, missing]));
        assert_eq!((look.fetch[0].1.as_slice(), look.remove), ([1, 2].as_slice(), vec![old]));
        assert_eq!(inventory.look(&named, &files, false, now).remove, [], "nothing goes while no leader is known");
    }

    #[test]
    fn one_chunk_that_nobody_gives_holds_up_no_other() {
        let named: Vec<(Digest, Vec<NodeId>)> = (0u8..40).map(|number| (Digest::of(&[number]), vec![1, 2])).collect();
        let (mut inventory, now, mut files) = (Inventory::new(GRACE), Instant::now(), BTreeMap::new());
        let bad: BTreeSet<Digest> = named.iter().take(20).map(|(digest, _)| *digest).collect();
        for _ in 0..5 {
            let look = inventory.look(&named, &files, true, now);
            assert!(look.fetch.len() <= FETCHED_MAX);
            for (digest, _) in look.fetch {
                if bad.contains(&digest) {
                    inventory.not_fetched(digest, "gone".into(), now);
                } else {
                    inventory.fetched(digest);
                    files.insert(digest, kept(0));
                }
            }
        }
        assert_eq!(files.len(), 20);
        assert_eq!(inventory.look(&named, &files, true, now + GRACE).fetch.len(), FETCHED_MAX, "they are tried again");
    }
}
