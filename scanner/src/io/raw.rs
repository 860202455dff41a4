//! The raw engine: sweeps driven over packet sockets (Linux, `CAP_NET_RAW`).
//!
//! One thread sends and decides, one receives. The receiver reads answers from a ring shared with the kernel, keeps
//! those whose cookie is right, and passes them on through a bounded channel; neither ever waits for a lock of the other.
//! A third thread listens to open ports over ordinary connections. A reset that the kernel sends for a SYN-ACK it knows
//! nothing of is welcome: it closes the half-open connection at the target.
//!
//! The engine's threads live in the network namespace of whoever starts it.

mod greet;
mod ring;
mod routes;
mod sender;
mod transmit;
mod unit;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::greet::Greeter;
use self::ring::Ring;
use self::routes::Network;
use self::sender::{Ends, Sender};
use self::transmit::{ArpSocket, Transmitter};
use self::unit::Waiting;
use super::clock;
use crate::engine::{EngineError, ScanError, UNITS_MAX, UnitScan, UnitTask};
use crate::packet::answer;
use crate::packet::cookie::{Key, STAMPS};
use crate::plan::Plan;
use crate::sweep::{Reply, Sweep, TRIES};

/// Units in work at once; more wait for one to end. Each has 16 source ports, one per try.
pub(super) const SLOTS: u8 = 16;
/// Source ports of one unit.
const PORTS_PER_SLOT: u16 = TRIES as u16 + 1;
/// Source ports of an engine.
const PORTS: u16 = SLOTS as u16 * PORTS_PER_SLOT;
/// The source ports lie above those that Linux gives to connections (32768 to 60999), so that answers to the machine's
/// own connections are not looked at.
const PORT_FIRST: u16 = 61_000;
/// How many such ranges there are: two engines on a machine rarely choose the same.
const PORT_RANGES: u8 = 16;
/// Batches of answers that may wait for the sender.
const REPLIES_QUEUE: usize = 256;

/// The engine's threads, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    inbox: SyncSender<Waiting>,
    shared: Arc<Shared>,
}

/// What the threads share with the handle.
#[derive(Debug)]
struct Shared {
    bell: Arc<Bell>,
    is_stopped: AtomicBool,
    /// Units that were accepted and have not ended.
    units: AtomicUsize,
}

/// Wakes a thread.
#[derive(Debug)]
pub(super) struct Bell {
    event: EventFd,
}

impl Bell {
    fn new() -> io::Result<Arc<Self>> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(Self { event }))
    }

    fn ring(&self) {
        // A full counter is a bell that rings already; nothing else can fail on an open descriptor.
        let _ = self.event.write(1);
    }

    fn silence(&self) {
        // Nothing to read is a silent bell.
        let _ = self.event.read();
    }
}

/// An answer, and the unit that it is for.
type Routed = (u8, Reply);

/// Starts the engine's threads.
pub(crate) fn start() -> Result<Handle, EngineError> {
    let system = |what| move |source: io::Error| EngineError::System { what, source };
    let mut secret = [0; 17];
    getrandom::fill(&mut secret).map_err(|error| system("random bytes")(io::Error::other(error.to_string())))?;
    let [range, key @ ..] = secret;
    let port_first = PORT_FIRST + u16::from(range % PORT_RANGES) * PORTS;
    let key = Key::new(key);
    let ring = Ring::open(port_first, PORTS).map_err(system("a packet socket"))?;
    let transmitter = Transmitter::open().map_err(system("a packet socket"))?;
    let arp = ArpSocket::open().map_err(system("a packet socket"))?;
    let bell = Bell::new().map_err(system("eventfd"))?;
    let greeter_bell = Bell::new().map_err(system("eventfd"))?;
    let shared = Arc::new(Shared { bell, is_stopped: AtomicBool::new(false), units: AtomicUsize::new(0) });
    let (inbox, units) = sync_channel(UNITS_MAX);
    let (replies_in, replies) = sync_channel(REPLIES_QUEUE);
    let (greet, requests) = sync_channel(greet::QUEUE);
    let (heard_in, heard) = sync_channel(greet::QUEUE);
    let greeter = Greeter::new(Arc::clone(&greeter_bell), requests, heard_in, Arc::clone(&shared.bell));
    let greeter = greeter.map_err(system("epoll"))?;
    let ends = Ends { units, replies, greet, heard, greeter_bell };
    let sender = Sender::new(Arc::clone(&shared), ends, (transmitter, arp), (key.clone(), port_first));
    // Owned before a thread runs, so that threads are stopped when one of them cannot be made.
    let handle = Handle { inbox, shared: Arc::clone(&shared) };
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(system("a thread"))
    };
    spawn("pentora-receive", Box::new(move || receive(ring, &key, port_first, &replies_in, &shared)))?;
    spawn("pentora-greet", Box::new(move || greeter.run()))?;
    spawn("pentora-send", Box::new(move || sender.run()))?;
    Ok(handle)
}

/// The receiving thread.
fn receive(mut ring: Ring, key: &Key, port_first: u16, replies: &SyncSender<Vec<Routed>>, shared: &Shared) {
    while !shared.is_stopped.load(Ordering::Acquire) {
        ring.wait(100);
        let mut batch = Vec::new();
        while ring.read_block(|packet| batch.extend(read(packet, key, port_first))) {
            if !batch.is_empty() && replies.send(std::mem::take(&mut batch)).is_err() {
                return;
            }
            shared.bell.ring();
        }
    }
}

/// What a packet says, if it answers a probe of ours.
fn read(packet: &[u8], key: &Key, port_first: u16) -> Option<Routed> {
    let answer = answer::parse(packet)?;
    let lane = answer.from_port.checked_sub(port_first).filter(|lane| *lane < PORTS)?;
    let stamp = answer.stamp(key)?;
    let now = clock::now();
    let age = stamp_at(now).wrapping_sub(stamp) % STAMPS;
    let slot = u8::try_from(lane / PORTS_PER_SLOT).ok()?;
    let attempt = u8::try_from(lane % PORTS_PER_SLOT).ok()?;
    let reply = Reply {
        address: answer.address,
        port: answer.port,
        attempt,
        sent_at: now.saturating_sub(Duration::from_millis(age.into())),
        state: answer.state,
        reason: answer.reason,
        ttl: answer.ttl,
    };
    Some((slot, reply))
}

/// The stamp of a moment: its milliseconds, as many as fit.
fn stamp_at(now: Duration) -> u16 {
    u16::try_from(now.as_millis() % u128::from(STAMPS)).expect("a remainder is below its divisor")
}

/// Whether a unit can be scanned raw, and what its network looks like.
fn network_of(plan: &Plan) -> Result<Network, &'static str> {
    if !Sweep::suits(plan.spec().profile) {
        return Err("profile ot-safe");
    }
    Network::read(plan.target_set())
}

impl Handle {
    /// Takes a unit, or gives it back with what it has that this engine cannot scan.
    pub(crate) fn submit(&self, plan: Plan, task: UnitTask) -> Result<Result<UnitScan, ScanError>, NotRaw> {
        match network_of(&plan) {
            Err(why) => Err(NotRaw { why, unit: Box::new((plan, task)) }),
            Ok(network) => Ok(self.queue(plan, task, network)),
        }
    }

    fn queue(&self, plan: Plan, task: UnitTask, network: Network) -> Result<UnitScan, ScanError> {
        if self.shared.units.fetch_add(1, Ordering::AcqRel) >= UNITS_MAX {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(ScanError::Busy);
        }
        let (unit, scan) = Waiting::new(plan, task, network);
        if let Err(error) = self.inbox.try_send(unit) {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(match error {
                TrySendError::Full(_) => ScanError::Busy,
                TrySendError::Disconnected(_) => ScanError::Stopped,
            });
        }
        self.shared.bell.ring();
        Ok(scan)
    }
}

/// A unit that is none for this engine.
#[derive(Debug)]
pub(crate) struct NotRaw {
    /// What it has that cannot be scanned raw.
    pub(crate) why: &'static str,
    /// The unit.
    pub(crate) unit: Box<(Plan, UnitTask)>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.bell.ring();
    }
}

#[cfg(test)]
#[path = "raw/raw_test.rs"]
mod tests;
