//! Readers that are private to this crate, for the fuzz targets, which are crates of their own.
//!
//! Compiled only with `--cfg fuzzing`, which cargo-fuzz sets: nobody else sees more of the crate than it shows.

use std::net::{IpAddr, Ipv4Addr};

pub use crate::detect::each_dissected;
pub use crate::io::raw::read_netlink;
use crate::udp_scan::payload::{self, Ask};

/// What a UDP port is asked, and what becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The datagrams of one try.
    pub requests: Vec<Vec<u8>>,
    /// Whether the answer can be one to them.
    pub is_accepted: bool,
    /// The part of it that is words.
    pub words: Option<Vec<u8>>,
    /// The port that it belongs to, where it comes from another.
    pub asked_port: Option<u16>,
}

/// Asks a UDP port with a probe's token, and looks at an answer.
#[must_use]
pub fn ask_over_udp(port: u16, token: [u8; 8], answer: &[u8]) -> Asked {
    let ask = Ask { token, to: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)) };
    Asked {
        requests: payload::of(port).iter().map(|payload| payload.write(&ask)).collect(),
        is_accepted: payload::accepts(port, &ask, answer),
        words: payload::words(port, answer).map(<[u8]>::to_vec),
        asked_port: payload::asked_port_of(answer),
    }
}

/// What a challenge of NTLM somewhere in an answer tells, by name.
#[must_use]
pub fn read_challenge(answer: &[u8]) -> Vec<(String, String)> {
    crate::detect::challenge(answer)
}

/// Whether an answer of SQL Server lets a handshake begin, where it is whole.
#[must_use]
pub fn agrees_to_tls(answer: &[u8]) -> Option<bool> {
    crate::detect::agrees_to_tls(answer)
}

/// The contents of SQL Server's packets that come in pieces; `None` where one is none.
#[must_use]
pub fn contents_of_packets(pieces: &[&[u8]]) -> Option<Vec<u8>> {
    crate::detect::contents_of_packets(pieces)
}
