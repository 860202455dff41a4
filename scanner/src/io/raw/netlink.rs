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
/// The same of linux/xfrm.h.
const GET_POLICY: u16 = 21;
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
/// Protocols that are scanned, as a packet's header has them.
pub(in crate::io) const TCP: u8 = 6;
pub(in crate::io) const UDP: u8 = 17;
/// Rules that choose no table (FR_ACT_ of linux/fib_rules.h): black hole, unreachable, prohibited.
const REFUSING: [u8; 3] = [6, 7, 8];
/// Of IPsec policies (linux/xfrm.h): the direction and the action that matter, and the fixed part of a message about one.
const POLICY_OUT: u8 = 1;
const POLICY_BLOCK: u8 = 1;
const POLICY_BYTES: usize = 168;
const HEADER_BYTES: usize = 16;
/// The kernel fills at most 32 KiB of a reader's buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// One route is a few hundred bytes.
const ROUTE_BYTES: usize = 4096;
/// The kernel answers from memory.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Kind of a route that refuses (linux/rtnetlink.h): destination unreachable.
const UNREACHABLE: u8 = 7;
/// A table that no route is in (RT_TABLE_UNSPEC of linux/rtnetlink.h): what a rule refuses by itself.
pub(in crate::io) const NO_TABLE: u32 = 0;
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
    /// Where it leads as well: interface and gateway of each further next hop that is not dead.
    pub(in crate::io) others: Vec<(u32, Option<IpAddr>)>,
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
pub(in crate::io) struct RuleEntry {
    /// The destinations it is about.
    pub(in crate::io) to: IpNet,
    /// Whether it is about some connections to them and not about others: by their protocol or their ports.
    pub(in crate::io) is_of_flows: bool,
    /// Whether it refuses all of them by itself, whoever asks.
    pub(in crate::io) refuses: bool,
}

/// The rules that choose tables, without those that every kernel begins with and those about other protocols than TCP and UDP.
pub(in crate::io) fn rules() -> io::Result<Vec<RuleEntry>> {
    dump(GET_RULE, parse_rule)
}

/// What IPsec policies take out of this machine's packets, by source and destination. Only for whoever may administer the network.
pub(super) fn policies() -> io::Result<Vec<PolicyEntry>> {
    dump_of(libc::NETLINK_XFRM, GET_POLICY, parse_policy)
}

/// An IPsec policy about what leaves this machine, which does more than let it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolicyEntry {
    pub(super) from: IpNet,
    pub(super) to: IpNet,
}

/// Asks the kernel for its route to one address after another.
#[derive(Debug)]
pub(in crate::io) struct RouteAsker(Socket);

impl RouteAsker {
    pub(in crate::io) fn new() -> io::Result<Self> {
        open(libc::NETLINK_ROUTE).map(Self)
    }

    /// The route that the kernel would take to an address for a flow of this protocol from nothing or from this source; `None` where
    /// it has none.
    pub(in crate::io) fn route_to(
        &self,
        address: IpAddr,
        protocol: u8,
        source: Option<IpAddr>,
    ) -> io::Result<Option<RouteEntry>> {
        let octets = |address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let family = u8::try_from(family).unwrap_or_default();
        let source_bits = if source.is_some() { bits } else { 0 };
        let mut body = vec![family, bits, source_bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        put(&mut body, 1, &octets(address));
        if let Some(source) = source {
            put(&mut body, 2, &octets(source));
        }
        put(&mut body, 27, &[protocol]);
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or_default();
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(GET_ROUTE.to_ne_bytes());
        request.extend(REQUEST_ONE.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        (&self.0).write_all(&request)?;
        let mut buffer = [0; ROUTE_BYTES];
        let length = (&self.0).read(&mut buffer)?;
        let message = Message::first(buffer.get(..length).unwrap_or_default());
        let route = message.filter(|message| message.kind == GET_ROUTE - NEW_FROM_GET);
        Ok(route.and_then(|message| read_route(message.body)))
    }
}

/// Adds an attribute to a message.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(4 + value.len()).unwrap_or_default().to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn open(family: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(family)))?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    Ok(socket)
}

/// Asks for all entries of one kind, and reads those that `parse` understands.
fn dump<T>(kind: u16, parse: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    dump_of(libc::NETLINK_ROUTE, kind, parse)
}

/// The same of any of the kernel's families of tables.
fn dump_of<T>(family: i32, kind: u16, parse: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let socket = open(family)?;
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
    let [family, length, _, service, _, _, _, action, ..] = *body else { return None };
    let mut to = IpNet::new(unspecified(family)?, 0).ok()?;
    let (mut priority, mut protocol, mut has_ports) = (0, None, false);
    // The second flag turns a rule around (FIB_RULE_INVERT of linux/fib_rules.h).
    let mut is_of_all = service == 0 && u32_at(body, 8)? & 2 == 0;
    for Attribute { kind, value } in attributes(body, 12) {
        match kind {
            1 => to = IpNet::new(address(value)?, length).ok()?,
            6 => priority = u32_at(value, 0)?,
            22 => protocol = value.first().copied(),
            23 | 24 => has_ports = true,
            // Source, interfaces, mark, tunnel, a VRF's, users, a service's class.
            2 | 3 | 10 | 12 | 17 | 19 | 20 | 25 => is_of_all = false,
            _ => {}
        }
    }
    let is_of_flows = protocol.is_some() || has_ports;
    let is_of_others = protocol.is_some_and(|protocol| ![TCP, UDP].contains(&protocol));
    let refuses = REFUSING.contains(&action) && is_of_all && !is_of_flows;
    (!RULES_OF_OLD.contains(&priority) && !is_of_others).then_some(RuleEntry { to, is_of_flows, refuses })
}

impl RuleEntry {
    /// The route that refuses what the rule does; `None` for a rule that chooses a table, or that asks for more than the destination.
    pub(super) fn refusal(&self) -> Option<RouteEntry> {
        let (to, table, kind) = (self.to, NO_TABLE, UNREACHABLE);
        let (others, metric) = (Vec::new(), 0);
        let none = RouteEntry { to, table, kind, gateway: None, interface: 0, others, metric, source: None, mtu: None };
        self.refuses.then_some(none)
    }
}

/// `struct xfrm_userpolicy_info` of linux/xfrm.h: a selector of 56 bytes, lifetimes, priority and number, then direction and action.
fn parse_policy(body: &[u8]) -> Option<PolicyEntry> {
    let (direction, action) = (*body.get(160)?, *body.get(161)?);
    let family = u8::try_from(u16_at(body, 40)?).ok()?;
    let octets = if unspecified(family)?.is_ipv4() { 4 } else { 16 };
    let net = |at: usize, length: usize| IpNet::new(address(body.get(at..at + octets)?)?, *body.get(length)?).ok();
    // Without a template (attribute 5) it lets go as it is what it does not block.
    let does_more = action == POLICY_BLOCK || attributes(body, POLICY_BYTES).any(|attribute| attribute.kind == 5);
    let entry = PolicyEntry { to: net(0, 42)?, from: net(16, 43)? };
    (direction == POLICY_OUT && does_more).then_some(entry)
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(IpAddr::from([0; 4])),
        libc::AF_INET6 => Some(IpAddr::from([0; 16])),
        _ => None,
    }
}

fn parse_route(body: &[u8]) -> Option<RouteEntry> {
    if u32_at(body, 8)? & (ROUTE_CLONED | ROUTE_DEAD) != 0 {
        return None;
    }
    read_route(body)
}

fn read_route(body: &[u8]) -> Option<RouteEntry> {
    let [family, length, _, _, table, _, _, kind, ..] = *body else { return None };
    let to = IpNet::new(unspecified(family)?, length).ok()?;
    let (table, interface, others) = (table.into(), 0, Vec::new());
    let mut route =
        RouteEntry { to, table, kind, gateway: None, interface, others, metric: 0, source: None, mtu: None };
    for attribute in attributes(body, 12) {
        let value = attribute.value;
        match attribute.kind {
            1 => route.to = IpNet::new(address(value)?, length).ok()?,
            4 => route.interface = u32_at(value, 0)?,
            5 | 18 => route.gateway = gateway(&attribute),
            6 => route.metric = u32_at(value, 0)?,
            7 => route.source = address(value),
            // Of its metrics, the second is the size of packets.
            8 => route.mtu = attributes(value, 0).find(|metric| metric.kind == 2).and_then(|mtu| u32_at(mtu.value, 0)),
            9 => {
                let mut hops = next_hops(value).into_iter();
                (route.interface, route.gateway) = hops.next()?;
                route.others = hops.collect();
            }
            15 => route.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(route)
}

/// The interface and the gateway of each of several next hops, but for dead ones.
fn next_hops(mut rest: &[u8]) -> Vec<(u32, Option<IpAddr>)> {
    let mut hops = Vec::new();
    while let Some(length) = u16_at(rest, 0).map(usize::from).filter(|length| *length >= 8) {
        let (Some(hop), Some(interface)) = (rest.get(..length), u32_at(rest, 4)) else { break };
        if hop.get(2).is_some_and(|flags| u32::from(*flags) & ROUTE_DEAD == 0) {
            hops.push((interface, attributes(hop, 8).find_map(|attribute| gateway(&attribute))));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// A gateway, or one of the other family.
fn gateway(attribute: &Attribute<'_>) -> Option<IpAddr> {
    match attribute.kind {
        5 => address(attribute.value),
        18 => attribute.value.get(2..).and_then(address),
        _ => None,
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
    fn all_next_hops_of_a_route_are_read_but_dead_ones() {
        let hop = |flags: u8, interface: u8, gateway: &[u8]| {
            let mut hop = vec![16, 0, flags, 0, interface, 0, 0, 0];
            hop.extend(attribute(5, gateway));
            hop
        };
        let read = |hops: &[Vec<u8>]| {
            let mut body = vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
            body.extend(attribute(9, &hops.concat()));
            parse_route(&body).map(|route| (route.interface, route.gateway, route.others))
        };
        let (one, other, third) = (hop(1, 9, &[10, 0, 0, 1]), hop(0, 7, &[10, 0, 0, 2]), hop(16, 8, &[10, 0, 0, 3]));
        let known = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            read(&[one.clone(), other.clone()]),
            Some((7, known("10.0.0.2"), vec![])),
            "the kernel skips a dead one"
        );
        assert_eq!(read(&[third, other]), Some((8, known("10.0.0.3"), vec![(7, known("10.0.0.2"))])));
        assert_eq!(read(&[one]), None);
    }

    #[test]
    fn rules_tell_what_they_are_about_and_whether_they_refuse() {
        use std::slice::from_ref;
        let rule = |action: u8, flags: u8, attributes: &[Vec<u8>]| {
            let mut body = vec![2, 24, 0, 0, 0, 0, 0, action, flags, 0, 0, 0];
            body.extend(attribute(6, &1000_u32.to_ne_bytes()));
            body.extend(attributes.concat());
            parse_rule(&body).map(|rule| (rule.to.to_string(), rule.is_of_flows, rule.refuses))
        };
        let (to, tcp, icmp) = (attribute(1, &[10, 1, 2, 0]), attribute(22, &[TCP]), attribute(22, &[1]));
        let (port, mark) = (attribute(24, &[0, 22, 0, 22]), attribute(10, &[1, 0, 0, 0]));
        let told = |to: &str, is_of_flows, refuses| Some((to.to_owned(), is_of_flows, refuses));
        assert_eq!(rule(1, 0, from_ref(&to)), told("10.1.2.0/24", false, false), "it chooses a table");
        assert_eq!(rule(7, 0, from_ref(&to)), told("10.1.2.0/24", false, true));
        assert_eq!(rule(8, 0, &[]), told("0.0.0.0/0", false, true));
        assert_eq!(rule(7, 2, from_ref(&to)), told("10.1.2.0/24", false, false), "turned around");
        assert_eq!(rule(6, 0, &[to.clone(), mark]), told("10.1.2.0/24", false, false));
        assert_eq!(rule(7, 0, &[to.clone(), tcp]), told("10.1.2.0/24", true, false));
        assert_eq!(rule(1, 0, &[port]), told("0.0.0.0/0", true, false));
        assert_eq!(rule(1, 0, &[to, icmp]), None, "nothing of that is sent");
    }

    #[test]
    fn policies_about_what_leaves_are_read_if_they_do_more_than_let_it_go() {
        let policy = |direction: u8, action: u8, has_template: bool| {
            let mut body = vec![0; POLICY_BYTES];
            body[..4].copy_from_slice(&[10, 79, 0, 0]);
            body[40..42].copy_from_slice(&2_u16.to_ne_bytes());
            (body[42], body[160], body[161]) = (24, direction, action);
            if has_template {
                body.extend(attribute(5, &[0; 64]));
            }
            parse_policy(&body).map(|policy| (policy.to.to_string(), policy.from.to_string()))
        };
        let told = Some(("10.79.0.0/24".to_owned(), "0.0.0.0/0".to_owned()));
        assert_eq!((policy(1, 0, true), policy(1, 1, false)), (told.clone(), told));
        assert_eq!((policy(1, 0, false), policy(0, 0, true), policy(2, 1, true)), (None, None, None));
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
            let _ = (parse_route(&like), parse_rule(&like), parse_policy(&bytes), attributes(&bytes, 0).count());
        }
    }
}
