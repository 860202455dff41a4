//! How units come to a thread of an engine, and how the thread is told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::bell::Bell;
use crate::unit::{ScanError, UnitScan};

/// A thread of an engine, from outside; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct ThreadHandle<U> {
    units: SyncSender<Box<U>>,
    state: Arc<ThreadState>,
    units_max: usize,
}

/// The thread's own end of it.
#[derive(Debug)]
pub(super) struct Inbox<U> {
    units: Receiver<Box<U>>,
    state: Arc<ThreadState>,
}

/// What both ends share.
#[derive(Debug)]
pub(super) struct ThreadState {
    /// Rung when there is something to look at.
    bell: Arc<Bell>,
    is_stopped: AtomicBool,
    /// Units that were accepted and have not ended.
    units: AtomicUsize,
}

/// Both ends for a thread that takes so many units at once.
pub(super) fn new<U>(units_max: usize) -> io::Result<(ThreadHandle<U>, Inbox<U>)> {
    let bell = Bell::new()?;
    let state = Arc::new(ThreadState { bell, is_stopped: AtomicBool::new(false), units: AtomicUsize::new(0) });
    let (units_in, units) = sync_channel(units_max);
    let handle = ThreadHandle { units: units_in, state: Arc::clone(&state), units_max };
    Ok((handle, Inbox { units, state }))
}

impl<U> ThreadHandle<U> {
    /// Units in work.
    pub(super) fn count(&self) -> usize {
        self.state.units.load(Ordering::Acquire)
    }

    /// Whether there is room for another unit.
    pub(super) fn has_room(&self) -> bool {
        self.count() < self.units_max
    }

    /// Hands over the unit that `make` makes, if there is room for it.
    pub(super) fn submit(&self, make: impl FnOnce() -> (U, UnitScan)) -> Result<UnitScan, ScanError> {
        if self.state.units.fetch_add(1, Ordering::AcqRel) >= self.units_max {
            self.state.units.fetch_sub(1, Ordering::AcqRel);
            return Err(ScanError::Busy);
        }
        let (unit, scan) = make();
        if let Err(error) = self.units.try_send(Box::new(unit)) {
            self.state.units.fetch_sub(1, Ordering::AcqRel);
            return Err(match error {
                TrySendError::Full(_) => ScanError::Busy,
                TrySendError::Disconnected(_) => ScanError::Stopped,
            });
        }
        self.state.bell.ring();
        Ok(scan)
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self) {
        self.state.is_stopped.store(true, Ordering::Release);
        self.state.bell.ring();
    }
}

impl<U> Drop for ThreadHandle<U> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ThreadState {
    /// Rung when there is something to look at.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Whether the thread is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

impl<U> Inbox<U> {
    pub(super) fn state(&self) -> &Arc<ThreadState> {
        &self.state
    }

    /// A unit that was handed over and not taken.
    pub(super) fn take(&self) -> Option<U> {
        self.units.try_recv().ok().map(|unit| *unit)
    }

    /// So many units have ended; there is room for others.
    pub(super) fn ended(&self, count: usize) {
        self.state.units.fetch_sub(count, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::io::delivery::Delivery;

    fn unit() -> (Delivery, UnitScan) {
        Delivery::new(CancellationToken::new(), 1)
    }

    #[test]
    fn so_many_units_are_taken_at_once_and_none_after_the_end() {
        let (handle, inbox) = new(2).unwrap();
        assert!(handle.submit(unit).is_ok() && handle.submit(unit).is_ok());
        assert_eq!(handle.submit(unit).map(drop), Err(ScanError::Busy));
        assert!(inbox.take().is_some() && inbox.take().is_some() && inbox.take().is_none());
        assert!(!handle.has_room(), "they are still in work");
        inbox.ended(1);
        assert_eq!((handle.has_room(), handle.count()), (true, 1));
        drop(inbox);
        assert_eq!(handle.submit(unit).map(drop), Err(ScanError::Stopped));
        assert_eq!(handle.count(), 1);
    }

    #[test]
    fn a_thread_whose_handle_is_dropped_is_told_to_end() {
        let (handle, inbox) = new::<Delivery>(1).unwrap();
        assert!(!inbox.state().is_stopped());
        drop(handle);
        assert!(inbox.state().is_stopped());
    }
}
