//! What users and strangers get wrong: a clear message, the right exit code, and nothing changed.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::command_line::{Ran, pentora, run};
use pentora_tests::http::Request;
use pentora_tests::lab::Lab;
use pentora_tests::wait;
use serde_json::Value;

/// A node that will not start says so within this.
const REFUSAL_MAX: Duration = Duration::from_secs(20);

fn embedded(words: &[&str]) -> anyhow::Result<Option<Ran>> {
    let Some(lab) = Lab::start(1)? else { return Ok(None) };
    let home = tempfile::tempdir()?;
    pentora(lab.host(1), home.path(), &[], words).map(Some)
}

/// `embedded`, refused by this code, with all of these words in the message.
fn assert_refused(words: &[&str], code: i32, parts: &[&str]) -> anyhow::Result<()> {
    let Some(ran) = embedded(words)? else { return Ok(()) };
    let said = ran.refused(code)?;
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in: {said}");
    assert!(!said.contains("panicked"), "{said}");
    Ok(())
}

#[test]
fn a_malformed_target_is_named_with_its_position() -> anyhow::Result<()> {
    assert_refused(&["scan", "10.0.0.300", "--ports", "80"], 2, &["10.0.0.300"])?;
    assert_refused(&["scan", "10.0.0.0/33", "--ports", "80"], 2, &["/33"])?;
    assert_refused(&["scan", "10.0.0.9-10.0.0.1", "--ports", "80"], 2, &["10.0.0.9"])
}

#[test]
fn a_malformed_target_in_a_file_is_named_with_line_and_column() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("targets.txt");
    fs::write(&file, "# fine\n10.0.0.1\n10.0.0.2 10.0.0.999\n")?;
    assert_refused(&["scan", "--file", &file.display().to_string(), "--ports", "80"], 2, &["3", "10", "10.0.0.999"])
}

#[test]
fn malformed_ports_are_named_with_their_position() -> anyhow::Result<()> {
    assert_refused(&["scan", "127.0.0.1", "--ports", "80,70000"], 2, &["70000", "4"])?;
    assert_refused(&["scan", "127.0.0.1", "--ports", "90-80"], 2, &["90-80"])?;
    assert_refused(&["scan", "127.0.0.1", "--ports", ""], 2, &[])
}

#[test]
fn no_target_and_an_unknown_option_are_usage_errors() -> anyhow::Result<()> {
    assert_refused(&["scan", "--ports", "80"], 2, &[])?;
    assert_refused(&["scan", "127.0.0.1", "--prots", "80"], 2, &["--prots"])
}

#[test]
fn a_target_outside_the_default_scope_is_refused_before_a_packet_is_sent() -> anyhow::Result<()> {
    // 192.0.2.0/24 is for documentation (RFC 5737), and the lab has no way out.
    assert_refused(&["scan", "192.0.2.1", "--ports", "80"], 4, &["192.0.2.1", "scope"])
}

#[test]
fn a_wrong_configuration_is_named_with_its_place_and_binds_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pentora.yaml");
    fs::write(&file, "node:\n  nmae: n1\nqueue:\n  backend: rabbit\n")?;
    let file = file.display().to_string();
    let Some(ran) = embedded(&["config", "check", "--config", &file])? else { return Ok(()) };
    assert_eq!(ran.code, 8, "{ran:?}");
    let said = ran.stdout + &ran.stderr;
    for part in ["nmae", "name", "2", "rabbit", "kafka"] {
        assert!(said.contains(part), "{part} in: {said}");
    }
    Ok(())
}

#[test]
fn a_used_an_expired_and_an_invented_token_are_refused_with_the_reason() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(5)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let once = cluster.token("once", &[])?;
    let brief = cluster.token("brief", &["--ttl", "1s"])?;
    cluster.join(2, &once)?;
    wait::until("the second node", Duration::from_secs(30), || Ok(cluster.status(2).ok()))?;
    let mut forged = once.clone();
    let last = forged.pop().context("a token has letters")?;
    forged.push(if last == 'A' { 'B' } else { 'A' });
    wait::until("the end of the brief token", Duration::from_secs(10), || {
        let list = cluster.pentora(1, &["coordinator", "worker-token", "list", "--json"])?.json()?;
        let is_over = |token: &Value| token["name"] == "brief" && token["status"] == "expired";
        Ok(list.as_array().context("a list")?.iter().any(is_over).then_some(()))
    })?;
    for (number, token, word) in [(3, &once, "used"), (4, &brief, "expired"), (5, &forged, "token")] {
        cluster.join(number, token)?;
        let code = cluster.node_mut(number)?.exit_code(REFUSAL_MAX)?;
        let log = cluster.node(number)?.log();
        assert!(code > 0 && log.contains(word), "exits {code}; {word:?} in: {log}");
        assert!(!log.contains(token.as_str()), "a token is never logged: {log}");
    }
    let names = cluster.status(1)?["nodes"].as_array().map(Vec::len);
    assert_eq!(names, Some(2), "nobody else was admitted");
    Ok(())
}

#[test]
fn a_node_with_the_key_of_another_cluster_is_told_so() -> anyhow::Result<()> {
    let (Some(lab), Some(other)) = (Lab::start(2)?, Lab::start(1)?) else { return Ok(()) };
    let foreign = Cluster::of_one(other)?.token("n2", &[])?;
    let mut cluster = Cluster::of_one(lab)?;
    cluster.join(2, &foreign)?;
    let code = cluster.node_mut(2)?.exit_code(REFUSAL_MAX)?;
    let log = cluster.node(2)?.log();
    assert!(code > 0 && log.contains("pre-shared key"), "exits {code}: {log}");
    Ok(())
}

#[test]
fn a_peer_that_is_not_there_is_named() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let mut cluster = Cluster::of_one(lab)?;
    let token = cluster.token("n2", &[])?;
    cluster.join_through(2, "10.88.0.1:7399", &token)?;
    wait::until("the peer that is not there in the log", Duration::from_secs(60), || {
        Ok(cluster.node(2)?.log().contains("cannot connect to 10.88.0.1:7399").then_some(()))
    })?;
    assert!(cluster.node(2)?.is_running(), "it may be there later");
    Ok(())
}

#[test]
fn a_data_directory_in_use_a_port_in_use_and_an_empty_one_are_refused() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let host = cluster.lab().host(1);
    let start = |words: &[&str]| run(host, "pentora-node", cluster.folder(), &[], &[&["start"], words].concat());

    let data = cluster.data_dir(1).display().to_string();
    let said = start(&["--data-dir", &data])?;
    assert!(said.code > 0 && said.stderr.contains(&data) && said.stderr.contains("use"), "{said:?}");

    let other = cluster.folder().join("other").display().to_string();
    let port = "10.88.0.1:7400";
    let said =
        start(&["--init", "--name", "x", "--data-dir", &other, "--mesh-listen", port, "--api-listen", "127.0.0.1:0"])?;
    assert!(said.code > 0 && said.stderr.contains(port), "{said:?}");

    let empty = cluster.folder().join("empty").display().to_string();
    let said = start(&["--data-dir", &empty, "--mesh-listen", "10.88.0.1:0", "--api-listen", "127.0.0.1:0"])?;
    assert!(said.code > 0 && said.stderr.contains("--init") && said.stderr.contains("join"), "{said:?}");
    Ok(())
}

#[test]
fn a_node_whose_store_was_wiped_refuses_to_vote_again() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(3)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    cluster.node_mut(follower)?.kill()?;
    // The identity stays in its files; what the node had promised in elections is gone with the folders.
    for entry in fs::read_dir(cluster.data_dir(follower))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    cluster.restart(follower)?;
    let code = cluster.node_mut(follower)?.exit_code(REFUSAL_MAX)?;
    let log = cluster.node(follower)?.log_tail(10);
    assert!(code > 0 && log.contains("join"), "exits {code}, and says what to do: {log}");
    Ok(())
}

#[test]
fn a_request_that_is_no_scan_is_a_problem_with_a_code() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let post = |body: &str| {
        let request = Request { method: "POST", path: "/api/v1/scans", body: Some(body), ..Request::default() };
        cluster.api(1, &request, Duration::from_secs(5))
    };
    let huge = format!(r#"{{"targets": ["{}"]}}"#, "1".repeat(100 << 20));
    for (body, status) in [
        ("", 400..=422),
        ("{", 400..=422),
        (r#"{"targets": []}"#, 400..=422),
        (r#"{"targets": ["10.0.0.300"]}"#, 400..=422),
        (r#"{"target": ["10.0.0.1"]}"#, 400..=422),
        (r#"{"targets": ["10.0.0.1"], "ports": "x"}"#, 400..=422),
        (r#"{"targets": ["192.0.2.1"], "ports": "80"}"#, 403..=403),
    ] {
        let answer = post(body)?;
        assert!(status.contains(&answer.status), "{body}: {answer:?}");
        assert!(answer.json()?["code"].is_string(), "{body}: {answer:?}");
    }
    // The node may hang up before the end of a body that it will not read.
    if let Ok(answer) = post(&huge) {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert!(post(r#"{"targets": ["10.88.0.1"], "ports": "1"}"#)?.status == 202, "and the node still takes a scan");
    Ok(())
}
