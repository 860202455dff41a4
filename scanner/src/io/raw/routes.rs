//! Which interface, source address and next hop lead to an address, as the kernel knows it.
//!
//! Read once per unit from the kernel's tables: routes and neighbours from `/proc`, interfaces from `getifaddrs`, source
//! addresses by asking the kernel which it would use. A unit is only scanned raw when every route that its targets may
//! take is one that this file understands; any other goes to the connect engine, for which the kernel routes itself.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::packet::arp::Mac;
use crate::packet::syn::Template;
use crate::sweep::{Routes, Way};
use crate::target::TargetSet;

/// A route's flags in `/proc/net/route` (linux/route.h): usable, through a gateway, refusing.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;
/// Flags of a neighbour in `/proc/net/arp` (linux/if_arp.h): its hardware address is known.
const COMPLETE: u32 = 2;

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route {
    network: u32,
    mask: u32,
    way: Option<Way>,
}

/// The routing table, most particular route first.
#[derive(Debug, Clone)]
pub(super) struct Table(Vec<Route>);

/// An interface packets leave by.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) interface: u32,
    pub(super) mac: Mac,
    pub(super) from: u32,
    pub(super) template: Template,
}

/// All a unit has to know of this machine's network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) table: Table,
    pub(super) links: Vec<Link>,
    pub(super) neighbours: HashMap<u32, Mac>,
}

impl Routes for Table {
    fn way(&self, address: u32) -> Option<Way> {
        self.0.iter().find(|route| address & route.mask == route.network)?.way
    }
}

/// An interface as the kernel lists it.
#[derive(Debug, Clone, Default)]
struct Interface {
    addresses: Vec<u32>,
    mac: Option<Mac>,
    index: u32,
    has_addresses: bool,
    is_usable: bool,
}

impl Network {
    /// Reads the kernel's tables for a unit with these targets; the error says why they cannot be scanned raw.
    pub(super) fn read(targets: &TargetSet) -> Result<Self, &'static str> {
        if targets.name_count() > 0 || targets.ranges().any(|range| range.first.is_ipv6()) {
            return Err("host names and IPv6 addresses");
        }
        let interfaces = interfaces().ok_or("interfaces that cannot be listed")?;
        let own = |address: &u32| targets.contains(Ipv4Addr::from_bits(*address).into());
        let loopback = ["127.0.0.0/8".parse().expect("a network")];
        if !targets.intersect_nets(&loopback).is_empty()
            || interfaces.values().flat_map(|interface| &interface.addresses).any(own)
        {
            return Err("addresses of this machine");
        }
        let text = fs::read_to_string("/proc/thread-self/net/route").map_err(|_gone| "routes that cannot be read")?;
        let mut network = Self { table: Table(Vec::new()), links: Vec::new(), neighbours: HashMap::new() };
        for line in text.lines().skip(1) {
            if let Some((name, route)) = parse_route(line) {
                network.add(name, route, &interfaces, targets)?;
            }
        }
        network.table.0.sort_by_key(|route| std::cmp::Reverse(route.mask));
        let arp = fs::read_to_string("/proc/thread-self/net/arp").unwrap_or_default();
        network.neighbours = arp.lines().skip(1).filter_map(parse_neighbour).collect();
        Ok(network)
    }

    /// Adds a route if any target lies in its network.
    fn add(
        &mut self,
        name: &str,
        (mut route, gateway, flags): (Route, u32, u32),
        interfaces: &HashMap<String, Interface>,
        targets: &TargetSet,
    ) -> Result<(), &'static str> {
        let end = route.network | !route.mask;
        let Some(sample) = first_target(targets, route.network, end) else { return Ok(()) };
        if flags & UP == 0 {
            return Ok(());
        }
        if flags & REJECT == 0 {
            let interface = interfaces.get(name).filter(|interface| interface.is_usable);
            let interface = interface.ok_or("addresses behind an interface that is not Ethernet or a tunnel")?;
            let link = self.link(name, interface, sample)?;
            let gateway = (flags & GATEWAY != 0).then_some(gateway);
            route.way = Some(Way { link, gateway, needs_mac: interface.has_addresses });
        }
        self.table.0.push(route);
        Ok(())
    }

    /// The number of a link, with the source address that the kernel uses towards `sample`.
    fn link(&mut self, name: &str, interface: &Interface, sample: u32) -> Result<u16, &'static str> {
        let from = source_of(sample).filter(|from| interface.addresses.contains(from));
        // Another route or a rule decides for this one: the next hop here may be wrong as well.
        let from = from.or_else(|| interface.addresses.first().copied()).ok_or("addresses without a source address")?;
        let same = |link: &Link| link.name == name && link.from == from;
        let at = self.links.iter().position(same).unwrap_or(self.links.len());
        if at == self.links.len() {
            let mac = interface.mac.unwrap_or_default();
            let template = Template::new(from);
            self.links.push(Link { name: name.to_owned(), interface: interface.index, mac, from, template });
        }
        u16::try_from(at).map_err(|_many| "more links than this engine tells apart")
    }
}

/// The first target between two addresses.
fn first_target(targets: &TargetSet, first: u32, last: u32) -> Option<u32> {
    targets.ranges().find_map(|range| match (range.first, range.last) {
        (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
            let (from, to) = (from.to_bits().max(first), to.to_bits().min(last));
            (from <= to).then_some(from)
        }
        _ => None,
    })
}

/// The source address that the kernel would use; connecting a datagram socket sends nothing.
fn source_of(address: u32) -> Option<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::from_bits(address), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(from) => Some(from.to_bits()),
        std::net::IpAddr::V6(_) => None,
    }
}

fn interfaces() -> Option<HashMap<String, Interface>> {
    let mut all: HashMap<String, Interface> = HashMap::new();
    for entry in getifaddrs().ok()? {
        let interface = all.entry(entry.interface_name).or_default();
        let flags = entry.flags;
        interface.is_usable |= flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
        interface.has_addresses = !flags.intersects(InterfaceFlags::IFF_NOARP | InterfaceFlags::IFF_POINTOPOINT);
        let Some(address) = entry.address else { continue };
        if let Some(address) = address.as_sockaddr_in() {
            interface.addresses.push(address.ip().to_bits());
        }
        if let Some(link) = address.as_link_addr() {
            interface.index = u32::try_from(link.ifindex()).unwrap_or(0);
            interface.mac = link.addr();
        }
    }
    Some(all)
}

/// A line of `/proc/net/route`: the interface, the route, its gateway and flags.
fn parse_route(line: &str) -> Option<(&str, (Route, u32, u32))> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [name, network, gateway, flags, _, _, _, mask, ..] = fields.as_slice() else { return None };
    // Addresses are printed as the number that their bytes are in memory.
    let address = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let route = Route { network: address(network)?, mask: address(mask)?, way: None };
    Some((name, (route, address(gateway)?, u32::from_str_radix(flags, 16).ok()?)))
}

/// A line of `/proc/net/arp`.
fn parse_neighbour(line: &str) -> Option<(u32, Mac)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [address, _, flags, mac, ..] = fields.as_slice() else { return None };
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
    let mut bytes = Mac::default();
    let parts = mac.split(':').map(|part| u8::from_str_radix(part, 16).ok());
    bytes.iter_mut().zip(parts).try_for_each(|(byte, part)| part.map(|part| *byte = part))?;
    let address: Ipv4Addr = address.parse().ok()?;
    (flags & COMPLETE != 0 && bytes != Mac::default()).then_some((address.to_bits(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel_are_read() {
        let line = "eth0\t00004D0A\t02004C0A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let (name, (route, gateway, flags)) = parse_route(line).unwrap();
        assert_eq!((name, gateway, flags), ("eth0", 0x0a4c_0002, 3));
        assert_eq!((route.network, route.mask), (0x0a4d_0000, 0xffff_0000));
        assert!(parse_route("eth0 00").is_none());
        let line = "10.76.0.2        0x1         0x2         6a:00:00:00:00:0b     *        eth0";
        assert_eq!(parse_neighbour(line), Some((0x0a4c_0002, [0x6a, 0, 0, 0, 0, 0x0b])));
        let unknown = "10.76.0.9        0x1         0x0         00:00:00:00:00:00     *        eth0";
        assert_eq!(parse_neighbour(unknown), None);
    }

    #[test]
    fn the_most_particular_route_leads() {
        let way = |link| Some(Way { link, gateway: None, needs_mac: true });
        let route = |network, mask, way| Route { network, mask, way };
        let table = Table(vec![
            route(0x0a01_0200, 0xffff_ff00, None),
            route(0x0a01_0000, 0xffff_0000, way(1)),
            route(0, 0, way(0)),
        ]);
        assert_eq!(table.way(0x0a01_0301), way(1));
        assert_eq!(table.way(0x0a01_0201), None, "refused");
        assert_eq!(table.way(0x0b00_0001), way(0));
    }

    #[test]
    fn this_machine_and_other_families_are_not_scanned_raw() {
        for targets in ["127.0.0.1", "::1", "a.example"] {
            assert!(Network::read(&targets.parse().unwrap()).is_err(), "{targets}");
        }
    }
}
