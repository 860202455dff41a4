//! Three commands make a mesh, and any node of it takes a request and has the answer.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WORLD_PORTS, WorldOptions, probes_within};
use pentora_tests::wait;
use serde_json::Value;

/// A scan of some seconds ends within this, whatever else the machine does.
const SCAN_MAX: Duration = Duration::from_secs(90);

/// A job of 50 probes per second leaves out five in this time.
const PROBES_MISSED: Duration = Duration::from_millis(100);

fn cluster_beside_a_world(nodes: u8, options: &WorldOptions) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(nodes)? else { return Ok(None) };
    lab.add_world(options)?;
    Cluster::of(lab, nodes.into()).map(Some)
}

fn all_ports() -> String {
    WORLD_PORTS.map(|port| port.to_string()).join(",")
}

#[test]
fn three_nodes_join_by_token_become_voters_and_scan_what_any_of_them_is_asked() -> anyhow::Result<()> {
    let Some(cluster) = cluster_beside_a_world(3, &WorldOptions::default())? else { return Ok(()) };
    let status = cluster.status(2)?;
    assert!(status["term"].as_u64().is_some_and(|term| term > 0), "{status}");
    let names = status["nodes"].as_array().context("nodes")?.iter().filter_map(|node| node["name"].as_str());
    assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(["n1", "n2", "n3"]));

    let follower = *cluster.followers()?.first().context("a follower")?;
    let job = Job::submit(&cluster, follower, &["10.77.0.0/23", "--ports", &all_ports()])?;
    let document = job.wait(&cluster, follower, SCAN_MAX)?;
    assert_eq!(document["status"], "completed", "{document}");
    assert_eq!(document["targets_scanned"], 512, "{document}");

    // Every node folds the same report from the chunks, wherever they are kept.
    for number in 1..=3 {
        let score = job.score(&cluster, number, cluster.lab().world().truth())?;
        assert!(score.is_exact(), "as node {number} reports: {score}");
    }
    let units = units_completed(&job.events(&cluster, 1)?);
    assert!(!units.is_empty() && units.values().all(|times| *times == 1), "{units:?}");
    Ok(())
}

#[test]
fn the_workers_table_and_its_document_name_every_node() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 2)?;
    let list = wait::until("both workers", Duration::from_secs(20), || {
        let list = cluster.pentora(1, &["coordinator", "workers", "list", "--json"])?.json()?;
        Ok(list.as_array().filter(|workers| workers.len() == 2).cloned())
    })?;
    assert!(
        list.iter().all(|worker| worker["worker_id"].as_str().is_some_and(|id| id.starts_with("wrk_"))),
        "{list:?}"
    );
    // The second node may still be catching up; until then it says so.
    let table = wait::until("the second node's answer", Duration::from_secs(20), || {
        Ok(cluster.pentora(2, &["coordinator", "workers", "list"])?.ok().ok())
    })?;
    for column in ["Worker ID", "Status", "Region", "Load", "Uptime"] {
        assert!(table.contains(column), "{column} is not in:\n{table}");
    }
    Ok(())
}

#[test]
fn a_node_that_was_killed_comes_back_by_its_data_directory_alone() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    cluster.node_mut(follower)?.kill()?;
    cluster.restart(follower)?;
    wait::until("an answer of the restarted node", Duration::from_secs(20), || {
        Ok(cluster.status(follower).ok().filter(|status| status["leader"].is_string()))
    })?;
    cluster.wait_for_voters(3)
}

#[test]
fn a_cluster_that_lost_power_as_a_whole_comes_back_with_its_jobs() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 64, ..WorldOptions::default() };
    let Some(mut cluster) = cluster_beside_a_world(3, &options)? else { return Ok(()) };
    let job = Job::submit(&cluster, 1, &["10.77.0.0/26", "--ports", &all_ports()])?;
    job.wait(&cluster, 1, SCAN_MAX)?;
    for number in 1..=3 {
        cluster.node_mut(number)?.kill()?;
    }
    for number in 1..=3 {
        cluster.restart(number)?;
    }
    cluster.leader()?;
    let document = job.wait(&cluster, 2, Duration::from_secs(20))?;
    assert_eq!(document["status"], "completed", "{document}");
    let score = job.score(&cluster, 3, cluster.lab().world().truth())?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn leadership_moves_when_asked_and_writes_go_on() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 3)?;
    let before = cluster.leader()?;
    cluster.pentora(before, &["cluster", "transfer-leadership"])?.ok()?;
    wait::until("another leader", Duration::from_secs(10), || Ok((cluster.leader()? != before).then_some(())))?;
    cluster.token("after-the-transfer", &[])?;
    Ok(())
}

#[test]
fn a_request_repeated_with_its_key_through_another_node_makes_one_job() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let cluster = Cluster::of(lab, 3)?;
    let request = Request {
        method: "POST",
        path: "/api/v1/scans",
        body: Some(r#"{"targets": ["10.88.0.1"], "ports": "1"}"#),
        headers: &[("Idempotency-Key", "one-and-the-same")],
        token: None,
    };
    let mut jobs = BTreeSet::new();
    for number in 1..=3 {
        let answer = cluster.api(number, &request, Duration::from_secs(5))?;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(answer.header("pentora-index").is_some() && answer.header("location").is_some(), "{answer:?}");
        jobs.insert(answer.json()?["job_id"].as_str().context("a job id")?.to_owned());
    }
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    Ok(())
}

#[test]
fn the_api_answers_only_to_those_with_a_token() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let ask = |path, token| {
        let request = Request { method: "GET", path, token, ..Request::default() };
        cluster.lab().host(1).request(pentora_tests::cluster::API, &request, Duration::from_secs(5))
    };
    for path in ["/api/v1/jobs", "/api/v1/workers", "/api/v1/cluster", "/api/v1/worker-tokens"] {
        assert_eq!(ask(path, None)?.status, 401, "{path}");
        assert_eq!(ask(path, Some("guessed"))?.status, 401, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(ask(path, None)?.status, 200, "{path}");
    }
    let missing = cluster.api(
        1,
        &Request { method: "GET", path: "/api/v1/jobs/job-00ffff", ..Request::default() },
        Duration::from_secs(5),
    )?;
    assert_eq!(
        (missing.status, missing.header("content-type")),
        (404, Some("application/problem+json")),
        "{missing:?}"
    );
    assert!(missing.json()?["code"].is_string(), "{missing:?}");
    Ok(())
}

#[test]
fn a_cancelled_job_ends_as_cancelled_and_stops_scanning() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() };
    let Some(cluster) = cluster_beside_a_world(1, &options)? else { return Ok(()) };
    let job = Job::submit(&cluster, 1, &["10.77.0.0/22", "--ports", "80,81", "--rate", "50", "--no-discovery"])?;
    cluster.lab().wait_for_probes(1, 10)?;
    cluster.pentora(1, &["job", "cancel", &job.0])?.ok()?;
    let document = job.wait(&cluster, 1, Duration::from_secs(10))?;
    assert_eq!(document["status"], "cancelled", "{document}");
    let world = cluster.lab().world_host();
    // The worker is told over its session; from then on no probe comes.
    wait::until("a time without a probe", Duration::from_secs(2), || {
        Ok(probes_within(world, PROBES_MISSED)?.is_empty().then_some(()))
    })?;
    let probes = probes_within(world, Duration::from_secs(2))?;
    assert!(probes.is_empty(), "the cancelled job sends on: {probes:?}");
    Ok(())
}

#[test]
fn a_node_asked_to_end_does_so_in_order_and_hands_its_work_back() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() };
    let Some(mut cluster) = cluster_beside_a_world(3, &options)? else { return Ok(()) };
    let follower = *cluster.followers()?.first().context("a follower")?;
    let leader = cluster.leader()?;
    let job = Job::submit(&cluster, leader, &["10.77.0.0/22", "--ports", "80,81", "--rate", "300", "--no-discovery"])?;
    cluster.lab().wait_for_probes(follower, 50)?;
    cluster.node_mut(follower)?.stop(Duration::from_secs(30))?;
    let document: Value = job.wait(&cluster, leader, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &1024.into()), "{document}");
    let score = job.score(&cluster, leader, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}
