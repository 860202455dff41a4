//! A worker, not the leader, killed in the middle of a scan, again and again: is the result the truth each time, and how soon are its
//! units another's? The same for one that is cut off, whose silence has to last for the grace period.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::http::Request;
use pentora_tests::lab::WorldOptions;
use pentora_tests::wait;

use crate::figures::{Sample, summary};
use crate::pause;

const ROUNDS: u64 = 20;
/// Times that a worker is cut off, each of which takes its grace period.
const CUTS: u64 = 5;
/// A scan of some seven seconds that loses a worker takes twice that on a busy machine.
const SCAN_MAX: Duration = Duration::from_secs(60);
/// How long its units may be a lost worker's: the grace period of a cluster that says nothing, and more.
const GIVEN_MAX: Duration = Duration::from_secs(60);
/// No round begins behind this: what was measured by then is told, and the measurement has failed. On two busy cores a kill takes some
/// twenty seconds (the scan, a start, two seconds of rest), a cut some 26: about nine minutes, and half as much again here.
const ALL_MAX: Duration = Duration::from_secs(840);

/// What has been measured so far.
#[derive(Default)]
struct Measured {
    times: Sample,
    killed: Sample,
    cut: Sample,
    idle: u64,
    right: u64,
    once: u64,
}

pub(crate) fn measure() -> anyhow::Result<()> {
    let mut lab = crate::lab(3)?;
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let (began, mut measured) = (Instant::now(), Measured::default());
    let rounds = rounds(&mut cluster, began, &mut measured);
    let (done, Measured { right, once, idle, .. }) = (measured.times.len(), &measured);
    println!("\n{right} of {done} results equal the truth; in {once} of {done} every unit was counted once.");
    println!("In {idle} of them the worker had no unit when it was killed.\n");
    summary("the scan, from submission to its end", "s", &measured.times, "none");
    summary("kill -9 of a worker, to its first unit at another", "ms", &measured.killed, "max 1000 ms");
    let request = Request { method: "GET", path: "/api/v1/cluster/settings", ..Request::default() };
    let settings = cluster.api(1, &request, Duration::from_secs(5))?.json()?;
    let grace = settings.get("grace_ms").and_then(serde_json::Value::as_f64).context("a grace period")? / 1e3;
    let goal = format!("max {} s", grace + 0.5);
    summary("a worker cut off, to its first unit at another", "s", &measured.cut, &goal);
    rounds
}

/// Every round, a line each, so that whoever waits sees that it goes on.
fn rounds(cluster: &mut Cluster, began: Instant, measured: &mut Measured) -> anyhow::Result<()> {
    for round in 0..ROUNDS {
        ensure!(began.elapsed() < ALL_MAX, "{round} of {ROUNDS} kills within {} s", ALL_MAX.as_secs());
        kill(cluster, round, measured).with_context(|| format!("kill {}", round + 1))?;
    }
    for round in 0..CUTS {
        ensure!(began.elapsed() < ALL_MAX, "{round} of {CUTS} cuts within {} s", ALL_MAX.as_secs());
        cut(cluster, round, measured).with_context(|| format!("cut {}", round + 1))?;
    }
    println!("all rounds took {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn kill(cluster: &mut Cluster, round: u64, measured: &mut Measured) -> anyhow::Result<()> {
    let leader = cluster.leader()?;
    let worker = *cluster.followers()?.first().context("a follower")?;
    let began = Instant::now();
    let job = submit(cluster, leader)?;
    // From early to late in a scan that takes some seven seconds.
    pause(Duration::from_millis(500 + 250 * round));
    let (before, has) = (given_again(cluster, &job, leader)?, units_of(cluster, leader, worker)?);
    cluster.node_mut(worker)?.kill()?;
    let given = if has > 0 { Some(until_given(cluster, &job, leader, before)?) } else { None };
    let ended = job.wait(cluster, leader, SCAN_MAX)?;
    let took = began.elapsed();
    let (exact, counted_once) = check(cluster, &job, leader)?;
    measured.times.add_s(took);
    measured.right += u64::from(exact);
    measured.once += u64::from(counted_once);
    match given {
        Some(given) => measured.killed.add_ms(given),
        None => measured.idle += 1,
    }
    let started = Instant::now();
    cluster.restart(worker)?;
    wait::until("the restarted worker", Duration::from_secs(30), || Ok(cluster.status(worker).ok()))?;
    let up = started.elapsed();
    pause(Duration::from_secs(2));
    let given = given.map_or_else(|| "it had none".to_owned(), |given| format!("{} ms", given.as_millis()));
    let share: Vec<String> = stats_of(&ended).iter().map(|(name, targets)| format!("{name} {targets}")).collect();
    println!(
        "kill {} of {ROUNDS}: n{worker} with {has} units; another had one of them after {given}; the scan took {:.1} s, {} ({}); it was \
         up again after {:.1} s",
        round + 1,
        took.as_secs_f64(),
        if exact && counted_once { "exact and once" } else { "NOT exact, or not once" },
        share.join(", "),
        up.as_secs_f64()
    );
    Ok(())
}

fn cut(cluster: &mut Cluster, round: u64, measured: &mut Measured) -> anyhow::Result<()> {
    let leader = cluster.leader()?;
    let worker = *cluster.followers()?.first().context("a follower")?;
    let job = submit(cluster, leader)?;
    pause(Duration::from_secs(2));
    ensure!(units_of(cluster, leader, worker)? > 0, "n{worker} has no unit two seconds into the scan");
    let before = given_again(cluster, &job, leader)?;
    cluster.lab().isolate(worker)?;
    let given = until_given(cluster, &job, leader, before)?;
    measured.cut.add_s(given);
    cluster.lab().heal()?;
    job.wait(cluster, leader, SCAN_MAX)?;
    println!("cut {} of {CUTS}: another had a unit of n{worker} after {:.1} s", round + 1, given.as_secs_f64());
    pause(Duration::from_secs(2));
    Ok(())
}

/// How many units a worker has now.
fn units_of(cluster: &Cluster, asked: usize, worker: usize) -> anyhow::Result<u64> {
    let status = cluster.status(asked)?;
    let nodes = status.get("nodes").and_then(serde_json::Value::as_array).context("nodes")?;
    let is_it = |node: &&serde_json::Value| node.get("name").is_some_and(|name| *name == format!("n{worker}"));
    let node = nodes.iter().find(is_it).context("the worker")?;
    Ok(node.pointer("/load/running").and_then(serde_json::Value::as_u64).unwrap_or_default())
}

/// What each worker scanned of a job.
fn stats_of(document: &serde_json::Value) -> Vec<(String, u64)> {
    let stats = document["worker_stats"].as_array().cloned().unwrap_or_default();
    let of = |stat: &serde_json::Value| {
        let name = stat["worker_id"].as_str().unwrap_or_default().trim_start_matches("wrk_").to_owned();
        (name, stat["targets"].as_u64().unwrap_or_default())
    };
    stats.iter().map(of).collect()
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
