//! Answers read from packets built here, and from any bytes at all.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::template::{PACKET_BYTES, Particulars, Template};

const SYN: u8 = 0x02;
const LANE: u16 = 61_000;

fn keys() -> Keys {
    Keys::new([7; 16])
}

/// The target and this machine, in either family.
fn pair(is_v4: bool) -> (IpAddr, IpAddr) {
    let parsed = |text: &str| text.parse().unwrap();
    if is_v4 { (parsed("10.77.0.1"), parsed("10.76.0.1")) } else { (parsed("fd77::1"), parsed("fd76::1")) }
}

/// A probe of the target as it was sent, and its cookie.
fn sent(probe: Probe, is_v4: bool) -> (Vec<u8>, u32) {
    let (target, us) = pair(is_v4);
    let cookie = keys().cookie(probe, target, LANE, 1234);
    let mut bytes = [0; PACKET_BYTES];
    let length = Template::new(us, 1500).write(&Particulars { probe, to: target, lane: LANE, cookie }, &mut bytes);
    (bytes[..length].to_vec(), cookie)
}

/// A packet of `from` to this machine.
fn packet(from: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match from {
        IpAddr::V4(from) => {
            let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 57, protocol, 0, 0];
            bytes.extend(from.octets());
            bytes.extend(Ipv4Addr::new(10, 76, 0, 1).octets());
            bytes
        }
        IpAddr::V6(from) => {
            let mut bytes = vec![0x60, 0, 0, 0, 0, 0, protocol, 57];
            bytes.extend(from.octets());
            bytes.extend("fd76::1".parse::<Ipv6Addr>().unwrap().octets());
            bytes
        }
    };
    bytes.extend(payload);
    bytes
}

fn tcp_packet(flags: u8, sequence: u32, acknowledged: u32, is_v4: bool) -> Vec<u8> {
    let mut segment = [80_u16.to_be_bytes(), LANE.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    packet(pair(is_v4).0, 6, &segment)
}

/// An ICMP error that quotes the first bytes of a probe.
fn error(from: &str, kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let from: IpAddr = from.parse().unwrap();
    let message = [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat();
    packet(from, if from.is_ipv4() { ICMP } else { ICMPV6 }, &message)
}

#[test]
fn a_syn_ack_is_an_open_port_and_a_reset_a_closed_one_and_both_carry_the_stamp() {
    for is_v4 in [true, false] {
        let acknowledged = sent(Probe::Syn(80), is_v4).1.wrapping_add(1);
        for (flags, state) in [(SYN | ACK, PortState::Open), (ACK, PortState::Open), (RST | ACK, PortState::Closed)] {
            let (answer, stamp) = parse(&tcp_packet(flags, 99, acknowledged, is_v4)).unwrap().prove(&keys()).unwrap();
            assert_eq!((answer.address, answer.probe, stamp), (pair(is_v4).0, Probe::Syn(80), 1234));
            assert_eq!((answer.state, answer.ttl, answer.is_own_word), (state, 57, true));
        }
    }
}

#[test]
fn a_syn_ack_tells_the_window_and_segment_size_of_its_stack() {
    let segment = |offset: u8, flags: u8, options: &[u8]| {
        let mut segment = [80_u16.to_be_bytes(), LANE.to_be_bytes()].concat();
        segment.extend([0; 8]);
        segment.extend([offset << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        segment.extend(options);
        parse(&packet(pair(true).0, 6, &segment)).unwrap().stack
    };
    let told = |segment| Some(Stack { window: 64_240, segment });
    assert_eq!(segment(6, SYN | ACK, &[2, 4, 0x05, 0xb4]), told(1460));
    assert_eq!(segment(8, SYN | ACK, &[1, 3, 3, 7, 2, 4, 0x05, 0xa0, 0, 0, 0, 0]), told(1440));
    assert_eq!(segment(6, SYN | ACK, &[0, 4, 0x05, 0xb4]), told(0), "behind the end of the options");
    assert_eq!(segment(6, SYN | ACK, &[3, 0, 2, 4]), told(0), "an option of no length");
    assert_eq!(segment(15, SYN | ACK, &[2, 4, 0x05]), told(0), "cut short");
    assert_eq!((segment(6, RST | ACK, &[2, 4, 0x05, 0xb4]), segment(6, ACK, &[])), (None, None));
}

#[test]
fn a_reset_of_an_ack_shows_the_host_and_nothing_of_the_port() {
    let (probe, cookie) = sent(Probe::Ack(80), true);
    assert_eq!(read32(&probe, 28), Some(cookie), "a reset takes its number from what an ACK acknowledges");
    for (flags, acknowledged) in [(RST, 0), (RST | ACK, cookie)] {
        let (answer, stamp) = parse(&tcp_packet(flags, cookie, acknowledged, true)).unwrap().prove(&keys()).unwrap();
        assert_eq!((answer.probe, stamp), (Probe::Ack(80), 1234));
        assert_eq!((answer.state, answer.reason), (PortState::Unfiltered, Reason::Reset));
    }
    // A SYN-ACK with that number is no answer to an ACK.
    assert_eq!(parse(&tcp_packet(SYN | ACK, cookie, 0, true)).unwrap().prove(&keys()), None);
}

#[test]
fn an_answer_to_somebody_else_proves_nothing() {
    let acknowledged = sent(Probe::Syn(80), true).1.wrapping_add(1);
    assert_eq!(parse(&tcp_packet(SYN | ACK, 0, acknowledged ^ 1 << 20, true)).unwrap().prove(&keys()), None);
    assert_eq!(parse(&tcp_packet(SYN, 0, 0, true)), None, "a SYN answers nothing");
}

#[test]
fn echo_and_timestamp_replies_repeat_what_was_asked() {
    let cases = [(Probe::Echo, true, 0), (Probe::Echo, false, 129), (Probe::Timestamp, true, 14)];
    for (probe, is_v4, kind) in cases {
        let (bytes, _) = sent(probe, is_v4);
        let mut message = bytes[if is_v4 { 20 } else { 40 }..].to_vec();
        message[0] = kind;
        let protocol = if is_v4 { ICMP } else { ICMPV6 };
        let (answer, stamp) = parse(&packet(pair(is_v4).0, protocol, &message)).unwrap().prove(&keys()).unwrap();
        assert_eq!((answer.probe, answer.lane, stamp), (probe, LANE, 1234));
        assert_eq!(answer.state, PortState::Unfiltered);
        message[9] ^= 1;
        let bent = parse(&packet(pair(is_v4).0, protocol, &message));
        assert!(bent.is_none_or(|answer| answer.prove(&keys()).is_none()));
    }
}

#[test]
fn icmp_errors_quote_the_probe_and_say_why() {
    let v4 = [
        ((3, 0), Some(Reason::NetUnreach)),
        ((3, 1), Some(Reason::HostUnreach)),
        ((3, 2), Some(Reason::ProtoUnreach)),
        ((3, 3), Some(Reason::PortUnreach)),
        ((3, 4), None),
        ((3, 13), Some(Reason::AdminProhibited)),
        ((11, 0), Some(Reason::TimeExceeded)),
    ];
    let v6 = [
        ((1, 0), Some(Reason::NetUnreach)),
        ((1, 1), Some(Reason::AdminProhibited)),
        ((1, 3), Some(Reason::HostUnreach)),
        ((1, 4), Some(Reason::PortUnreach)),
        ((2, 0), None),
        ((3, 0), Some(Reason::TimeExceeded)),
    ];
    for (is_v4, router, reasons) in [(true, "10.76.0.2", &v4[..]), (false, "fd76::2", &v6[..])] {
        let (bytes, _) = sent(Probe::Syn(80), is_v4);
        let header = if is_v4 { 20 } else { 40 };
        for ((kind, code), reason) in reasons.iter().copied() {
            // Routers quote the header and eight bytes at least (RFC 792).
            for quoted in [header + 8, bytes.len()] {
                let answer = parse(&error(router, kind, code, &bytes[..quoted]));
                assert_eq!(answer.map(|answer| answer.reason), reason, "{kind}/{code}");
                let Some((answer, stamp)) = answer.and_then(|answer| answer.prove(&keys())) else {
                    assert_eq!(reason, None);
                    continue;
                };
                assert_eq!((answer.address, stamp, answer.is_own_word), (pair(is_v4).0, 1234, false));
            }
        }
        assert_eq!(parse(&error(router, 3, 0, &bytes[..header + 7])), None, "cut short");
    }
    let (echo, _) = sent(Probe::Echo, true);
    let (answer, _) = parse(&error("10.77.0.1", 3, 13, &echo)).unwrap().prove(&keys()).unwrap();
    assert_eq!((answer.probe, answer.is_own_word), (Probe::Echo, true));
    let (ack, _) = sent(Probe::Ack(80), true);
    let (answer, _) = parse(&error("10.76.0.2", 3, 1, &ack)).unwrap().prove(&keys()).unwrap();
    assert_eq!((answer.probe, answer.reason), (Probe::Ack(80), Reason::HostUnreach));
}

#[test]
fn a_later_fragment_says_nothing() {
    let mut bytes = tcp_packet(SYN | ACK, 0, sent(Probe::Syn(80), true).1.wrapping_add(1), true);
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
        which in 0..6_usize, cut in 0..100_usize, at in 0..100_usize, flip: u8
    ) {
        let is_v4 = which % 2 == 0;
        let (probe, cookie) = sent(Probe::Syn(80), is_v4);
        let whole = match which {
            0 | 1 => tcp_packet(SYN | ACK, 0, cookie.wrapping_add(1), is_v4),
            2 | 3 => tcp_packet(RST | ACK, 0, cookie.wrapping_add(1), is_v4),
            4 => error("10.76.0.2", 3, 1, &probe),
            _ => error("fd76::2", 1, 3, &probe),
        };
        let mut bytes = whole;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
        }
        bytes.truncate(cut);
        if let Some((answer, _)) = parse(&bytes).and_then(|answer| answer.prove(&keys())) {
            prop_assert_eq!((answer.address, answer.probe, answer.lane), (pair(is_v4).0, Probe::Syn(80), LANE));
        }
    }
}
