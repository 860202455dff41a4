//! One node of a cluster under test: its process, through its starts, ends and pauses.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::binaries::binary;
use crate::command_line::clean_command;
use crate::lab::Host;
use crate::process::{Process, Usage};

/// A node's process and its host.
#[derive(Debug)]
pub struct Node {
    number: usize,
    namespace: String,
    folder: PathBuf,
    program: &'static str,
    dies_at: Option<String>,
    // Behind a lock so that looking whether it runs needs no exclusive access to the cluster.
    process: Mutex<Option<Process>>,
}

impl Node {
    pub(super) fn new(number: usize, host: &Host, folder: &Path) -> Self {
        let namespace = host.namespace().name().to_owned();
        let (folder, process) = (folder.to_path_buf(), Mutex::new(None));
        Self { number, namespace, folder, program: "pentora-node", dies_at: None, process }
    }

    /// The program of its next starts: `pentora-node`, or one of another release.
    pub fn set_program(&mut self, program: &'static str) {
        self.program = program;
    }

    /// The named point at which its next process dies, for that process alone.
    pub fn dies_at(&mut self, point: &str) {
        self.dies_at = Some(point.to_owned());
    }

    /// Waits until the process has died at its point.
    ///
    /// # Errors
    /// Where it does not within `limit`, or ends otherwise.
    pub fn has_died(&mut self, limit: Duration) -> anyhow::Result<()> {
        let mut slot = self.slot()?;
        let process = slot.as_mut().context("a process")?;
        let status = process.ended(limit)?;
        let died = status.signal() == Some(Signal::SIGABRT as i32);
        anyhow::ensure!(died, "it ended by {status}: {}", process.log_tail(10));
        Ok(())
    }

    /// Starts the node's process: `pentora-node VERB OPTIONS...`. One that runs is killed first.
    pub(super) fn run(&mut self, verb: &str, options: &[&str]) -> anyhow::Result<()> {
        let mut command = clean_command(&self.namespace, &self.folder);
        command.arg(binary(self.program)?).arg(verb).args(options);
        if let Some(point) = self.dies_at.take() {
            command.env("PENTORA_KILL_AT", point);
        }
        self.kill()?;
        let log = self.folder.join(format!("n{}.log", self.number));
        *self.slot()? = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Ends the process at once, as a power cut does.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match self.slot()?.as_mut() {
            Some(process) => process.kill().map(drop).context("killing the node"),
            None => Ok(()),
        }
    }

    /// Asks the process to end, and gives how long that took.
    ///
    /// # Errors
    /// Where it is still there after `limit`, or fails.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let number = self.number;
        let (status, took) =
            self.slot()?.as_mut().with_context(|| format!("node {number} was never started"))?.stop(limit)?;
        if !status.success() {
            bail!("node {number} ends by {status}; its log ends:\n{}", self.log_tail(20));
        }
        Ok(took)
    }

    /// Stops the process in time (`SIGSTOP`) or lets it go on (`SIGCONT`).
    ///
    /// # Errors
    /// Where it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.slot()?.as_ref().with_context(|| format!("node {} was never started", self.number))?.signal(signal)
    }

    /// Waits for the process to end by itself and gives its exit code (-1 for a signal).
    ///
    /// # Errors
    /// Where it is still there after `limit`.
    pub fn exit_code(&mut self, limit: Duration) -> anyhow::Result<i32> {
        let number = self.number;
        let status = self.slot()?.as_mut().with_context(|| format!("node {number} was never started"))?.ended(limit)?;
        Ok(status.code().unwrap_or(-1))
    }

    /// Its process id.
    ///
    /// # Errors
    /// Where it was never started.
    pub fn id(&self) -> anyhow::Result<u32> {
        Ok(self.slot()?.as_ref().with_context(|| format!("node {} was never started", self.number))?.id())
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.slot().is_ok_and(|mut slot| slot.as_mut().is_some_and(|process| process.is_running().unwrap_or(false)))
    }

    /// Whether a process was ever started, running or not.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.slot().is_ok_and(|slot| slot.is_some())
    }

    /// What its process has used.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        self.slot()?.as_ref().with_context(|| format!("node {} was never started", self.number))?.usage()
    }

    /// Everything it has logged, over all its processes.
    #[must_use]
    pub fn log(&self) -> String {
        self.slot().ok().and_then(|slot| slot.as_ref().map(Process::log)).unwrap_or_default()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.slot().ok().and_then(|slot| slot.as_ref().map(|process| process.log_tail(lines))).unwrap_or_default()
    }

    fn slot(&self) -> anyhow::Result<std::sync::MutexGuard<'_, Option<Process>>> {
        self.process.lock().ok().context("another thread panicked with the process in its hands")
    }
}
