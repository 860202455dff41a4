//! What a node's owner writes into its own file holds against the cluster, takes effect while the node runs, and is seen at the
//! target.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions, probes_during, probes_within};
use pentora_tests::wait;

const SOON: Duration = Duration::from_secs(40);
const SCAN_MAX: Duration = Duration::from_secs(120);

/// Two nodes, of which the second has a file of its own and the tag `own`.
fn cluster(file: &Path, rules: &str) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(2)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    write(file, rules)?;
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &[])?;
    cluster.join_with(2, &token, &["--config", &file.display().to_string()])?;
    wait::until("the second worker", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let second = list.as_array().and_then(|all| all.iter().find(|node| node["name"] == "n2"));
        Ok(second.filter(|node| node["status"] == "Idle").map(drop))
    })?;
    Ok(Some(cluster))
}

fn write(file: &Path, rules: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(file, format!("worker:\n  tags: [own]\n{rules}"))?)
}

/// Has the second node read its file again, and waits for its word about it.
fn read_again(cluster: &Cluster, said: &str) -> anyhow::Result<()> {
    let before = cluster.node(2)?.log().len();
    cluster.node(2)?.signal(Signal::SIGHUP)?;
    wait::until("the file to be read again", SOON, || {
        Ok(cluster.node(2)?.log().get(before..).is_some_and(|log| log.contains(said)).then_some(()))
    })
}

fn submit(cluster: &Cluster, targets: &str, more: &[&str]) -> anyhow::Result<Job> {
    let words = [targets, "--ports", "80,81", "--no-discovery", "--no-services", "--require-worker-tag", "own"];
    Job::submit(cluster, 1, &[&words[..], more].concat())
}

#[test]
fn what_a_nodes_own_file_excludes_gets_nothing_from_it_and_is_not_counted_as_scanned() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("n2.yaml");
    let Some(cluster) = cluster(&file, "  exclude: [10.77.0.9, 10.77.0.16/29]\n")? else { return Ok(()) };
    let job = submit(&cluster, "10.77.0.0/26", &[])?;
    let (document, probes) = probes_during(cluster.lab().world_host(), || job.wait(&cluster, 1, SCAN_MAX))?;
    let spared = |to: Ipv4Addr| {
        to == Ipv4Addr::new(10, 77, 0, 9) || (Ipv4Addr::new(10, 77, 0, 16)..=Ipv4Addr::new(10, 77, 0, 23)).contains(&to)
    };
    ensure!(!probes.is_empty() && !probes.iter().any(|(_, to)| spared(*to)), "{probes:?}");
    ensure!(document["not_probed"]["out-of-scope"] == 9, "{document}");

    // A wider file does not widen: the cluster's own exclusion holds beside it.
    cluster.pentora(1, &["exclude", "add", "10.77.0.40", "--reason", "plc"])?.ok()?;
    write(&file, "  exclude: [10.77.0.41]\n  scope: [10.77.0.0/16, 203.0.113.0/24]\n")?;
    read_again(&cluster, "worker.exclude")?;
    let job = submit(&cluster, "10.77.0.32/28", &[])?;
    let (document, probes) = probes_during(cluster.lab().world_host(), || job.wait(&cluster, 1, SCAN_MAX))?;
    let spared = [Ipv4Addr::new(10, 77, 0, 40), Ipv4Addr::new(10, 77, 0, 41)];
    ensure!(!probes.is_empty() && !probes.iter().any(|(_, to)| spared.contains(to)), "{probes:?}");
    ensure!(document["not_probed"]["out-of-scope"] == 1 && document["targets_total"] == 15, "{document}");
    let said = cluster.pentora(1, &["scan", "203.0.113.9", "--detach"])?.refused(4)?;
    ensure!(said.contains("203.0.113.9 is outside"), "{said}");
    Ok(())
}

#[test]
fn a_blackout_of_a_nodes_own_stops_its_sending_at_once_and_the_job_goes_on_when_it_is_gone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("n2.yaml");
    let Some(cluster) = cluster(&file, "")? else { return Ok(()) };
    let world = cluster.lab().world_host();
    let job = submit(&cluster, "10.77.0.0/24", &["--rate", "60"])?;
    cluster.lab().wait_for_probes(2, 20)?;
    // A slip changes nothing, and is told with its place.
    write(&file, "  blackout: ['00:00-24:00 UTC']\n")?;
    read_again(&cluster, "nothing of it is taken")?;
    ensure!(!probes_within(world, Duration::from_secs(1))?.is_empty(), "it goes on");

    write(&file, "  region: eu\n  blackouts: ['10.77.0.0/16 2020-01-01T00:00:00Z 2099-01-01T00:00:00Z']\n")?;
    read_again(&cluster, "worker.blackouts")?;
    ensure!(cluster.node(2)?.log().contains("worker.region"), "what waits for the next start is told");
    probes_within(world, Duration::from_secs(1))?;
    let late = probes_within(world, Duration::from_secs(3))?;
    ensure!(late.is_empty(), "{} probes from 1 s after the file was read on", late.len());
    let document = job.document(&cluster, 1)?;
    ensure!(document["status"] == "running", "{document}");
    wait::until("the reason", SOON, || {
        let explained = cluster.pentora(1, &["job", "explain", &job.0, "--json"])?.json()?;
        let refused = explained["partitions"][0]["refused"].to_string();
        Ok(refused.contains("it does not reach 10.77.0.0/16").then_some(()))
    })?;

    write(&file, "")?;
    read_again(&cluster, "worker.blackouts")?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    ensure!(document["status"] == "completed" && document["targets_scanned"] == 256, "{document}");
    let score = job.score(&cluster, 1, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    ensure!(score.is_exact(), "{score}");
    Ok(())
}
