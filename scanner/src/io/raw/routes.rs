//! Which interface, source address and next hop lead to an address, as the kernel knows it.
//!
//! Read once per unit from the kernel's tables ([`netlink`]); source addresses by asking the kernel which it would use. A
//! unit is only scanned raw when every route that its targets may take is one that this file understands; any other goes
//! to the connect engine, for which the kernel routes itself; so does one that rules lead another way (`policy`). Where raw packets alone
//! are wanted, the targets behind such a route are not probed, and the others are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use ipnet::{IpNet, Ipv6Net};

use super::netlink::{self, LinkEntry, RouteEntry, RuleEntry};
use super::policy;
use crate::finding::NotProbed;
use crate::packet::arp::Mac;
use crate::packet::template::Template;
use crate::syn_scan::{Routes, Way};
use crate::target::TargetSet;

/// Tables that every packet is looked up in, first to last (linux/rtnetlink.h): local, what rules refuse by themselves, main, default.
const TABLES: [u32; 4] = [255, netlink::NO_TABLE, 254, 253];
/// Kinds of route: to somewhere, to this machine itself.
pub(super) const UNICAST: u8 = 1;
pub(in crate::io) const LOCAL: u8 = 2;
/// To all hosts of a link.
pub(in crate::io) const BROADCAST: u8 = 3;
/// Flags of an interface (linux/if.h): up, without ARP.
const UP: u32 = 0x1;
const NO_ARP: u32 = 0x80;
/// Kinds of interface whose packets begin with the network header: tunnels of every sort, and PPP.
const BARE: [u16; 7] = [
    libc::ARPHRD_NONE,
    libc::ARPHRD_PPP,
    libc::ARPHRD_TUNNEL,
    libc::ARPHRD_TUNNEL6,
    libc::ARPHRD_SIT,
    libc::ARPHRD_IPGRE,
    // IPv6 GRE, which has no name in libc.
    823,
];
/// Routes that targets may take: each target looks through them. More have only routers with the internet's table.
const ROUTES_MAX: usize = 1024;
/// Addresses of a link, which its name belongs to.
const OF_LINKS: &str = "link-local addresses";
const LINK_LOCAL: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10));
/// What a link carries that does not say.
const MTU_DEFAULT: u32 = 1500;

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: IpNet,
    pub(super) way: Result<Way, NotProbed>,
}

/// The routing table, the first that fits leads, and the neighbours that the kernel knows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) routes: Vec<Route>,
    /// Their hardware addresses, and whether these are fixed.
    neighbours: HashMap<(u32, IpAddr), (Mac, bool)>,
    /// The interface of each link.
    interfaces: Vec<u32>,
}

/// Where packets leave.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) interface: u32,
    pub(super) mac: Mac,
    pub(super) from: IpAddr,
    pub(super) template: Template,
    /// Whether it leads to this machine itself, so that the kernel has to take the packets in as its own.
    pub(super) is_local: bool,
    /// Whether it carried packets when the unit came. One that is up and does not may be new: the kernel takes up to a second.
    pub(super) carries: bool,
}

/// All a unit has to know of this machine's network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) table: Table,
    pub(super) links: Vec<Link>,
    /// What raw packets do not reach of the targets, which are not probed then.
    pub(super) left_out: Option<&'static str>,
}

impl Routes for Table {
    fn way(&self, address: IpAddr) -> Result<Way, NotProbed> {
        let route = self.routes.iter().find(|route| route.to.contains(&address));
        route.map_or(Err(NotProbed::NoRoute), |route| route.way)
    }

    fn mac(&self, link: u16, hop: IpAddr) -> Option<Mac> {
        self.neighbour(link, hop).map(|(mac, _)| mac)
    }

    fn is_fixed(&self, link: u16, hop: IpAddr) -> bool {
        self.neighbour(link, hop).is_some_and(|(_, is_fixed)| is_fixed)
    }
}

impl Table {
    fn neighbour(&self, link: u16, hop: IpAddr) -> Option<(Mac, bool)> {
        self.neighbours.get(&(*self.interfaces.get(usize::from(link))?, hop)).copied()
    }
}

impl Network {
    /// Reads the kernel's tables for a unit with these targets; the error says why they cannot be scanned raw. If `is_alone`, those of
    /// them that can are, and only where nothing is known of any there is an error.
    pub(super) fn read(targets: &TargetSet, is_alone: bool) -> Result<Self, &'static str> {
        if targets.name_count() > 0 {
            return Err("host names");
        }
        if targets.has_zones() && !is_alone {
            return Err(OF_LINKS);
        }
        let links = netlink::links().map_err(|_refused| "interfaces that cannot be listed")?;
        let mut routes = netlink::routes().map_err(|_refused| "routes that cannot be read")?;
        let rules = policy::rules()?;
        routes.extend(rules.iter().filter_map(RuleEntry::refusal));
        let mut network = Self::build(targets, routes, &links, is_alone)?;
        match is_alone {
            true => policy::leave_out(&mut network, targets, &rules)?,
            false => policy::check(&network, targets, &rules)?,
        }
        if targets.has_zones() {
            network.table.routes.insert(0, Route { to: LINK_LOCAL, way: Err(NotProbed::NoRoute) });
            network.left_out.get_or_insert(OF_LINKS);
        }
        for entry in netlink::neighbours().unwrap_or_default() {
            if network.table.interfaces.contains(&entry.interface) {
                let known = (entry.mac, entry.is_fixed);
                network.table.neighbours.insert((entry.interface, entry.address), known);
            }
        }
        Ok(network)
    }

    /// A target of each group that is routed alike, and one that no route leads to.
    pub(super) fn samples(&self, targets: &TargetSet) -> Vec<IpAddr> {
        let (mut samples, mut left) = (Vec::new(), targets.clone());
        for route in &self.table.routes {
            samples.extend(first_target(&left, route.to));
            left = left.subtract_nets(&[route.to]);
        }
        samples.extend(left.ranges().next().map(|range| range.first));
        samples
    }

    /// Whether a route is there for an address and leads nowhere.
    pub(super) fn is_refused(&self, address: IpAddr) -> bool {
        self.table.routes.iter().find(|route| route.to.contains(&address)).is_some_and(|route| route.way.is_err())
    }

    fn build(
        targets: &TargetSet,
        mut routes: Vec<RouteEntry>,
        links: &[LinkEntry],
        is_alone: bool,
    ) -> Result<Self, &'static str> {
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        routes.retain(|route| rank(route.table).is_some() && first_target(targets, route.to).is_some());
        if routes.len() > ROUTES_MAX {
            return Err("addresses behind more than a thousand routes");
        }
        routes.sort_by_key(|route| (rank(route.table), Reverse(route.to.prefix_len()), route.metric));
        let table = Table { routes: Vec::new(), neighbours: HashMap::new(), interfaces: Vec::new() };
        let mut network = Self { table, links: Vec::new(), left_out: None };
        let mut left = targets.clone();
        for route in routes {
            // What more particular routes leave to this one.
            let Some(sample) = first_target(&left, route.to) else { continue };
            left = left.subtract_nets(&[route.to]);
            let way = match network.way(&route, sample, links) {
                Err(why) if is_alone => network.leave_out(why),
                way => way?,
            };
            network.table.routes.push(Route { to: route.to, way });
        }
        network.table.interfaces = network.links.iter().map(|link| link.interface).collect();
        Ok(network)
    }

    /// Leaves out what raw packets do not reach.
    pub(super) fn leave_out(&mut self, why: &'static str) -> Result<Way, NotProbed> {
        self.left_out.get_or_insert(why);
        Err(NotProbed::NoRoute)
    }

    /// The way that a route leads, or why none: one that refuses, that leads to a group, or over an interface that is down.
    fn way(
        &mut self,
        route: &RouteEntry,
        sample: IpAddr,
        links: &[LinkEntry],
    ) -> Result<Result<Way, NotProbed>, &'static str> {
        if route.kind == BROADCAST {
            return Ok(Err(NotProbed::Broadcast));
        }
        if !matches!(route.kind, UNICAST | LOCAL) || sample.is_multicast() {
            return Ok(Err(NotProbed::NoRoute));
        }
        if !route.others.is_empty() {
            return Err("addresses behind several routers at once");
        }
        let is_local = route.kind == LOCAL;
        let entry = links.iter().find(|link| link.interface == route.interface);
        let entry = entry.ok_or("addresses behind an interface that is not listed")?;
        let carries = is_local || entry.carries();
        if !carries && entry.flags & UP == 0 {
            return Ok(Err(NotProbed::InterfaceDown));
        }
        let is_ethernet = entry.kind == libc::ARPHRD_ETHER;
        if !is_local && !is_ethernet && !BARE.contains(&entry.kind) {
            return Err("addresses behind an interface that is not Ethernet or a tunnel");
        }
        if route.gateway.is_some_and(|gateway| gateway.is_ipv4() != sample.is_ipv4()) {
            return Err("addresses behind a router of the other family");
        }
        let Some(from) = source_of(sample, route.interface).or(route.source) else {
            // Whom packets without a source address reach has nobody to answer.
            return Ok(Err(if carries { NotProbed::NoRoute } else { NotProbed::InterfaceDown }));
        };
        let link = self.link(entry, from, route.mtu, is_local)?;
        let needs_mac = !is_local && is_ethernet && entry.flags & NO_ARP == 0;
        let gateway = route.gateway.filter(|_| !is_local);
        // What lies behind a tunnel is not known.
        let is_routed = !is_local && (gateway.is_some() || !is_ethernet);
        Ok(Ok(Way { link, gateway, needs_mac, is_routed }))
    }

    /// The number of a link with this source address.
    fn link(&mut self, entry: &LinkEntry, from: IpAddr, mtu: Option<u32>, is_local: bool) -> Result<u16, &'static str> {
        let same = |link: &Link| link.interface == entry.interface && link.from == from && link.is_local == is_local;
        let at = self.links.iter().position(same).unwrap_or(self.links.len());
        if at == self.links.len() {
            let mtu = mtu.or(Some(entry.mtu)).filter(|mtu| *mtu > 0).unwrap_or(MTU_DEFAULT);
            self.links.push(Link {
                name: entry.name.clone(),
                interface: entry.interface,
                mac: entry.mac.unwrap_or_default(),
                from,
                template: Template::new(from, mtu),
                is_local,
                carries: is_local || entry.carries(),
            });
        }
        u16::try_from(at).map_err(|_many| "more links than this engine tells apart")
    }
}

/// The first target in a network.
pub(in crate::io) fn first_target(targets: &TargetSet, net: IpNet) -> Option<IpAddr> {
    let (first, last) = (net.network(), net.broadcast());
    targets.ranges().find_map(|range| {
        let is_same = range.first.is_ipv4() == first.is_ipv4();
        let from = range.first.max(first);
        (is_same && from <= range.last.min(last)).then_some(from)
    })
}

/// The source address that the kernel would use; connecting a datagram socket sends nothing.
fn source_of(address: IpAddr, interface: u32) -> Option<IpAddr> {
    let to = scoped(address, 9, interface);
    let any = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|from| !from.is_unspecified())
}

/// A socket address; one that is only unique on its link with the link's interface.
pub(super) fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if is_link_local(address) => SocketAddrV6::new(address, port, 0, interface).into(),
        address => SocketAddr::new(address, port),
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a carrier.
    const RUNNING: u32 = 0x40;

    fn entry(to: &str, table: u32, kind: u8, interface: u32) -> RouteEntry {
        let (to, source) = (to.parse().unwrap(), Some("127.0.0.1".parse().unwrap()));
        RouteEntry { to, table, kind, gateway: None, interface, others: Vec::new(), metric: 0, source, mtu: None }
    }

    fn link(interface: u32, kind: u16, flags: u32) -> LinkEntry {
        LinkEntry { interface, kind, flags, name: format!("if{interface}"), mac: None, mtu: 1500 }
    }

    #[test]
    fn the_most_particular_route_of_the_first_table_leads() {
        let links = [link(1, libc::ARPHRD_LOOPBACK, UP | RUNNING), link(2, libc::ARPHRD_NONE, UP | RUNNING)];
        let routes = vec![
            entry("127.0.0.0/16", 254, UNICAST, 2),
            entry("127.0.2.0/24", 254, 7, 0),
            entry("127.0.3.4/32", 255, LOCAL, 1),
            entry("127.0.3.255/32", 255, 3, 1),
            entry("127.0.3.4/32", 254, UNICAST, 2),
            entry("127.9.0.0/16", 9, UNICAST, 2),
        ];
        let network = Network::build(&"127.0.0.0/16".parse().unwrap(), routes, &links, false).unwrap();
        let way = |address: &str| network.table.way(address.parse().unwrap());
        let name = |address| way(address).ok().map(|way| network.links[usize::from(way.link)].name.clone());
        assert_eq!(name("127.0.1.1").as_deref(), Some("if2"));
        assert_eq!(name("127.0.3.4").as_deref(), Some("if1"), "this machine itself");
        let no_route = Err(NotProbed::NoRoute);
        assert_eq!(
            (way("127.0.2.1"), way("127.0.3.255")),
            (no_route, Err(NotProbed::Broadcast)),
            "refused, and no host"
        );
        assert_eq!((way("127.9.0.1"), way("::1")), (no_route, no_route));
    }

    #[test]
    fn what_cannot_be_sent_raw_says_why() {
        let targets = "127.0.0.1".parse().unwrap();
        let built =
            |links: &[LinkEntry]| Network::build(&targets, vec![entry("127.0.0.0/8", 254, 1, 1)], links, false).err();
        assert!(built(&[link(1, libc::ARPHRD_INFINIBAND, UP | RUNNING)]).is_some());
        assert!(built(&[]).is_some());
        assert_eq!(built(&[link(1, libc::ARPHRD_NONE, UP | RUNNING)]), None);
        assert!(Network::read(&"a.example".parse().unwrap(), false).is_err());
    }

    #[test]
    fn what_a_rule_refuses_by_itself_has_no_route_but_this_machine_does() {
        let links = [link(1, libc::ARPHRD_LOOPBACK, UP | RUNNING), link(2, libc::ARPHRD_NONE, UP | RUNNING)];
        let rule = RuleEntry { to: "127.0.2.0/23".parse().unwrap(), is_of_flows: false, refuses: true };
        let other = RuleEntry { refuses: false, ..rule };
        let mut routes = vec![
            entry("127.0.0.0/16", 254, UNICAST, 2),
            entry("127.0.2.0/24", 254, UNICAST, 2),
            entry("127.0.3.4/32", 255, LOCAL, 1),
        ];
        routes.extend([rule, other].iter().filter_map(RuleEntry::refusal));
        let network = Network::build(&"127.0.0.0/16".parse().unwrap(), routes, &links, false).unwrap();
        let why = |address: &str| network.table.way(address.parse().unwrap()).err();
        assert_eq!((why("127.0.2.1"), why("127.0.3.3")), (Some(NotProbed::NoRoute), Some(NotProbed::NoRoute)));
        assert_eq!((why("127.0.1.1"), why("127.0.3.4")), (None, None));
    }

    #[test]
    fn what_several_routers_lead_to_is_left_to_the_kernel() {
        let several = RouteEntry { others: vec![(2, None)], ..entry("127.0.0.0/8", 254, 1, 1) };
        let links = [link(1, libc::ARPHRD_NONE, UP | RUNNING), link(2, libc::ARPHRD_NONE, UP | RUNNING)];
        let built =
            |targets: &str| Network::build(&targets.parse().unwrap(), vec![several.clone()], &links, false).err();
        assert_eq!(built("127.0.0.1"), Some("addresses behind several routers at once"));
        assert_eq!(built("10.0.0.1"), None, "the route is not theirs");
    }

    #[test]
    fn behind_an_interface_without_a_cable_nobody_is_probed() {
        let targets = "127.0.0.1".parse().unwrap();
        let built = |flags| {
            let network =
                Network::build(&targets, vec![entry("127.0.0.0/8", 254, 1, 1)], &[link(1, 1, flags)], false).unwrap();
            (network.table.way("127.0.0.1".parse().unwrap()).err(), network.links.iter().all(|link| link.carries))
        };
        assert_eq!(built(0).0, Some(NotProbed::InterfaceDown));
        assert_eq!(built(RUNNING).0, Some(NotProbed::InterfaceDown));
        assert_eq!(built(UP), (None, false), "one that is up may be about to carry: the unit looks for itself");
        assert_eq!(built(UP | RUNNING), (None, true));
    }

    #[test]
    fn this_machine_is_reached_by_its_own_loopback() {
        let network = Network::read(&"127.0.0.1,::1".parse().unwrap(), false).unwrap();
        let way = network.table.way("127.0.0.1".parse().unwrap()).expect("loopback has a route");
        assert!(network.links[usize::from(way.link)].is_local && !way.needs_mac);
    }
}
