//! Drills on a live cluster: each is ordered on a node that stays up, measures what comes of it, and loses nothing; nobody
//! without an administrator's token orders one.

use std::time::Duration;

use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

const SCAN_MAX: Duration = Duration::from_secs(120);
const TARGETS: u64 = 1024;

/// Three members and a world in which every address answers.
fn cluster() -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    Cluster::of(lab, 3).map(Some)
}

/// A field that holds a number.
fn number(document: &Value, field: &str) -> Option<u64> {
    document.get(field).and_then(Value::as_u64)
}

/// A scan of about ten seconds on all nodes, in its middle.
fn scan(cluster: &Cluster, asked: usize) -> anyhow::Result<Job> {
    let words = ["10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery", "--no-services"];
    let job = Job::submit(cluster, asked, &words)?;
    wait::until("workers of the job", SCAN_MAX, || {
        let workers = number(&job.document(cluster, asked)?, "active_workers");
        Ok(workers.filter(|workers| *workers >= 2).map(drop))
    })?;
    Ok(job)
}

/// What a drill measured, given on `asked`; it succeeded, and lost nothing.
fn drill(cluster: &Cluster, asked: usize, words: &[&str]) -> anyhow::Result<Value> {
    let measured = cluster.pentora(asked, &[&["cluster", "drill"], words, &["--yes", "--json"]].concat())?.json()?;
    println!("{measured}");
    assert_eq!(measured.get("lost"), Some(&serde_json::json!([])), "{measured}");
    assert!(number(&measured, "back_ms") >= number(&measured, "for_ms"), "{measured}");
    assert!(number(&measured, "index_kept") > Some(0) && number(&measured, "writes") > Some(0), "{measured}");
    Ok(measured)
}

/// The job ends with all it should find.
fn assert_whole(cluster: &Cluster, job: &Job, asked: usize) -> anyhow::Result<()> {
    let document = job.wait(cluster, asked, SCAN_MAX)?;
    assert_eq!(document.get("status"), Some(&"completed".into()), "{document}");
    assert_eq!(number(&document, "targets_scanned"), Some(TARGETS), "{document}");
    let score = job.score(cluster, asked, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn the_leader_is_killed_another_leads_and_the_process_is_back_by_itself() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let asked = cluster.followers()?[0];
    let itself = cluster.pentora(leader, &["cluster", "drill", "kill-leader", "--yes"])?;
    assert!(itself.code == 2 && itself.stderr.contains("could not watch itself"), "{itself:?}");
    let unasked = cluster.pentora(asked, &["cluster", "drill", "kill-leader"])?;
    assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(cluster.leader()?, leader, "nothing was done");

    let job = scan(&cluster, asked)?;
    let process = cluster.node(leader)?.id()?;
    let measured = drill(&cluster, asked, &["kill-leader", "--for", "5s"])?;
    let next = &measured["next_leader"];
    assert!(next["name"] != format!("n{leader}") && next["after_ms"].as_u64() < Some(5_000), "{measured}");
    assert!(measured["next_write_ms"].as_u64() < Some(5_000), "written before it was back: {measured}");
    assert_eq!(cluster.node(leader)?.id()?, process, "no supervisor has anything to do");
    let log = cluster.node(leader)?.log();
    assert!(log.contains("ended for a drill; down for so long"), "{log}");
    assert_whole(&cluster, &job, asked)
}

#[test]
fn a_worker_is_killed_and_its_units_are_counted_once() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let body = Some(r#"{"heartbeat_ms": 500, "grace_ms": 2000}"#);
    let change = Request { method: "PATCH", path: "/api/v1/cluster/settings", body, ..Request::default() };
    assert!(cluster.api(leader, &change, Duration::from_secs(10))?.status < 300);
    // One worker at a time, so that the others are free: one that has work holds two units, and takes a third when it has room.
    let words =
        ["10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery", "--no-services", "--workers", "1"];
    let job = Job::submit(&cluster, leader, &words)?;
    let holder = wait::until("a worker with a unit", SCAN_MAX, || {
        let nodes = cluster.pentora(leader, &["nodes", "list", "--json"])?.json()?;
        let busy = nodes.as_array().and_then(|all| all.iter().find(|node| node["load"]["running"].as_u64() > Some(0)));
        Ok(busy.and_then(|node| node["name"].as_str()).map(str::to_owned))
    })?;
    if holder == format!("n{leader}") {
        cluster.pentora(leader, &["cluster", "transfer-leadership"])?.ok()?;
    }
    let leader = wait::until("a leader beside it", SCAN_MAX, || {
        Ok(Some(cluster.leader()?).filter(|leader| holder != format!("n{leader}")))
    })?;
    let measured = drill(&cluster, leader, &["kill-worker", "--worker", &holder, "--for", "6s"])?;
    assert_eq!(measured["nodes"], serde_json::json!([holder]), "{measured}");
    assert_eq!(measured["next_leader"], Value::Null, "the leader was not lost: {measured}");
    let (taken, given) = (&measured["units_taken_back"], &measured["units_given_on"]);
    assert!(taken["count"].as_u64() >= Some(1) && given["count"].as_u64() >= Some(1), "{measured}");
    assert!(given["first_after_ms"].as_u64() < Some(6_000), "before it was back: {measured}");
    assert_whole(&cluster, &job, leader)
}

#[test]
fn a_region_is_cut_off_with_the_leader_in_it_and_comes_back() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let asked = cluster.followers()?[0];
    cluster.pentora(asked, &["nodes", "set", &format!("n{leader}"), "--region", "eu"])?.ok()?;
    let nowhere = cluster.pentora(asked, &["cluster", "drill", "isolate", "--region", "mars", "--yes"])?;
    assert!(nowhere.code == 2 && nowhere.stderr.contains("mars"), "{nowhere:?}");
    let job = scan(&cluster, asked)?;
    let measured = drill(&cluster, asked, &["isolate", "--region", "eu", "--for", "8s"])?;
    assert_eq!(measured["nodes"], serde_json::json!([format!("n{leader}")]), "{measured}");
    let next = &measured["next_leader"];
    assert!(next["name"] != format!("n{leader}") && next["after_ms"].as_u64() < Some(8_000), "{measured}");
    let log = cluster.node(leader)?.log();
    assert!(log.contains("the mesh is cut for a drill") && !log.contains("ended for a drill"), "{log}");
    assert_whole(&cluster, &job, asked)
}

/// The fields of how long writes took.
#[expect(clippy::indexing_slicing, reason = "what a JSON value does not have is null")]
fn latency(measured: &Value, when: &str) -> (u64, f64, f64) {
    let field = |name: &str| &measured[when][name];
    (
        field("writes").as_u64().unwrap_or(0),
        field("p50_ms").as_f64().unwrap_or(-1.0),
        field("max_ms").as_f64().unwrap_or(-1.0),
    )
}

#[test]
fn the_leaders_disk_is_slow_for_a_while_and_what_comes_of_it_is_measured() -> anyhow::Result<()> {
    let Some(mut cluster) = cluster()? else { return Ok(()) };
    let leader = cluster.leader()?;
    let name = format!("n{leader}");
    let unasked = cluster.pentora(leader, &["cluster", "drill", "slow-disk"])?;
    assert!(unasked.code == 2 && unasked.stderr.contains("--yes"), "{unasked:?}");
    let job = scan(&cluster, leader)?;
    // Given on the node itself, which stays up.
    let words = ["cluster", "drill", "slow-disk", "--delay", "300ms", "--for", "6s", "--yes", "--json"];
    let measured = cluster.pentora(leader, &words)?.json()?;
    println!("{measured}");
    assert_eq!(measured["lost"], serde_json::json!([]), "{measured}");
    assert_eq!((&measured["node"], &measured["delay_ms"]), (&name.as_str().into(), &300.into()), "{measured}");
    for when in ["before", "during", "after"] {
        let (writes, p50_ms, max_ms) = latency(&measured, when);
        assert!(writes > 0 && p50_ms > 0.0 && max_ms >= p50_ms, "{when}: {measured}");
    }
    assert!(measured["recovered_after_ms"].is_u64(), "{measured}");
    let log = cluster.node(leader)?.log();
    assert!(log.contains("the log's disk is slow for a drill") && !log.contains("ended for a drill"), "{log}");
    assert_whole(&cluster, &job, leader)?;

    // Two of three must be there to write: with one gone, no disk of the others is made slow, and a restart ends it.
    let (away, other) = (cluster.followers()?[0], cluster.followers()?[1]);
    let slow = r#"{"fault": "slow_disk", "for_ms": 300000, "delay_ms": 5000}"#;
    let path = format!("/api/v1/cluster/nodes/n{other}/fault");
    let order = Request { method: "POST", path: &path, body: Some(slow), ..Request::default() };
    let answer = cluster.api(leader, &order, Duration::from_secs(10))?;
    assert_eq!(answer.status, 202, "{}", answer.body);
    cluster.restart(other)?;
    cluster.wait_for_voters(3)?;
    cluster.node_mut(away)?.kill()?;
    let refused = wait::until("a quorum that can lose nobody", SCAN_MAX, || {
        let ran = cluster.pentora(leader, &["cluster", "drill", "slow-disk", "--for", "1s", "--yes"])?;
        Ok((ran.code == 4).then_some(ran))
    })?;
    assert!(refused.stderr.contains("cannot do without"), "{refused:?}");
    let fast = |limit: Duration| {
        let write = Request { method: "GET", path: "/api/v1/cluster/empty-write", ..Request::default() };
        let begun = std::time::Instant::now();
        let answer = cluster.api(leader, &write, limit)?;
        anyhow::ensure!(answer.status == 200, "{}", answer.body);
        anyhow::Ok(begun.elapsed())
    };
    let took = fast(Duration::from_secs(10))?;
    assert!(took < Duration::from_secs(5), "its next process knows nothing of it: {took:?}");
    Ok(())
}

#[test]
fn all_are_restarted_at_once_and_go_on_where_they_were_and_strangers_order_nothing() -> anyhow::Result<()> {
    let Some(cluster) = cluster()? else { return Ok(()) };
    let fault = r#"{"fault": "kill", "for_ms": 1000}"#;
    let ask = |token: Option<&str>, name: &str, body: &str| {
        let path = format!("/api/v1/cluster/nodes/{name}/fault");
        let request = Request { method: "POST", path: &path, token, body: Some(body), headers: &[] };
        cluster.lab().host(1).request(pentora_tests::cluster::API, &request, Duration::from_secs(10))
    };
    assert_eq!(ask(None, "n2", fault)?.status, 401);
    assert_eq!(ask(Some("pna_wrong"), "n2", fault)?.status, 401);
    let admin = std::fs::read_to_string(cluster.data_dir(1).join("admin.token"))?;
    for (name, body, status) in [
        ("nobody", fault, 404),
        ("n2", r#"{"fault": "kill", "for_ms": 0}"#, 400),
        ("n2", r#"{"fault": "kill", "for_ms": 300001}"#, 400),
        ("n2", r#"{"fault": "kill", "for_ms": 1000, "after_ms": 60001}"#, 400),
        ("n2", r#"{"fault": "kill", "for_ms": 1000, "from": ["n1"]}"#, 400),
        ("n2", r#"{"fault": "melt", "for_ms": 1000}"#, 400),
        ("n2", r#"{"fault": "slow_disk", "for_ms": 1000}"#, 400),
        ("n2", r#"{"fault": "slow_disk", "for_ms": 1000, "delay_ms": 5001}"#, 400),
        ("n2", r#"{"fault": "slow_disk", "for_ms": 1000, "delay_ms": 1, "from": ["n1"]}"#, 400),
        ("n2", r#"{"fault": "cut", "for_ms": 1000, "delay_ms": 1}"#, 400),
        ("n2", r#"{"fault": "cut", "for_ms": 1000, "from": ["nobody"]}"#, 404),
    ] {
        let answer = ask(Some(admin.trim()), name, body)?;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    // Calls to a node that began anew go over none of the streams from before, which would take no order.
    drill(&cluster, 2, &["kill-worker", "--worker", "n3", "--for", "1s"])?;
    let job = scan(&cluster, 2)?;
    let measured = drill(&cluster, 2, &["restart-all"])?;
    assert_eq!(measured["nodes"], serde_json::json!(["n1", "n2", "n3"]), "{measured}");
    assert!(measured["next_leader"]["after_ms"].as_u64() > Some(2_000), "nobody led meanwhile: {measured}");
    for number in 1..=3 {
        assert!(cluster.node(number)?.log().contains("ended for a drill; down for so long"), "n{number}");
    }
    assert_whole(&cluster, &job, 2)
}
