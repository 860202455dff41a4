//! Containers of the image that `make image` builds, run by podman in the namespaces of a lab.
//!
//! Images and containers are in a folder of their own, so that nobody's are seen or touched. No image is pulled.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::binaries::{built, repository};
use crate::lab::Host;

/// The image's name under which the original description starts containers.
pub const IMAGE: &str = "pentora/pentora-enterprise:latest";

/// No call of podman takes longer than this many seconds; one that hangs is killed, and has failed.
const CALL_MAX_SECONDS: &str = "150";

/// The programs that running a container here takes.
const PROGRAMS: [&str; 4] = ["podman", "buildah", "runc", "catatonit"];

/// A place for images and containers, which is gone with everything in it when this is dropped.
#[derive(Debug)]
pub struct Podman {
    folder: tempfile::TempDir,
}

/// What a call printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Its standard output, where it ended well.
    ///
    /// # Errors
    /// Where it did not, with all that it said.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(self.code == 0, "exit {}: {}{}", self.code, self.stderr, self.stdout);
        Ok(self.stdout)
    }

    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Podman {
    /// Builds the image of the program under test, as `make image` does. Nothing where podman or what it needs is not
    /// installed; that is said.
    ///
    /// # Errors
    /// Where the tools are there and do not build it.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !is_installed(program)).collect();
        if !missing.is_empty() || !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: containers are not run here: not installed: {missing:?} (they run as root)");
            return Ok(None);
        }
        let podman = Self { folder: tempfile::tempdir()? };
        let dist = podman.folder.path().join("dist");
        let stripping =
            Command::new(repository().join("deploy/strip.sh")).arg(built("pentora-node")?).arg(&dist).output();
        Said::of(&stripping.context("deploy/strip.sh")?).ok()?;
        podman.build(&dist, "localhost/pentora", IMAGE)?;
        // It is in the image now.
        fs::remove_dir_all(&dist)?;
        Ok(Some(podman))
    }

    /// Builds an image of the program in the folder `dist`, under a name and another one with its tag.
    ///
    /// # Errors
    /// Where that fails.
    pub fn build(&self, dist: &Path, name: &str, also: &str) -> anyhow::Result<()> {
        let mut building = Command::new(repository().join("deploy/image/build.sh"));
        building.env("DIST", dist).env("IMAGE", name).env("ALSO", also);
        building.env("BUILDER", "buildah").env("STORAGE", self.storage().join(" "));
        let built = Said::of(&self.settle(&mut building).output().context("deploy/image/build.sh")?);
        built.ok().context("the image is not built").map(drop)
    }

    fn storage(&self) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec!["--storage-driver".into(), "vfs".into(), "--root".into(), path("store"), "--runroot".into(), path("run")]
    }

    fn settle<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("CONTAINERS_CONF", repository().join("tests/deploy/containers.conf"));
        // Where podman keeps locks and networks that belong to no storage.
        command.env("TMPDIR", self.folder.path()).env_remove("XDG_RUNTIME_DIR")
    }

    /// Calls podman.
    ///
    /// # Errors
    /// Where it does not start. That it fails is in the result.
    pub fn call<W: AsRef<OsStr>>(&self, words: &[W]) -> anyhow::Result<Said> {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", CALL_MAX_SECONDS, "podman"]).args(self.storage()).args(words);
        Ok(Said::of(&self.settle(&mut command).output().context("podman")?))
    }

    /// Starts a container of the image on a lab's host: `docker run -d --name NAME OPTIONS... IMAGE WORDS...`.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn run(&self, host: &Host, name: &str, options: &[&str], words: &[&str]) -> anyhow::Result<()> {
        let network = network(host);
        let call = [&["run", "--detach", "--name", name, "--network", &network], options, &[IMAGE], words].concat();
        self.call(&call)?.ok().with_context(|| format!("container {name}")).map(drop)
    }

    /// Runs `pentora WORDS...` in a container, as `docker exec` does.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn pentora(&self, name: &str, words: &[&str]) -> anyhow::Result<Said> {
        self.call(&[&["exec", name, "pentora"], words].concat())
    }

    /// What a container has printed so far, for people.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn log(&self, name: &str) -> anyhow::Result<String> {
        let said = self.call(&["logs", name])?;
        Ok(said.stdout + &said.stderr)
    }

    /// A field of what podman knows of a container or an image, by a template of Go.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn inspect(&self, name: &str, template: &str) -> anyhow::Result<String> {
        Ok(self.call(&["inspect", "--format", template, name])?.ok()?.trim().to_owned())
    }

    /// Asks a container to end within `limit` and gives its exit code; 137 where it had to be killed.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn stop(&self, name: &str, limit: Duration) -> anyhow::Result<i32> {
        self.call(&["stop", "--time", &limit.as_secs().to_string(), name])?.ok()?;
        self.inspect(name, "{{.State.ExitCode}}")?.parse().context("an exit code")
    }

    /// Where files may be put that belong to this.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What cannot be removed is told by the folder that stays.
        let _ = self.call(&["rm", "--all", "--force", "--time", "0", "--volumes"]);
        let _ = self.call(&["rmi", "--all", "--force"]);
    }
}

/// The host's network, as an option of podman.
#[must_use]
pub fn network(host: &Host) -> String {
    format!("ns:/run/netns/{}", host.namespace().name())
}

fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    folders.iter().any(|folder| folder.join(program).is_file())
}
