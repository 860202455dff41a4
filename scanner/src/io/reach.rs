//! Which targets the kernel had no way to, as its tables say when a unit ends.
//!
//! A connection or datagram to a host behind a router that is silent, or over an interface without a cable, is taken by
//! the kernel and dropped without a word: for the scan that is silence. Its tables of routes and neighbours tell the two
//! apart. Asked once for a unit, and only where nothing has answered for some of its targets.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::raw::netlink::{self, LinkEntry, RouteAsker, RouteEntry, RuleEntry};
use super::raw::{BROADCAST, LOCAL, first_target};
use crate::finding::{NotProbed, NotProbedCounts};
use crate::plan::Plan;
use crate::target::{Target, TargetSet};

/// Tables in which every packet is looked up, first to last (linux/rtnetlink.h): local, main, default.
pub(super) const TABLES: [u32; 3] = [255, 254, 253];
/// The kind of route that leads somewhere over a link.
pub(super) const UNICAST: u8 = 1;

/// The routes that lead anywhere or nowhere, the most particular first.
#[derive(Debug)]
pub(super) struct Reach {
    routes: Vec<(IpNet, Lead)>,
    /// What rules may lead another way, where the kernel is asked for each address.
    ruled: Vec<IpNet>,
    ways: Hops,
    /// Whether some way leads nowhere, and whether one does so for the silence of a gateway.
    is_amiss: bool,
    has_silent_gateway: bool,
    asker: Option<RouteAsker>,
    protocol: u8,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// One way, and why it leads nowhere if that is so.
    One(Option<NotProbed>),
    /// Several ways, of which the kernel chooses one for each address.
    Several,
}

/// What is known of interfaces and neighbours.
#[derive(Debug)]
struct Hops {
    carrying: Vec<u32>,
    silent: Vec<(u32, IpAddr)>,
    /// Whether this machine has an IPv4 address to ask from. Without one of its family the kernel refuses IPv6 itself.
    has_source: bool,
}

impl Hops {
    fn why(&self, interface: u32, gateway: Option<IpAddr>) -> Option<NotProbed> {
        if !self.carrying.contains(&interface) {
            return Some(NotProbed::InterfaceDown);
        }
        gateway.filter(|gateway| self.silent.contains(&(interface, *gateway))).map(|_| NotProbed::GatewaySilent)
    }

    fn of_route(&self, route: &RouteEntry) -> Option<NotProbed> {
        if route.kind != UNICAST {
            return None;
        }
        let lacks_source = route.to.addr().is_ipv4() && !self.has_source;
        self.why(route.interface, route.gateway).or(lacks_source.then_some(NotProbed::NoRoute))
    }
}

/// Whether an address of this machine's own is among the routes that serves elsewhere than on itself.
fn has_source(routes: &[RouteEntry]) -> bool {
    let is_own = |route: &RouteEntry| route.kind == LOCAL && route.to.addr().is_ipv4();
    routes.iter().any(|route| is_own(route) && !route.to.addr().is_loopback())
}

impl Reach {
    /// As the kernel's tables are now, for packets of this protocol; `None` where every route leads somewhere, or where they cannot
    /// be read.
    pub(super) fn now(protocol: u8) -> Option<Self> {
        Self::as_it_is(protocol).filter(|reach| reach.is_amiss)
    }

    /// The same where every route leads somewhere as well.
    pub(super) fn as_it_is(protocol: u8) -> Option<Self> {
        let (links, routes) = (netlink::links().ok()?, netlink::routes().ok()?);
        let silent = netlink::silent_neighbours().ok()?;
        let reach = Self::of(&links, routes, silent, &netlink::rules().unwrap_or_default(), protocol);
        let asker = if reach.is_amiss { RouteAsker::new().ok() } else { None };
        Some(Self { asker, ..reach })
    }

    /// Whether some way leads nowhere for the silence of a gateway.
    pub(super) fn has_silent_gateway(&self) -> bool {
        self.has_silent_gateway
    }

    /// Why no probe reaches an address to which there was a way before; `None` where one may.
    pub(super) fn lost(&self, address: IpAddr) -> Option<NotProbed> {
        let has_route = self.routes.iter().map(|(to, _)| to).chain(&self.ruled).any(|to| to.contains(&address));
        if has_route { self.not_probed(address) } else { Some(NotProbed::NoRoute) }
    }

    fn of(
        links: &[LinkEntry],
        mut routes: Vec<RouteEntry>,
        silent: Vec<(u32, IpAddr)>,
        rules: &[RuleEntry],
        protocol: u8,
    ) -> Self {
        let has_source = has_source(&routes);
        let carrying = links.iter().filter(|link| link.carries()).map(|link| link.interface).collect();
        let ways = Hops { carrying, silent, has_source };
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        // Rules may choose any table.
        routes.retain(|route| !rules.is_empty() || rank(route.table).is_some());
        let of_others = |route: &RouteEntry| -> Vec<_> {
            route.others.iter().filter_map(|(interface, gateway)| ways.why(*interface, *gateway)).collect()
        };
        let amiss: Vec<NotProbed> =
            routes.iter().flat_map(|route| ways.of_route(route).into_iter().chain(of_others(route))).collect();
        routes.retain(|route| rank(route.table).is_some());
        routes.sort_by_key(|route| (rank(route.table), std::cmp::Reverse(route.to.prefix_len()), route.metric));
        let lead = |route: &RouteEntry| match route.others.is_empty() {
            true => Lead::One(ways.of_route(route)),
            false => Lead::Several,
        };
        Self {
            routes: routes.iter().map(|route| (route.to, lead(route))).collect(),
            ruled: rules.iter().map(|rule| rule.to).collect(),
            is_amiss: !amiss.is_empty(),
            has_silent_gateway: amiss.contains(&NotProbed::GatewaySilent),
            ways,
            asker: None,
            protocol,
        }
    }

    /// Why no probe reaches an address; `None` where one may.
    pub(super) fn not_probed(&self, address: IpAddr) -> Option<NotProbed> {
        let lead = match self.ruled.iter().any(|to| to.contains(&address)) {
            true => Lead::Several,
            false => self.routes.iter().find(|(to, _)| to.contains(&address))?.1,
        };
        match lead {
            Lead::One(why) => why,
            Lead::Several => {
                // The choice depends on the source, which depends on the first choice.
                let source = self.ask(address, None)?.source;
                self.ways.of_route(&self.ask(address, source)?)
            }
        }
    }

    /// The route that the kernel takes to an address; `None` where it has none, or does not say. Addresses of a link are not asked
    /// for: without their interface they have no route.
    fn ask(&self, address: IpAddr, source: Option<IpAddr>) -> Option<RouteEntry> {
        let is_of_link = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let asker = self.asker.as_ref().filter(|_| !is_of_link)?;
        asker.route_to(address, self.protocol, source).ok().flatten()
    }

    /// The routes that lead over an interface that carries nothing.
    pub(super) fn down(&self) -> impl Iterator<Item = IpNet> {
        self.routes.iter().filter(|(_, lead)| *lead == Lead::One(Some(NotProbed::InterfaceDown))).map(|(to, _)| *to)
    }

    /// Those of them that lead to some of the targets.
    pub(super) fn down_to(&self, targets: &TargetSet) -> impl Iterator<Item = IpNet> {
        let is_down = move |address| self.not_probed(address) == Some(NotProbed::InterfaceDown);
        self.down().filter(move |to| first_target(targets, *to).is_some_and(is_down))
    }

    /// How many of a unit's addresses no probe reached, and of its silent names (`named`) those of which it reached no address. Of
    /// `hosts_up`, those that cannot all be among the others have answered before the way to them was lost.
    pub(super) fn count(
        &self,
        plan: &Plan,
        range: Range<u64>,
        named: &[Vec<IpAddr>],
        hosts_up: u64,
    ) -> NotProbedCounts {
        let (mut counts, mut reached) = (NotProbedCounts::default(), 0_u64);
        let mut of_names = NotProbedCounts::default();
        let of_name = |addresses: &Vec<IpAddr>| {
            let all: Option<Vec<_>> = addresses.iter().map(|address| self.not_probed(*address)).collect();
            all?.first().copied()
        };
        named.iter().filter_map(of_name).for_each(|why| of_names.add(why, 1));
        for index in range {
            let why = match plan.target(index) {
                Some(Target::Address(address)) => self.not_probed(address),
                _ => None,
            };
            match why {
                Some(why) => counts.add(why, 1),
                None => reached += 1,
            }
        }
        counts.less(hosts_up.saturating_sub(reached)).and(&of_names)
    }
}

/// The broadcast addresses of this machine's links, read when somebody first asks.
#[derive(Debug, Default)]
pub(super) struct Broadcasts(Option<Vec<IpAddr>>);

impl Broadcasts {
    /// Why an address was refused that the kernel says there is no way to for us.
    pub(super) fn reason_of(&mut self, why: NotProbed, address: IpAddr) -> NotProbed {
        if why != NotProbed::NoRoute || address.is_ipv6() {
            return why;
        }
        let all = self.0.get_or_insert_with(|| {
            let routes = netlink::routes().unwrap_or_default();
            routes.iter().filter(|route| route.kind == BROADCAST).map(|route| route.to.addr()).collect()
        });
        if all.contains(&address) { NotProbed::Broadcast } else { why }
    }
}

/// The gateways of this machine's routes, as they were at a time.
#[derive(Debug)]
pub(super) struct Gateways(Vec<(IpNet, Option<(u32, IpAddr)>)>);

impl Gateways {
    /// Those of now; `None` where no route has one, or where they cannot be read.
    pub(super) fn now() -> Option<Self> {
        let gateways = Self::of(netlink::routes().ok()?);
        gateways.0.iter().any(|(_, gateway)| gateway.is_some()).then_some(gateways)
    }

    fn of(mut routes: Vec<RouteEntry>) -> Self {
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        routes.retain(|route| rank(route.table).is_some());
        routes.sort_by_key(|route| (rank(route.table), std::cmp::Reverse(route.to.prefix_len()), route.metric));
        // Which of several takes an address is not known here.
        let one = |route: &RouteEntry| route.gateway.filter(|_| route.others.is_empty());
        let gateway = |route: &RouteEntry| one(route).map(|gateway| (route.interface, gateway));
        Self(routes.iter().map(|route| (route.to, gateway(route))).collect())
    }

    /// The interface and the gateway that lead to an address; `None` where it is on a link, or nowhere.
    pub(super) fn to(&self, address: IpAddr) -> Option<(u32, IpAddr)> {
        self.0.iter().find(|(to, _)| to.contains(&address)).and_then(|(_, gateway)| *gateway)
    }
}

/// What a unit has to remember to be asked about at its end.
#[derive(Debug)]
pub(super) struct Asked {
    plan: Plan,
    range: Range<u64>,
    protocol: u8,
}

impl Asked {
    pub(super) fn new(plan: &Plan, range: &Range<u64>, protocol: u8) -> Self {
        Self { plan: plan.clone(), range: range.start..range.end.min(plan.target_count()), protocol }
    }

    /// How many of the unit's targets no probe reached although the kernel took them, `named` being the addresses of names that
    /// are silent; asked only where nothing answers.
    pub(super) fn unreached(&self, hosts_up: u64, named: &[Vec<IpAddr>]) -> NotProbedCounts {
        if hosts_up >= self.range.end - self.range.start {
            return NotProbedCounts::default();
        }
        Reach::now(self.protocol)
            .map(|reach| reach.count(&self.plan, self.range.clone(), named, hosts_up))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::raw::netlink::TCP;
    use crate::spec::ScanSpec;

    /// Flags of an interface that is up and has a carrier.
    const CARRIES: u32 = 0x1 | 0x40;

    fn route(to: &str, table: u32, kind: u8, interface: u32, gateway: Option<&str>) -> RouteEntry {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        let (to, others) = (to.parse().unwrap(), Vec::new());
        RouteEntry { to, table, kind, gateway, interface, others, metric: 0, source: None, mtu: None }
    }

    fn link(interface: u32, flags: u32) -> LinkEntry {
        LinkEntry { interface, kind: 1, flags, name: format!("if{interface}"), mac: None, mtu: 1500 }
    }

    #[test]
    fn what_lies_behind_a_silent_router_or_a_pulled_cable_was_not_probed() {
        let links = [link(1, CARRIES), link(2, 0x1)];
        let routes = vec![
            route("0.0.0.0/0", 254, UNICAST, 1, Some("10.0.0.1")),
            route("10.0.0.0/24", 254, UNICAST, 1, None),
            route("10.1.0.0/24", 254, UNICAST, 1, Some("10.0.0.2")),
            route("10.2.0.0/24", 254, UNICAST, 2, None),
            route("10.2.0.7/32", 255, 2, 1, None),
            route("10.1.0.128/25", 7, UNICAST, 1, None),
        ];
        let silent: IpAddr = "10.0.0.2".parse().unwrap();
        let reach = Reach::of(&links, routes, vec![(1, silent)], &[], TCP);
        let why = |address: &str| reach.not_probed(address.parse().unwrap());
        assert_eq!((why("10.0.0.9"), why("8.8.8.8"), why("10.2.0.7"), why("fd00::1")), (None, None, None, None));
        assert_eq!(why("10.1.0.200"), Some(NotProbed::GatewaySilent), "no rule chooses the other table");
        assert_eq!(why("10.2.0.8"), Some(NotProbed::InterfaceDown));
        assert!(reach.has_silent_gateway);

        let spec = ScanSpec {
            partitions: vec!["10.0.0.0/30,10.1.0.0/30,10.2.0.0/29".parse().unwrap()],
            ..ScanSpec::default()
        };
        let plan = Plan::new(Arc::new(spec), 0).unwrap();
        assert_eq!(reach.count(&plan, 0..16, &[], 0).to_string(), "gateway silent 4, interface down 7");
        assert_eq!(reach.count(&plan, 0..16, &[], 5).total(), 11, "five others may have answered");
        assert_eq!(reach.count(&plan, 0..16, &[], 7).total(), 9, "two must have been reached before");
        let named = ["10.1.0.9,10.1.0.10", "10.0.0.9", "10.1.0.9,10.0.0.9"]
            .map(|addresses| addresses.split(',').map(|address| address.parse().unwrap()).collect());
        assert_eq!(
            reach.count(&plan, 0..0, &named, 1).to_string(),
            "gateway silent 1",
            "a name of which all lie there"
        );
    }
}
