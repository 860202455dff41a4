//! How one thread wakes another that sleeps until something can be read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use super::clock;
use super::resolve::WakeUp;

/// Below this, sleeping costs more than looking again.
const SLEEP_MIN: Duration = Duration::from_micros(20);

/// Wakes a thread: readable once it was rung, until it is silenced.
#[derive(Debug)]
pub(super) struct Bell {
    event: EventFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Arc::new(Self { event }))
    }

    pub(super) fn ring(&self) {
        // A full counter is a bell that rings already; nothing else can fail on an open descriptor.
        let _ = self.event.write(1);
    }

    pub(super) fn silence(&self) {
        // Nothing to read is a silent bell.
        let _ = self.event.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl WakeUp for Bell {
    fn wake(&self) {
        self.ring();
    }
}

/// Sleeps until one of these can be read or until `wake_at`, to the accuracy of the kernel's timers (epoll's own is a
/// millisecond). False if there was no time to sleep.
pub(super) fn sleep(polled: &mut [PollFd<'_>], wake_at: Option<Duration>) -> bool {
    let wait = wake_at.map(|at| at.saturating_sub(clock::now()));
    if wait.is_some_and(|wait| wait < SLEEP_MIN) {
        return false;
    }
    // An interrupted sleep is as good as one that has ended.
    let _ = ppoll(polled, wait.map(TimeSpec::from_duration), None);
    true
}
