//! Answers to who has an address on this link, over ARP and neighbour discovery: believed only as the standards have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::packet::{arp, checksum, nd};

fuzz_target!(|data: &[u8]| {
    if let Some((address, mac)) = arp::reply(data) {
        assert!(data.len() >= arp::ARP_BYTES && mac[0] & 1 == 0);
        let mut own = arp::request(mac, address, 0);
        own[7] = 2;
        assert_eq!(arp::reply(&own), Some((address, mac)));
        for cut in 0..arp::ARP_BYTES {
            assert_eq!(arp::reply(&data[..cut]), None);
        }
    }
    believed(data);
    // The same with a right checksum, where there is room for one, so that the options behind it are reached.
    let length = usize::from(u16::from_be_bytes([*data.get(4).unwrap_or(&0), *data.get(5).unwrap_or(&0)]));
    if let Some(message) = data.get(40..40 + length).filter(|message| message.len() >= 4) {
        let mut bytes = data.to_vec();
        bytes[42..44].fill(0);
        let pseudo = checksum::sum(&bytes[8..40]) + 58 + u32::try_from(length).unwrap();
        let sum = checksum::fold(pseudo + checksum::sum(&[&[message[0], message[1], 0, 0], &message[4..]].concat()));
        bytes[42..44].copy_from_slice(&sum.to_be_bytes());
        believed(&bytes);
    }
});

fn believed(data: &[u8]) {
    let Some((address, mac)) = nd::advertisement(data) else { return };
    assert!(data[7] == 255, "it came from farther away than this link");
    assert!(!address.is_multicast() && mac[0] & 1 == 0);
    // One bit of what the checksum is over, and it is not believed.
    let mut bent = data.to_vec();
    bent[50] ^= 1;
    assert_eq!(nd::advertisement(&bent), None);
}
