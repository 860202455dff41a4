//! One host being scanned: where it stands and which of its ports are settled.

use std::time::Duration;

use super::own_path::OwnPath;
use super::repeat::Repeats;
use super::rounds::Rounds;
use crate::finding::{NotProbed, Reason, ScannedHost};
use crate::scan::HeardPorts;
use crate::scan::middlebox::{Privileged, Trial};
use crate::scan::pulse::Pulse;
use crate::scan::stretch::Stretches;

/// A host from its first probe to its last.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) scanned: ScannedHost,
    pub(super) phase: HostPhase,
    /// The next step of its walk through the ports.
    pub(super) step: u32,
    /// How many of the discovery probes were sent.
    pub(super) discovery_sent: usize,
    /// How many probes got out to it, and whether a filter of this machine's own has refused any.
    pub(super) sent: u64,
    pub(super) is_refused_here: bool,
    /// Probes in flight or waiting to be sent again, and banners being read.
    pub(super) pending: u32,
    /// Whether it waits in line for its next probe.
    pub(super) queued: bool,
    /// How it is known to be up, once it is.
    pub(super) up: Option<Reason>,
    pub(super) heard: HeardPorts,
    /// Whether it still answers.
    pub(super) pulse: Pulse<u16>,
    /// When it has answered last.
    pub(super) heard_at: Option<Duration>,
    /// Ports that answered, by what they said.
    pub(super) opened: u32,
    pub(super) closed: u32,
    /// The privileged ones of these.
    pub(super) privileged: Privileged,
    /// The open ones above them.
    pub(super) stretches: Stretches,
    /// The test whether it answers on everything, once it has begun.
    pub(super) trial: Option<Trial>,
    /// What it loses beyond the path that all share.
    pub(super) own: OwnPath,
    /// How often all its ports were asked.
    pub(super) rounds: Rounds,
    /// What became of the SYNs that the kernel has repeated.
    pub(super) repeats: Repeats,
    /// Ports that were not let through to it, however often they were asked.
    pub(super) unproved: u32,
    /// Whether the kernel has no room for the neighbour that leads to it.
    pub(super) is_crowded_out: bool,
    /// Why this machine cannot send to it, once that is so.
    pub(super) not_sent: Option<NotProbed>,
}

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// Its name is being resolved; it has no address yet.
    Resolving,
    /// A few probes ask whether it is there at all.
    Discovery,
    /// All its ports are asked.
    Ports,
}

impl Host {
    /// Asks it nothing more: there is no way to it.
    pub(super) fn give_up(&mut self, why: NotProbed) {
        self.not_sent = Some(why);
        self.phase = HostPhase::Ports;
        self.step = u32::MAX;
    }

    /// A host that has no address yet, unless it has one of its own.
    pub(super) fn new(scanned: ScannedHost) -> Self {
        Self {
            scanned,
            phase: HostPhase::Resolving,
            step: 0,
            discovery_sent: 0,
            sent: 0,
            is_refused_here: false,
            pending: 0,
            queued: false,
            up: None,
            heard: HeardPorts::default(),
            pulse: Pulse::default(),
            heard_at: None,
            opened: 0,
            closed: 0,
            privileged: Privileged::default(),
            stretches: Stretches::default(),
            trial: None,
            own: OwnPath::default(),
            rounds: Rounds::default(),
            repeats: Repeats::default(),
            unproved: 0,
            is_crowded_out: false,
            not_sent: None,
        }
    }
}
