//! How long a cluster takes no writes: when its leader is killed, and when it hands over.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::Cluster;
use pentora_tests::http::Request;
use pentora_tests::wait;

use crate::figures::{Sample, summary};
use crate::{choices, pause};

/// Kills of each profile, and transfers, unless `BENCH_RUNS` says otherwise.
const ROUNDS: u64 = 20;

/// One attempt at a write; the next follows at once.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);

pub(crate) fn measure_kill() -> anyhow::Result<()> {
    let rounds = usize::try_from(choices::runs(ROUNDS)?)?;
    for (profile, goal) in [("fast", "p95 700 ms"), ("lan", "p95 1700 ms")] {
        let mut cluster = Cluster::with_options(crate::lab(3)?, 3, &["--profile", profile])?;
        let times = kills(&mut cluster, rounds)?;
        let what = format!("profile {profile}: kill -9 of the leader, to a write through another node");
        summary(&what, "ms", &times, goal);
    }
    Ok(())
}

/// Kills the leader `rounds` times and gives the milliseconds until a write commits through another node.
pub(crate) fn kills(cluster: &mut Cluster, rounds: usize) -> anyhow::Result<Sample> {
    let mut times = Sample::default();
    for round in 0..rounds {
        let leader = cluster.leader()?;
        let followers = cluster.followers()?;
        let asked = *followers.get(round % followers.len()).context("a follower")?;
        cluster.node_mut(leader)?.kill()?;
        let began = Instant::now();
        wait::until("a write through another node", Duration::from_secs(60), || Ok(write(cluster, asked, round).ok()))?;
        times.add_ms(began.elapsed());
        cluster.restart(leader)?;
        settled(cluster, leader)?;
    }
    Ok(times)
}

pub(crate) fn measure_transfer() -> anyhow::Result<()> {
    let cluster = Cluster::of(crate::lab(3)?, 3)?;
    let mut times = Sample::default();
    for round in 0..usize::try_from(choices::runs(ROUNDS)?)? {
        let leader = cluster.leader()?;
        let asked = *cluster.followers()?.first().context("a follower")?;
        let request = Request {
            method: "POST",
            path: "/api/v1/cluster/transfer-leadership",
            body: Some("{}"),
            ..Request::default()
        };
        let began = Instant::now();
        let answer = cluster.api(leader, &request, ATTEMPT_MAX)?;
        ensure!((200..300).contains(&answer.status), "{answer:?}");
        write(&cluster, asked, round)?;
        times.add_ms(began.elapsed());
        ensure!(cluster.leader()? != leader, "the leadership did not move");
    }
    summary("transfer, to a write through another node", "ms", &times, "p95 20 ms");
    Ok(())
}

/// A small write: a join token that nobody uses.
fn write(cluster: &Cluster, number: usize, round: usize) -> anyhow::Result<()> {
    let body = format!(r#"{{"name": "round-{round}", "ttl_seconds": 60}}"#);
    let request = Request { method: "POST", path: "/api/v1/worker-tokens", body: Some(&body), ..Request::default() };
    let answer = cluster.api(number, &request, ATTEMPT_MAX)?;
    ensure!((200..300).contains(&answer.status), "{answer:?}");
    Ok(())
}

/// Waits until a restarted node has caught up, so that every round begins alike.
fn settled(cluster: &Cluster, restarted: usize) -> anyhow::Result<()> {
    let asked = cluster.leader()?;
    wait::until("the restarted node's answers", Duration::from_secs(60), || {
        let (Ok(there), Ok(here)) = (cluster.status(restarted), cluster.status(asked)) else { return Ok(None) };
        let applied = |status: &serde_json::Value| status.get("applied_index").and_then(serde_json::Value::as_u64);
        let leader = |status: &serde_json::Value| status.get("leader").cloned();
        Ok((applied(&there) >= applied(&here) && leader(&there) == leader(&here)).then_some(()))
    })?;
    // The other nodes reconnect to it with a back-off of their own.
    pause(Duration::from_secs(2));
    Ok(())
}
