//! The networks by which paths and rates are told apart: hosts of one share the way to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A destination network: an IPv4 /24 or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

impl Network {
    /// The network of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_network_are_neighbours_in_its_last_byte_or_half() {
        let net = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(net("10.0.1.0"), net("10.0.1.255"));
        assert_ne!(net("10.0.1.0"), net("10.0.2.0"));
        assert_eq!(net("fd00::1"), net("fd00::ffff:0:0:1"));
        assert_ne!(net("fd00::1"), net("fd00:0:0:1::1"));
    }
}
