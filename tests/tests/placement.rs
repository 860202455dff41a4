//! Who may work on a job, and jobs too large for one entry of the log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::lab::{Lab, Truth, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

const SCAN_MAX: Duration = Duration::from_secs(90);

fn cluster(options: &WorldOptions) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(options)?;
    Cluster::of(lab, 3).map(Some)
}

/// The workers that units of the job were done by.
fn workers_of(cluster: &Cluster, job: &Job) -> anyhow::Result<BTreeSet<String>> {
    let events = job.events(cluster, 1)?;
    let done = events.iter().filter(|event| event["kind"] == "unit_done");
    Ok(done.filter_map(|event| event["worker"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_job_for_one_worker_at_a_time_is_never_worked_on_by_two() -> anyhow::Result<()> {
    let Some(cluster) = cluster(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?
    else {
        return Ok(());
    };
    let words = ["10.77.0.0/24", "--ports", "80,81", "--rate", "150", "--no-discovery", "--workers", "1"];
    let job = Job::submit(&cluster, 1, &words)?;
    let mut most = 0;
    let document = wait::until("the end of the job", SCAN_MAX, || {
        let document = job.document(&cluster, 2)?;
        most = most.max(document["active_workers"].as_u64().unwrap_or(0));
        Ok((document["status"] == "completed").then_some(document))
    })?;
    assert_eq!((most, &document["targets_scanned"]), (1, &256.into()), "{document}");
    assert_eq!(workers_of(&cluster, &job)?.len(), 1, "{document}");
    Ok(())
}

#[test]
fn a_required_tag_chooses_the_node_that_has_it_and_one_that_nobody_has_is_refused_with_each_reason()
-> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 2)?;
    let token = cluster.token("n3", &[])?;
    cluster.join_with(3, &token, &["--tag", "dmz"])?;
    wait::until("the third worker", Duration::from_secs(20), || {
        let workers = cluster.pentora(1, &["coordinator", "workers", "list", "--json"])?.json()?;
        let third = workers.as_array().and_then(|all| all.iter().find(|worker| worker["worker_id"] == "wrk_n3"));
        Ok(third.filter(|worker| ["Active", "Idle"].iter().any(|word| worker["status"] == *word)).map(drop))
    })?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/26", "--ports", "22,80", "--require-worker-tag", "dmz"])?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");
    assert_eq!(workers_of(&cluster, &job)?, BTreeSet::from(["wrk_n3".to_owned()]));
    let score = job.score(&cluster, 2, &cluster.lab().world().truth().of_ports(&[22, 80]))?;
    assert!(score.is_exact(), "{score}");

    let words = ["scan", "10.77.0.0/26", "--ports", "22", "--require-worker-tag", "moon", "--detach"];
    let said = cluster.pentora(2, &words)?.refused(4)?;
    assert!(["n1", "n2", "n3", "moon"].iter().all(|word| said.contains(word)), "{said}");
    Ok(())
}

/// Every second address of the world, one per line: as many ranges, and so more than an entry of the log takes.
fn scattered(addresses: u32) -> anyhow::Result<(String, Vec<Ipv4Addr>)> {
    let first = u32::from(Ipv4Addr::new(10, 77, 0, 0));
    let targets: Vec<Ipv4Addr> = (first..first + addresses).step_by(2).map(Ipv4Addr::from).collect();
    let mut text = String::new();
    for target in &targets {
        writeln!(text, "{target}").context("a string takes any text")?;
    }
    Ok((text, targets))
}

#[test]
fn a_file_of_thousands_of_scattered_targets_is_one_job_and_outlives_the_node_it_was_given_to() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 16_384, alive_percent: 100, ..WorldOptions::default() };
    let Some(mut cluster) = cluster(&options)? else { return Ok(()) };
    let (text, targets) = scattered(options.addresses)?;
    let file = cluster.folder().join("targets.txt");
    fs::write(&file, text)?;
    let asked = *cluster.followers()?.first().context("a follower")?;
    let file = file.display().to_string();
    let words = ["--file", file.as_str(), "--ports", "80", "--rate", "600", "--no-discovery"];
    let job = Job::submit(&cluster, asked, &words)?;
    job.wait_for_progress(&cluster, asked, 1)?;
    // The list itself is a chunk: its other holders give it to the workers from now on.
    cluster.node_mut(asked)?.kill()?;
    let leader = cluster.leader()?;
    let document = job.wait(&cluster, leader, SCAN_MAX)?;
    let (status, scanned) = (&document["status"], &document["targets_scanned"]);
    assert_eq!((status, scanned), (&Value::from("completed"), &Value::from(targets.len())), "{document}");
    let truth = cluster.lab().world().truth().of_ports(&[80]);
    let truth = Truth { open: truth.open.into_iter().filter(|(at, _)| targets.contains(at)).collect(), ..truth };
    for number in cluster.followers()?.into_iter().chain([leader]) {
        let score = job.score(&cluster, number, &truth)?;
        assert!(score.is_exact(), "as node {number} reports: {score}");
    }
    let units = units_completed(&job.events(&cluster, leader)?);
    assert!(!units.is_empty() && units.values().all(|times| *times == 1), "{units:?}");
    Ok(())
}
