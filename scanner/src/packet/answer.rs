//! What an IPv4 packet says about a probe: a SYN-ACK, a reset, or an ICMP error that quotes the probe.
//!
//! The bytes come from anyone, so nothing is believed here: [`Answer::stamp`] asks the cookie. Fragments, and errors
//! that quote anything but a TCP segment, say nothing.

use super::cookie::Key;
use super::{read16, read32};
use crate::finding::{PortState, Reason};

/// TCP over IP, ICMP over IP.
const TCP: u8 = 6;
const ICMP: u8 = 1;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// An answer that has yet to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address that was asked.
    pub address: u32,
    /// The port that was asked.
    pub port: u16,
    /// The source port it was asked from.
    pub from_port: u16,
    /// The sequence number that the answer acknowledges or quotes.
    pub sequence: u32,
    /// The port's state.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
    /// Time to live of the answer.
    pub ttl: u8,
}

impl Answer {
    /// When the probe was sent, if it was ours.
    #[must_use]
    pub fn stamp(&self, key: &Key) -> Option<u16> {
        key.stamp(self.address, self.port, self.from_port, self.sequence)
    }
}

/// The header of an IPv4 packet and what follows it.
struct Ipv4<'a> {
    protocol: u8,
    ttl: u8,
    source: u32,
    destination: u32,
    payload: &'a [u8],
}

/// Reads a packet that begins with its IPv4 header; nothing for what cannot be an answer.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Answer> {
    let ip = ipv4(bytes)?;
    match ip.protocol {
        TCP => tcp(&ip),
        ICMP => icmp(&ip),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4<'_>> {
    let first = *bytes.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let is_first_fragment = read16(bytes, 6)? & 0x1fff == 0;
    if first >> 4 != 4 || header < 20 || !is_first_fragment {
        return None;
    }
    Some(Ipv4 {
        protocol: *bytes.get(9)?,
        ttl: *bytes.get(8)?,
        source: read32(bytes, 12)?,
        destination: read32(bytes, 16)?,
        payload: bytes.get(header..)?,
    })
}

fn tcp(ip: &Ipv4<'_>) -> Option<Answer> {
    let flags = *ip.payload.get(13)?;
    let (state, reason) = match flags {
        flags if flags & RST != 0 => (PortState::Closed, Reason::Reset),
        // An acknowledgement alone is the answer of a half-open connection to a second SYN (RFC 5961 section 4): the
        // first one's SYN-ACK was lost, and the cookie shows whose it was.
        flags if flags & ACK != 0 => (PortState::Open, Reason::SynAck),
        _ => return None,
    };
    Some(Answer {
        address: ip.source,
        port: read16(ip.payload, 0)?,
        from_port: read16(ip.payload, 2)?,
        sequence: read32(ip.payload, 8)?.wrapping_sub(1),
        state,
        reason,
        ttl: ip.ttl,
    })
}

fn icmp(ip: &Ipv4<'_>) -> Option<Answer> {
    let reason = reason(*ip.payload.first()?, *ip.payload.get(1)?)?;
    let quoted = ipv4(ip.payload.get(8..)?)?;
    if quoted.protocol != TCP {
        return None;
    }
    Some(Answer {
        address: quoted.destination,
        port: read16(quoted.payload, 2)?,
        from_port: read16(quoted.payload, 0)?,
        sequence: read32(quoted.payload, 4)?,
        state: PortState::Filtered,
        reason,
        ttl: ip.ttl,
    })
}

/// What an ICMP error means for a port: RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1 for the codes.
fn reason(kind: u8, code: u8) -> Option<Reason> {
    match (kind, code) {
        (3, 0 | 6 | 11) => Some(Reason::NetUnreach),
        (3, 1 | 5 | 7 | 8 | 12) => Some(Reason::HostUnreach),
        (3, 2) => Some(Reason::ProtoUnreach),
        (3, 3) => Some(Reason::PortUnreach),
        (3, 9 | 10 | 13 | 14 | 15) => Some(Reason::AdminProhibited),
        (11, _) => Some(Reason::TimeExceeded),
        // Too big, which no SYN is, or nothing an error is made of.
        _ => None,
    }
}

#[cfg(test)]
#[path = "answer/answer_test.rs"]
mod tests;
