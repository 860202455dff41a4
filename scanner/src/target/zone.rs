//! Link-local IPv6 addresses with the interface that they are on (RFC 4007), such as `fe80::1%eth0`.
//!
//! The same link-local address is another host on every link, so a target has to say which. Inside, its interface's index
//! stands in the second 16 bits of the address, which are zero in every link-local address (RFC 4291 section 2.5.6), as in the
//! KAME stack: two zones are two ranges of one index space, and every set, gate and key tells them apart. Outside, in sockets and
//! reports, the address is clean and the zone beside it. An index means something on one machine only.
//!
//! The one place of `target` that asks the system: what an interface's name is, and what its number.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::{if_indextoname, if_nameindex, if_nametoindex};

use super::TargetProblem;
use super::parse::prefix;
use super::range::{RangeSet, Span};

/// `fe80::/10`.
pub(super) const LINK_LOCAL: Span<u128> = Span { first: 0xfe80 << 112, last: (0xfec0 << 112) - 1 };
/// Where the interface's index stands.
const SHIFT: u32 = 96;
const INDEX: u128 = 0xffff << SHIFT;
/// Interfaces that an error names.
const NAMED_MAX: usize = 8;

/// Whether these bits are a link-local address, with a zone or without.
pub(super) fn is_link_local(bits: u128) -> bool {
    (LINK_LOCAL.first..=LINK_LOCAL.last).contains(&bits)
}

/// The address of an interface's zone.
pub(super) fn in_zone(bits: u128, interface: u16) -> u128 {
    bits & !INDEX | u128::from(interface) << SHIFT
}

/// The interface of an address with a zone.
pub(super) fn interface_in(bits: u128) -> Option<u32> {
    let index = u32::try_from((bits & INDEX) >> SHIFT).unwrap_or_default();
    (is_link_local(bits) && index > 0).then_some(index)
}

/// A target whose addresses have zones: one, a range of one link, or a network within one.
pub(super) fn parse_zoned(token: &str) -> Result<Span<u128>, TargetProblem> {
    let (first, last) = ends(token);
    let (text, zone) = first.split_once('%').ok_or(TargetProblem::ZoneRange)?;
    let (zone, behind) = zone.split_once('/').map_or((zone, None), |(zone, length)| (zone, Some(length)));
    let (text, before) = text.split_once('/').map_or((text, None), |(text, length)| (text, Some(length)));
    let bits = |text: &str| {
        let address = text.parse::<Ipv6Addr>().map_err(|_malformed| TargetProblem::V6 { part: text.to_owned() })?;
        if is_link_local(address.to_bits()) { Ok(address.to_bits()) } else { Err(TargetProblem::Zone) }
    };
    let first = bits(text)?;
    let unknown = || TargetProblem::UnknownZone { zone: zone.to_owned(), known: interfaces() };
    let index = interface(zone).ok_or_else(unknown)?;
    let span = match (before.or(behind), last) {
        (None, None) => Span::single(first),
        (Some(length), None) => {
            let length = prefix(length, 128)?;
            if length < 64 {
                return Err(TargetProblem::ZoneRange);
            }
            let host_bits = u128::MAX.checked_shr(length).unwrap_or(0);
            Span { first: first & !host_bits, last: first | host_bits }
        }
        (None, Some(last)) => {
            let (text, other) = last.split_once('%').map_or((last, zone), |(text, other)| (text, other));
            if other != zone {
                return Err(TargetProblem::ZoneRange);
            }
            let last = bits(text)?;
            let span = Span::new(first, last).ok_or(TargetProblem::Backwards)?;
            // Above the last 64 bits nothing differs on one link.
            if first >> 64 != last >> 64 {
                return Err(TargetProblem::ZoneRange);
            }
            span
        }
        (Some(_), Some(_)) => return Err(TargetProblem::ZoneRange),
    };
    Ok(Span { first: in_zone(span.first, index), last: in_zone(span.last, index) })
}

/// The two ends of a range. An interface's name may have dashes in it, so the one between the ends is that with an address
/// behind it; where there is none, one with anything that is to be an address.
fn ends(token: &str) -> (&str, Option<&str>) {
    let is_address = |text: &str| text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    let mut dashes = token.match_indices('-').map(|(at, _)| (token.get(..at), token.get(at + 1..)));
    if let Some((Some(first), last)) = dashes.find(|(_, last)| last.is_some_and(is_address)) {
        return (first, last);
    }
    match token.split_once('-') {
        Some((first, last)) if last.contains(':') => (first, Some(last)),
        _ => (token, None),
    }
}

/// The index of an interface, by its name or number; `None` where there is none, or none that is below 65,536.
pub(super) fn interface(zone: &str) -> Option<u16> {
    let index = match zone.parse::<u32>() {
        Ok(number) => name_of(number).map(|_| number)?,
        Err(_) => if_nametoindex(zone).ok()?,
    };
    u16::try_from(index).ok().filter(|index| *index > 0)
}

/// The interfaces of this machine, for whoever named another: `eth0, wlan0`.
pub(super) fn interfaces() -> String {
    let Ok(all) = if_nameindex() else { return "none that can be listed".to_owned() };
    let mut names: Vec<String> = all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(", ...");
    }
    text
}

fn name_of(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}

/// Whether the addresses of a span have a zone; those of one span have the same.
pub(super) fn has_zone(span: Span<u128>) -> bool {
    interface_in(span.first).is_some()
}

/// What is to be left out, in every zone that `targets` have: a link-local address without a zone is left out on all links.
pub(super) fn in_every_zone(excluded: RangeSet<u128>, targets: &RangeSet<u128>) -> RangeSet<u128> {
    let zones: BTreeSet<u16> =
        targets.spans().iter().filter_map(|span| u16::try_from(interface_in(span.first)?).ok()).collect();
    let clean = Span { first: LINK_LOCAL.first, last: LINK_LOCAL.first | !(u128::MAX << SHIFT) };
    let everywhere = excluded.intersect(&RangeSet::from_spans(vec![clean]));
    if zones.is_empty() || everywhere.is_empty() {
        return excluded;
    }
    let of_zone = |zone: u16| {
        everywhere
            .spans()
            .iter()
            .map(move |span| Span { first: in_zone(span.first, zone), last: in_zone(span.last, zone) })
    };
    let mut spans = excluded.spans().to_vec();
    spans.extend(zones.into_iter().flat_map(of_zone));
    RangeSet::from_spans(spans)
}

/// An address without its zone.
#[must_use]
pub fn without_zone(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if interface_in(v6.to_bits()).is_some() => Ipv6Addr::from_bits(v6.to_bits() & !INDEX).into(),
        address => address,
    }
}

/// The zone of an address, as one writes it: the name of its interface, or its number where that is gone.
#[must_use]
pub fn zone_of(address: IpAddr) -> Option<String> {
    let IpAddr::V6(v6) = address else { return None };
    let index = interface_in(v6.to_bits())?;
    Some(name_of(index).unwrap_or_else(|| index.to_string()))
}

/// Where a socket reaches a port of an address: with the zone where it has one.
pub(crate) fn socket_address(address: IpAddr, port: u16) -> SocketAddr {
    let zone = match address {
        IpAddr::V6(v6) => interface_in(v6.to_bits()).map(|index| (v6, index)),
        IpAddr::V4(_) => None,
    };
    match zone {
        Some((v6, index)) => SocketAddrV6::new(Ipv6Addr::from_bits(v6.to_bits() & !INDEX), port, 0, index).into(),
        None => SocketAddr::new(address, port),
    }
}

/// The address that a socket tells of, with its zone where it has one; never an IPv4-mapped one.
pub(crate) fn of_socket(from: SocketAddr) -> IpAddr {
    match from {
        SocketAddr::V6(v6) if v6.scope_id() > 0 && is_link_local(v6.ip().to_bits()) => {
            let index = u16::try_from(v6.scope_id()).unwrap_or_default();
            Ipv6Addr::from_bits(in_zone(v6.ip().to_bits(), index)).into()
        }
        other => other.ip().to_canonical(),
    }
}

/// An address of an interface, with its zone where it is link-local.
pub(crate) fn on_interface(address: IpAddr, interface: u32) -> IpAddr {
    match (address, u16::try_from(interface)) {
        (IpAddr::V6(v6), Ok(index)) if is_link_local(v6.to_bits()) => {
            Ipv6Addr::from_bits(in_zone(v6.to_bits(), index)).into()
        }
        _ => address,
    }
}

/// An address as one writes it: `fe80::1%eth0` where it has a zone.
#[derive(Debug, Clone, Copy)]
pub struct Zoned(pub IpAddr);

impl fmt::Display for Zoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", without_zone(self.0))?;
        match zone_of(self.0) {
            Some(zone) => write!(f, "%{zone}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface is the first everywhere.
    const LO: u16 = 1;

    #[test]
    fn an_address_keeps_its_zone_into_a_socket_and_back() {
        let bits = "fe80::1:2".parse::<Ipv6Addr>().unwrap().to_bits();
        let zoned: IpAddr = Ipv6Addr::from_bits(in_zone(bits, LO)).into();
        let socket = socket_address(zoned, 22);
        assert!(matches!(socket, SocketAddr::V6(v6) if v6.scope_id() == 1 && v6.ip().to_bits() == bits), "{socket}");
        assert_eq!(of_socket(socket), zoned);
        assert_eq!(without_zone(zoned), "fe80::1:2".parse::<IpAddr>().unwrap());
        assert_eq!((Zoned(zoned).to_string(), zone_of(zoned).as_deref()), ("fe80::1:2%lo".to_owned(), Some("lo")));
        assert_eq!(on_interface("fe80::1:2".parse().unwrap(), 1), zoned);
        for plain in ["10.0.0.1", "fd00::1", "fe80::1"] {
            let address: IpAddr = plain.parse().unwrap();
            assert_eq!(
                (without_zone(address), zone_of(address), Zoned(address).to_string()),
                (address, None, plain.to_owned())
            );
            assert_eq!(of_socket(socket_address(address, 1)), address);
        }
        assert_eq!(of_socket("[::ffff:10.0.0.1]:5".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_range_on_an_interface_with_dashes_has_two_ends() {
        for (token, expected) in [
            ("fe80::5%br-x-fe80::8%br-x", ("fe80::5%br-x", Some("fe80::8%br-x"))),
            ("fe80::5%br-x-y-fe80::8", ("fe80::5%br-x-y", Some("fe80::8"))),
            ("fe80::5%br-x", ("fe80::5%br-x", None)),
            ("fe80::5%lo-fe80::8%lo", ("fe80::5%lo", Some("fe80::8%lo"))),
            ("fe80::5%lo-fe80:::8", ("fe80::5%lo", Some("fe80:::8"))),
        ] {
            assert_eq!(ends(token), expected, "{token}");
        }
    }

    #[test]
    fn a_zone_is_an_interface_of_this_machine_by_name_or_number() {
        assert_eq!((interface("lo"), interface("1")), (Some(LO), Some(LO)));
        for wrong in ["", "nosuch0", "0", "4294967295", "lo0x"] {
            assert_eq!(interface(wrong), None, "{wrong}");
        }
        assert!(interfaces().contains("lo"), "{}", interfaces());
    }
}
