//! Membership sync: what this node says of itself goes into the log, and the mesh's members follow what the log says of all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::{Member, Mesh};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::{Raft, Role, State};
use tokio_util::sync::CancellationToken;

use super::addresses::Hints;
use crate::data_dir::{DataDir, NodeIdentity};
use crate::member_address::MemberAddress;
use crate::rpc::proposer::{Proposer, Unavailable};

/// How long to wait before this node's own node info is proposed again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a removed node stays connected, so that the entry which removes it reaches it and it stops by itself. Ours: a
/// few heartbeats, and well within the 2 s after which it must be cut off.
const FAREWELL: Duration = Duration::from_millis(750);

/// Keeps the mesh's members equal to the nodes of the replicated state, beginning with those known when joining, at
/// the addresses that it and they themselves name.
pub(super) async fn keep_members(
    raft: Raft,
    mesh: Mesh,
    first: Vec<MemberAddress>,
    hints: Arc<Hints>,
    stop: CancellationToken,
) {
    let (mut applied, mut told) = (raft.watch_applied(), hints.watch());
    let own = mesh.peer_id().to_string();
    let mut set: Vec<MemberAddress> = Vec::new();
    let mut set_outside: BTreeSet<String> = BTreeSet::new();
    let mut farewell: Option<Instant> = None;
    loop {
        // Nodes outside the log come to their gateways by themselves, often from where nobody can reach them.
        let (as_of, (mut now, outside)): (u64, (Vec<MemberAddress>, BTreeSet<String>)) = raft.read(|state| {
            let others = || state.nodes().filter(|(_, node)| node.info.peer != own);
            let outside = others().filter(|(_, node)| !node.may_vote()).map(|(_, node)| node.info.peer.clone());
            (state.nodes_revision(), (others().map(|(_, node)| MemberAddress::of(node)).collect(), outside.collect()))
        });
        // Until this node is itself in the state it has, that state is older than its admission.
        if raft.read(|state| state.node(raft.node()).is_none()) {
            let missing = first.iter().filter(|member| !now.iter().any(|known| known.peer == member.peer));
            let missing: Vec<_> = missing.cloned().collect();
            now.extend(missing);
        }
        hints.add_to(&mut now);
        let is_known: BTreeSet<&str> = now.iter().map(|known| known.peer.as_str()).collect();
        let gone = set.iter().any(|member| !is_known.contains(member.peer.as_str()));
        farewell = farewell.filter(|_| gone).or_else(|| gone.then(|| Instant::now() + FAREWELL));
        if (now != set || outside != set_outside) && farewell.is_none_or(|end| Instant::now() >= end) {
            mesh.set_members(members(&now, &outside));
            (set, set_outside) = (now, outside);
            farewell = None;
        } else if gone {
            // New members need not wait until an old one is gone.
            let staying = set.iter().filter(|member| !is_known.contains(member.peer.as_str()));
            let both: Vec<MemberAddress> = now.iter().chain(staying).cloned().collect();
            if both != set {
                mesh.set_members(members(&both, &outside));
                set = both;
            }
        }
        // Hardly any entry is about nodes, and a look at all of them is not to be had for each.
        let news = async {
            loop {
                tokio::select! {
                    biased;
                    _ = applied.changed() => if raft.read(State::nodes_revision) != as_of { return },
                    _ = told.changed() => return,
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = news => {}
            () = tokio::time::sleep_until(farewell.unwrap_or_else(Instant::now).into()), if farewell.is_some() => {}
        }
    }
}

/// Tells the cluster what changed about this node since it was last started, and notes that its store has begun.
pub(super) async fn keep_own(
    raft: Raft,
    proposer: Proposer,
    info: NodeInfo,
    data_dir: Arc<DataDir>,
    identity: NodeIdentity,
    stop: CancellationToken,
) {
    let node = raft.node();
    let tell = async {
        let is_in = || match raft.is_outside() {
            true => raft.read(|state| state.node(node).is_some()),
            false => raft.status().role != Role::Outside,
        };
        while !is_in() || raft.status().leader.is_none() {
            raft.status_changed(RETRY).await;
        }
        let begun = NodeIdentity { store_begun: true, ..identity };
        if !raft.is_outside()
            && let Err(error) = data_dir.beside(move |data_dir| data_dir.save_identity(&begun)).await
        {
            tracing::warn!(%error, "the data directory does not note that its store has begun");
        }
        while let Err(error) = proposer.propose(Command::UpdateNode { node, info: info.clone() }).await {
            if let Unavailable::Denied(why) = &error {
                tracing::warn!(why, "this node's info is not taken");
                return;
            }
            tracing::debug!(%error, "this node's info is not in the log yet");
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = tell => {}
    }
}

/// Members as the mesh wants them, connections kept to those that are not `outside`; an address that does not parse is left
/// out.
pub(super) fn members(list: &[MemberAddress], outside: &BTreeSet<String>) -> Vec<Member> {
    list.iter()
        .filter_map(|MemberAddress { peer, addresses }| {
            Some(Member {
                peer_id: peer.parse().ok()?,
                addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
                keep_connected: !outside.contains(peer),
            })
        })
        .collect()
}
