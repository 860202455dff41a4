//! The UDP engine: UDP scans driven over ordinary datagram sockets, which any user may open (Linux).
//!
//! Sockets are not connected and read their error queues (`IP_RECVERR`), so a few of them serve any number of hosts:
//! each try of a unit leaves by a socket of its own, which tells what an answer is for, and an ICMP error comes with the
//! address and port of the datagram that it is about. Datagrams go out and come in by the batch. One thread does all
//! units; one that waits for slow hosts costs it nothing.
//!
//! A unit may have a first part that another engine does (TCP ports, or a discovery alone): its findings pass through
//! here and tell which hosts to ask, so that whoever reads sees one unit.

mod merge;
mod reactor;
mod sockets;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::reactor::Reactor;
pub(crate) use self::unit::First;
use self::unit::Unit;
use super::resolve::WakeUp;
use crate::io::{EngineConfig, EngineError};
use crate::neighbours::Neighbours;
use crate::plan::Plan;
use crate::unit::{ScanError, UnitScan, UnitTask};

/// Units in work at once: each has up to eight sockets, and one that waits for slow hosts may take minutes.
const UNITS_MAX: usize = 32;

/// The engine's thread, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    inbox: SyncSender<Box<Unit>>,
    shared: Arc<Shared>,
    neighbours: Arc<Neighbours>,
    secret: u64,
}

/// What the thread shares with its handle.
#[derive(Debug)]
struct Shared {
    /// Readable when there is something to look at.
    bell: EventFd,
    is_stopped: AtomicBool,
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

/// Starts the engine's thread. `neighbours` is what the scans of this machine share.
pub(crate) fn start(config: &EngineConfig, neighbours: Arc<Neighbours>) -> Result<Handle, EngineError> {
    let system = |what| move |source: std::io::Error| EngineError::System { what, source };
    let mut secret = [0; 8];
    let random = getrandom::fill(&mut secret);
    random.map_err(|error| system("random bytes")(std::io::Error::other(error.to_string())))?;
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let bell = EventFd::from_value_and_flags(0, flags).map_err(|errno| system("eventfd")(errno.into()))?;
    let shared = Arc::new(Shared { bell, is_stopped: AtomicBool::new(false), units: AtomicUsize::new(0) });
    let (inbox, units) = sync_channel(UNITS_MAX);
    let reactor = Reactor::new(config, Arc::clone(&shared), units).map_err(system("epoll"))?;
    // Owned before the thread runs, so that it is stopped when it cannot be made.
    let handle = Handle { inbox, shared, neighbours, secret: u64::from_ne_bytes(secret) };
    let thread = thread::Builder::new().name("pentora-udp".to_owned());
    thread.spawn(move || reactor.run()).map_err(system("a thread"))?;
    Ok(handle)
}

impl Handle {
    /// Whether there is room for another unit.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.units.load(Ordering::Acquire) < UNITS_MAX
    }

    /// Takes a unit, all of whose plan's ports are UDP ports, with the first part of it that is in work elsewhere.
    pub(crate) fn submit(&self, (plan, task): (Plan, UnitTask), first: Option<First>) -> Result<UnitScan, ScanError> {
        if self.shared.units.fetch_add(1, Ordering::AcqRel) >= UNITS_MAX {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(ScanError::Busy);
        }
        let (unit, scan) = Unit::new(plan, task, first, Arc::clone(&self.neighbours), self.secret);
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

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.ring();
    }
}

#[cfg(test)]
#[path = "udp/udp_test.rs"]
mod tests;
