//! The `pentora` command line, run on a lab host as a user would, in an environment that holds nothing of the tester's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::binaries::binary;
use crate::lab::Host;
use crate::process::DIES_WITH_PARENT;

/// No command line may take longer than this many seconds: one that hangs is killed, and has failed.
const COMMAND_MAX_SECONDS: &str = "120";

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

/// Runs `pentora WORDS...` on a host, with `home` as the home folder and nothing in the environment but `settings`.
///
/// # Errors
/// Where it does not start. That it fails is in the result.
pub fn pentora(host: &Host, home: &Path, settings: &[(&str, &str)], words: &[&str]) -> anyhow::Result<Ran> {
    run(host, "pentora", home, settings, words)
}

/// As [`pentora`], for another program of the workspace.
///
/// # Errors
/// Where it does not start.
pub fn run(host: &Host, program: &str, home: &Path, settings: &[(&str, &str)], words: &[&str]) -> anyhow::Result<Ran> {
    let mut command = clean_command(host.namespace().name(), home);
    command.args(["timeout", "-k", "1", COMMAND_MAX_SECONDS]).arg(binary(program)?).args(words);
    let output = command.envs(settings.iter().copied()).output().with_context(|| format!("starting {command:?}"))?;
    Ok(Ran::of(program, words, &output))
}

/// As [`pentora`] with `home` as the present folder too, and Ctrl-C after so many seconds.
///
/// # Errors
/// Where it does not start.
pub fn interrupted(host: &Host, home: &Path, seconds: u32, words: &[&str]) -> anyhow::Result<Ran> {
    signalled(host, home, "INT", seconds, words)
}

/// As [`interrupted`], by another signal. It comes twice within microseconds, once for the process and once for its group.
///
/// # Errors
/// Where it does not start.
pub fn signalled(host: &Host, home: &Path, signal: &str, seconds: u32, words: &[&str]) -> anyhow::Result<Ran> {
    let mut command = clean_command(host.namespace().name(), home);
    command.current_dir(home);
    command.args(["timeout", "--preserve-status", "-s", signal, "-k", "20", &seconds.to_string()]);
    let output =
        command.arg(binary("pentora")?).args(words).output().with_context(|| format!("starting {command:?}"))?;
    Ok(Ran::of("pentora", words, &output))
}

/// As [`pentora`], by a process that may not send raw packets.
///
/// # Errors
/// Where it does not start.
pub fn without_raw_packets(host: &Host, home: &Path, words: &[&str]) -> anyhow::Result<Ran> {
    let mut command = clean_command(host.namespace().name(), home);
    command.args(NO_RAW_PACKETS).args(["timeout", "-k", "1", COMMAND_MAX_SECONDS]).arg(binary("pentora")?).args(words);
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    Ok(Ran::of("pentora", words, &output))
}

/// Takes the right to raw packets from what follows.
const NO_RAW_PACKETS: [&str; 3] = ["setpriv", "--bounding-set", "-net_raw"];

/// The start of a command in `namespace`, with nothing of the tester's environment but the path, so that no
/// configuration of theirs is found. It dies with the thread that starts it.
pub(crate) fn clean_command(namespace: &str, home: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(DIES_WITH_PARENT);
    // The whole suite once more on the other engine: the programs scan with connections where they may not else.
    if std::env::var("PENTORA_TEST_ENGINE").is_ok_and(|engine| engine == "connect") {
        command.args(NO_RAW_PACKETS);
    }
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Ran {
    fn of(program: &str, words: &[&str], output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command: format!("{program} {}", words.join(" ")),
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// What it printed as data, of a command that succeeded.
    ///
    /// # Errors
    /// Where it failed, with everything it said.
    pub fn ok(self) -> anyhow::Result<String> {
        let Self { command, code, stdout, stderr } = self;
        if code != 0 {
            bail!("`{command}` exits {code}\nstdout: {stdout}\nstderr: {stderr}");
        }
        Ok(stdout)
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

    /// What it said to people, of a command that failed by this exit code and printed no data.
    ///
    /// # Errors
    /// Where it did anything else.
    pub fn refused(self, expected: i32) -> anyhow::Result<String> {
        let Self { command, code, stdout, stderr } = self;
        if code != expected || !stdout.is_empty() {
            bail!("`{command}` exits {code} instead of {expected}\nstdout: {stdout}\nstderr: {stderr}");
        }
        Ok(stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: i32, stdout: &str) -> Ran {
        Ran { command: "pentora x".into(), code, stdout: stdout.into(), stderr: "because".into() }
    }

    #[test]
    fn a_failed_command_is_an_error_with_everything_it_said() {
        let error = ran(4, "half").ok().unwrap_err().to_string();
        assert!(["pentora x", "exits 4", "half", "because"].iter().all(|part| error.contains(part)), "{error}");
        ran(0, "not json").json().unwrap_err();
        assert_eq!(ran(0, "{\"a\":1}").json().unwrap()["a"], 1);
    }

    #[test]
    fn a_refusal_has_its_code_and_no_data() {
        assert_eq!(ran(2, "").refused(2).unwrap(), "because");
        ran(1, "").refused(2).unwrap_err();
        ran(2, "data").refused(2).unwrap_err();
    }
}
