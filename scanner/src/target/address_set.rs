//! Sets of IPv4 and IPv6 addresses: what scopes, exclusions and target sets are made of.
//!
//! An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`, RFC 4291 section 2.5.5.2) is the IPv4 address in it: the kernel
//! sends IPv4 packets for it, so leaving it an IPv6 address would let it slip past IPv4 exclusions.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::range::{RangeSet, Span};
use super::zone::Zoned;

/// `::ffff:0:0/96`, the IPv4-mapped block.
const MAPPED: Span<u128> = Span { first: 0xffff_0000_0000, last: 0xffff_ffff_ffff };

/// The addresses from `first` to `last`, both included and of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address, of the same family.
    pub last: IpAddr,
}

impl fmt::Display for AddressRange {
    /// One address as itself, a whole network as a prefix, anything else as `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last, bits) = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (u128::from(first.to_bits()), u128::from(last.to_bits()), 32),
            (first, last) => (number_of(first), number_of(last), 128),
        };
        let free = first ^ last;
        let is_network = free & free.wrapping_add(1) == 0 && first & free == 0;
        match is_network {
            true if free == 0 => write!(f, "{}", Zoned(self.first)),
            true => write!(f, "{}/{}", Zoned(self.first), bits - free.count_ones()),
            false => write!(f, "{}-{}", Zoned(self.first), Zoned(self.last)),
        }
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A set of addresses as sorted, merged ranges, IPv4 before IPv6.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AddressSet {
    pub(crate) v4: RangeSet<u32>,
    pub(crate) v6: RangeSet<u128>,
}

impl AddressSet {
    /// Merges spans given in any order; IPv4-mapped parts of IPv6 spans become IPv4.
    pub(crate) fn from_spans(mut v4: Vec<Span<u32>>, v6: Vec<Span<u128>>) -> Self {
        let mut v6 = RangeSet::from_spans(v6);
        let mapped = RangeSet::from_spans(vec![MAPPED]);
        let inside = v6.intersect(&mapped);
        if !inside.is_empty() {
            v4.extend(
                inside.spans().iter().map(|span| Span { first: low_bits(span.first), last: low_bits(span.last) }),
            );
            v6 = v6.subtract(&mapped);
        }
        Self { v4: RangeSet::from_spans(v4), v6 }
    }

    pub(crate) fn from_nets(nets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(Span { first: net.network().to_bits(), last: net.broadcast().to_bits() }),
                IpNet::V6(net) => v6.push(Span { first: net.network().to_bits(), last: net.broadcast().to_bits() }),
            }
        }
        Self::from_spans(v4, v6)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    pub(crate) fn subtract(&self, other: &Self) -> Self {
        Self { v4: self.v4.subtract(&other.v4), v6: self.v6.subtract(&other.v6) }
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        Self { v4: self.v4.intersect(&other.v4), v6: self.v6.intersect(&other.v6) }
    }
}

/// The ranges of both families, IPv4 first.
pub(crate) fn ranges<'a>(v4: &'a RangeSet<u32>, v6: &'a RangeSet<u128>) -> impl Iterator<Item = AddressRange> + 'a {
    v4.spans().iter().map(|span| range4(*span)).chain(v6.spans().iter().map(|span| range6(*span)))
}

pub(crate) fn range4(span: Span<u32>) -> AddressRange {
    AddressRange { first: Ipv4Addr::from_bits(span.first).into(), last: Ipv4Addr::from_bits(span.last).into() }
}

pub(crate) fn range6(span: Span<u128>) -> AddressRange {
    AddressRange { first: Ipv6Addr::from_bits(span.first).into(), last: Ipv6Addr::from_bits(span.last).into() }
}

/// The IPv4 address inside an IPv4-mapped one.
fn low_bits(mapped: u128) -> u32 {
    u32::try_from(mapped & u128::from(u32::MAX)).expect("masked to 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address_in_it() {
        let set = AddressSet::from_nets(&["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert!(set.contains("10.1.2.3".parse().unwrap()));
        assert!(set.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(set.v6.is_empty());
    }

    #[test]
    fn a_range_around_the_mapped_block_keeps_its_ipv6_sides() {
        let set = AddressSet::from_spans(vec![], vec![Span { first: MAPPED.first - 1, last: MAPPED.first + 1 }]);
        assert_eq!(
            ranges(&set.v4, &set.v6).map(|range| range.to_string()).collect::<Vec<_>>(),
            ["0.0.0.0/31", "::fffe:ffff:ffff"]
        );
    }

    #[test]
    fn ranges_print_as_address_prefix_or_pair() {
        let print = |first: &str, last: &str| {
            AddressRange { first: first.parse().unwrap(), last: last.parse().unwrap() }.to_string()
        };
        assert_eq!(print("10.0.0.1", "10.0.0.1"), "10.0.0.1");
        assert_eq!(print("10.0.0.0", "10.255.255.255"), "10.0.0.0/8");
        assert_eq!(print("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(print("10.0.0.1", "10.0.0.2"), "10.0.0.1-10.0.0.2");
        assert_eq!(print("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
        assert_eq!(print("2001:db8::", "2001:db8::ffff"), "2001:db8::/112");
    }
}
