//! A thread of the engine: takes in events, lets each unit take its steps, sleeps until there is something to do.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::socket::{self, Verdict};
use super::sockets::{Purpose, Sockets, Watched};
use super::unit::Unit;
use super::{Bell, Budget, Shared};
use crate::connect_scan::{Listen, Step};
use crate::finding::{BANNER_BYTES_MAX, printable_banner};
use crate::io::EngineConfig;
use crate::io::clock;
use crate::io::resolve::Resolver;
use crate::slot_map::{Key, SlotMap};
use crate::unit::ScanError;

/// Steps a unit takes before the next one has its turn and events are looked at: few enough that no answer waits
/// for a millisecond.
const STEPS_PER_TURN: usize = 64;
/// Events taken from the kernel at once.
const EVENTS_AT_ONCE: usize = 1024;
/// While there are units, the loop turns at least this often: it notices a cancelled one well within 100 ms.
const TURN_MAX: Duration = Duration::from_millis(20);
/// Event data of the bell; no key has this value, since no slot map has 2^32 slots.
pub(super) const BELL: u64 = u64::MAX;

/// The engine's thread.
#[derive(Debug)]
pub(super) struct Reactor {
    shared: Arc<Shared>,
    inbox: Receiver<Box<Unit>>,
    resolver: Resolver,
    units: SlotMap<Unit>,
    sockets: Sockets,
}

impl Reactor {
    pub(super) fn new(
        config: &EngineConfig,
        shared: Arc<Shared>,
        inbox: Receiver<Box<Unit>>,
        budget: Arc<Budget>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let resolver = Resolver::new(config.resolve_timeout, Box::new(Bell(Arc::clone(&shared))));
        Ok(Self { shared, inbox, resolver, units: SlotMap::default(), sockets: Sockets::new(epoll, budget) })
    }

    pub(super) fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EVENTS_AT_ONCE];
        let mut wake_at = Some(Duration::ZERO);
        while !self.shared.stopped.load(Ordering::Acquire) {
            self.sockets.sleep(wake_at);
            let count = self.sockets.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            let now = clock::now();
            for event in events.iter().take(count) {
                self.on_event(now, event.data());
            }
            self.take_in(now);
            self.end_listening(now);
            wake_at = self.turn(count == EVENTS_AT_ONCE);
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
                unit.scan.on_resolved(host, found);
            }
        }
    }

    /// Lets every unit take its steps; returns when to look again, or `None` to wait for an event.
    fn turn(&mut self, has_more_events: bool) -> Option<Duration> {
        let keys: Vec<Key> = self.units.iter().map(|(key, _)| key).collect();
        let mut wake_at = None;
        for key in keys {
            let unit_wakes = self.drive(key);
            wake_at = [wake_at, unit_wakes].into_iter().flatten().min();
        }
        let tick = (!self.units.is_empty()).then(|| clock::now() + TURN_MAX);
        let now = has_more_events.then_some(Duration::ZERO);
        [wake_at, self.sockets.listening.front().map(|(end, _)| *end), tick, now].into_iter().flatten().min()
    }

    /// Some steps of one unit; returns when it wants to go on.
    fn drive(&mut self, key: Key) -> Option<Duration> {
        let mut wake_at = Some(Duration::ZERO);
        let mut now = clock::now();
        let is_ending = self.units.get_mut(key)?.begin_turn(now);
        if !is_ending {
            for _ in 0..STEPS_PER_TURN {
                match self.step(key, now)? {
                    Some(until) => {
                        wake_at = Some(until);
                        break;
                    }
                    None => now = clock::now(),
                }
            }
        }
        let unit = self.units.get_mut(key)?;
        unit.end_turn(now);
        if unit.begin_turn(now) {
            wake_at = None;
            self.sockets.close_all_of(key);
            self.resolver.forget(key);
            if self.units.get(key).is_some_and(Unit::is_over) {
                self.units.remove(key)?.finish();
                if self.units.is_empty() {
                    self.sockets.close_idle();
                }
                self.shared.units.fetch_sub(1, Ordering::AcqRel);
            }
        }
        wake_at
    }

    /// One step of a unit: `Some(None)` to go on, `Some(Some(time))` to wait, `None` when the unit is not there.
    fn step(&mut self, key: Key, now: Duration) -> Option<Option<Duration>> {
        let unit = self.units.get_mut(key)?;
        let room = if unit.is_blocked() { 0 } else { self.sockets.room() };
        match unit.scan.poll(now, room) {
            Step::Send { probe, to } => match self.sockets.connect(key, probe, to) {
                Ok(socket) => unit.set_socket(probe, socket),
                Err(error) => {
                    // Nothing is connected that could be listened to.
                    on_verdict(unit, now, probe, &socket::verdict_of(&error, self.sockets.open.len()));
                }
            },
            Step::Close { probe } => {
                if let Some(socket) = unit.take_socket(probe) {
                    self.sockets.remove(socket);
                }
            }
            Step::Resolve { host, name } => self.resolver.ask((key, host), name),
            Step::Wait { until } => return Some(Some(until)),
            Step::Done => {
                unit.done(now);
                return Some(Some(Duration::ZERO));
            }
            Step::Starved => {
                let why = format!("{} sockets open of at most {}", self.sockets.open.len(), self.sockets.budget.max);
                unit.end(Err(ScanError::Starved { why }));
                return Some(Some(Duration::ZERO));
            }
        }
        Some(None)
    }

    fn on_event(&mut self, now: Duration, data: u64) {
        if data == BELL {
            // Read to silence it; what it rang for is looked at in every turn.
            let _ = self.shared.bell.read();
            return;
        }
        let key = Key::from_bits(data);
        let sockets_open = self.sockets.open.len();
        let Some(watched) = self.sockets.open.get(key) else { return };
        let (probe, to) = match watched.purpose {
            Purpose::Probe { probe, to } => (probe, to),
            Purpose::Listen { .. } => return self.hear(key),
            Purpose::Idle => return,
        };
        let verdict = socket::verdict(&watched.socket, to, sockets_open);
        if verdict == Verdict::Pending {
            return;
        }
        let unit = self.units.get_mut(watched.unit);
        let listen = unit.and_then(|unit| {
            unit.take_socket(probe);
            on_verdict(unit, now, probe, &verdict)
        });
        match listen {
            Some(listen) => self.listen(now, key, listen),
            None if socket::is_connected(&verdict) => self.sockets.close(key),
            None => self.sockets.put_by(key, to),
        }
    }

    /// Goes on with a connected socket until it has said something.
    fn listen(&mut self, now: Duration, key: Key, listen: Listen) {
        let Some(watched) = self.sockets.open.get_mut(key) else { return };
        watched.purpose = Purpose::Listen { listen, heard: Vec::new() };
        self.sockets.listening.push_back((now + listen.wait, key));
        // Its words may have come with the event that told of the connection.
        self.hear(key);
        // Listening never takes more than half of the sockets from the scan: the one that has been silent longest
        // has had its time.
        if self.sockets.listening.len() > self.sockets.budget.max / 2
            && let Some((_, oldest)) = self.sockets.listening.pop_front()
        {
            self.end_of_words(oldest);
        }
    }

    /// Reads what has come; ends with the first line, with enough, or with the connection.
    fn hear(&mut self, key: Key) {
        let Some(Watched { socket, purpose: Purpose::Listen { heard, .. }, .. }) = self.sockets.open.get_mut(key)
        else {
            return;
        };
        let mut buffer = [0; BANNER_BYTES_MAX];
        let is_over = loop {
            let left = BANNER_BYTES_MAX - heard.len();
            match socket.read(buffer.get_mut(..left).unwrap_or_default()) {
                Ok(0) => break true,
                Ok(count) => heard.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break heard.ends_with(b"\n"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        if is_over {
            self.end_of_words(key);
        }
    }

    /// Closes the sockets that were listened to for long enough.
    fn end_listening(&mut self, now: Duration) {
        while let Some((_, key)) = self.sockets.listening.front().filter(|(end, _)| *end <= now).copied() {
            self.sockets.listening.pop_front();
            self.end_of_words(key);
        }
    }

    fn end_of_words(&mut self, key: Key) {
        let Some(Watched { socket, unit, purpose }) = self.sockets.remove(key) else { return };
        socket::reset(socket);
        if let (Purpose::Listen { listen, heard }, Some(unit)) = (purpose, self.units.get_mut(unit)) {
            unit.scan.on_banner(&listen, printable_banner(&heard));
        }
    }
}

/// Tells a scan how a probe ended; returns what to listen to.
fn on_verdict(unit: &mut Unit, now: Duration, probe: Key, verdict: &Verdict) -> Option<Listen> {
    match verdict {
        Verdict::Answer(answer) => return unit.scan.on_answer(now, probe, *answer),
        Verdict::SelfConnected => unit.scan.on_misfire(probe),
        Verdict::Exhausted => unit.scan.on_exhausted(now, probe),
        Verdict::Nothing | Verdict::Pending => {}
    }
    None
}
