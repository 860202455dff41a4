//! Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends when it goes away.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{ExitCode, Failure};

/// A signal this soon after the first is a part of it: `timeout` signals a process and then its group, a terminal that goes
/// away sends two kinds.
const SAME_WITHIN: Duration = Duration::from_millis(500);

/// Listens for the signals from its creation on.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started this process wants it to outlive its terminal (nohup).
    hang_up: Option<Signal>,
    /// When the first came.
    first: Option<Instant>,
}

impl Interrupts {
    /// Begins to listen; from now on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(super) fn listen() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| Failure::new(ExitCode::Failure, format!("signals cannot be handled: {error}")))
        };
        let ignored = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status));
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            hang_up: (!ignored).then(|| install(SignalKind::hangup())).transpose()?,
            first: None,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
        self.first.get_or_insert_with(Instant::now);
    }

    /// Waits for one that says that its user is tired of waiting: not one that came together with the first. Cancel-safe.
    pub(super) async fn again(&mut self) {
        loop {
            self.next().await;
            if self.first.is_none_or(|first| first.elapsed() >= SAME_WITHIN) {
                return;
            }
        }
    }
}

/// Whether a process with this `/proc/self/status` ignores SIGHUP: the lowest bit of its mask of ignored signals.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn signals_that_come_together_are_one_and_a_later_one_is_impatience() {
        let mut interrupts = Interrupts::listen().unwrap();
        raise(Signal::SIGTERM).unwrap();
        raise(Signal::SIGINT).unwrap();
        raise(Signal::SIGHUP).unwrap();
        interrupts.next().await;
        let begun = Instant::now();
        let again = interrupts.again();
        tokio::pin!(again);
        assert!(tokio::time::timeout(SAME_WITHIN * 2, &mut again).await.is_err(), "they were sent at once");
        raise(Signal::SIGTERM).unwrap();
        again.await;
        assert!(begun.elapsed() >= SAME_WITHIN);
    }

    #[test]
    fn a_process_started_to_outlive_its_terminal_is_told_by_its_status() {
        assert!(ignores_hang_up("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hang_up("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hang_up("SigBlk:\t0000000000000001\n"));
    }
}
