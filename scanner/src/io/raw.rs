//! The raw engine: SYN scans driven over packet sockets (Linux, `CAP_NET_RAW`).
//!
//! One thread sends and decides, one receives. The receiver reads answers from a ring shared with the kernel, keeps
//! those whose cookie is right, and passes them on through a bounded channel; neither ever waits for a lock of the other.
//! A third thread listens to open ports over ordinary connections. A reset that the kernel sends for a SYN-ACK it knows
//! nothing of is welcome: it closes the half-open connection at the target.
//!
//! The same for both families, for whatever links [`routes`] understands, and for this machine's own addresses.
//!
//! The engine's threads start with its first unit ([`lazy`]) and live in the network namespace of whoever brings that.

mod banner_grab;
mod filter;
mod lazy;
mod neighbour;
pub(in crate::io) mod netlink;
mod policy;
mod receiver;
mod ring;
mod routes;
mod sender;
mod transmit;
mod unit;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::banner_grab::BannerGrabber;
pub(crate) use self::lazy::Lazy;
use self::neighbour::Resolver;
#[cfg(fuzzing)]
pub use self::netlink::read_netlink;
use self::receiver::Receiver;
use self::ring::{Family, Ring};
use self::routes::Network;
pub(in crate::io) use self::routes::{BROADCAST, LOCAL, first_target};
use self::sender::{Ends, Sender};
use self::transmit::Transmitter;
use self::unit::Waiting;
use super::bell::Bell;
use super::engine_thread::{self, ThreadHandle};
use super::give_way::give_way;
use crate::io::EngineError;
use crate::occupancy::Occupancy;
use crate::packet::cookie::STAMPS;
use crate::packet::probe::Keys;
use crate::plan::Plan;
use crate::syn_scan::lane;
use crate::unit::{ScanError, UNITS_MAX, UnitScan, UnitTask};

/// Units in work at once; more wait for one to end. Each has 16 source ports, one per lane.
pub(super) const SLOTS: u8 = 16;
/// Source ports of one unit.
const PORTS_PER_SLOT: u16 = lane::KNOWN as u16 + 1;
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
    sender: ThreadHandle<Waiting>,
    /// Rung once, at the end, for the thread that waits for packets.
    end_bell: Arc<Bell>,
    /// Those that close packet sockets at their end.
    threads: Vec<JoinHandle<()>>,
}

/// Starts the engine's threads, whose connections to open ports count in `occupancy`.
fn start(occupancy: Arc<Occupancy>) -> Result<Handle, EngineError> {
    let system = EngineError::system;
    let mut secret = [0; 17];
    getrandom::fill(&mut secret).map_err(|error| system("random bytes")(io::Error::other(error.to_string())))?;
    let [range, key @ ..] = secret;
    let port_first = PORT_FIRST + u16::from(range % PORT_RANGES) * PORTS;
    let keys = Keys::new(key);
    let open = |family| Ring::open(family, port_first, PORTS).map_err(system("a packet socket"));
    let rings = vec![open(Family::V4)?, open(Family::V6)?];
    let transmitter = Transmitter::open().map_err(system("a packet socket"))?;
    let resolver = Resolver::open().map_err(system("a packet socket"))?;
    let grabber_bell = Bell::new().map_err(system("eventfd"))?;
    let end_bell = Bell::new().map_err(system("eventfd"))?;
    let (handle, units) = engine_thread::new(UNITS_MAX).map_err(system("eventfd"))?;
    let state = Arc::clone(units.state());
    let (replies_in, replies) = sync_channel(REPLIES_QUEUE);
    let (banner_grab, requests) = sync_channel(banner_grab::QUEUE);
    let (heard_in, heard) = sync_channel(banner_grab::QUEUE);
    let grabber =
        BannerGrabber::new(Arc::clone(&grabber_bell), requests, heard_in, Arc::clone(state.bell()), occupancy);
    let grabber = grabber.map_err(system("epoll"))?;
    let receiver = Receiver {
        rings,
        keys: keys.clone(),
        port_first,
        replies: replies_in,
        sender: state,
        end_bell: Arc::clone(&end_bell),
    };
    let ends = Ends { units, replies, banner_grab, heard, grabber_bell };
    let sender = Sender::new(ends, transmitter, resolver, keys, port_first);
    // Owned before a thread runs, so that threads are stopped when one of them cannot be made.
    let mut handle = Handle { sender: handle, end_bell, threads: Vec::new() };
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(body).map_err(system("a thread"))
    };
    handle.threads.push(spawn("pentora-receive", Box::new(move || receiver.run()))?);
    // What sends gives way; what receives does not, or answers would be lost to questions that were sent.
    let second = |run: Box<dyn FnOnce() + Send>| -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            give_way();
            run();
        })
    };
    spawn("pentora-banners", second(Box::new(move || grabber.run())))?;
    handle.threads.push(spawn("pentora-send", second(Box::new(move || sender.run())))?);
    Ok(handle)
}

/// Drops what holds packet sockets, each on a thread of its own: the kernel waits for all processors before one is closed,
/// some 20 ms each, and a program's end would wait for one after another.
fn drop_side_by_side<T: Send>(all: impl IntoIterator<Item = T>) {
    thread::scope(|scope| {
        for one in all {
            // Where there is no thread to be had, it is dropped here.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(one));
        }
    });
}

/// The stamp of a moment: its milliseconds, as many as fit.
fn stamp_at(now: Duration) -> u16 {
    u16::try_from(now.as_millis() % u128::from(STAMPS)).expect("a remainder is below its divisor")
}

impl Handle {
    /// Takes a unit, or gives it back with what it has that this engine cannot scan. If `is_alone`, there is no other engine for that:
    /// such addresses are not probed, and the unit's note says why.
    pub(crate) fn submit(
        &self,
        plan: Plan,
        task: UnitTask,
        is_alone: bool,
    ) -> Result<Result<UnitScan, ScanError>, NotRaw> {
        match Network::read(plan.target_set(), is_alone) {
            Err(why) => Err(NotRaw { why, unit: Box::new((plan, task)) }),
            Ok(network) => {
                let note = network.left_out;
                let scan = self.sender.submit(|| Waiting::new(plan, task, network));
                Ok(scan.map(|scan| UnitScan { note, ..scan }))
            }
        }
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
        self.sender.stop();
        self.end_bell.ring();
        // A thread that has died has closed its sockets.
        std::mem::take(&mut self.threads).into_iter().for_each(|thread| drop(thread.join()));
    }
}

#[cfg(test)]
#[path = "raw/raw_test.rs"]
mod tests;
