//! Which members a node outside the log asks to be its gateways: a pure choice.

use std::cmp::Reverse;

use pentora_p2p::PeerId;
use pentora_raft::state::NodeRecord;
use pentora_raft::{Digest, NodeId, State};

/// Where a node is, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) site: Option<String>,
    pub(super) region: Option<String>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    pub(super) place: Place,
    /// Whether the cluster holds it for up.
    pub(super) is_up: bool,
}

/// Where a node is by the log.
pub(super) fn place(state: &State, node: NodeId) -> Place {
    let region = state.node(node).and_then(|record| record.info.region.clone());
    Place { site: state.policy(node).site, region }
}

/// The members by the log.
pub(super) fn members(state: &State) -> Vec<Candidate> {
    let members = state.nodes().filter(|(_, record)| NodeRecord::may_vote(record));
    let candidate = |(id, record): (NodeId, &NodeRecord)| {
        let peer = record.info.peer.parse().ok()?;
        Some(Candidate { peer, place: place(state, id), is_up: !record.status.is_gone() && !state.is_leaving(id) })
    };
    members.filter_map(candidate).collect()
}

/// Members in the order in which node `own`, which is at `place`, asks them: those that are up before others, near ones
/// before far ones, and among equals by the rendezvous hash of both, so that nodes spread over members and few move when
/// one comes or goes.
pub(super) fn order(own: NodeId, place: &Place, mut members: Vec<Candidate>) -> Vec<PeerId> {
    let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    members.sort_by_cached_key(|member| {
        let nearness = (same(&place.site, &member.place.site), same(&place.region, &member.place.region));
        let hash = Digest::of(format!("{own} {}", member.peer).as_bytes());
        (Reverse((member.is_up, nearness)), hash)
    });
    members.into_iter().map(|member| member.peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_p2p::Identity;

    fn member(site: Option<&str>, region: Option<&str>, is_up: bool) -> Candidate {
        let place = Place { site: site.map(Into::into), region: region.map(Into::into) };
        Candidate { peer: Identity::generate().peer_id(), place, is_up }
    }

    #[test]
    fn members_at_the_same_site_come_first_then_of_the_same_region_and_those_that_are_gone_last() {
        let (far, near) = (member(None, Some("us"), true), member(Some("hq"), Some("eu"), true));
        let (region, gone) = (member(Some("dc"), Some("eu"), true), member(Some("hq"), Some("eu"), false));
        let place = Place { site: Some("hq".into()), region: Some("eu".into()) };
        let all = vec![gone.clone(), far.clone(), region.clone(), near.clone()];
        assert_eq!(order(7, &place, all), [near.peer, region.peer, far.peer, gone.peer]);
    }

    #[test]
    fn a_node_of_no_known_place_is_near_nobody_and_nodes_spread_over_equal_members() {
        let members: Vec<Candidate> = (0..4).map(|_| member(None, None, true)).collect();
        let mut first = std::collections::BTreeMap::new();
        for node in 0..400 {
            let order = order(node, &Place::default(), members.clone());
            *first.entry(order[0]).or_insert(0) += 1;
            let without: Vec<Candidate> = members.iter().filter(|it| it.peer != order[3]).cloned().collect();
            assert_eq!(super::order(node, &Place::default(), without), order[..3], "who stays keeps the order");
        }
        assert!(first.len() == 4 && first.values().all(|count| *count >= 60), "{first:?}");
    }
}
