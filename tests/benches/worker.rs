//! A worker, not the leader, killed in the middle of a scan, again and again: is the result the truth each time, and how soon are its
//! units another's? The same for one that is cut off, whose silence has to last for the grace period.

use std::time::{Duration, Instant};

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::http::Request;
use pentora_tests::lab::WorldOptions;
use pentora_tests::wait;

use crate::figures::{Sample, summary};
use crate::pause;

const ROUNDS: u64 = 20;
/// Times that a worker is cut off, each of which takes its grace period.
const CUTS: u64 = 5;
const SCAN_MAX: Duration = Duration::from_secs(180);
/// How long its units may be a lost worker's: the grace period of a cluster that says nothing, and more.
const GIVEN_MAX: Duration = Duration::from_secs(60);

pub(crate) fn measure() -> anyhow::Result<()> {
    let mut lab = crate::lab(3)?;
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let (mut times, mut given, mut right, mut once) = (Sample::default(), Sample::default(), 0, 0);
    for round in 0..ROUNDS {
        let leader = cluster.leader()?;
        let worker = *cluster.followers()?.first().context("a follower")?;
        let began = Instant::now();
        let job = submit(&cluster, leader)?;
        // From early to late in a scan that takes some seven seconds.
        pause(Duration::from_millis(500 + 250 * round));
        let before = given_again(&cluster, &job, leader)?;
        cluster.node_mut(worker)?.kill()?;
        given.add_ms(until_given(&cluster, &job, leader, before)?);
        job.wait(&cluster, leader, SCAN_MAX)?;
        times.add_s(began.elapsed());
        let (exact, counted_once) = check(&cluster, &job, leader)?;
        right += u32::from(exact);
        once += u32::from(counted_once);
        cluster.restart(worker)?;
        wait::until("the restarted worker", Duration::from_secs(30), || Ok(cluster.status(worker).ok()))?;
        pause(Duration::from_secs(2));
    }
    println!("{right} of {ROUNDS} results equal the truth; in {once} of {ROUNDS} every unit was counted once.\n");
    summary("the scan, from submission to its end", "s", &times, "none");
    summary("kill -9 of a worker, to its first unit at another", "ms", &given, "max 1000 ms");
    let request = Request { method: "GET", path: "/api/v1/cluster/settings", ..Request::default() };
    let settings = cluster.api(1, &request, Duration::from_secs(5))?.json()?;
    let grace = settings.get("grace_ms").and_then(serde_json::Value::as_f64).context("a grace period")? / 1e3;
    let mut given = Sample::default();
    for _ in 0..CUTS {
        let leader = cluster.leader()?;
        let worker = *cluster.followers()?.first().context("a follower")?;
        let job = submit(&cluster, leader)?;
        pause(Duration::from_secs(2));
        let before = given_again(&cluster, &job, leader)?;
        cluster.lab().isolate(worker)?;
        given.add_s(until_given(&cluster, &job, leader, before)?);
        cluster.lab().heal()?;
        job.wait(&cluster, leader, SCAN_MAX)?;
        pause(Duration::from_secs(2));
    }
    summary("a worker cut off, to its first unit at another", "s", &given, &format!("max {} s", grace + 0.5));
    Ok(())
}

/// How often units of a job were given to somebody again.
fn given_again(cluster: &Cluster, job: &Job, number: usize) -> anyhow::Result<usize> {
    Ok(job.events(cluster, number)?.iter().filter(|event| event["kind"] == "reassigned").count())
}

/// How long it takes until that is more than it was `before`.
fn until_given(cluster: &Cluster, job: &Job, number: usize, before: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    wait::until("a unit that is given again", GIVEN_MAX, || {
        Ok((given_again(cluster, job, number)? > before).then(|| began.elapsed()))
    })
}

/// A scan of 1,024 addresses, some seven seconds long.
pub(crate) fn submit(cluster: &Cluster, number: usize) -> anyhow::Result<Job> {
    Job::submit(cluster, number, &["10.77.0.0/22", "--ports", "80,81", "--rate", "300", "--no-discovery"])
}

/// Whether a job's result is the truth, and whether every unit was counted once and every address scanned.
pub(crate) fn check(cluster: &Cluster, job: &Job, number: usize) -> anyhow::Result<(bool, bool)> {
    let score = job.score(cluster, number, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    let document = job.document(cluster, number)?;
    let units = units_completed(&job.events(cluster, number)?);
    let scanned = document.get("targets_scanned").and_then(serde_json::Value::as_u64) == Some(1024);
    let completed = document.get("status").is_some_and(|status| status == "completed");
    Ok((score.is_exact() && completed, scanned && !units.is_empty() && units.values().all(|times| *times == 1)))
}
