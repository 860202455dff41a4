//! Membership sync: what this node says of itself goes into the log, and the mesh's members follow what the log says of all.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::{Mesh, PeerAddress};
use pentora_raft::command::{Command, NodeInfo, NodeRole};
use pentora_raft::{Raft, Role};
use tokio_util::sync::CancellationToken;

use super::begin;
use crate::config::{NetworkAccess, NodeConfig, NodeMode};
use crate::data_dir::{DataDir, NodeIdentity};
use crate::member_address::MemberAddress;
use crate::rpc::proposer::Proposer;

/// How long to wait before this node's own node info is proposed again.
const RETRY: Duration = Duration::from_millis(500);

/// What this node says of itself.
pub(super) fn node_info(config: &NodeConfig, mesh: &Mesh, name: &str) -> NodeInfo {
    with_addresses(config, mesh, name, interface_addresses())
}

/// What a node says that joins through `peer`: where it listens on every address, the one that faces that peer is told.
pub(super) fn joiner_info(config: &NodeConfig, mesh: &Mesh, peer: &PeerAddress) -> NodeInfo {
    let facing = match peer {
        PeerAddress::Socket(address) => facing(*address),
        PeerAddress::Name { .. } => None,
    };
    let own = facing.map_or_else(interface_addresses, |address| vec![address]);
    with_addresses(config, mesh, &config.name, own)
}

fn with_addresses(config: &NodeConfig, mesh: &Mesh, name: &str, own: Vec<IpAddr>) -> NodeInfo {
    let listening = mesh.listen_addrs().into_iter().flat_map(|address| {
        if address.ip().is_unspecified() {
            own.iter().map(|ip| SocketAddr::new(*ip, address.port()).to_string()).collect()
        } else {
            vec![address.to_string()]
        }
    });
    let addresses = if config.mesh.advertise.is_empty() { listening.collect() } else { config.mesh.advertise.clone() };
    NodeInfo {
        name: name.to_owned(),
        peer: mesh.peer_id().to_string(),
        addresses,
        version: env!("CARGO_PKG_VERSION").into(),
        region: config.worker.region.clone(),
        tags: config.worker.tags.clone(),
        networks: match &config.worker.network_access {
            NetworkAccess::Auto => None,
            NetworkAccess::Networks(nets) => Some(nets.clone()),
        },
        max_concurrent_scans: config.worker.max_concurrent_scans,
        max_targets_per_scan: config.worker.max_targets_per_scan,
        role: if config.mode == NodeMode::Worker { NodeRole::Scanner } else { NodeRole::Auto },
        // Told once the engine runs.
        engines: Vec::new(),
    }
}

/// This machine's address on the way to `peer`. Connecting a datagram socket sends nothing.
fn facing(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The addresses of this machine's interfaces, loopback only where there is no other.
fn interface_addresses() -> Vec<IpAddr> {
    let all: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .map(|interfaces| interfaces.filter_map(|interface| interface.address.as_ref().and_then(ip_of)).collect())
        .unwrap_or_default();
    let outside: Vec<IpAddr> = all.iter().copied().filter(|ip| !ip.is_loopback() && !is_link_local(ip)).collect();
    if outside.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { outside }
}

fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
}

/// An address that means nothing on another machine without its interface.
fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

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
            mesh.set_members(begin::members(&now));
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
