//! Hosts that nothing can be sent to any more: this machine refuses, the way to them is lost, or the kernel has no room for them
//! among its neighbours.
//!
//! What was not sent was not asked, so such a host is told as not probed instead of silent. What it has answered before stays found.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::host::{Host, HostPhase, Note};
use super::{FlightKey, UdpScan};
use crate::finding::NotProbed;
use crate::port::Port;
use crate::slot_map::Key;
use crate::target::of_socket;

impl UdpScan {
    /// This machine has no way to send to an address: the datagram is taken back, and its host is asked nothing more.
    pub(crate) fn on_not_sent(&mut self, to: SocketAddr, why: NotProbed) {
        self.results.tally.probes_sent = self.results.tally.probes_sent.saturating_sub(1);
        let Some(key) = self.by_address.get(&of_socket(to)).copied() else { return };
        let position = self.plan.spec().ports.position(Port::udp(to.port()));
        let is_out = position.is_some_and(|position| self.flights.remove(&FlightKey { host: key, position }).is_some());
        if let Some(host) = self.hosts.get_mut(key) {
            host.pending -= u32::from(is_out);
        }
        self.leave_out(key, why);
    }

    /// Ways have been lost at a time: hosts to which `why` says that there is none any more, and that have not answered since, are
    /// asked nothing more.
    pub(crate) fn lose(&mut self, since: Duration, why: impl Fn(IpAddr) -> Option<NotProbed>) {
        let is_silent = |host: &Host| host.heard_at.is_none_or(|heard_at| heard_at <= since);
        let asked = self.hosts.iter().filter(|(_, host)| host.phase == HostPhase::Asking && is_silent(host));
        let lost: Vec<_> = asked.filter_map(|(key, host)| Some((key, why(host.scanned.address)?))).collect();
        lost.into_iter().for_each(|(key, why)| self.leave_out(key, why));
    }

    /// A way that was lost is back, and nothing was decided meanwhile: whatever is out may have been heard by nobody, and is asked
    /// anew as if it had not been.
    pub(crate) fn ask_anew(&mut self) {
        let out: Vec<FlightKey> = self.flights.keys().copied().collect();
        out.into_iter().for_each(|flight| self.take_void(flight));
    }

    /// This machine has lost its way to an address for a moment: its datagram is taken back, to be asked once there is one.
    pub(crate) fn on_held_up(&mut self, to: SocketAddr) {
        self.results.tally.probes_sent = self.results.tally.probes_sent.saturating_sub(1);
        let Some(host) = self.by_address.get(&of_socket(to)).copied() else { return };
        if let Some(position) = self.plan.spec().ports.position(Port::udp(to.port())) {
            self.take_void(FlightKey { host, position });
        }
    }

    /// A probe says nothing: its host walks through its ports once more, and comes by it.
    fn take_void(&mut self, flight: FlightKey) {
        let Some(attempt) = self.flights.remove(&flight) else { return };
        let Some(host) = self.hosts.get_mut(flight.host) else { return };
        host.pending -= 1;
        let before = attempt.number - 1;
        host.set_note(flight.position, if before == 0 { Note::None } else { Note::Silent(before) });
        host.step = 0;
        self.rouse(flight.host);
    }

    /// The kernel's table of neighbours is, or was, full: `lacks` says to whom nothing is sent for that. Whoever still has no place
    /// when all its tries are over was not probed.
    pub(crate) fn crowd(&mut self, lacks: impl Fn(IpAddr) -> bool) {
        let mut count = 0;
        for host in self.hosts.values_mut() {
            if host.phase == HostPhase::Asking && host.pending > 0 {
                host.is_crowded_out = lacks(host.scanned.address);
            }
            count += usize::from(host.is_crowded_out);
        }
        self.crowded_out = count;
    }

    /// Whether somebody has no place in the table of neighbours.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded_out > 0
    }

    /// Asks a host nothing more, and ends it once nothing of it is out.
    pub(super) fn leave_out(&mut self, key: Key, why: NotProbed) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        host.phase = HostPhase::Refused;
        host.not_sent.get_or_insert(why);
        if host.pending == 0 {
            self.finish(key);
        }
    }
}
