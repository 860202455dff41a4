//! The two engines: a node uses raw packets where it may, says so where it may not, and reports the same with both.

use std::collections::BTreeMap;

use anyhow::Context;
use pentora_tests::command_line::{pentora, without_raw_packets};
use pentora_tests::lab::{Lab, WORLD_PORTS, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;

/// A host beside a world, and a home folder without any configuration.
fn lab() -> anyhow::Result<Option<(Lab, TempDir)>> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 128, seed: 11, ..WorldOptions::default() })?;
    Ok(Some((lab, tempfile::tempdir()?)))
}

fn ports() -> String {
    WORLD_PORTS.map(|port| port.to_string()).join(",")
}

/// What was said of each host: its ports by number with state and reason, and how many were not listed.
type Said = BTreeMap<String, (BTreeMap<u64, State>, Vec<(State, u64)>)>;

/// A state with its reason.
type State = (String, String);

/// A field that is a word, or nothing.
fn word(of: &Value, field: &str) -> String {
    of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A field that is a number, or 0.
fn number(of: &Value, field: &str) -> u64 {
    of.get(field).and_then(Value::as_u64).unwrap_or_default()
}

/// State and reason. A reset that the kernel has read for us is a refused connection: both engines mean one thing.
fn state(of: &Value) -> (String, String) {
    let reason = word(of, "reason");
    (word(of, "state"), if reason == "conn-refused" { "reset".to_owned() } else { reason })
}

fn said(lines: &str) -> anyhow::Result<Said> {
    let mut said = Said::new();
    for line in lines.lines() {
        let host: Value = serde_json::from_str(line)?;
        let list = |field: &str| host.get(field).and_then(Value::as_array).cloned().context("a list");
        let ports = list("ports")?.iter().map(|port| (number(port, "port"), state(port))).collect();
        let rest = list("not_shown")?.iter().map(|group| (state(group), number(group, "count"))).collect();
        said.insert(word(&host, "address"), (ports, rest));
    }
    Ok(said)
}

#[test]
fn both_engines_say_the_same_of_every_port() -> anyhow::Result<()> {
    let Some((lab, home)) = lab()? else { return Ok(()) };
    let scan = |engine: &str| {
        let words = ["scan", "10.77.0.0/25", "--ports", &ports(), "--engine", engine, "--seed", "7", "-o", "jsonl"];
        said(&pentora(lab.host(1), home.path(), &[], &words)?.ok()?)
    };
    let (raw, connect) = (scan("raw")?, scan("connect")?);
    assert_eq!(raw.len(), lab.world().truth().alive.len());
    for (address, found) in &connect {
        assert_eq!(raw.get(address), Some(found), "{address}, raw against connect");
    }
    assert_eq!(raw.len(), connect.len());
    let reasons: Vec<&str> = raw.values().flat_map(|(ports, _)| ports.values().map(|(_, why)| why.as_str())).collect();
    assert!(["syn-ack", "reset", "no-response"].iter().all(|why| reasons.contains(why)), "{reasons:?}");
    Ok(())
}

#[test]
fn without_the_right_to_raw_packets_a_scan_says_so_in_one_line_and_finds_the_same() -> anyhow::Result<()> {
    let Some((lab, home)) = lab()? else { return Ok(()) };
    let words = ["scan", "10.77.0.0/25", "--ports", &ports(), "-o", "list"];
    let ran = without_raw_packets(lab.host(1), home.path(), &words)?;
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(matches!(lines[..], [line] if line.starts_with("pentora: scanning with connections")), "{lines:?}");
    let score = lab.world().truth().score(&ran.ok()?)?;
    assert!(score.is_exact(), "{score}");
    let asked = without_raw_packets(lab.host(1), home.path(), &[&words[..], &["--engine", "connect"]].concat())?;
    assert_eq!(asked.stderr, "", "who asked for connections knows");
    let refused = without_raw_packets(lab.host(1), home.path(), &[&words[..], &["--engine", "raw"]].concat())?;
    let said = refused.refused(4)?;
    assert!(said.contains("it has no raw engine"), "{said}");
    Ok(())
}
