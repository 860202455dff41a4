//! IPv6 networks on a link of this machine: too large to ask address by address, and small enough to ask who is there.
//!
//! `fe80::/64%eth0`, or the network that is routed to `eth0` without a router, has 2^64 addresses and a handful of hosts, which
//! one request to all nodes of the link brings to answer (RFC 4291 section 2.7.1). Such ranges are taken out of the targets
//! here; who answers is found in `io::all_nodes` and put in their place.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::range::Span;
use super::zone::{LINK_LOCAL, in_zone, interface_in};
use super::{AddressRange, TargetSet, TargetSetBuilder, on_interface};

/// Ranges with fewer addresses are asked address by address, as wide ones of IPv4 are.
const LINK_MIN: u64 = 1 << 32;

/// A network that is reached over an interface, with no router before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The network.
    pub network: Ipv6Net,
    /// The interface's index.
    pub interface: u32,
}

/// A range of targets that lies on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRange {
    /// The addresses, with their zone where they are link-local.
    pub range: AddressRange,
    /// The index of the link's interface.
    pub interface: u32,
}

impl TargetSetBuilder {
    /// Takes the ranges out that have more addresses than anybody asks one by one and lie on one link, each once; `attached`
    /// tells the networks on links, and is asked only where there is such a range.
    pub fn take_links(&mut self, attached: impl FnOnce() -> Vec<Attached>) -> Vec<LinkRange> {
        let is_wide = |span: &Span<u128>| span.count().is_none_or(|count| count >= LINK_MIN);
        if !self.v6.iter().any(is_wide) {
            return Vec::new();
        }
        let (attached, mut links) = (attached(), Vec::new());
        self.v6.retain(|span| {
            let Some(link) = Some(*span).filter(is_wide).and_then(|span| of_span(span, &attached)) else { return true };
            if !links.contains(&link) {
                links.push(link);
            }
            false
        });
        links
    }
}

/// The range of a span that lies on one link.
fn of_span(span: Span<u128>, attached: &[Attached]) -> Option<LinkRange> {
    let [first, last] = [span.first, span.last].map(Ipv6Addr::from_bits);
    let holds = |one: &&Attached| one.network.contains(&first) && one.network.contains(&last);
    let interface = match interface_in(span.first) {
        Some(interface) => (interface_in(span.last) == Some(interface)).then_some(interface),
        None => attached.iter().filter(holds).max_by_key(|one| one.network.prefix_len()).map(|one| one.interface),
    }?;
    Some(LinkRange { range: AddressRange { first: first.into(), last: last.into() }, interface })
}

impl LinkRange {
    /// The targets that it stands for.
    #[must_use]
    pub fn targets(&self) -> TargetSet {
        set_of(span_of(self.range).into_iter().collect())
    }

    /// Everybody whom a request to all nodes of the link reaches: the range, the link's other networks, and its link-local addresses.
    #[must_use]
    pub fn reached(&self, attached: &[Attached]) -> TargetSet {
        let networks = attached.iter().filter(|one| one.interface == self.interface);
        let networks = networks.map(|one| (one.network.network(), one.network.broadcast()));
        let mut spans: Vec<Span<u128>> =
            networks.map(|(first, last)| Span { first: first.to_bits(), last: last.to_bits() }).collect();
        spans.extend(span_of(self.range));
        if let Ok(interface) = u16::try_from(self.interface) {
            let last = LINK_LOCAL.first | u128::from(u64::MAX);
            spans.push(Span { first: in_zone(LINK_LOCAL.first, interface), last: in_zone(last, interface) });
        }
        set_of(spans)
    }

    /// The address, with its zone where it is link-local, if it is in the range.
    pub(crate) fn with(&self, address: IpAddr) -> Option<IpAddr> {
        let address = on_interface(address, self.interface);
        (self.range.first <= address && address <= self.range.last).then_some(address)
    }
}

impl fmt::Display for LinkRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.fmt(f)
    }
}

fn span_of(range: AddressRange) -> Option<Span<u128>> {
    match (range.first, range.last) {
        (IpAddr::V6(first), IpAddr::V6(last)) => Span::new(first.to_bits(), last.to_bits()),
        _ => None,
    }
}

fn set_of(v6: Vec<Span<u128>>) -> TargetSet {
    let builder = TargetSetBuilder { v6, ..TargetSetBuilder::default() };
    builder.build_uncounted().expect("a handful of ranges is fewer than a set may hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached() -> Vec<Attached> {
        [("fd00:1::/64", 7), ("fd00:1::/48", 8)].map(|(network, interface)| attached_to(network, interface)).to_vec()
    }

    fn attached_to(network: &str, interface: u32) -> Attached {
        Attached { network: network.parse().unwrap(), interface }
    }

    fn taken(text: &str) -> (Vec<(String, u32)>, String) {
        let mut builder = TargetSet::builder();
        builder.add_text(text, "test").unwrap();
        let links = builder.take_links(attached);
        let links = links.iter().map(|link| (link.to_string(), link.interface)).collect();
        (links, builder.build_uncounted().unwrap().to_string())
    }

    #[test]
    fn a_wide_range_on_one_link_is_taken_out_once_and_all_else_stays() {
        let link = |text: &str, interface| (text.to_owned(), interface);
        let (links, left) = taken("fd00:1::/64,10.0.0.1,fd00:1::/64,fd00:2::/64,fd00:1::5,web.example");
        assert_eq!(links, [link("fd00:1::/64", 7)]);
        assert_eq!(left, "10.0.0.1,fd00:1::5,fd00:2::/64,web.example", "no link of this machine has fd00:2::/64");
        assert_eq!(taken("fe80::/64%lo").0, [link("fe80::%lo/64", 1)]);
        assert_eq!(taken("fe80::%lo/64,fd00:1:0:9::/64").0, [link("fe80::%lo/64", 1), link("fd00:1:0:9::/64", 8)]);
        assert_eq!(taken("fd00:1::/96").0.len(), 1);
        for stays in ["fd00:1::/97", "fd00::/16", "::/0", "fd00:1::1", "10.0.0.0/8", "fd00:1::-fd00:2::"] {
            assert!(taken(stays).0.is_empty(), "{stays}");
        }
    }

    #[test]
    fn links_are_only_looked_at_where_a_range_is_wide() {
        let mut builder = TargetSet::builder();
        builder.add_text("10.0.0.0/8,fd00:1::/112", "test").unwrap();
        assert!(builder.take_links(|| panic!("there is none")).is_empty());
    }

    #[test]
    fn a_request_to_all_nodes_reaches_every_network_of_the_link() {
        let mut builder = TargetSet::builder();
        builder.add_text("fd00:1::/64", "test").unwrap();
        let [link] = builder.take_links(|| vec![attached_to("fd00:1::/64", 1)]).try_into().unwrap();
        let reached = link.reached(&[attached_to("fd00:5::/64", 1), attached_to("fd00:6::/64", 2)]);
        assert_eq!(reached.to_string(), "fd00:1::/64,fd00:5::/64,fe80::%lo/64");
        assert_eq!(link.targets().to_string(), "fd00:1::/64");
        let with = |text: &str| link.with(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!((with("fd00:1::9").as_deref(), with("fd00:2::9"), with("fe80::9")), (Some("fd00:1::9"), None, None));
    }
}
