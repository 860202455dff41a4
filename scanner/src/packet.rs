//! Packets of the raw engine as bytes: built, answered and checked without a socket.
//!
//! What a probe asks is a [`probe::Probe`]. Its packet is a template with a few words changed ([`template`]); what it has
//! to remember travels in it ([`cookie`]) and comes back with the answer ([`answer`]), so that no probe needs memory
//! here. [`arp`] and [`nd`] find the link address of the next hop, [`block`] reads what the receive ring hands over.
//! IPv4 and IPv6.

pub mod answer;
pub mod arp;
pub mod block;
pub mod checksum;
pub mod cookie;
pub(crate) mod icmp;
mod ip;
pub mod nd;
pub mod probe;
pub mod template;

/// Two bytes at an offset, as a number in network order.
fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes at an offset, as a number in network order.
fn read32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
