//! Membership sync: what this node says of itself goes into the log, and the mesh's members follow what the log says of all.

use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::{Member, Mesh};
use pentora_raft::command::{Command, NodeInfo};
use pentora_raft::{Raft, Role};
use tokio_util::sync::CancellationToken;

use crate::data_dir::{DataDir, NodeIdentity};
use crate::member_address::MemberAddress;
use crate::rpc::proposer::Proposer;

/// How long to wait before this node's own node info is proposed again.
const RETRY: Duration = Duration::from_millis(500);

/// Keeps the mesh's members equal to the nodes of the replicated state, beginning with those known when joining.
pub(super) async fn keep_members(raft: Raft, mesh: Mesh, first: Vec<MemberAddress>, stop: CancellationToken) {
    let mut applied = raft.watch_applied();
    let own = mesh.peer_id().to_string();
    let mut set: Vec<MemberAddress> = Vec::new();
    loop {
        let mut now: Vec<MemberAddress> = raft.read(|state| {
            let others = state.nodes().filter(|(_, node)| node.info.peer != own);
            others.map(|(_, node)| MemberAddress::of(node)).collect()
        });
        // Until this node is itself in the state it has, that state is older than its admission.
        if raft.read(|state| state.node(raft.node()).is_none()) {
            let missing = first.iter().filter(|member| !now.iter().any(|known| known.peer == member.peer));
            let missing: Vec<_> = missing.cloned().collect();
            now.extend(missing);
        }
        if now != set {
            mesh.set_members(members(&now));
            set = now;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = applied.changed() => {}
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
        while raft.status().role == Role::Outside || raft.status().leader.is_none() {
            raft.status_changed(RETRY).await;
        }
        if let Err(error) = data_dir.save_identity(&NodeIdentity { store_begun: true, ..identity }) {
            tracing::warn!(%error, "the data directory does not note that its store has begun");
        }
        while let Err(error) = proposer.propose(Command::UpdateNode { node, info: info.clone() }).await {
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

/// Members as the mesh wants them; an address that does not parse is left out.
pub(super) fn members(list: &[MemberAddress]) -> Vec<Member> {
    list.iter()
        .filter_map(|MemberAddress { peer, addresses }| {
            Some(Member {
                peer_id: peer.parse().ok()?,
                addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
                keep_connected: true,
            })
        })
        .collect()
}
