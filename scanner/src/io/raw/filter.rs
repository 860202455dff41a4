//! The filters of the receiving sockets, in the kernel's classic packet language; offsets count from the IP header.
//!
//! They let through TCP segments to our source ports that acknowledge or reset, replies to our echo and timestamp
//! requests, and ICMP errors. IPv6 extension headers cannot be walked over in this language: packets with one are let
//! through to where they can.

use socket2::SockFilter;

/// Instructions (linux/filter.h).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_BYTE_INDEXED: u16 = 0x50;
const HEADER_LENGTH_TO_X: u16 = 0xb1;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ABOVE: u16 = 0x25;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Bytes of a packet that are kept: two headers with options, and what an error quotes.
const KEPT: u32 = 256;

/// One instruction.
fn op(code: u16, jump_if: u8, jump_else: u8, number: u32) -> SockFilter {
    SockFilter::new(code, jump_if, jump_else, number)
}

/// Answers over IPv4 to source ports, or identifiers, from `first` to `last`.
pub(super) fn v4(first: u16, last: u16) -> Vec<SockFilter> {
    let (first, last) = (u32::from(first), u32::from(last));
    vec![
        op(LOAD_HALF, 0, 0, 6),
        op(IF_ANY_BIT, 18, 0, 0x1fff), // a later fragment
        op(HEADER_LENGTH_TO_X, 0, 0, 0),
        op(LOAD_BYTE, 0, 0, 9),
        op(IF_EQUAL, 0, 5, 6), // TCP
        op(LOAD_HALF_INDEXED, 0, 0, 2),
        op(IF_AT_LEAST, 0, 13, first),
        op(IF_ABOVE, 12, 0, last),
        op(LOAD_BYTE_INDEXED, 0, 0, 13),
        op(IF_ANY_BIT, 9, 10, 0x14), // acknowledges or resets
        op(IF_EQUAL, 0, 9, 1),       // ICMP
        op(LOAD_BYTE_INDEXED, 0, 0, 0),
        op(IF_EQUAL, 6, 0, 3),  // destination unreachable
        op(IF_EQUAL, 5, 0, 11), // time exceeded
        op(IF_EQUAL, 1, 0, 0),  // echo reply
        op(IF_EQUAL, 0, 4, 14), // timestamp reply
        op(LOAD_HALF_INDEXED, 0, 0, 4),
        op(IF_AT_LEAST, 0, 2, first),
        op(IF_ABOVE, 1, 0, last),
        op(RETURN, 0, 0, KEPT),
        op(RETURN, 0, 0, 0),
    ]
}

/// Answers over IPv6 to source ports from `first` to `last`.
pub(super) fn v6(first: u16, last: u16) -> Vec<SockFilter> {
    let (first, last) = (u32::from(first), u32::from(last));
    vec![
        op(LOAD_BYTE, 0, 0, 6),
        op(IF_EQUAL, 0, 5, 6), // TCP
        op(LOAD_HALF, 0, 0, 42),
        op(IF_AT_LEAST, 0, 14, first),
        op(IF_ABOVE, 13, 0, last),
        op(LOAD_BYTE, 0, 0, 53),
        op(IF_ANY_BIT, 10, 11, 0x14), // acknowledges or resets
        op(IF_EQUAL, 0, 4, 58),       // ICMPv6
        op(LOAD_BYTE, 0, 0, 40),
        op(IF_EQUAL, 7, 0, 129), // echo reply
        op(IF_ABOVE, 7, 0, 4),   // no error
        op(IF_ANY_BIT, 5, 6, 7), // errors have 1 to 4
        op(IF_EQUAL, 4, 0, 0),   // hop-by-hop options
        op(IF_EQUAL, 3, 0, 43),  // routing
        op(IF_EQUAL, 2, 0, 44),  // a fragment
        op(IF_EQUAL, 1, 0, 51),  // authentication
        op(IF_EQUAL, 0, 1, 60),  // destination options
        op(RETURN, 0, 0, KEPT),
        op(RETURN, 0, 0, 0),
    ]
}
