//! One network namespace: made, configured through `ip` and `nft`, and removed.
//!
//! Interfaces and rules go through the two commands instead of netlink: a failed step can be repeated by hand from its
//! message.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, anyhow, bail};
use nix::sched::{CloneFlags, setns};

/// A named network namespace, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `name` with its loopback up.
    ///
    /// # Errors
    /// Where it exists or cannot be made.
    pub fn add(name: &str) -> anyhow::Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]), "")?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with `words` in the namespace.
    ///
    /// # Errors
    /// Where `ip` fails, with what it said.
    pub fn ip(&self, words: &str) -> anyhow::Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split(' ')), "").map(drop)
    }

    /// Loads a set of nftables rules in the namespace.
    ///
    /// # Errors
    /// Where `nft` fails, with what it said.
    pub fn nft(&self, rules: &str) -> anyhow::Result<()> {
        run(self.command(Path::new("nft")).args(["-f", "-"]), rules).map(drop)
    }

    /// Runs `nft` with `words` in the namespace and answers what it says.
    ///
    /// # Errors
    /// Where `nft` fails, with what it said.
    pub fn nft_says(&self, words: &[&str]) -> anyhow::Result<String> {
        let ran = run(self.command(Path::new("nft")).args(words), "")?;
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    /// Calls `work` from within the namespace: sockets it opens are in it. Files and processes are this machine's, as
    /// everywhere.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, `work` fails, or it panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.way_in()?.within(work)
    }

    /// A way into it that needs no lab, for threads that live beside whoever has that in hand.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn way_in(&self) -> anyhow::Result<WayIn> {
        let path = Path::new("/run/netns").join(&self.name);
        File::open(&path).map(WayIn).with_context(|| format!("opening {}", path.display()))
    }

    /// Sets a kernel parameter of the namespace: its path below `/proc/sys/net`, and its value.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn set(&self, parameter: &str, value: u32) -> anyhow::Result<()> {
        self.set_text(parameter, &value.to_string())
    }

    /// As [`Namespace::set`], for a parameter that is no single number.
    ///
    /// # Errors
    /// Where it is refused.
    pub fn set_text(&self, parameter: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys/net").join(parameter);
        // Which namespace's parameter a path below it means depends on the thread that opens it.
        self.within(|| fs::write(&path, value).with_context(|| format!("setting {}", path.display())))
    }

    /// A command that runs `program` in the namespace.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        super::command_in(&self.name, program)
    }
}

/// A way into a namespace, which lasts as long as this.
#[derive(Debug)]
pub struct WayIn(File);

impl WayIn {
    /// As [`Namespace::within`].
    ///
    /// # Errors
    /// As there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        // A thread of its own: the network is a thread's property, and this one ends with the call.
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(anyhow!("the work in a namespace panicked")))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A namespace that does not go away is removed by the next lab; a drop has nobody to tell.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]), "");
    }
}

/// Removes the namespaces of labs whose process is gone: it was killed before it could.
pub(super) fn remove_those_of_ended_processes() -> anyhow::Result<()> {
    let listed = run(Command::new("ip").args(["netns", "list"]), "")?;
    for name in stale(&String::from_utf8_lossy(&listed.stdout), |id| Path::new("/proc").join(id).exists()) {
        // Another test may be removing the same one at this moment.
        let _ = run(Command::new("ip").args(["netns", "del", name]), "");
    }
    Ok(())
}

/// The names in `ip netns list` that are a lab's (`pt<process id>x...`) whose process does not run.
fn stale(list: &str, runs: impl Fn(&str) -> bool) -> Vec<&str> {
    let names = list.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| {
            let owner = name.strip_prefix("pt").and_then(|rest| rest.split_once('x')).map(|(id, _)| id);
            owner.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && !runs(id))
        })
        .collect()
}

/// Runs a command with `input` on its stdin to its end.
fn run(command: &mut Command, input: &str) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let mut stdin = child.stdin.take().context("the pipe that was asked for")?;
    // A command that ends early closes the pipe; what it said then tells more than the broken pipe does.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("waiting for {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_namespaces_of_labs_whose_process_ended_are_stale() {
        let list = "pt12x0-br (id: 3)\npt13x0-1\npt12x1-world\nptolemy\npt\nptx1\nmine-1\npt13xprobe\n";
        assert_eq!(stale(list, |id| id == "13"), ["pt12x0-br", "pt12x1-world"]);
    }

    #[test]
    fn a_failed_command_is_an_error_with_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "cat; echo broken >&2; exit 3"]), "").unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }
}
