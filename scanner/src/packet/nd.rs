//! Neighbour discovery for IPv6 over Ethernet (RFC 4861): who has this address, and who said so.

use std::net::Ipv6Addr;

use super::arp::Mac;
use super::checksum::{fold, sum, sum_address};

/// Bytes of a solicitation: a header, the message, and one option.
pub const SOLICITATION_BYTES: usize = 72;
/// Protocol number, hop limit and types.
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The option that holds the hardware address of the target.
const TARGET_ADDRESS: u8 = 2;

/// The group that a solicitation for an address goes to (RFC 4291 section 2.7.1), and its hardware address (RFC 2464
/// section 7).
#[must_use]
pub fn group(wanted: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., a, b, c] = wanted.octets();
    (Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]), [0x33, 0x33, 0xff, a, b, c])
}

/// A solicitation of the hardware address of `wanted`, from the IPv6 header on.
#[must_use]
pub fn solicitation(own: Mac, from: Ipv6Addr, wanted: Ipv6Addr) -> [u8; SOLICITATION_BYTES] {
    let to = group(wanted).0;
    let head = [0x60, 0, 0, 0, 0, 32, ICMPV6, HOP_LIMIT].into_iter().chain(from.octets()).chain(to.octets());
    let message = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0].into_iter().chain(wanted.octets());
    // One option of eight bytes: the hardware address of the one who asks.
    let all = head.chain(message).chain([1, 1]).chain(own);
    let mut bytes = [0; SOLICITATION_BYTES];
    bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
    let pseudo = sum_address(from.into()) + sum_address(to.into()) + u32::from(ICMPV6) + 32;
    let checksum = fold(pseudo + sum(bytes.get(40..).unwrap_or_default())).to_be_bytes();
    bytes.iter_mut().skip(42).zip(checksum).for_each(|(byte, value)| *byte = value);
    bytes
}

/// Who advertises, and their hardware address; nothing for any other packet.
#[must_use]
pub fn advertisement(bytes: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?));
    let length = u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let message = bytes.get(40..40 + usize::from(length))?;
    // From farther away than this link it would have another hop limit (RFC 4861 section 7.1.2).
    let is_near = *bytes.first()? >> 4 == 6 && *bytes.get(6)? == ICMPV6 && *bytes.get(7)? == HOP_LIMIT;
    if !is_near || *message.first()? != ADVERTISEMENT || *message.get(1)? != 0 {
        return None;
    }
    let pseudo = sum_address(address(8)?.into()) + sum_address(address(24)?.into());
    if fold(pseudo + u32::from(ICMPV6) + u32::from(length) + sum(message)) != 0 {
        return None;
    }
    let target = address(48)?;
    let mut options = message.get(24..)?;
    while let [kind, eights, ..] = *options {
        if eights == 0 {
            return None;
        }
        if kind == TARGET_ADDRESS {
            let mac: Mac = options.get(2..8)?.try_into().ok()?;
            // A group cannot be a host's own.
            let is_group = mac.first().is_some_and(|first| first & 1 == 1) || target.is_multicast();
            return (!is_group).then_some((target, mac));
        }
        options = options.get(8 * usize::from(eights)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];

    /// What a neighbour answers to a solicitation: made of it, with the checksum taken anew.
    fn answer(target: Ipv6Addr) -> Vec<u8> {
        let mut bytes = solicitation(OWN, target, target).to_vec();
        bytes[40] = ADVERTISEMENT;
        bytes[44] = 0x60;
        bytes[64] = TARGET_ADDRESS;
        bytes[42..44].fill(0);
        let to = group(target).0;
        let pseudo = sum_address(target.into()) + sum_address(to.into()) + u32::from(ICMPV6) + 32;
        let checksum = fold(pseudo + sum(&bytes[40..]));
        bytes[42..44].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    #[test]
    fn an_advertisement_is_read_and_nothing_else_is() {
        let target = "fd00::12:3456".parse().unwrap();
        let bytes = answer(target);
        assert_eq!(advertisement(&bytes), Some((target, OWN)));
        assert_eq!(advertisement(&solicitation(OWN, target, target)), None);
        for at in [7, 41, 43, 50, 66] {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert_eq!(advertisement(&bent), None, "byte {at}");
        }
        assert_eq!(group(target).0.to_string(), "ff02::1:ff12:3456");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(cut in 0..80_usize, at in 0..72_usize, byte: u8, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = advertisement(&bytes);
            let mut like = answer("fd00::1".parse().unwrap());
            like[at] = byte;
            like.truncate(cut);
            let _ = advertisement(&like);
        }
    }
}
