//! The connect engine: sessions driven over ordinary non-blocking TCP sockets by one thread with epoll.
//!
//! A port is asked by connecting to it. An established connection is closed with a reset (`SO_LINGER` 0), so that no
//! local port is kept in TIME_WAIT; an open port may be listened to first, but is never sent anything. One turn of the
//! loop takes in every event that has arrived, then lets each unit take some steps, so that answers are always seen
//! before time-outs and no unit starves another.
//!
//! Probes are the engine's unit of pace: an open port costs the network three packets more than a closed one.

mod reactor;
mod socket;
mod unit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::reactor::Reactor;
use self::unit::Unit;
use super::resolve::WakeUp;
use crate::engine::{EngineConfig, EngineError, ScanError, UNITS_MAX, UnitScan, UnitTask};
use crate::plan::Plan;

/// The engine's thread, from outside.
#[derive(Debug)]
pub(crate) struct Handle {
    inbox: SyncSender<Unit>,
    shared: Arc<Shared>,
}

/// What the engine's thread shares with its handle.
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

/// Starts the engine's thread.
pub(crate) fn start(config: &EngineConfig) -> Result<Handle, EngineError> {
    let system = |what| move |source: std::io::Error| EngineError::System { what, source };
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let bell = EventFd::from_value_and_flags(0, flags).map_err(|errno| system("eventfd")(errno.into()))?;
    let shared = Arc::new(Shared { bell, stopped: AtomicBool::new(false), units: AtomicUsize::new(0) });
    let (inbox, units) = sync_channel(UNITS_MAX);
    let reactor = Reactor::new(config, Arc::clone(&shared), units).map_err(system("epoll"))?;
    let thread = thread::Builder::new().name("pentora-scan".to_owned());
    thread.spawn(move || reactor.run()).map_err(system("a thread"))?;
    Ok(Handle { inbox, shared })
}

impl Handle {
    /// Hands a unit to the engine's thread.
    pub(crate) fn submit(&self, plan: Plan, task: UnitTask) -> Result<UnitScan, ScanError> {
        if self.shared.units.fetch_add(1, Ordering::AcqRel) >= UNITS_MAX {
            self.shared.units.fetch_sub(1, Ordering::AcqRel);
            return Err(ScanError::Busy);
        }
        let (unit, scan) = Unit::new(plan, task);
        let sent = self.inbox.try_send(unit).map_err(|error| match error {
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
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.ring();
    }
}
