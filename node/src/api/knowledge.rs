//! What the answering node may say of the others as of now: nothing that rests on a leader while it knows none, and no
//! margin that the leader did not tell. Everything else carries its age.

use std::collections::BTreeMap;
use std::time::Duration;

use pentora_p2p::PeerInfo;
use pentora_raft::leadership::margin;
use pentora_raft::state::NodeRecord;
use pentora_raft::{Leadership, NodeId, RaftStatus};

use super::Served;
use crate::rpc::SoftState;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Knowledge {
    own: NodeId,
    /// While no leader is known: how old the replicated state is, as far as that can be told.
    lost_for: Option<Duration>,
    /// Milliseconds since the leader heard each node; empty where it did not say.
    heard_ms: BTreeMap<NodeId, u64>,
    /// While no leader is known: who led last, and milliseconds since its last word as that.
    last_word: Option<(NodeId, u64)>,
    /// Milliseconds since this node heard each peer over the mesh.
    contact_ms: BTreeMap<String, u64>,
    /// Where peers were looked for that this node has no connection to, and what came of it.
    unreached: BTreeMap<String, String>,
    /// How many more voters may be lost; `None` where that is not known.
    pub(super) margin: Option<usize>,
}

impl Knowledge {
    /// What `node` knows, with what the leader told it.
    pub(super) fn of(node: &Served, status: &RaftStatus, soft: &SoftState) -> Self {
        let peers = node.mesh.as_ref().map(pentora_p2p::Mesh::peers).unwrap_or_default();
        Self::from(status, soft, &peers, node.started.elapsed())
    }

    fn from(status: &RaftStatus, soft: &SoftState, peers: &[PeerInfo], up: Duration) -> Self {
        let contact = |info: &PeerInfo| Some((info.peer.to_string(), millis(info.last_contact?)));
        // Where no leader was heard since the start, what the state says is older than that.
        let lost_for = match status.leadership {
            Leadership::Known { .. } => None,
            Leadership::Lost { since, .. } => Some(since.unwrap_or(up)),
        };
        let last_word = match status.leadership {
            Leadership::Lost { last: Some(last), since: Some(since) } => Some((last, millis(since))),
            _ => None,
        };
        let heard_ms = if lost_for.is_none() { soft.heard_ms.clone() } else { BTreeMap::new() };
        let limit = millis(status.election_max);
        let is_live = |voter| voter == status.node || heard_ms.get(&voter).is_some_and(|heard| *heard <= limit);
        let margin = (!heard_ms.is_empty()).then(|| margin(&status.voter_sets, is_live));
        let contact_ms = peers.iter().filter_map(contact).collect();
        let lost = peers.iter().filter(|info| info.member && !info.connected);
        let unreached = lost.map(|info| (info.peer.to_string(), tried(info))).collect();
        Self { own: status.node, lost_for, heard_ms, last_word, contact_ms, unreached, margin }
    }

    /// Whether what the state says is so now, as far as a leader can tell.
    pub(super) fn is_of_now(&self) -> bool {
        self.lost_for.is_none()
    }

    /// How old the statuses of nodes are, in milliseconds, where they are not of now.
    pub(super) fn status_age_ms(&self) -> Option<u64> {
        self.lost_for.map(millis)
    }

    /// Where a node was looked for that this one has no connection to, and what came of it.
    pub(super) fn unreached(&self, record: &NodeRecord) -> Option<String> {
        // One that only scans is connected to its gateways, and nobody looks for it.
        self.unreached.get(&record.info.peer).filter(|_| record.may_vote()).cloned()
    }

    /// Milliseconds since a node was heard: by the leader, or where that did not say, as for one that was lost before it led, or
    /// none is known, by this one. It is the one age of a contact: what a leader said last is one as well.
    pub(super) fn heard_ms(&self, node: NodeId, record: &NodeRecord) -> Option<u64> {
        if node == self.own {
            return Some(0);
        }
        let by_leader = self.heard_ms.get(&node).copied();
        by_leader.or_else(|| {
            let word = self.last_word.filter(|(last, _)| *last == node).map(|(_, ms)| ms);
            self.contact_ms.get(&record.info.peer).copied().into_iter().chain(word).min()
        })
    }
}

fn tried(info: &PeerInfo) -> String {
    let addresses: Vec<String> = info.addresses.iter().map(ToString::to_string).collect();
    match (addresses.is_empty(), &info.last_error) {
        (true, _) => "no address of it is known".to_owned(),
        (false, Some(error)) => format!("{}: {error}", addresses.join(", ")),
        (false, None) => addresses.join(", "),
    }
}

/// A duration for a document; one that nobody knows is the longest.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pentora_p2p::Identity;
    use pentora_raft::Role;
    use pentora_raft::command::NodeInfo;
    use pentora_raft::state::NodeStatus;

    use super::*;

    fn status(leadership: Leadership) -> RaftStatus {
        RaftStatus {
            node: 3,
            role: Role::Voter,
            leadership,
            leader: leadership.leader(),
            election_max: Duration::from_millis(800),
            term: 1,
            last_index: 9,
            commit_index: 9,
            applied_index: 9,
            voters: BTreeSet::from([1, 2, 3]),
            voter_sets: vec![BTreeSet::from([1, 2, 3])],
            becoming: None,
            joint: false,
            learners: BTreeSet::new(),
            matched: BTreeMap::new(),
            heard_ms: BTreeMap::new(),
            quorum_heard_ms: None,
            stopped: None,
        }
    }

    fn record(peer: &str) -> NodeRecord {
        NodeRecord {
            info: NodeInfo { peer: peer.into(), ..NodeInfo::default() },
            status: NodeStatus::Active,
            draining: false,
            joined_at_ms: 0,
            started_at_ms: 0,
            changed_at_ms: 0,
        }
    }

    #[test]
    fn a_margin_is_what_the_leader_says_it_hears_and_unknown_where_it_does_not_answer() {
        let known = status(Leadership::Known { leader: 1, age: Duration::ZERO });
        let soft = |two| SoftState { heard_ms: BTreeMap::from([(1, 0), (2, two), (3, 90)]), ..SoftState::default() };
        let margin = |soft: &SoftState| Knowledge::from(&known, soft, &[], Duration::ZERO).margin;
        assert_eq!(margin(&soft(150)), Some(1));
        assert_eq!(margin(&soft(900)), Some(0), "the second voter was not heard for an election");
        assert_eq!(margin(&SoftState::default()), None);
    }

    fn seen(peer: pentora_p2p::PeerId) -> PeerInfo {
        PeerInfo {
            peer,
            member: true,
            connected: false,
            keep_connected: true,
            rtt: None,
            addresses: vec!["10.88.0.2:7400".parse().unwrap()],
            remote: None,
            last_contact: Some(Duration::from_secs(7)),
            last_error: Some("no answer".into()),
        }
    }

    #[test]
    fn whom_the_leader_has_not_heard_since_it_leads_was_heard_when_this_node_heard_it() {
        let peer = Identity::generate().peer_id();
        let known = status(Leadership::Known { leader: 1, age: Duration::ZERO });
        let soft = SoftState { heard_ms: BTreeMap::from([(1, 0), (3, 90)]), ..SoftState::default() };
        let knowledge = Knowledge::from(&known, &soft, &[seen(peer)], Duration::ZERO);
        assert_eq!(knowledge.heard_ms(2, &record(&peer.to_string())), Some(7_000));
        assert_eq!(knowledge.heard_ms(1, &record(&peer.to_string())), Some(0), "the leader's word goes before");
        assert_eq!(knowledge.heard_ms(2, &record("another")), None);
    }

    #[test]
    fn without_a_leader_there_is_no_margin_statuses_carry_their_age_and_contacts_are_the_nodes_own() {
        let peer = Identity::generate().peer_id();
        let info = seen(peer);
        let since = Some(Duration::from_secs(12));
        let soft = SoftState { heard_ms: BTreeMap::from([(1, 0), (2, 0)]), ..SoftState::default() };
        let lost = status(Leadership::Lost { last: Some(1), since });
        let knowledge = Knowledge::from(&lost, &soft, &[info], Duration::from_secs(99));
        assert_eq!((knowledge.margin, knowledge.is_of_now()), (None, false));
        assert_eq!(knowledge.status_age_ms(), Some(12_000));
        assert_eq!(knowledge.heard_ms(2, &record(&peer.to_string())), Some(7_000));
        assert_eq!(knowledge.unreached(&record(&peer.to_string())).unwrap(), "10.88.0.2:7400: no answer");
        assert_eq!(knowledge.heard_ms(1, &record("another")), Some(12_000), "the leader's last word was one");
        assert_eq!(knowledge.heard_ms(1, &record(&peer.to_string())), Some(7_000), "it is there, and leads no more");
        assert_eq!(knowledge.heard_ms(3, &record("own")), Some(0));
        let never = status(Leadership::Lost { last: None, since: None });
        let knowledge = Knowledge::from(&never, &soft, &[], Duration::from_secs(99));
        assert_eq!(knowledge.status_age_ms(), Some(99_000), "older than the node's start");
    }
}
