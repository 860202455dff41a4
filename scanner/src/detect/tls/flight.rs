//! What a server answers to a ClientHello, read from raw bytes: pure, bounded, and at ease with garbage.
//!
//! Only the clear part is read: alert, ServerHello, and, up to TLS 1.2, the certificates.

/// Longest record (RFC 5246 section 6.2.3): longer ones are no TLS.
const RECORD_MAX: usize = (1 << 14) + 2048;
/// Most certificates of one chain that are looked at: real chains have two to four.
pub(super) const CERTIFICATES_MAX: usize = 10;

/// A server's first flight, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flight {
    /// The version that it chose, by its number on the wire.
    pub version: Option<u16>,
    /// The cipher suite that it chose.
    pub cipher: Option<u16>,
    /// The certificates in DER, its own first. Where that one was not read to its end, it is cut.
    pub certificates: Vec<Vec<u8>>,
    /// The alert's description, when it refused.
    pub alert: Option<u8>,
    /// Whether it asks for the client's certificate; of TLS 1.3 that is encrypted.
    pub wants_certificate: bool,
    /// Whether nothing more of interest can follow.
    pub is_complete: bool,
}

impl Flight {
    /// Whether it says no and nothing else.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.version.is_none() && self.alert.is_some()
    }

    /// Whether it says no because nothing that was offered suits it (`handshake_failure`, `insufficient_security`).
    #[must_use]
    pub fn is_refusal_of_suites(&self) -> bool {
        self.is_refusal() && matches!(self.alert, Some(40 | 71))
    }
}

/// The name of an alert (RFC 8446 section 6, RFC 5246 section 7.2), or its number.
#[must_use]
pub fn alert_name(alert: u8) -> String {
    let name = match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        other => return format!("alert {other}"),
    };
    name.to_owned()
}

/// Whether bytes begin as a TLS server's answer does: a handshake or an alert record.
#[must_use]
pub fn is_tls(bytes: &[u8]) -> bool {
    match bytes {
        // A ServerHello, in a record of any length.
        [22, 3, 0..=4, _, _, 2, ..] => true,
        [21, 3, 0..=4, 0, 2, 1 | 2, ..] => true,
        _ => false,
    }
}

/// Whether so few bytes have come that a TLS server's answer may be what they begin.
#[must_use]
pub(crate) fn begins_as_tls(bytes: &[u8]) -> bool {
    const RECORD: [[u8; 2]; 2] = [[21, 3], [22, 3]];
    bytes.len() < 6 && RECORD.iter().any(|record| !bytes.is_empty() && record.iter().zip(bytes).all(|(a, b)| a == b))
}

/// Reads a flight from what has come of it; `None` when it is no TLS at all.
#[must_use]
pub fn read_flight(bytes: &[u8]) -> Option<Flight> {
    if !is_tls(bytes) {
        return None;
    }
    let (mut flight, mut handshake, mut rest) = (Flight::default(), Vec::new(), bytes);
    while let [kind, 3, _, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = after.get(..length).filter(|_| length <= RECORD_MAX) else {
            flight.is_complete = length > RECORD_MAX;
            // What has come of an unfinished record still counts: a certificate may be whole in it.
            if *kind == 22 {
                handshake.extend_from_slice(after);
            }
            break;
        };
        match kind {
            22 => handshake.extend_from_slice(content),
            // A warning, such as that the name is unknown, behind which the hello follows all the same.
            21 if matches!(content, [1, 90 | 100 | 112]) => flight.alert = content.get(1).copied(),
            21 => {
                flight.alert = content.get(1).copied();
                flight.is_complete = true;
                break;
            }
            // Encrypted from here on.
            _ => {
                flight.is_complete = true;
                break;
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
    read_messages(&handshake, &mut flight);
    Some(flight)
}

fn read_messages(mut rest: &[u8], flight: &mut Flight) {
    while let [kind, a, b, c, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
        let Some(body) = after.get(..length) else {
            // A chain that is longer than is read still begins with the server's own certificate.
            if *kind == 11 {
                read_certificates(after, flight);
            }
            return;
        };
        match kind {
            2 => read_server_hello(body, flight),
            11 => read_certificates(body, flight),
            13 => flight.wants_certificate = true,
            14 => flight.is_complete = true,
            _ => {}
        }
        rest = after.get(length..).unwrap_or_default();
    }
}

fn read_server_hello(body: &[u8], flight: &mut Flight) {
    let Some(([high, low], rest)) = body.split_first_chunk::<2>() else { return };
    flight.version = Some(u16::from_be_bytes([*high, *low]));
    // The random, then the session id.
    let Some([id, rest @ ..]) = rest.get(32..) else { return };
    let Some([high, low, _, rest @ ..]) = rest.get(usize::from(*id)..) else { return };
    flight.cipher = Some(u16::from_be_bytes([*high, *low]));
    let mut extensions = rest.get(2..).unwrap_or_default();
    while let [kind_high, kind_low, high, low, after @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = after.get(..length) else { return };
        // supported_versions names TLS 1.3, which the version field hides.
        if let ([0, 43], [high, low]) = ([*kind_high, *kind_low], content) {
            flight.version = Some(u16::from_be_bytes([*high, *low]));
            // Everything that follows is encrypted, or a second hello.
            flight.is_complete = true;
        }
        extensions = after.get(length..).unwrap_or_default();
    }
}

fn read_certificates(body: &[u8], flight: &mut Flight) {
    let mut rest = body.get(3..).unwrap_or_default();
    while let [a, b, c, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or(usize::MAX);
        let Some(der) = after.get(..length) else {
            // So does a certificate with what it is for.
            if flight.certificates.is_empty() && !after.is_empty() {
                flight.certificates.push(after.to_vec());
            }
            return;
        };
        if flight.certificates.len() == CERTIFICATES_MAX {
            return;
        }
        flight.certificates.push(der.to_vec());
        rest = after.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 3, 3];
        record.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        record.extend(content);
        record
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        message.extend(body);
        message
    }

    fn server_hello(version: u16, cipher: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend([1, 0xaa]);
        body.extend(cipher.to_be_bytes());
        body.push(0);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        message(2, &body)
    }

    #[test]
    fn a_flight_of_tls_12_gives_cipher_and_certificates_across_records() {
        let mut handshake = server_hello(0x0303, 0xc02f, &[]);
        let certificates = [&[0, 0, 9, 0, 0, 3][..], b"abc", &[0, 0, 2], b"de"].concat();
        handshake.extend(message(11, &certificates[..]));
        handshake.extend(message(14, &[]));
        for cut in 6..handshake.len() {
            let bytes = [record(22, &handshake[..cut]), record(22, &handshake[cut..])].concat();
            let flight = read_flight(&bytes).unwrap();
            assert_eq!((flight.version, flight.cipher), (Some(0x0303), Some(0xc02f)));
            assert_eq!(flight.certificates, [b"abc".to_vec(), b"de".to_vec()]);
            assert!(flight.is_complete && flight.alert.is_none());
        }
    }

    #[test]
    fn tls_13_is_seen_through_its_disguise() {
        let bytes = record(22, &server_hello(0x0303, 0x1301, &[0, 43, 0, 2, 3, 4]));
        let flight = read_flight(&bytes).unwrap();
        assert_eq!((flight.version, flight.cipher, flight.is_complete), (Some(0x0304), Some(0x1301), true));
    }

    #[test]
    fn a_server_that_wants_to_see_a_certificate_says_so() {
        let mut handshake = server_hello(0x0303, 0xc02f, &[]);
        handshake.extend(message(11, &[0, 0, 4, 0, 0, 1, b'x']));
        assert!(!read_flight(&record(22, &handshake)).unwrap().wants_certificate);
        handshake.extend(message(13, &[1, 1, 0, 2, 4, 1, 0, 0]));
        handshake.extend(message(14, &[]));
        let flight = read_flight(&record(22, &handshake)).unwrap();
        assert!(flight.wants_certificate && flight.is_complete && flight.certificates.len() == 1);
    }

    #[test]
    fn a_refusal_is_tls_too() {
        let flight = read_flight(&record(21, &[2, 70])).unwrap();
        assert_eq!((flight.alert, flight.version), (Some(70), None));
        let refused = read_flight(&record(21, &[2, 112])).unwrap();
        assert_eq!(alert_name(refused.alert.unwrap()), "unrecognized_name");
        assert_eq!(alert_name(99), "alert 99");
        let warned = [record(21, &[1, 112]), record(22, &server_hello(0x0303, 0xc02f, &[]))].concat();
        let flight = read_flight(&warned).unwrap();
        assert_eq!((flight.version, flight.is_refusal()), (Some(0x0303), false), "a warning alone refuses nothing");
        let alone = read_flight(&record(21, &[1, 112])).unwrap();
        assert!(alone.is_refusal() && !alone.is_complete, "more may follow");
        assert_eq!(read_flight(b"HTTP/1.1 400 Bad Request\r\n"), None);
        assert_eq!(read_flight(b"\x16\x03"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(head in 0_usize..3, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
            let heads: [&[u8]; 3] = [&[22, 3, 1, 0, 200, 2], &[21, 3, 3, 0, 2, 2], &[]];
            let bytes = [heads[head], &tail].concat();
            if let Some(flight) = read_flight(&bytes) {
                prop_assert!(flight.certificates.len() <= CERTIFICATES_MAX);
            }
        }
    }
}
