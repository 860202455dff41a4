//! The runbook of docs/OPERATING.md for a majority that is lost for good, as it stands there.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use pentora_tests::cluster::{Cluster, Job, START_MAX};
use pentora_tests::command_line::{self, Ran};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;

const SCAN_MAX: Duration = Duration::from_secs(60);
/// Two that run know of each other within this.
const MET_WITHIN: Duration = Duration::from_secs(60);
/// A member that is told that it is out, and hears no leader, ends sooner.
const GOES_ON: Duration = Duration::from_secs(25);
/// One that has gone is told of no more within this.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(100);

fn scan(cluster: &Cluster, targets: &str) -> anyhow::Result<Job> {
    let job = Job::submit(cluster, 1, &[targets, "--ports", "80", "--no-discovery", "--no-services"])?;
    let document = job.wait(cluster, 1, SCAN_MAX)?;
    assert_eq!(document.get("status"), Some(&"completed".into()), "{document}");
    Ok(job)
}

fn recover(cluster: &Cluster, more: &[&str]) -> anyhow::Result<Ran> {
    recover_on(cluster, 1, more)
}

fn recover_on(cluster: &Cluster, number: usize, more: &[&str]) -> anyhow::Result<Ran> {
    let data = cluster.data_dir(number).display().to_string();
    let words = [&["recover", "--data-dir", &data], more].concat();
    command_line::run(cluster.lab().host(number), "pentora-node", cluster.folder(), &[], &words)
}

/// What a node warns of in its status about other clusters of this one's name.
fn rivals(cluster: &Cluster, number: usize) -> anyhow::Result<Vec<String>> {
    let status = cluster.status(number)?;
    let told = status.get("rivals").and_then(|told| told.as_array().cloned()).unwrap_or_default();
    Ok(told.iter().filter_map(|told| told.as_str().map(str::to_owned)).collect())
}

#[test]
fn the_last_of_three_members_goes_on_alone_and_new_ones_join_under_the_old_names() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let job = scan(&cluster, "10.77.0.0/28")?;
    let found = job.results(&cluster, 1, "jsonl")?.lines().count();
    let running = recover(&cluster, &["--yes"])?;
    assert_eq!((running.code, running.stderr.contains("in use")), (1, true), "{running:?}");
    for node in [2, 3] {
        cluster.node_mut(node)?.kill()?;
        fs::remove_dir_all(cluster.data_dir(node))?;
    }
    cluster.node_mut(1)?.kill()?;

    let asked = recover(&cluster, &[])?;
    assert_eq!(asked.code, 2, "{asked:?}");
    for part in ["n1, n2, n3", "1 job (0 not ended)", "take out: n2, n3"] {
        assert!(asked.stdout.contains(part), "{part}: {}", asked.stdout);
    }
    recover(&cluster, &["--yes"])?.ok()?;
    cluster.restart(1)?;
    wait::until("the survivor to lead alone", START_MAX, || {
        Ok(cluster.status(1).ok().filter(|status| status["leader"] == "n1" && status["quorum"]["voters"] == 1))
    })?;
    assert_eq!(cluster.status(1)?["nodes"].as_array().map(Vec::len), Some(1));
    let left = cluster.pentora(1, &["job", "results", &job.0, "-o", "jsonl"])?;
    // What only the lost ones held is named as missing.
    assert!([0, 6].contains(&left.code) && found == 16, "{left:?}");
    assert_eq!(left.code == 0, left.stdout.lines().count() == found, "{left:?}");
    scan(&cluster, "10.77.0.16/30")?;

    for node in [2, 3] {
        let token = cluster.token(&format!("n{node}"), &[])?;
        cluster.join(node, &token)?;
    }
    cluster.wait_for_voters(3)?;
    let leader = cluster.leader()?;
    assert_eq!(cluster.status(leader)?["quorum"]["failures_tolerated"], 1);
    scan(&cluster, "10.77.0.32/28").map(drop)
}

/// Neither knew of the other, and each took itself for the cluster.
#[test]
fn two_survivors_that_both_go_on_alone_find_each_other_and_say_that_there_are_two_clusters() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    for node in 1..=3 {
        cluster.node_mut(node)?.kill()?;
    }
    let asked = recover_on(&cluster, 1, &[])?;
    assert!(asked.stdout.contains("another survivor that does it as well makes a second cluster"), "{asked:?}");
    for node in [1, 2] {
        let done = recover_on(&cluster, node, &["--yes"])?;
        assert!(done.code == 0 && done.stderr.contains("never recover a second one"), "{done:?}");
        cluster.restart(node)?;
        wait::until("the survivor to lead alone", START_MAX, || {
            Ok(cluster
                .status(node)
                .ok()
                .filter(|status| status["quorum"]["voters"] == 1 && status["leader"].is_string()))
        })?;
    }
    for (node, other) in [(1, "n2"), (2, "n1")] {
        let told = wait::until("word of the other", MET_WITHIN, || {
            Ok(rivals(&cluster, node)?.into_iter().find(|told| told.contains(&format!("{other} at 10.88.0."))))
        })?;
        assert!(told.contains("went on alone from the same lost majority as well (recovery "), "{told}");
        let status = cluster.pentora(node, &["cluster", "status"])?.ok()?;
        assert!(
            status.contains("Warnings:") && status.contains("keep one of them, stop all nodes of the other"),
            "{status}"
        );
    }
    // Neither lets the other in, and neither stops.
    for node in [1, 2] {
        assert_eq!(cluster.status(node)?["nodes"].as_array().map(Vec::len), Some(1));
        cluster.token("still-writes", &[])?;
    }
    // One of them is given up, and joins the other.
    cluster.node_mut(2)?.kill()?;
    fs::remove_dir_all(cluster.data_dir(2))?;
    let token = cluster.token("n2", &[])?;
    cluster.join(2, &token)?;
    wait::until("no word of another", FORGOTTEN_WITHIN, || Ok(rivals(&cluster, 1)?.is_empty().then_some(())))
}

/// Somebody else's recovery stopped what it had no majority to stop.
#[test]
fn a_majority_that_goes_on_is_not_stopped_by_the_recovery_of_a_node_that_it_lost() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    wait::until("the second version of the log on every node", MET_WITHIN, || {
        let is_raised = |node| cluster.status(node).is_ok_and(|status| status["log_version"] == 2);
        Ok((1..=3).all(is_raised).then_some(()))
    })?;
    let alone = cluster.leader()?;
    cluster.node_mut(alone)?.kill()?;
    recover_on(&cluster, alone, &["--yes"])?.ok()?;
    cluster.restart(alone)?;
    let others: Vec<usize> = (1..=3).filter(|node| *node != alone).collect();
    for (node, part) in others.iter().map(|node| (*node, "went on alone by a recovery")).chain([(alone, "runs on")]) {
        wait::until("word of the other cluster", MET_WITHIN, || {
            Ok(rivals(&cluster, node)?.into_iter().find(|told| told.contains(part)))
        })?;
    }
    let has_leader = |node: usize| -> anyhow::Result<bool> {
        let status = cluster.status(node)?;
        Ok(status["leader"].is_string() && status["leader"] != format!("n{alone}"))
    };
    for node in &others {
        wait::until("a leader of their own", MET_WITHIN, || Ok(has_leader(*node)?.then_some(())))?;
    }
    // For longer than a member without a majority goes on.
    let began = Instant::now();
    wait::until("some time with both of them", MET_WITHIN, || {
        for node in &others {
            ensure!(has_leader(*node)?, "n{node} has lost its cluster");
        }
        Ok((began.elapsed() > GOES_ON).then_some(()))
    })
}
