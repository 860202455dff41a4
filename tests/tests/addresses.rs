//! Nodes that are known by names whose addresses change, as pods of a StatefulSet are, and hosts with more than one interface.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use pentora_tests::binaries::binary;
use pentora_tests::command_line::pentora;
use pentora_tests::lab::Lab;
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// What is to be seen of a change within seconds.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);
const NODES: usize = 3;
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 18_080);

/// Three hosts whose names are in one file that all of them read, as name servers are read by pods.
struct Named {
    lab: Lab,
    folder: tempfile::TempDir,
    nodes: Vec<Option<Process>>,
}

impl Named {
    fn start() -> anyhow::Result<Option<Self>> {
        let Some(lab) = Lab::start(u8::try_from(NODES)?)? else { return Ok(None) };
        let named = Self { lab, folder: tempfile::tempdir()?, nodes: (0..NODES).map(|_| None).collect() };
        named.tell((1..=NODES).map(|number| named.lab.host(number).address()))?;
        Ok(Some(named))
    }

    fn hosts(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    /// Names the nodes anew, in the same file: who runs sees it at the next look-up.
    fn tell(&self, addresses: impl Iterator<Item = Ipv4Addr>) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(self.hosts())?;
        let mut text = "127.0.0.1 localhost\n".to_owned();
        (1..).zip(addresses).for_each(|(number, address)| text.push_str(&format!("{address} n{number}\n")));
        Ok(file.write_all(text.as_bytes())?)
    }

    fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("n{number}"))
    }

    fn begin(&mut self, number: usize, words: &[&str]) -> anyhow::Result<()> {
        let mut command = self.lab.host(number).command_with_names(&self.hosts(), &binary("pentora-node")?);
        command.env_clear().env("HOME", self.folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("PENTORA_DATA_DIR", self.data(number)).args(words).args(["--api-listen", &API.to_string()]);
        let log = self.data(number).with_extension("log");
        let process = Process::start(&mut command, &log)?;
        self.node(number)?.replace(process);
        Ok(())
    }

    fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(mut node) = self.node(number)?.take() {
            node.kill()?;
        }
        Ok(())
    }

    /// The process of the node `number`, if it runs.
    fn node(&mut self, number: usize) -> anyhow::Result<&mut Option<Process>> {
        self.nodes.get_mut(number.wrapping_sub(1)).context("a node of this test")
    }

    fn pentora(&self, number: usize, words: &[&str]) -> anyhow::Result<pentora_tests::command_line::Ran> {
        let (api, token) = (format!("http://{API}"), self.data(1).join("admin.token").display().to_string());
        let settings = [("PENTORA_API", api.as_str()), ("PENTORA_TOKEN_FILE", token.as_str())];
        pentora(self.lab.host(number), self.folder.path(), &settings, words)
    }

    fn form(&mut self, first: &[&str], others: impl Fn(usize) -> Vec<String>) -> anyhow::Result<()> {
        self.begin(1, &[&["start", "--init", "--name", "n1"], first].concat())?;
        wait::until(
            "the first node",
            LIMIT,
            || Ok((self.pentora(1, &["health", "--ready"])?.code == 0).then_some(())),
        )?;
        for number in 2..=NODES {
            let name = format!("n{number}");
            let token = self.pentora(1, &["coordinator", "worker-token", "create", "--name", &name])?.ok()?;
            let file = self.data(number).with_extension("token");
            fs::write(&file, token)?;
            let (file, more) = (file.display().to_string(), others(number));
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            self.begin(number, &[&["join", "--name", &name, "--token-file", &file], &more[..]].concat())?;
        }
        self.until_whole(1)
    }

    /// Three voters, all of them active, as the node `number` has it.
    fn until_whole(&self, number: usize) -> anyhow::Result<()> {
        let whole = || {
            let status = self.pentora(number, &["cluster", "status", "--json"])?;
            let document: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
            let nodes = document.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
            let there = nodes.iter().filter(|node| node["role"] == "voter" && node["status"] == "Active").count();
            let has_leader = document.get("leader").is_some_and(Value::is_string);
            Ok((there == NODES && has_leader).then_some(()))
        };
        let logs = || self.nodes.iter().flatten().map(|node| node.log_tail(8)).collect::<Vec<_>>().join("\n--\n");
        wait::until("three voters that are there", LIMIT, whole).map_err(|error| error.context(logs()))
    }

    /// A write commits through the node `number`.
    fn writes(&self, number: usize) -> anyhow::Result<()> {
        let words = ["coordinator", "worker-token", "create", "--name", "any", "--ttl", "1m"];
        self.pentora(number, &words)?.ok().map(drop)
    }

    /// Gives a host another address.
    fn renumber(&self, number: usize, address: Ipv4Addr) -> anyhow::Result<()> {
        let namespace = self.lab.host(number).namespace();
        namespace.ip("addr flush dev eth0")?;
        namespace.ip(&format!("addr add {address}/16 dev eth0"))
    }
}

fn by_name(number: usize) -> Vec<String> {
    let peers = (1..=NODES).flat_map(|peer| ["--peer".to_owned(), format!("n{peer}:7400")]);
    ["--mesh-advertise".to_owned(), format!("n{number}:7400")].into_iter().chain(peers).collect()
}

#[test]
fn members_that_are_known_by_name_find_each_other_when_all_were_renumbered_at_once() -> anyhow::Result<()> {
    let Some(mut named) = Named::start()? else { return Ok(()) };
    named.form(&["--mesh-advertise", "n1:7400"], by_name)?;
    for number in 1..=NODES {
        named.kill(number)?;
    }
    let moved = |number: usize| Ipv4Addr::new(10, 88, 7, u8::try_from(number).unwrap_or(0));
    for number in 1..=NODES {
        named.renumber(number, moved(number))?;
    }
    named.tell((1..=NODES).map(moved))?;
    for number in 1..=NODES {
        named.begin(number, &["start"])?;
    }
    named.until_whole(2)?;
    named.writes(3)
}

#[test]
fn members_that_are_restarted_one_by_one_with_other_addresses_are_found_by_those_that_run() -> anyhow::Result<()> {
    let Some(mut named) = Named::start()? else { return Ok(()) };
    named.form(&["--mesh-advertise", "n1:7400"], by_name)?;
    let mut addresses: Vec<Ipv4Addr> = (1..=NODES).map(|number| named.lab.host(number).address()).collect();
    // The leader last, as Kubernetes does where it is the first pod.
    for number in (1..=NODES).rev() {
        named.kill(number)?;
        addresses[number - 1] = Ipv4Addr::new(10, 88, 8, u8::try_from(number)?);
        named.renumber(number, addresses[number - 1])?;
        named.tell(addresses.iter().copied())?;
        named.begin(number, &["start"])?;
        named.until_whole(if number == 1 { 2 } else { 1 })?;
    }
    named.writes(1)
}

#[test]
fn a_bridge_that_every_host_has_under_one_address_leads_nobody_astray() -> anyhow::Result<()> {
    let Some(mut named) = Named::start()? else { return Ok(()) };
    for number in 1..=NODES {
        let namespace = named.lab.host(number).namespace();
        namespace.ip("link add docker0 type bridge")?;
        namespace.ip("addr add 172.17.0.1/16 dev docker0")?;
        namespace.ip("link set docker0 up")?;
        // A second network, which nobody else is on.
        namespace.ip("link add eth1 type bridge")?;
        namespace.ip(&format!("addr add 192.0.2.{number}/24 dev eth1"))?;
        namespace.ip("link set eth1 up")?;
    }
    // Nothing is advertised by hand.
    let peer = format!("{}:7400", named.lab.host(1).address());
    named.form(&[], |_number| vec!["--peer".to_owned(), peer.clone()])?;
    // Whoever is gone and comes back is found again, the first node included, which was not told which way the others look.
    for number in 1..=NODES {
        named.kill(number)?;
        named.begin(number, &["start"])?;
        named.until_whole(if number == 2 { 1 } else { 2 })?;
    }
    for number in 1..=NODES {
        named.kill(number)?;
    }
    for number in 1..=NODES {
        named.begin(number, &["start"])?;
    }
    named.until_whole(1)?;
    named.writes(2)
}

/// The status of a cluster as the node `number` has it, with the address that it shows of another.
fn shown(named: &Named, number: usize, of: usize) -> anyhow::Result<Option<String>> {
    let status = named.pentora(number, &["cluster", "status", "--json"])?;
    let document: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    let nodes = document.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    let node = nodes.iter().find(|node| node["name"] == format!("n{of}"));
    Ok(node.and_then(|node| node["address"].as_str().map(str::to_owned)))
}

/// What nobody was told of until the node started again.
#[test]
fn members_whose_addresses_change_while_they_run_are_shown_and_reached_at_the_new_ones_within_seconds()
-> anyhow::Result<()> {
    let Some(mut named) = Named::start()? else { return Ok(()) };
    let peer = format!("{}:7400", named.lab.host(1).address());
    named.form(&[], |_number| vec!["--peer".to_owned(), peer.clone()])?;
    // The last one is the node that the others joined through, and leads more often than not.
    for number in (1..=NODES).rev() {
        let moved = Ipv4Addr::new(10, 88, 9, u8::try_from(number)?);
        let expected = format!("{moved}:7400");
        named.renumber(number, moved)?;
        let began = Instant::now();
        let others = (1..=NODES).filter(|other| *other != number);
        for other in others {
            wait::until(&format!("n{number} as n{other} shows it"), SHOWN_WITHIN, || {
                Ok(shown(&named, other, number)?.filter(|address| *address == expected).map(drop))
            })?;
        }
        println!("n{number} was shown at {moved} after {:.1} s", began.elapsed().as_secs_f64());
        named.until_whole(if number == 1 { 2 } else { 1 })?;
        named.writes(number)?;
    }
    // Whoever starts again finds them where they are now.
    named.kill(2)?;
    named.begin(2, &["start"])?;
    named.until_whole(2)
}

#[test]
fn an_address_that_a_file_advertises_takes_effect_when_the_file_is_read_again() -> anyhow::Result<()> {
    let Some(mut named) = Named::start()? else { return Ok(()) };
    let file = named.data(1).with_extension("yaml");
    fs::write(&file, "mesh: {advertise: ['n1:7400']}\n")?;
    let text = file.display().to_string();
    named.form(&["--config", &text], by_name)?;
    assert_eq!(shown(&named, 2, 1)?.as_deref(), Some("n1:7400"));
    fs::write(&file, "mesh: {advertise: ['10.88.0.99:7400', 'n1:7400']}\n")?;
    named.node(1)?.as_ref().context("it runs")?.signal(Signal::SIGHUP)?;
    wait::until("the new address", SHOWN_WITHIN, || {
        Ok(shown(&named, 2, 1)?.filter(|address| address == "10.88.0.99:7400").map(drop))
    })
}
