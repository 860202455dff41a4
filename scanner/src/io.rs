//! The edges: everything that touches sockets, names or the clock.
//!
//! `connect` drives connect scans over ordinary sockets, `raw` drives SYN scans over packet sockets, `udp` drives UDP
//! scans over datagram sockets. `start` is what they are started with, `engine_thread` how units come to their threads,
//! `reactor` the loop of those that use epoll, `delivery` how each hands over what it finds, `bell` how threads wake each
//! other, `resolve` looks up host names and `reverse_dns` those of addresses, `limits` knows how many sockets this process may open, `links` which hosts are
//! neighbours, `all_nodes` finds the hosts of an IPv6 link, `crowd` whether the kernel has room for them, `carrier` waits for links that are new, `ways` for those that are lost, `fake` is a network in virtual time for tests of the connect scan.

#[cfg_attr(not(target_os = "linux"), path = "io/no_links.rs")]
mod all_nodes;
mod bell;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "io/cable_test.rs"]
mod cable;
#[cfg(target_os = "linux")]
mod carrier;
pub(crate) mod clock;
pub(crate) mod connect;
#[cfg(target_os = "linux")]
mod crowd;
pub(crate) mod delivery;
mod engine_thread;
pub mod fake;
pub(crate) mod give_way;
pub(crate) mod limits;
mod links;
#[cfg(target_os = "linux")]
pub(crate) mod raw;
#[cfg(target_os = "linux")]
mod reach;
mod reactor;
mod resolve;
pub(crate) mod reverse_dns;
mod start;
#[cfg(target_os = "linux")]
pub(crate) mod udp;
#[cfg(target_os = "linux")]
mod ways;

pub use self::all_nodes::{LinkError, LinkHosts, attached_links, find_link_hosts};
pub use self::start::{EngineConfig, EngineError};

/// The hardware addresses of the neighbours that the kernel knows; none where it does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn neighbour_table() -> std::collections::HashMap<std::net::IpAddr, crate::finding::Mac> {
    let entries = raw::netlink::neighbours().unwrap_or_default();
    let of = |address, interface| crate::target::on_interface(address, interface);
    entries.into_iter().map(|entry| (of(entry.address, entry.interface), crate::finding::Mac(entry.mac))).collect()
}

/// No neighbour is known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn neighbour_table() -> std::collections::HashMap<std::net::IpAddr, crate::finding::Mac> {
    std::collections::HashMap::new()
}
