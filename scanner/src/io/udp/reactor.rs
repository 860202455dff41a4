//! The thread of the UDP engine: takes in what has arrived, lets each unit take its steps, sleeps until there is
//! something to do.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;

use super::sockets::{BATCH, Buffers, Incoming, Outgoing};
use super::unit::Unit;
use super::{Bell, Shared};
use crate::finding::{PortState, Reason};
use crate::io::EngineConfig;
use crate::io::clock;
use crate::io::resolve::Resolver;
use crate::slot_map::{Key, SlotMap};
use crate::udp_scan::Step;
use crate::unit::ScanError;

/// Batches a unit sends before the next one has its turn and arrivals are looked at.
const BATCHES_PER_TURN: usize = 4;
/// Events taken from the kernel at once: more than units have sockets.
const EVENTS_AT_ONCE: usize = 512;
/// While there are units, the loop turns at least this often: it notices a cancelled one, and what the first part of
/// another has found, well within 100 ms.
const TURN_MAX: Duration = Duration::from_millis(20);
/// Below this, sleeping costs more than looking again.
const SLEEP_MIN: Duration = Duration::from_micros(20);
/// Event data of the bell; no key has this value, since no slot map has 2^32 slots.
const BELL: u64 = u64::MAX;

/// The engine's thread.
#[derive(Debug)]
pub(super) struct Reactor {
    shared: Arc<Shared>,
    inbox: Receiver<Box<Unit>>,
    resolver: Resolver,
    epoll: Epoll,
    units: SlotMap<Unit>,
    buffers: Buffers,
    outbox: Vec<Outgoing>,
}

impl Reactor {
    pub(super) fn new(config: &EngineConfig, shared: Arc<Shared>, inbox: Receiver<Box<Unit>>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let resolver = Resolver::new(config.resolve_timeout, Box::new(Bell(Arc::clone(&shared))));
        let (units, buffers, outbox) = (SlotMap::default(), Buffers::new(), Vec::with_capacity(BATCH));
        Ok(Self { shared, inbox, resolver, epoll, units, buffers, outbox })
    }

    pub(super) fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EVENTS_AT_ONCE];
        let mut wake_at = Some(Duration::ZERO);
        while !self.shared.is_stopped.load(Ordering::Acquire) {
            self.sleep(wake_at);
            let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            let now = clock::now();
            let mut has_more = count == EVENTS_AT_ONCE;
            let mut last = None;
            for event in events.iter().take(count) {
                // A unit's sockets are read together, so one event of it is as good as several.
                if last != Some(event.data()) {
                    has_more |= self.on_event(now, event.data());
                }
                last = Some(event.data());
            }
            self.take_in(now);
            let next = self.turn();
            wake_at = if has_more { Some(Duration::ZERO) } else { next };
        }
        self.take_in(clock::now());
        let keys: Vec<Key> = self.units.iter().map(|(key, _)| key).collect();
        for mut unit in keys.into_iter().filter_map(|key| self.units.remove(key)) {
            unit.end(Err(ScanError::Stopped));
            unit.end_turn(clock::now());
            unit.finish();
        }
    }

    /// New units and names that were looked up.
    fn take_in(&mut self, now: Duration) {
        while let Ok(unit) = self.inbox.try_recv() {
            self.units.insert(*unit);
        }
        for ((unit, host), found) in self.resolver.take(now) {
            if let Some(unit) = self.units.get_mut(unit) {
                unit.scan.on_resolved(now, host, found);
            }
        }
    }

    /// Reads what has arrived for a unit; true if there may be more.
    fn on_event(&mut self, now: Duration, data: u64) -> bool {
        if data == BELL {
            // Read to silence it; what it rang for is looked at in every turn.
            let _ = self.shared.bell.read();
            return false;
        }
        let Some(unit) = self.units.get_mut(Key::from_bits(data)) else { return false };
        let mut heard = Vec::new();
        let has_more = unit.sockets.receive(&mut self.buffers, |lane, incoming| heard.push((lane, incoming)));
        heard.into_iter().for_each(|(lane, incoming)| unit.hear(now, lane, incoming));
        has_more
    }

    /// Lets every unit take its steps; returns when to look again, or `None` to wait for an event.
    fn turn(&mut self) -> Option<Duration> {
        let keys: Vec<Key> = self.units.iter().map(|(key, _)| key).collect();
        let mut wake_at = None;
        for key in keys {
            let unit_wakes = self.drive(key);
            wake_at = [wake_at, unit_wakes].into_iter().flatten().min();
        }
        let tick = (!self.units.is_empty()).then(|| clock::now() + TURN_MAX);
        [wake_at, tick].into_iter().flatten().min()
    }

    /// Some steps of one unit; returns when it wants to go on.
    fn drive(&mut self, key: Key) -> Option<Duration> {
        let mut now = clock::now();
        let mut wake_at = Some(Duration::ZERO);
        if !self.units.get_mut(key)?.begin_turn(now) {
            for _ in 0..BATCHES_PER_TURN {
                let until = self.fill(key, now)?;
                self.flush(key)?;
                now = clock::now();
                if until.is_some() {
                    wake_at = until;
                    break;
                }
            }
        }
        let unit = self.units.get_mut(key)?;
        unit.end_turn(now);
        if unit.begin_turn(now) {
            wake_at = None;
            self.resolver.forget(key);
            if self.units.get(key).is_some_and(Unit::is_over) {
                self.units.remove(key)?.finish();
                self.shared.units.fetch_sub(1, Ordering::AcqRel);
            }
        }
        wake_at
    }

    /// Lets a unit say what to send, up to a batch: `Some(None)` to go on, `Some(Some(time))` to wait, `None` when the
    /// unit is not there.
    fn fill(&mut self, key: Key, now: Duration) -> Option<Option<Duration>> {
        let unit = self.units.get_mut(key)?;
        let may_send = unit.may_send();
        while self.outbox.len() < BATCH {
            match unit.scan.poll(now, may_send) {
                Step::Send { to, lane, bytes } => self.outbox.push(Outgoing { to, lane, bytes }),
                Step::Resolve { host, name } => self.resolver.ask((key, host), name),
                Step::Wait { until } => return Some(Some(until)),
                Step::Done => {
                    unit.done(now);
                    return Some(Some(now + TURN_MAX));
                }
            }
        }
        Some(None)
    }

    /// Sends what has been gathered.
    fn flush(&mut self, key: Key) -> Option<()> {
        let unit = self.units.get_mut(key)?;
        let mut batch = std::mem::take(&mut self.outbox);
        let place = |outgoing: &Outgoing| (outgoing.to.is_ipv4(), outgoing.lane);
        batch.sort_by_key(place);
        let mut refused: Vec<(u8, Incoming)> = Vec::new();
        for part in batch.chunk_by(|a, b| place(a) == place(b)) {
            unit.sockets.send((&self.epoll, key.to_bits()), part, |outgoing: &Outgoing, reason: Reason| {
                let error = Incoming::Error { to: outgoing.to, by: None, state: PortState::Filtered, reason };
                refused.push((outgoing.lane, error));
            });
        }
        let now = clock::now();
        refused.into_iter().for_each(|(lane, incoming)| unit.hear(now, lane, incoming));
        batch.clear();
        self.outbox = batch;
        Some(())
    }

    /// Sleeps until an event or `wake_at`, to the accuracy of the kernel's timers (epoll's own is a millisecond).
    fn sleep(&self, wake_at: Option<Duration>) {
        let wait = wake_at.map(|at| at.saturating_sub(clock::now()));
        if wait.is_some_and(|wait| wait < SLEEP_MIN) {
            return;
        }
        let mut polled = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        // An interrupted sleep is as good as one that has ended.
        let _ = ppoll(&mut polled, wait.map(TimeSpec::from_duration), None);
    }
}
