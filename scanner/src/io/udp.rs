//! The UDP engine: UDP scans driven over ordinary datagram sockets, which any user may open (Linux).
//!
//! Sockets are not connected and read their error queues (`IP_RECVERR`), so a few of them serve any number of hosts:
//! each try of a unit leaves by a socket of its own, which tells what an answer is for, and an ICMP error comes with the
//! address and port of the datagram that it is about. Datagrams go out and come in by the batch. One thread does all
//! units; one that waits for slow hosts costs it nothing.
//!
//! A unit may have a first part that another engine does (TCP ports, or a discovery alone): its findings pass through
//! here and tell which hosts to ask, so that whoever reads sees one unit.

mod driver;
mod full_queue;
mod merge;
mod sockets;
mod unit;

use std::sync::Arc;

use self::driver::Datagrams;
pub(crate) use self::unit::First;
use self::unit::{Shared, Unit};
use super::engine_thread::ThreadHandle;
use super::reactor;
use crate::io::{EngineConfig, EngineError};
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::udp_scan::payload::Catalogue;
use crate::unit::{ScanError, UnitScan, UnitTask};

/// Units in work at once: each has up to eight sockets, and one that waits for slow hosts may take minutes.
const UNITS_MAX: usize = 32;

/// The engine's thread, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    thread: ThreadHandle<Unit>,
    neighbours: Arc<Neighbours>,
    secret: u64,
}

/// Starts the engine's thread. `neighbours` is what the scans of this machine share.
pub(crate) fn start(config: &EngineConfig, neighbours: Arc<Neighbours>) -> Result<Handle, EngineError> {
    let mut secret = [0; 8];
    let random = getrandom::fill(&mut secret).map_err(|error| std::io::Error::other(error.to_string()));
    random.map_err(EngineError::system("random bytes"))?;
    let thread = reactor::start("pentora-udp", UNITS_MAX, config, Datagrams::new)?;
    Ok(Handle { thread, neighbours, secret: u64::from_ne_bytes(secret) })
}

impl Handle {
    /// Whether there is room for another unit.
    pub(crate) fn has_room(&self) -> bool {
        self.thread.has_room()
    }

    /// Takes a unit, all of whose plan's ports are UDP ports, with the first part of it that is in work elsewhere, and what
    /// they are asked.
    pub(crate) fn submit(
        &self,
        plan: Plan,
        task: UnitTask,
        first: Option<First>,
        catalogue: Arc<Catalogue>,
    ) -> Result<UnitScan, ScanError> {
        let shared = Shared { neighbours: Arc::clone(&self.neighbours), catalogue, secret: self.secret };
        self.thread.submit(|| Unit::new(plan, task, first, shared))
    }
}

#[cfg(test)]
#[path = "udp/udp_test.rs"]
mod tests;
