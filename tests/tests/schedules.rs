//! Scans that begin by themselves: each time once, whoever leads; and what past scans say of how many workers are needed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// The next minute, and an election.
const RUN_MAX: Duration = Duration::from_secs(90);
const SCAN_MAX: Duration = Duration::from_secs(60);
const FOLLOWS_MAX: Duration = Duration::from_secs(30);
/// The leader is killed so long before the time at the earliest.
const SHORTLY_BEFORE: Duration = Duration::from_millis(1_500);

#[expect(clippy::disallowed_methods, reason = "when the machine thinks it is, as the program's edge asks too")]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn schedule(cluster: &Cluster, number: usize, name: &str) -> anyhow::Result<Value> {
    cluster.pentora(number, &["schedule", "show", name, "--json"])?.json()
}

fn runs(schedule: &Value) -> Vec<Value> {
    schedule["runs"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_leader_killed_at_the_time_of_a_schedule_leaves_it_exactly_one_job_and_a_refusal_is_shown() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let leader = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let when = ["--schedule", "* * * * *", "--timezone", "Europe/Berlin"];
    let scan = ["10.77.0.0/28", "--ports", "80", "--no-discovery"];
    let add = [&["schedule", "add", "each-minute"], &scan[..], &when, &["--overlap", "allow"]].concat();
    let added = cluster.pentora(follower, &add)?;
    assert_eq!((added.code, added.stdout.as_str()), (0, "each-minute\n"), "{added:?}");
    assert!(added.stderr.contains("* * * * * in Europe/Berlin") && added.stderr.contains("UTC"), "{added:?}");
    let nobody = ["--require-worker-tag", "nobody"];
    let add = [&["schedule", "add", "refused"], &scan[..], &when, &nobody].concat();
    cluster.pentora(follower, &add)?.ok()?;
    // The line of the original description.
    let line = ["scan", "10.0.0.0/8", "--priority", "low", "--schedule", "0 2 * * *"];
    let name = cluster.pentora(follower, &line)?.ok()?;
    let nightly = schedule(&cluster, leader, name.trim_end())?;
    assert_eq!((&nightly["cron"], &nightly["scan"]["priority"]), (&"0 2 * * *".into(), &"low".into()), "{nightly}");
    assert_eq!(nightly["next"].as_array().map(Vec::len), Some(5));

    let first = wait::until("a time that is about to come", RUN_MAX, || {
        let due = schedule(&cluster, follower, "each-minute")?["next"][0]["at_ms"].as_u64().context("a time")?;
        let left = u128::from(due).saturating_sub(now_ms());
        Ok((left <= SHORTLY_BEFORE.as_millis()).then_some(due))
    })?;
    cluster.node_mut(leader)?.kill()?;
    wait::until("the run of that time", RUN_MAX, || {
        let Ok(shown) = schedule(&cluster, follower, "each-minute") else { return Ok(None) };
        Ok(runs(&shown).iter().any(|run| run["due"]["at_ms"] == first && run["outcome"] == "started").then_some(()))
    })?;
    let refused = wait::until("the refusal of that time", RUN_MAX, || {
        let Ok(shown) = schedule(&cluster, follower, "refused") else { return Ok(None) };
        Ok(runs(&shown).into_iter().find(|run| run["due"]["at_ms"] == first))
    })?;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(refused["outcome"] == "refused" && reason.contains("it has no tag `nobody`"), "{refused}");
    let shown = cluster.pentora(follower, &["schedule", "show", "refused"])?.ok()?;
    assert!(shown.contains("refused: no node can scan 10.77.0.0/28"), "{shown}");

    for name in ["each-minute", "refused"] {
        cluster.pentora(follower, &["schedule", "pause", name])?.ok()?;
    }
    cluster.restart(leader)?;
    // The one that was killed comes to the same: one job for each time.
    let began = runs(&schedule(&cluster, follower, "each-minute")?);
    let of_node = wait::until("the node that was killed following", FOLLOWS_MAX, || {
        let Ok(shown) = schedule(&cluster, leader, "each-minute") else { return Ok(None) };
        Ok((shown["status"] == "paused" && runs(&shown) == began).then(|| runs(&shown)))
    })?;
    let times: BTreeSet<u64> = of_node.iter().filter_map(|run| run["due"]["at_ms"].as_u64()).collect();
    let jobs: BTreeSet<&str> = of_node.iter().filter_map(|run| run["job_id"].as_str()).collect();
    let all = cluster.pentora(leader, &["job", "list", "--json"])?.json()?;
    let all: BTreeSet<&str> = all.as_array().into_iter().flatten().filter_map(|job| job["job_id"].as_str()).collect();
    assert_eq!(
        (times.len(), jobs.len()),
        (of_node.len(), of_node.len()),
        "each time once, each with its job: {of_node:?}"
    );
    assert_eq!(all, jobs, "and no job beside them");
    for job in &jobs {
        let document = Job((*job).to_owned()).wait(&cluster, follower, SCAN_MAX)?;
        assert_eq!(document["status"], "completed", "{document}");
    }
    let measured = ["plan", "capacity", "--targets", "50000", "--window", "1h", "--measured", "--json"];
    let measured = cluster.pentora(leader, &measured)?.json()?;
    assert_eq!(measured["measured"]["targets"], 16 * jobs.len(), "{measured}");
    assert!(measured["workers"].as_u64() >= Some(1), "{measured}");
    cluster.pentora(leader, &["schedule", "remove", "refused", "--yes"])?.ok()?;
    assert_eq!(cluster.pentora(leader, &["schedule", "show", "refused"])?.code, 1);
    Ok(())
}
