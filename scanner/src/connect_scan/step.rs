//! What a connect scan says and is told: steps and answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::finding::{PortState, Reason};
use crate::slot_map::Key;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Open a connection; its end is told with [`super::ConnectScan::on_answer`] or [`super::ConnectScan::on_exhausted`].
    Send {
        /// Names the probe in later calls.
        probe: Key,
        /// Where to.
        to: SocketAddr,
    },
    /// Give a probe up: nothing that comes for it is of use any more.
    Close {
        /// The probe.
        probe: Key,
    },
    /// Look up a host name and tell [`super::ConnectScan::on_resolved`].
    Resolve {
        /// Names the lookup in the later call.
        host: Key,
        /// The name.
        name: Arc<str>,
    },
    /// Nothing to do before this time, or an answer, or room for more sockets.
    Wait {
        /// The time.
        until: Duration,
    },
    /// Everything is settled; no probe is out.
    Done,
    /// This machine had no room for a probe for half a minute; the unit is not done.
    Starved,
}

/// What came back for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The port's state.
    pub state: PortState,
    /// How that is known.
    pub reason: Reason,
    /// Whether the address itself says it, not something on the way.
    pub is_own_word: bool,
}

impl Answer {
    /// What the host itself says of a port.
    #[must_use]
    pub fn own(state: PortState, reason: Reason) -> Self {
        Self { state, reason, is_own_word: true }
    }

    /// What something says that may be anywhere on the way.
    #[must_use]
    pub fn on_the_way(reason: Reason) -> Self {
        Self { state: PortState::Filtered, reason, is_own_word: false }
    }
}

/// An open port to listen to; [`super::ConnectScan::on_banner`] ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Names the host in the later call.
    pub host: Key,
    /// The port.
    pub port: u16,
    /// How long to listen.
    pub wait: Duration,
}
