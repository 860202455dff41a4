//! What a node says of itself: its name, where it is reached, and what work it takes.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnet::IpNet;
use pentora_p2p::{Mesh, PeerAddress};
use pentora_raft::command::{NodeInfo, NodeRole};
use pentora_raft::state::ADDRESSES_MAX;
use pentora_scanner::engine::{Engine, EngineKind};
use pentora_scanner::scope::Scope;
use pentora_scanner::spec::EngineChoice;

use crate::config::{NetworkAccess, NodeConfig, NodeMode, WorkerSettings};
use crate::policy::own::OwnRules;
use crate::signing::TrustedKey;

/// What this node says of itself.
pub(super) fn of(config: &NodeConfig, mesh: &Mesh, name: &str) -> NodeInfo {
    with_addresses(config, mesh, name, interface_addresses())
}

/// What a node says that joins through `peer`: where it listens on every address, the one that faces that peer is told.
pub(super) fn of_joiner(config: &NodeConfig, mesh: &Mesh, peer: &PeerAddress) -> NodeInfo {
    let facing = match peer {
        PeerAddress::Socket(address) => facing(*address),
        PeerAddress::Name { .. } => None,
    };
    let own = facing.map_or_else(interface_addresses, |address| vec![address]);
    with_addresses(config, mesh, &config.name, own)
}

/// What an embedded node says.
pub(super) fn of_embedded(name: &str, engine: &Engine) -> NodeInfo {
    NodeInfo {
        name: name.to_owned(),
        peer: "embedded".into(),
        addresses: Vec::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        region: None,
        tags: Vec::new(),
        networks: None,
        max_concurrent_scans: 10,
        max_targets_per_scan: 65_536,
        role: NodeRole::Auto,
        engines: engines_of(engine),
    }
}

/// What a worker without a mesh says.
pub(super) fn of_standalone(config: &NodeConfig, engine: &Engine) -> NodeInfo {
    NodeInfo {
        region: config.worker.region.clone(),
        tags: config.worker.tags.clone(),
        networks: match &config.worker.network_access {
            NetworkAccess::Auto => own_scope(config).map(|own| own.nets().to_vec()),
            NetworkAccess::Networks(nets) => Some(within(nets, own_scope(config).as_ref())),
        },
        max_concurrent_scans: config.worker.max_concurrent_scans,
        max_targets_per_scan: config.worker.max_targets_per_scan,
        ..of_embedded(&config.name, engine)
    }
}

/// What this node's own file lets it scan; `None` where it says nothing.
pub(super) fn own_scope(config: &NodeConfig) -> Option<Scope> {
    match &config.worker.scope {
        NetworkAccess::Auto => None,
        NetworkAccess::Networks(nets) => Some(Scope::new(nets)),
    }
}

/// The rules of this node's own file.
///
/// # Errors
/// A sentence where a text is no rule, which the configuration's own check has told before.
pub(super) fn own_rules(worker: &WorkerSettings) -> Result<OwnRules, String> {
    let scope = match &worker.scope {
        NetworkAccess::Auto => None,
        NetworkAccess::Networks(nets) => Some(Scope::new(nets)),
    };
    let rules = OwnRules::read(scope, &worker.exclude, &worker.windows, &worker.blackouts)?;
    if !worker.require_signed_orders {
        return Ok(rules);
    }
    let keys = worker.trusted_keys.iter().map(|text| text.parse::<TrustedKey>().map_err(|error| error.to_string()));
    Ok(rules.signed_by(keys.collect::<Result<_, _>>()?))
}

/// What this node reaches within its own scope, before its hours; `None` for everything.
pub(super) fn reached(access: &NetworkAccess, own: Option<&Scope>) -> Option<Vec<IpNet>> {
    match access {
        NetworkAccess::Auto => super::routes::networks(own),
        NetworkAccess::Networks(nets) => Some(within(nets, own)),
    }
}

/// Those of the networks, or of their parts, that this node's own file lets it scan.
pub(super) fn within(networks: &[IpNet], own: Option<&Scope>) -> Vec<IpNet> {
    own.map_or_else(|| networks.to_vec(), |own| Scope::new(networks).narrow(own).nets().to_vec())
}

/// The kinds of engine that a node with `engine` says it has, in the words of `--engine`.
pub(super) fn engines_of(engine: &Engine) -> Vec<String> {
    let raw = (engine.kind() == EngineKind::Raw).then_some(EngineChoice::Raw);
    [Some(EngineChoice::Connect), raw].into_iter().flatten().map(|kind| kind.to_string()).collect()
}

fn with_addresses(config: &NodeConfig, mesh: &Mesh, name: &str, own: Vec<IpAddr>) -> NodeInfo {
    let addresses = addresses(&config.mesh.advertise, mesh, &own);
    NodeInfo {
        name: name.to_owned(),
        peer: mesh.peer_id().to_string(),
        addresses,
        version: env!("CARGO_PKG_VERSION").into(),
        region: config.worker.region.clone(),
        tags: config.worker.tags.clone(),
        networks: reached(&config.worker.network_access, own_scope(config).as_ref()),
        max_concurrent_scans: config.worker.max_concurrent_scans,
        max_targets_per_scan: config.worker.max_targets_per_scan,
        role: if config.mode == NodeMode::Worker { NodeRole::Scanner } else { NodeRole::Auto },
        // Told once the engine runs.
        engines: Vec::new(),
    }
}

/// Where others reach this node, of which these are the interfaces' addresses: what is advertised, or else where it listens.
pub(super) fn addresses(advertised: &[String], mesh: &Mesh, own: &[IpAddr]) -> Vec<String> {
    let listening = mesh.listen_addrs().into_iter().flat_map(|address| {
        if address.ip().is_unspecified() {
            own.iter().map(|ip| SocketAddr::new(*ip, address.port()).to_string()).collect()
        } else {
            vec![address.to_string()]
        }
    });
    let all: Vec<String> = if advertised.is_empty() { listening.collect() } else { advertised.to_vec() };
    all.into_iter().take(ADDRESSES_MAX).collect()
}

/// This machine's address on the way to `peer`. Connecting a datagram socket sends nothing.
fn facing(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The addresses of this machine's interfaces, loopback only where there is no other.
pub(super) fn interface_addresses() -> Vec<IpAddr> {
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
