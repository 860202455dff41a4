//! ARP for IPv4 over Ethernet (RFC 826): who has this address, and who said so.

use super::{read16, read32};

/// Bytes of a packet.
pub const ARP_BYTES: usize = 28;
/// A hardware address.
pub type Mac = [u8; 6];

/// Hardware type 1 (Ethernet), protocol 0x0800 (IPv4), address lengths six and four.
const HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// A request for the hardware address of `wanted`.
#[must_use]
pub fn request(own: Mac, from: u32, wanted: u32) -> [u8; ARP_BYTES] {
    let mut bytes = [0; ARP_BYTES];
    let parts = HEAD.into_iter().chain([0, 1]).chain(own).chain(from.to_be_bytes());
    let all = parts.chain([0; 6]).chain(wanted.to_be_bytes());
    bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
    bytes
}

/// Who tells their hardware address, and which it is: in a reply, or in a request for their own address, by which a machine tells all
/// that it has moved (RFC 5227 section 3). Nothing for any other packet.
#[must_use]
pub fn reply(bytes: &[u8]) -> Option<(u32, Mac)> {
    if !bytes.starts_with(&HEAD) || bytes.len() < ARP_BYTES {
        return None;
    }
    let is_told = read16(bytes, 6)? == 2 || (read16(bytes, 6)? == 1 && bytes.get(14..18) == bytes.get(24..28));
    if !is_told {
        return None;
    }
    let mac: Mac = bytes.get(8..14)?.try_into().ok()?;
    // A group address cannot be a host's own.
    let is_group = mac.first().is_some_and(|first| first & 1 == 1);
    (!is_group).then_some((read32(bytes, 14)?, mac))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_is_read_and_a_request_is_none() {
        let mut bytes = request([2, 0, 0, 0, 0, 1], 0x0a00_0001, 0x0a00_0002);
        assert_eq!(reply(&bytes), None);
        bytes[7] = 2;
        assert_eq!(reply(&bytes), Some((0x0a00_0001, [2, 0, 0, 0, 0, 1])));
        let moved = request([2, 0, 0, 0, 0, 7], 0x0a00_0003, 0x0a00_0003);
        assert_eq!(reply(&moved), Some((0x0a00_0003, [2, 0, 0, 0, 0, 7])), "a request for one's own address");
        bytes[8] = 0xff;
        assert_eq!(reply(&bytes), None, "broadcast");
        assert_eq!(bytes[24..], [10, 0, 0, 2]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0..64_usize) {
            let _ = reply(&bytes);
            let mut like = HEAD.to_vec();
            like.extend([0, 2]);
            like.extend(&bytes);
            like.truncate(cut);
            prop_assert!(reply(&like).is_none() || like.len() >= ARP_BYTES);
        }
    }
}
