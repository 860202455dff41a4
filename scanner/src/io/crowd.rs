//! Whether the kernel has had no room for a neighbour, and whose packets it has dropped for that.
//!
//! When its table is full (`gc_thresh3`) it drops what goes to a neighbour that is not in there, and tells nobody but a counter. Those
//! who are asked then are not silent: nothing was sent to them. Whoever's next hop is in the table, answering or not, was sent to.
//! Only looked at more closely while the counter moves, or while somebody is known to have no place.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::raw::netlink::{self, LinkEntry, RouteEntry};
use super::reach::{TABLES, UNICAST};

/// How often that is looked at: more often than a probe is given up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interfaces without neighbours: IFF_LOOPBACK, IFF_POINTOPOINT and IFF_NOARP of linux/if.h.
const NO_NEIGHBOURS: u32 = 0x8 | 0x10 | 0x80;

/// The kernel's tables of neighbours, as far as they were full.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    looked_at: Option<Duration>,
    fulls: u64,
}

/// The interface that an address is reached by, and the gateway if there is one.
type Way = (u32, Option<IpAddr>);

/// Who has a place in them, and through whom each address is sent to.
#[derive(Debug)]
pub(super) struct Places {
    /// The most particular first.
    routes: Vec<(IpNet, Option<Way>)>,
    taken: HashSet<(u32, IpAddr)>,
}

impl Crowd {
    /// Looks, if it is time; `Some` where the tables were full since the last look, or `is_told` says that somebody had no place
    /// then.
    pub(super) fn look(&mut self, now: Duration, is_told: bool) -> Option<Places> {
        if self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return None;
        }
        let fulls =
            ["arp_cache", "ndisc_cache"].map(|table| std::fs::read_to_string(format!("/proc/net/stat/{table}")));
        let fulls = fulls.into_iter().flatten().map(|text| fulls_of(&text)).sum();
        let is_first = self.looked_at.replace(now).is_none();
        let were = std::mem::replace(&mut self.fulls, fulls);
        (is_told || (fulls > were && !is_first)).then(Places::now).and_then(Result::ok)
    }
}

impl Places {
    fn now() -> io::Result<Self> {
        Ok(Self::of(&netlink::links()?, netlink::routes()?, netlink::asked_neighbours()?))
    }

    fn of(links: &[LinkEntry], mut routes: Vec<RouteEntry>, taken: Vec<(u32, IpAddr)>) -> Self {
        let rank = |table: u32| TABLES.iter().position(|known| *known == table);
        routes.retain(|route| rank(route.table).is_some());
        routes.sort_by_key(|route| (rank(route.table), std::cmp::Reverse(route.to.prefix_len()), route.metric));
        let has_neighbours =
            |interface: u32| links.iter().any(|link| link.interface == interface && link.flags & NO_NEIGHBOURS == 0);
        let way = |route: &RouteEntry| {
            let is_sent = route.kind == UNICAST && has_neighbours(route.interface);
            is_sent.then_some((route.interface, route.gateway))
        };
        let routes = routes.iter().map(|route| (route.to, way(route))).collect();
        Self { routes, taken: taken.into_iter().collect() }
    }

    /// Whether the next hop to an address has no place, so that nothing is sent there.
    pub(super) fn lacks(&self, address: IpAddr) -> bool {
        let way = self.routes.iter().find(|(to, _)| to.contains(&address)).and_then(|(_, way)| *way);
        way.is_some_and(|(interface, gateway)| !self.taken.contains(&(interface, gateway.unwrap_or(address))))
    }
}

/// How often a table was full, by its statistics: a line of words, and one of hexadecimal numbers for each processor.
fn fulls_of(text: &str) -> u64 {
    let mut lines = text.lines();
    let at = lines.next().and_then(|words| words.split_whitespace().position(|word| word == "table_fulls"));
    let Some(at) = at else { return 0 };
    let numbers = lines.filter_map(|line| line.split_whitespace().nth(at));
    numbers.filter_map(|number| u64::from_str_radix(number, 16).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, kind: u8, interface: u32, gateway: Option<&str>) -> RouteEntry {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        let (to, others) = (to.parse().unwrap(), Vec::new());
        RouteEntry { to, table: 254, kind, gateway, interface, others, metric: 0, source: None, mtu: None }
    }

    fn link(interface: u32, flags: u32) -> LinkEntry {
        LinkEntry { interface, kind: 1, flags, name: format!("if{interface}"), mac: None, mtu: 1500 }
    }

    #[test]
    fn who_has_no_place_was_not_sent_to_and_who_is_silent_in_its_place_was() {
        let links = [link(1, 0x43), link(2, 0x43 | 0x10), link(3, 0x49)];
        let routes = vec![
            route("10.0.0.0/24", UNICAST, 1, None),
            route("0.0.0.0/0", UNICAST, 1, Some("10.0.0.1")),
            route("10.1.0.0/24", UNICAST, 1, Some("10.0.0.2")),
            route("10.2.0.0/24", UNICAST, 2, None),
            route("127.0.0.0/8", 2, 3, None),
        ];
        let taken = ["10.0.0.1", "10.0.0.9"].map(|address| (1, address.parse().unwrap()));
        let places = Places::of(&links, routes, taken.to_vec());
        let lacks = |address: &str| places.lacks(address.parse().unwrap());
        assert!(lacks("10.0.0.8") && lacks("10.1.0.7"), "its own place, and its gateway's");
        assert!(!lacks("10.0.0.9") && !lacks("8.8.8.8"));
        assert!(!lacks("10.2.0.1") && !lacks("127.0.0.1") && !lacks("fd00::1"), "there are no neighbours, or no way");
    }

    #[test]
    fn the_counters_of_all_processors_are_added() {
        let text = "entries  lookups table_fulls\n00000002 00000004 000000ff\n00000002 00000007 00000002\n";
        assert_eq!((fulls_of(text), fulls_of(""), fulls_of("entries\n1\n")), (257, 0, 0));
        let mut crowd = Crowd::default();
        assert!(crowd.look(Duration::from_secs(1), false).is_none(), "the first look has nothing to compare with");
        assert!(crowd.look(Duration::from_secs(2), true).is_some(), "somebody has no place yet");
    }
}
