//! What arrives becomes findings; hosts with nothing left to ask or wait for end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::host::Note;
use super::{Flight, Heard, UdpScan, payload};
use crate::finding::{HostState, Observation, PortState, Reason, printable_banner};
use crate::port::{Port, PortSet};
use crate::slot_map::Key;

impl UdpScan {
    /// Something has arrived at a lane. Returns the target's index and the port if it is an answer of an open port.
    pub(crate) fn on_heard(&mut self, now: Duration, lane: u8, heard: Heard<'_>) -> Option<(u64, Port)> {
        match heard {
            Heard::Datagram { from, bytes } => {
                let address = from.ip().to_canonical();
                let key = *self.by_address.get(&address)?;
                let (position, port) = self.asked_port(key, from.port(), bytes)?;
                if self.limits.payloads && !payload::accepts(port, &self.ask(address, port), bytes) {
                    return None;
                }
                let is_first = self.note(now, lane, (key, position), PortState::Open, Reason::UdpResponse);
                if is_first && self.limits.banners {
                    self.note_words(key, port, bytes);
                }
                let index = self.hosts.get(key)?.target_index;
                self.rouse(key);
                is_first.then_some((index, Port::udp(port)))
            }
            Heard::Error { to, by, state, reason } => {
                let address = to.ip().to_canonical();
                let key = *self.by_address.get(&address)?;
                let position = self.plan.spec().ports.position(Port::udp(to.port()))?;
                if self.hosts.get(key)?.note(position) == Note::None {
                    return None;
                }
                // Only the host itself knows that nothing listens; anyone else forbids.
                let is_own = by.is_none_or(|by| by.to_canonical() == address);
                let state = if state == PortState::Closed && !is_own { PortState::Filtered } else { state };
                self.note(now, lane, (key, position), state, reason);
                self.rouse(key);
                None
            }
        }
    }

    /// The port that a datagram answers for, if it was asked.
    fn asked_port(&self, key: Key, from: u16, bytes: &[u8]) -> Option<(u32, u16)> {
        let asked = |port: u16| {
            let position = self.plan.spec().ports.position(Port::udp(port))?;
            (self.hosts.get(key)?.note(position) != Note::None).then_some((position, port))
        };
        asked(from).or_else(|| asked(payload::asked_port_of(bytes)?))
    }

    /// Notes what is known of a port; true if that was not known before.
    fn note(&mut self, now: Duration, lane: u8, name: (Key, u32), state: PortState, reason: Reason) -> bool {
        let (key, position) = name;
        let flight = self.flights.remove(&name);
        let Some(host) = self.hosts.get_mut(key) else { return false };
        host.pending -= u32::from(flight.is_some());
        if state == PortState::Closed {
            host.limit.heard(now);
        }
        let known = host.note(position);
        if known.is_final() {
            return false;
        }
        let is_told = matches!(known, Note::Filtered(_));
        if is_told && !matches!(state, PortState::Open | PortState::Closed) {
            return false;
        }
        host.set_note(position, Note::of(state, reason));
        if state == PortState::Closed {
            host.closed += 1;
            host.known_closed.get_or_insert(position);
        }
        let (address, says_loss) = (host.address, host.limit.is_unlimited() || state == PortState::Open);
        if matches!(state, PortState::Open | PortState::Closed) {
            if let Some(flight) = flight.filter(|flight| (flight.attempt - 1) % super::LANES == lane) {
                self.measure(now, address, &flight, says_loss);
            }
            self.counts.replies += 1;
            self.window.answered();
            self.note_up(now, key, reason);
            self.note_port(key, position, state, reason);
        }
        true
    }

    /// Takes in a round trip.
    fn measure(&mut self, now: Duration, address: IpAddr, flight: &Flight, says_loss: bool) {
        let rtt = now.saturating_sub(flight.sent_at);
        // An answer that took longer than the try before was waited for would have come to that one as well: the path
        // is slow, nothing was lost.
        let was_lost = flight.attempt > 1 && rtt <= flight.waited_before;
        self.rtt.sample(address, rtt);
        if says_loss {
            self.loss.answered(if was_lost { flight.attempt } else { 1 });
            self.pace.datagrams().answered(flight.attempt, was_lost, &flight.history);
        }
    }

    /// A host has answered.
    fn note_up(&mut self, now: Duration, key: Key, reason: Reason) {
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.up.is_none()) else { return };
        host.up = Some(reason);
        self.neighbours.answered(now, host.address);
        self.counts.hosts_up += 1;
        self.findings.push(host.finding(Observation::Host { state: HostState::Up, reason }));
    }

    fn note_port(&mut self, key: Key, position: u32, state: PortState, reason: Reason) {
        let (Some(host), Some(port)) = (self.hosts.get(key), self.plan.port(position)) else { return };
        self.counts.open_ports += u64::from(state == PortState::Open);
        self.findings.push(host.finding(Observation::Port { port, state, reason, ttl: None }));
    }

    /// An answer that is text is the port's banner.
    fn note_words(&mut self, key: Key, port: u16, bytes: &[u8]) {
        let banner = payload::words(port, bytes).and_then(printable_banner);
        if let (Some(host), Some(banner)) = (self.hosts.get(key), banner) {
            self.findings.push(host.finding(Observation::Banner { port: Port::udp(port), banner }));
        }
    }

    /// Ends a host: what was silent, and what something on the way said, is told with a host that is up.
    pub(super) fn finish(&mut self, key: Key) {
        self.end_first_walk(key);
        let Some(host) = self.hosts.remove(key) else { return };
        self.by_address.remove(&host.address);
        self.counts.targets_done += 1;
        if host.up.is_none() {
            return;
        }
        let mut groups: BTreeMap<(PortState, Reason), Vec<Port>> = BTreeMap::new();
        for (position, note) in (0_u32..).zip(host.notes.iter()) {
            let group = match note {
                Note::Silent(_) => (PortState::OpenFiltered, Reason::NoResponse),
                Note::Filtered(reason) => (PortState::Filtered, *reason),
                Note::None | Note::Open | Note::Closed => continue,
            };
            groups.entry(group).or_default().extend(self.plan.port(position));
        }
        for ((state, reason), ports) in groups {
            let ports: PortSet = ports.into_iter().collect();
            self.findings.push(host.finding(Observation::Ports { ports: Box::new(ports), state, reason }));
        }
    }
}
