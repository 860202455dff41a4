//! The original description's first two scenarios as it writes them: its files to the letter, a coordinator, and workers that
//! only reach out, each of which scans what only it reaches.

#![expect(clippy::indexing_slicing, reason = "a document that lacks a field has null there")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::command_line::{Ran, pentora};
use pentora_tests::lab::Lab;
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The coordinator's host, and the workers'.
const COORDINATOR: usize = 1;

/// The original's file of that name.
const COORDINATOR_CONFIG: &str = "\
# coordinator-config.yaml
server:
  mode: coordinator
  api:
    listen: 0.0.0.0:8080
    auth: jwt

workers:
  auto_register: true
  heartbeat_interval: 30s

queue:
  backend: redis
  url: redis://redis-cluster:6379
";

/// The original's file of that name.
const WORKER_US_EAST_1: &str = "\
# worker-us-east-1.yaml
worker:
  name: aws-us-east-1
  coordinator: https://pentora-coordinator.example.com
  token: ${WORKER_TOKEN}

  region: us-east-1
  tags:
    - aws
    - production
    - us-east-1

  capacity:
    max_concurrent_scans: 10
    max_targets_per_scan: 1000
";

/// A mesh on the hosts of a lab: a coordinator, two workers, and behind each a network that only it has a way to.
struct Scenario {
    lab: Lab,
    folder: tempfile::TempDir,
    nodes: Vec<Process>,
    // They answer for as long as they are there.
    _listeners: Vec<TcpListener>,
}

/// A network and the host that answers for all of it.
struct Network {
    addresses: &'static str,
    at: usize,
    /// The host that has a way there.
    from: usize,
}

impl Scenario {
    fn start(networks: &[Network]) -> anyhow::Result<Option<Self>> {
        let Some(lab) = Lab::start(5)? else { return Ok(None) };
        let mut listeners = Vec::new();
        for network in networks {
            let (there, far) = (lab.host(network.at), lab.host(network.from));
            there.namespace().ip(&format!("route add local {} dev lo", network.addresses))?;
            far.namespace().ip(&format!("route add {} via {}", network.addresses, there.address()))?;
            listeners.push(there.within(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 443))?))?);
            // Nothing inbound, as behind a firewall that only lets out.
            lab.outbound_only(network.from)?;
        }
        let folder = tempfile::tempdir()?;
        let address = lab.host(COORDINATOR).address();
        let names = "pentora-coordinator.example.com pentora-server.example.com";
        std::fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost\n{address} {names}\n"))?;
        let mut scenario = Self { lab, folder, nodes: Vec::new(), _listeners: listeners };
        let words = ["server", "start", "--mode", "coordinator", "--config", "coordinator-config.yaml"];
        scenario.begin(COORDINATOR, COORDINATOR_CONFIG, "coordinator-config.yaml", &[], &words)?;
        wait::until("the coordinator", LIMIT, || Ok((scenario.ask(&["health", "--ready"])?.code == 0).then_some(())))
            .with_context(|| scenario.log(COORDINATOR))?;
        Ok(Some(scenario))
    }

    fn data(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("data{host}"))
    }

    fn log(&self, host: usize) -> String {
        std::fs::read_to_string(self.data(host).with_extension("log")).unwrap_or_default()
    }

    /// Starts a node in a folder that has its file, as the original's commands name it.
    fn begin(
        &mut self,
        host: usize,
        text: &str,
        file: &str,
        settings: &[(&str, &str)],
        words: &[&str],
    ) -> anyhow::Result<()> {
        std::fs::write(self.folder.path().join(file), text)?;
        let names = self.folder.path().join("hosts");
        let mut command = self.lab.host(host).command_with_names(&names, &binary("pentora")?);
        command.args(words);
        command.env_clear().env("HOME", self.folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.folder.path()).env("PENTORA_DATA_DIR", self.data(host)).envs(settings.iter().copied());
        self.nodes.push(Process::start(&mut command, &self.data(host).with_extension("log"))?);
        Ok(())
    }

    /// A command on the coordinator's host.
    fn ask(&self, words: &[&str]) -> anyhow::Result<Ran> {
        let data = self.data(COORDINATOR).display().to_string();
        pentora(self.lab.host(COORDINATOR), self.folder.path(), &[("PENTORA_DATA_DIR", &data)], words)
    }

    /// Starts a worker by its file and a token of its own.
    fn worker(&mut self, host: usize, text: &str, file: &str) -> anyhow::Result<()> {
        let token =
            self.ask(&["coordinator", "worker-token", "create", "--name", &format!("token-of-{host}")])?.ok()?;
        let words = ["worker", "start", "--config", file];
        self.begin(host, text, file, &[("WORKER_TOKEN", token.trim())], &words)
    }

    fn wait_for_worker(&self, host: usize, name: &str) -> anyhow::Result<Value> {
        wait::until(&format!("{name} at work"), LIMIT, || {
            let list = self.ask(&["nodes", "list", "--json"])?.json()?;
            let workers = list.as_array().cloned().unwrap_or_default();
            Ok(workers.into_iter().find(|worker| worker["name"] == name && worker["status"] == "Idle"))
        })
        .with_context(|| self.log(host))
    }

    /// Scans both networks as one job, and returns how many targets each worker has.
    fn scan(&self, networks: &[Network]) -> anyhow::Result<BTreeMap<String, u64>> {
        let arrivals = networks.iter().map(|network| self.lab.arrivals(network.at, network.addresses));
        let arrivals = arrivals.collect::<anyhow::Result<Vec<_>>>()?;
        let targets = networks.iter().map(|network| network.addresses);
        let words = targets.chain(["--ports", "443,9443", "--no-services", "--detach", "--json"]);
        let scan: Vec<&str> = ["scan"].into_iter().chain(words).collect();
        let accepted = self.ask(&scan)?.json()?;
        let job = accepted["job_id"].as_str().context("a job's id")?;
        let document = wait::until("the job's end", LIMIT, || {
            let document = self.ask(&["job", "status", job, "--json"])?.json()?;
            Ok((!matches!(document["status"].as_str(), Some("queued" | "running"))).then_some(document))
        })?;
        ensure!(document["status"] == "completed" && document["targets_scanned"] == 32, "{document}");
        let list = self.ask(&["job", "results", job, "-o", "list"])?.ok()?;
        let lines = |port: u16| list.lines().filter(|line| line.contains(&format!(" {port} "))).count();
        ensure!(list.lines().count() == 32 && lines(443) == 32, "every address has 443 open, and nothing else: {list}");
        for (network, arrivals) in networks.iter().zip(&arrivals) {
            let from: Vec<usize> = arrivals.packets()?.into_keys().collect();
            ensure!(from == [network.from], "{}: packets from {from:?}", network.addresses);
        }
        let stats = document["worker_stats"].as_array().cloned().unwrap_or_default();
        let of = |stat: &Value| Some((stat["worker_id"].as_str()?.to_owned(), stat["targets"].as_u64()?));
        Ok(stats.iter().filter_map(of).collect())
    }
}

#[test]
fn workers_in_two_regions_scan_what_only_they_reach_by_the_originals_files() -> anyhow::Result<()> {
    let networks = [
        Network { addresses: "172.16.1.0/28", at: 4, from: 2 },
        Network { addresses: "192.168.7.0/28", at: 5, from: 3 },
    ];
    let Some(mut scenario) = Scenario::start(&networks)? else { return Ok(()) };
    let log = scenario.log(COORDINATOR);
    ensure!(log.matches("no broker is used").count() == 1, "one warning that the broker is not used: {log}");
    let eu_west_1 = WORKER_US_EAST_1.replace("us-east-1", "eu-west-1");
    scenario.worker(2, WORKER_US_EAST_1, "worker-us-east-1.yaml")?;
    scenario.worker(3, &eu_west_1, "worker-eu-west-1.yaml")?;
    for (host, region) in [(2, "us-east-1"), (3, "eu-west-1")] {
        let worker = scenario.wait_for_worker(host, &format!("aws-{region}"))?;
        ensure!(worker["region"] == region && worker["load"]["capacity"] == 10, "{worker}");
        ensure!(worker["tags"] == serde_json::json!(["aws", "production", region]), "{worker}");
    }
    let done = scenario.scan(&networks)?;
    ensure!(done == BTreeMap::from([("wrk_aws_eu_west_1".into(), 16), ("wrk_aws_us_east_1".into(), 16)]), "{done:?}");

    // What nobody reaches is not promised to anybody.
    let refused = scenario.ask(&["scan", "172.20.0.0/28", "--ports", "443", "--detach"])?.refused(4)?;
    ensure!(refused.contains("aws-us-east-1") && refused.contains("aws-eu-west-1"), "a reason for each: {refused}");
    Ok(())
}

#[test]
fn a_data_centre_and_a_cloud_are_scanned_by_workers_that_dial_out_by_the_originals_networks() -> anyhow::Result<()> {
    let networks =
        [Network { addresses: "10.20.0.0/28", at: 4, from: 2 }, Network { addresses: "172.31.5.0/28", at: 5, from: 3 }];
    let Some(mut scenario) = Scenario::start(&networks)? else { return Ok(()) };
    let file = |name: &str, network: &str| {
        format!(
            "worker:\n  name: {name}\n  coordinator: https://pentora-server.example.com\n  token: ${{WORKER_TOKEN}}\n  \
             network_access:\n    - {network}\n"
        )
    };
    scenario.worker(2, &file("onprem-dc1", "10.0.0.0/8"), "worker-onprem.yaml")?;
    scenario.worker(3, &file("aws-vpc", "172.31.0.0/16"), "worker-aws.yaml")?;
    for (host, name, network) in [(2, "onprem-dc1", "10.0.0.0/8"), (3, "aws-vpc", "172.31.0.0/16")] {
        let worker = scenario.wait_for_worker(host, name)?;
        ensure!(worker["network_access"] == serde_json::json!([network]), "{worker}");
    }
    let done = scenario.scan(&networks)?;
    ensure!(done == BTreeMap::from([("wrk_aws_vpc".into(), 16), ("wrk_onprem_dc1".into(), 16)]), "{done:?}");
    Ok(())
}
