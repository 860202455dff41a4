//! Which networks are on this machine's own links, and how many neighbours its kernel remembers.
//!
//! Read from `/proc/net`, which is the view of the process's own network namespace. Only the main routing table is
//! there; a link that is routed by other tables is treated as if it were behind a router.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the kernel keeps unless told otherwise.
const ENTRIES_DEFAULT: usize = 1024;
/// Entries left to everything else on this machine.
const ENTRIES_RESERVE: usize = 256;
/// Most links that are kept: routers with more are not where one scans from.
const LINKS_MAX: usize = 1024;
/// `RTF_GATEWAY` and `RTF_REJECT` of linux/route.h: behind a router, or nowhere.
const NOT_ON_LINK: u32 = 0x0002 | 0x0200;

/// The networks on this machine's links, as its routes are now.
pub(crate) fn on_links() -> Vec<IpNet> {
    let mut links = read("/proc/net/route", on_link_v4);
    links.extend(read("/proc/net/ipv6_route", on_link_v6));
    links
}

/// How many neighbours scans may make the kernel remember at once, per address family.
pub(crate) fn entries_max() -> usize {
    // The file is only there in the first network namespace; the limit holds in all of them.
    let limit = std::fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
    let entries = limit.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(ENTRIES_DEFAULT);
    entries.saturating_sub(ENTRIES_RESERVE).max(entries / 2)
}

fn read(path: &str, on_link: fn(&str) -> Option<IpNet>) -> Vec<IpNet> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.filter_map(|line| on_link(&line)).take(LINKS_MAX).collect()
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, 3 counters, mask, in hexadecimal as the
/// machine stores them.
fn on_link_v4(line: &str) -> Option<IpNet> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[interface, destination, _, flags, _, _, _, mask, ..] = fields.as_slice() else { return None };
    let address = |hex| u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let net = Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?;
    (interface != "lo" && flags & NOT_ON_LINK == 0).then_some(net.into())
}

/// A line of `/proc/net/ipv6_route`: destination, length, source, length, next hop, 3 counters, flags, interface.
fn on_link_v6(line: &str) -> Option<IpNet> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[destination, length, _, _, _, _, _, _, flags, interface] = fields.as_slice() else { return None };
    let address = Ipv6Addr::from(u128::from_str_radix(destination, 16).ok()?);
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let net = Ipv6Net::new(address, u8::from_str_radix(length, 16).ok()?).ok()?;
    (interface != "lo" && flags & NOT_ON_LINK == 0 && !address.is_multicast()).then_some(net.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_on_a_link_are_told_from_those_behind_a_router() {
        let line = |text| on_link_v4(text).map(|net| net.to_string());
        assert_eq!(line("eth0\t00000A0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"), Some("10.10.0.0/16".to_owned()));
        assert_eq!(line("eth0\t00000000\t01000A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0"), None, "a default route");
        assert_eq!(line("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"), None);
        assert_eq!(line("eth0\t00000A0A"), None);
    }

    #[test]
    fn ipv6_routes_on_a_link_are_told_from_others() {
        let line = |destination: &str, flags: &str, interface: &str| {
            let none = "00000000000000000000000000000000";
            let text = format!("{destination} 40 {none} 00 {none} 00000100 00000001 00000000 {flags} {interface}");
            on_link_v6(&text).map(|net| net.to_string())
        };
        assert_eq!(line("fd770000000000000000000000000000", "00000001", "eth0"), Some("fd77::/64".to_owned()));
        assert_eq!(line("fd770000000000000000000000000000", "00000003", "eth0"), None);
        assert_eq!(line("fd770000000000000000000000000000", "80200001", "lo"), None);
        assert_eq!(line("ff000000000000000000000000000000", "00000001", "eth0"), None);
        assert_eq!(on_link_v6("nonsense"), None);
    }
}
