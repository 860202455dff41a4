//! Received packets: no bytes panic, an answer is believed only with its cookie, and a true one always is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::packet::answer::{self, Answer};
use pentora_scanner::packet::cookie::{Key, STAMPS};
use pentora_scanner::packet::syn::{SYN_BYTES, Syn, Template};

const US: u32 = 0x0a4c_0001;

fuzz_target!(|data: &[u8]| {
    let key = Key::new([7; 16]);
    if let Some(answer) = answer::parse(data) {
        check(&answer, &key);
    }
    let Some((head, rest)) = data.split_first_chunk::<20>() else { return };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (to, port, from_port, stamp) = (word(0), half(4), half(6), half(8) % STAMPS);
    let sequence = key.sequence(to, port, from_port, stamp);
    let mut probe = [0; SYN_BYTES];
    Template::new(US).write(&Syn { to, port, from_port, sequence }, &mut probe);

    // A true segment, with IP options of any length and any flags: believed as its flags say.
    let options = rest.get(..usize::from(head[10] % 11) * 4).unwrap_or_default();
    let flags = head[11];
    let mut segment = ip(6, options, to, US);
    segment.extend(port.to_be_bytes());
    segment.extend(from_port.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(sequence.wrapping_add(1).to_be_bytes());
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let heard = answer::parse(&segment);
    assert_eq!(heard.is_some(), flags & 0x14 != 0, "only what acknowledges or resets is an answer");
    if let Some(answer) = heard {
        assert_eq!((answer.address, answer.port, answer.stamp(&key)), (to, port, Some(stamp)));
    }

    // A true error of a router: believed when it quotes the header and eight bytes (RFC 792), and not below.
    let quoted = usize::from(head[12]) % (SYN_BYTES + 1);
    let mut error = ip(1, options, word(14), US);
    error.extend([head[18], head[19], 0, 0, 0, 0, 0, 0]);
    error.extend(&probe[..quoted]);
    match answer::parse(&error) {
        Some(answer) => {
            assert!(quoted >= 28 && matches!(head[18], 3 | 11));
            assert_eq!((answer.address, answer.port, answer.stamp(&key)), (to, port, Some(stamp)));
        }
        None => assert!(quoted < 28 || !matches!((head[18], head[19]), (3, 0..=3) | (11, _))),
    }

    // The same packets, bent at one place and cut short: never believed for another probe than the one quoted.
    for mut packet in [segment, error] {
        let at = usize::from(head[13]) % packet.len();
        packet[at] ^= head[19] | 1;
        packet.truncate(packet.len() - usize::from(head[12] & 7).min(packet.len()));
        if let Some(answer) = answer::parse(&packet) {
            check(&answer, &key);
        }
    }
});

/// What is believed carries exactly the number that its probe was sent with; one bit of the proof wrong is disbelieved.
fn check(answer: &Answer, key: &Key) {
    let Some(stamp) = answer.stamp(key) else { return };
    assert!(stamp < STAMPS);
    assert_eq!(answer.sequence, key.sequence(answer.address, answer.port, answer.from_port, stamp));
    for bit in 12..32 {
        assert_eq!(Answer { sequence: answer.sequence ^ 1 << bit, ..*answer }.stamp(key), None);
    }
}

/// An IPv4 header, with options.
fn ip(protocol: u8, options: &[u8], source: u32, destination: u32) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let mut bytes = vec![0x40 | words, 0, 0, 0, 0, 0, 0, 0, 57, protocol, 0, 0];
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend(options);
    bytes
}
