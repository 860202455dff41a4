//! The scanners that are held against each other: how each is told the same task, and what it found.
//!
//! Each gets the flags that its users give it for speed. Ours comes as two programs: the one that ships, and the
//! scanner's example, which shows what the node around the engine costs.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::lab::{Course, Host};
use serde::Deserialize;

/// A scanner, with the way in which it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanner {
    /// `pentora scan` with raw packets, ports alone, as the others.
    Raw,
    /// The same with a rate given, which it begins with: what the send loop can do, whatever is heard.
    RawAt(u32),
    /// `pentora scan` as it comes: discovery first, banners read.
    RawDefault,
    /// `pentora scan` over ordinary connections, ports alone.
    Connect,
    /// The scanner crate's example: the engine without a node.
    Example,
    Masscan,
    /// One port alone: the versions in distributions know no more at a time.
    Zmap,
    RustScan,
    /// `nmap -sS`, with its timing.
    NmapSyn(&'static str),
    /// `nmap -sT`, with its timing.
    NmapConnect(&'static str),
}

/// What is scanned.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) targets: String,
    pub(crate) ports: Vec<u16>,
    /// Packets per second that scanners without a way to find it by themselves are told.
    pub(crate) fixed_rate: u32,
}

/// What a scanner said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    /// `ADDRESS PORT`, a line for each open port.
    pub(crate) open: String,
    /// How sure it is, where it says so: the share of the open ports that it believes to have found.
    pub(crate) recall_estimate: Option<f64>,
}

impl Scanner {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Raw => "pentora --engine raw".to_owned(),
            Self::RawAt(rate) => format!("pentora --engine raw --rate {rate}"),
            Self::RawDefault => "pentora, defaults".to_owned(),
            Self::Connect => "pentora --engine connect".to_owned(),
            Self::Example => "pentora's engine alone".to_owned(),
            Self::Masscan => "masscan".to_owned(),
            Self::Zmap => "zmap, one port".to_owned(),
            Self::RustScan => "rustscan".to_owned(),
            Self::NmapSyn(timing) => format!("nmap -sS {timing}"),
            Self::NmapConnect(timing) => format!("nmap -sT {timing}"),
        }
    }

    /// The program, as the path to it or a name on the path; nothing where it is not there.
    fn program(self) -> Option<String> {
        let built = |name: &str| binary(name).ok().and_then(|path| Some(path.to_str()?.to_owned()));
        let installed = |name: &str| {
            let there = Command::new(name).arg("--version").output();
            there.is_ok_and(|output| output.status.code().is_some()).then(|| name.to_owned())
        };
        match self {
            Self::Raw | Self::RawAt(_) | Self::RawDefault | Self::Connect => built("pentora"),
            Self::Example => built("examples/scan"),
            Self::Masscan => installed("masscan"),
            Self::Zmap => installed("zmap"),
            Self::RustScan => installed("rustscan"),
            Self::NmapSyn(_) | Self::NmapConnect(_) => installed("nmap"),
        }
    }

    /// The ports that it asks: all, but for zmap.
    pub(crate) fn ports(self, task: &Task) -> Vec<u16> {
        let one = |ports: &[u16]| ports.iter().find(|port| **port == 80).or(ports.first()).copied();
        if self == Self::Zmap { one(&task.ports).into_iter().collect() } else { task.ports.clone() }
    }

    /// The command that does a task on a course; nothing where the program is not there.
    pub(crate) fn command(self, course: &Course, task: &Task, folder: &Path) -> anyhow::Result<Option<Command>> {
        let Some(program) = self.program() else { return Ok(None) };
        let targets = task.targets.as_str();
        let ports = port_list(&self.ports(task));
        let file = folder.join("found");
        let file = file.to_str().context("a folder with a name in letters")?;
        let rate = task.fixed_rate.to_string();
        let gateway = gateway(course.far())?;
        let from = Course::SCANNER.to_string();
        let none = folder.join("none");
        fs::write(&none, "").context("an empty list of exclusions")?;
        let none = none.to_str().context("a folder with a name in letters")?;
        let plain = ["--no-discovery", "--no-banners"];
        let ours = ["scan", targets, "--ports", &ports, "-o", "json", "--local"];
        let mut command = course.scanner().command(Path::new(&program));
        command.env_clear().env("HOME", folder).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match self {
            Self::Raw => command.args(ours).args(plain).args(["--engine", "raw"]),
            Self::RawAt(rate) => command.args(ours).args(plain).args(["--engine", "raw", "--rate", &rate.to_string()]),
            Self::Connect => command.args(ours).args(plain).args(["--engine", "connect"]),
            Self::RawDefault => command.args(ours),
            Self::Example => command.args([targets, &ports, "list"]),
            // It waits ten seconds for late answers unless told; two are enough here, and its time is to be its best.
            Self::Masscan => command.args([targets, "-p", &ports, "--rate", &rate, "-oL", file, "--wait", "2"]).args([
                "--adapter",
                "eth0",
                "--adapter-ip",
                &from,
                "--router-mac",
                &gateway,
            ]),
            Self::Zmap => command
                .args(["-p", &ports, "-r", &rate, "-i", "eth0", "-S", &from, "-G", &gateway])
                .args(["-q", "-b", none, "-o", file, targets]),
            Self::RustScan => command.args(rustscan_ports(&task.ports)).args([
                "-a",
                targets,
                "-g",
                "--no-config",
                "--ulimit",
                "65000",
            ]),
            Self::NmapSyn(timing) => command.arg("-sS").args(timing.split(' ')).args(nmap(targets, &ports, file)),
            Self::NmapConnect(timing) => command.arg("-sT").args(timing.split(' ')).args(nmap(targets, &ports, file)),
        };
        Ok(Some(command))
    }

    /// What it found, of a run that ended well.
    pub(crate) fn said(self, task: &Task, stdout: &Path, folder: &Path) -> anyhow::Result<Said> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        let file = folder.join("found");
        let open = match self {
            Self::Raw | Self::RawAt(_) | Self::RawDefault | Self::Connect => return document(&read(stdout)?),
            Self::Example => read(stdout)?,
            Self::Masscan => masscan(&read(&file)?),
            Self::Zmap => {
                let port = port_list(&self.ports(task));
                read(&file)?
                    .lines()
                    .filter(|line| line.parse::<Ipv4Addr>().is_ok())
                    .fold(String::new(), |all, line| all + line + " " + &port + "\n")
            }
            Self::RustScan => rustscan(&read(stdout)?),
            Self::NmapSyn(_) | Self::NmapConnect(_) => greppable(&read(&file)?),
        };
        Ok(Said { open, recall_estimate: None })
    }
}

fn nmap<'a>(targets: &'a str, ports: &'a str, file: &'a str) -> [&'a str; 7] {
    // Neither discovery nor names, as for the others.
    ["-n", "-Pn", "-p", ports, "-oG", file, targets]
}

/// One range, or a list that holds none: it knows no more.
fn rustscan_ports(ports: &[u16]) -> [String; 2] {
    match port_list(ports) {
        range if range.contains('-') && !range.contains(',') => ["-r".to_owned(), range],
        _ => ["-p".to_owned(), ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")],
    }
}

/// `1-3,80`.
fn port_list(ports: &[u16]) -> String {
    let mut text = String::new();
    for run in ports.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        let separator = if text.is_empty() { "" } else { "," };
        let (first, last) = (run.first().copied().unwrap_or_default(), run.last().copied().unwrap_or_default());
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        write!(text, "{separator}{range}").expect("a string takes any text");
    }
    text
}

/// The hardware address of a host's `eth0`.
pub(crate) fn gateway(host: &Host) -> anyhow::Result<String> {
    let output = host.command(Path::new("ip")).args(["-o", "link", "show", "dev", "eth0"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).map(str::to_owned).with_context(|| format!("no hardware address in {text:?}"))
}

/// Our document, as far as it is held against a truth.
#[derive(Deserialize)]
struct Document {
    hosts: Vec<HostEntry>,
    summary: SummaryEntry,
}

#[derive(Deserialize)]
struct HostEntry {
    address: IpAddr,
    ports: Vec<PortEntry>,
}

#[derive(Deserialize)]
struct PortEntry {
    port: u16,
    state: String,
}

#[derive(Deserialize)]
struct SummaryEntry {
    recall_estimate: Option<f64>,
}

fn document(json: &str) -> anyhow::Result<Said> {
    let document: Document = serde_json::from_str(json).context("the result document")?;
    let mut open = String::new();
    for host in &document.hosts {
        for port in host.ports.iter().filter(|port| port.state == "open") {
            writeln!(open, "{} {}", host.address, port.port)?;
        }
    }
    Ok(Said { open, recall_estimate: document.summary.recall_estimate })
}

/// `open tcp 80 10.77.0.1 1700000000`. It reports what it hears twice twice; its users sort that out, and so is done here.
fn masscan(list: &str) -> String {
    let fields = list.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let lines = fields.filter_map(|fields| match fields.as_slice() {
        ["open", "tcp", port, address, ..] => Some(format!("{address} {port}\n")),
        _ => None,
    });
    lines.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// `10.77.0.1 -> [22,80]`.
fn rustscan(text: &str) -> String {
    let mut open = String::new();
    for (address, ports) in text.lines().filter_map(|line| line.split_once(" -> [")) {
        for port in ports.trim_end_matches(']').split(',').map(str::trim).filter(|port| !port.is_empty()) {
            open = open + address + " " + port + "\n";
        }
    }
    open
}

/// `Host: 10.77.0.1 ()`, a tab, `Ports: 22/open/tcp//ssh///, 80/closed/tcp//http///`.
fn greppable(text: &str) -> String {
    let mut open = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("Host: ")) {
        let Some((address, ports)) = line.split_once(' ').zip(line.split_once("Ports: ")).map(|(a, p)| (a.0, p.1))
        else {
            continue;
        };
        for port in ports.split(", ").filter_map(|entry| entry.split_once("/open/tcp")) {
            open = open + address + " " + port.0.trim() + "\n";
        }
    }
    open
}

/// Holds what ended against what should have ended well.
pub(crate) fn check(name: &str, ran: &crate::bounded::Ran) -> anyhow::Result<()> {
    if ran.code.is_none() {
        bail!("{name} was ended by a signal: {}", ran.stderr);
    }
    ensure!(ran.code == Some(0), "{}", ran.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("no word"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_become_ranges() {
        assert_eq!(port_list(&[22, 80, 81, 82, 443]), "22,80-82,443");
        assert_eq!(port_list(&(1..=u16::MAX).collect::<Vec<_>>()), "1-65535");
        assert_eq!(rustscan_ports(&[21, 22, 80]), ["-p", "21,22,80"]);
        assert_eq!(rustscan_ports(&[21, 22, 23]), ["-r", "21-23"]);
    }

    #[test]
    fn every_scanners_words_are_read() {
        let found = "10.77.0.1 22\n10.77.0.1 80\n";
        assert_eq!(
            masscan("#masscan\nopen tcp 22 10.77.0.1 17\nopen tcp 80 10.77.0.1 17\nopen tcp 22 10.77.0.1 18\n# end\n"),
            found
        );
        assert_eq!(rustscan("10.77.0.1 -> [22,80]\n10.77.0.2 -> []\n"), found);
        let line = "Host: 10.77.0.1 ()\tPorts: 22/open/tcp//ssh///, 25/closed/tcp//smtp///, 80/open/tcp//http///\tIgnored State: filtered (17)\n";
        assert_eq!(greppable(&format!("# Nmap\nHost: 10.77.0.1 ()\tStatus: Up\n{line}")), found);
        let json = r#"{"hosts":[{"address":"10.77.0.1","ports":[{"port":22,"state":"open"},{"port":25,"state":"closed"},
            {"port":80,"state":"open"}]}],"summary":{"recall_estimate":0.99}}"#;
        assert_eq!(document(json).unwrap(), Said { open: found.to_owned(), recall_estimate: Some(0.99) });
    }
}
