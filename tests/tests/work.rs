//! How work gets done: what is planned before anything is sent, who gets it, what a user may do to it, and what becomes
//! of tries that take too long and of workers that fail.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::http::{Answer, Request};
use pentora_tests::lab::{Lab, WorldOptions, probes_within};
use pentora_tests::wait;
use serde_json::Value;

const SCAN_MAX: Duration = Duration::from_secs(90);
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Nodes whose workers are failed soon, and a world of which every address is alive.
fn cluster(size: usize, options: &[&str]) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    Cluster::with_options(lab, size, options).map(Some)
}

fn post(cluster: &Cluster, path: &str, body: &str) -> anyhow::Result<Answer> {
    cluster.api(1, &Request { method: "POST", path, body: Some(body), ..Request::default() }, ANSWER_MAX)
}

/// Waits until so many workers are heard and have nothing to do.
fn wait_for_workers(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    wait::until("idle workers", Duration::from_secs(30), || {
        let workers = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let idle = workers.as_array().into_iter().flatten().filter(|worker| worker["status"] == "Idle").count();
        Ok((idle == count).then_some(()))
    })
}

/// Lets so much time go by.
fn pass(time: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    wait::until("time to go by", time * 2, || Ok((begun.elapsed() >= time).then_some(())))
}

fn jobs(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let list = cluster.pentora(1, &["job", "list", "--json"])?.json()?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

fn words(values: &Value) -> Vec<&str> {
    values.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[test]
fn a_plan_names_parts_nodes_and_refusals_and_sends_and_keeps_nothing() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, &[])? else { return Ok(()) };
    wait_for_workers(&cluster, 2)?;
    let request = r#"{"targets": ["10.77.0.0/24"], "ports": "80,81", "discovery": false}"#;
    let heard = std::thread::scope(|scope| {
        let listening = scope.spawn(|| probes_within(cluster.lab().world_host(), Duration::from_secs(3)));
        let answer = post(&cluster, "/api/v1/scans?plan=true", request)?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let plan = answer.json()?;
        assert_eq!((&plan["accepted"], &plan["targets"]), (&true.into(), &256.into()));
        // From one for each port up to all that open ones bring.
        let [least, most] = ["least", "most"].map(|end| plan["packets"][end].as_u64().unwrap_or_default());
        assert!(least >= 512 && most > least, "{plan}");
        assert_eq!(words(&plan["partitions"][0]["eligible"]), ["wrk_n1", "wrk_n2"], "{plan}");
        let shown = cluster.pentora(2, &["scan", "10.77.0.0/24", "--ports", "80,81", "--plan"])?.ok()?;
        assert!(shown.contains("Eligible: wrk_n1, wrk_n2") && shown.contains("nothing is sent"), "{shown}");
        let refused = ["scan", "10.77.0.0/24", "--ports", "80", "--plan", "--require-worker-tag", "dmz"];
        let refused = cluster.pentora(2, &refused)?;
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stdout.contains("- wrk_n2: it has no tag `dmz`"), "{refused:?}");
        listening.join().map_err(|_panic| anyhow::anyhow!("the listener panicked"))?
    })?;
    assert!(heard.is_empty(), "{} packets came of plans", heard.len());
    assert!(jobs(&cluster)?.is_empty(), "nothing is kept");
    Ok(())
}

#[test]
fn a_target_without_a_route_is_nobodys_and_a_job_may_wait_for_a_worker() -> anyhow::Result<()> {
    let Some(cluster) = cluster(1, &[])? else { return Ok(()) };
    let refused = cluster.pentora(1, &["scan", "192.168.99.0/28", "--ports", "80", "--detach"])?;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("n1: it does not reach 192.168.99.0/28"), "{refused:?}");
    let job = Job::submit(&cluster, 1, &["192.168.99.0/28", "--ports", "80", "--wait-for-worker"])?;
    let document = job.document(&cluster, 1)?;
    assert_eq!(document["status"], "queued", "{document}");
    assert!(document["reason"].as_str().is_some_and(|why| why.contains("waits for a node")), "{document}");
    let explained = cluster.pentora(1, &["job", "explain", &job.0])?.ok()?;
    assert!(explained.contains("- wrk_n1: it does not reach 192.168.99.0/28"), "{explained}");
    // A route that comes up later is told, and the job is done by whoever has it.
    cluster.lab().host(1).namespace().ip("route add 192.168.99.0/28 via 10.88.0.250")?;
    wait::until("the first unit of the job", Duration::from_secs(30), || {
        Ok((job.document(&cluster, 1)?["status"] != "queued").then_some(()))
    })
}

#[test]
fn a_worker_whose_process_is_gone_gives_its_units_to_others_before_its_grace_period_is_over() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster(3, &[])? else { return Ok(()) };
    wait_for_workers(&cluster, 3)?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/24", "--ports", "80,81", "--rate", "60", "--no-discovery"])?;
    let leader = cluster.leader()?;
    let killed = *cluster.followers()?.first().context("a follower")?;
    let worker = format!("wrk_n{killed}");
    let of_killed = |events: &[Value], kind: &str| {
        events.iter().position(|event| event["kind"] == kind && event["worker"] == worker.as_str())
    };
    wait::until("a unit of the worker", SCAN_MAX, || Ok(of_killed(&job.events(&cluster, leader)?, "assigned")))?;
    cluster.node_mut(killed)?.kill()?;
    let events = wait::until("its units taken back", SCAN_MAX, || {
        let events = job.events(&cluster, leader)?;
        Ok(of_killed(&events, "expired").is_some().then_some(events))
    })?;
    assert_eq!(of_killed(&events, "worker_failed"), None, "before the grace period is over: {events:?}");
    let told = of_killed(&events, "expired").and_then(|at| events.get(at)).context("the event")?;
    assert!(told["message"].as_str().is_some_and(|why| why.contains("hung up")), "{told}");
    let document = job.wait(&cluster, leader, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &256.into()), "{document}");
    let units = units_completed(&job.events(&cluster, leader)?);
    assert!(units.values().all(|times| *times == 1), "{units:?}");
    Ok(())
}

#[test]
fn a_held_job_sends_nothing_within_two_seconds_and_goes_on_to_its_end_with_each_target_once() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, &[])? else { return Ok(()) };
    wait_for_workers(&cluster, 3)?;
    let words = ["10.77.0.0/24", "--ports", "80,81", "--rate", "60", "--no-discovery"];
    let job = Job::submit(&cluster, 1, &words)?;
    let world = cluster.lab().world_host();
    wait::until("probes", SCAN_MAX, || Ok((!probes_within(world, Duration::from_secs(1))?.is_empty()).then_some(())))?;
    cluster.pentora(2, &["job", "pause", &job.0])?.ok()?;
    probes_within(world, Duration::from_secs(2))?;
    let late = probes_within(world, Duration::from_secs(3))?;
    assert!(late.is_empty(), "{} probes from 2 s after the pause on", late.len());
    let document = job.document(&cluster, 3)?;
    assert_eq!((&document["status"], &document["active_workers"]), (&"paused".into(), &0.into()), "{document}");
    assert_eq!(document["eta_seconds"], Value::Null);
    let queue = cluster.pentora(3, &["queue"])?.ok()?;
    assert!(queue.contains(&format!("Normal Priority (P2):   [ {} ]", job.0)), "{queue}");
    cluster.pentora(3, &["job", "reprioritize", &job.0, "high"])?.ok()?;
    cluster.pentora(3, &["job", "resume", &job.0])?.ok()?;
    let queue = cluster.pentora(1, &["queue"])?.ok()?;
    assert!(queue.contains(&format!("High Priority (P1):     [ {} ]", job.0)), "{queue}");
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &256.into()), "{document}");
    let explained = cluster.pentora(2, &["job", "explain", &job.0, "--json"])?.json()?;
    let phases: Vec<&str> =
        explained["phases"].as_array().into_iter().flatten().filter_map(|phase| phase["phase"].as_str()).collect();
    assert_eq!(phases, ["request", "queue", "assign", "execute", "report", "aggregate", "complete"]);
    assert!(explained["phases"].as_array().into_iter().flatten().all(|phase| phase["at"].is_string()), "{explained}");
    let refused = cluster.pentora(1, &["job", "pause", &job.0])?;
    assert_eq!(refused.code, 1, "{refused:?}");
    Ok(())
}

#[test]
fn a_cancelled_job_sends_nothing_within_two_seconds_on_any_node() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, &[])? else { return Ok(()) };
    wait_for_workers(&cluster, 3)?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/24", "--ports", "80,81", "--rate", "60", "--no-discovery"])?;
    let world = cluster.lab().world_host();
    wait::until("probes", SCAN_MAX, || Ok((!probes_within(world, Duration::from_secs(1))?.is_empty()).then_some(())))?;
    cluster.pentora(3, &["job", "cancel", &job.0])?.ok()?;
    probes_within(world, Duration::from_secs(2))?;
    let late = probes_within(world, Duration::from_secs(3))?;
    assert!(late.is_empty(), "{} probes from 2 s after the end on", late.len());
    Ok(())
}

#[test]
fn a_try_that_takes_too_long_is_taken_back_and_tried_elsewhere_until_its_tries_are_used_up() -> anyhow::Result<()> {
    let file = "workers: {heartbeat_interval: 500ms}\ncoordinator: {worker_failure: {grace_period: 3s}, job_retry: \
                {max_attempts: 2, backoff: fixed}}\n";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pentora.yaml");
    std::fs::write(&path, file)?;
    let path = path.display().to_string();
    let Some(cluster) = cluster(2, &["--config", &path])? else { return Ok(()) };
    let changed = cluster.pentora(2, &["cluster", "settings", "coordinator.job_retry.timeout=3s"])?.ok()?;
    assert!(changed.contains("coordinator.job_retry.timeout=3s\n") && changed.contains("backoff=fixed\n"), "{changed}");
    // Listeners that accept and never say a word: asking them what they are takes far longer.
    let silent = cluster.lab().host(3).within(|| {
        let bound = (8001..8007).map(|port| std::net::TcpListener::bind(("10.88.0.3", port)));
        Ok(bound.collect::<Result<Vec<_>, _>>()?)
    })?;
    let job = Job::submit(&cluster, 1, &["10.88.0.3", "--ports", "8001-8006", "--intensity", "9"])?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!(document["status"], "failed", "{document}");
    let reason = document["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("after 2 tries") && reason.contains("it took longer than 3 s"), "{reason}");
    let events = job.events(&cluster, 1)?;
    let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((of("expired"), of("reassigned"), of("given_up")), (2, 1, 1), "{events:?}");
    let workers: Vec<_> =
        events.iter().filter(|event| event["kind"] == "expired").map(|event| &event["worker"]).collect();
    assert_ne!(workers[0], workers[1], "the second try is another's");
    drop(silent);
    // One that only its own rate makes long is left alone.
    let words = ["10.77.0.1", "--ports", "1-20", "--rate", "4", "--no-discovery"];
    let document = Job::submit(&cluster, 1, &words)?.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");
    Ok(())
}

#[test]
fn what_units_had_settled_of_a_job_is_counted_when_somebody_pauses_or_cancels_it() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, &[])? else { return Ok(()) };
    wait_for_workers(&cluster, 2)?;
    cluster.pentora(1, &["cluster", "settings", "workers.heartbeat_interval=500ms"])?.ok()?;
    let words = ["10.77.0.0/24", "--ports", "80", "--rate", "20", "--no-discovery", "--no-services"];
    // By the leader, and by another that has it of the leader.
    for (asked, order) in [(1, "pause"), (2, "pause"), (2, "cancel")] {
        let job = Job::submit(&cluster, 1, &words)?;
        job.wait_for_progress(&cluster, 1, 40)?;
        let yes: &[&str] = if order == "cancel" { &["--yes"] } else { &[] };
        cluster.pentora(asked, &[&["job", order, &job.0], yes].concat())?.ok()?;
        let stopped = job.document(&cluster, asked)?;
        assert_eq!(stopped["status"], if order == "pause" { "paused" } else { "cancelled" }, "{stopped}");
        let events = job.events(&cluster, asked)?;
        assert!(units_completed(&events).values().all(|count| *count == 1), "{events:?}");
        let score = job.score(&cluster, asked, &cluster.lab().world().truth().of_ports(&[80]))?;
        assert!(score.phantom.is_empty() && score.repeated.is_empty(), "{score}");
        let (targets, found) = (stopped["targets_scanned"].as_u64().unwrap_or(0), score.found);
        // Units take about ten seconds here: none was done.
        assert!((20..256).contains(&targets) && found > 0, "{order}: {found} found in {stopped}");
        if order == "pause" {
            cluster.pentora(1, &["job", "cancel", &job.0, "--yes"])?.ok()?;
            assert_eq!(job.document(&cluster, 1)?["targets_scanned"], targets, "nothing came later");
        }
    }
    Ok(())
}

#[test]
fn a_deep_queue_turns_normal_jobs_away_with_a_time_to_try_again_and_lets_urgent_ones_in() -> anyhow::Result<()> {
    let Some(cluster) = cluster(1, &[])? else { return Ok(()) };
    cluster.pentora(1, &["cluster", "settings", "coordinator.load_balancing.thresholds.max_queue_depth=2"])?.ok()?;
    let waiting = ["10.77.0.1", "--ports", "80", "--require-worker-tag", "x", "--wait-for-worker"];
    for _ in 0..2 {
        Job::submit(&cluster, 1, &waiting)?;
    }
    let ask = Request { method: "GET", path: "/metrics", ..Request::default() };
    let metrics = cluster.api(1, &ask, ANSWER_MAX)?.body;
    let says = |line: &str| metrics.lines().any(|said| said == line);
    assert!(says("pentora_cluster_queue_depth 2") && says("pentora_queue_depth 0"), "none of it is n1's: {metrics}");
    let request = r#"{"targets": ["10.77.0.1"], "ports": "80"}"#;
    let answer = post(&cluster, "/api/v1/scans", request)?;
    assert_eq!((answer.status, &answer.json()?["code"]), (429, &"queue_full".into()), "{}", answer.body);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    for priority in ["high", "critical"] {
        Job::submit(&cluster, 1, &["10.77.0.1", "--ports", "80", "--priority", priority])?;
    }
    let refused = cluster.pentora(1, &["scan", "10.77.0.1", "--ports", "80", "--priority", "low", "--detach"])?;
    assert!(refused.code == 1 && refused.stderr.contains("2 jobs wait already"), "{refused:?}");
    Ok(())
}

#[test]
fn a_preferred_tag_gets_every_small_job_by_default() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster(2, &[])? else { return Ok(()) };
    let token = cluster.token("n3", &[])?;
    cluster.join_with(3, &token, &["--tag", "production"])?;
    wait_for_workers(&cluster, 3)?;
    for address in 1..=6 {
        let target = format!("10.77.0.{address}");
        let words = [&target, "--ports", "80", "--worker-tag", "production", "--no-discovery"];
        let job = Job::submit(&cluster, 1, &words)?;
        let document = job.wait(&cluster, 1, SCAN_MAX)?;
        assert_eq!(document["worker_stats"][0]["worker_id"], "wrk_n3", "{document}");
    }
    Ok(())
}

#[test]
fn a_leader_that_was_frozen_blames_nobody_when_it_wakes() -> anyhow::Result<()> {
    let file = "workers: {heartbeat_interval: 500ms}\ncoordinator: {worker_failure: {grace_period: 2s}}\n";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pentora.yaml");
    std::fs::write(&path, file)?;
    let path = path.display().to_string();
    // With two nodes the one voter leads again whatever happens to it.
    let Some(cluster) = cluster(2, &["--config", &path])? else { return Ok(()) };
    wait_for_workers(&cluster, 2)?;
    let job = Job::submit(&cluster, 1, &["10.77.0.0/24", "--ports", "80,81", "--rate", "40", "--no-discovery"])?;
    wait::until("both workers at work", SCAN_MAX, || {
        Ok((job.document(&cluster, 1)?["active_workers"] == 2).then_some(()))
    })?;
    let leader = cluster.leader()?;
    cluster.node(leader)?.signal(Signal::SIGSTOP)?;
    pass(Duration::from_secs(4))?;
    cluster.node(leader)?.signal(Signal::SIGCONT)?;
    pass(Duration::from_secs(4))?;
    let blamed = job.events(&cluster, 1)?.into_iter().filter(|event| event["kind"] == "worker_failed").count();
    assert_eq!(blamed, 0, "{}", cluster.node(leader)?.log_tail(20));
    Ok(())
}
