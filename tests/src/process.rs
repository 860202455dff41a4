//! A child process that a test owns: started with its output in a file, signalled by its id, gone with its owner.
//!
//! The child also dies with the thread that started it (`setpriv --pdeathsig`), so a test that is killed leaves no
//! daemon behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait;

/// A running (or ended) child process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// The words to put before a command so that it dies with the thread that starts it. It keeps its process id.
pub(crate) const DIES_WITH_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time of all its threads since its start.
    pub processor_seconds: f64,
    /// Memory that is in use now, in millions of bytes.
    pub resident_mb: f64,
    /// What of it is its own: the rest is the program's file, which the system shares and may drop.
    pub own_mb: f64,
}

/// Kernel ticks per second in `/proc/PID/stat`: 100 on every Linux that user space sees (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// Starts `command`, appending what it prints (both streams) to the file `log`.
    ///
    /// # Errors
    /// Where the file cannot be opened or the program does not start.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let output = open().with_context(|| format!("the log {}", log.display()))?;
        let errors = output.try_clone().context("the log's second handle")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// The process id, which is also the program's own: nothing stands between.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `SIGSTOP` and `SIGCONT` for a pause, `SIGTERM` for an orderly end.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id")?;
        signal::kill(Pid::from_raw(id), signal).with_context(|| format!("{signal} to process {id}"))
    }

    /// Ends the process at once (`SIGKILL`) and waits until it is gone. One that has ended is left alone.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
        }
        self.child.wait()
    }

    /// Asks the process to end (`SIGTERM`) and gives how it ended and how long that took.
    ///
    /// # Errors
    /// Where it is still there after `limit`.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::SIGTERM)?;
        let status = self.ended(limit)?;
        Ok((status, began.elapsed()))
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// Where it is still there after `limit`.
    pub fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let child = &mut self.child;
        wait::until("the end of the process", limit, || Ok(child.try_wait()?))
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// Where the system refuses to say.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What the process has used so far.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.id())).context("a running process");
        let stat = read("stat")?;
        // The name, in brackets, may hold anything; user and system time are the 12th and 13th field after it (proc(5)).
        let fields = stat.rsplit_once(") ").context("the name's bracket")?.1.split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<u32>).sum::<Result<u32, _>>().context("processor time")?;
        let status = read("status")?;
        let size_mb = |name: &str| {
            let size = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            let kibibytes = size.with_context(|| format!("no {name}"))?.parse::<u32>().context("a size")?;
            anyhow::Ok(f64::from(kibibytes) * 1024.0 / 1e6)
        };
        Ok(Usage {
            processor_seconds: f64::from(ticks) / TICKS_PER_SECOND,
            resident_mb: size_mb("VmRSS:")?,
            own_mb: size_mb("RssAnon:")?,
        })
    }

    /// What the process has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` lines of what it has printed, for a failed test's output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let Ok(file) = File::open(&self.log) else { return String::new() };
        let all: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended, or never to be: either way nothing is left to do about it here.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Process {
        Process::start(Command::new("sh").args(["-c", script]), log).unwrap()
    }

    #[test]
    fn output_of_both_streams_is_kept_and_its_tail_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo one; echo two >&2; echo three", &folder.path().join("log"));
        assert!(process.ended(Duration::from_secs(10)).unwrap().success());
        assert_eq!(process.log(), "one\ntwo\nthree\n");
        assert_eq!(process.log_tail(2), "two\nthree");
    }

    #[test]
    fn what_a_process_uses_is_read_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("while :; do :; done", &folder.path().join("log"));
        let busy = wait::until("processor time", Duration::from_secs(10), || {
            Ok(Some(process.usage()?).filter(|usage| usage.processor_seconds > 0.05))
        });
        assert!(busy.unwrap().resident_mb > 0.1);
        process.kill().unwrap();
        process.usage().unwrap_err();
    }

    #[test]
    fn a_process_that_ignores_the_request_to_stop_is_reported_and_killed_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", &log);
        wait::until("the trap", Duration::from_secs(10), || Ok(process.log().contains("ready").then_some(()))).unwrap();
        process.stop(Duration::from_millis(200)).unwrap_err();
        assert!(process.is_running().unwrap());
        let id = i32::try_from(process.id()).unwrap();
        drop(process);
        assert!(signal::kill(Pid::from_raw(id), None).is_err(), "process {id} is still there");
    }
}
