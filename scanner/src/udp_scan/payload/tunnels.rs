//! Tunnels and secured transports: IKE, QUIC, DTLS, OpenVPN, L2TP, STUN, GTP, PFCP, RDP over UDP.

use super::{Ask, Fit, Payload, contains, has_at};

/// A length that is known to be small, in two bytes.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// A length in three bytes.
fn length24(bytes: usize) -> [u8; 3] {
    let [high, low] = length(bytes);
    [0, high, low]
}

/// The ISAKMP header (RFC 2408 section 3.1, RFC 7296 section 3.1): the token is the initiator's cookie or SPI.
fn ike(ask: &Ask, first: u8, version: u8, exchange: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let total = [[0, 0], length(28 + body.len())].concat();
    [&ask.token[..], &[0; 8], &[first, version, exchange, flags, 0, 0, 0, 0], &total, body].concat()
}

/// One transform of a phase 1 proposal (RFC 2408 section 3.6, attributes RFC 2409 appendix A): cipher, hash, group, the
/// key length where the cipher has several, pre-shared key, eight hours.
fn transform(is_last: bool, number: u8, cipher: u8, bits: u16, hash: u8, group: u8) -> Vec<u8> {
    let mut attributes = vec![0x80, 1, 0, cipher, 0x80, 2, 0, hash, 0x80, 3, 0, 1, 0x80, 4, 0, group];
    if bits > 0 {
        attributes.extend([0x80, 14]);
        attributes.extend(bits.to_be_bytes());
    }
    attributes.extend([0x80, 11, 0, 1, 0x80, 12, 0x70, 0x80]);
    let next = if is_last { 0 } else { 3 };
    [&[next, 0][..], &length(8 + attributes.len()), &[number, 1, 0, 0], &attributes].concat()
}

/// Main mode's first message with the transforms in common use (RFC 2409 section 5, RFC 2408 sections 3.4 to 3.6). A
/// responder chooses one or says that it likes none.
fn ike_v1(ask: &Ask) -> Vec<u8> {
    let transforms = [
        transform(false, 1, 7, 256, 4, 14),
        transform(false, 2, 7, 128, 2, 14),
        transform(false, 3, 7, 256, 2, 2),
        transform(false, 4, 5, 0, 2, 2),
        transform(true, 5, 5, 0, 1, 2),
    ]
    .concat();
    let proposal = [&[0, 0][..], &length(8 + transforms.len()), &[1, 1, 0, 5], &transforms].concat();
    let association = [&[0, 0][..], &length(12 + proposal.len()), &[0, 0, 0, 1, 0, 0, 0, 1], &proposal].concat();
    ike(ask, 1, 0x10, 2, 0, &association)
}

/// `IKE_SA_INIT` with one proposal: AES-CBC-256, HMAC-SHA2-256, group 14 (RFC 7296 sections 1.2, 3.3, 3.4 and 3.9).
fn ike_v2(ask: &Ask) -> Vec<u8> {
    let transforms: [&[u8]; 4] = [
        &[3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0],
        &[3, 0, 0, 8, 2, 0, 0, 5],
        &[3, 0, 0, 8, 3, 0, 0, 12],
        &[0, 0, 0, 8, 4, 0, 0, 14],
    ];
    let transforms = transforms.concat();
    let proposal = [&[0, 0][..], &length(8 + transforms.len()), &[1, 1, 0, 4], &transforms].concat();
    let association = [&[34, 0][..], &length(4 + proposal.len()), &proposal].concat();
    let exchange = [&[40, 0][..], &length(8 + 256), &[0, 14, 0, 0], &ask.noise(256)].concat();
    let nonce = [&[0, 0][..], &length(4 + 32), &ask.noise(32)].concat();
    ike(ask, 33, 0x20, 34, 8, &[association, exchange, nonce].concat())
}

/// The initiator's cookie comes back.
fn fits_ike(ask: &Ask, answer: &[u8]) -> Fit {
    let is_ike = answer.len() >= 28 && matches!(answer.get(17), Some(0x10 | 0x20 | 0x21));
    if is_ike { has_at(answer, 0, &ask.token) } else { None }
}

/// On port 4500 four zero bytes tell IKE from ESP (RFC 3948 section 2.2).
fn marked(message: Vec<u8>) -> Vec<u8> {
    [vec![0; 4], message].concat()
}

fn fits_marked(ask: &Ask, answer: &[u8]) -> Fit {
    fits_ike(ask, answer.strip_prefix(&[0; 4])?)
}

/// IKE version 1, main mode.
pub(super) static IKE_V1: Payload = Payload { name: "ike v1", write: ike_v1, fits: fits_ike };
/// IKE version 2.
pub(super) static IKE_V2: Payload = Payload { name: "ike v2", write: ike_v2, fits: fits_ike };
/// IKE version 1 on the port for NAT traversal.
pub(super) static IKE_V1_MARKED: Payload =
    Payload { name: "ike v1 nat-t", write: |ask| marked(ike_v1(ask)), fits: fits_marked };
/// IKE version 2 on the port for NAT traversal.
pub(super) static IKE_V2_MARKED: Payload =
    Payload { name: "ike v2 nat-t", write: |ask| marked(ike_v2(ask)), fits: fits_marked };

/// The other end's connection id: the token, turned over.
fn other_id(ask: &Ask) -> [u8; 8] {
    (!u64::from_be_bytes(ask.token)).to_be_bytes()
}

/// A long header of a version reserved to force negotiation (RFC 9000 sections 6 and 15), padded to what a server looks
/// at (14.1). The answer has both connection ids, exchanged (RFC 8999 section 6).
pub(super) static QUIC: Payload = Payload {
    name: "quic negotiation",
    write: |ask| {
        let mut packet = [&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8][..], &ask.token, &[8], &other_id(ask)].concat();
        packet.resize(1200, 0);
        packet
    },
    fits: |ask, answer| {
        let is_negotiation = answer.first()? & 0x80 != 0 && has_at(answer, 1, &[0; 4])?;
        let ids = [&[8][..], &other_id(ask), &[8], &ask.token].concat();
        if is_negotiation { has_at(answer, 5, &ids) } else { None }
    },
};

/// A `ClientHello` without cookie (RFC 6347 sections 4.1, 4.2.1 and 4.2.2; extensions RFC 8422 section 5.1, RFC 5246
/// section 7.4.1.4.1): a server asks for the cookie.
pub(super) static DTLS: Payload = Payload {
    name: "dtls hello",
    write: |ask| {
        let ciphers =
            [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x0a, 0xc0, 0x14, 0xc0, 0x13, 0, 0x9c, 0, 0x9d, 0, 0x35, 0, 0x2f, 0, 0xa8];
        let extensions: [&[u8]; 3] = [
            &[0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24],
            &[0, 11, 0, 2, 1, 0],
            &[0, 13, 0, 10, 0, 8, 4, 3, 4, 1, 2, 3, 2, 1],
        ];
        let extensions = extensions.concat();
        let body = [
            &[0xfe, 0xfd][..],
            &ask.noise(32),
            &[0, 0],
            &length(ciphers.len()),
            &ciphers,
            &[1, 0],
            &length(extensions.len()),
            &extensions,
        ]
        .concat();
        let size = length24(body.len());
        let handshake = [&[1][..], &size, &[0; 5], &size, &body].concat();
        [&[22, 0xfe, 0xff][..], &[0; 8], &length(handshake.len()), &handshake].concat()
    },
    fits: |_, _| None,
};

/// `P_CONTROL_HARD_RESET_CLIENT_V2` (the OpenVPN wire protocol, draft-openvpn-wire-protocol section 4); the answer
/// acknowledges the session id.
pub(super) static OPENVPN: Payload = Payload {
    name: "openvpn reset",
    write: |ask| [&[0x38][..], &ask.token, &[0; 5]].concat(),
    fits: |ask, answer| (answer.first()? & 0xf8 == 0x40).then(|| contains(answer, &ask.token)),
};

/// `SCCRQ` (RFC 2661 sections 3.1, 4.4 and 6.1); the answer goes to the tunnel id that was assigned.
pub(super) static L2TP: Payload = Payload {
    name: "l2tp sccrq",
    write: |ask| {
        let pairs: [&[u8]; 4] = [
            &[0x80, 8, 0, 0, 0, 0, 0, 1],
            &[0x80, 8, 0, 0, 0, 2, 1, 0],
            &[0x80, 13, 0, 0, 0, 7, b'p', b'e', b'n', b't', b'o', b'r', b'a'],
            &[0x80, 10, 0, 0, 0, 3, 0, 0, 0, 3],
        ];
        let tunnel = [&[0x80, 8, 0, 0, 0, 9][..], &ask.id16()].concat();
        let body = [pairs.concat(), tunnel].concat();
        [&[0xc8, 2][..], &length(12 + body.len()), &[0; 8], &body].concat()
    },
    fits: |ask, answer| if answer.starts_with(&[0xc8, 2]) { has_at(answer, 4, &ask.id16()) } else { None },
};

/// Binding request (RFC 8489 sections 5 and 6.1); the answer repeats the transaction id.
pub(super) static STUN: Payload = Payload {
    name: "stun binding",
    write: |ask| [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &ask.token, &ask.id31()].concat(),
    fits: |ask, answer| {
        let is_stun = has_at(answer, 4, &[0x21, 0x12, 0xa4, 0x42])?;
        if is_stun { has_at(answer, 8, &[&ask.token[..], &ask.id31()].concat()) } else { None }
    },
};

/// Echo request, version 1 (3GPP TS 29.060 section 7.2.1, TS 29.281 section 7.2.1); the sequence number is repeated.
pub(super) static GTP_V1: Payload = Payload {
    name: "gtp v1 echo",
    write: |ask| [&[0x32, 1, 0, 4, 0, 0, 0, 0][..], &ask.id16(), &[0, 0]].concat(),
    fits: |ask, answer| if answer.starts_with(&[0x32, 2]) { has_at(answer, 8, &ask.id16()) } else { None },
};

/// Echo request, version 2 (3GPP TS 29.274 sections 5.1 and 7.1.1).
pub(super) static GTP_V2: Payload = Payload {
    name: "gtp v2 echo",
    write: |ask| [&[0x40, 1, 0, 9][..], &ask.id16(), &[0, 0, 3, 0, 1, 0, 0]].concat(),
    fits: |ask, answer| if answer.starts_with(&[0x40, 2]) { has_at(answer, 4, &ask.id16()) } else { None },
};

/// Heartbeat request (3GPP TS 29.244 sections 7.2.2 and 7.4.2).
pub(super) static PFCP: Payload = Payload {
    name: "pfcp heartbeat",
    write: |ask| [&[0x20, 1, 0, 12][..], &ask.id16(), &[0, 0, 0, 96, 0, 4], &ask.id31()].concat(),
    fits: |ask, answer| if answer.starts_with(&[0x20, 2]) { has_at(answer, 4, &ask.id16()) } else { None },
};

/// The first datagram of RDP over UDP (MS-RDPEUDP sections 2.2.2.1 and 3.1.5.1.1), padded to its least size; the answer
/// acknowledges its sequence number.
pub(super) static RDP: Payload = Payload {
    name: "rdp syn",
    write: |ask| {
        let mut datagram = [&[0xff, 0xff, 0xff, 0xff, 0, 64, 0, 1][..], &ask.id31(), &[4, 0xd0, 4, 0xd0]].concat();
        datagram.resize(1232, 0);
        datagram
    },
    fits: |ask, answer| if answer.len() >= 16 { has_at(answer, 0, &ask.id31()) } else { None },
};
