//! The kernel's own repeat of a SYN, a second after the first (RFC 6298 section 2.1), which asks a port in the very same flow once more.
//!
//! Some filters let a connection through only once its SYN has come twice. A connection that is given up before the second would
//! never meet them, and another one is another flow. So the last try of a port is held until the kernel's repeat has had time to be
//! answered: where the host is known to be there, or few were named. A host of which many repeats were in vain has no such filter, and
//! its other ports are not waited for. The repeat is a probe like any other: it is counted, and it takes a slot of the rates. What is
//! held takes no room in the window: no other answer is expected of it.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use super::{ConnectScan, Flight};
use crate::scan::discovery;
use crate::slot_map::Key;
use crate::spec::Timing;

/// When the kernel repeats a SYN.
pub(super) const AFTER: Duration = Duration::from_secs(1);
/// How long the answer to it is waited for at least.
const WAIT_MIN: Duration = Duration::from_millis(200);

/// Ports of a host whose repeats must be in vain before the rest is not waited for: all that most scans ask.
const IN_VAIN_MAX: u16 = 1024;

/// What became of the kernel's repeats to one host.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    in_vain: u16,
    has_answers: bool,
}

impl Repeats {
    /// A port that was held has not answered.
    pub(super) fn silent(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }

    /// A port has answered when its SYN came again.
    pub(super) fn answered(&mut self) {
        self.has_answers = true;
    }

    fn are_worth_it(&self) -> bool {
        self.has_answers || self.in_vain < IN_VAIN_MAX
    }
}

impl ConnectScan {
    /// How long the answer to a probe is waited for.
    pub(super) fn wait_of(&self, flight: &Flight, address: IpAddr) -> Duration {
        let wait = self.measures.wait_of(address, flight.attempt.number, self.tries_wanted(flight.host));
        match flight.is_held {
            true => wait.max(AFTER + self.measures.rtt.timeout(address).max(WAIT_MIN).min(AFTER)),
            false => wait,
        }
    }

    /// Whether a probe, whose time is over and which was the last try of its port, is held until the kernel has repeated it.
    pub(super) fn is_to_be_held(&self, flight: &Flight) -> bool {
        let Some(host) = self.hosts.get(flight.host) else { return false };
        let is_meant = host.up.is_some() || self.plan.target_count() <= discovery::TARGETS_MIN;
        is_meant
            && !flight.is_held
            && flight.position.is_some()
            && !host.is_middlebox()
            && host.repeats.are_worth_it()
            && self.plan.spec().timing != Timing::Fast
            && self.limits.tries != Some(1)
    }

    /// Holds it.
    pub(super) fn hold(&mut self, probe: Key, flight: Flight, address: IpAddr) {
        let flight = Flight { is_held: true, ..flight };
        self.flights.get_mut(probe).into_iter().for_each(|known| *known = flight);
        self.patient += 1;
        self.timers.push(Reverse((flight.attempt.sent_at + self.wait_of(&flight, address), probe)));
    }

    /// Takes a probe back that is out.
    pub(super) fn land(&mut self, probe: Key) -> Option<Flight> {
        let flight = self.flights.remove(probe)?;
        self.patient -= usize::from(flight.is_held);
        self.places.leave(probe);
        Some(flight)
    }

    /// Notes that the kernel will repeat a probe unless it is answered or given up before.
    pub(super) fn expect_repeat(&mut self, now: Duration, probe: Key) {
        self.repeats.push_back((now + AFTER, probe));
    }

    /// Takes account of what the kernel has repeated by now.
    pub(super) fn count_repeats(&mut self, now: Duration) {
        while let Some((_, probe)) = self.repeats.front().filter(|(at, _)| *at <= now).copied() {
            self.repeats.pop_front();
            let Some(flight) = self.flights.get(probe) else { continue };
            let Some(address) = self.hosts.get(flight.host).map(|host| host.scanned.address) else { continue };
            self.results.tally.probes_sent += 1;
            self.results.tally.retransmitted += 1;
            self.pace.charge(now, self.limits.rate_max_pps);
            self.quotas.charge(now, address);
        }
    }
}
