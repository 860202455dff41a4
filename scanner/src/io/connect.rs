//! The connect engine: connect scans driven over ordinary non-blocking TCP sockets with epoll, by a few threads with
//! units of their own.
//!
//! A port is asked by connecting to it. An established connection is closed with a reset (`SO_LINGER` 0), so that no
//! local port is kept in TIME_WAIT; an open port may be listened to first, but is never sent anything. One turn of the
//! loop takes in every event that has arrived, then lets each unit take some steps, so that answers are always seen
//! before time-outs and no unit starves another.
//!
//! Probes are the engine's unit of pace: an open port costs the network three packets more than a closed one.

mod reactor;
pub(in crate::io) mod socket;
mod sockets;
mod unit;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::reactor::Reactor;
use self::unit::Unit;
use super::clock;
use super::limits;
use super::links;
use super::resolve::WakeUp;
use crate::io::{EngineConfig, EngineError};
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::unit::{ScanError, UNITS_MAX, UnitScan, UnitTask};

/// How old the view of the routes may be when a unit begins.
const ROUTES_EVERY: Duration = Duration::from_secs(10);
/// Threads when nobody says: more than the connections of one machine's network card need.
const THREADS_MAX: usize = 4;

/// The engine's threads, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    threads: Vec<Thread>,
    neighbours: Arc<Neighbours>,
    /// When the routes were last looked at.
    looked_at: Mutex<Duration>,
}

/// One thread and the way to it.
#[derive(Debug)]
struct Thread {
    inbox: SyncSender<Box<Unit>>,
    shared: Arc<Shared>,
}

/// How many sockets all threads may hold together.
#[derive(Debug)]
struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// What a thread shares with its handle.
#[derive(Debug)]
struct Shared {
    /// Readable when there is something to look at.
    bell: EventFd,
    stopped: AtomicBool,
    /// Units that were accepted and have not ended.
    units: AtomicUsize,
}

impl Shared {
    fn ring(&self) {
        // A full counter is a bell that rings already; nothing else can fail on an open descriptor.
        let _ = self.bell.write(1);
    }
}

/// The bell for those who only ring it.
#[derive(Debug)]
struct Bell(Arc<Shared>);

impl WakeUp for Bell {
    fn wake(&self) {
        self.0.ring();
    }
}

/// Starts the engine's threads.
pub(crate) fn start(config: &EngineConfig) -> Result<Handle, EngineError> {
    let max = config.sockets_max.unwrap_or(usize::MAX).min(limits::probe_sockets()).max(1);
    let budget = Arc::new(Budget { max, used: AtomicUsize::new(0) });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = config.threads.unwrap_or_else(|| cores.min(THREADS_MAX)).max(1);
    let threads = (0..threads).map(|_| start_thread(config, Arc::clone(&budget))).collect::<Result<_, _>>()?;
    let neighbours = Arc::new(Neighbours::new(&links::on_links(), links::entries_max()));
    Ok(Handle { threads, neighbours, looked_at: Mutex::new(clock::now()) })
}

fn start_thread(config: &EngineConfig, budget: Arc<Budget>) -> Result<Thread, EngineError> {
    let system = |what| move |source: std::io::Error| EngineError::System { what, source };
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let bell = EventFd::from_value_and_flags(0, flags).map_err(|errno| system("eventfd")(errno.into()))?;
    let shared = Arc::new(Shared { bell, stopped: AtomicBool::new(false), units: AtomicUsize::new(0) });
    let (inbox, units) = sync_channel(UNITS_MAX);
    let reactor = Reactor::new(config, Arc::clone(&shared), units, budget).map_err(system("epoll"))?;
    // Owned before the thread runs, so that a thread that cannot be made is stopped with the others.
    let handle = Thread { inbox, shared };
    let thread = thread::Builder::new().name("pentora-scan".to_owned());
    thread.spawn(move || reactor.run()).map_err(system("a thread"))?;
    Ok(handle)
}

impl Handle {
    /// The neighbour tables of this machine, for the engine beside.
    pub(crate) fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.neighbours)
    }

    /// Hands a unit to the thread that has the fewest.
    pub(crate) fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        self.look_at_routes();
        let least = self.threads.iter().min_by_key(|thread| thread.shared.units.load(Ordering::Acquire));
        least.ok_or(ScanError::Stopped)?.submit(plan, task, Arc::clone(&self.neighbours))
    }
}

impl Handle {
    /// Follows the routes, which change under a long-lived node.
    fn look_at_routes(&self) {
        let now = clock::now();
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now > *looked_at + ROUTES_EVERY {
            *looked_at = now;
            self.neighbours.set_links(&links::on_links());
        }
    }
}

impl Thread {
    fn submit(&self, plan: Plan, task: UnitTask, neighbours: Arc<Neighbours>) -> Result<UnitScan, ScanError> {
        if self.shared.units.fetch_add(1, Ordering::AcqRel) >= UNITS_MAX {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(ScanError::Busy);
        }
        let (unit, scan) = Unit::new(plan, task, neighbours);
        let sent = self.inbox.try_send(Box::new(unit)).map_err(|error| match error {
            TrySendError::Full(_) => ScanError::Busy,
            TrySendError::Disconnected(_) => ScanError::Stopped,
        });
        if let Err(error) = sent {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        self.shared.ring();
        Ok(scan)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.ring();
    }
}
