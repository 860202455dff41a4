//! What the messages of ICMP and ICMPv6 that something cannot be reached mean for the port that was asked, whoever reads them:
//! the raw engine in packets, the others in the error queues of their sockets.

use crate::finding::Reason;

/// The reason that an ICMP error gives: RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1 for the codes.
pub(crate) fn reason(kind: u8, code: u8) -> Option<Reason> {
    match (kind, code) {
        (3, 0 | 6 | 11) => Some(Reason::NetUnreach),
        (3, 1 | 5 | 7 | 8 | 12) => Some(Reason::HostUnreach),
        (3, 2) => Some(Reason::ProtoUnreach),
        (3, 3) => Some(Reason::PortUnreach),
        (3, 9 | 10 | 13 | 14 | 15) => Some(Reason::AdminProhibited),
        (11, _) => Some(Reason::TimeExceeded),
        // Too big, which no probe is, or nothing an error is made of.
        _ => None,
    }
}

/// The same for ICMPv6: RFC 4443 section 3.
pub(crate) fn reason_v6(kind: u8, code: u8) -> Option<Reason> {
    match (kind, code) {
        (1, 0 | 6) => Some(Reason::NetUnreach),
        (1, 1 | 5) => Some(Reason::AdminProhibited),
        (1, 2 | 3) => Some(Reason::HostUnreach),
        (1, 4) => Some(Reason::PortUnreach),
        (3, _) => Some(Reason::TimeExceeded),
        // An unknown next header.
        (4, 1) => Some(Reason::ProtoUnreach),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_in_nmaps_words_and_what_is_no_refusal_is_none() {
        let told = [(0, Reason::NetUnreach), (1, Reason::HostUnreach), (3, Reason::PortUnreach)];
        assert!(told.iter().all(|(code, told)| reason(3, *code) == Some(*told)));
        assert!([9, 10, 13].iter().all(|code| reason(3, *code) == Some(Reason::AdminProhibited)));
        assert_eq!((reason(3, 4), reason(0, 0), reason_v6(2, 0)), (None, None, None));
        assert_eq!((reason_v6(1, 4), reason_v6(1, 1)), (Some(Reason::PortUnreach), Some(Reason::AdminProhibited)));
    }
}
