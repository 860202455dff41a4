//! Feeds: which vulnerability and fingerprint data the cluster matches with. The bytes are a chunk; the log says which.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Refusal, Response};
use crate::id::{Digest, NodeId};

/// One feed of the cluster: the bundle that every node is to match with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRecord {
    /// Digest of the bundle, the name of the chunk that holds it.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many records it has, for people.
    pub records: u64,
    /// Where the records are from, in the importer's words.
    pub source: String,
    /// Who holds the bundle.
    pub holders: Vec<NodeId>,
    /// Mesh identity of the node that took it in, as text.
    pub signer: String,
    /// That node's signature over kind, digest, size and number of records.
    pub signature: Vec<u8>,
    /// When it was taken in, unix milliseconds of the log's clock; set when the entry is applied.
    pub imported_at_ms: u64,
}

/// How many kinds of feed there can be. Ours: a handful exist, and a name that is misspelt must not fill the state.
const FEEDS_MAX: usize = 32;
/// The longest name of a kind, in bytes.
const KIND_BYTES_MAX: usize = 32;

impl State {
    /// The feeds by kind.
    pub fn feeds(&self) -> impl Iterator<Item = (&str, &FeedRecord)> {
        self.feeds.iter().map(|(kind, record)| (kind.as_str(), record))
    }

    pub(super) fn set_feed(&mut self, kind: &str, record: &FeedRecord) -> Result<Response, Refusal> {
        let malformed = |what: &str| Refusal::Malformed { what: what.into() };
        if kind.is_empty() || kind.len() > KIND_BYTES_MAX {
            return Err(malformed("a feed's kind has 1 to 32 bytes"));
        }
        if self.feeds.get(&kind.to_owned()).is_none() && self.feeds.len() >= FEEDS_MAX {
            return Err(Refusal::QueueFull { limit: FEEDS_MAX });
        }
        self.feeds.insert(kind.to_owned(), FeedRecord { imported_at_ms: self.now_ms(), ..record.clone() });
        Ok(Response::Done)
    }

    pub(super) fn remove_feed(&mut self, kind: &str) -> Response {
        self.feeds.remove(&kind.to_owned());
        Response::Done
    }

    pub(super) fn set_feed_holders(&mut self, digest: Digest, holders: &[NodeId]) -> Response {
        let kinds: Vec<String> =
            self.feeds.iter().filter(|(_, feed)| feed.digest == digest).map(|(kind, _)| kind.clone()).collect();
        for kind in kinds {
            if let Some(feed) = self.feeds.get_mut(&kind) {
                feed.holders = holders.to_vec();
            }
        }
        Response::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Proposal};

    fn feed(bytes: &[u8]) -> FeedRecord {
        FeedRecord {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            records: 3,
            source: "cve.zip".into(),
            holders: vec![1, 2],
            signer: "peer".into(),
            signature: vec![7; 64],
            imported_at_ms: 0,
        }
    }

    fn apply(state: &mut State, index: u64, command: Command) -> Response {
        state.apply(index, &Proposal { at_ms: 1000 * index, command })
    }

    #[test]
    fn a_feed_is_replaced_whole_and_survives_in_its_rows() {
        let mut state = State::default();
        for (index, bytes) in [(1, b"old"), (2, b"new")] {
            let command = Command::SetFeed { kind: "cve".into(), record: Box::new(feed(bytes)) };
            assert_eq!(apply(&mut state, index, command), Response::Done);
        }
        let expected = FeedRecord { imported_at_ms: 2000, ..feed(b"new") };
        assert_eq!(state.feeds().collect::<Vec<_>>(), [("cve", &expected)]);
        let mut copy = State::default();
        state.for_each_row(|key, value| copy.load_row(&key, &value).unwrap());
        assert_eq!(copy, state);
    }

    #[test]
    fn holders_of_a_repaired_bundle_are_kept_and_a_removed_feed_is_gone() {
        let mut state = State::default();
        apply(&mut state, 1, Command::SetFeed { kind: "kev".into(), record: Box::new(feed(b"x")) });
        apply(&mut state, 2, Command::SetFeedHolders { digest: Digest::of(b"x"), holders: vec![3] });
        assert_eq!(state.feeds().next().unwrap().1.holders, [3]);
        apply(&mut state, 3, Command::RemoveFeed { kind: "kev".into() });
        assert_eq!(state.feeds().count(), 0);
    }

    #[test]
    fn there_is_a_bound_on_kinds_and_on_their_names() {
        let mut state = State::default();
        for number in 0..40 {
            apply(&mut state, number, Command::SetFeed { kind: format!("k{number}"), record: Box::new(feed(b"x")) });
        }
        assert_eq!(state.feeds().count(), FEEDS_MAX);
        let long = Command::SetFeed { kind: "x".repeat(33), record: Box::new(feed(b"x")) };
        assert!(matches!(apply(&mut state, 50, long), Response::Refused(Refusal::Malformed { .. })));
    }
}
