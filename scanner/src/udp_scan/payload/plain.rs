//! Time, files, voice, routing, games and other small protocols.

use super::{Ask, Fit, Payload, contains, has_at};

/// TFTP's port (RFC 1350 section 4).
pub(super) const TFTP_PORT: u16 = 69;

/// Anything, to get it back (RFC 862).
pub(super) static ECHO: Payload =
    Payload { name: "echo", write: |ask| ask.token.to_vec(), fits: |ask, answer| Some(answer == ask.token) };

/// An empty line, for services of text whose protocol is not public.
pub(super) static NEWLINE: Payload = Payload { name: "newline", write: |_| b"\r\n".to_vec(), fits: |_, _| None };

/// A read request for a file that is not there (RFC 1350 section 5).
pub(super) static TFTP: Payload =
    Payload { name: "tftp read", write: |_| b"\0\x01pentora.none\0octet\0".to_vec(), fits: |_, _| None };

/// An error, the first block of a file, or an acknowledgement of options (RFC 1350 section 5, RFC 2347).
pub(super) fn is_tftp_answer(answer: &[u8]) -> bool {
    match answer {
        [0, 5, 0, 0..=8, message @ ..] => message.last() == Some(&0),
        [0, 3, 0, 1, ..] => answer.len() <= 516,
        [0, 6, ..] => answer.last() == Some(&0),
        _ => false,
    }
}

/// A client's packet (RFC 5905 section 7.3, figure 8); the server returns its transmit timestamp as the origin.
pub(super) static NTP_CLIENT: Payload = Payload {
    name: "ntp client",
    write: |ask| [&[0x23][..], &[0; 39], &ask.token].concat(),
    fits: |ask, answer| match answer.first()? & 7 {
        4 if answer.len() >= 48 => has_at(answer, 24, &ask.token),
        _ => None,
    },
};

/// Read variables, which tells the server's version (RFC 9327 sections 2 and 4); the sequence number is repeated.
pub(super) static NTP_CONTROL: Payload = Payload {
    name: "ntp read variables",
    write: |ask| [&[0x16, 2][..], &ask.id16(), &[0; 8]].concat(),
    fits: |ask, answer| if answer.first()? & 7 == 6 { has_at(answer, 2, &ask.id16()) } else { None },
};

/// Query for display managers (X Display Manager Control Protocol 1.1 section 6), without authentication names.
pub(super) static XDMCP: Payload =
    Payload { name: "xdmcp query", write: |_| vec![0, 1, 0, 2, 0, 1, 0], fits: |_, _| None };

/// Request for the whole table (RFC 2453 section 3.9.1), version 1 as well understood by all.
pub(super) static RIP: Payload =
    Payload { name: "rip table", write: |_| [&[1, 1, 0, 0][..], &[0; 19], &[16]].concat(), fits: |_, _| None };

/// The same for IPv6 (RFC 2080 section 2.4.1).
pub(super) static RIPNG: Payload =
    Payload { name: "ripng table", write: |_| [&[1, 1, 0, 0][..], &[0; 19], &[16]].concat(), fits: |_, _| None };

/// The discovery request of DB2's administration server; from the product's documentation.
pub(super) static DB2: Payload =
    Payload { name: "db2 address", write: |_| b"DB2GETADDR\0SQL08010\0".to_vec(), fits: |_, _| None };

/// `CLNT_UCAST_EX`: all instances of one machine (MC-SQLR section 2.2.2).
pub(super) static SQL_BROWSER: Payload = Payload { name: "sql browser", write: |_| vec![3], fits: |_, _| None };

/// `OPTIONS` (RFC 3261 section 11), answered where it came from (RFC 3581); the answer repeats the call's id.
pub(super) static SIP: Payload = Payload {
    name: "sip options",
    write: |ask| {
        let (hex, to) = (ask.hex(), std::net::SocketAddr::new(ask.to, 5060));
        let text = format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP pentora.invalid;branch=z9hG4bK{hex};rport\r\n\
             Max-Forwards: 70\r\nTo: <sip:{to}>\r\nFrom: <sip:probe@pentora.invalid>;tag={hex}\r\n\
             Call-ID: {hex}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:probe@pentora.invalid>\r\n\
             Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
        );
        text.into_bytes()
    },
    fits: |ask, answer| answer.starts_with(b"SIP/2.0").then(|| contains(answer, ask.hex().as_bytes())),
};

/// A transaction id of nine digits at most (RFC 3435 section 3.2.1.2).
fn transaction(ask: &Ask) -> String {
    (u32::from_be_bytes(ask.id31()) % 999_999_999 + 1).to_string()
}

/// Audit of any endpoint (RFC 3435 section 2.3.10); the answer repeats the transaction id.
pub(super) static MGCP: Payload = Payload {
    name: "mgcp audit",
    write: |ask| format!("AUEP {} *@[{}] MGCP 1.0\r\n", transaction(ask), ask.to).into_bytes(),
    fits: |ask, answer| {
        let is_code = answer.get(..3)?.iter().all(u8::is_ascii_digit) && answer.get(3) == Some(&b' ');
        is_code.then(|| contains(answer, transaction(ask).as_bytes()))
    },
};

/// `POKE` (RFC 5456 sections 6.7.3 and 8.1.1); the answer is for the caller's number.
pub(super) static IAX: Payload = Payload {
    name: "iax poke",
    write: |ask| {
        let [high, low] = ask.id16();
        vec![high | 0x80, low, 0, 0, 0, 0, 0, 0, 0, 0, 6, 30]
    },
    fits: |ask, answer| {
        let [high, low] = ask.id16();
        let is_full = answer.len() >= 12 && answer.first()? & 0x80 != 0 && answer.get(10) == Some(&6);
        is_full.then(|| answer.get(2).map(|byte| byte & 0x7f) == Some(high & 0x7f) && answer.get(3) == Some(&low))
    },
};

/// `version` in a frame of one datagram, which the answer repeats the id of (memcached, doc/protocol.txt, "UDP
/// protocol").
pub(super) static MEMCACHED: Payload = Payload {
    name: "memcached version",
    write: |ask| [&ask.id16()[..], b"\0\0\0\x01\0\0version\r\n"].concat(),
    fits: |ask, answer| contains(answer, b"VERSION ").then(|| answer.starts_with(&ask.id16())),
};

/// `ping` of the distributed hash table (BEP 5); the answer repeats the transaction id.
pub(super) static BITTORRENT: Payload = Payload {
    name: "bittorrent ping",
    write: |ask| {
        let id = ask.noise(20);
        [&b"d1:ad2:id20:"[..], &id, b"e1:q4:ping1:t2:", &ask.id16(), b"1:y1:qe"].concat()
    },
    fits: |ask, answer| {
        let repeated = [&b"1:t2:"[..], &ask.id16()].concat();
        (answer.first() == Some(&b'd')).then(|| contains(answer, &repeated))
    },
};

/// What the vendor's client sends to find hosts; not specified in public.
pub(super) static PCANYWHERE: Payload =
    Payload { name: "pcanywhere query", write: |_| b"NQ".to_vec(), fits: |_, _| None };

/// The time of a ping comes back (the RakNet protocol as Minecraft's Bedrock edition documents it).
pub(super) static BEDROCK: Payload = Payload {
    name: "bedrock ping",
    write: |ask| {
        let magic = [0, 0xff, 0xff, 0, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78];
        [&[1][..], &ask.token, &magic, &ask.token].concat()
    },
    fits: |ask, answer| if answer.first() == Some(&0x1c) { has_at(answer, 1, &ask.token) } else { None },
};

/// `A2S_INFO` (Valve's "Server queries").
pub(super) static SOURCE: Payload =
    Payload { name: "source info", write: |_| b"\xff\xff\xff\xffTSource Engine Query\0".to_vec(), fits: |_, _| None };

/// `getstatus` of id Tech 3 engines (their published source code); the challenge comes back.
pub(super) static QUAKE: Payload = Payload {
    name: "quake status",
    write: |ask| [&b"\xff\xff\xff\xffgetstatus "[..], ask.hex().as_bytes(), b"\n"].concat(),
    fits: |ask, answer| challenge(ask, answer),
};

fn challenge(ask: &Ask, answer: &[u8]) -> Fit {
    contains(answer, b"statusResponse").then(|| contains(answer, ask.hex().as_bytes()))
}

/// A ping, whose identifier comes back (Mumble protocol documentation, "UDP ping").
pub(super) static MUMBLE: Payload = Payload {
    name: "mumble ping",
    write: |ask| [&[0; 4][..], &ask.token].concat(),
    fits: |ask, answer| if answer.len() == 24 { has_at(answer, 4, &ask.token) } else { None },
};
