//! The places that a scan's connections hold at the ports that they are open to ([`crate::occupancy`]).
//!
//! Units of other jobs, and other names of its address in other units, may ask a port at the same time: it has no more connections
//! for that. A place is given back when the connection is gone, which whoever drives the scan sees to
//! before it asks what to do next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{ConnectScan, Listen};
use crate::gate::{Gate, Stage, Verdict};
use crate::occupancy::{Occupancy, Place};
use crate::port::Port;
use crate::slot_map::Key;

/// How soon it is looked again where a port has no place: about a round trip.
pub(super) const FULL_PAUSE: Duration = Duration::from_millis(20);

/// The places of one scan.
#[derive(Debug, Default)]
pub(super) struct Places {
    occupancy: Arc<Occupancy>,
    /// Of probes that are out.
    probes: BTreeMap<Key, Place>,
    /// Of open ports that are listened to.
    listening: BTreeMap<(Key, u16), Place>,
    /// Of connections that are about to be closed.
    leaving: Vec<Place>,
}

impl Places {
    /// A place at a port, if there is one now; the whole room where each connection counts.
    pub(super) fn at(&self, to: SocketAddr, gate: &Gate) -> Option<Place> {
        let is_fragile = gate.of_port(Some(Port::tcp(to.port())), Stage::Service) != Verdict::Allow;
        self.occupancy.at_port(to, is_fragile)
    }

    /// A probe goes out to its place.
    pub(super) fn enter(&mut self, probe: Key, place: Place) {
        self.probes.insert(probe, place);
    }

    /// A probe has landed: its connection is closed next, or listened to.
    pub(super) fn leave(&mut self, probe: Key) {
        self.leaving.extend(self.probes.remove(&probe));
    }

    /// The connection of the probe that has landed last goes on.
    pub(super) fn listen(&mut self, listen: &Listen) {
        self.listening.extend(self.leaving.pop().map(|place| ((listen.host, listen.port), place)));
    }

    /// Listening has ended, and the connection is closed.
    pub(super) fn heard(&mut self, listen: &Listen) {
        self.listening.remove(&(listen.host, listen.port));
    }

    /// What was about to be closed is.
    pub(super) fn vacate(&mut self) {
        self.leaving.clear();
    }
}

impl ConnectScan {
    /// Counts its connections to each port together with whoever else counts there.
    #[must_use]
    pub(crate) fn within(mut self, occupancy: Arc<Occupancy>) -> Self {
        self.places.occupancy = occupancy;
        self
    }
}
