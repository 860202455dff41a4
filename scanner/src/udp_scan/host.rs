//! One host being asked over UDP: where it stands and what is known of each of its ports, a byte per port.

use std::time::Duration;

use super::icmp_limit::IcmpLimit;
use crate::finding::{NotProbed, PortState, Reason, ScannedHost};

/// A host from its first probe to its last.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) scanned: ScannedHost,
    pub(super) phase: HostPhase,
    /// How often each silent port will have been asked after this walk through the ports, from 1.
    pub(super) round: u8,
    /// The next step of the walk.
    pub(super) step: u32,
    /// By position in the port set.
    pub(super) notes: Box<[Note]>,
    /// Whether it has not been asked all its ports once.
    pub(super) is_new: bool,
    /// Probes that are out.
    pub(super) pending: u32,
    /// Whether it is in line or asleep.
    pub(super) queued: bool,
    /// How it is known to be up, once it is.
    pub(super) up: Option<Reason>,
    /// Ports that it said are closed.
    pub(super) closed: u32,
    /// One of them, by position.
    pub(super) known_closed: Option<u32>,
    pub(super) limit: IcmpLimit,
    /// The walk after which that was tested.
    pub(super) tested_round: u8,
    /// Ports that were closed when this walk began.
    pub(super) closed_before: u32,
    /// How often it was asked once more in case another's limit had kept it silent, if it waits for that.
    pub(super) late: Option<u8>,
    /// When its last port must have been asked, once it is paced by its own limit.
    pub(super) paced_until: Option<Duration>,
    /// When it has answered last.
    pub(super) heard_at: Option<Duration>,
    /// Whether the kernel has no room for the neighbour that leads to it.
    pub(super) is_crowded_out: bool,
    /// Nothing is sent to it before.
    pub(super) next_at: Duration,
    /// Why nothing may, or can, be sent to it, once that is so.
    pub(super) not_sent: Option<NotProbed>,
}

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// Its name is being resolved; it has no address yet.
    Resolving,
    /// Its ports are asked.
    Asking,
    /// Nothing may, or can, be sent to it any more.
    Refused,
}

/// What is known of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Note {
    /// Not asked yet.
    #[default]
    None,
    /// Asked so many times without an answer.
    Silent(u8),
    Open,
    Closed,
    /// Something on the way answered.
    Filtered(Reason),
}

impl Note {
    /// The note for what an answer says.
    pub(super) fn of(state: PortState, reason: Reason) -> Self {
        match state {
            PortState::Open => Self::Open,
            PortState::Closed => Self::Closed,
            PortState::Filtered | PortState::OpenFiltered | PortState::Unfiltered => Self::Filtered(reason),
        }
    }

    /// Whether the host has answered for the port itself, which nothing that comes later changes.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Open | Self::Closed)
    }
}

impl Host {
    /// A host whose address is not being asked yet, or not known.
    pub(super) fn new(scanned: ScannedHost) -> Self {
        Self {
            scanned,
            phase: HostPhase::Resolving,
            round: 1,
            step: 0,
            notes: Box::default(),
            is_new: false,
            pending: 0,
            queued: false,
            up: None,
            closed: 0,
            known_closed: None,
            limit: IcmpLimit::Unknown,
            tested_round: 0,
            closed_before: 0,
            late: None,
            paced_until: None,
            heard_at: None,
            is_crowded_out: false,
            next_at: Duration::ZERO,
            not_sent: None,
        }
    }

    pub(super) fn note(&self, position: u32) -> Note {
        self.notes.get(position as usize).copied().unwrap_or_default()
    }

    pub(super) fn set_note(&mut self, position: u32, note: Note) {
        if let Some(known) = self.notes.get_mut(position as usize) {
            *known = note;
        }
    }

    /// Whether any port has been asked and not been answered for.
    pub(super) fn has_silent(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::Silent(_)))
    }
}
