//! Which nodes should hold a chunk: a pure choice by what the log says of the nodes, the same wherever it is made.
//!
//! Members keep results; a node that only scans hands them over. Copies lie in different regions as far as there are
//! several, and among equals the rendezvous hash of chunk and node decides, so that chunks spread over the nodes.

use std::collections::BTreeSet;

use pentora_raft::state::{NodeRecord, NodeStatus};
use pentora_raft::{Digest, NodeId, State};

/// A node that keeps results, as the log has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// Which.
    pub node: NodeId,
    /// Where it is; nodes without a region are in one of their own together.
    pub region: Option<String>,
    /// Whether it takes copies that it does not have yet: one that drains or has no room does not.
    pub takes_more: bool,
    /// Whether it is to leave for good, or keeps nothing by its policy: what it holds is copied from it, and counts no more.
    pub is_leaving: bool,
    /// Whether it may not have it at all, being elsewhere than the results may be or keeping none by its policy: what it holds it
    /// lets go as soon as others have it, however few they are.
    pub is_barred: bool,
}

/// What is to be done about the holders of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Enough,
    /// A copy is missing: the first of these that takes it is to hold one as well.
    Add(Vec<NodeId>),
    /// A copy is missing, and no other node takes it.
    NobodyLeft,
    /// No holder can be asked for it now.
    Lost,
    /// There are more holders than needed; these suffice.
    Trim(Vec<NodeId>),
}

/// Whether a node keeps results at all, whether or not it is up: a member whose policy does not say otherwise.
#[must_use]
pub fn keeps_results(state: &State, node: NodeId) -> bool {
    state.node(node).is_some_and(NodeRecord::may_vote) && state.policy(node).keeps_results
}

/// The nodes that are up, and whether they keep results; those in `full` hold what they have and take no more.
#[must_use]
pub fn keepers(state: &State, full: &BTreeSet<NodeId>) -> Vec<Keeper> {
    keepers_among(state, full, |_| true)
}

/// Those of them that may keep any, to choose whom to give what nobody has yet: of a thousand nodes that only scan, none is.
#[must_use]
pub fn members(state: &State, full: &BTreeSet<NodeId>) -> Vec<Keeper> {
    keepers_among(state, full, NodeRecord::may_vote)
}

fn keepers_among(state: &State, full: &BTreeSet<NodeId>, is_among: impl Fn(&NodeRecord) -> bool) -> Vec<Keeper> {
    let up =
        |record: &NodeRecord| matches!(record.status, NodeStatus::Active | NodeStatus::Stale | NodeStatus::Draining);
    let keeper = |(node, record): (NodeId, &NodeRecord)| Keeper {
        node,
        region: record.info.region.clone(),
        takes_more: record.status != NodeStatus::Draining && !full.contains(&node),
        is_leaving: state.is_leaving(node) || !keeps_results(state, node),
        is_barred: !keeps_results(state, node),
    };
    state.nodes().filter(|(_, record)| is_among(record) && up(record)).map(keeper).collect()
}

/// The same, for chunks that do not leave `region`, where there is one: who is elsewhere is given none, and what it holds is
/// copied from it.
#[must_use]
pub fn within(keepers: Vec<Keeper>, region: Option<&str>) -> Vec<Keeper> {
    let Some(region) = region else { return keepers };
    let bound = |keeper: Keeper| match keeper.region.as_deref() == Some(region) {
        true => keeper,
        false => Keeper { takes_more: false, is_leaving: true, is_barred: true, ..keeper },
    };
    keepers.into_iter().map(bound).collect()
}

/// Whether a node may have chunks that do not leave `region`, where there is one.
#[must_use]
pub fn may_have(state: &State, node: NodeId, region: Option<&str>) -> bool {
    region.is_none_or(|region| state.node(node).and_then(|record| record.info.region.as_deref()) == Some(region))
}

/// Whether anybody in a region keeps results.
#[must_use]
pub fn is_kept_in(state: &State, region: &str) -> bool {
    within(keepers(state, &BTreeSet::new()), Some(region)).iter().any(|keeper| !keeper.is_leaving)
}

/// Who in a region takes chunks in, in the order in which they are asked.
#[must_use]
pub fn takers_in(state: &State, region: &str, digest: Digest) -> Vec<NodeId> {
    let keepers = within(keepers(state, &BTreeSet::new()), Some(region));
    ids(&in_order(digest, &[], keepers.iter().filter(|keeper| keeper.takes_more && !keeper.is_leaving)))
}

/// What is to be done so that `copies` nodes hold the chunk, or as many as keep results, in as many regions as can be.
#[must_use]
pub fn judge(digest: Digest, holders: &[NodeId], keepers: &[Keeper], copies: usize) -> Verdict {
    let there: Vec<&Keeper> = keepers.iter().filter(|keeper| holders.contains(&keeper.node)).collect();
    if there.is_empty() {
        return Verdict::Lost;
    }
    let good: Vec<&Keeper> = there.iter().copied().filter(|keeper| !keeper.is_leaving).collect();
    let others = keepers.iter().filter(|keeper| !holders.contains(&keeper.node) && !keeper.is_leaving);
    let more = in_order(digest, &good, others);
    let takers: Vec<&Keeper> = more.iter().copied().filter(|keeper| keeper.takes_more).collect();
    if good.len() < copies.min(good.len() + more.len()) {
        return if takers.is_empty() { Verdict::NobodyLeft } else { Verdict::Add(ids(&takers)) };
    }
    let regions = regions(&good);
    let elsewhere: Vec<&Keeper> = takers.into_iter().filter(|keeper| !regions.contains(&&keeper.region)).collect();
    if regions.len() < copies && !elsewhere.is_empty() {
        return Verdict::Add(ids(&elsewhere));
    }
    // A holder that is down stays named while it may be needed.
    if good.len() >= copies && holders.len() > copies {
        let mut kept = ids(&in_order(digest, &[], good.into_iter()));
        kept.truncate(copies);
        return Verdict::Trim(kept);
    }
    // As many have it as may: nobody is waited for, and who is barred from it is none of them.
    let is_barred = |node: &NodeId| there.iter().any(|keeper| keeper.node == *node && keeper.is_barred);
    if !good.is_empty() && holders.iter().any(is_barred) {
        return Verdict::Trim(holders.iter().copied().filter(|node| !is_barred(node)).collect());
    }
    Verdict::Enough
}

/// The order in which nodes are asked to hold a chunk that `own` has and nobody else.
#[must_use]
pub fn candidates(digest: Digest, own: NodeId, keepers: &[Keeper]) -> Vec<NodeId> {
    let good: Vec<&Keeper> = keepers.iter().filter(|keeper| keeper.node == own && !keeper.is_leaving).collect();
    let others = keepers.iter().filter(|keeper| keeper.node != own && keeper.takes_more && !keeper.is_leaving);
    ids(&in_order(digest, &good, others))
}

/// First one of each region that none of `with` is in, then the others; each part by rendezvous hash.
fn in_order<'a>(digest: Digest, with: &[&Keeper], of: impl Iterator<Item = &'a Keeper>) -> Vec<&'a Keeper> {
    let mut sorted: Vec<(Digest, &Keeper)> = of.map(|keeper| (rendezvous(digest, keeper.node), keeper)).collect();
    sorted.sort_by_key(|(hash, keeper)| (*hash, keeper.node));
    let mut seen: BTreeSet<&Option<String>> = with.iter().map(|keeper| &keeper.region).collect();
    let (first, rest): (Vec<&Keeper>, Vec<&Keeper>) =
        sorted.into_iter().map(|(_, keeper)| keeper).partition(|keeper| seen.insert(&keeper.region));
    first.into_iter().chain(rest).collect()
}

fn regions<'a>(keepers: &[&'a Keeper]) -> BTreeSet<&'a Option<String>> {
    keepers.iter().map(|keeper| &keeper.region).collect()
}

fn ids(keepers: &[&Keeper]) -> Vec<NodeId> {
    keepers.iter().map(|keeper| keeper.node).collect()
}

fn rendezvous(digest: Digest, node: NodeId) -> Digest {
    let mut bytes = digest.0.to_vec();
    bytes.extend(node.to_le_bytes());
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keeper(node: NodeId, region: &str) -> Keeper {
        let region = (!region.is_empty()).then(|| region.to_owned());
        Keeper { node, region, takes_more: true, is_leaving: false, is_barred: false }
    }

    #[test]
    fn one_holder_is_enough_only_while_one_node_keeps_results() {
        let digest = Digest::of(b"x");
        assert_eq!(judge(digest, &[1], &[keeper(1, "")], 2), Verdict::Enough);
        assert_eq!(judge(digest, &[1], &[keeper(1, ""), keeper(2, "")], 2), Verdict::Add(vec![2]));
        assert_eq!(judge(digest, &[1, 9], &[keeper(1, ""), keeper(2, "")], 2), Verdict::Add(vec![2]), "9 is down");
        assert_eq!(judge(digest, &[9], &[keeper(1, ""), keeper(2, "")], 2), Verdict::Lost);
        let full = Keeper { takes_more: false, ..keeper(2, "") };
        assert_eq!(judge(digest, &[1], &[keeper(1, ""), full], 2), Verdict::NobodyLeft);
    }

    #[test]
    fn what_a_leaving_node_holds_is_copied_from_it_and_it_is_given_nothing() {
        let digest = Digest::of(b"x");
        let leaving = Keeper { takes_more: false, is_leaving: true, ..keeper(1, "") };
        assert_eq!(judge(digest, &[1], &[leaving.clone(), keeper(2, "")], 2), Verdict::Add(vec![2]));
        assert_eq!(judge(digest, &[1, 2], &[leaving.clone(), keeper(2, "")], 2), Verdict::Enough);
        assert_eq!(judge(digest, &[2], &[leaving.clone(), keeper(2, "")], 2), Verdict::Enough);
        assert_eq!(judge(digest, &[1], &[leaving], 2), Verdict::Enough, "nobody else could hold it");
    }

    #[test]
    fn copies_go_to_other_regions_also_when_there_are_two_in_one() {
        let digest = Digest::of(b"x");
        let keepers = [keeper(1, "eu"), keeper(2, "eu"), keeper(3, "us")];
        assert_eq!(judge(digest, &[1], &keepers, 2), Verdict::Add(vec![3, 2]));
        assert_eq!(judge(digest, &[1, 2], &keepers, 2), Verdict::Add(vec![3]));
        let Verdict::Trim(kept) = judge(digest, &[1, 2, 3], &keepers, 2) else { panic!("three are too many") };
        assert!(kept.len() == 2 && kept.contains(&3), "{kept:?}");
        assert_eq!(judge(digest, &kept, &keepers, 2), Verdict::Enough);
    }

    #[test]
    fn what_stays_in_a_region_is_held_there_alone_and_taken_from_a_holder_that_moved_away() {
        let digest = Digest::of(b"x");
        let all = || vec![keeper(1, "eu"), keeper(2, "us"), keeper(3, "eu"), keeper(4, "")];
        let eu = within(all(), Some("eu"));
        assert_eq!(candidates(digest, 1, &eu), [3]);
        assert_eq!(judge(digest, &[1], &eu, 3), Verdict::Add(vec![3]));
        assert_eq!(judge(digest, &[1, 3], &eu, 3), Verdict::Enough, "a third copy would have to be elsewhere");
        let Verdict::Add(takers) = judge(digest, &[2], &eu, 2) else { panic!("it is not where it has to be") };
        assert_eq!(takers.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 3]));
        let Verdict::Trim(kept) = judge(digest, &[1, 2, 3], &eu, 2) else { panic!("2 has to let it go") };
        assert_eq!(kept.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 3]));
        assert_eq!(within(all(), None), all());
    }

    #[test]
    fn who_may_not_have_a_chunk_lets_it_go_however_few_others_there_are() {
        let digest = Digest::of(b"x");
        let eu = within(vec![keeper(1, "eu"), keeper(2, "us")], Some("eu"));
        assert_eq!(judge(digest, &[1, 2], &eu, 2), Verdict::Trim(vec![1]), "one member is left in the region");
        assert_eq!(judge(digest, &[2, 1, 7], &eu, 3), Verdict::Trim(vec![1, 7]), "7 is down and stays named");
        assert_eq!(judge(digest, &[2], &eu, 2), Verdict::Add(vec![1]), "it is copied from there first");
        let full = Keeper { takes_more: false, ..keeper(1, "eu") };
        let eu = within(vec![full, keeper(2, "us")], Some("eu"));
        assert_eq!(judge(digest, &[2], &eu, 2), Verdict::NobodyLeft, "the last copy stays where it is");
        let eu = within(vec![keeper(2, "us")], Some("eu"));
        assert_eq!(judge(digest, &[2], &eu, 2), Verdict::Enough, "and so it does where nobody is in the region");
        let none = Keeper { is_leaving: true, is_barred: true, ..keeper(2, "") };
        assert_eq!(judge(digest, &[1, 2], &[keeper(1, ""), none], 2), Verdict::Trim(vec![1]), "by its policy");
    }

    #[test]
    fn a_failed_holder_stays_named_until_the_others_suffice() {
        let digest = Digest::of(b"x");
        assert_eq!(judge(digest, &[1, 7], &[keeper(1, "")], 2), Verdict::Enough);
        let up = [keeper(1, ""), keeper(2, "")];
        assert_eq!(judge(digest, &[1, 7], &up, 2), Verdict::Add(vec![2]));
        let Verdict::Trim(mut kept) = judge(digest, &[1, 7, 2], &up, 2) else { panic!("7 is down") };
        kept.sort_unstable();
        assert_eq!(kept, [1, 2]);
    }

    proptest! {
        /// Doing what the verdict says, again and again, comes to rest with the copies and regions that can be had.
        #[test]
        fn what_is_done_by_the_verdicts_comes_to_rest_with_all_copies_in_most_regions(
            regions in prop::collection::vec(0u8..3, 1..7),
            first in any::<prop::sample::Index>(),
            copies in 1usize..4,
            chunk: [u8; 4],
        ) {
            let name = |region: &u8| ["", "eu", "us"][usize::from(*region)];
            let keepers: Vec<Keeper> = (1u64..).zip(&regions).map(|(node, region)| keeper(node, name(region))).collect();
            let digest = Digest::of(&chunk);
            let mut holders = vec![keepers[first.index(keepers.len())].node];
            for _ in 0..20 {
                match judge(digest, &holders, &keepers, copies) {
                    Verdict::Enough => break,
                    Verdict::Add(more) => holders.push(more[0]),
                    Verdict::Trim(kept) => holders = kept,
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(judge(digest, &holders, &keepers, copies), Verdict::Enough);
            prop_assert_eq!(holders.len(), copies.min(keepers.len()));
            let spread = |of: &mut dyn Iterator<Item = &Keeper>| of.map(|keeper| keeper.region.clone()).collect::<BTreeSet<_>>().len();
            let reached = spread(&mut keepers.iter().filter(|keeper| holders.contains(&keeper.node)));
            prop_assert_eq!(reached, spread(&mut keepers.iter()).min(copies));
        }
    }
}
