//! Submission through a follower: forwarded to the leader, fsynced on a majority, answered.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::Cluster;
use pentora_tests::http::Request;

use crate::figures::{Sample, head, row, summary};
use crate::pause;

const SUBMISSIONS: usize = 500;
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> anyhow::Result<()> {
    let cluster = Cluster::of(crate::lab(3)?, 3)?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let mut times = Sample::default();
    for number in 0..SUBMISSIONS {
        // Each is another job, on a host of the lab itself, and scanned while the next is submitted.
        let body = format!(r#"{{"targets": ["10.88.0.{}"], "ports": "1", "priority": "high"}}"#, number % 3 + 1);
        let (took, _) = submit(&cluster, follower, &body)?;
        times.add_ms(took);
    }
    summary("one small job", "ms", &times, "p50 15 ms, p99 60 ms");
    println!();
    measure_large(&cluster, follower)
}

/// A job of sixteen million targets costs what a small one does. Nothing is scanned outside the lab: it has no way out.
fn measure_large(cluster: &Cluster, follower: usize) -> anyhow::Result<()> {
    pause(Duration::from_secs(5));
    let before = (1..=3).map(|number| cluster.node(number)?.usage()).collect::<anyhow::Result<Vec<_>>>()?;
    let (took, job) =
        submit(cluster, follower, r#"{"targets": ["10.0.0.0/8"], "ports": "1", "rate": 1, "wait_for_worker": true}"#)?;
    pause(Duration::from_secs(2));
    head(&["10.0.0.0/8", "value", "goal"]);
    row(&["accepted in".into(), format!("{:.1} ms", took.as_secs_f64() * 1e3), "50 ms".into()]);
    for (number, before) in (1..=3).zip(before) {
        let grown = cluster.node(number)?.usage()?.resident_mb - before.resident_mb;
        row(&[format!("growth of n{number}"), format!("{grown:.1} MB"), "5 MB".into()]);
    }
    cluster.pentora(follower, &["job", "cancel", &job])?.ok().map(drop)
}

fn submit(cluster: &Cluster, number: usize, body: &str) -> anyhow::Result<(Duration, String)> {
    let request = Request { method: "POST", path: "/api/v1/scans", body: Some(body), ..Request::default() };
    let began = Instant::now();
    let answer = cluster.api(number, &request, ANSWER_MAX)?;
    let took = began.elapsed();
    ensure!(answer.status == 202, "{answer:?}");
    let job = answer.json()?.get("job_id").and_then(|id| id.as_str().map(str::to_owned)).context("a job id")?;
    Ok((took, job))
}
