//! What arrives becomes findings; hosts with nothing left to ask or wait for end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::host::{Host, HostPhase, Note};
use super::{FlightKey, Heard, UdpScan, payload};
use crate::finding::{NotProbed, PortState, Reason, printable_banner};
use crate::port::Port;
use crate::scan::{Attempt, End, Unanswered};
use crate::slot_map::Key;
use crate::target::{of_socket, without_zone};

/// Most bytes of an answer that are handed on: what fits one frame, which all that is asked for does.
const ANSWER_BYTES_MAX: usize = 1472;

/// What is known of a port.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: PortState,
    reason: Reason,
}

/// A port that was asked.
struct AskedPort {
    number: u16,
    position: u32,
}

impl UdpScan {
    /// Something has arrived at a lane. True if it is the first answer of an open port.
    pub(crate) fn on_heard(&mut self, now: Duration, lane: u8, heard: Heard<'_>) -> bool {
        match heard {
            Heard::Datagram { from, bytes } => self.on_datagram(now, lane, from, bytes).unwrap_or(false),
            Heard::Error { to, by, state, reason } => {
                self.on_error(now, lane, to, by, Known { state, reason });
                false
            }
        }
    }

    /// Nothing where it answers for no port that was asked.
    fn on_datagram(&mut self, now: Duration, lane: u8, from: SocketAddr, bytes: &[u8]) -> Option<bool> {
        let address = of_socket(from);
        let host = *self.by_address.get(&address)?;
        let asked = |number: u16| Some(AskedPort { number, position: self.asked_position(host, number)? });
        let AskedPort { number: port, position } =
            asked(from.port()).or_else(|| asked(payload::asked_port_of(bytes)?))?;
        let is_answer = || self.catalogue.accepts(port, self.takes_any(port), &self.ask(address, port), bytes);
        if self.limits.payloads && !is_answer() {
            return None;
        }
        let open = Known { state: PortState::Open, reason: Reason::UdpResponse };
        let is_first = self.note(now, lane, FlightKey { host, position }, open);
        if is_first && self.limits.common.banners {
            self.note_words(host, port, bytes);
        }
        if is_first && self.plan.spec().services.is_some() {
            self.note_answer(host, port, bytes);
        }
        self.go_on(host);
        Some(is_first)
    }

    fn on_error(&mut self, now: Duration, lane: u8, to: SocketAddr, by: Option<IpAddr>, mut known: Known) {
        let address = of_socket(to);
        let Some(host) = self.by_address.get(&address).copied() else { return };
        let Some(position) = self.asked_position(host, to.port()) else { return };
        // Only the host itself knows that nothing listens; anyone else forbids.
        // It does not say on which link it is.
        let is_own = by.is_none_or(|by| by.to_canonical() == without_zone(address));
        if known.state == PortState::Closed && !is_own {
            known.state = PortState::Filtered;
        }
        self.note(now, lane, FlightKey { host, position }, known);
        self.go_on(host);
    }

    /// A host has been heard: one that has answered for all of its ports is done, others are looked at again. In a slow scan their
    /// next turn is far away.
    fn go_on(&mut self, key: Key) {
        let count = self.plan.port_count();
        let is_through = |host: &Host| {
            let is_asked = host.phase == HostPhase::Asking && host.pending == 0 && host.step >= count;
            is_asked && host.notes.iter().all(|note| note.is_final())
        };
        if self.hosts.get(key).is_some_and(is_through) { self.finish(key) } else { self.rouse(key) }
    }

    /// The position of a port, if a host was asked it.
    fn asked_position(&self, host: Key, port: u16) -> Option<u32> {
        let position = self.plan.spec().ports.position(Port::udp(port))?;
        (self.hosts.get(host)?.note(position) != Note::None).then_some(position)
    }

    /// Notes what is known of a port; true if that was not known before.
    fn note(&mut self, now: Duration, lane: u8, name: FlightKey, Known { state, reason }: Known) -> bool {
        let FlightKey { host: key, position } = name;
        let attempt = self.flights.remove(&name);
        let Some(host) = self.hosts.get_mut(key) else { return false };
        host.pending -= u32::from(attempt.is_some());
        if state == PortState::Closed {
            host.limit.heard(now);
        }
        // Only ever the host's own word.
        if matches!(state, PortState::Open | PortState::Closed) {
            host.heard_at = Some(now);
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
        // What a limit has eaten was not lost.
        let says_loss = (host.limit.is_unlimited() && host.late.is_none()) || state == PortState::Open;
        let address = host.scanned.address;
        if matches!(state, PortState::Open | PortState::Closed) {
            if let Some(attempt) = attempt.filter(|attempt| (attempt.number - 1) % super::LANES == lane) {
                self.measure(now, address, &attempt, says_loss);
            }
            self.results.tally.replies += 1;
            self.measures.window.answered();
            self.note_up(now, key, reason);
            self.note_port(key, position, state, reason);
        }
        true
    }

    /// Takes in a round trip.
    fn measure(&mut self, now: Duration, address: IpAddr, attempt: &Attempt, says_loss: bool) {
        let round_trip = now.saturating_sub(attempt.sent_at);
        self.measures.rtt.sample(address, round_trip);
        if says_loss {
            let were_lost = attempt.lost_others(round_trip);
            self.measures.note_loss(attempt, were_lost, &mut self.pace.datagrams());
        }
    }

    /// A host has answered.
    fn note_up(&mut self, now: Duration, key: Key, reason: Reason) {
        let Some(host) = self.hosts.get_mut(key).filter(|host| host.up.is_none()) else { return };
        host.up = Some(reason);
        self.neighbours.answered(now, host.scanned.address);
        self.results.note_up(&host.scanned, reason);
    }

    fn note_port(&mut self, key: Key, position: u32, state: PortState, reason: Reason) {
        let (Some(host), Some(port)) = (self.hosts.get(key), self.plan.port(position)) else { return };
        self.results.note_port(&host.scanned, port, state, reason, None);
    }

    /// An answer that is text is the port's banner.
    fn note_words(&mut self, key: Key, port: u16, bytes: &[u8]) {
        let banner = payload::words(port, bytes).and_then(printable_banner);
        if let Some(host) = self.hosts.get(key) {
            self.results.note_banner(&host.scanned, Port::udp(port), banner);
        }
    }

    /// What a port answered tells what it is, with no further question.
    fn note_answer(&mut self, key: Key, port: u16, bytes: &[u8]) {
        let bytes = bytes.get(..ANSWER_BYTES_MAX).unwrap_or(bytes);
        if let Some(host) = self.hosts.get(key).filter(|_| !bytes.is_empty()) {
            self.results.note_answer(&host.scanned, Port::udp(port), bytes);
        }
    }

    /// Ends a host.
    pub(super) fn finish(&mut self, key: Key) {
        self.end_first_walk(key);
        if self.awaits_word(key) {
            return;
        }
        let Some(mut host) = self.hosts.remove(key) else { return };
        self.late.ended(&host);
        if host.is_crowded_out {
            host.not_sent.get_or_insert(NotProbed::NeighboursFull);
        }
        self.by_address.remove(&host.scanned.address);
        if host.not_sent.is_none() && host.up.is_none() {
            self.results.note_silent_name(&host.scanned);
        }
        self.results.note_settled(&host.scanned, host.not_sent);
        self.tell_unanswered(&host);
        self.results.end(&host.scanned, End { not_sent: host.not_sent, is_up: host.up.is_some() });
    }

    /// What was silent of a host that is up, and what something on the way said of it.
    fn tell_unanswered(&mut self, host: &Host) {
        // Of the ports that were not asked nothing is known, not even that they are silent.
        if host.not_sent.is_some() || host.up.is_none() {
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
            let unanswered = Unanswered { reason, ports: ports.into_iter().collect() };
            self.results.note_unanswered(&host.scanned, unanswered, state);
        }
    }
}
