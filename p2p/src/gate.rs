//! Who may do what: the one place that lets connections and streams in.
//!
//! A member may open any class up to its number of places; anyone else that holds the pre-shared key may open
//! [`Class::Join`] and nothing more. The answer travels back as the first frame of the stream, so the opener knows why
//! it was refused, and an accepted stream is one that the application will really get.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::peers::PeerTable;
use crate::slots::Slot;
use crate::{Class, FrameStream, PeerId};

/// The peer table, shared by the event loop, its connections and the handles. Locks are short and never awaited under.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Mutex<PeerTable>,
    /// Wakes the event loop after somebody else changed the table.
    pub(crate) changed: Notify,
}

impl Peers {
    pub(crate) fn new(table: PeerTable) -> Self {
        Self { table: Mutex::new(table), changed: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PeerTable> {
        // No panic happens half-way through a change of the table, so a poisoned one is still whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a peer did not get its stream; one byte in the refusing frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The opener is not a member here.
    NotMember,
    /// The opener has all the streams of this class that it may have.
    TooMany,
    /// The application does not keep up with its incoming streams.
    Busy,
}

impl Refusal {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::NotMember => 1,
            Self::TooMany => 2,
            Self::Busy => 3,
        }
    }

    /// Reads a peer's byte; one that a later release invented is taken as [`Refusal::Busy`], which may be retried.
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::NotMember,
            2 => Self::TooMany,
            _ => Self::Busy,
        }
    }
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) struct StreamGate {
    pub(crate) peers: Arc<Peers>,
    incoming: mpsc::Sender<FrameStream>,
}

/// The right to hand one stream to the application.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) slot: Slot,
    pub(crate) place: mpsc::OwnedPermit<FrameStream>,
}

impl StreamGate {
    pub(crate) fn new(peers: Arc<Peers>, incoming: mpsc::Sender<FrameStream>) -> Self {
        Self { peers, incoming }
    }

    /// Decides over a stream that `peer` wants to open. Nothing waits here: there is a place or there is none.
    pub(crate) fn admit(&self, peer: PeerId, class: Class) -> Result<Admission, Refusal> {
        let slots = {
            let table = self.peers.lock();
            if class != Class::Join && !table.is_member(peer) {
                return Err(Refusal::NotMember);
            }
            table.slots(peer).ok_or(Refusal::NotMember)?
        };
        let slot = slots.take(class).ok_or(Refusal::TooMany)?;
        let place = self.incoming.clone().try_reserve_owned().map_err(|_full_or_gone| Refusal::Busy)?;
        Ok(Admission { slot, place })
    }
}
