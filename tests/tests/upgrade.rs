//! Releases run side by side while a cluster goes to the next one, node by node, and back; what only the next one knows waits
//! for the last node; and a node whose release does not read the log says so, is shown, and disturbs nobody.

use std::time::Duration;

use anyhow::ensure;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::{Value, json};

/// The program as it is, and as the next release would be: one more version of the log, one more command, one more table.
const THIS: &str = "pentora-node";
const NEXT: &str = "pentora-node-next";
/// A node is in again, or the log is raised, within this.
const CHANGES_WITHIN: Duration = Duration::from_secs(40);
const STOPS_WITHIN: Duration = Duration::from_secs(25);
/// Exit code of a node that does not go with its cluster.
const REFUSED: i32 = 4;

fn node_named(status: &Value, name: &str) -> Value {
    let found = status["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == name));
    found.cloned().unwrap_or_default()
}

/// Stops a node in order and starts it with another program; it is in again when it answers and counts as active.
fn restart_as(cluster: &mut Cluster, number: usize, program: &'static str, asked: usize) -> anyhow::Result<()> {
    cluster.node_mut(number)?.stop(STOPS_WITHIN)?;
    cluster.node_mut(number)?.set_program(program);
    cluster.restart(number)?;
    let name = format!("n{number}");
    let reads = if program == NEXT { json!([1, 3]) } else { json!([1, 2]) };
    wait::until(&format!("{name} with {program}"), CHANGES_WITHIN, || {
        let node = cluster.status(asked).map(|status| node_named(&status, &name)).unwrap_or_default();
        let node = &node;
        let is_in = node["status"] == "Active" && node["log_versions"] == reads && cluster.status(number).is_ok();
        Ok(is_in.then_some(()))
    })
}

fn scan_from(cluster: &Cluster, number: usize) -> anyhow::Result<()> {
    let job = Job::submit(cluster, number, &["10.77.0.0/26", "--ports", "22,80,443", "--no-services"])?;
    let done = &job.wait(cluster, number, CHANGES_WITHIN)?;
    let score = job.score(cluster, number, &cluster.lab().world().truth().of_ports(&[22, 80, 443]))?;
    ensure!(done["status"] == "completed" && score.is_exact(), "{score} {done}");
    Ok(())
}

#[test]
fn a_cluster_goes_to_the_next_release_and_back_node_by_node_and_nobody_guesses() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 64, ..WorldOptions::default() };
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&options)?;
    let mut cluster = Cluster::of(lab, 3)?;

    // One node of the next release, and back.
    restart_as(&mut cluster, 3, NEXT, 1)?;
    scan_from(&cluster, 1)?;
    scan_from(&cluster, 3)?;
    restart_as(&mut cluster, 3, THIS, 1)?;
    scan_from(&cluster, 3)?;

    // Two of three, whoever leads: the log stays as the third reads it, and says whom it waits for.
    restart_as(&mut cluster, 3, NEXT, 1)?;
    restart_as(&mut cluster, 2, NEXT, 1)?;
    let status = cluster.status(2)?;
    assert_eq!((&status["log_version"], &status["next_log_version"]), (&json!(2), &json!(3)), "{status}");
    let told = cluster.pentora(2, &["cluster", "status"])?.ok()?;
    assert!(told.contains("Log: version 2; version 3 waits for a newer release on n1"), "{told}");
    wait::until("the new command to be kept back", CHANGES_WITHIN, || {
        Ok(cluster.node(2)?.log().contains("the new command waits").then_some(()))
    })?;
    scan_from(&cluster, 1)?;

    // One that is away when the last one is upgraded comes back with the old release: it does not read the log any more.
    cluster.node_mut(3)?.stop(STOPS_WITHIN)?;
    restart_as(&mut cluster, 1, NEXT, 2)?;
    wait::until("the third version of the log", CHANGES_WITHIN, || {
        Ok(cluster.status(1).ok().filter(|status| status["log_version"] == 3).map(drop))
    })?;
    wait::until("the new command in the log", CHANGES_WITHIN, || {
        Ok(cluster.node(2)?.log().contains("the new command is in the log").then_some(()))
    })?;
    cluster.node_mut(3)?.set_program(THIS);
    cluster.restart(3)?;
    assert_eq!(cluster.node_mut(3)?.exit_code(CHANGES_WITHIN)?, REFUSED);
    let log = cluster.node(3)?.log();
    assert!(log.contains("version 3") && log.contains("install a newer release"), "{log}");
    assert_eq!(node_named(&cluster.status(1)?, "n3")["status"], "Incompatible");
    scan_from(&cluster, 2)?;

    // A store that was raised is not opened by the old release, and stays as it is.
    cluster.node_mut(2)?.stop(STOPS_WITHIN)?;
    cluster.node_mut(3)?.set_program(NEXT);
    cluster.restart(3)?;
    cluster.node_mut(2)?.set_program(THIS);
    cluster.restart(2)?;
    assert_eq!(cluster.node_mut(2)?.exit_code(CHANGES_WITHIN)?, REFUSED);
    cluster.node_mut(2)?.set_program(NEXT);
    cluster.restart(2)?;
    cluster.wait_for_voters(3)?;
    wait::until("three active nodes", CHANGES_WITHIN, || {
        let status = cluster.status(1).unwrap_or_default();
        Ok(["n1", "n2", "n3"].iter().all(|name| node_named(&status, name)["status"] == "Active").then_some(()))
    })?;
    scan_from(&cluster, 3)
}

#[test]
fn a_joiner_that_does_not_read_the_log_is_told_so_and_uses_up_no_token() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    cluster.node_mut(1)?.stop(STOPS_WITHIN)?;
    cluster.node_mut(1)?.set_program(NEXT);
    cluster.restart(1)?;
    wait::until("the third version of the log", CHANGES_WITHIN, || {
        Ok(cluster.status(1).ok().filter(|status| status["log_version"] == 3).map(drop))
    })?;
    let token = cluster.token("n2", &[])?;
    cluster.join(2, &token)?;
    assert_eq!(cluster.node_mut(2)?.exit_code(CHANGES_WITHIN)?, REFUSED);
    let log = cluster.node(2)?.log();
    assert!(log.contains("this release reads versions 1 to 2") && log.contains("install the release"), "{log}");
    cluster.node_mut(2)?.set_program(NEXT);
    cluster.join(2, &token)?;
    wait::until("the second node", CHANGES_WITHIN, || {
        let node = cluster.status(1).map(|status| node_named(&status, "n2")).unwrap_or_default();
        Ok((node["status"] == "Active").then_some(()))
    })
}
