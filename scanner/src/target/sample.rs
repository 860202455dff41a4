//! A sample of an IPv6 network: nobody asks 2^64 addresses, but some of them say whether anybody is there.
//!
//! Half of a sample are the lowest addresses, which administrators and DHCPv6 servers give out first (RFC 7707 section 4.1.1);
//! the other half is drawn at random, the same for the same seed.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use super::range::Span;
use super::{AddressRange, TargetSetBuilder};

impl TargetSetBuilder {
    /// Puts a sample of `per_network` addresses in place of each IPv6 network and range that was added and holds more, and
    /// answers which those were.
    pub fn sample(&mut self, per_network: u32, seed: u64) -> Vec<AddressRange> {
        let (mut sampled, mut spans) = (Vec::new(), Vec::new());
        for span in std::mem::take(&mut self.v6) {
            if span.count().is_some_and(|count| count <= per_network.into()) {
                spans.push(span);
                continue;
            }
            let [first, last] = [span.first, span.last].map(|bits| Ipv6Addr::from_bits(bits).into());
            sampled.push(AddressRange { first, last });
            spans.extend(of_span(span, per_network.into(), seed));
        }
        self.v6 = spans;
        sampled
    }
}

/// `count` addresses of a span that has more.
fn of_span(span: Span<u128>, count: u64, seed: u64) -> impl Iterator<Item = Span<u128>> {
    // The lowest address of a network is its routers' (RFC 4291 section 2.6.1).
    let low = count.div_ceil(2);
    let lowest = Span { first: span.first + 1, last: span.first + u128::from(low) };
    let mut chosen: BTreeSet<u128> = BTreeSet::new();
    let mut state = seed ^ fold(span.first);
    // As many as are left: there are more addresses than are wanted in all.
    let room = span.last - lowest.last;
    while (chosen.len() as u64) < count - low && u128::from(chosen.len() as u64) < room {
        let drawn = u128::from(next(&mut state)) << 64 | u128::from(next(&mut state));
        chosen.insert(lowest.last + 1 + drawn % room);
    }
    std::iter::once(lowest).chain(chosen.into_iter().map(Span::single))
}

fn fold(bits: u128) -> u64 {
    let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(u64::MAX));
    high.rotate_left(32) ^ low
}

/// The next number of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use crate::target::TargetSet;

    fn sampled(text: &str, per_network: u32, seed: u64) -> (TargetSet, Vec<String>) {
        let mut builder = TargetSet::builder();
        builder.add_text(text, "test").unwrap();
        let networks = builder.sample(per_network, seed).iter().map(ToString::to_string).collect();
        (builder.build().unwrap(), networks)
    }

    #[test]
    fn a_large_network_gives_as_many_addresses_as_are_wanted_the_lowest_and_others() {
        let (targets, networks) = sampled("2001:db8::/64,10.0.0.0/8,fd00::1-fd00::3,2001:db8:0:1::/64", 100, 7);
        assert_eq!(networks, ["2001:db8::/64", "2001:db8:0:1::/64"]);
        assert_eq!(targets.count(), (1 << 24) + 3 + 200);
        for address in ["2001:db8::1", "2001:db8::32", "2001:db8:0:1::1", "fd00::2"] {
            assert!(targets.contains(address.parse().unwrap()), "{address}");
        }
        assert!(!targets.contains("2001:db8::33".parse().unwrap()) && !targets.contains("2001:db8::".parse().unwrap()));
        assert_eq!(sampled("2001:db8::/64", 100, 7), sampled("2001:db8::/64", 100, 7));
        assert_ne!(sampled("2001:db8::/64", 100, 7).0, sampled("2001:db8::/64", 100, 8).0);
    }

    #[test]
    fn a_sample_stays_in_its_network_whatever_its_size() {
        for (network, per_network) in [
            ("fd00::/126", 1),
            ("fd00::/126", 2),
            ("fd00::/126", 3),
            ("::/0", 9),
            ("fd00::/120", 255),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", 1),
        ] {
            let (targets, networks) = sampled(network, per_network, 3);
            assert_eq!((networks.len(), targets.count()), (1, per_network.into()), "{network} {per_network}");
            let whole: ipnet::IpNet = network.parse().unwrap();
            for range in targets.ranges() {
                assert!(whole.contains(&range.first) && whole.contains(&range.last), "{range} of {network}");
            }
        }
        assert_eq!(sampled("fd00::/120", 256, 3).0.count(), 256, "one that is not larger is scanned whole");
    }
}
