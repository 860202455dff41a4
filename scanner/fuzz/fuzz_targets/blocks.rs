//! Blocks of the receive ring: any bytes end the walk, and a block built here shows exactly its packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::packet::block::each_packet;

/// Lengths that the kernel's structures have (linux/if_packet.h).
const HEADER: usize = 48;
const LINK: usize = 20;

fuzz_target!(|data: &[u8]| {
    let mut shown = 0;
    let range = data.as_ptr_range();
    each_packet(data, |packet| {
        let part = packet.as_ptr_range();
        assert!(part.start >= range.start && part.end <= range.end, "a packet from outside the block");
        shown += 1;
    });
    assert!(shown <= data.len() / HEADER, "more packets than headers fit");

    // The same bytes as packets: the first byte of each says how long it is.
    let mut packets: Vec<&[u8]> = Vec::new();
    let mut rest = data;
    while let Some((length, more)) = rest.split_first() {
        let (packet, after) = more.split_at(usize::from(*length).min(more.len()));
        packets.push(packet);
        rest = after;
    }
    let mut seen = Vec::new();
    each_packet(&built(&packets), |packet| seen.push(packet.to_vec()));
    assert_eq!(seen, packets);
});

fn built(packets: &[&[u8]]) -> Vec<u8> {
    let word = |number: usize| u32::try_from(number).unwrap().to_ne_bytes();
    let mut bytes = vec![0; HEADER];
    bytes[12..16].copy_from_slice(&word(packets.len()));
    bytes[16..20].copy_from_slice(&word(HEADER));
    for (number, packet) in packets.iter().enumerate() {
        let whole = (HEADER + LINK + packet.len()).next_multiple_of(8);
        let at = bytes.len();
        bytes.resize(at + whole, 0);
        let next = if number + 1 == packets.len() { 0 } else { whole };
        bytes[at..at + 4].copy_from_slice(&word(next));
        bytes[at + 12..at + 16].copy_from_slice(&word(packet.len()));
        bytes[at + 26..at + 28].copy_from_slice(&u16::try_from(HEADER + LINK).unwrap().to_ne_bytes());
        bytes[at + HEADER + LINK..at + HEADER + LINK + packet.len()].copy_from_slice(packet);
    }
    bytes
}
