//! One node of a cluster under test: its process, and commands given on its host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::binaries::binary;
use crate::lab::Lab;
use crate::process::{DIES_WITH_PARENT, Process};

/// No command line may take longer than this, whatever it waits for: a hanging one is killed and has failed.
const COMMAND_MAX: &str = "120";

/// A node's process and its host.
#[derive(Debug)]
pub struct Node {
    number: usize,
    namespace: String,
    folder: PathBuf,
    // Behind a lock so that looking whether it runs needs no exclusive access to the cluster.
    process: Mutex<Option<Process>>,
}

/// What a command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The words after the program's name, for messages.
    pub command: String,
    /// The exit code; 124 where it took too long, -1 where a signal ended it.
    pub code: i32,
    /// What it printed as data.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

impl Ran {
    /// Runs a prepared command to its end.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn of(command: &mut Command, words: &[&str]) -> anyhow::Result<Self> {
        let output = command.args(words).output().with_context(|| format!("starting {command:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self {
            command: words.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// What it printed as data, of a command that succeeded.
    ///
    /// # Errors
    /// Where it failed, with everything it said.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.code != 0 {
            let Self { command, code, stdout, stderr } = &self;
            bail!("`{command}` exits {code}\nstdout: {stdout}\nstderr: {stderr}");
        }
        Ok(self.stdout)
    }

    /// What it printed as data, read as one JSON document.
    ///
    /// # Errors
    /// Where it failed or printed something else.
    pub fn json(self) -> anyhow::Result<Value> {
        let command = self.command.clone();
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("`{command}` printed no JSON document: {text:?}"))
    }
}

/// A command that runs `program` in `namespace` with nothing of the tester's environment but the path, so that no
/// configuration of theirs is found, and no longer than [`COMMAND_MAX`] seconds.
pub(crate) fn clean_command(namespace: &str, program: &Path, home: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(DIES_WITH_PARENT).args(["timeout", "-k", "1", COMMAND_MAX]);
    command.arg(program).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Node {
    pub(super) fn new(number: usize, lab: &Lab, folder: &Path) -> anyhow::Result<Self> {
        let namespace = lab.host(number).namespace().name().to_owned();
        Ok(Self { number, namespace, folder: folder.to_path_buf(), process: Mutex::new(None) })
    }

    /// Starts the node's process: `pentora-node VERB OPTIONS...`. One that runs is killed first.
    pub(super) fn run(&mut self, verb: &str, options: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).args(DIES_WITH_PARENT);
        command.arg(binary("pentora-node")?).arg(verb).args(options);
        command.env_clear().env("HOME", &self.folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        self.kill()?;
        let log = self.folder.join(format!("n{}.log", self.number));
        *self.slot()? = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Runs `pentora` with `words` on the node's host, with the admin's token.
    pub(super) fn pentora(&self, token_file: &Path, words: &[&str]) -> anyhow::Result<Ran> {
        let mut command = clean_command(&self.namespace, &binary("pentora")?, &self.folder);
        command.env("PENTORA_API", format!("http://{}", super::API)).env("PENTORA_TOKEN_FILE", token_file);
        Ran::of(&mut command, words)
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

    /// The id of its process.
    ///
    /// # Errors
    /// Where there is none.
    pub fn id(&self) -> anyhow::Result<u32> {
        Ok(self.slot()?.as_ref().with_context(|| format!("node {} was never started", self.number))?.id())
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
