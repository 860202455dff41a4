//! Which chunks members should hold and get from nobody, as the leader asks them for it: what is damaged or lost on all of its
//! holders is short of one, though the log names enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pentora_raft::state::NodeRecord;
use pentora_raft::{Digest, NodeId, State};
use tokio::task::JoinSet;

use crate::results::choose::keepers;
use crate::results::{Exchange, Lacks};

/// What the members said last.
#[derive(Debug, Default)]
pub(super) struct Lost {
    said: BTreeMap<NodeId, Lacks>,
    asking: JoinSet<(NodeId, Option<Lacks>)>,
    asked: Option<Instant>,
}

impl Lost {
    /// Takes what members answered, and asks `members` again where that was `every` ago.
    pub(super) fn round(&mut self, exchange: &Exchange, members: &[NodeId], every: Duration) {
        while let Some(ended) = self.asking.try_join_next() {
            // One that does not say lacks what it said last.
            if let Ok((node, Some(lacks))) = ended {
                self.said.insert(node, lacks);
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

    /// How many chunks are lost, each once, by who lacks it. Those that a member does not name are told apart: others may lack
    /// them as well.
    pub(super) fn reasons(&self, name: impl Fn(NodeId) -> String) -> BTreeMap<String, u64> {
        let mut lacked_by: BTreeMap<Digest, Vec<NodeId>> = BTreeMap::new();
        for (node, lacks) in &self.said {
            lacks.chunks.iter().for_each(|digest| lacked_by.entry(*digest).or_default().push(*node));
        }
        let mut chunks: BTreeMap<Vec<NodeId>, u64> = BTreeMap::new();
        for nodes in lacked_by.into_values() {
            *chunks.entry(nodes).or_insert(0) += 1;
        }
        let reason = |nodes: Vec<NodeId>| {
            let names: Vec<String> = nodes.into_iter().map(&name).collect();
            format!("damaged or missing on {}, and no other holder gave it", names.join(", "))
        };
        let unnamed = self.said.iter().filter_map(|(node, lacks)| {
            let named = lacks.chunks.len() as u64;
            let count = lacks.in_all.checked_sub(named).filter(|count| *count > 0)?;
            let more = "more of them, which others may lack as well, damaged or missing on";
            Some((format!("{more} {}, and no other holder gave them", name(*node)), count))
        });
        chunks.into_iter().map(|(nodes, count)| (reason(nodes), count)).chain(unnamed).collect()
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
        let lacks = |chunks: &[Digest], in_all| Lacks { chunks: chunks.to_vec(), in_all };
        let said = BTreeMap::from([(1, lacks(&[a, b], 2)), (2, lacks(&[b, c], 7)), (3, Lacks::default())]);
        let lost = Lost { said, ..Lost::default() };
        let why = |names: &str| format!("damaged or missing on {names}, and no other holder gave it");
        let more =
            "more of them, which others may lack as well, damaged or missing on n2, and no other holder gave them";
        let reasons = BTreeMap::from([(why("n1"), 1), (why("n2"), 1), (why("n1, n2"), 1), (more.to_owned(), 5)]);
        assert_eq!(lost.reasons(|node| format!("n{node}")), reasons);
    }
}
