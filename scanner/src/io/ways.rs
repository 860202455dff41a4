//! The ways of a unit of connections or datagrams while it runs: whether one that led to its targets does no more, and whether it does
//! again.
//!
//! What is asked over a link that is down, or along a route that is gone, is heard by nobody, and whatever the kernel then says is no
//! word of the targets. So the unit sends and decides nothing meanwhile. A way that comes back within a few seconds costs that time: what
//! was out is asked again, as if it had not been. One that does not ends what is behind it as not probed. Raw units do the same by their
//! own means (`syn_scan/lost_way.rs`).
//!
//! A gateway that falls silent is found out by the kernel, which takes its time (`connect/passage.rs`).

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::raw::netlink::{self, LinkEntry, RouteEntry};
use super::raw::{LOCAL, first_target};
use super::reach::{Reach, TABLES, UNICAST};
use crate::target::TargetSet;

/// How often the links of this machine are looked at while a unit runs: twice before any port is believed to be silent.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// And while a way is lost.
const LOST_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a way may be lost before what lies behind it is given up: as long as with raw packets.
const LOST_MAX: Duration = Duration::from_secs(3);
/// How long a way that is back rests before it is used: the kernels at both ends of a link look at it once a second at most.
const REST: Duration = Duration::from_millis(1100);
/// At one look in so many the gateways are looked at as well, whose silence the kernel takes seconds to find out.
const GATEWAYS_EVERY: u8 = 10;
/// Such looks in a row that must find one silent: longer than the kernel asks for it.
const SILENT_MIN: u8 = 4;
/// Routes to the targets that are watched: with more of them this machine is a router of the Internet's core.
const ROUTES_MAX: usize = 1024;

/// What a look has found.
#[derive(Debug)]
pub(super) enum Change {
    /// A way that was lost is back: what is out may not have been heard.
    Back,
    /// A way is lost for good.
    Lost(Lost),
}

/// What was heard before a way was lost may be read so much later, on a busy machine: it does not show that there is another way.
const READ_LATE: Duration = Duration::from_millis(1000);

/// Ways that are lost, and until when what was heard by them may have been read.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) reach: Reach,
    pub(super) since: Duration,
}

/// The ways of a unit.
#[derive(Debug)]
pub(super) struct Ways {
    protocol: u8,
    targets: TargetSet,
    known: Known,
    looked_at: Option<Duration>,
    looks: u8,
    state: State,
    /// Since when the ways that were lost are back.
    back_since: Option<Duration>,
    silent: Doubt,
}

/// How the ways to the targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    /// One is lost, since the look that found it so: whatever was heard before came by it. What is behind it has been given up, or
    /// not yet.
    Lost {
        since: Duration,
        is_given_up: bool,
    },
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

/// The ways as they were when the unit began.
#[derive(Debug, Default)]
struct Known {
    carrying: Vec<u32>,
    table: Table,
    /// A target behind each route that led to some.
    samples: Vec<IpAddr>,
}

/// The kernel's routes in the order in which it takes them: where each leads to, whether over a link that carries packets.
#[derive(Debug, Default)]
struct Table(Vec<(IpNet, bool)>);

impl Table {
    fn of(mut routes: Vec<RouteEntry>, links: &[LinkEntry]) -> Self {
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        routes.retain(|route| rank(route.table).is_some());
        routes.sort_by_key(|route| (rank(route.table), Reverse(route.to.prefix_len()), route.metric));
        let carries = |interface: u32| links.iter().any(|link| link.interface == interface && link.carries());
        let leads = |route: &RouteEntry| {
            let mut all = route.others.iter().map(|(interface, _)| *interface).chain([route.interface]);
            route.kind == LOCAL || route.kind == UNICAST && all.any(carries)
        };
        Self(routes.iter().map(|route| (route.to, leads(route))).collect())
    }

    /// Whether there is a way to an address.
    fn leads_to(&self, address: IpAddr) -> bool {
        self.0.iter().find(|(to, _)| to.contains(&address)).is_some_and(|(_, leads)| *leads)
    }
}

impl Known {
    fn of(table: Table, links: &[LinkEntry], targets: &TargetSet) -> Self {
        let carrying = links.iter().filter(|link| link.carries()).map(|link| link.interface).collect();
        // Where a name leads nobody knows yet: any way may be one to it.
        let has_names = targets.name_count() > 0;
        let sample = |to: IpNet| first_target(targets, to).or_else(|| has_names.then(|| to.addr()));
        let leading = table.0.iter().filter(|(_, leads)| *leads).filter_map(|(to, _)| sample(*to));
        let samples = leading.filter(|address| table.leads_to(*address)).take(ROUTES_MAX).collect();
        Self { carrying, table, samples }
    }

    /// Whether a way to some of the targets is no more.
    fn is_lost(&self, now: &Table) -> bool {
        self.samples.iter().any(|address| !now.leads_to(*address))
    }
}

impl Ways {
    /// Those of packets of this protocol to some targets.
    pub(super) fn new(protocol: u8, targets: &TargetSet) -> Self {
        let (known, silent) = (Known::default(), Doubt::default());
        let targets = targets.clone();
        let (looked_at, back_since, state) = (None, None, State::There);
        Self { protocol, targets, known, looked_at, looks: 0, state, back_since, silent }
    }

    /// Whether a way is lost and may come back, so that nothing is to be sent or decided: when to look again.
    pub(super) fn awaited(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Lost { is_given_up: false, .. } => Some(now + LOST_LOOK_EVERY),
            State::Lost { .. } | State::There => None,
        }
    }

    /// The kernel says that it has no way to an address: whether there was one, which may come back.
    pub(super) fn has_lost(&mut self, now: Duration, address: IpAddr) -> bool {
        if self.state == State::There && self.known.table.leads_to(address) {
            let tables = netlink::links().ok().zip(netlink::routes().ok());
            tables.into_iter().for_each(|(links, routes)| _ = self.note(now, &Table::of(routes, &links)));
        }
        matches!(self.state, State::Lost { is_given_up: false, .. }) && self.known.table.leads_to(address)
    }

    /// Notes how the ways are now.
    fn note(&mut self, now: Duration, table: &Table) -> Option<Change> {
        let is_lost = self.known.is_lost(table);
        self.looked_at = Some(now);
        let back_since = if is_lost { None } else { Some(self.back_since.unwrap_or(now)) };
        self.back_since = back_since.filter(|_| self.state != State::There);
        match (self.state, is_lost) {
            (State::There, true) => self.state = State::Lost { since: now, is_given_up: false },
            (State::Lost { .. }, false) if back_since.is_some_and(|since| now >= since + REST) => {
                (self.state, self.back_since) = (State::There, None);
                return Some(Change::Back);
            }
            (State::Lost { since, is_given_up }, true) if is_given_up || now > since + LOST_MAX => {
                self.state = State::Lost { since, is_given_up: true };
                return Reach::as_it_is(self.protocol)
                    .map(|reach| Change::Lost(Lost { reach, since: since + READ_LATE }));
            }
            (State::There, false) | (State::Lost { .. }, _) => {}
        }
        None
    }

    /// Looks, if it is time; `Some` where that changes anything.
    pub(super) fn look(&mut self, now: Duration) -> Option<Change> {
        let every = if self.state == State::There { LOOK_EVERY } else { LOST_LOOK_EVERY };
        if self.looked_at.is_some_and(|at| now < at + every) {
            return None;
        }
        let links = netlink::links().ok()?;
        if self.looked_at.is_none() {
            self.looked_at = Some(now);
            self.known = Known::of(Table::of(netlink::routes().ok()?, &links), &links, &self.targets);
        }
        let carries = |interface: &u32| links.iter().any(|link| link.interface == *interface && link.carries());
        // The routes are many on some machines, and only looked at where something has changed.
        if self.state != State::There || !self.known.carrying.iter().all(carries) {
            let change = self.note(now, &Table::of(netlink::routes().ok()?, &links));
            if self.state != State::There || change.is_some() {
                return change;
            }
            // It led to no target, or another leads there: it is not watched any more.
            self.known.carrying.retain(carries);
        }
        self.looked_at = Some(now);
        self.looks = (self.looks + 1) % GATEWAYS_EVERY;
        if self.looks > 0 {
            return None;
        }
        let reach = Reach::now(self.protocol).filter(Reach::has_silent_gateway);
        self.silent.note(now, reach.is_some());
        let is_lost = self.silent.looks >= SILENT_MIN;
        reach.filter(|_| is_lost).map(|reach| Change::Lost(Lost { reach, since: self.silent.since + READ_LATE }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::raw::netlink::TCP;
    use crate::target::parse_targets;

    const CARRIES: u32 = 0x1 | 0x40;

    fn route(to: &str, kind: u8, interface: u32, metric: u32) -> RouteEntry {
        let (to, others) = (to.parse().unwrap(), Vec::new());
        RouteEntry { to, table: 254, kind, gateway: None, interface, others, metric, source: None, mtu: None }
    }

    fn link(interface: u32, flags: u32) -> LinkEntry {
        LinkEntry { interface, kind: 1, flags, name: format!("if{interface}"), mac: None, mtu: 1500 }
    }

    #[test]
    fn a_way_to_the_targets_is_lost_with_its_link_or_its_route_unless_another_leads_there() {
        const UNREACHABLE: u8 = 7;
        let both = [link(1, CARRIES), link(2, CARRIES)];
        let routes = || vec![route("10.1.0.0/24", UNICAST, 1, 0), route("10.2.0.0/24", UNICAST, 2, 0)];
        let targets = parse_targets("10.1.0.0/28", "test").unwrap();
        let known = Known::of(Table::of(routes(), &both), &both, &targets);
        let lost = |routes: Vec<RouteEntry>, links: &[LinkEntry]| known.is_lost(&Table::of(routes, links));
        assert!(!lost(routes(), &both));
        assert!(lost(routes(), &[link(1, 0x1), link(2, CARRIES)]));
        assert!(!lost(routes(), &[link(1, CARRIES), link(2, 0x1)]), "nobody asks over the other one");
        assert!(lost(vec![route("10.2.0.0/24", UNICAST, 2, 0)], &both), "the link is there and the route is not");
        let beside = [routes(), vec![route("10.0.0.0/8", UNICAST, 2, 0)]].concat();
        assert!(!lost(beside.into_iter().skip(1).collect(), &both), "another way leads there");
        let refused = [vec![route("10.1.0.0/25", UNREACHABLE, 0, 0)], routes()].concat();
        assert!(lost(refused, &both));
    }

    #[test]
    fn a_way_is_waited_for_and_then_given_up_and_watched_again_once_it_is_back() {
        let both = [link(1, CARRIES)];
        let targets = parse_targets("10.1.0.0/28", "test").unwrap();
        let there = || Table::of(vec![route("10.1.0.0/24", UNICAST, 1, 0)], &both);
        let gone = Table::default();
        let mut ways = Ways::new(TCP, &targets);
        ways.known = Known::of(there(), &both, &targets);
        let at = Duration::from_millis;
        assert!(ways.note(at(100), &there()).is_none() && ways.awaited(at(100)).is_none());
        assert!(ways.note(at(200), &gone).is_none() && ways.awaited(at(200)).is_some());
        assert_eq!(ways.state, State::Lost { since: at(200), is_given_up: false });
        assert!(ways.note(at(2000), &there()).is_none() && ways.awaited(at(2000)).is_some(), "it rests");
        assert!(matches!(ways.note(at(3100), &there()), Some(Change::Back)) && ways.awaited(at(3100)).is_none());
        assert!(ways.note(at(3200), &gone).is_none());
        assert!(ways.note(at(4000), &there()).is_none());
        assert!(ways.note(at(6100), &gone).is_none(), "a flicker is no way");
        assert!(
            matches!(ways.note(at(6300), &gone), Some(Change::Lost(Lost { since, .. })) if since == at(3200) + READ_LATE)
        );
        assert!(ways.awaited(at(6300)).is_none(), "what is behind it is not probed");
        assert!(ways.note(at(9000), &there()).is_none());
        assert!(matches!(ways.note(at(10_100), &there()), Some(Change::Back)));
        assert!(ways.note(at(10_200), &gone).is_none() && ways.awaited(at(10_200)).is_some());
    }
}
