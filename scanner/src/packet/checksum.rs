//! The Internet checksum (RFC 1071), in parts: sums of pieces can be added before they are folded.
//!
//! That is what makes a template cheap: the sum of all that never changes is taken once (RFC 1624 for the idea).

use std::net::IpAddr;

/// The sum of a piece as 16-bit words in network order; an odd last byte counts as if a zero followed.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    words.fold(0, u32::wrapping_add)
}

/// The sum of a 32-bit number as two words.
#[must_use]
pub fn sum32(number: u32) -> u32 {
    (number >> 16) + (number & 0xffff)
}

/// The sum of an address as words.
#[must_use]
pub fn sum_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => sum32(address.to_bits()),
        IpAddr::V6(address) => address.segments().into_iter().map(u32::from).sum(),
    }
}

/// The checksum of a sum: carries brought around, then inverted.
#[must_use]
pub fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "two words and a carry, folded twice, are one word")]
    let word = twice as u16;
    !word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_as_it_says() {
        // Section 3: 0001 f203 f4f5 f6f7 sum to ddf2 with the carries brought around.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), !0xddf2);
    }

    proptest! {
        #[test]
        fn a_sum_of_parts_is_the_sum_of_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..1500), at: u16) {
            let at = usize::from(at) % (bytes.len() / 2 + 1) * 2;
            prop_assert_eq!(fold(sum(&bytes)), fold(sum(&bytes[..at]) + sum(&bytes[at..])));
        }

        #[test]
        fn an_address_sums_as_its_bytes_do(address: IpAddr) {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            prop_assert_eq!(sum_address(address), sum(&bytes));
        }

        #[test]
        fn what_carries_its_checksum_sums_to_zero(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            bytes.truncate(bytes.len() / 2 * 2);
            bytes[..2].fill(0);
            let checksum = fold(sum(&bytes));
            bytes[..2].copy_from_slice(&checksum.to_be_bytes());
            prop_assert_eq!(fold(sum(&bytes)), 0);
        }
    }
}
