//! What a packet says about a probe: a SYN-ACK, a reset, an echo or timestamp reply, or an ICMP error that quotes the
//! probe.
//!
//! The bytes come from anyone, so nothing is believed here: [`Answer::prove`] asks the cookie. Later fragments, and
//! errors that quote anything but a probe, say nothing.

use std::net::IpAddr;

use super::icmp;
use super::ip::{self, Ip};
use super::probe::{Keys, Probe};
use super::{read16, read32};
use crate::finding::{PortState, Reason, Stack};

/// Protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Flags of a segment.
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// An answer that has yet to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address that was asked.
    pub address: IpAddr,
    /// What was asked.
    pub probe: Probe,
    /// The source port, or identifier, that it was asked from.
    pub lane: u16,
    /// The cookie that the answer acknowledges, repeats or quotes.
    pub cookie: u32,
    /// The state of the port; [`PortState::Unfiltered`] where only the host has answered.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
    /// Time to live of the answer.
    pub ttl: u8,
    /// Whether the asked address itself says it, not something on the way.
    pub is_own_word: bool,
    /// What a SYN-ACK tells of the stack that made it.
    pub stack: Option<Stack>,
    /// The number of a reset, which is the cookie if it was an ACK that was reset.
    reset: Option<u32>,
}

impl Answer {
    /// The answer and when its probe was sent, if it was ours.
    #[must_use]
    pub fn prove(self, keys: &Keys) -> Option<(Self, u16)> {
        if let Some(stamp) = keys.stamp(self.probe, self.address, self.lane, self.cookie) {
            return Some((self, stamp));
        }
        let (Probe::Syn(port), Some(cookie)) = (self.probe, self.reset) else { return None };
        let answer = Self { probe: Probe::Ack(port), cookie, state: PortState::Unfiltered, ..self };
        keys.stamp(answer.probe, self.address, self.lane, cookie).map(|stamp| (answer, stamp))
    }
}

/// Reads a packet that begins with its IP header; nothing for what cannot be an answer.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Answer> {
    let ip = ip::parse(bytes)?;
    match ip.protocol {
        TCP => tcp(&ip),
        ICMP | ICMPV6 => icmp(&ip),
        _ => None,
    }
}

fn tcp(ip: &Ip<'_>) -> Option<Answer> {
    let flags = *ip.payload.get(13)?;
    let (state, reason) = match flags {
        flags if flags & RST != 0 => (PortState::Closed, Reason::Reset),
        // An acknowledgement alone is the answer of a half-open connection to a second SYN (RFC 5961 section 4): the
        // first one's SYN-ACK was lost, and the cookie shows whose it was.
        flags if flags & ACK != 0 => (PortState::Open, Reason::SynAck),
        _ => return None,
    };
    let sequence = read32(ip.payload, 4)?;
    Some(Answer {
        address: ip.source,
        probe: Probe::Syn(read16(ip.payload, 0)?),
        lane: read16(ip.payload, 2)?,
        cookie: read32(ip.payload, 8)?.wrapping_sub(1),
        state,
        reason,
        ttl: ip.ttl,
        is_own_word: true,
        stack: if flags & (SYN | RST) == SYN { stack(ip.payload) } else { None },
        reset: (state == PortState::Closed).then_some(sequence),
    })
}

/// The window of a segment and its segment size, among the options as far as they are there (RFC 9293 section 3.1).
fn stack(segment: &[u8]) -> Option<Stack> {
    let window = read16(segment, 14)?;
    let end = usize::from(*segment.get(12)? >> 4) * 4;
    let mut options = segment.get(20..end.min(segment.len())).unwrap_or_default();
    let mut size = 0;
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => break,
            (1, _) => rest,
            (2, [4, high, low, ..]) => {
                size = u16::from_be_bytes([*high, *low]);
                break;
            }
            (_, [length, ..]) if *length >= 2 => options.get(usize::from(*length)..).unwrap_or_default(),
            _ => break,
        };
    }
    Some(Stack { window, segment: size })
}

fn icmp(ip: &Ip<'_>) -> Option<Answer> {
    let (kind, code) = (*ip.payload.first()?, *ip.payload.get(1)?);
    let reply = match (ip.protocol, kind) {
        (ICMP, 0) | (ICMPV6, 129) => Some((Probe::Echo, Reason::EchoReply)),
        (ICMP, 14) => Some((Probe::Timestamp, Reason::TimestampReply)),
        _ => None,
    };
    if let Some((probe, reason)) = reply {
        let (lane, cookie) = query(ip.payload)?;
        let state = PortState::Unfiltered;
        let (address, ttl) = (ip.source, ip.ttl);
        return Some(Answer {
            address,
            probe,
            lane,
            cookie,
            state,
            reason,
            ttl,
            is_own_word: true,
            stack: None,
            reset: None,
        });
    }
    let reason = if ip.protocol == ICMP { icmp::reason(kind, code)? } else { icmp::reason_v6(kind, code)? };
    let quoted = ip::parse(ip.payload.get(8..)?)?;
    let (probe, lane, cookie) = match (quoted.protocol, quoted.payload.first()?) {
        (TCP, _) => {
            let port = read16(quoted.payload, 2)?;
            (Probe::Syn(port), read16(quoted.payload, 0)?, read32(quoted.payload, 4)?)
        }
        (ICMP, 8) | (ICMPV6, 128) => query(quoted.payload).map(|(lane, cookie)| (Probe::Echo, lane, cookie))?,
        (ICMP, 13) => query(quoted.payload).map(|(lane, cookie)| (Probe::Timestamp, lane, cookie))?,
        _ => return None,
    };
    Some(Answer {
        address: quoted.destination,
        probe,
        lane,
        cookie,
        state: PortState::Filtered,
        reason,
        ttl: ip.ttl,
        is_own_word: ip.source == quoted.destination,
        stack: None,
        // An ACK carries its cookie as its own number.
        reset: (quoted.protocol == TCP).then_some(cookie),
    })
}

/// The identifier and the cookie of an echo or timestamp message, if the two parts of the cookie agree.
fn query(message: &[u8]) -> Option<(u16, u32)> {
    let cookie = read32(message, 8)?;
    (cookie & 0xffff == u32::from(read16(message, 6)?)).then_some((read16(message, 4)?, cookie))
}

#[cfg(test)]
#[path = "answer/answer_test.rs"]
mod tests;
