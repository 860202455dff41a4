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
type Said = BTreeMap<String, (BTreeMap<u64, (String, String)>, Vec<(String, String, u64)>)>;

/// A reason by the one word that both engines mean by it: a reset that the kernel has read for us is a refused connection.
fn reason(of: &Value) -> String {
    let word = of["reason"].as_str().unwrap_or_default();
    if word == "conn-refused" { "reset".to_owned() } else { word.to_owned() }
}

fn said(lines: &str) -> anyhow::Result<Said> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut said = Said::new();
    for line in lines.lines() {
        let host: Value = serde_json::from_str(line)?;
        let ports = host["ports"].as_array().context("ports")?.iter();
        let ports = ports.map(|port| (port["port"].as_u64().unwrap_or(0), (text(&port["state"]), reason(port))));
        let rest = host["not_shown"].as_array().context("not_shown")?.iter();
        let rest = rest.map(|group| (text(&group["state"]), reason(group), group["count"].as_u64().unwrap_or(0)));
        said.insert(text(&host["address"]), (ports.collect(), rest.collect()));
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
