//! Which chunks members should hold and get from nobody, as the leader asks them for it: what is damaged or lost on all of its
//! holders is short of one, though the log names enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pentora_raft::state::NodeRecord;
use pentora_raft::{Digest, NodeId, State};
use tokio::task::JoinSet;

use crate::results::Exchange;
use crate::results::choose::keepers;

/// What the members said last.
#[derive(Debug, Default)]
pub(super) struct Lost {
    said: BTreeMap<NodeId, BTreeSet<Digest>>,
    asking: JoinSet<(NodeId, Option<Vec<Digest>>)>,
    asked: Option<Instant>,
}

impl Lost {
    /// Takes what members answered, and asks `members` again where that was `every` ago.
    pub(super) fn round(&mut self, exchange: &Exchange, members: &[NodeId], every: Duration) {
        while let Some(ended) = self.asking.try_join_next() {
            // One that does not say lacks what it said last.
            if let Ok((node, Some(chunks))) = ended {
                self.said.insert(node, chunks.into_iter().collect());
            }
        }
        self.said.retain(|node, _| members.contains(node));
        if !self.asking.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < every) {
            return;
        }
        self.asked = Some(Instant::now());
        for node in members.iter().copied() {
            let exchange = exchange.clone();
            self.asking.spawn(async move { (node, exchange.lacking_of(node).await) });
        }
    }

    /// How many chunks are lost, each once, by who lacks it.
    pub(super) fn reasons(&self, name: impl Fn(NodeId) -> String) -> BTreeMap<String, u64> {
        let mut lacked_by: BTreeMap<Digest, Vec<NodeId>> = BTreeMap::new();
        for (node, chunks) in &self.said {
            chunks.iter().for_each(|digest| lacked_by.entry(*digest).or_default().push(*node));
        }
        let mut chunks: BTreeMap<Vec<NodeId>, u64> = BTreeMap::new();
        for nodes in lacked_by.into_values() {
            *chunks.entry(nodes).or_insert(0) += 1;
        }
        let reason = |nodes: Vec<NodeId>| {
            let names: Vec<String> = nodes.into_iter().map(&name).collect();
            format!("damaged or missing on {}, and no other holder gave it", names.join(", "))
        };
        chunks.into_iter().map(|(nodes, count)| (reason(nodes), count)).collect()
    }
}

/// The members that are up: those that hold chunks.
pub(super) fn members(state: &State) -> Vec<NodeId> {
    let is_member = |node: &NodeId| state.node(*node).is_some_and(NodeRecord::may_vote);
    keepers(state, &BTreeSet::new()).into_iter().map(|keeper| keeper.node).filter(is_member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_several_lack_is_one_and_they_are_named() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let said = BTreeMap::from([(1, [a, b].into()), (2, [b, c].into()), (3, BTreeSet::new())]);
        let lost = Lost { said, ..Lost::default() };
        let why = |names: &str| format!("damaged or missing on {names}, and no other holder gave it");
        let reasons = BTreeMap::from([(why("n1"), 1), (why("n2"), 1), (why("n1, n2"), 1)]);
        assert_eq!(lost.reasons(|node| format!("n{node}")), reasons);
    }
}
