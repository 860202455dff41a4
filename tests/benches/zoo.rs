//! Real daemons of Debian, each at an address of its own, named by `pentora scan` and by `nmap -sV` in one run.
//!
//! What is installed of `zoo.toml` takes part; what is missing is listed with the command that installs it. Several of the packages
//! exclude each other, so not all of them can be there at once. Right is what the package's own version says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::command_line::pentora;
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde::Deserialize;
use serde_json::Value;

use crate::figures::{head, row};

const TABLE: &str = include_str!("zoo.toml");
/// How long the slowest daemons (those in Java) may take to begin.
const START_MAX: Duration = Duration::from_secs(120);
/// The goal: our wall against nmap's.
const WALL_GOAL: f64 = 0.2;

#[derive(Debug, Deserialize)]
struct Table {
    daemon: Vec<Daemon>,
}

#[derive(Debug, Deserialize)]
struct Daemon {
    package: String,
    port: u16,
    #[serde(default)]
    udp: bool,
    service: String,
    product: String,
    #[serde(default = "yes")]
    told: bool,
    run: String,
}

fn yes() -> bool {
    true
}

/// A daemon that runs.
struct Running {
    daemon: Daemon,
    address: Ipv4Addr,
    version: String,
    _process: Process,
}

pub(crate) fn measure() -> anyhow::Result<()> {
    let lab = crate::lab(2)?;
    let folder = tempfile::tempdir()?;
    let table: Table = toml::from_str(TABLE).context("zoo.toml")?;
    let (mut running, mut missing) = (Vec::new(), Vec::new());
    make_certificate(folder.path())?;
    for daemon in table.daemon {
        match upstream_version(&daemon.package)? {
            Some(version) => running.push(start(&lab, folder.path(), running.len(), daemon, version)?),
            None => missing.push(daemon.package),
        }
    }
    if !missing.is_empty() {
        println!("Not installed: `apt-get install --no-install-recommends {}`.\n", missing.join(" "));
    }
    running.retain(|one| {
        let answers = one.daemon.udp || is_listening(lab.host(1), SocketAddr::from((one.address, one.daemon.port)));
        if !answers {
            println!("{} did not begin.\n", one.daemon.package);
        }
        answers
    });
    ensure!(!running.is_empty(), "no daemon of zoo.toml is installed");
    report(&lab, folder.path(), &running)
}

fn report(lab: &Lab, folder: &Path, running: &[Running]) -> anyhow::Result<()> {
    let (udp, tcp): (Vec<&Running>, Vec<&Running>) = running.iter().partition(|one| one.daemon.udp);
    let theirs = nmap(lab.host(1), &tcp)?;
    let began = Instant::now();
    let mut found = scan(lab.host(1), folder, &tcp, "")?;
    let ours = began.elapsed();
    found.extend(scan(lab.host(1), folder, &udp, "U:")?);
    head(&["package", "port", "named", "version", "of it"]);
    let (mut named, mut told, mut versioned) = (0, 0, 0);
    for one in running {
        let service = found.get(&(one.address, one.daemon.port)).cloned().unwrap_or_default();
        let text = |name: &str| service.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (product, version) = (text("product"), text("version"));
        let is_named = match one.daemon.product.as_str() {
            "" => text("name") == one.daemon.service,
            wanted => product.to_lowercase().starts_with(&wanted.to_lowercase()),
        };
        let is_versioned = version.starts_with(&one.version);
        named += usize::from(is_named);
        told += usize::from(one.daemon.told);
        versioned += usize::from(one.daemon.told && is_versioned);
        if !is_named || one.daemon.told != is_versioned {
            let name = format!("{} {product}", text("name"));
            row(&[one.daemon.package.clone(), one.daemon.port.to_string(), name, version, one.version.clone()]);
        }
    }
    println!("\n{named} of {} named, version {versioned} of the {told} that tell it.", running.len());
    match theirs {
        Some(theirs) => println!(
            "{} over TCP: {:.1} s, nmap -sV {:.1} s, {:.2} of it (goal {WALL_GOAL}).",
            tcp.len(),
            ours.as_secs_f64(),
            theirs.as_secs_f64(),
            ours.as_secs_f64() / theirs.as_secs_f64(),
        ),
        None => println!("{} over TCP: {:.1} s; nmap is not installed.", tcp.len(), ours.as_secs_f64()),
    }
    Ok(())
}

/// The version of a package's program, without what the distribution adds; `None` where it is not installed.
fn upstream_version(package: &str) -> anyhow::Result<Option<String>> {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status} ${Version}", package]).output();
    let output = String::from_utf8(output.context("dpkg-query: the zoo is of Debian's packages")?.stdout)?;
    let Some(version) = output.strip_prefix("installed ") else { return Ok(None) };
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    Ok(Some(version.split(['-', '+', '~']).next().unwrap_or(version).to_owned()))
}

fn make_certificate(folder: &Path) -> anyhow::Result<()> {
    let (key, certificate) = (folder.join("c.key"), folder.join("c.crt"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=zoo.example"]);
    let output = command.arg("-keyout").arg(key).arg("-out").arg(certificate).output().context("openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn start(lab: &Lab, folder: &Path, number: usize, daemon: Daemon, version: String) -> anyhow::Result<Running> {
    let last = u8::try_from(number + 1).context("more daemons than addresses")?;
    let address = Ipv4Addr::new(10, 88, 3, last);
    let zoo = lab.host(2);
    zoo.namespace().ip(&format!("addr add {address}/16 dev eth0"))?;
    let own = folder.join(format!("{last}-{}", daemon.package));
    std::fs::create_dir(&own)?;
    // They run as users of their own, and look into their folders.
    for path in [folder, &own] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode)?;
    }
    let mut command = zoo.command(Path::new("unshare"));
    command.args(["--mount", "sh", "-c", &daemon.run]);
    command.env("A", address.to_string()).env("D", &own).env("C", folder.join("c")).current_dir(&own);
    let process = Process::start(&mut command, &own.join("out"))?;
    Ok(Running { daemon, address, version, _process: process })
}

fn is_listening(scanner: &Host, server: SocketAddr) -> bool {
    wait::until("a daemon", START_MAX, || Ok(scanner.connect(server).ok())).is_ok()
}

fn words(daemons: &[&Running]) -> (Vec<String>, String) {
    let mut ports: Vec<u16> = daemons.iter().map(|one| one.daemon.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    (daemons.iter().map(|one| one.address.to_string()).collect(), ports.join(","))
}

/// How long `nmap -sV` takes over the same ports of the same addresses; `None` where it is not installed.
fn nmap(scanner: &Host, daemons: &[&Running]) -> anyhow::Result<Option<Duration>> {
    let (addresses, ports) = words(daemons);
    let mut command = scanner.command(Path::new("nmap"));
    command.args(["-n", "-Pn", "-sV", "--open", "-p", &ports]).args(addresses);
    let began = Instant::now();
    let output = command.output().context("nmap")?;
    Ok(output.status.success().then(|| began.elapsed()))
}

/// What `pentora scan` finds, by address and port.
fn scan(
    scanner: &Host,
    home: &Path,
    daemons: &[&Running],
    protocol: &str,
) -> anyhow::Result<BTreeMap<(Ipv4Addr, u16), Value>> {
    let (addresses, ports) = words(daemons);
    let ports = format!("{protocol}{ports}");
    let mut words = vec!["scan", "--ports", &ports, "-o", "jsonl"];
    words.extend(addresses.iter().map(String::as_str));
    let mut found = BTreeMap::new();
    if daemons.is_empty() {
        return Ok(found);
    }
    for line in pentora(scanner, home, &[], &words)?.ok()?.lines() {
        let host: Value = serde_json::from_str(line).context("a line of a report")?;
        let Some(address) = host.get("address").and_then(Value::as_str).and_then(|text| text.parse().ok()) else {
            continue;
        };
        for port in host.get("ports").and_then(Value::as_array).into_iter().flatten() {
            let number = port.get("port").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
            if let (Some(number), Some(service)) = (number, port.get("service")) {
                found.insert((address, number), service.clone());
            }
        }
    }
    Ok(found)
}
