//! Answers read from packets built here, and from any bytes at all.

use proptest::prelude::*;

use super::*;
use crate::packet::syn::{SYN_BYTES, Syn, Template};

const TARGET: u32 = 0x0a4d_0001;
const SYN: u8 = 0x02;
const US: u32 = 0x0a4c_0001;

fn key() -> Key {
    Key::new([7; 16])
}

/// The probe that everything here answers.
fn probe() -> ([u8; SYN_BYTES], Syn) {
    let sequence = key().sequence(TARGET, 80, 61_000, 1234);
    let syn = Syn { to: TARGET, port: 80, from_port: 61_000, sequence };
    let mut bytes = [0; SYN_BYTES];
    Template::new(US).write(&syn, &mut bytes);
    (bytes, syn)
}

fn tcp_packet(flags: u8, acknowledged: u32) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 57, 6, 0, 0];
    bytes.extend(TARGET.to_be_bytes());
    bytes.extend(US.to_be_bytes());
    bytes.extend(80_u16.to_be_bytes());
    bytes.extend(61_000_u16.to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    bytes.extend(acknowledged.to_be_bytes());
    bytes.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// An ICMP error of a router that quotes the first `quoted` bytes of the probe.
fn icmp_packet(kind: u8, code: u8, quoted: usize) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 63, 1, 0, 0];
    bytes.extend([10, 76, 0, 2]);
    bytes.extend(US.to_be_bytes());
    bytes.extend([kind, code, 0, 0, 0, 0, 0, 0]);
    bytes.extend(&probe().0[..quoted]);
    bytes
}

#[test]
fn a_syn_ack_is_an_open_port_and_carries_the_stamp() {
    let answer = parse(&tcp_packet(SYN | ACK, probe().1.sequence.wrapping_add(1))).unwrap();
    assert_eq!((answer.state, answer.reason, answer.ttl), (PortState::Open, Reason::SynAck, 57));
    assert_eq!((answer.address, answer.port, answer.from_port), (TARGET, 80, 61_000));
    assert_eq!(answer.stamp(&key()), Some(1234));
}

#[test]
fn a_reset_is_a_closed_port() {
    let answer = parse(&tcp_packet(RST | ACK, probe().1.sequence.wrapping_add(1))).unwrap();
    assert_eq!((answer.state, answer.reason), (PortState::Closed, Reason::Reset));
    assert_eq!(answer.stamp(&key()), Some(1234));
}

#[test]
fn an_answer_to_somebody_else_has_no_stamp() {
    let answer = parse(&tcp_packet(SYN | ACK, probe().1.sequence ^ 1 << 20)).unwrap();
    assert_eq!(answer.stamp(&key()), None);
    assert_eq!(parse(&tcp_packet(SYN, 0)), None, "a SYN answers nothing");
}

#[test]
fn icmp_errors_quote_the_probe_and_say_why() {
    let reasons = [
        ((3, 0), Some(Reason::NetUnreach)),
        ((3, 1), Some(Reason::HostUnreach)),
        ((3, 2), Some(Reason::ProtoUnreach)),
        ((3, 3), Some(Reason::PortUnreach)),
        ((3, 4), None),
        ((3, 13), Some(Reason::AdminProhibited)),
        ((11, 0), Some(Reason::TimeExceeded)),
        ((8, 0), None),
    ];
    for ((kind, code), reason) in reasons {
        // Routers quote the header and eight bytes at least (RFC 792).
        for quoted in [28, SYN_BYTES] {
            let answer = parse(&icmp_packet(kind, code, quoted));
            assert_eq!(answer.map(|answer| answer.reason), reason, "{kind}/{code}");
            assert!(answer.is_none_or(|answer| answer.stamp(&key()) == Some(1234) && answer.address == TARGET));
        }
    }
    assert_eq!(parse(&icmp_packet(3, 1, 27)), None, "cut short");
}

#[test]
fn a_later_fragment_says_nothing() {
    let mut bytes = tcp_packet(SYN | ACK, probe().1.sequence.wrapping_add(1));
    bytes[7] = 1;
    assert_eq!(parse(&bytes), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn packets_cut_and_bent_anywhere_do_not_panic_and_prove_nothing_new(
        which in 0..3_usize, cut in 0..60_usize, at in 0..60_usize, flip: u8
    ) {
        let whole = [
            tcp_packet(SYN | ACK, probe().1.sequence.wrapping_add(1)),
            tcp_packet(RST | ACK, probe().1.sequence.wrapping_add(1)),
            icmp_packet(3, 1, SYN_BYTES),
        ];
        let mut bytes = whole[which].clone();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
        }
        bytes.truncate(cut);
        if let Some(answer) = parse(&bytes) && answer.stamp(&key()).is_some() {
            prop_assert_eq!((answer.address, answer.port, answer.from_port), (TARGET, 80, 61_000));
        }
    }
}
