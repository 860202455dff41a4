//! Devices and buildings: IPMI, CoAP, NAT-PMP, BACnet, EtherNet/IP, DNP3, KNX, and two vendors' discovery. All only ask who
//! is there.

use super::{Payload, has_at};

/// Get Channel Authentication Capabilities (IPMI 2.0 sections 13.1 and 22.13): answered before any session.
pub(super) static IPMI: Payload = Payload {
    name: "ipmi capabilities",
    write: |ask| {
        let [first, ..] = ask.token;
        let sequence = first & 0xfc;
        let body = [0x81, sequence, 0x38, 0x8e, 0x04];
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
        // RMCP header of class IPMI, no authentication, session 0, nine bytes of message to the controller.
        let head = [6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xc8];
        [&head[..], &body, &[sum]].concat()
    },
    fits: |ask, answer| {
        let [first, ..] = ask.token;
        // The answer's sequence number, where ours was.
        if answer.starts_with(&[6, 0, 0xff, 7]) { has_at(answer, 18, &[first & 0xfc]) } else { None }
    },
};

/// `GET /.well-known/core` (RFC 7252 section 3, RFC 6690 section 4); an answer repeats the token, a reset the message
/// id.
pub(super) static COAP: Payload = Payload {
    name: "coap core",
    write: |ask| [&[0x44, 1][..], &ask.id16(), &ask.id31(), b"\xbb.well-known\x04core"].concat(),
    fits: |ask, answer| {
        let is_coap = answer.len() >= 4 && answer.first()? & 0xc0 == 0x40;
        let has_token = answer.first()? & 0x0f == 4 && has_at(answer, 4, &ask.id31()) == Some(true);
        is_coap.then(|| has_token || has_at(answer, 2, &ask.id16()) == Some(true))
    },
};

/// The gateway's outer address (RFC 6886 section 3.2).
pub(super) static NAT_PMP: Payload = Payload { name: "nat-pmp address", write: |_| vec![0, 0], fits: |_, _| None };

/// `ReadProperty` of the device's own identifier (ASHRAE 135 clause 15.5, annex J for IP): device instance 4194303
/// stands for the device itself.
pub(super) static BACNET: Payload = Payload {
    name: "bacnet identifier",
    write: |ask| {
        let [invoke, ..] = ask.token;
        vec![0x81, 0x0a, 0, 17, 1, 4, 0, 5, invoke, 0x0c, 0x0c, 2, 0x3f, 0xff, 0xff, 0x19, 0x4b]
    },
    fits: |ask, answer| {
        let [invoke, ..] = ask.token;
        // Without routing, the answer's own invoke id is where it is fixed.
        let is_plain = answer.starts_with(&[0x81, 0x0a]) && has_at(answer, 4, &[1, 0]) == Some(true);
        if is_plain { has_at(answer, 7, &[invoke]) } else { None }
    },
};

/// `ListIdentity` (CIP volume 2, section 2-4.2), which asks for no session.
pub(super) static ENIP: Payload = Payload {
    name: "ethernet/ip identity",
    write: |ask| [&[0x63, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &ask.token, &[0; 4]].concat(),
    fits: |_, _| None,
};

/// The link status of outstation 1 (IEEE 1815 section 9): a question of the link layer, below all points and commands.
pub(super) static DNP3: Payload =
    Payload { name: "dnp3 link status", write: |_| vec![5, 0x64, 5, 0xc9, 1, 0, 0, 0, 0xde, 0x8e], fits: |_, _| None };

/// A description request that asks for the answer where it came from (KNX standard 3/8/2 section 4.4, 3/8/1 section
/// 8.6).
pub(super) static KNX: Payload = Payload {
    name: "knx description",
    write: |_| vec![6, 0x10, 2, 3, 0, 14, 8, 1, 0, 0, 0, 0, 0, 0],
    fits: |_, _| None,
};

/// What the vendor's discovery tool sends, version 1; not specified in public.
pub(super) static UBIQUITI: Payload =
    Payload { name: "ubiquiti discovery", write: |_| vec![1, 0, 0, 0], fits: |_, _| None };

/// The query of the vendor's configuration port; not specified in public.
pub(super) static LANTRONIX: Payload =
    Payload { name: "lantronix query", write: |_| vec![0, 0, 0, 0xf6], fits: |_, _| None };
