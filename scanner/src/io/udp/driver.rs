//! What the thread of the UDP engine does for its units: gathers what their scans say into batches, and tells them what has
//! arrived.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::epoll::Epoll;

use super::sockets::{BATCH, Buffers, Incoming, Outgoing, Watch};
use super::unit::Unit;
use crate::finding::NotProbed;
use crate::io::clock;
use crate::io::reactor::{Driver, TURN_MAX};
use crate::io::resolve::Resolver;
use crate::slot_map::{Key, SlotMap};
use crate::udp_scan::Step;

/// What units are driven with.
#[derive(Debug)]
pub(super) struct Datagrams {
    epoll: Epoll,
    buffers: Buffers,
    outbox: Vec<Outgoing>,
}

impl Datagrams {
    pub(super) fn new(epoll: Epoll) -> Self {
        Self { epoll, buffers: Buffers::new(), outbox: Vec::with_capacity(BATCH) }
    }
}

impl Driver for Datagrams {
    type Unit = Unit;

    /// More than units have sockets.
    const EVENTS_AT_ONCE: usize = 512;
    /// Each is a batch.
    const STEPS_PER_TURN: usize = 4;

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// Reads what has arrived for a unit, on any of its sockets.
    fn on_event(&mut self, units: &mut SlotMap<Unit>, now: Duration, name: u64) -> bool {
        let Some(unit) = units.get_mut(Key::from_bits(name)) else { return false };
        let mut heard = Vec::new();
        let has_more = unit.sockets.receive(&mut self.buffers, |lane, incoming| heard.push((lane, incoming)));
        heard.into_iter().for_each(|(lane, incoming)| unit.hear(now, lane, incoming));
        has_more
    }

    fn step(&mut self, key: Key, unit: &mut Unit, resolver: &mut Resolver, now: Duration) -> Option<Duration> {
        let until = self.fill(key, unit, resolver, now);
        self.flush(key, unit);
        until
    }
}

impl Datagrams {
    /// Lets a unit say what to send, up to a batch: `None` to go on, or the time until which it waits.
    fn fill(&mut self, key: Key, unit: &mut Unit, resolver: &mut Resolver, now: Duration) -> Option<Duration> {
        let awaited = unit.carrier.awaited(now).or_else(|| unit.ways.awaited(now));
        if let Some(next) = awaited.or_else(|| unit.queues.awaited(now)) {
            return Some(next);
        }
        let may_send = unit.may_send();
        while self.outbox.len() < BATCH {
            match unit.scan.poll(now, may_send) {
                Step::Send { to, lane, bytes } => self.outbox.push(Outgoing { to, lane, bytes }),
                Step::Resolve { host, name } => resolver.ask((key, host), name),
                Step::Wait { until } => return Some(until),
                Step::Done => {
                    unit.done(now);
                    return Some(now + TURN_MAX);
                }
            }
        }
        None
    }

    /// Sends what has been gathered.
    fn flush(&mut self, key: Key, unit: &mut Unit) {
        let place = |outgoing: &Outgoing| (outgoing.to.is_ipv4(), outgoing.lane);
        let mut refused: Vec<(u8, Incoming)> = Vec::new();
        // The kernel would choose a link for these, any of those that there are.
        for outgoing in self.outbox.extract_if(.., |outgoing| lacks_zone(outgoing.to)) {
            refused.push((outgoing.lane, Incoming::NotSent { to: outgoing.to, why: NotProbed::NoRoute }));
        }
        self.outbox.sort_by_key(place);
        let watch = Watch { epoll: &self.epoll, name: key.to_bits() };
        for part in self.outbox.chunk_by(|a, b| place(a) == place(b)) {
            if unit.sockets.send(watch, part, |lane, incoming| refused.push((lane, incoming))) {
                unit.queues.drained();
            }
        }
        let now = clock::now();
        refused.into_iter().for_each(|(lane, incoming)| unit.hear(now, lane, incoming));
        self.outbox.clear();
    }
}

/// Whether an address is one of a link, and it is not said of which: so a name may have it.
fn lacks_zone(to: SocketAddr) -> bool {
    matches!(to, SocketAddr::V6(to) if to.scope_id() == 0 && to.ip().is_unicast_link_local())
}
