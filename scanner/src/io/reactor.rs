//! A thread of an engine that drives its units over epoll: takes in events, lets each unit take some steps, sleeps until
//! there is something to do. What an engine does with sockets is its [`Driver`]'s.
//!
//! One turn takes in every event that has arrived and then lets each unit take some steps, so that answers are always
//! seen before time-outs and no unit starves another. The raw engine, whose units share a ring and a batch, has a loop of
//! its own.

use std::fmt::Debug;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::bell::{self, Bell};
use super::clock;
use super::engine_thread::{self, Inbox, ThreadHandle};
use super::give_way::give_way;
use super::resolve::{Found, Resolver};
use super::{EngineConfig, EngineError};
use crate::slot_map::{Key, SlotMap};
use crate::unit::{ScanError, UnitOutcome};

/// While there are units, the loop turns at least this often: it notices a cancelled one, and what another engine has
/// found for one, well within 100 ms.
pub(super) const TURN_MAX: Duration = Duration::from_millis(20);
/// Event data of the bell; no key has this value, since no slot map has 2^32 slots.
pub(super) const BELL: u64 = u64::MAX;

/// What an engine does for its units.
pub(super) trait Driver: Debug + Send + 'static {
    /// What it drives.
    type Unit: Driven + Send + 'static;

    /// Events taken from the kernel at once.
    const EVENTS_AT_ONCE: usize;
    /// Steps that a unit takes before the next one has its turn and events are looked at.
    const STEPS_PER_TURN: usize;

    /// Tells of the engine's sockets.
    fn epoll(&self) -> &Epoll;

    /// Something has happened to what epoll knows by this name; true if there may be more of it than was looked at.
    fn on_event(&mut self, units: &mut SlotMap<Self::Unit>, now: Duration, name: u64) -> bool;

    /// Ends what has lasted as long as it may.
    fn end_overdue(&mut self, _units: &mut SlotMap<Self::Unit>, _now: Duration) {}

    /// When [`Self::end_overdue`] has something to do next.
    fn next_overdue(&self) -> Option<Duration> {
        None
    }

    /// One step of a unit: `None` to go on, or the time until which it waits.
    fn step(&mut self, key: Key, unit: &mut Self::Unit, resolver: &mut Resolver, now: Duration) -> Option<Duration>;

    /// Nothing more is sent for a unit.
    fn give_up(&mut self, _unit: Key) {}

    /// The last unit has gone.
    fn rest(&mut self) {}
}

/// A unit that is driven.
pub(super) trait Driven: Debug {
    /// A name was looked up for one of its hosts.
    fn on_resolved(&mut self, now: Duration, host: Key, found: Found);

    /// Looks at what comes from outside; true when nothing more is to be sent for the unit.
    fn begin_turn(&mut self, now: Duration) -> bool;

    /// Hands over findings and figures that are due.
    fn end_turn(&mut self, now: Duration);

    /// Nothing more is to be sent; the first reason stays.
    fn end(&mut self, ending: Result<UnitOutcome, ScanError>);

    /// Whether all findings have been handed over and only the outcome is left to tell.
    fn is_over(&self) -> bool;

    /// Tells the outcome.
    fn finish(self);
}

/// Starts a thread that drives so many units at once.
pub(super) fn start<D: Driver>(
    thread: &str,
    units_max: usize,
    config: &EngineConfig,
    driver: impl FnOnce(Epoll) -> D,
) -> Result<ThreadHandle<D::Unit>, EngineError> {
    let (handle, inbox) = engine_thread::new(units_max).map_err(EngineError::system("eventfd"))?;
    let epoll = watch_bell(&inbox).map_err(EngineError::system("epoll"))?;
    let resolver = Resolver::new(config.resolve_timeout, Arc::<Bell>::clone(inbox.state().bell()));
    let reactor = Reactor { inbox, resolver, units: SlotMap::default(), driver: driver(epoll) };
    let thread = thread::Builder::new().name(thread.to_owned());
    // Its handle is there before it runs, so that where one thread cannot be made the others end.
    let run = move || {
        give_way();
        reactor.run();
    };
    thread.spawn(run).map_err(EngineError::system("a thread"))?;
    Ok(handle)
}

fn watch_bell<U>(inbox: &Inbox<U>) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(inbox.state().bell(), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
    Ok(epoll)
}

/// The thread.
#[derive(Debug)]
struct Reactor<D: Driver> {
    inbox: Inbox<D::Unit>,
    resolver: Resolver,
    units: SlotMap<D::Unit>,
    driver: D,
}

impl<D: Driver> Reactor<D> {
    fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); D::EVENTS_AT_ONCE];
        let mut wake_at = Some(Duration::ZERO);
        while !self.inbox.state().is_stopped() {
            bell::sleep(&mut [PollFd::new(self.driver.epoll().0.as_fd(), PollFlags::POLLIN)], wake_at);
            let count = self.driver.epoll().wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            let now = clock::now();
            let mut has_more = count == D::EVENTS_AT_ONCE;
            let mut last = None;
            for name in events.iter().take(count).map(EpollEvent::data) {
                // Sockets of one name are looked at together, so one event is as good as several.
                if last != Some(name) {
                    has_more |= self.on_event(now, name);
                }
                last = Some(name);
            }
            self.take_in(now);
            self.driver.end_overdue(&mut self.units, now);
            let next = self.turn();
            wake_at = if has_more { Some(Duration::ZERO) } else { next };
        }
        self.take_in(clock::now());
        for key in self.keys() {
            let Some(mut unit) = self.units.remove(key) else { continue };
            unit.end(Err(ScanError::Stopped));
            unit.end_turn(clock::now());
            unit.finish();
        }
    }

    fn on_event(&mut self, now: Duration, name: u64) -> bool {
        if name == BELL {
            // Silenced; what it rang for is looked at in every turn.
            self.inbox.state().bell().silence();
            return false;
        }
        self.driver.on_event(&mut self.units, now, name)
    }

    /// New units and names that were looked up.
    fn take_in(&mut self, now: Duration) {
        while let Some(unit) = self.inbox.take() {
            self.units.insert(unit);
        }
        for ((unit, host), found) in self.resolver.take(now) {
            if let Some(unit) = self.units.get_mut(unit) {
                unit.on_resolved(now, host, found);
            }
        }
    }

    /// Lets every unit take its steps; returns when to look again, or `None` to wait for an event.
    fn turn(&mut self) -> Option<Duration> {
        let mut wake_at = None;
        for key in self.keys() {
            let unit_wakes = self.drive(key);
            wake_at = [wake_at, unit_wakes].into_iter().flatten().min();
        }
        let tick = (!self.units.is_empty()).then(|| clock::now() + TURN_MAX);
        [wake_at, self.driver.next_overdue(), tick].into_iter().flatten().min()
    }

    fn keys(&self) -> Vec<Key> {
        self.units.iter().map(|(key, _)| key).collect()
    }

    /// Some steps of one unit; returns when it wants to go on.
    fn drive(&mut self, key: Key) -> Option<Duration> {
        let mut now = clock::now();
        let mut wake_at = Some(Duration::ZERO);
        let unit = self.units.get_mut(key)?;
        if !unit.begin_turn(now) {
            for _ in 0..D::STEPS_PER_TURN {
                let until = self.driver.step(key, unit, &mut self.resolver, now);
                now = clock::now();
                if until.is_some() {
                    wake_at = until;
                    break;
                }
            }
        }
        unit.end_turn(now);
        if unit.begin_turn(now) {
            wake_at = None;
            self.driver.give_up(key);
            self.resolver.forget(key);
            if unit.is_over() {
                self.units.remove(key)?.finish();
                if self.units.is_empty() {
                    self.driver.rest();
                }
                self.inbox.ended(1);
            }
        }
        wake_at
    }
}
