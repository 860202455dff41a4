//! The header of a packet of either family, and what follows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{read16, read32};

/// Extension headers that are walked over: more than any honest packet has.
const EXTENSIONS_MAX: usize = 8;
/// Numbers of extension headers (RFC 8200 section 4, RFC 4302).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// A packet as far as its network header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ip<'a> {
    /// What the payload is.
    pub(super) protocol: u8,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) payload: &'a [u8],
}

/// Reads a packet that begins with its network header. Later fragments, which say nothing, are none; the payload may
/// be cut short.
pub(super) fn parse(bytes: &[u8]) -> Option<Ip<'_>> {
    match *bytes.first()? >> 4 {
        4 => parse_v4(bytes),
        6 => parse_v6(bytes),
        _ => None,
    }
}

fn parse_v4(bytes: &[u8]) -> Option<Ip<'_>> {
    let header = usize::from(*bytes.first()? & 0x0f) * 4;
    let is_first_fragment = read16(bytes, 6)? & 0x1fff == 0;
    if header < 20 || !is_first_fragment {
        return None;
    }
    Some(Ip {
        protocol: *bytes.get(9)?,
        ttl: *bytes.get(8)?,
        source: Ipv4Addr::from_bits(read32(bytes, 12)?).into(),
        destination: Ipv4Addr::from_bits(read32(bytes, 16)?).into(),
        payload: bytes.get(header..)?,
    })
}

fn parse_v6(bytes: &[u8]) -> Option<Ip<'_>> {
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?).into());
    let (mut protocol, mut at) = (*bytes.get(6)?, 40);
    for _ in 0..EXTENSIONS_MAX {
        // In eights of bytes after the first eight, but for an authentication header in fours after eight.
        let length = || bytes.get(at + 1).copied().map(usize::from);
        let skipped = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 + 8 * length()?,
            AUTHENTICATION => 8 + 4 * length()?,
            FRAGMENT if read16(bytes, at + 2)? >> 3 == 0 => 8,
            FRAGMENT => return None,
            _ => {
                let (source, destination) = (address(8)?, address(24)?);
                let (ttl, payload) = (*bytes.get(7)?, bytes.get(at..)?);
                return Some(Ip { protocol, ttl, source, destination, payload });
            }
        };
        protocol = *bytes.get(at)?;
        at += skipped;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An IPv6 packet with these extension headers, eight bytes each, before TCP.
    fn with_extensions(kinds: &[u8]) -> Vec<u8> {
        let mut next = kinds.iter().copied().chain([6]);
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next.next().unwrap(), 57];
        bytes.extend([0xfd; 32]);
        next.for_each(|next| bytes.extend([next, 0, 0, 0, 0, 0, 0, 0]));
        bytes.push(0x77);
        bytes
    }

    #[test]
    fn extension_headers_are_walked_over_up_to_a_bound() {
        for kinds in [&[][..], &[DESTINATION], &[FRAGMENT, ROUTING, HOP_BY_HOP], &[AUTHENTICATION, HOP_BY_HOP]] {
            let bytes = with_extensions(kinds);
            let ip = parse(&bytes).unwrap();
            assert_eq!((ip.protocol, ip.ttl, ip.payload), (6, 57, &[0x77][..]), "{kinds:?}");
        }
        assert_eq!(parse(&with_extensions(&[DESTINATION; EXTENSIONS_MAX])), None);
        let mut later = with_extensions(&[FRAGMENT]);
        later[43] = 8;
        assert_eq!(parse(&later), None, "a later fragment");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..8_u8) {
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            let _ = parse(&bytes);
        }
    }
}
