//! A node that dies at a named point (`raft/src/kill_point.rs`) and is started again: it goes on, and nothing that was acknowledged
//! is lost or counted twice. The points of the store are the raft crate's own test's.

use std::time::Duration;

use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// The points of a node that joins.
const OF_JOINING: [&str; 3] = ["join-admitted", "join-key-kept", "join-identity-kept"];
/// The points of a member that is to scan only, and of one that is a member again.
const OF_A_ROLE: [&str; 5] = ["outside-noted", "outside-begun", "outside-log-gone", "back-noted", "inside-noted"];
/// The points of a unit's results on their way to being counted.
const OF_RESULTS: [&str; 2] = ["chunk-written", "chunk-durable"];
/// The points of a node that stops in order.
const OF_STOPPING: [&str; 2] = ["goodbye-said", "handed-over"];

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
