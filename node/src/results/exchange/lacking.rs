//! Chunks that a node should hold and that no other holder gave it: damaged or lost everywhere, as far as it can tell.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pentora_raft::version::SECOND;
use pentora_raft::{Digest, LogVersion, NodeId, State};

use super::Exchange;
use crate::results::store::DAMAGED;
use crate::rpc::calls::{Answer, Request};

/// Chunks that are named in one answer; of more it is said how many there are. Ours: 128 KiB, half of a frame.
const TOLD_MAX: usize = 4_096;
/// How long a member may take to name them.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// What is said of a holder that does not have a chunk.
pub(super) const LOST: &str = "it has lost it";
/// The same of this node.
pub(super) const NOT_HERE: &str = "it is not here";

/// The chunks that this node lacks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Lacking(Arc<Mutex<BTreeSet<Digest>>>);

/// Whether what a holder answered says that it does not have the chunk any more, so that starting or asking it again is in vain.
#[must_use]
pub fn is_gone(why: &str) -> bool {
    why == LOST || why == NOT_HERE || why.ends_with(DAMAGED)
}

/// What a node lacks, as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Some of the chunks: all, where there are not more than are told.
    pub chunks: Vec<Digest>,
    /// How many there are.
    pub in_all: u64,
}

impl Lacks {
    fn of(all: &BTreeSet<Digest>) -> Self {
        Self { chunks: all.iter().take(TOLD_MAX).copied().collect(), in_all: all.len() as u64 }
    }

    /// As an answer of `version` of the log tells it: before the second, how many there are more is not told.
    fn answer(self, version: LogVersion) -> Answer {
        let is_all = self.chunks.len() as u64 == self.in_all;
        if is_all || version < SECOND {
            Answer::Lacking(self.chunks)
        } else {
            Answer::LackingMany(self.chunks, self.in_all)
        }
    }

    /// What an answer says; no more is taken of it than is ever told.
    fn told(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Lacking(mut chunks) => {
                chunks.truncate(TOLD_MAX);
                Some(Self { in_all: chunks.len() as u64, chunks })
            }
            Answer::LackingMany(mut chunks, in_all) => {
                chunks.truncate(TOLD_MAX);
                Some(Self { in_all: in_all.max(chunks.len() as u64), chunks })
            }
            _ => None,
        }
    }
}

impl Exchange {
    fn lacks(&self) -> Lacks {
        Lacks::of(&self.lacking.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The chunks that this node should hold and does not get, as an answer.
    #[must_use]
    pub fn lacking(&self) -> Answer {
        self.lacks().answer(self.raft.read(State::log_version))
    }

    /// Sets what [`Self::lacking`] answers.
    pub fn set_lacking(&self, chunks: BTreeSet<Digest>) {
        *self.lacking.0.lock().unwrap_or_else(PoisonError::into_inner) = chunks;
    }

    /// The chunks that `node`, which may be this one, should hold and does not get; `None` where it does not say so. A member of an
    /// earlier release is not asked.
    pub async fn lacking_of(&self, node: NodeId) -> Option<Lacks> {
        if node == self.raft.node() {
            return Some(self.lacks());
        }
        if !Request::Lacking.is_known_at(self.raft.read(State::log_version)) {
            return None;
        }
        let (calls, peer) = self.reach(node).ok()?;
        Lacks::told(calls.ask(peer, &Request::Lacking, TOLD_WITHIN).await.ok()?)
    }
}

#[cfg(test)]
mod tests {
    use pentora_raft::codec::{self, Kind};

    use super::*;
    use crate::results::StoreError;

    #[test]
    fn a_holder_that_has_a_chunk_no_more_is_told_from_one_that_may_give_it_later() {
        let damaged = StoreError::Damaged { digest: Digest::of(b"x") }.to_string();
        assert!([damaged.as_str(), LOST, NOT_HERE].into_iter().all(is_gone), "{damaged}");
        assert!(!["no answer within 20000 ms", "it is not in the cluster", ""].into_iter().any(is_gone));
    }

    #[test]
    fn of_more_chunks_than_an_answer_takes_it_says_how_many_there_are_and_takes_no_more_of_anothers() {
        let many: BTreeSet<Digest> = (0..TOLD_MAX + 904).map(|number| Digest::of(&number.to_le_bytes())).collect();
        let lacks = Lacks::of(&many);
        assert_eq!((lacks.chunks.len(), lacks.in_all), (TOLD_MAX, 5_000));
        let answer = lacks.clone().answer(SECOND);
        let bytes = codec::encode(Kind::CallFrame, &answer);
        assert!(bytes.len() < 192 << 10, "{} bytes are no part of a frame", bytes.len());
        assert_eq!(Lacks::told(answer), Some(lacks.clone()));
        assert!(
            matches!(lacks.answer(1), Answer::Lacking(chunks) if chunks.len() == TOLD_MAX),
            "as it was read before"
        );
        let few = Lacks::of(&many.iter().take(3).copied().collect());
        assert!(matches!(few.answer(SECOND), Answer::Lacking(chunks) if chunks.len() == 3));
        let told = Lacks::told(Answer::LackingMany(many.into_iter().collect(), 1)).unwrap();
        assert_eq!((told.chunks.len(), told.in_all), (TOLD_MAX, TOLD_MAX as u64));
    }
}
