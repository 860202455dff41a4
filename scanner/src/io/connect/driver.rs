//! What a thread of the connect engine does for its units: carries out what their scans say, and tells them what became of
//! each socket.

use std::time::Duration;

use nix::sys::epoll::Epoll;

use super::socket::{self, Verdict};
use super::sockets::{Purpose, Sockets, Watched};
use super::unit::Unit;
use crate::connect_scan::{Listen, Step};
#[cfg(target_os = "linux")]
use crate::finding::NotProbed;
use crate::finding::printable_banner;
use crate::io::reactor::{Driven, Driver};
use crate::io::resolve::Resolver;
use crate::slot_map::{Key, SlotMap};
#[cfg(target_os = "linux")]
use crate::target::of_socket;
use crate::unit::ScanError;

/// How soon it is looked again while a gateway is doubted.
#[cfg(target_os = "linux")]
const DOUBT_STEP: Duration = Duration::from_millis(20);

impl Driver for Sockets {
    type Unit = Unit;

    const EVENTS_AT_ONCE: usize = 1024;
    /// Few enough that no answer waits for a millisecond.
    const STEPS_PER_TURN: usize = 64;

    fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    fn on_event(&mut self, units: &mut SlotMap<Unit>, now: Duration, name: u64) -> bool {
        self.on_socket(units, now, Key::from_bits(name));
        false
    }

    /// Closes the sockets that were listened to for long enough.
    fn end_overdue(&mut self, units: &mut SlotMap<Unit>, now: Duration) {
        while let Some((_, key)) = self.listening.front().filter(|(end, _)| *end <= now).copied() {
            self.listening.pop_front();
            self.end_of_words(units, key);
        }
    }

    fn next_overdue(&self) -> Option<Duration> {
        self.listening.front().map(|(end, _)| *end)
    }

    fn step(&mut self, key: Key, unit: &mut Unit, resolver: &mut Resolver, now: Duration) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        if unit.passages.is_doubted() {
            return Some(now + DOUBT_STEP);
        }
        #[cfg(target_os = "linux")]
        if let Some(next) = unit.carrier.awaited(now).or_else(|| unit.ways.awaited(now)) {
            return Some(next);
        }
        let room = if unit.is_blocked() { 0 } else { self.room() };
        match unit.scan.poll(now, room) {
            Step::Send { probe, to } => match self.connect(key, probe, to) {
                Ok(socket) => {
                    unit.set_socket(probe, socket);
                    #[cfg(target_os = "linux")]
                    unit.passages.sent(now, to);
                }
                Err(error) => {
                    let verdict = match socket::verdict_of_begin(&error, self.open.len()) {
                        #[cfg(target_os = "linux")]
                        Verdict::NotSent(NotProbed::NoRoute | NotProbed::InterfaceDown)
                            if unit.ways.has_lost(now, of_socket(to)) =>
                        {
                            unit.scan.on_held_up(probe);
                            return None;
                        }
                        #[cfg(target_os = "linux")]
                        Verdict::NotSent(why) => Verdict::NotSent(unit.broadcasts.reason_of(why, to.ip())),
                        verdict => verdict,
                    };
                    // Nothing is connected that could be listened to.
                    on_verdict(unit, now, probe, &verdict);
                }
            },
            Step::Close { probe } => {
                if let Some(socket) = unit.take_socket(probe) {
                    self.remove(socket);
                }
            }
            Step::Resolve { host, name } => resolver.ask((key, host), name),
            Step::Wait { until } => return Some(until),
            Step::Done => {
                unit.done(now);
                return Some(Duration::ZERO);
            }
            Step::Starved => {
                let why = format!("{} sockets open of at most {}", self.open.len(), self.budget.max);
                unit.end(Err(ScanError::Starved { why }));
                return Some(Duration::ZERO);
            }
        }
        None
    }

    fn give_up(&mut self, unit: Key) {
        self.close_all_of(unit);
    }

    /// Nobody is scanning.
    fn rest(&mut self) {
        self.close_idle();
    }
}

impl Sockets {
    fn on_socket(&mut self, units: &mut SlotMap<Unit>, now: Duration, key: Key) {
        let sockets_open = self.open.len();
        let Some(watched) = self.open.get(key) else { return };
        let (probe, to) = match watched.purpose {
            Purpose::Probe { probe, to } => (probe, to),
            Purpose::Listen { .. } => return self.hear(units, key),
            Purpose::Idle => return,
        };
        let verdict = socket::verdict(&watched.socket, to, sockets_open);
        if verdict == Verdict::Pending {
            return;
        }
        let unit = units.get_mut(watched.unit);
        let listen = unit.and_then(|unit| {
            unit.take_socket(probe);
            #[cfg(target_os = "linux")]
            if matches!(&verdict, Verdict::Answer(answer) | Verdict::Refused(answer) if answer.is_own_word) {
                unit.passages.heard(now, to);
            }
            on_verdict(unit, now, probe, &verdict)
        });
        match listen {
            Some(listen) => self.listen(units, now, key, listen),
            None if socket::is_connected(&verdict) => self.close(key),
            None => self.put_by(key, to),
        }
    }

    /// Goes on with a connected socket until it has said something.
    fn listen(&mut self, units: &mut SlotMap<Unit>, now: Duration, key: Key, listen: Listen) {
        let Some(watched) = self.open.get_mut(key) else { return };
        watched.purpose = Purpose::Listen { listen, heard: Vec::new() };
        self.listening.push_back((now + listen.wait, key));
        // Its words may have come with the event that told of the connection.
        self.hear(units, key);
        // Listening never takes more than half of the sockets from the scan: the one that has been silent longest
        // has had its time.
        if self.listening.len() > self.budget.max / 2
            && let Some((_, oldest)) = self.listening.pop_front()
        {
            self.end_of_words(units, oldest);
        }
    }

    /// Reads what has come, and ends when that is enough.
    fn hear(&mut self, units: &mut SlotMap<Unit>, key: Key) {
        let Some(Watched { socket, purpose: Purpose::Listen { heard, .. }, .. }) = self.open.get_mut(key) else {
            return;
        };
        if socket::read_words(socket, heard) {
            self.end_of_words(units, key);
        }
    }

    fn end_of_words(&mut self, units: &mut SlotMap<Unit>, key: Key) {
        let Some(Watched { socket, unit, purpose }) = self.remove(key) else { return };
        socket::reset(socket);
        if let (Purpose::Listen { listen, heard }, Some(unit)) = (purpose, units.get_mut(unit)) {
            unit.scan.on_banner(&listen, printable_banner(&heard));
        }
    }
}

/// Tells a scan how a probe ended; returns what to listen to.
fn on_verdict(unit: &mut Unit, now: Duration, probe: Key, verdict: &Verdict) -> Option<Listen> {
    match verdict {
        Verdict::Answer(answer) | Verdict::Refused(answer) => return unit.scan.on_answer(now, probe, *answer),
        Verdict::RefusedHere(reason) => unit.scan.on_refused_here(probe, *reason),
        Verdict::SelfConnected => unit.scan.on_misfire(probe),
        Verdict::Exhausted => unit.scan.on_exhausted(now, probe),
        Verdict::NotSent(why) => unit.scan.on_not_sent(probe, *why),
        Verdict::Nothing | Verdict::Pending => {}
    }
    None
}
