//! A node that dies at a named point (`raft/src/kill_point.rs`) and is started again: it goes on, and nothing that was acknowledged
//! is lost or counted twice. The points of the store are the raft crate's own test's.

#![expect(clippy::indexing_slicing, reason = "a document that lacks a field has null there")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use pentora_tests::binaries::binary;
use pentora_tests::cluster::{API, Cluster, Job};
use pentora_tests::command_line::{self, Ran};
use pentora_tests::lab::{Host, Lab, WorldOptions};
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// The points of a node that joins.
const OF_JOINING: [&str; 3] = ["join-admitted", "join-key-kept", "join-identity-kept"];
/// The points of a member that is to scan only, and of one that is a member again.
const OF_A_ROLE: [&str; 5] = ["outside-noted", "outside-begun", "outside-log-gone", "back-noted", "inside-noted"];
/// The points of a unit's results on their way to being counted.
const OF_RESULTS: [&str; 3] = ["chunks-journaled", "chunk-written", "chunk-durable"];
/// The points of a node that stops in order.
const OF_STOPPING: [&str; 2] = ["goodbye-said", "handed-over"];
/// The points of a first node that begins its cluster.
const OF_BEGINNING: [&str; 3] = ["init-key-kept", "init-token-kept", "init-identity-kept"];
/// The points of the way back from a lost majority.
const OF_RECOVERY: [&str; 3] = ["recover-appended", "recover-voted", "recover-synced"];
/// The points of a whole state that is taken in: by a cluster that begins with a backup, and by its next member.
const OF_INSTALLING: [&str; 4] = ["install-read", "install-kept", "install-rows", "install-replaced"];

fn node(cluster: &Cluster, asked: usize, name: &str) -> Option<Value> {
    let status = cluster.status(asked).ok()?;
    status.get("nodes")?.as_array()?.iter().find(|node| node["name"] == name).cloned()
}

/// Waits until the other nodes hold a node for active, in a role.
fn wait_for(cluster: &Cluster, name: &str, role: &str) -> anyhow::Result<()> {
    wait::until(&format!("{name} as {role}"), SOON, || {
        let seen = node(cluster, 1, name);
        Ok(seen.filter(|node| node["status"] == "Active" && node["role"] == role).map(drop))
    })
}

#[test]
fn a_joiner_that_dies_at_any_point_repeats_its_command() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(4)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    for (number, point) in (2..).zip(OF_JOINING) {
        let name = format!("n{number}");
        let token = cluster.token(&name, &[])?;
        cluster.dies_at(number, point);
        cluster.join(number, &token)?;
        cluster.node_mut(number)?.has_died(SOON)?;
        cluster.join(number, &token)?;
        wait::until(&format!("{name} after {point}"), SOON, || {
            Ok(node(&cluster, 1, &name).filter(|node| node["status"] == "Active").map(drop))
        })?;
    }
    cluster.wait_for_voters(3)
}

#[test]
fn a_node_that_dies_while_its_role_changes_ends_in_the_last_one() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 2)?;
    let log = cluster.data_dir(2).join("raft");
    for point in OF_A_ROLE {
        wait_for(&cluster, "n2", "learner")?;
        cluster.node_mut(2)?.stop(SOON)?;
        cluster.dies_at(2, point);
        cluster.restart(2)?;
        wait_for(&cluster, "n2", "learner")?;
        cluster.pentora(1, &["nodes", "set", "n2", "--role", "scanner"])?.ok()?;
        if point.starts_with("outside") {
            cluster.node_mut(2)?.has_died(SOON)?;
            cluster.pentora(1, &["nodes", "set", "n2", "--role", "member"])?.ok()?;
        } else {
            cluster.pentora(1, &["nodes", "set", "n2", "--role", "member"])?.ok()?;
            cluster.node_mut(2)?.has_died(SOON)?;
        }
        cluster.restart(2)?;
        wait_for(&cluster, "n2", "learner")?;
        wait::until(&format!("n2 with a log after {point}"), SOON, || {
            Ok((log.is_dir() && cluster.status(2).is_ok()).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_worker_that_dies_with_its_results_on_their_way_has_them_counted_once() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of_one(lab)?;
    let truth = cluster.lab().world().truth().of_ports(&[80]);
    for point in OF_RESULTS {
        cluster.node_mut(1)?.stop(SOON)?;
        cluster.dies_at(1, point);
        cluster.restart(1)?;
        wait::until("n1 to lead again", SOON, || Ok(cluster.leader().ok()))?;
        let job = Job::submit(&cluster, 1, &["10.77.0.0/26", "--ports", "80", "--no-discovery", "--no-services"])?;
        if let Err(error) = cluster.node_mut(1)?.has_died(SOON) {
            anyhow::bail!("{point}: {error}: {}", job.document(&cluster, 1)?);
        }
        cluster.restart(1)?;
        wait::until("n1 to lead again", SOON, || Ok(cluster.leader().ok()))?;
        let document = job.wait(&cluster, 1, SOON)?;
        let counted = (&document["status"], &document["targets_scanned"]);
        assert_eq!(counted, (&"completed".into(), &64.into()), "{point}: {document}");
        let score = job.score(&cluster, 1, &truth)?;
        assert!(score.is_exact(), "{point}: {score}");
    }
    Ok(())
}

#[test]
fn a_leader_that_dies_while_it_stops_leaves_a_cluster_that_goes_on() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    for point in OF_STOPPING {
        let leader = cluster.leader()?;
        // The points are those of the process that is started: it leads again before it is asked to stop.
        cluster.node_mut(leader)?.stop(SOON)?;
        cluster.dies_at(leader, point);
        cluster.restart(leader)?;
        cluster.wait_for_voters(3)?;
        let name = format!("n{leader}");
        wait::until(&format!("{name} to lead"), SOON, || {
            // Refused while it has yet to catch up.
            drop(cluster.pentora(leader, &["cluster", "transfer-leadership", &name])?);
            Ok(cluster.leader().ok().filter(|now| *now == leader).map(drop))
        })?;
        cluster.node(leader)?.signal(nix::sys::signal::Signal::SIGTERM)?;
        cluster.node_mut(leader)?.has_died(SOON)?;
        let next = wait::until("another leader", SOON, || Ok(cluster.leader().ok().filter(|now| *now != leader)))?;
        cluster.token("later", &[])?;
        cluster.restart(leader)?;
        wait::until("the node to be back", SOON, || {
            Ok(node(&cluster, next, &name).filter(|node| node["status"] == "Active").map(drop))
        })?;
    }
    Ok(())
}

/// A node on a host of its own that a test begins by itself, so that it may die before there is a cluster.
struct Alone<'a> {
    host: &'a Host,
    data: PathBuf,
}

impl Alone<'_> {
    /// Starts it by its words; with a point it is waited for until it has died there.
    fn begin(&self, words: &[&str], point: Option<&str>) -> anyhow::Result<Option<Process>> {
        let (mesh, data) = (format!("{}:7400", self.host.address()), self.data.display().to_string());
        let mut command = self.host.command(&binary("pentora-node")?);
        command.args(words).args(["--data-dir", &data, "--mesh-listen", &mesh, "--api-listen", &API.to_string()]);
        if let Some(point) = point {
            command.env("PENTORA_KILL_AT", point);
        }
        let mut process = Process::start(&mut command, &self.data.with_extension("log"))?;
        if let Some(point) = point {
            let status = process.ended(SOON)?;
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            ensure!(signal == Some(nix::sys::signal::Signal::SIGABRT as i32), "{point}: {status}: {}", process.log());
            return Ok(None);
        }
        Ok(Some(process))
    }

    fn ask(&self, words: &[&str]) -> anyhow::Result<Ran> {
        let data = self.data.display().to_string();
        let folder = self.data.parent().unwrap_or(Path::new("/"));
        command_line::pentora(self.host, folder, &[("PENTORA_DATA_DIR", &data)], words)
    }

    fn wait_for_nodes(&self, count: usize) -> anyhow::Result<Value> {
        wait::until(&format!("a cluster of {count}"), SOON, || {
            let status = self.ask(&["cluster", "status", "--json"])?;
            let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
            let active = status["nodes"].as_array().into_iter().flatten().filter(|node| node["status"] == "Active");
            Ok((status["leader"].is_string() && active.count() == count).then_some(status))
        })
    }
}

#[test]
fn a_first_node_that_dies_while_it_begins_its_cluster_repeats_its_command() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    for point in OF_BEGINNING {
        let node = Alone { host: lab.host(1), data: folder.path().join(point) };
        let words = ["start", "--init", "--name", "n1"];
        node.begin(&words, Some(point))?;
        let mut process = node.begin(&words, None)?;
        node.wait_for_nodes(1)?;
        // The token in the file is the one that counts, and orders are taken.
        node.ask(&["coordinator", "worker-token", "create", "--name", "n2"])?.ok()?;
        if let Some(process) = &mut process {
            process.kill()?;
        }
    }
    Ok(())
}

#[test]
fn a_recovery_that_dies_at_any_point_is_repeated_and_the_survivor_leads_alone() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    cluster.token("kept", &["--uses", "7"])?;
    for node in 1..=3 {
        cluster.node_mut(node)?.kill()?;
    }
    let data = cluster.data_dir(1).display().to_string();
    let words = ["recover", "--yes", "--data-dir", &data];
    let host = cluster.lab().host(1);
    // Each goes on from what the one before left.
    for point in OF_RECOVERY {
        let settings = [("PENTORA_KILL_AT", point)];
        let died = command_line::run(host, "pentora-node", cluster.folder(), &settings, &words)?;
        ensure!([-1, 134].contains(&died.code), "{point}: {died:?}");
    }
    command_line::run(host, "pentora-node", cluster.folder(), &[], &words)?.ok()?;
    cluster.restart(1)?;
    wait::until("the survivor to lead alone", SOON, || {
        Ok(cluster.status(1).ok().filter(|status| status["leader"] == "n1" && status["quorum"]["voters"] == 1))
    })?;
    let tokens = cluster.pentora(1, &["coordinator", "worker-token", "list", "--json"])?.json()?;
    let kept = tokens.as_array().into_iter().flatten().any(|token| token["name"] == "kept" && token["uses_left"] == 7);
    ensure!(kept, "{tokens}");
    Ok(())
}

#[test]
fn a_state_is_taken_in_whole_or_not_at_all_by_a_restored_cluster_and_by_its_next_member() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 1)?;
    cluster.pentora(1, &["exclude", "add", "10.9.9.9", "--name", "plant", "--reason", "controllers"])?.ok()?;
    let backup = cluster.folder().join("pentora.backup").display().to_string();
    cluster.pentora(1, &["cluster", "snapshot", "save", &backup])?.ok()?;
    let first = Alone { host: cluster.lab().host(2), data: cluster.folder().join("r1") };
    let words = ["start", "--init", "--restore", &backup, "--name", "r1"];
    for point in OF_INSTALLING {
        first.begin(&words, Some(point))?;
    }
    let _first = first.begin(&words, None)?;
    first.wait_for_nodes(1)?;
    // Its log begins behind the backup, so whoever joins is sent the state.
    let token = first.ask(&["coordinator", "worker-token", "create", "--name", "r2", "--uses", "9"])?.ok()?;
    let file = cluster.folder().join("r2.token").display().to_string();
    std::fs::write(&file, token)?;
    let next = Alone { host: cluster.lab().host(3), data: cluster.folder().join("r2") };
    let peer = format!("{}:7400", first.host.address());
    let words = ["join", "--peer", &peer, "--token-file", &file, "--name", "r2"];
    for point in OF_INSTALLING {
        next.begin(&words, Some(point))?;
    }
    let _next = next.begin(&words, None)?;
    first.wait_for_nodes(2)?;
    let api = ["--token-file", &first.data.join("admin.token").display().to_string()].map(str::to_owned);
    let seen = next.ask(&["exclude", "show", "plant", &api[0], &api[1]])?.ok()?;
    ensure!(seen.contains("10.9.9.9"), "{seen}");
    Ok(())
}
