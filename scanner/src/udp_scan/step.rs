//! What a UDP scan says and is told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::finding::{PortState, Reason};
use crate::slot_map::Key;

/// Local ports that the tries of a unit come from in turn, so that an answer shows which try it is for.
pub(crate) const LANES: u8 = 4;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// From which local port, below [`LANES`].
        lane: u8,
        /// What.
        bytes: Vec<u8>,
    },
    /// Look up a host name and tell [`super::UdpScan::on_resolved`].
    Resolve {
        /// Names the lookup in the later call.
        host: Key,
        /// The name.
        name: Arc<str>,
    },
    /// Nothing to do before this time, or something that arrives.
    Wait {
        /// The time.
        until: Duration,
    },
    /// Everything is settled.
    Done,
}

/// What has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    /// A datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its content.
        bytes: &'a [u8],
    },
    /// A message about a datagram of ours.
    Error {
        /// Where that was sent to.
        to: SocketAddr,
        /// Who says so, if that is known.
        by: Option<IpAddr>,
        /// What it says about the port, if the port's own host says it.
        state: PortState,
        /// In nmap's words.
        reason: Reason,
    },
}
