//! A program run to its end or to a limit, with what it needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::pause;

/// Between two looks at a running program: small against any scan, and a look costs a few microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    /// From its start to its end, or to the limit.
    pub(crate) wall: Duration,
    /// Its exit code; nothing where a signal or the limit ended it.
    pub(crate) code: Option<i32>,
    /// Whether it was stopped because it reached the limit.
    pub(crate) is_stopped: bool,
    /// The most memory it had resident at once, in millions of bytes.
    pub(crate) peak_mb: f64,
    /// The file with what it printed as data.
    pub(crate) stdout: PathBuf,
    /// What it printed for people, the end of it.
    pub(crate) stderr: String,
}

/// Runs a command, its output into files of `folder`, for at most `limit`.
pub(crate) fn run(command: &mut Command, folder: &Path, limit: Duration) -> anyhow::Result<Ran> {
    let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
    let create = |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
    command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_mb: f64 = 0.0;
    let (ended, is_stopped) = loop {
        if let Some(ended) = child.try_wait().context("waiting for a program")? {
            break (ended, false);
        }
        if began.elapsed() >= limit {
            child.kill().context("stopping a program")?;
            break (child.wait().context("waiting for a stopped program")?, true);
        }
        // What a program had at most before its end is known up to the last look.
        peak_mb = peak_mb.max(fs::read_to_string(&status).ok().and_then(|text| peak_of(&text)).unwrap_or_default());
        pause(LOOK_EVERY);
    };
    let said = fs::read(&stderr).with_context(|| format!("reading {}", stderr.display()))?;
    let tail = said.get(said.len().saturating_sub(2000)..).unwrap_or_default();
    Ok(Ran {
        wall: began.elapsed(),
        code: ended.code(),
        is_stopped,
        peak_mb,
        stdout,
        stderr: String::from_utf8_lossy(tail).into_owned(),
    })
}

/// The high-water mark in `/proc/PID/status`.
fn peak_of(status: &str) -> Option<f64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    Some(f64::from(kibibytes.parse::<u32>().ok()?) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), folder.path(), limit).unwrap()
    }

    #[test]
    fn a_program_that_takes_too_long_is_stopped_and_one_that_ends_is_not() {
        let long = shell("while :; do :; done", Duration::from_millis(200));
        assert!(long.is_stopped && long.code.is_none() && long.wall >= Duration::from_millis(200));
        let short = shell("echo why >&2; exit 3", Duration::from_secs(20));
        assert_eq!((short.is_stopped, short.code, short.stderr.trim()), (false, Some(3), "why"));
    }

    #[test]
    fn the_most_memory_is_read_while_a_program_runs() {
        assert!(shell("sleep 0.1", Duration::from_secs(20)).peak_mb > 0.1);
        assert_eq!(peak_of("VmPeak: 9 kB\nVmHWM:\t    2000 kB\n"), Some(2.048));
    }
}
