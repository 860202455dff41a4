//! The networks that this machine's routes reach, for `worker.network_access: auto`: a target without a route on this node
//! is not this node's. Told to the cluster less what this node's own file keeps closed at the hour.
//!
//! Read from the kernel's own tables (proc(5): `/proc/net/route`, `/proc/net/ipv6_route`), and again now and then, because
//! routes come and go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use pentora_raft::Raft;
use pentora_raft::command::Command;
use pentora_scanner::scope::Scope;
use tokio_util::sync::CancellationToken;

use super::node_info;
use crate::config::NetworkAccess;
use crate::policy::own::OwnFile;
use crate::rpc::proposer::Proposer;

/// How often routes are read again. Ours: a cable that is plugged in is used within half a minute.
const LOOK: Duration = Duration::from_secs(15);
/// How often the hours of this node's own file are looked at.
const HOURS_LOOK: Duration = Duration::from_secs(1);
/// Networks that are told, at most; a router with more tells its default route, or all of them. Ours: they are in an entry
/// of the log.
const NETWORKS_MAX: usize = 256;
/// The route is up (linux/route.h).
const RTF_UP: u32 = 0x1;
/// The route refuses what it matches.
const RTF_REJECT: u32 = 0x200;

/// What this machine's routes reach, within what its own file lets it scan; `None` for everything, and where the kernel
/// does not tell.
pub(super) fn networks(own: Option<&Scope>) -> Option<Vec<IpNet>> {
    match (routed(), own) {
        (Some(routed), own) => Some(node_info::within(&routed, own)),
        (None, own) => own.map(|own| own.nets().to_vec()),
    }
}

fn routed() -> Option<Vec<IpNet>> {
    let v4 = std::fs::read_to_string("/proc/net/route").ok()?;
    // A kernel without IPv6 has no such table.
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    reached(v4.lines().skip(1).filter_map(v4_route).chain(v6.lines().filter_map(v6_route)))
}

/// Tells the cluster whenever what this node reaches has changed: by its routes, or by the hours and the scope of its own
/// file, until `stop`.
pub(super) async fn keep(
    raft: Raft,
    proposer: Proposer,
    (access, own): (NetworkAccess, OwnFile),
    stop: CancellationToken,
) {
    let node = raft.node();
    let mut read = own.watch();
    let mut looked: Option<(Instant, Option<Vec<IpNet>>)> = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = read.changed() => looked = None,
            () = tokio::time::sleep(HOURS_LOOK) => {}
        }
        let rules = own.now();
        let reached = match looked.take() {
            Some((at, reached)) if at.elapsed() < LOOK => (at, reached),
            _ => (Instant::now(), node_info::reached(&access, rules.scope())),
        };
        let now = rules.open_at(reached.1.clone(), raft.now_ms());
        looked = Some(reached);
        // Held against what it said, not against what its policy leaves of that.
        let told = raft.read(|state| {
            let said =
                state.standings().find(|(id, _)| *id == node).map(|(_, standing)| standing.says.networks.clone());
            said.or_else(|| state.node(node).map(|record| record.info.networks.clone()))
        });
        if told.is_some_and(|told| told != now) {
            match proposer.propose(Command::SetNetworks { node, networks: now }).await {
                Ok(_) => tracing::info!(node, "this node reaches other networks now"),
                Err(error) => tracing::debug!(%error, "what this node reaches is not in the log yet"),
            }
        }
    }
}

/// The least list of networks with all of these and loopback; `None` where that is everything.
fn reached(routes: impl Iterator<Item = IpNet>) -> Option<Vec<IpNet>> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let loopback = loopback.iter().filter_map(|ip| IpNet::new(*ip, if ip.is_ipv4() { 8 } else { 128 }).ok());
    let all: Vec<IpNet> = routes.chain(loopback).map(|net| net.trunc()).collect();
    let least = IpNet::aggregate(&all);
    let everything = least.iter().filter(|net| net.prefix_len() == 0).count() == 2;
    (!everything && least.len() <= NETWORKS_MAX).then_some(least)
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, three counts, mask.
fn v4_route(line: &str) -> Option<IpNet> {
    let mut fields = line.split_ascii_whitespace();
    let number = |text: Option<&str>| u32::from_str_radix(text?, 16).ok();
    let destination = number(fields.nth(1))?;
    let flags = number(fields.nth(1))?;
    let mask = number(fields.nth(3))?;
    if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 {
        return None;
    }
    // Both are in the machine's own byte order, of numbers that are in the network's.
    let (destination, mask) = (Ipv4Addr::from(destination.to_ne_bytes()), Ipv4Addr::from(mask.to_ne_bytes()));
    IpNet::with_netmask(destination.into(), mask.into()).ok()
}

/// A line of `/proc/net/ipv6_route`: destination and its length, source and its length, next hop, metric, two counts,
/// flags, interface.
fn v6_route(line: &str) -> Option<IpNet> {
    let mut fields = line.split_ascii_whitespace();
    let destination = u128::from_str_radix(fields.next()?, 16).ok()?;
    let length = u8::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u32::from_str_radix(fields.nth(6)?, 16).ok()?;
    let destination = Ipv6Addr::from(destination);
    if flags & RTF_UP == 0 || flags & RTF_REJECT != 0 || destination.is_multicast() {
        return None;
    }
    IpNet::new(destination.into(), length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_tables_are_read_without_what_is_down_or_refused() {
        let v4 = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
n1\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t00000000\t0100580A\t0003\t0\t0\t0\t00000000\t0\t0\t0
*\t0000A8C0\t00000000\t0200\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let v4: Vec<IpNet> = v4.lines().skip(1).filter_map(v4_route).collect();
        assert_eq!(v4[1..], nets(&["0.0.0.0/0"]));
        assert_eq!(v4.len(), 2);
        let v6 = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000004 00000000 00000001     eth0";
        assert_eq!(v6.lines().filter_map(v6_route).collect::<Vec<_>>(), nets(&["fd00::/64"]));
        assert_eq!(v4_route("lo\tzz"), None);
        assert_eq!(v6_route(""), None);
    }

    #[test]
    fn what_is_reached_is_told_in_the_fewest_networks_and_two_default_routes_are_everything() {
        let of = |texts: &[&str]| reached(nets(texts).into_iter());
        assert_eq!(of(&["10.1.0.0/24", "10.1.1.0/24", "fe80::/64"]).unwrap(), {
            let mut least = nets(&["10.1.0.0/23", "127.0.0.0/8", "::1/128", "fe80::/64"]);
            least.sort();
            least
        });
        assert_eq!(of(&["0.0.0.0/0", "10.1.0.0/24"]).unwrap(), nets(&["0.0.0.0/0", "::1/128"]));
        assert_eq!(of(&["0.0.0.0/0", "::/0"]), None);
    }

    #[test]
    fn this_machine_reaches_its_own_loopback() {
        let own = networks(None);
        assert!(crate::coordinator::placement::reaches(own.as_deref(), &"127.0.0.0/8".parse().unwrap()), "{own:?}");
    }
}
