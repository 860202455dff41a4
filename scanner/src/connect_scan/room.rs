//! Whether the routers before the targets still let new connections through, and what silence means where they may not.
//!
//! Ports that have answered are asked again beside the scan, a few in a hundred probes, as soon as many connections are left open
//! behind routers ([`crate::pace::room`] decides when, and what their answers mean). No silence is believed that no such question
//! stands beside; what was asked while something was full is asked again, as if it had not been, and what could not be asked in the end
//! lowers the estimate of its host.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ConnectScan, Flight, Step};
use crate::gate::{Stage, Verdict};
use crate::pace::flows::{FlowMemory, SYN_KEPT};
use crate::pace::room::Silence;
use crate::port::Port;
use crate::scan::Attempt;
use crate::slot_map::Key;
use crate::target::{of_socket, socket_address};

/// Ports that are kept to be asked again, each of another host: enough that none is asked often.
const KNOWN_MAX: usize = 64;
/// A question is waited for as long as a probe, but neither less than this, nor so long that the kernel asks again.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(950));
/// Silence that cannot be judged yet is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// So often a probe is asked again because it was not let through.
const VOID_MAX: u8 = 8;

/// Ports that have answered.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Refusals first, which leave no connection behind; whether it is one.
    ports: Vec<(SocketAddr, bool)>,
    turn: usize,
    /// Whether the last question could not be sent for want of a socket: until one can, there is nobody to ask.
    is_mute: bool,
}

impl Known {
    /// A port has answered the first time it was asked.
    fn note(&mut self, port: SocketAddr, is_refusal: bool) {
        if let Some(known) = self.ports.iter_mut().find(|(known, _)| known.ip() == port.ip()) {
            if is_refusal && !known.1 {
                *known = (port, true);
            }
            return;
        }
        if self.ports.len() < KNOWN_MAX {
            self.ports.push((port, is_refusal));
        } else if is_refusal {
            self.ports
                .iter_mut()
                .find(|(_, is_refusal)| !is_refusal)
                .into_iter()
                .for_each(|known| *known = (port, true));
        }
    }

    fn next(&mut self) -> Option<SocketAddr> {
        self.turn = self.turn.wrapping_add(1);
        let at = self.turn % self.ports.len().max(1);
        self.ports.get(at).map(|(port, _)| *port)
    }
}

impl ConnectScan {
    /// Whether connections to an address leave flows behind that are counted.
    pub(super) fn leaves_flows(&self, address: IpAddr) -> bool {
        let is_counted = self.limits.flows_max.is_some() || self.limits.watches_room;
        is_counted && !address.is_loopback() && !self.neighbours.is_neighbour(address)
    }

    /// How many flows the job has left open.
    fn open_flows(&self, now: Duration) -> u32 {
        self.pace.flows().count(now)
    }

    /// Whether one more flow may be left behind in routers.
    pub(super) fn admit_flow(&self, now: Duration) -> Result<(), Duration> {
        let is_admitted = match self.limits.flows_max {
            Some(most) => self.open_flows(now) < most,
            None if self.limits.watches_room => {
                let open = self.open_flows(now);
                self.pace.room().admits(now, open)
            }
            None => true,
        };
        if is_admitted { Ok(()) } else { Err(FlowMemory::look_again(now)) }
    }

    /// A probe is sent in a new flow.
    pub(super) fn note_flow(&mut self, now: Duration, address: IpAddr) {
        if self.leaves_flows(address) {
            self.pace.flows().open(now, SYN_KEPT);
            self.pace.room().opened();
        }
    }

    /// A port behind routers has answered: its flow is forgotten there, and it may be asked again.
    pub(super) fn note_known(&mut self, now: Duration, flight: &Flight, address: IpAddr, is_refusal: bool) {
        if !self.leaves_flows(address) {
            return;
        }
        self.pace.flows().close(now, flight.attempt.sent_at, SYN_KEPT);
        let differs = self.hosts.get(flight.host).is_none_or(|host| host.own.differs() || host.is_middlebox());
        // One that may not be asked again is nobody to ask.
        let may_be_asked = || self.gate.ask(address, Some(Port::tcp(flight.port)), Stage::Service) == Verdict::Allow;
        if self.limits.watches_room && flight.attempt.number == 1 && !differs && may_be_asked() {
            self.known.note(socket_address(address, flight.port), is_refusal);
        }
    }

    /// How many of so many sockets are kept for questions: without one, a scan that has used all others up could not ask what
    /// their silence means.
    pub(super) fn sockets_for_questions(&self, room: usize) -> usize {
        usize::from(self.asks() && self.flights.len() + room > 1)
    }

    /// Whether there is somebody to be asked.
    fn asks(&self) -> bool {
        self.limits.watches_room && !self.known.ports.is_empty()
    }

    /// The next question to a port that is known to answer, if it is time for one and a socket for it.
    pub(super) fn question(&mut self, now: Duration, room: usize) -> Option<Step> {
        if !self.limits.watches_room {
            return None;
        }
        if !self.asks() || room == 0 {
            self.known.is_mute |= room == 0;
            // Another unit's doubt is ended by the clock, if not by the unit.
            self.pace.room().look(now);
            return None;
        }
        let open = self.open_flows(now);
        if !self.pace.room().wants_question(now, open) {
            return None;
        }
        let to = self.known.next()?;
        let place = self.admit_again(now, to)?;
        self.pace.room().asked(now, open);
        let (address, attempt) = (of_socket(to), Attempt::first(now));
        let host = Key::from_bits(u64::MAX);
        let flight = Flight {
            host,
            port: to.port(),
            position: None,
            attempt,
            is_held: false,
            is_patient: false,
            voids: 0,
            is_pulse: false,
            asked: Some(to),
        };
        let probe = self.flights.insert(flight);
        self.places.enter(probe, place);
        let wait = (2 * self.measures.rtt.timeout(address)).clamp(WAIT.0, WAIT.1);
        self.timers.push(std::cmp::Reverse((now + wait, probe)));
        Some(Step::Send { probe, to })
    }

    /// A question was answered, or not in time.
    pub(super) fn end_question(&mut self, now: Duration, flight: &Flight, came: bool) {
        self.known.is_mute = false;
        let (open, usual) = (self.open_flows(now), self.measures.estimates().loss);
        self.pace.room().answered(now, flight.attempt.sent_at, came, usual, open);
    }

    /// A question was not sent, for want of a socket or of a way: then its port is asked no more.
    pub(super) fn withdraw_question(&mut self, flight: &Flight, has_way: bool) {
        self.pace.room().withdraw(flight.attempt.sent_at);
        self.known.is_mute = true;
        if !has_way {
            self.known.ports.retain(|(port, _)| Some(*port) != flight.asked);
        }
    }

    /// Nobody waits for what is still out.
    pub(super) fn withdraw_questions(&mut self) {
        let questions: Vec<Flight> = self.flights.values().filter(|flight| flight.is_question()).copied().collect();
        questions.iter().for_each(|flight| self.withdraw_question(flight, true));
    }

    /// What it means that a probe was not answered.
    fn silence(&self, now: Duration, flight: &Flight, address: IpAddr) -> Silence {
        if !self.limits.watches_room || !self.leaves_flows(address) {
            return Silence::Told;
        }
        // Whoever waits for a socket to ask by does not hold all of them meanwhile.
        let (open, asks) = (self.open_flows(now), self.asks() && !self.known.is_mute);
        self.pace.room().silence(now, flight.attempt.sent_at, open, asks)
    }

    /// Judges a probe whose time is over. What was not let through is taken back, to be asked again.
    pub(super) fn judge_silence(&mut self, now: Duration, probe: Key, flight: &Flight, address: IpAddr) -> Judged {
        match self.silence(now, flight, address) {
            Silence::Told => Judged::Silent,
            Silence::Unknown => {
                self.timers.push(std::cmp::Reverse((now + LOOK_AGAIN, probe)));
                Judged::Later
            }
            Silence::Void if flight.voids < VOID_MAX => {
                self.land(probe);
                self.pace.flows().close(now, flight.attempt.sent_at, SYN_KEPT);
                self.take_void(&Flight { voids: flight.voids + 1, ..*flight });
                Judged::Again
            }
            Silence::Void | Silence::Unproved => Judged::Unproved,
        }
    }

    /// A probe is given up that was let through to nobody.
    pub(super) fn note_unproved(&mut self, flight: &Flight) {
        self.hosts.get_mut(flight.host).into_iter().for_each(|host| host.unproved += 1);
    }

    /// Whether the kernel's repeat, in the same flow, is to be the last try of a port, where there is room for few: each connection
    /// then counts for two.
    pub(super) fn is_repeat_enough(&self, flight: &Flight) -> bool {
        self.limits.watches_room
            && flight.attempt.number.saturating_mul(2) >= self.tries_wanted(flight.host)
            && self.pace.room().is_scarce()
            && (flight.is_held || self.is_to_be_held(flight))
    }

    /// Ways are lost: what is behind them is not asked any more.
    pub(super) fn forget_known(&mut self, is_lost: impl Fn(IpAddr) -> bool) {
        let before = self.known.ports.len();
        self.known.ports.retain(|(port, _)| !is_lost(of_socket(*port)));
        if self.known.ports.len() < before {
            self.pace.room().forget();
        }
    }
}

/// What becomes of a probe whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// Its silence counts.
    Silent,
    /// It counts, and says nothing of the host.
    Unproved,
    /// It is looked at again.
    Later,
    /// It is taken back, to be asked again.
    Again,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_known_by_one_port_and_refusals_are_preferred() {
        let port = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
        let mut known = Known::default();
        assert_eq!(known.next(), None);
        known.note(port(1, 80), false);
        known.note(port(1, 81), true);
        known.note(port(1, 82), true);
        assert_eq!(known.ports, [(port(1, 81), true)]);
        (2..=100).for_each(|last| known.note(port(last, 80), false));
        assert_eq!(known.ports.len(), KNOWN_MAX);
        known.note(port(200, 9), true);
        assert_eq!(known.ports.get(1), Some(&(port(200, 9), true)), "in place of one that would be connected to");
        let asked: std::collections::BTreeSet<SocketAddr> = (0..KNOWN_MAX).filter_map(|_| known.next()).collect();
        assert_eq!(asked.len(), KNOWN_MAX, "in turn");
    }
}
