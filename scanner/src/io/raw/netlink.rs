//! What the kernel's tables hold, asked over netlink: links, routes and neighbours.
//!
//! Three kinds of message with a dozen attributes between them, so they are read here and no crate is needed. The
//! messages are the kernel's own; lengths are checked all the same.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

use crate::packet::arp::Mac;

/// Messages (linux/rtnetlink.h): what is asked for, and what comes.
const GET_LINK: u16 = 18;
const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;
const GET_RULE: u16 = 34;
/// An answer has the number of its request, less two.
const NEW_FROM_GET: u16 = 2;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Flags of a request (linux/netlink.h): it is one, for all entries.
const REQUEST_DUMP: u16 = 0x301;
/// It is one, for one entry.
const REQUEST_ONE: u16 = 0x1;
/// The rules that every kernel begins with, by priority: tables local, main, default.
const RULES_OF_OLD: [u32; 3] = [0, 32_766, 32_767];
const HEADER_BYTES: usize = 16;
/// The kernel fills at most 32 KiB of a reader's buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers from memory.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Flags of a route: dead next hop; a cached copy of another.
const ROUTE_DEAD: u32 = 1;
const ROUTE_CLONED: u32 = 0x200;
/// States of a neighbour (linux/neighbour.h) whose hardware address was not asked for and never is: none needed, permanent.
const NEIGHBOUR_FIXED: u16 = 0x40 | 0x80;
/// States in which it is known: those, reachable, stale, being asked again.
const NEIGHBOUR_KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | NEIGHBOUR_FIXED;
/// States of a neighbour that is asked for, or was and did not answer (linux/neighbour.h).
const NEIGHBOUR_SILENT: u16 = 0x01 | 0x20;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::io) struct LinkEntry {
    pub(in crate::io) interface: u32,
    /// ARPHRD_ of linux/if_arp.h.
    pub(in crate::io) kind: u16,
    /// IFF_ of linux/if.h.
    pub(in crate::io) flags: u32,
    pub(in crate::io) name: String,
    pub(in crate::io) mac: Option<Mac>,
    pub(in crate::io) mtu: u32,
}

impl LinkEntry {
    /// Whether it carries packets: it is up and has a carrier (IFF_UP and IFF_RUNNING of linux/if.h).
    pub(in crate::io) fn carries(&self) -> bool {
        const CARRIES: u32 = 0x1 | 0x40;
        self.flags & CARRIES == CARRIES
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::io) struct RouteEntry {
    pub(in crate::io) to: IpNet,
    pub(in crate::io) table: u32,
    /// RTN_ of linux/rtnetlink.h.
    pub(in crate::io) kind: u8,
    pub(in crate::io) gateway: Option<IpAddr>,
    pub(in crate::io) interface: u32,
    pub(in crate::io) metric: u32,
    pub(in crate::io) source: Option<IpAddr>,
    pub(in crate::io) mtu: Option<u32>,
}

/// A neighbour whose hardware address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) struct NeighbourEntry {
    pub(in crate::io) interface: u32,
    pub(in crate::io) address: IpAddr,
    pub(in crate::io) mac: Mac,
    /// Whether somebody has put it there, so that nobody has to answer for it.
    pub(in crate::io) is_fixed: bool,
}

/// All interfaces.
pub(in crate::io) fn links() -> io::Result<Vec<LinkEntry>> {
    dump(GET_LINK, parse_link)
}

/// All routes of both families, but for copies and dead ones.
pub(in crate::io) fn routes() -> io::Result<Vec<RouteEntry>> {
    dump(GET_ROUTE, parse_route)
}

/// All neighbours whose hardware address is known.
pub(in crate::io) fn neighbours() -> io::Result<Vec<NeighbourEntry>> {
    dump(GET_NEIGHBOUR, parse_neighbour)
}

/// All neighbours that have been asked for and do not answer, with their interface.
pub(in crate::io) fn silent_neighbours() -> io::Result<Vec<(u32, IpAddr)>> {
    dump(GET_NEIGHBOUR, parse_silent_neighbour)
}

/// All neighbours that have a place in the tables, with their interface, whether they answer or not.
pub(in crate::io) fn asked_neighbours() -> io::Result<Vec<(u32, IpAddr)>> {
    dump(GET_NEIGHBOUR, parse_asked_neighbour)
}

/// A rule that chooses tables, beside those that every kernel begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleEntry {
    /// The destinations it is about; `None` where it is about all of a family.
    pub(super) to: Option<IpNet>,
}

/// The rules that choose tables, without those that every kernel begins with.
pub(super) fn rules() -> io::Result<Vec<RuleEntry>> {
    dump(GET_RULE, parse_rule)
}

/// The route that the kernel would take to an address for whoever is bound to nothing; `None` where it has none.
pub(super) fn route_to(address: IpAddr) -> io::Result<Option<RouteEntry>> {
    let socket = open()?;
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let [family, bits] = [usize::try_from(family).unwrap_or_default(), 8 * octets.len()]
        .map(|number| u8::try_from(number).unwrap_or_default());
    let attribute_bytes = u16::try_from(4 + octets.len()).unwrap_or_default();
    let mut request = (28 + u32::from(attribute_bytes)).to_ne_bytes().to_vec();
    request.extend(GET_ROUTE.to_ne_bytes());
    request.extend(REQUEST_ONE.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    request.extend(attribute_bytes.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes());
    request.extend(octets);
    (&socket).write_all(&request)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let length = (&socket).read(&mut buffer)?;
    let message = Message::first(buffer.get(..length).unwrap_or_default());
    Ok(message.filter(|message| message.kind == GET_ROUTE - NEW_FROM_GET).and_then(|message| read_route(message.body)))
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    Ok(socket)
}

/// Asks for all entries of one kind, and reads those that `parse` understands.
fn dump<T>(kind: u16, parse: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let socket = open()?;
    // A body of zeros asks for every family.
    let mut request = Vec::with_capacity(32);
    request.extend(32_u32.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    request.resize(32, 0);
    (&socket).write_all(&request)?;
    let (mut buffer, mut entries) = (vec![0; BUFFER_BYTES], Vec::new());
    loop {
        let length = (&socket).read(&mut buffer)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(message) = Message::first(rest) {
            match message.kind {
                DONE => return Ok(entries),
                ERROR => return Err(io::Error::other("the kernel refused to list its tables")),
                found if found == kind - NEW_FROM_GET => entries.extend(parse(message.body)),
                _ => {}
            }
            rest = message.rest;
        }
    }
}

/// Reads messages of any kind as every kind; tells how many there were, and how many said something.
#[cfg(fuzzing)]
#[must_use]
pub fn read_netlink(bytes: &[u8]) -> (usize, usize) {
    let (mut messages, mut entries, mut rest) = (0, 0, bytes);
    while let Some(message) = Message::first(rest) {
        let body = message.body;
        let read = [parse_link(body).is_some(), parse_route(body).is_some(), parse_neighbour(body).is_some()];
        messages += 1;
        entries += read.iter().filter(|is_read| **is_read).count();
        rest = message.rest;
    }
    (messages, entries)
}

/// One of several messages.
#[derive(Debug)]
struct Message<'a> {
    kind: u16,
    body: &'a [u8],
    /// The messages after it.
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of some.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(HEADER_BYTES..length)?;
        let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Self { kind: u16_at(bytes, 4)?, body, rest })
    }
}

/// Something that a message says.
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

/// The attributes of a message after its fixed part.
fn attributes(bytes: &[u8], fixed: usize) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes.get(fixed..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(4..length)?;
        // The two upper bits are flags about nesting and byte order.
        let kind = u16_at(rest, 2)? & 0x3fff;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    })
}

fn parse_link(body: &[u8]) -> Option<LinkEntry> {
    let (kind, interface, flags) = (u16_at(body, 2)?, u32_at(body, 4)?, u32_at(body, 8)?);
    let mut link = LinkEntry { interface, kind, flags, name: String::new(), mac: None, mtu: 0 };
    for Attribute { kind, value } in attributes(body, 16) {
        match kind {
            1 => link.mac = value.try_into().ok(),
            3 => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            4 => link.mtu = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(link)
}

fn parse_rule(body: &[u8]) -> Option<RuleEntry> {
    let length = *body.get(1)?;
    let (mut to, mut priority) = (None, 0);
    for Attribute { kind, value } in attributes(body, 12) {
        match kind {
            1 => to = IpNet::new(address(value)?, length).ok(),
            6 => priority = u32_at(value, 0)?,
            _ => {}
        }
    }
    (!RULES_OF_OLD.contains(&priority)).then_some(RuleEntry { to })
}

fn parse_route(body: &[u8]) -> Option<RouteEntry> {
    if u32_at(body, 8)? & (ROUTE_CLONED | ROUTE_DEAD) != 0 {
        return None;
    }
    read_route(body)
}

fn read_route(body: &[u8]) -> Option<RouteEntry> {
    let [family, length, _, _, table, _, _, kind, ..] = *body else { return None };
    let unspecified = match i32::from(family) {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let to = IpNet::new(unspecified, length).ok()?;
    let (table, interface) = (table.into(), 0);
    let mut route = RouteEntry { to, table, kind, gateway: None, interface, metric: 0, source: None, mtu: None };
    for attribute in attributes(body, 12) {
        let value = attribute.value;
        match attribute.kind {
            1 => route.to = IpNet::new(address(value)?, length).ok()?,
            4 | 5 | 18 => next_hop(&mut route, &attribute),
            6 => route.metric = u32_at(value, 0)?,
            7 => route.source = address(value),
            // Of its metrics, the second is the size of packets.
            8 => route.mtu = attributes(value, 0).find(|metric| metric.kind == 2).and_then(|mtu| u32_at(mtu.value, 0)),
            // Several next hops: the first serves as well as any.
            9 => {
                route.interface = u32_at(value, 4)?;
                let hop = value.get(..usize::from(u16_at(value, 0)?))?;
                attributes(hop, 8).for_each(|attribute| next_hop(&mut route, &attribute));
            }
            15 => route.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(route)
}

/// Notes where a route leads: interface, gateway, or a gateway of the other family.
fn next_hop(route: &mut RouteEntry, attribute: &Attribute<'_>) {
    let value = attribute.value;
    match attribute.kind {
        4 => route.interface = u32_at(value, 0).unwrap_or(0),
        5 => route.gateway = address(value),
        18 => route.gateway = value.get(2..).and_then(address),
        _ => {}
    }
}

fn parse_neighbour(body: &[u8]) -> Option<NeighbourEntry> {
    let (interface, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let (mut of, mut mac) = (None, None);
    for Attribute { kind, value } in attributes(body, 12) {
        match kind {
            1 => of = address(value),
            2 => mac = value.try_into().ok(),
            _ => {}
        }
    }
    let mac = mac.filter(|mac: &Mac| state & NEIGHBOUR_KNOWN != 0 && *mac != Mac::default())?;
    Some(NeighbourEntry { interface, address: of?, mac, is_fixed: state & NEIGHBOUR_FIXED != 0 })
}

fn parse_silent_neighbour(body: &[u8]) -> Option<(u32, IpAddr)> {
    let asked = parse_asked_neighbour(body)?;
    (u16_at(body, 8)? & NEIGHBOUR_SILENT != 0).then_some(asked)
}

fn parse_asked_neighbour(body: &[u8]) -> Option<(u32, IpAddr)> {
    let of = attributes(body, 12).find(|attribute| attribute.kind == 1).and_then(|of| address(of.value))?;
    Some((u32_at(body, 4)?, of))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_route_with_a_gateway_and_a_small_path_is_read() {
        let mut body = vec![2, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        body.extend(attribute(1, &[10, 77, 0, 0]));
        body.extend(attribute(8, &attribute(2, &1400_u32.to_ne_bytes())));
        body.extend(attribute(5, &[10, 76, 0, 2]));
        body.extend(attribute(4, &7_u32.to_ne_bytes()));
        let route = parse_route(&body).unwrap();
        assert_eq!((route.to.to_string().as_str(), route.table, route.kind), ("10.77.0.0/16", 254, 1));
        assert_eq!((route.gateway, route.interface), (Some("10.76.0.2".parse().unwrap()), 7));
        assert_eq!(route.mtu, Some(1400));
    }

    #[test]
    fn the_first_of_several_next_hops_is_taken() {
        let mut hop = vec![16, 0, 0, 0];
        hop.extend(9_u32.to_ne_bytes());
        hop.extend(attribute(5, &[10, 0, 0, 1]));
        let mut body = vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        body.extend(attribute(9, &[hop.clone(), hop].concat()));
        let route = parse_route(&body).unwrap();
        assert_eq!((route.interface, route.gateway), (9, Some("10.0.0.1".parse().unwrap())));
        assert_eq!(route.to.to_string(), "0.0.0.0/0");
    }

    #[test]
    fn this_machine_has_a_loopback_and_ways_to_itself() {
        let links = links().unwrap();
        let loopback = links.iter().find(|link| link.flags & 8 != 0).expect("every network has one");
        assert_eq!((loopback.name.as_str(), loopback.kind), ("lo", libc::ARPHRD_LOOPBACK));
        assert!(routes().is_ok() && neighbours().is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Message::first(&bytes), parse_link(&bytes), parse_route(&bytes), parse_neighbour(&bytes));
            let mut like = vec![10, 64, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
            like.extend(&bytes);
            let _ = (parse_route(&like), attributes(&bytes, 0).count());
        }
    }
}
