//! Which ports were found open before, and how often: an order of one's own for `--top-ports N --learned`.
//!
//! Each address counts a port once, however often it was scanned, so that a job that is repeated weighs nothing more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{Port, PortSet, Protocol, popular};

/// Open ports that are counted at most: some 40 bytes each, and an order that a million more would not change.
const OPEN_MAX: usize = 1_000_000;

/// Ports that were found open.
#[derive(Debug, Default)]
pub struct LearnedPorts {
    seen: HashSet<(IpAddr, Port)>,
    hosts: HashSet<IpAddr>,
    counts: HashMap<Port, u32>,
}

impl LearnedPorts {
    /// Counts the open ports of an address; `false` once no more are counted, at a million open ports.
    pub fn add(&mut self, address: IpAddr, open: impl IntoIterator<Item = Port>) -> bool {
        for port in open {
            if self.is_full() {
                return false;
            }
            if self.seen.insert((address, port)) {
                self.hosts.insert(address);
                *self.counts.entry(port).or_default() += 1;
            }
        }
        !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= OPEN_MAX
    }

    /// How many addresses had an open port.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// How many ports were open somewhere.
    #[must_use]
    pub fn ports(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The `n` TCP ports most worth asking here: what was open on most addresses first, among equals and after them in the
    /// general order. From 65,535 on all of them.
    #[must_use]
    pub fn top_ports(&self, n: u32) -> PortSet {
        self.first_of(Protocol::Tcp, popular::by_popularity().map(Port::tcp), n)
    }

    /// The same of UDP.
    #[must_use]
    pub fn top_udp_ports(&self, n: u32) -> PortSet {
        self.first_of(Protocol::Udp, PortSet::udp_by_popularity(), n)
    }

    fn first_of(&self, protocol: Protocol, general: impl Iterator<Item = Port>, n: u32) -> PortSet {
        let mut order: Vec<Port> = general.filter(|port| port.protocol == protocol).collect();
        // Stable: what was never open keeps its place behind.
        order.sort_by_key(|port| Reverse(self.counts.get(port).copied().unwrap_or_default()));
        order.into_iter().take(usize::try_from(n).unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(seen: &[(&str, &[u16])]) -> LearnedPorts {
        let mut learned = LearnedPorts::default();
        for (address, ports) in seen {
            assert!(learned.add(address.parse().unwrap(), ports.iter().map(|port| Port::tcp(*port))));
        }
        learned
    }

    #[test]
    fn what_most_addresses_have_open_comes_first_and_the_general_order_after_it() {
        let learned = learned(&[("10.0.0.1", &[4711, 80]), ("10.0.0.2", &[4711]), ("10.0.0.3", &[50123, 22])]);
        assert_eq!(learned.top_ports(1), PortSet::from_iter([Port::tcp(4711)]));
        let four = PortSet::from_iter([4711, 80, 22, 50123].map(Port::tcp));
        assert_eq!(learned.top_ports(4), four, "equals in the general order: 50123 last");
        assert_eq!(learned.top_ports(3), PortSet::from_iter([4711, 80, 22].map(Port::tcp)));
        // 443 is the first of the general order that was not open here.
        assert!(learned.top_ports(5).contains(Port::tcp(443)));
        assert_eq!(learned.top_ports(70_000).count(), 65_535);
        assert_eq!((learned.hosts(), learned.ports()), (3, 4));
    }

    #[test]
    fn an_address_counts_a_port_once_however_often_it_was_scanned() {
        let learned = learned(&[("10.0.0.1", &[9999]), ("10.0.0.1", &[9999]), ("10.0.0.2", &[8]), ("10.0.0.3", &[8])]);
        assert_eq!(learned.top_ports(1), PortSet::from_iter([Port::tcp(8)]));
    }

    #[test]
    fn protocols_are_orders_of_their_own_and_nothing_learned_is_the_general_order() {
        let mut learned = LearnedPorts::default();
        assert!(learned.is_empty());
        assert_eq!(learned.top_ports(100), PortSet::top_ports(100));
        learned.add("10.0.0.1".parse().unwrap(), [Port::udp(4712)]);
        assert_eq!(learned.top_ports(100), PortSet::top_ports(100));
        assert_eq!(learned.top_udp_ports(1), PortSet::from_iter([Port::udp(4712)]));
        assert_eq!(learned.top_udp_ports(2), PortSet::from_iter([Port::udp(4712), Port::udp(53)]));
    }
}
