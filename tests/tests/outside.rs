//! Nodes that only scan stand outside the log: they need one connection outwards, survive the loss of their gateway and of
//! the leader in the middle of a unit, keep neither log nor state, and become members and back by the cluster's word.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use pentora_tests::cluster::{API, Cluster, Job, units_completed};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);
const SCAN_MAX: Duration = Duration::from_secs(120);

/// Has workers beat often enough to tell how far a unit is, so that a fault comes in its middle.
fn beat_often(cluster: &Cluster) -> anyhow::Result<()> {
    let body = Some(r#"{"heartbeat_ms": 500, "grace_ms": 30000}"#);
    let change = Request { method: "PATCH", path: "/api/v1/cluster/settings", body, ..Request::default() };
    let answer = cluster.api(1, &change, Duration::from_secs(10))?;
    anyhow::ensure!(answer.status < 300, "{} {}", answer.status, answer.body);
    Ok(())
}

fn settings(folder: &tempfile::TempDir, text: &str) -> anyhow::Result<String> {
    let path = folder.path().join("settings.yaml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn worker(cluster: &Cluster, asked: usize, name: &str) -> anyhow::Result<Option<Value>> {
    let list = cluster.pentora(asked, &["nodes", "list", "--json"])?.json()?;
    Ok(list.as_array().and_then(|all| all.iter().find(|worker| worker["name"] == name).cloned()))
}

fn wait_until_idle(cluster: &Cluster, asked: usize, name: &str) -> anyhow::Result<()> {
    wait::until(&format!("{name} without work"), SOON, || {
        let seen = worker(cluster, asked, name).ok().flatten();
        Ok(seen.filter(|worker| worker["status"] == "Idle").map(drop))
    })
}

/// The member that a node was shown the log by last.
fn gateway(cluster: &Cluster, number: usize) -> anyhow::Result<Option<usize>> {
    let log = cluster.node(number)?.log();
    let shown = log.lines().rev().find(|line| line.contains("shown the log by a gateway"));
    let name = shown.and_then(|line| line.split("name=").nth(1)).map(|rest| {
        let digits = |c: &char| c.is_ascii_digit();
        rest.trim_start_matches(|c: char| !c.is_ascii_digit()).chars().take_while(digits).collect::<String>()
    });
    Ok(name.and_then(|name| name.parse().ok()))
}

fn role(cluster: &Cluster, asked: usize, name: &str) -> Option<String> {
    let status = &cluster.status(asked).ok()?;
    let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?;
    Some(node["role"].as_str()?.to_owned())
}

fn files_below(folder: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[test]
fn a_scanner_tells_an_autoscaler_how_much_waits_and_what_of_it_is_its_own() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 16, alive_percent: 100, ..WorldOptions::default() })?;
    let folder = tempfile::tempdir()?;
    let file = settings(&folder, "server: {mode: worker}\nworker: {tags: [dmz]}\n")?;
    let mut cluster = Cluster::of(lab, 1)?;
    let token = cluster.token("scanners", &["--role", "scanner", "--uses", "2"])?;
    cluster.join_with(2, &token, &["--config", &file])?;
    cluster.join_with(3, &token, &["--config", &file])?;
    wait_until_idle(&cluster, 1, "n2")?;
    wait_until_idle(&cluster, 1, "n3")?;
    // One that nobody may take, and one that the scanners alone may and that takes them minutes.
    for tag in ["dmz2", "dmz"] {
        let words = ["10.77.0.0/28", "--ports", "80-99", "--no-discovery", "--no-services", "--rate", "2"];
        let needs = ["--require-worker-tag", tag, "--wait-for-worker"];
        Job::submit(&cluster, 1, &[&words[..], &needs[..]].concat())?;
    }
    let ask = Request { method: "GET", path: "/metrics", ..Request::default() };
    let figure = |asked: usize, name: &str| -> anyhow::Result<Option<f64>> {
        let body = cluster.api(asked, &ask, Duration::from_secs(10))?.body;
        Ok(body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()))
    };
    wait::until("every node to say the same of the whole, and the scanners together of their own", SOON, || {
        let whole = |asked| figure(asked, "pentora_cluster_queue_depth ");
        let targets = |asked| figure(asked, "pentora_cluster_targets_waiting ");
        let own = |asked| Ok::<_, anyhow::Error>(figure(asked, "pentora_queue_depth ")?.unwrap_or(0.0));
        let is_whole = [1, 2, 3].iter().all(|asked| {
            let says =
                |of: anyhow::Result<Option<f64>>, least| of.is_ok_and(|said| said.is_some_and(|said| said >= least));
            says(whole(*asked), 2.0) && says(targets(*asked), 16.0)
        });
        // What needs a tag that none has is nobody's.
        let (first, second) = (own(2)?, own(3)?);
        let is_shared = first > 0.0 && (first - second).abs() < 1e-6 && own(1)? == 0.0;
        Ok((is_whole && is_shared).then_some(()))
    })?;
    assert_eq!(figure(3, "pentora_jobs_open ")?, Some(2.0));
    assert_eq!(figure(3, "pentora_nodes{status=\"active\"} ")?, Some(3.0), "all nodes, and not those that it is shown");
    Ok(())
}

#[test]
fn a_node_that_can_only_open_connections_scans_through_the_loss_of_its_gateway_and_of_the_leader() -> anyhow::Result<()>
{
    let Some(mut lab) = Lab::start(4)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    lab.outbound_only(4)?;
    let folder = tempfile::tempdir()?;
    let file = settings(&folder, "server: {mode: worker}\nworker: {tags: [dmz]}\n")?;
    let mut cluster = Cluster::of(lab, 3)?;
    beat_often(&cluster)?;
    let token = cluster.token("n4", &["--role", "scanner"])?;
    cluster.join_with(4, &token, &["--config", &file])?;
    wait_until_idle(&cluster, 1, "n4")?;
    wait::until("a voter of three", SOON, || Ok(cluster.wait_for_voters(3).ok()))?;
    assert_eq!(role(&cluster, 4, "n4").as_deref(), Some("scanner"), "asked of itself, a member answers");
    let ready = cluster.lab().host(4).request(
        pentora_tests::cluster::API,
        &Request { method: "GET", path: "/readyz", ..Request::default() },
        Duration::from_secs(5),
    )?;
    assert_eq!(ready.status, 200, "{}", ready.body);

    // Ordered from the node itself; a job without it has nobody.
    let words = ["10.77.0.0/24", "--ports", "80,81", "--rate", "30", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, 4, &[&words[..], &["--require-worker-tag", "dmz"]].concat())?;
    job.wait_for_progress(&cluster, 4, 8)?;
    let first = gateway(&cluster, 4)?.context("a gateway")?;
    cluster.node_mut(first)?.kill()?;
    wait::until("another gateway", SOON, || Ok(gateway(&cluster, 4)?.filter(|now| *now != first)))?;
    job.wait_for_progress(&cluster, 4, 40)?;
    cluster.restart(first)?;
    wait::until("the restarted member to follow", SOON, || Ok(cluster.status(first).ok()))?;
    let leader = cluster.leader()?;
    cluster.node_mut(leader)?.kill()?;
    let asked = (1..=3).find(|number| *number != leader).context("another member")?;
    let document = job.wait(&cluster, 4, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &256.into()), "{document}");
    let score = job.score(&cluster, asked, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    let events = job.events(&cluster, asked)?;
    assert!(units_completed(&events).values().all(|count| *count == 1), "{events:?}");
    let lost: Vec<&Value> =
        events.iter().filter(|event| event["kind"] == "expired" || event["kind"] == "reassigned").collect();
    assert!(lost.is_empty(), "no unit was begun anew: {lost:?}");

    let data = cluster.data_dir(4);
    let files = files_below(&data)?;
    assert!(!data.join("raft").exists() && !data.join("feeds").exists(), "{files:?}");
    let chunks =
        data.join("hand-in").is_dir().then(|| files_below(&data.join("hand-in"))).transpose()?.unwrap_or_default();
    assert!(chunks.is_empty(), "everything was handed in: {chunks:?}");
    let member = cluster.node(asked)?.usage()?.resident_mb;
    println!("resident: scanner {:.1} MB, member {member:.1} MB", cluster.node(4)?.usage()?.resident_mb);

    // Away and back, by what it knows of the members; the one it joined through may be down.
    cluster.node_mut(4)?.stop(Duration::from_secs(30))?;
    wait::until("its goodbye", SOON, || {
        Ok(worker(&cluster, asked, "n4").ok().flatten().filter(|worker| worker["status"] == "Left").map(drop))
    })?;
    cluster.restart_with(4, &["--config", &file])?;
    wait_until_idle(&cluster, asked, "n4")
}

#[test]
fn a_gateway_that_is_frozen_is_left_and_results_wait_in_the_spool_while_there_is_no_majority() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let folder = tempfile::tempdir()?;
    let file = settings(&folder, "server: {mode: worker}\nworker: {tags: [dmz]}\n")?;
    let mut cluster = Cluster::of(lab, 2)?;
    beat_often(&cluster)?;
    let token = cluster.token("n3", &["--role", "scanner"])?;
    cluster.join_with(3, &token, &["--config", &file])?;
    wait_until_idle(&cluster, 1, "n3")?;
    // n1 is the only voter. While it stands still nothing can be counted; the unit is scanned to its end all the same.
    let words = ["10.77.0.0/26", "--ports", "80,81", "--rate", "8", "--no-discovery", "--no-services"];
    let job = Job::submit(&cluster, 3, &[&words[..], &["--require-worker-tag", "dmz"]].concat())?;
    job.wait_for_progress(&cluster, 3, 4)?;
    cluster.node(1)?.signal(Signal::SIGSTOP)?;
    wait::until("the results in the spool", SOON, || {
        let spool = cluster.data_dir(3).join("hand-in");
        Ok(files_below(&spool).ok().filter(|files| !files.is_empty()).map(drop))
    })?;
    let refused = cluster.pentora(3, &["job", "pause", &job.0])?;
    assert_ne!(refused.code, 0, "{refused:?}");
    // What the other member has is told all the same, with its age.
    wait::until("a list through the member that is left", SOON, || {
        let listed = cluster.pentora(3, &["job", "list"])?;
        Ok((listed.code == 0 && listed.stdout.contains("Running, ")).then_some(()))
    })?;
    let told = wait::until("a stale answer through the member that is left", SOON, || {
        let path = format!("/api/v1/jobs/{}?consistency=stale", job.0);
        let stale = Request { method: "GET", path: &path, ..Request::default() };
        let answer = cluster.api(3, &stale, Duration::from_secs(10))?;
        Ok((answer.status == 200).then_some(answer))
    })?;
    assert_eq!(told.json()?["job_id"], job.0.as_str(), "{told:?}");
    let fresh = Request { method: "GET", path: "/api/v1/jobs?consistency=linearizable", ..Request::default() };
    assert_eq!(cluster.api(3, &fresh, Duration::from_secs(10))?.status, 503);
    cluster.node(1)?.signal(Signal::SIGCONT)?;
    let document = job.wait(&cluster, 3, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &64.into()), "{document}");
    let events = job.events(&cluster, 1)?;
    assert!(units_completed(&events).values().all(|count| *count == 1), "{events:?}");
    wait::until("an empty spool", SOON, || {
        Ok(files_below(&cluster.data_dir(3).join("hand-in"))?.is_empty().then_some(()))
    })
}

#[test]
fn a_member_that_is_to_scan_only_gives_up_its_log_and_follows_one_again_when_it_is_a_member_again() -> anyhow::Result<()>
{
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let file = settings(&folder, "server: {mode: worker}\n")?;
    let mut cluster = Cluster::of(lab, 2)?;
    let token = cluster.token("n3", &[])?;
    cluster.join_with(3, &token, &["--config", &file])?;
    wait_until_idle(&cluster, 1, "n2")?;
    wait_until_idle(&cluster, 1, "n3")?;
    let log = cluster.data_dir(2).join("raft");
    assert!(log.is_dir());
    cluster.pentora(1, &["nodes", "set", "n2", "--role", "scanner"])?.ok()?;
    wait::until("n2 without a log", SOON, || Ok((!log.exists()).then_some(())))?;
    wait_until_idle(&cluster, 2, "n2")?;
    assert_eq!(role(&cluster, 1, "n2").as_deref(), Some("scanner"));
    // It stays so over a restart, though its own file says otherwise.
    cluster.node_mut(2)?.kill()?;
    cluster.restart(2)?;
    wait::until("n2 to be shown the log", SOON, || Ok(cluster.status(2).ok()))?;
    assert!(!log.exists());

    // To and fro: what its log says of it from before is no news.
    for _ in 0..3 {
        cluster.pentora(1, &["nodes", "set", "n2", "--role", "member"])?.ok()?;
        wait::until("n2 to follow the log", SOON, || {
            Ok(role(&cluster, 1, "n2").filter(|role| role == "learner").map(drop))
        })?;
        wait::until("n2 with a log", SOON, || Ok(log.is_dir().then_some(())))?;
        wait_until_idle(&cluster, 2, "n2")?;
        cluster.pentora(1, &["nodes", "set", "n2", "--role", "scanner"])?.ok()?;
        wait::until("n2 without a log again", SOON, || Ok((!log.exists()).then_some(())))?;
        wait_until_idle(&cluster, 2, "n2")?;
    }
    // Changes that do not wait for each other end in the last one.
    for flips in [2, 3, 4, 5, 2, 3] {
        let last = if flips % 2 == 0 { "scanner" } else { "member" };
        for flip in (0..flips).rev() {
            let other = if last == "scanner" { "member" } else { "scanner" };
            let role = if flip % 2 == 0 { last } else { other };
            cluster.pentora(1, &["nodes", "set", "n2", "--role", role])?.ok()?;
        }
        wait::until("n2 to be what was asked last", SOON, || {
            let is_member = role(&cluster, 1, "n2").as_deref() == Some("learner") && log.is_dir();
            let only_scans = role(&cluster, 1, "n2").as_deref() == Some("scanner") && !log.exists();
            let is_there = cluster.status(2).is_ok();
            Ok((is_there && if last == "member" { is_member } else { only_scans }).then_some(()))
        })?;
        wait_until_idle(&cluster, 2, "n2")?;
        wait_until_idle(&cluster, 1, "n2")?;
    }

    cluster.pentora(1, &["nodes", "set", "n2", "--role", "member"])?.ok()?;
    wait::until("n2 to follow the log to its end", SOON, || {
        let status = cluster.status(2).ok();
        Ok(status.filter(|_| log.is_dir() && role(&cluster, 2, "n2").as_deref() == Some("learner")).map(drop))
    })?;
    wait_until_idle(&cluster, 2, "n2")?;
    wait_until_idle(&cluster, 1, "n2")?;

    let widened = cluster.pentora(1, &["nodes", "set", "n3", "--role", "member"])?;
    assert!(widened.code != 0 && widened.stderr.contains("by its own file"), "{widened:?}");
    // One that votes does not become a node without a log by its file alone.
    cluster.node_mut(1)?.stop(Duration::from_secs(30))?;
    cluster.restart_with(1, &["--config", &file])?;
    assert_ne!(cluster.node_mut(1)?.exit_code(SOON)?, 0);
    assert!(cluster.node(1)?.log().contains("votes in its cluster"), "{}", cluster.node(1)?.log_tail(20));
    assert!(cluster.data_dir(1).join("raft").is_dir(), "nothing is removed");
    Ok(())
}

#[test]
fn a_scanner_that_leaves_is_in_the_audit_log_and_reads_no_large_body_for_a_stranger() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &["--role", "scanner"])?;
    cluster.join(2, &token)?;
    wait_until_idle(&cluster, 1, "n2")?;
    wait::until("n2 to be shown the log", SOON, || Ok(cluster.status(2).ok()))?;
    // The answer is here before any of the body is.
    let answer = cluster.lab().host(2).within(|| {
        let mut stream = TcpStream::connect_timeout(&API, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(
            b"POST /api/v1/scans HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nobodys\r\n\
              Content-Type: application/json\r\nContent-Length: 50000000\r\n\r\n",
        )?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    })?;
    assert_eq!(answer, "HTTP/1.1 401");

    assert_eq!(cluster.status(2)?["handed_on_by"], "n2");
    let left = cluster.pentora(2, &["leave", "--yes", "--json"])?.json()?;
    assert!(left["name"] == "n2" && left["removed"] == true, "{left}");
    assert_eq!(cluster.node_mut(2)?.exit_code(SOON)?, 0);
    let noted = cluster.pentora(1, &["audit", "list", "--json"])?.ok()?;
    assert!(noted.contains("POST /api/v1/cluster/nodes/n2/remove"), "{noted}");
    Ok(())
}
