//! The connect engine: connect scans driven over ordinary non-blocking TCP sockets with epoll, by a few threads with
//! units of their own.
//!
//! A port is asked by connecting to it. An established connection is closed with a reset (`SO_LINGER` 0), so that no
//! local port is kept in TIME_WAIT; an open port may be listened to first, but is never sent anything.
//!
//! Probes are the engine's unit of pace: an open port costs the network three packets more than a closed one.

mod driver;
#[cfg(target_os = "linux")]
mod passage;
#[cfg(target_os = "linux")]
mod refusal;
pub(in crate::io) mod socket;
mod sockets;
mod unit;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "linux")]
use self::passage::Answering;
use self::sockets::Sockets;
use self::unit::Unit;
use super::clock;
use super::engine_thread::ThreadHandle;
use super::limits;
use super::links;
use super::reactor;
use crate::io::{EngineConfig, EngineError};
use crate::neighbours::Neighbours;
use crate::occupancy::Occupancy;
use crate::plan::Plan;
use crate::unit::{ScanError, UNITS_MAX, UnitScan, UnitTask};

/// How old the view of the routes may be when a unit begins.
const ROUTES_EVERY: Duration = Duration::from_secs(10);
/// Threads when nobody says: more than the connections of one machine's network card need.
const THREADS_MAX: usize = 4;

/// The engine's threads, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    threads: Vec<ThreadHandle<Unit>>,
    neighbours: Arc<Neighbours>,
    occupancy: Arc<Occupancy>,
    #[cfg(target_os = "linux")]
    answering: Arc<Answering>,
    /// When the routes were last looked at.
    looked_at: Mutex<Duration>,
}

/// How many sockets all threads may hold together.
#[derive(Debug)]
struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// Starts the engine's threads, whose connections to each port count in `occupancy`.
pub(crate) fn start(config: &EngineConfig, occupancy: Arc<Occupancy>) -> Result<Handle, EngineError> {
    let max = config.sockets_max.unwrap_or(usize::MAX).min(limits::probe_sockets()).max(1);
    let budget = Arc::new(Budget { max, used: AtomicUsize::new(0) });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = config.threads.unwrap_or_else(|| cores.min(THREADS_MAX)).max(1);
    let start = |_| reactor::start("pentora-scan", UNITS_MAX, config, |epoll| Sockets::new(epoll, Arc::clone(&budget)));
    let threads = (0..threads).map(start).collect::<Result<_, _>>()?;
    let neighbours = Arc::new(Neighbours::new(&links::on_links(), links::entries_max()));
    Ok(Handle {
        threads,
        neighbours,
        occupancy,
        #[cfg(target_os = "linux")]
        answering: Arc::default(),
        looked_at: Mutex::new(clock::now()),
    })
}

impl Handle {
    /// The neighbour tables of this machine, for the engine beside.
    pub(crate) fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.neighbours)
    }

    /// Hands a unit to the thread that has the fewest.
    pub(crate) fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        self.look_at_routes();
        let least = self.threads.iter().min_by_key(|thread| thread.count());
        least.ok_or(ScanError::Stopped)?.submit(|| {
            Unit::new(
                plan,
                task,
                (self.neighbours(), Arc::clone(&self.occupancy)),
                #[cfg(target_os = "linux")]
                Arc::clone(&self.answering),
            )
        })
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
