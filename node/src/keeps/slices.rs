//! The slices of a standing scan: parts of its addresses, in their order, each about as large.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pentora_raft::state::SLICES_MAX;
use pentora_scanner::target::{AddressRange, TargetSet};

/// How many addresses a slice has at least, where there are so many.
const ADDRESSES_MIN: u64 = 256;

/// How many addresses each slice has; all of them together are the set's.
#[must_use]
pub(super) fn sizes(targets: &TargetSet) -> Vec<u64> {
    let count = targets.count();
    let slices = (count / ADDRESSES_MIN).clamp(1, SLICES_MAX as u64);
    let end = |slice: u64| u64::try_from(u128::from(count) * u128::from(slice) / u128::from(slices)).unwrap_or(count);
    (0..slices).map(|slice| end(slice + 1) - end(slice)).collect()
}

/// The addresses of one slice, as text that targets are parsed from; empty where there is no such slice.
#[must_use]
pub(super) fn text(targets: &TargetSet, sizes: &[u64], slice: u32) -> String {
    let Ok(slice) = usize::try_from(slice) else { return String::new() };
    let start: u64 = sizes.iter().take(slice).sum();
    let end = start + sizes.get(slice).copied().unwrap_or(0);
    let mut at = 0u64;
    let mut parts = Vec::new();
    for range in targets.ranges() {
        let (first, last) = (number(range.first), number(range.last));
        let length = u64::try_from(last - first).map_or(u64::MAX, |length| length.saturating_add(1));
        let (from, to) = (start.max(at), end.min(at.saturating_add(length)));
        if from < to {
            let lowest = first + u128::from(from - at);
            let cut = AddressRange {
                first: address(range.first, lowest),
                last: address(range.first, lowest + u128::from(to - from - 1)),
            };
            parts.push(cut.to_string());
        }
        at = at.saturating_add(length);
    }
    parts.join(",")
}

/// How many addresses of each slice are in a part of the targets.
#[must_use]
pub(super) fn counts(targets: &TargetSet, sizes: &[u64], part: &TargetSet) -> Vec<u64> {
    let mut counts = vec![0u64; sizes.len()];
    // The slice that is being counted, and the index behind its last address.
    let (mut slice, mut end) = (0, sizes.first().copied().unwrap_or(0));
    let mut inner = part.ranges().peekable();
    let mut at = 0u64;
    for range in targets.ranges() {
        let (first, last) = (number(range.first), number(range.last));
        let is_in = |inner: &AddressRange| {
            inner.first.is_ipv4() == range.first.is_ipv4() && (first..=last).contains(&number(inner.first))
        };
        let index = |bits: u128| at.saturating_add(u64::try_from(bits - first).unwrap_or(u64::MAX));
        // A part of merged ranges has none that reaches out of the range in which it begins.
        while let Some(inner) = inner.next_if(is_in) {
            let (mut from, to) = (index(number(inner.first)), index(number(inner.last).min(last)).saturating_add(1));
            while from < to {
                while end <= from && slice + 1 < sizes.len() {
                    slice += 1;
                    end = end.saturating_add(sizes.get(slice).copied().unwrap_or(0));
                }
                let until = if slice + 1 < sizes.len() { to.min(end) } else { to };
                if let Some(count) = counts.get_mut(slice) {
                    *count = count.saturating_add(until - from);
                }
                from = until;
            }
        }
        at = index(last).saturating_add(1);
    }
    counts
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with this number, of the family of `like`.
fn address(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use super::text as text_of;

    fn set(text: &str) -> TargetSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_large_network_is_cut_into_networks_and_a_small_one_not_at_all() {
        let eight = set("10.0.0.0/8");
        let sizes_of_eight = sizes(&eight);
        assert_eq!((sizes_of_eight.len(), sizes_of_eight[9]), (256, 65_536));
        assert_eq!(text(&eight, &sizes_of_eight, 0), "10.0.0.0/16");
        assert_eq!(text(&eight, &sizes_of_eight, 255), "10.255.0.0/16");
        assert_eq!(text(&eight, &sizes_of_eight, 256), "");
        assert_eq!(sizes(&set("10.0.0.0/24")), [256]);
        assert_eq!(sizes(&set("10.0.0.1")), [1]);
    }

    proptest! {
        #[test]
        fn slices_are_disjoint_and_make_up_the_whole(
            parts in prop::collection::vec((0u32..1 << 14, 0u32..700), 1..9),
            six in prop::option::of(1u128..600),
        ) {
            let ranges = parts.iter().map(|(first, length)| {
                let first = Ipv4Addr::from_bits(0x0a00_0000 + first);
                format!("{first}-{}", Ipv4Addr::from_bits(first.to_bits() + length))
            });
            let six = six.map(|length| format!("fd00::1-{}", Ipv6Addr::from_bits((0xfd << 120) + length)));
            let targets = set(&ranges.chain(six).collect::<Vec<_>>().join(","));
            let sizes = sizes(&targets);
            prop_assert_eq!(sizes.iter().sum::<u64>(), targets.count());
            let mut together = TargetSet::builder();
            for (slice, size) in (0..).zip(&sizes) {
                let part = set(&text(&targets, &sizes, slice));
                prop_assert_eq!(part.count(), *size);
                together.add_set(&part);
            }
            prop_assert_eq!(together.build().unwrap().to_string(), targets.to_string());
        }

        #[test]
        fn a_part_is_counted_by_slice_as_one_that_looks_at_each_slice_counts_it(
            parts in prop::collection::vec((0u32..1 << 13, 0u32..700), 1..7),
            gone in prop::collection::vec((0u32..1 << 13, 0u32..900), 0..7),
            six in prop::option::of(1u128..600),
        ) {
            let text = |parts: &[(u32, u32)]| {
                let ranges = parts.iter().map(|(first, length)| {
                    let first = Ipv4Addr::from_bits(0x0a00_0000 + first);
                    format!("{first}-{}", Ipv4Addr::from_bits(first.to_bits() + length))
                });
                ranges.collect::<Vec<_>>()
            };
            let six = six.map(|length| format!("fd00::1-{}", Ipv6Addr::from_bits((0xfd << 120) + length)));
            let targets = set(&text(&parts).into_iter().chain(six).collect::<Vec<_>>().join(","));
            let gone = text(&gone).iter().chain([&"fd00::9-fd00::30".to_owned()]).cloned().collect::<Vec<_>>();
            let left = targets.exclude(&set(&gone.join(",")));
            let sizes = sizes(&targets);
            let expected: Vec<u64> = (0..).zip(&sizes).map(|(slice, _)| {
                let slice = set(&text_of(&targets, &sizes, slice));
                slice.count() - slice.exclude(&left).count()
            }).collect();
            prop_assert_eq!(counts(&targets, &sizes, &left), expected);
        }
    }
}
