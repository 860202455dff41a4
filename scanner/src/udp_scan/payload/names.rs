//! Name services and discovery: DNS, mDNS, NetBIOS, SSDP, SLP, WS-Discovery.

use super::{Ask, Fit, Payload, contains, has_at};

/// A question of RFC 1035 section 4.1: header with one question, name, type, class.
fn question(id: [u8; 2], flags: [u8; 2], name: &[u8], kind: [u8; 2], class: [u8; 2]) -> Vec<u8> {
    [&id[..], &flags, &[0, 1, 0, 0, 0, 0, 0, 0], name, &kind, &class].concat()
}

/// An answer has the QR bit and repeats the id (RFC 1035 section 4.1.1).
fn fits_question(ask: &Ask, answer: &[u8]) -> Fit {
    let is_answer = answer.len() >= 12 && answer.get(2)? & 0x80 != 0;
    if is_answer { has_at(answer, 0, &ask.id16()) } else { None }
}

/// `version.bind TXT CH`, which name servers answer with their version or refuse (RFC 4892 section 2).
pub(super) static DNS_VERSION: Payload = Payload {
    name: "dns version.bind",
    write: |ask| question(ask.id16(), [0, 0], b"\x07version\x04bind\0", [0, 16], [0, 3]),
    fits: fits_question,
};

/// `. NS IN`, which servers answer that know no class but Internet (RFC 1035 section 4.1).
pub(super) static DNS_ROOT: Payload =
    Payload { name: "dns root", write: |ask| question(ask.id16(), [1, 0], b"\0", [0, 2], [0, 1]), fits: fits_question };

/// Which services a host offers, asked of it alone: a one-shot query with the unicast-response bit (RFC 6762 sections
/// 5.1 and 5.4; the name is RFC 6763 section 9). A legacy answer repeats the id (6.7), another one has 0 (18.1).
pub(super) static MDNS: Payload = Payload {
    name: "mdns services",
    write: |ask| question(ask.id16(), [0, 0], b"\x09_services\x07_dns-sd\x04_udp\x05local\0", [0, 12], [0x80, 1]),
    fits: |ask, answer| fits_question(ask, answer).map(|fits| fits || answer.starts_with(&[0, 0])),
};

/// Node status request for `*` (RFC 1002 section 4.2.17; the name as RFC 1001 section 14.1 encodes it).
pub(super) static NETBIOS: Payload = Payload {
    name: "netbios node status",
    write: |ask| {
        let name = [&b"\x20CK"[..], &[b'A'; 30], &[0]].concat();
        question(ask.id16(), [0, 0], &name, [0, 0x21], [0, 1])
    },
    fits: fits_question,
};

/// `M-SEARCH` sent to one device (UPnP Device Architecture 2.0 section 1.3.2). It has no id.
pub(super) static SSDP: Payload = Payload {
    name: "ssdp search",
    write: |ask| {
        let host = std::net::SocketAddr::new(ask.to, 1900);
        let text = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n"
        );
        text.into_bytes()
    },
    fits: |_, _| None,
};

/// Service type request for all types of the default scope (RFC 2608 sections 8 and 10.1); the answer repeats the
/// transaction id.
pub(super) static SLP: Payload = Payload {
    name: "slp service types",
    write: |ask| {
        let body = [&[0, 0, 0xff, 0xff, 0, 7][..], b"default"].concat();
        let length = u8::try_from(16 + body.len()).unwrap_or(u8::MAX);
        [&[2, 9, 0, 0, length, 0, 0, 0, 0, 0][..], &ask.id16(), &[0, 2], b"en", &body].concat()
    },
    fits: |ask, answer| if answer.first() == Some(&2) { has_at(answer, 10, &ask.id16()) } else { None },
};

/// A probe for any device (WS-Discovery 1.1 section 5.2); the answer relates to its message id.
pub(super) static WS_DISCOVERY: Payload = Payload {
    name: "ws-discovery probe",
    write: |ask| {
        let hex = ask.hex();
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
             xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
             xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><e:Header>\
             <a:MessageID>urn:uuid:00000000-0000-4000-{}-{}</a:MessageID>\
             <a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>\
             <a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>\
             </e:Header><e:Body><d:Probe/></e:Body></e:Envelope>",
            hex.get(..4).unwrap_or_default(),
            hex.get(4..).unwrap_or_default()
        );
        text.into_bytes()
    },
    fits: |ask, answer| {
        let hex = ask.hex();
        contains(answer, b"RelatesTo").then(|| contains(answer, hex.get(4..).unwrap_or_default().as_bytes()))
    },
};
