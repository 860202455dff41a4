//! Nodes die, freeze and lose each other in the middle of a scan: nothing is lost, nothing is counted twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions, most_within, probes_during};
use pentora_tests::wait;

const TARGETS: u64 = 1024;
const NETWORK: &str = "10.77.0.0/22";

/// The scan takes about ten seconds undisturbed, and must end in the end.
const SCAN_MAX: Duration = Duration::from_secs(120);

/// Probes after which a node is in the middle of its share of a scan, which is some 700 of 2,048.
const IN_THE_MIDDLE: usize = 100;

/// Whoever asks for what a majority has to decide learns within this that there is none: the contract's time.
const QUORUM_LOST_WITHIN: Duration = Duration::from_secs(2);

/// Three nodes, and a world in which every address answers.
fn cluster() -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    Cluster::of(lab, 3).map(Some)
}

/// A scan slow enough to be disturbed.
fn submit(cluster: &Cluster, number: usize) -> anyhow::Result<Job> {
    Job::submit(cluster, number, &[NETWORK, "--ports", "80,81", "--rate", "200", "--no-discovery"])
}

/// The job ends complete, its result is the truth, and every unit was counted once.
fn assert_nothing_lost_or_doubled(cluster: &Cluster, job: &Job, number: usize) -> anyhow::Result<()> {
    let document = job.wait(cluster, number, SCAN_MAX)?;
    let (status, scanned) = (document.get("status"), document.get("targets_scanned"));
    assert_eq!((status, scanned), (Some(&"completed".into()), Some(&TARGETS.into())), "{document}");
    let score = job.score(cluster, number, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    let units = units_completed(&job.events(cluster, number)?);
    assert!(!units.is_empty() && units.values().all(|times| *times == 1), "{units:?}");
    Ok(())
}

#[test]
fn the_leader_killed_in_the_middle_of_a_scan_loses_nothing() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let job = submit(&cluster, follower)?;
    cluster.lab().wait_for_probes(leader, IN_THE_MIDDLE)?;
    cluster.node_mut(leader)?.kill()?;
    assert_nothing_lost_or_doubled(&cluster, &job, follower)
}

#[test]
fn the_cap_of_a_network_holds_over_all_nodes_and_through_a_change_of_leader() -> anyhow::Result<()> {
    const CAP: usize = 60;
    let Some(cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let words = [NETWORK, "--ports", "80,81", "--network-rate", &CAP.to_string(), "--no-discovery"];
    let job = Job::submit(&cluster, follower, &words)?;
    cluster.lab().wait_for_probes(leader, IN_THE_MIDDLE)?;
    // What the world sees of the nodes that are left, their questions for services included.
    let (_ended, probes) = probes_during(cluster.lab().world_host(), || {
        cluster.node(leader)?.signal(Signal::SIGKILL)?;
        job.wait(&cluster, follower, SCAN_MAX)
    })?;
    assert_nothing_lost_or_doubled(&cluster, &job, follower)?;
    let mut networks: BTreeMap<[u8; 3], Vec<Duration>> = BTreeMap::new();
    for (time, address) in &probes {
        let [a, b, c, _] = address.octets();
        networks.entry([a, b, c]).or_default().push(*time);
    }
    let most: Vec<usize> = networks.values().map(|times| most_within(times, Duration::from_secs(1))).collect();
    assert!(most.len() == 4 && most.iter().all(|most| *most <= CAP + CAP / 20 + 1), "{most:?} in a second");
    Ok(())
}

#[test]
fn a_worker_killed_in_the_middle_of_a_scan_loses_nothing() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let worker = *cluster.followers()?.first().context("a follower")?;
    let job = submit(&cluster, leader)?;
    cluster.lab().wait_for_probes(worker, IN_THE_MIDDLE)?;
    cluster.node_mut(worker)?.kill()?;
    assert_nothing_lost_or_doubled(&cluster, &job, leader)
}

#[test]
fn a_worker_frozen_past_its_lease_is_fenced_off_and_counts_nothing_twice() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let worker = *cluster.followers()?.first().context("a follower")?;
    let job = submit(&cluster, leader)?;
    cluster.lab().wait_for_probes(worker, IN_THE_MIDDLE)?;
    cluster.node(worker)?.signal(Signal::SIGSTOP)?;
    let ended = job.wait(&cluster, leader, SCAN_MAX);
    cluster.node(worker)?.signal(Signal::SIGCONT)?;
    ended?;
    assert_nothing_lost_or_doubled(&cluster, &job, leader)
}

#[test]
fn a_leader_cut_off_in_the_middle_of_a_scan_is_replaced_and_follows_when_it_is_back() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let old = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let job = submit(&cluster, follower)?;
    cluster.lab().wait_for_probes(old, IN_THE_MIDDLE)?;
    for other in (1..=3).filter(|other| *other != old) {
        cluster.lab().cut(old, other)?;
    }
    let new = wait::until("another leader", Duration::from_secs(20), || {
        let status = cluster.status(follower).ok();
        let name = status.and_then(|status| status["leader"].as_str().map(str::to_owned));
        Ok(name.filter(|name| *name != format!("n{old}")))
    })?;
    cluster.lab().heal()?;
    assert_nothing_lost_or_doubled(&cluster, &job, follower)?;
    wait::until("the old leader following", Duration::from_secs(20), || {
        let status = cluster.status(old).ok();
        Ok(status.filter(|status| status["leader"].is_string() && status["leader"] != format!("n{old}")))
    })
    .with_context(|| format!("{new} leads"))?;
    Ok(())
}

#[test]
fn without_a_quorum_writes_say_so_at_once_and_with_one_they_go_on() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let survivor = *cluster.followers()?.first().context("a follower")?;
    let others: Vec<usize> = (1..=3).filter(|number| *number != survivor).collect();
    for number in &others {
        cluster.node_mut(*number)?.kill()?;
    }
    let body = r#"{"targets": ["10.88.0.1"], "ports": "1"}"#;
    let request = Request { method: "POST", path: "/api/v1/scans", body: Some(body), ..Request::default() };
    // What it answers while it still believes in the dead leader is a refusal as well, but may have another word.
    wait::until("the survivor to miss its quorum", Duration::from_secs(10), || {
        let answer = cluster.api(survivor, &request, Duration::from_secs(10))?;
        ensure!(answer.status != 202, "one of three accepts: {answer:?}");
        Ok((answer.json()?["code"] == "quorum_lost").then_some(()))
    })?;
    let asked = Instant::now();
    let answer = cluster.api(survivor, &request, Duration::from_secs(10))?;
    let took = asked.elapsed();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()?["code"], "quorum_lost", "{answer:?}");
    assert!(took <= QUORUM_LOST_WITHIN, "the refusal took {took:?}");
    for (method, path, body) in [
        ("DELETE", "/api/v1/jobs/job-000001", ""),
        ("POST", "/api/v1/workers/n1/drain", "{}"),
        ("POST", "/api/v1/scopes", r#"{"networks": ["203.0.113.0/24"], "reason": "r"}"#),
        ("PATCH", "/api/v1/cluster/settings", "{}"),
        ("POST", "/api/v1/worker-tokens", r#"{"name": "x"}"#),
        ("POST", "/api/v1/cluster/nodes/n1/demote", "{}"),
        ("GET", "/api/v1/jobs?consistency=linearizable", ""),
    ] {
        let request = Request { method, path, body: Some(body).filter(|body| !body.is_empty()), ..Request::default() };
        let asked = Instant::now();
        let answer = cluster.api(survivor, &request, Duration::from_secs(10))?;
        let took = asked.elapsed();
        assert_eq!((answer.status, &answer.json()?["code"]), (503, &"quorum_lost".into()), "{path}: {answer:?}");
        assert!(took <= QUORUM_LOST_WITHIN, "{path}: the refusal took {took:?}");
    }
    let stale = Request { method: "GET", path: "/api/v1/jobs?consistency=stale", ..Request::default() };
    assert_eq!(cluster.api(survivor, &stale, Duration::from_secs(10))?.status, 200, "what is known is told");
    // The command line tells the same by its exit code.
    for words in [
        &["scan", "10.88.0.1", "--ports", "1", "--detach"][..],
        &["scope", "add", "203.0.113.0/24", "--reason", "r"],
        &["coordinator", "worker-token", "create", "--name", "x"],
    ] {
        let asked = Instant::now();
        let said = cluster.pentora(survivor, words)?.refused(5)?;
        let took = asked.elapsed();
        assert!(said.contains("no majority"), "{said}");
        assert!(took <= QUORUM_LOST_WITHIN, "{words:?}: it took {took:?}");
    }

    cluster.restart(*others.first().context("a dead node")?)?;
    wait::until("a write", Duration::from_secs(20), || {
        Ok(cluster.api(survivor, &request, Duration::from_secs(5)).ok().filter(|answer| answer.status == 202))
    })?;
    Ok(())
}

#[test]
fn a_leader_asked_to_end_hands_over_and_gives_its_units_back_at_once() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let job = submit(&cluster, follower)?;
    cluster.lab().wait_for_probes(leader, IN_THE_MIDDLE)?;
    let took = cluster.node_mut(leader)?.stop(Duration::from_secs(25))?;
    assert!(took < Duration::from_secs(10), "it took {took:?} to end");
    let log = cluster.node(leader)?.log();
    assert!(log.contains("leadership handed over") && log.contains("done=true"), "{log}");
    assert_nothing_lost_or_doubled(&cluster, &job, follower)?;
    let events = job.events(&cluster, follower)?;
    let released =
        events.iter().any(|event| event["kind"] == "released" && event["worker"] == format!("wrk_n{leader}"));
    assert!(released, "its units did not wait for a time-out: {events:?}");
    Ok(())
}
