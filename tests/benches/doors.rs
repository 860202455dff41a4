//! The API's door under those who log in all the time, and under strangers: neither comes between the cluster and its work.

#![expect(clippy::indexing_slicing, reason = "a document that lacks a field has null there")]

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::{API, Cluster};
use pentora_tests::http::{self, Request};

use crate::figures::{Sample, head, row, summary};
use crate::pause;

/// Issue 15's: logins in a minute, and connections of strangers.
const LOGINS_A_MINUTE: u32 = 10_000;
const STRANGERS: usize = 1_000;
/// How long each is kept up.
const KEPT_UP: Duration = Duration::from_secs(60);
/// How often a job is submitted, or somebody who belongs asks.
const JOB_EVERY: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_secs(15);

pub(crate) fn measure() -> anyhow::Result<()> {
    measure_logins()?;
    println!();
    measure_strangers()
}

/// From a job's entry in the log to that of its first lease, by the log's clock: without logins, and under them.
fn measure_logins() -> anyhow::Result<()> {
    let cluster = Cluster::of(crate::lab(3)?, 3)?;
    let words = ["token", "create", "--name", "bench", "--role", "viewer"];
    let token = cluster.pentora(1, &words)?.ok()?.trim().to_owned();
    pause(Duration::from_secs(2));
    let quiet = leases(&cluster, KEPT_UP / 2)?;
    let (stop, done, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    let busy = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=3)
            .map(|number| {
                let host = cluster.lab().host(number);
                let (token, stop, done, refused) = (&token, &stop, &done, &refused);
                scope.spawn(move || host.within(|| log_in(token, stop, done, refused)))
            })
            .collect();
        let busy = leases(&cluster, KEPT_UP);
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_panic| anyhow::anyhow!("a thread that logs in"))??;
        }
        busy
    })?;
    let rate = done.load(Ordering::Relaxed) as f64 * 60.0 / began.elapsed().as_secs_f64();
    head(&["lease after a job's entry", "n", "p50", "p95", "max"]);
    for (what, sample) in [("nobody logs in", &quiet), ("under logins", &busy)] {
        let show = |percent| format!("{:.0} ms", sample.percentile(percent));
        row(&[what.into(), sample.len().to_string(), show(50), show(95), show(100)]);
    }
    println!("{rate:.0} logins a minute over three nodes, {} refused", refused.load(Ordering::Relaxed));
    Ok(())
}

/// A third of the logins, one after the other, each when it is due.
fn log_in(token: &str, stop: &AtomicBool, done: &AtomicUsize, refused: &AtomicUsize) -> anyhow::Result<()> {
    let (began, every) = (Instant::now(), Duration::from_secs(60) * 3 / LOGINS_A_MINUTE);
    let request = Request { method: "POST", path: "/api/v1/auth/login", token: Some(token), ..Request::default() };
    for number in 0u32.. {
        pause((every * number).saturating_sub(began.elapsed()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let counted = if http::send(API, &request, ANSWER_MAX)?.status == 200 { done } else { refused };
        counted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Submits small jobs for so long; how long each waited for its first lease.
fn leases(cluster: &Cluster, during: Duration) -> anyhow::Result<Sample> {
    let (began, mut jobs) = (Instant::now(), Vec::new());
    while began.elapsed() < during {
        let due = JOB_EVERY * u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        pause(due.saturating_sub(began.elapsed()));
        let body = format!(r#"{{"targets": ["10.88.0.{}"], "ports": "1", "priority": "high"}}"#, jobs.len() % 3 + 1);
        let request = Request { method: "POST", path: "/api/v1/scans", body: Some(&body), ..Request::default() };
        let answer = cluster.api(1, &request, ANSWER_MAX)?;
        ensure!(answer.status == 202, "{answer:?}");
        jobs.push(answer.json()?["job_id"].as_str().context("a job id")?.to_owned());
    }
    pause(Duration::from_secs(3));
    let mut sample = Sample::default();
    for job in jobs {
        let path = format!("/api/v1/jobs/{job}/events");
        let events =
            cluster.api(1, &Request { method: "GET", path: &path, ..Request::default() }, ANSWER_MAX)?.json()?;
        let at = |kind: &str| -> anyhow::Result<f64> {
            let found = events["items"].as_array().into_iter().flatten().find(|event| event["kind"] == kind);
            millis(found.and_then(|event| event["at"].as_str()).with_context(|| format!("{kind} of {job}: {events}"))?)
        };
        let waited = at("assigned")? - at("submitted")?;
        // Around midnight.
        sample.add(if waited < 0.0 { waited + 86_400_000.0 } else { waited });
    }
    Ok(sample)
}

/// The milliseconds since midnight of an RFC 3339 time.
fn millis(at: &str) -> anyhow::Result<f64> {
    let time = at.split_once('T').map(|(_, time)| time.trim_end_matches('Z')).with_context(|| at.to_owned())?;
    let parts = time.split(':').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    let [hours, minutes, seconds] = parts.as_slice() else { anyhow::bail!("{at} is no time") };
    Ok(((hours * 60.0 + minutes) * 60.0 + seconds) * 1e3)
}

/// One who belongs asks on new connections, while a thousand strangers hold some open and never end their request.
fn measure_strangers() -> anyhow::Result<()> {
    let cluster = Cluster::of(crate::lab(1)?, 1)?;
    let alone = asked(&cluster, KEPT_UP / 4)?;
    let (stop, reopened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let among = std::thread::scope(|scope| {
        let strangers = scope.spawn(|| cluster.lab().host(1).within(|| be_strangers(&stop, &reopened)));
        pause(Duration::from_secs(2));
        let among = asked(&cluster, KEPT_UP / 2);
        stop.store(true, Ordering::Relaxed);
        strangers.join().map_err(|_panic| anyhow::anyhow!("the strangers' thread"))??;
        among
    })?;
    summary("GET /jobs, nobody else", "ms", &alone, "-");
    summary("GET /jobs, 1,000 strangers", "ms", &among, "p99 100 ms");
    println!("strangers came again {} times", reopened.load(Ordering::Relaxed));
    Ok(())
}

fn asked(cluster: &Cluster, during: Duration) -> anyhow::Result<Sample> {
    let token = std::fs::read_to_string(cluster.data_dir(1).join("admin.token"))?;
    cluster.lab().host(1).within(|| {
        let request = Request { method: "GET", path: "/api/v1/jobs", token: Some(token.trim()), ..Request::default() };
        let (began, mut times) = (Instant::now(), Sample::default());
        while began.elapsed() < during {
            let sent = Instant::now();
            let answer = http::send(API, &request, ANSWER_MAX)?;
            ensure!(answer.status == 200, "{answer:?}");
            times.add_ms(sent.elapsed());
            pause(ASK_EVERY.saturating_sub(sent.elapsed()));
        }
        Ok(times)
    })
}

/// Holds connections, each with a request that never ends, and opens another where one was closed.
fn be_strangers(stop: &AtomicBool, reopened: &AtomicUsize) -> anyhow::Result<()> {
    let connect = || -> Option<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&API, Duration::from_secs(1)).ok()?;
        stream.set_nonblocking(true).ok()?;
        stream.write_all(b"GET /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ").ok()?;
        Some(stream)
    };
    let mut all: Vec<Option<TcpStream>> = (0..STRANGERS).map(|_| connect()).collect();
    while !stop.load(Ordering::Relaxed) {
        for held in &mut all {
            let lives = held.as_mut().is_some_and(|stream| stream.write_all(b"a").is_ok());
            if !lives {
                *held = connect();
                reopened.fetch_add(1, Ordering::Relaxed);
            }
        }
        pause(Duration::from_millis(200));
    }
    Ok(())
}
