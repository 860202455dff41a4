//! Requests are well-formed and answers are told from strangers'.

use proptest::prelude::*;

use super::*;

fn ask() -> Ask {
    Ask { token: [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18], to: "10.0.0.7".parse().unwrap() }
}

/// The only request of a port, or the one of several.
fn request(port: u16, variant: usize) -> Vec<u8> {
    of(port)[variant].write(&ask())
}

#[test]
fn the_table_is_sorted_and_printers_are_not_in_it() {
    assert!(BY_PORT.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for port in [515_u16, 9100, 9103, 9107] {
        assert!(!has_own(port));
        assert!(BY_PORT.iter().all(|(known, _)| *known != port));
    }
    assert!(has_own(53) && has_own(47808) && !has_own(4));
    assert_eq!(of(4)[0].write(&ask()), b"");
}

#[test]
fn requests_fit_one_frame_and_are_the_same_for_every_try() {
    for (port, payloads) in BY_PORT {
        assert!(!payloads.is_empty(), "{port}");
        for payload in *payloads {
            let bytes = payload.write(&ask());
            assert!((1..=1232).contains(&bytes.len()), "{}: {} bytes", payload.name, bytes.len());
            assert_eq!(bytes, payload.write(&ask()), "{}", payload.name);
        }
    }
}

#[test]
fn a_dns_answer_needs_the_id_of_the_question() {
    let mut answer = request(53, 0);
    assert_eq!(answer[..2], ask().id16());
    answer[2] |= 0x80;
    assert!(accepts(53, &ask(), &answer));
    answer[1] ^= 1;
    assert!(!accepts(53, &ask(), &answer));
    assert!(accepts(53, &ask(), b"not DNS"), "something else answers there");
    // Multicast DNS may answer with 0.
    let mut answer = request(5353, 0);
    (answer[0], answer[1], answer[2]) = (0, 0, 0x84);
    assert!(accepts(5353, &ask(), &answer));
}

#[test]
fn an_ntp_answer_returns_our_timestamp() {
    let mut answer = request(123, 0);
    assert_eq!(answer.len(), 48);
    answer[0] = 0x24;
    answer.copy_within(40..48, 24);
    assert!(accepts(123, &ask(), &answer));
    answer[30] ^= 1;
    assert!(!accepts(123, &ask(), &answer));
}

/// Walks over one value of the Basic Encoding Rules and everything in it; returns its bytes.
fn walk(bytes: &[u8]) -> usize {
    let (head, length) = match bytes[1] {
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
        short => (2, usize::from(short)),
    };
    assert!(bytes.len() >= head + length);
    if bytes[0] & 0x20 != 0 {
        let mut at = head;
        while at < head + length {
            at += walk(&bytes[at..head + length]);
        }
        assert_eq!(at, head + length);
    }
    head + length
}

#[test]
fn requests_in_ber_are_nested_rightly_and_carry_the_id() {
    for (port, variants) in [(161, 3), (389, 1), (88, 1)] {
        for variant in 0..variants {
            let bytes = request(port, variant);
            assert_eq!(walk(&bytes), bytes.len(), "{}", of(port)[variant].name);
        }
    }
    let mut answer = request(161, 0);
    assert!(accepts(161, &ask(), &answer));
    let at = answer.windows(4).position(|window| window == ask().id31()).unwrap();
    answer[at + 3] ^= 1;
    assert!(!accepts(161, &ask(), &answer));
}

#[test]
fn a_quic_negotiation_has_both_ids_exchanged() {
    let request = request(443, 0);
    assert_eq!(request.len(), 1200);
    let (ours, theirs) = (&request[15..23], &request[6..14]);
    let answer = [&[0x80, 0, 0, 0, 0, 8][..], ours, &[8], theirs, &[0, 0, 0, 1]].concat();
    assert!(accepts(443, &ask(), &answer));
    let strange = [&[0x80, 0, 0, 0, 0, 8][..], theirs, &[8], theirs, &[0, 0, 0, 1]].concat();
    assert!(!accepts(443, &ask(), &strange));
    assert!(accepts(443, &ask(), &[22, 0xfe, 0xff, 0, 0]), "DTLS has no id to tell by");
}

#[test]
fn lengths_inside_requests_are_their_own() {
    for variant in [0, 1] {
        let bytes = request(500, variant);
        assert_eq!(u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize, bytes.len());
        let marked = request(4500, variant);
        assert_eq!((&marked[..4], &marked[4..]), (&[0; 4][..], &bytes[..]));
    }
    let hello = request(4433, 0);
    assert_eq!(usize::from(u16::from_be_bytes([hello[11], hello[12]])) + 13, hello.len());
    assert_eq!(usize::from(hello[16]) + 25, hello.len());
    let l2tp = request(1701, 0);
    assert_eq!(usize::from(l2tp[3]), l2tp.len());
    let slp = request(427, 0);
    assert_eq!(usize::from(slp[4]), slp.len());
    assert_eq!(usize::from(request(1812, 0)[3]), request(1812, 0).len());
    let ipmi = request(623, 0);
    assert_eq!(ipmi[17..].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "the checksum");
    assert_eq!(request(47808, 0).len(), usize::from(request(47808, 0)[3]));
}

#[test]
fn the_catalogue_has_each_request_once_with_its_ports() {
    let all = table();
    let ports = |name: &str| all.iter().find(|(payload, _)| payload.name == name).map(|(_, ports)| ports.clone());
    assert_eq!(ports("radius access-request"), Some(vec![1645, 1812]));
    assert_eq!(ports("empty"), None);
    for (at, (payload, ports)) in all.iter().enumerate() {
        assert!(
            !ports.is_empty() && all[..at].iter().all(|(before, _)| before.name != payload.name),
            "{}",
            payload.name
        );
    }
    for (name, rarity) in WANDERERS {
        assert!(ports(name).is_some() && (1..=9).contains(rarity), "{name}");
    }
}

#[test]
fn a_server_of_files_answers_from_another_port() {
    assert_eq!(asked_port_of(b"\0\x05\0\x01File not found\0"), Some(69));
    assert_eq!(asked_port_of(b"\0\x05\0\x01unfinished"), None);
    assert_eq!(asked_port_of(b"hello"), None);
}

#[test]
fn words_are_what_is_all_text() {
    assert_eq!(words(5060, b"SIP/2.0 200 OK\r\n"), Some(&b"SIP/2.0 200 OK\r\n"[..]));
    assert_eq!(words(11211, b"\xa1\xb2\0\0\0\x01\0\0VERSION 1.6.18\r\n"), Some(&b"VERSION 1.6.18\r\n"[..]));
    assert_eq!(words(69, b"\0\x05\0\x01File not found\0"), Some(&b"File not found"[..]));
    assert_eq!(words(161, b"0\x82\x01"), None);
    assert_eq!(words(13, b""), None);
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(
        at in 0..BY_PORT.len(), bytes in proptest::collection::vec(any::<u8>(), 0..80), token: u64
    ) {
        let ask = Ask { token: token.to_be_bytes(), ..ask() };
        accepts(BY_PORT[at].0, &ask, &bytes);
        words(BY_PORT[at].0, &bytes);
        asked_port_of(&bytes);
        // And nothing that begins like an answer.
        for payload in BY_PORT[at].1 {
            let mut answer = payload.write(&ask);
            answer.truncate(bytes.len());
            if let (Some(to), Some(from)) = (answer.first_mut(), bytes.first()) {
                *to ^= from;
            }
            accepts(BY_PORT[at].0, &ask, &answer);
        }
    }
}
