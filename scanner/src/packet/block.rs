//! A block of packets as the kernel's receive ring hands it over (TPACKET_V3, linux/if_packet.h), read without copying.
//!
//! The kernel wrote the offsets, and they are checked all the same: what is shown lies in the block, and the walk ends.

/// Offsets in a block's header (`struct tpacket_block_desc`).
const PACKETS: usize = 12;
const FIRST: usize = 16;
/// Offsets in a packet's header (`struct tpacket3_hdr`), and its length.
const NEXT: usize = 0;
const CAPTURED: usize = 12;
const NETWORK: usize = 26;
const HEADER_BYTES: usize = 48;

/// Shows every packet of a block, from its network header on, to `each`.
pub fn each_packet(block: &[u8], mut each: impl FnMut(&[u8])) {
    let number = |at: usize| {
        let bytes = block.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    let (Some(count), Some(mut at)) = (number(PACKETS), number(FIRST)) else { return };
    for _ in 0..count.min(block.len() / HEADER_BYTES) {
        let packet = || {
            let network = block.get(at + NETWORK..at + NETWORK + 2)?.try_into().ok()?;
            let begin = at + usize::from(u16::from_ne_bytes(network));
            block.get(begin..begin + number(at + CAPTURED)?)
        };
        let Some(bytes) = packet() else { return };
        each(bytes);
        match number(at + NEXT) {
            Some(next) if next > 0 => at += next,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block as the kernel writes it: a header, then each packet with its own in front.
    fn block(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; 48];
        bytes[PACKETS..PACKETS + 4].copy_from_slice(&u32::try_from(packets.len()).unwrap().to_ne_bytes());
        bytes[FIRST..FIRST + 4].copy_from_slice(&48_u32.to_ne_bytes());
        for (number, packet) in packets.iter().enumerate() {
            let whole = (HEADER_BYTES + 20 + packet.len()).next_multiple_of(8);
            let next = if number + 1 == packets.len() { 0 } else { u32::try_from(whole).unwrap() };
            let at = bytes.len();
            bytes.resize(at + whole, 0);
            bytes[at + NEXT..at + NEXT + 4].copy_from_slice(&next.to_ne_bytes());
            bytes[at + CAPTURED..at + CAPTURED + 4]
                .copy_from_slice(&u32::try_from(packet.len()).unwrap().to_ne_bytes());
            bytes[at + NETWORK..at + NETWORK + 2].copy_from_slice(&68_u16.to_ne_bytes());
            bytes[at + 68..at + 68 + packet.len()].copy_from_slice(packet);
        }
        bytes
    }

    fn shown(block: &[u8]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        each_packet(block, |packet| packets.push(packet.to_vec()));
        packets
    }

    proptest! {
        #[test]
        fn every_packet_of_a_block_is_shown_once_in_order(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20)
        ) {
            prop_assert_eq!(shown(&block(&packets)), packets);
        }

        #[test]
        fn a_damaged_block_ends_the_walk_and_shows_nothing_from_outside(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
            cut: prop::sample::Index, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)
        ) {
            let mut bytes = block(&packets);
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            prop_assert!(shown(&bytes).len() <= bytes.len() / HEADER_BYTES);
        }
    }
}
