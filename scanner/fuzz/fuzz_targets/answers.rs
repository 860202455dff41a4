//! Received packets: no bytes panic, an answer is believed only with its cookie, and a true one always is.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use pentora_scanner::packet::answer;
use pentora_scanner::packet::cookie::STAMPS;
use pentora_scanner::packet::probe::{Keys, Probe};
use pentora_scanner::packet::template::{PACKET_BYTES, Particulars, Template};

const TCP: u8 = 6;
const DESTINATION_OPTIONS: u8 = 60;

fuzz_target!(|data: &[u8]| {
    let keys = Keys::new([7; 16]);
    check(data, &keys);
    let Some((head, rest)) = data.split_first_chunk::<24>() else {
        return;
    };
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let is_v4 = head[0] & 1 == 0;
    let (us, to) = (address(is_v4, 1), address(is_v4, half(2)));
    let (port, lane, stamp) = (half(4), half(6), half(8) % STAMPS);
    let probe = match head[1] % 4 {
        0 => Probe::Syn(port),
        1 => Probe::Ack(port),
        2 => Probe::Echo,
        _ if is_v4 => Probe::Timestamp,
        _ => Probe::Echo,
    };
    let cookie = keys.cookie(probe, to, lane, stamp);
    let mut bytes = [0; PACKET_BYTES];
    let length = Template::new(us, 1500).write(
        &Particulars {
            probe,
            to,
            lane,
            cookie,
        },
        &mut bytes,
    );
    let sent = &bytes[..length];
    let network = if is_v4 { 20 } else { 40 };

    // A true answer, with options or extension headers and any flags: believed, as what it is.
    let flags = head[10];
    let (protocol, message) = match probe {
        Probe::Syn(_) | Probe::Ack(_) => {
            let mut segment = [port.to_be_bytes(), lane.to_be_bytes()].concat();
            let (number, acknowledged) = if probe == Probe::Syn(port) {
                (9, cookie.wrapping_add(1))
            } else {
                (cookie, 0)
            };
            segment.extend(number.to_be_bytes());
            segment.extend(acknowledged.to_be_bytes());
            segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
            (TCP, segment)
        }
        Probe::Echo | Probe::Timestamp => {
            let mut message = sent[network..].to_vec();
            message[0] = if probe == Probe::Timestamp {
                14
            } else if is_v4 {
                0
            } else {
                129
            };
            (icmp(is_v4), message)
        }
    };
    let options = rest.get(..usize::from(head[11] % 8) * 8).unwrap_or_default();
    let reply = packet(to, us, protocol, options, &message);
    let proved = answer::parse(&reply).and_then(|answer| answer.prove(&keys));
    let is_answer = match probe {
        Probe::Syn(_) => flags & 0x14 != 0,
        Probe::Ack(_) => flags & 0x04 != 0,
        Probe::Echo | Probe::Timestamp => true,
    };
    // By chance, one in a million numbers is a cookie of something else.
    assert!(!is_answer || proved.is_some(), "a true answer is not believed");
    if let Some((answer, at)) = proved.filter(|_| is_answer) {
        assert_eq!(
            (answer.address, answer.probe, answer.lane, at),
            (to, probe, lane, stamp)
        );
        assert!(answer.is_own_word);
    }

    // A true error of a router: believed when it quotes the header and eight bytes (RFC 792), of a query twelve.
    let quoted = usize::from(head[12]) % (length + 1);
    let [kind, code] = [head[13], head[14]];
    let router = address(is_v4, 0xfffe);
    let error = [&[kind, code, 0, 0, 0, 0, 0, 0], &sent[..quoted]].concat();
    let error = packet(router, us, icmp(is_v4), options, &error);
    let enough = network
        + if matches!(probe, Probe::Echo | Probe::Timestamp) {
            12
        } else {
            8
        };
    let heard = answer::parse(&error).and_then(|answer| answer.prove(&keys));
    let says_why = if is_v4 {
        matches!((kind, code), (3, 0..=3) | (11, _))
    } else {
        matches!((kind, code), (1, 0..=4) | (3, _))
    };
    assert!(
        heard.is_some() || !says_why || quoted < enough,
        "a true error is not believed"
    );
    // Echo and timestamp replies are no errors, whatever they carry.
    let is_reply = if is_v4 { matches!(kind, 0 | 14) } else { kind == 129 };
    let heard = heard.filter(|_| !is_reply);
    if let Some((answer, at)) = heard {
        assert!(quoted >= enough, "too little is quoted");
        assert_eq!(
            (answer.address, answer.probe, answer.lane, at),
            (to, probe, lane, stamp)
        );
    }

    // The same packets, bent at one place and cut short: never believed for another probe than the one quoted.
    for mut packet in [reply, error] {
        let at = usize::from(head[15]) % packet.len();
        packet[at] ^= head[16] | 1;
        packet.truncate(packet.len() - usize::from(head[17] & 7).min(packet.len()));
        check(&packet, &keys);
    }
});

/// What is believed carries exactly the cookie that its probe was sent with; with one bit of the proof wrong it is not.
fn check(packet: &[u8], keys: &Keys) {
    let Some((answer, stamp)) = answer::parse(packet).and_then(|answer| answer.prove(keys)) else {
        return;
    };
    assert!(stamp < STAMPS);
    assert_eq!(
        answer.cookie,
        keys.cookie(answer.probe, answer.address, answer.lane, stamp)
    );
    for bit in 12..32 {
        assert_eq!(
            keys.stamp(answer.probe, answer.address, answer.lane, answer.cookie ^ 1 << bit),
            None
        );
    }
}

fn address(is_v4: bool, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    if is_v4 {
        Ipv4Addr::new(10, 77, high, low).into()
    } else {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number).into()
    }
}

fn icmp(is_v4: bool) -> u8 {
    if is_v4 { 1 } else { 58 }
}

/// A packet, with `options` (a multiple of eight bytes) as IPv4 options or as IPv6 extension headers.
fn packet(from: IpAddr, to: IpAddr, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let options = &options[..options.len().min(40)];
            let words = u8::try_from(5 + options.len() / 4).unwrap();
            let mut bytes = vec![0x40 | words, 0, 0, 0, 0, 0, 0, 0, 57, protocol, 0, 0];
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes.extend(options);
            bytes
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let extensions = options.len() / 8;
            let mut next = std::iter::repeat_n(DESTINATION_OPTIONS, extensions).chain([protocol]);
            let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next.next().unwrap(), 57];
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            for next in next {
                bytes.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
            bytes
        }
        _ => unreachable!("both are of one family"),
    };
    bytes.extend(payload);
    bytes
}
