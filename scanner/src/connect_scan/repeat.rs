//! The kernel's own repeat of a SYN, a second after the first (RFC 6298 section 2.1), which asks a port in the very same flow once more.
//!
//! Some filters let a connection through only once its SYN has come twice. A connection that is given up before the second would
//! never meet them, and another one is another flow. So the last try of a port is held until the kernel's repeat has had time to be
//! answered. A host of which many repeats were in vain has no such filter, and its other ports are not waited for. The repeat is a probe
//! like any other: it is counted, and it takes a slot of the rates. What is held takes no room in the window: no other answer is
//! expected of it.
//!
//! Hosts that have not answered may be many. All their probes are held, until thousands were in vain; then the first of each, the
//! likeliest to be answered, until one is: behind such a filter everything is. Beyond a few thousand at once they take room in the window.

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

/// Probes of hosts that have not answered that must be held in vain before only the first of each host is.
pub(super) const SILENT_IN_VAIN_MAX: u32 = 4096;
/// Of these no more are held at once beside the window: some megabytes of the kernel's.
const SILENT_HELD_MAX: usize = 4096;

/// What became of the kernel's repeats to one host.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    in_vain: u16,
    has_answers: bool,
    /// Whether any was waited for before it had answered, and whether any port was given up then without that.
    was_held_silent: bool,
    was_given_up_silent: bool,
}

/// What became of the kernel's repeats to hosts that had not answered.
#[derive(Debug, Default)]
pub(super) struct SilentRepeats {
    in_vain: u32,
    has_answers: bool,
}

impl Repeats {
    /// A port that was held has not answered.
    fn silent(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }

    /// A port has answered when its SYN came again.
    fn answered(&mut self) {
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
        let is_few = self.plan.target_count() <= discovery::TARGETS_MIN;
        let is_meant = match host.up {
            Some(_) => flight.position.is_some(),
            None => is_few && flight.position.is_some() || self.may_hold_silent(&host.repeats),
        };
        is_meant
            && !flight.is_held
            && !host.is_middlebox()
            && host.repeats.are_worth_it()
            && self.plan.spec().timing != Timing::Fast
            && self.limits.tries != Some(1)
    }

    /// Whether a probe of a host that has not answered may be held.
    fn may_hold_silent(&self, repeats: &Repeats) -> bool {
        let silent = &self.silent_repeats;
        silent.has_answers || silent.in_vain < SILENT_IN_VAIN_MAX || !repeats.was_held_silent
    }

    /// Holds it.
    pub(super) fn hold(&mut self, probe: Key, flight: Flight, address: IpAddr) {
        let host = self.hosts.get_mut(flight.host).filter(|host| host.up.is_none());
        let is_patient = host.is_none() || self.patient < SILENT_HELD_MAX;
        host.into_iter().for_each(|host| host.repeats.was_held_silent = true);
        let flight = Flight { is_held: true, is_patient, ..flight };
        self.flights.get_mut(probe).into_iter().for_each(|known| *known = flight);
        self.patient += usize::from(is_patient);
        self.timers.push(Reverse((flight.attempt.sent_at + self.wait_of(&flight, address), probe)));
    }

    /// A probe that was held has been answered when its SYN came again, or not at all.
    pub(super) fn note_repeat(&mut self, key: Key, is_answered: bool) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        let silent = Some(&mut self.silent_repeats).filter(|_| host.up.is_none());
        if !is_answered {
            host.repeats.silent();
            return silent.into_iter().for_each(|silent| silent.in_vain = silent.in_vain.saturating_add(1));
        }
        host.repeats.answered();
        silent.into_iter().for_each(|silent| silent.has_answers = true);
        if host.up.is_none() && host.repeats.was_given_up_silent {
            // What was given up before is asked once more.
            (host.step, host.discovery_sent) = (0, 0);
            if !std::mem::replace(&mut host.queued, true) {
                self.line.push_back(key);
            }
        }
    }

    /// The last try of a port is over, and was not answered.
    pub(super) fn note_given_up(&mut self, flight: &Flight) {
        let host = self.hosts.get_mut(flight.host).filter(|host| !flight.is_held && host.up.is_none());
        host.into_iter().for_each(|host| host.repeats.was_given_up_silent = true);
    }

    /// Takes a probe back that is out.
    pub(super) fn land(&mut self, probe: Key) -> Option<Flight> {
        let flight = self.flights.remove(probe)?;
        self.patient -= usize::from(flight.is_patient);
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
