//! A mesh whose APIs others reach: inside TLS by itself, known by its authority's fingerprint, from a second machine and by a
//! worker that has nothing but its token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::command_line::{Ran, pentora};
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A node on a lab's host, its API on the host's own address.
struct Node<'a> {
    host: &'a Host,
    process: Process,
    folder: PathBuf,
}

fn api(host: &Host) -> String {
    format!("https://{}:8080", host.address())
}

fn start<'a>(
    host: &'a Host,
    folder: &Path,
    name: &str,
    settings: &[(&str, &str)],
    words: &[&str],
) -> anyhow::Result<Node<'a>> {
    let folder = folder.join(name);
    let mut command = host.command(&binary("pentora-node")?);
    command.env_clear().env("HOME", &folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("PENTORA_DATA_DIR", &folder).envs(settings.iter().copied()).args(words);
    let (api, mesh) = (format!("{}:8080", host.address()), format!("{}:7400", host.address()));
    command.args(["--name", name, "--api-listen", &api, "--mesh-listen", &mesh]);
    let log = folder.with_extension("log");
    Ok(Node { host, process: Process::start(&mut command, &log)?, folder })
}

impl Node<'_> {
    /// The command line beside the node, told nothing but its data directory.
    fn beside(&self, words: &[&str]) -> anyhow::Result<Ran> {
        let data = self.folder.display().to_string();
        pentora(self.host, &self.folder, &[("PENTORA_DATA_DIR", &data)], words)
    }

    fn until_ready(&self) -> anyhow::Result<()> {
        wait::until("the node", LIMIT, || Ok((self.beside(&["health", "--ready"])?.code == 0).then_some(())))
            .with_context(|| std::fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default())
    }

    fn status(&self) -> anyhow::Result<Value> {
        self.beside(&["cluster", "status", "--json"])?.json()
    }
}

#[test]
fn a_mesh_is_inside_tls_by_itself_and_known_by_its_authority_from_a_second_machine() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let top = tempfile::tempdir()?;
    let mut first = start(lab.host(1), top.path(), "n1", &[], &["start", "--init"])?;
    first.until_ready()?;
    let status = first.status()?;
    let authority = status["authority"].as_str().context("the authority's fingerprint")?.to_owned();
    ensure!(authority.starts_with("sha256:"), "{authority}");

    // A worker that is told an API and its token: the token says whom to believe there.
    let token = first.beside(&["coordinator", "worker-token", "create", "--name", "w1", "--role", "scanner"])?.ok()?;
    let settings = [("COORDINATOR_URL", api(lab.host(1))), ("WORKER_TOKEN", token.trim().to_owned())];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let worker = start(lab.host(2), top.path(), "w1", &settings, &["worker", "start"])?;
    wait::until("the worker", LIMIT, || {
        let status = first.status()?;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        Ok(nodes.iter().any(|node| node["name"] == "w1" && node["status"] == "Active").then_some(()))
    })?;
    let log = std::fs::read_to_string(worker.folder.with_extension("log"))?;
    ensure!(log.contains("registered"), "it asked over https: {log}");

    // A person on the second machine, with a token and the fingerprint.
    let home = top.path().join("home");
    std::fs::create_dir(&home)?;
    let admin = first.folder.join("admin.token").display().to_string();
    let url = api(lab.host(1));
    let from_second = |words: &[&str]| pentora(lab.host(2), &home, &[], words);
    let login = ["login", "prod", "--api", &url, "--token-file", &admin];
    let contexts = home.join(".config/pentora/contexts.json");
    let wrong = format!("sha256:{}", "ab".repeat(32));
    for more in [&["--ca-fingerprint", wrong.as_str()][..], &["--ca-file", "/dev/null"], &[]] {
        let ran = from_second(&[&login[..], more].concat())?;
        ensure!(ran.code != 0 && !contexts.exists(), "{more:?}: {ran:?}");
        let is_told = ran.stderr.contains(&authority)
            || ran.stderr.contains("cannot be read")
            || ran.stderr.contains("trusts no");
        ensure!(is_told, "whom it saw, or that it knows nobody: {ran:?}");
    }
    from_second(&[&login[..], &["--ca-fingerprint", &authority]].concat())?.ok()?;
    from_second(&["job", "list"])?.ok()?;
    let plain = from_second(&["cluster", "status", "--api", &url.replace("https", "http"), "--token-file", &admin])?;
    ensure!(plain.code != 0 && plain.stderr.contains("this port speaks TLS"), "{plain:?}");

    // The scanner's own API has a certificate that its gateway signed; it is nobody's but at its address.
    let scanners = api(lab.host(2));
    wait::until("the scanner's certificate", LIMIT, || {
        let ran = from_second(&["health", "--api", &scanners, "--ca-fingerprint", &authority])?;
        Ok((ran.code == 0).then_some(()))
    })?;

    // Started again, it is of the same authority, and the second machine goes on.
    first.process.kill()?;
    let again = start(lab.host(1), top.path(), "n1", &[], &["start"])?;
    again.until_ready()?;
    ensure!(again.status()?["authority"] == authority.as_str());
    from_second(&["job", "list"])?.ok()?;
    Ok(())
}
