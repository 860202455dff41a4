//! Chunks that a node should hold and that no other holder gave it: damaged or lost everywhere, as far as it can tell.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pentora_raft::{Digest, NodeId};

use super::Exchange;
use crate::results::store::DAMAGED;
use crate::rpc::calls::{Answer, Request};

/// Chunks that are named in one answer. Ours: half of a frame.
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

impl Exchange {
    /// The chunks that this node should hold and does not get, as many as an answer takes.
    #[must_use]
    pub fn lacking(&self) -> Vec<Digest> {
        self.lacking.0.lock().unwrap_or_else(PoisonError::into_inner).iter().take(TOLD_MAX).copied().collect()
    }

    /// Sets what [`Self::lacking`] answers.
    pub fn set_lacking(&self, chunks: BTreeSet<Digest>) {
        *self.lacking.0.lock().unwrap_or_else(PoisonError::into_inner) = chunks;
    }

    /// The chunks that `node`, which may be this one, should hold and does not get; `None` where it does not say so.
    pub async fn lacking_of(&self, node: NodeId) -> Option<Vec<Digest>> {
        if node == self.raft.node() {
            return Some(self.lacking());
        }
        let (calls, peer) = self.reach(node).ok()?;
        match calls.ask(peer, &Request::Lacking, TOLD_WITHIN).await {
            Ok(Answer::Lacking(chunks)) => Some(chunks),
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::StoreError;

    #[test]
    fn a_holder_that_has_a_chunk_no_more_is_told_from_one_that_may_give_it_later() {
        let damaged = StoreError::Damaged { digest: Digest::of(b"x") }.to_string();
        assert!([damaged.as_str(), LOST, NOT_HERE].into_iter().all(is_gone), "{damaged}");
        assert!(!["no answer within 20000 ms", "it is not in the cluster", ""].into_iter().any(is_gone));
    }
}
