//! Packets of the raw engine as bytes: built, answered and checked without a socket.
//!
//! A SYN is a template with a few words changed ([`syn`]); what a probe has to remember travels in its sequence number
//! ([`cookie`]) and comes back with the answer ([`answer`]), so that no probe needs memory here. [`arp`] finds the
//! link address of the next hop. IPv4 only.

pub mod answer;
pub mod arp;
pub mod block;
pub mod checksum;
pub mod cookie;
pub mod syn;

/// Two bytes at an offset, as a number in network order.
fn read16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes at an offset, as a number in network order.
fn read32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
