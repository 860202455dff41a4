//! Starting and joining as supervisors and containers do it: in any order, again and again, killed at any moment; and
//! finding each other when addresses have changed.

use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use pentora_tests::cluster::Cluster;
use pentora_tests::command_line;
use pentora_tests::http::{Answer, Request};
use pentora_tests::lab::Lab;
use pentora_tests::wait;
use serde_json::Value;

/// Anything here comes about within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn named(status: &Value, name: &str) -> Option<Value> {
    status.get("nodes")?.as_array()?.iter().find(|node| node["name"] == name).cloned()
}

fn wait_for_log(cluster: &Cluster, number: usize, part: &str) -> anyhow::Result<()> {
    wait::until(&format!("{part:?} in the log of node {number}"), LIMIT, || {
        let node = cluster.node(number)?;
        anyhow::ensure!(node.is_running(), "node {number} has ended: {}", node.log_tail(10));
        Ok(node.log().contains(part).then_some(()))
    })
}

/// The node's number in the cluster, once it is in it and hears a leader.
fn joined(cluster: &Cluster, number: usize) -> anyhow::Result<u64> {
    let name = format!("n{number}");
    wait::until(&format!("{name} in the cluster"), LIMIT, || {
        let status = cluster.status(number).ok().filter(|status| status.get("leader").is_some_and(Value::is_string));
        Ok(status.and_then(|status| named(&status, &name)?.get("node_id")?.as_u64()))
    })
}

/// A cluster of one that is down, and a second node that waits for it; nothing where there is no lab.
fn with_a_joiner_that_waits() -> anyhow::Result<Option<Cluster>> {
    let Some(lab) = Lab::start(2)? else { return Ok(None) };
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &[])?;
    cluster.node_mut(1)?.kill()?;
    cluster.join_through(2, "10.88.0.1:7400", &token)?;
    wait_for_log(&cluster, 2, "trying on")?;
    Ok(Some(cluster))
}

#[test]
fn a_joiner_whose_peer_is_not_up_yet_tries_on_and_says_so_once() -> anyhow::Result<()> {
    let Some(mut cluster) = with_a_joiner_that_waits()? else { return Ok(()) };
    cluster.restart(1)?;
    joined(&cluster, 2)?;
    let log = cluster.node(2)?.log();
    assert_eq!(log.matches("trying on").count(), 1, "{log}");
    assert!(log.contains("cannot connect to 10.88.0.1:7400"), "{log}");
    Ok(())
}

/// Asks a node's API on its own host; nothing where nobody answers.
fn asked(cluster: &Cluster, number: usize, path: &str) -> Option<Answer> {
    let request = Request { method: "GET", path, ..Request::default() };
    cluster.api(number, &request, Duration::from_secs(5)).ok()
}

#[test]
fn a_joiner_that_waits_says_that_it_works_and_what_for_and_becomes_a_node_without_a_gap() -> anyhow::Result<()> {
    let Some(mut cluster) = with_a_joiner_that_waits()? else { return Ok(()) };
    let well = asked(&cluster, 2, "/healthz").context("an answer while it waits")?;
    assert_eq!((well.status, well.body.as_str()), (200, "ok\n"));
    for path in ["/readyz", "/metrics", "/api/v1/cluster"] {
        let answer = asked(&cluster, 2, path).context("an answer while it waits")?;
        assert_eq!((answer.status, &answer.json()?["code"]), (503, &Value::from("not_joined")), "{path}");
        assert!(answer.body.contains("not joined yet: ") && answer.body.contains("10.88.0.1:7400"), "{}", answer.body);
    }
    // It notes where it is asked before it is in a cluster.
    let data = cluster.data_dir(2).display().to_string();
    let health = |cluster: &Cluster, words: &[&str]| {
        let settings = [("PENTORA_DATA_DIR", data.as_str()), ("PENTORA_SERVER_API_LISTEN", "127.0.0.1:1")];
        command_line::pentora(cluster.lab().host(2), cluster.folder(), &settings, &[&["health"], words].concat())
    };
    health(&cluster, &[])?.ok()?;
    let unready = health(&cluster, &["--ready"])?;
    assert!(unready.code == 5 && unready.stderr.contains("not joined yet: "), "{unready:?}");

    cluster.restart(1)?;
    let mut answers = 0;
    wait::until("the node ready", LIMIT, || {
        let answer = asked(&cluster, 2, "/healthz").context("nobody answered in between")?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        answers += 1;
        Ok(asked(&cluster, 2, "/readyz").filter(|answer| answer.status == 200))
    })?;
    println!("well at each of {answers} times");
    joined(&cluster, 2)?;
    Ok(())
}

#[test]
fn a_joiner_that_is_asked_to_end_while_it_waits_ends_well_and_may_come_again() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &[])?;
    cluster.node_mut(1)?.kill()?;
    for signal in ["asked to stop", "interrupted"] {
        cluster.join_through(2, "10.88.0.1:7400", &token)?;
        wait::until("it waits", LIMIT, || Ok(asked(&cluster, 2, "/healthz").filter(|answer| answer.status == 200)))?;
        match signal {
            "interrupted" => {
                cluster.node(2)?.signal(Signal::SIGINT)?;
                assert_eq!(cluster.node_mut(2)?.exit_code(LIMIT)?, 0);
            }
            _ => println!("it ended {:?} after it was asked to", cluster.node_mut(2)?.stop(LIMIT)?),
        }
        let log = cluster.node(2)?.log();
        assert!(log.contains(&format!("{signal} before this node was up; it ends")), "{log}");
    }
    cluster.restart(1)?;
    cluster.join_through(2, "10.88.0.1:7400", &token)?;
    joined(&cluster, 2)?;
    Ok(())
}

#[test]
fn nodes_that_were_all_renumbered_at_once_find_each_other_by_the_peers_they_are_started_with() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let token = cluster.token("later", &[])?;
    assert!(token.starts_with("pnj_"));
    (1..=3).try_for_each(|number| cluster.node_mut(number)?.kill())?;
    for number in 1..=3 {
        let namespace = cluster.lab().host(number).namespace();
        namespace.ip(&format!("addr del 10.88.0.{number}/16 dev eth0"))?;
        namespace.ip(&format!("addr add 10.88.7.{number}/16 dev eth0"))?;
    }
    // Two of them are told where the first is now; it and they are told nothing else.
    let start = |cluster: &mut Cluster, number: usize, peers: &[&str]| {
        let listen = format!("10.88.7.{number}:7400");
        cluster.restart_with(number, &[&["--mesh-listen", &listen], peers].concat())
    };
    start(&mut cluster, 1, &[])?;
    wait_for_log(&cluster, 1, "looked for")?;
    let text = cluster.pentora(1, &["cluster", "status"])?.ok()?;
    println!("{text}");
    assert!(text.contains("n2 is not reached at 10.88.0.2:7400") && text.contains("--peer HOST:7400"), "{text}");
    start(&mut cluster, 2, &["--peer", "10.88.7.1:7400"])?;
    start(&mut cluster, 3, &["--peer", "10.88.7.1:7400"])?;
    for number in 1..=3 {
        wait::until("everybody at the new addresses", LIMIT, || {
            let Ok(status) = cluster.status(number) else { return Ok(None) };
            let moved = |other: usize| {
                let node = named(&status, &format!("n{other}"));
                node.is_some_and(|node| {
                    node["address"] == format!("10.88.7.{other}:7400") && node["status"] == "Active"
                })
            };
            Ok((status["leader"].is_string() && (1..=3).all(moved)).then_some(()))
        })?;
    }
    println!("{}", cluster.pentora(1, &["cluster", "status"])?.ok()?);
    // The peers of that start are known at the next one, too.
    cluster.node_mut(2)?.kill()?;
    cluster.restart(2)?;
    joined(&cluster, 2)?;
    Ok(())
}
