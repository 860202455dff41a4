//! Which targets the kernel had no way to, as its tables say when a unit ends.
//!
//! A connection or datagram to a host behind a router that is silent, or over an interface without a cable, is taken by
//! the kernel and dropped without a word: for the scan that is silence. Its tables of routes and neighbours tell the two
//! apart. Asked once for a unit, and only where nothing has answered for some of its targets.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::raw::first_target;
use super::raw::netlink::{self, LinkEntry, RouteEntry};
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
    routes: Vec<(IpNet, Option<NotProbed>)>,
}

impl Reach {
    /// As the kernel's tables are now; `None` where every route leads somewhere, or where they cannot be read.
    pub(super) fn now() -> Option<Self> {
        let (links, routes) = (netlink::links().ok()?, netlink::routes().ok()?);
        let silent = netlink::silent_neighbours().ok()?;
        let reach = Self::of(&links, routes, |interface, address| silent.contains(&(interface, address)));
        reach.routes.iter().any(|(_, why)| why.is_some()).then_some(reach)
    }

    fn of(links: &[LinkEntry], mut routes: Vec<RouteEntry>, is_silent: impl Fn(u32, IpAddr) -> bool) -> Self {
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        routes.retain(|route| rank(route.table).is_some());
        routes.sort_by_key(|route| (rank(route.table), std::cmp::Reverse(route.to.prefix_len()), route.metric));
        let carries = |interface| links.iter().any(|link| link.interface == interface && link.carries());
        let why = |route: &RouteEntry| match route.gateway {
            _ if route.kind != UNICAST => None,
            _ if !carries(route.interface) => Some(NotProbed::InterfaceDown),
            Some(gateway) if is_silent(route.interface, gateway) => Some(NotProbed::GatewaySilent),
            _ => None,
        };
        Self { routes: routes.iter().map(|route| (route.to, why(route))).collect() }
    }

    /// Why no probe reaches an address; `None` where one may.
    pub(super) fn not_probed(&self, address: IpAddr) -> Option<NotProbed> {
        self.routes.iter().find(|(to, _)| to.contains(&address))?.1
    }

    /// The routes that lead over an interface that carries nothing.
    pub(super) fn down(&self) -> impl Iterator<Item = IpNet> {
        self.routes.iter().filter(|(_, why)| *why == Some(NotProbed::InterfaceDown)).map(|(to, _)| *to)
    }

    /// Those of them that lead to some of the targets.
    pub(super) fn down_to(&self, targets: &TargetSet) -> impl Iterator<Item = IpNet> {
        let is_down = move |address| self.not_probed(address) == Some(NotProbed::InterfaceDown);
        self.down().filter(move |to| first_target(targets, *to).is_some_and(is_down))
    }

    fn has_silent_gateway(&self) -> bool {
        self.routes.iter().any(|(_, why)| *why == Some(NotProbed::GatewaySilent))
    }

    /// How many of a unit's addresses no probe reached, and of those that its silent names stand for (`named`). Of `hosts_up`,
    /// those that cannot all be among the others have answered before the way to them was lost.
    pub(super) fn count(&self, plan: &Plan, range: Range<u64>, named: &[IpAddr], hosts_up: u64) -> NotProbedCounts {
        let (mut counts, mut reached) = (NotProbedCounts::default(), 0_u64);
        let mut of_names = NotProbedCounts::default();
        named.iter().filter_map(|address| self.not_probed(*address)).for_each(|why| of_names.add(why, 1));
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
        let gateway = |route: &RouteEntry| route.gateway.map(|gateway| (route.interface, gateway));
        Self(routes.iter().map(|route| (route.to, gateway(route))).collect())
    }

    /// The interface and the gateway that lead to an address; `None` where it is on a link, or nowhere.
    pub(super) fn to(&self, address: IpAddr) -> Option<(u32, IpAddr)> {
        self.0.iter().find(|(to, _)| to.contains(&address)).and_then(|(_, gateway)| *gateway)
    }
}

/// How often the links of this machine are looked at while a unit runs: twice before any port is believed to be silent.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks in a row that must find a link down: a flicker is not worth what it would cost.
const LOOKS_MIN: u8 = 2;
/// At one look in so many the gateways are looked at as well, whose silence the kernel takes seconds to find out.
const GATEWAYS_EVERY: u8 = 10;
/// Such looks in a row that must find one silent: longer than the kernel asks for it.
const SILENT_MIN: u8 = 4;

/// The ways of a unit while it runs: whether one that led somewhere does no more.
#[derive(Debug, Default)]
pub(super) struct Ways {
    carrying: Vec<u32>,
    looked_at: Option<Duration>,
    looks: u8,
    down: Doubt,
    silent: Doubt,
}

/// Looks in a row that found something amiss.
#[derive(Debug, Default)]
struct Doubt {
    since: Duration,
    looks: u8,
}

impl Doubt {
    fn note(&mut self, now: Duration, is_amiss: bool) {
        if self.looks == 0 {
            self.since = now;
        }
        self.looks = if is_amiss { self.looks.saturating_add(1) } else { 0 };
    }
}

/// Ways that are lost, since when at most.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) reach: Reach,
    pub(super) since: Duration,
}

impl Ways {
    /// Looks, if it is time; `Some` where a way is lost.
    pub(super) fn look(&mut self, now: Duration) -> Option<Lost> {
        if self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return None;
        }
        let links = netlink::links().ok()?;
        let carries = |interface: &u32| links.iter().any(|link| link.interface == *interface && link.carries());
        if self.looked_at.replace(now).is_none() {
            self.carrying = links.iter().map(|link| link.interface).filter(carries).collect();
        }
        self.down.note(now, !self.carrying.iter().all(carries));
        if self.down.looks >= LOOKS_MIN {
            return Reach::now().map(|reach| Lost { reach, since: self.down.since });
        }
        self.looks = (self.looks + 1) % GATEWAYS_EVERY;
        if self.looks > 0 {
            return None;
        }
        let reach = Reach::now().filter(Reach::has_silent_gateway);
        self.silent.note(now, reach.is_some());
        let is_lost = self.silent.looks >= SILENT_MIN;
        reach.filter(|_| is_lost).map(|reach| Lost { reach, since: self.silent.since })
    }
}

/// What a unit has to remember to be asked about at its end.
#[derive(Debug)]
pub(super) struct Asked {
    plan: Plan,
    range: Range<u64>,
}

impl Asked {
    pub(super) fn new(plan: &Plan, range: &Range<u64>) -> Self {
        Self { plan: plan.clone(), range: range.start..range.end.min(plan.target_count()) }
    }

    /// How many of the unit's targets no probe reached although the kernel took them, `named` being the addresses of names that
    /// are silent; asked only where nothing answers.
    pub(super) fn unreached(&self, hosts_up: u64, named: &[IpAddr]) -> NotProbedCounts {
        if hosts_up >= self.range.end - self.range.start {
            return NotProbedCounts::default();
        }
        Reach::now().map(|reach| reach.count(&self.plan, self.range.clone(), named, hosts_up)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::ScanSpec;

    /// Flags of an interface that is up and has a carrier.
    const CARRIES: u32 = 0x1 | 0x40;

    fn route(to: &str, table: u32, kind: u8, interface: u32, gateway: Option<&str>) -> RouteEntry {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        RouteEntry { to: to.parse().unwrap(), table, kind, gateway, interface, metric: 0, source: None, mtu: None }
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
        let reach = Reach::of(&links, routes, |interface, address| interface == 1 && address == silent);
        let why = |address: &str| reach.not_probed(address.parse().unwrap());
        assert_eq!((why("10.0.0.9"), why("8.8.8.8"), why("10.2.0.7"), why("fd00::1")), (None, None, None, None));
        assert_eq!(why("10.1.0.200"), Some(NotProbed::GatewaySilent), "tables chosen by rules are not looked at");
        assert_eq!(why("10.2.0.8"), Some(NotProbed::InterfaceDown));

        let spec = ScanSpec {
            partitions: vec!["10.0.0.0/30,10.1.0.0/30,10.2.0.0/29".parse().unwrap()],
            ..ScanSpec::default()
        };
        let plan = Plan::new(Arc::new(spec), 0).unwrap();
        assert_eq!(reach.count(&plan, 0..16, &[], 0).to_string(), "gateway silent 4, interface down 7");
        assert_eq!(reach.count(&plan, 0..16, &[], 5).total(), 11, "five others may have answered");
        assert_eq!(reach.count(&plan, 0..16, &[], 7).total(), 9, "two must have been reached before");
        let named = ["10.1.0.9".parse().unwrap(), "10.0.0.9".parse().unwrap()];
        assert_eq!(reach.count(&plan, 0..0, &named, 1).to_string(), "gateway silent 1", "a name behind it as well");
    }
}
