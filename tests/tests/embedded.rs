//! `pentora scan` with no cluster: one command, no root, server or configuration, and the same results as a cluster's.

use std::fs;

use pentora_tests::command_line::{Ran, interrupted, pentora, signalled};
use pentora_tests::lab::{Lab, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;

const PORTS: &str = "21,22,23,25,53,80,110,143,443,445,1883,3306,3389,5432,6379,8080,8443,9200,11211,27017";

/// A host beside a world, and a home folder without any configuration.
fn lab(options: &WorldOptions) -> anyhow::Result<Option<(Lab, TempDir)>> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(None) };
    lab.add_world(options)?;
    Ok(Some((lab, tempfile::tempdir()?)))
}

fn scan(lab: &Lab, home: &TempDir, words: &[&str]) -> anyhow::Result<Ran> {
    pentora(lab.host(1), home.path(), &[], &[&["scan"], words].concat())
}

#[test]
fn a_scan_of_a_world_finds_exactly_its_open_ports() -> anyhow::Result<()> {
    let Some((lab, home)) = lab(&WorldOptions::default())? else { return Ok(()) };
    let open = scan(&lab, &home, &["10.77.0.0/23", "--ports", PORTS, "-o", "list"])?.ok()?;
    let score = lab.world().truth().score(&open)?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn a_scan_without_discovery_finds_exactly_its_open_ports() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 128, seed: 8, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let open = scan(&lab, &home, &["10.77.0.0/25", "--ports", "22,80,443", "--no-discovery", "-o", "list"])?.ok()?;
    let score = lab.world().truth().of_ports(&[22, 80, 443]).score(&open)?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn a_scan_through_loss_finds_exactly_the_open_ports() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 128, seed: 9, loss_percent: 5, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let open = scan(&lab, &home, &["10.77.0.0/25", "--ports", PORTS, "-o", "list"])?.ok()?;
    let score = lab.world().truth().score(&open)?;
    assert!(score.phantom.is_empty() && score.repeated.is_empty(), "{score}");
    assert!(score.missed.len() <= 1, "one packet in twenty is lost: {score}");
    Ok(())
}

#[test]
fn every_line_of_jsonl_is_a_host_with_the_promised_fields() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 64, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let lines = scan(&lab, &home, &["10.77.0.0/26", "--ports", PORTS, "-o", "jsonl"])?.ok()?;
    let hosts = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(hosts.len(), lab.world().truth().alive.len());
    for host in &hosts {
        for field in ["address", "state", "reason", "ports", "started_at", "worker"] {
            assert!(host.get(field).is_some(), "{field} is missing: {host}");
        }
        for port in host["ports"].as_array().into_iter().flatten() {
            for field in ["port", "protocol", "state", "reason", "banner", "service"] {
                assert!(port.get(field).is_some(), "{field} is missing: {port}");
            }
        }
    }
    let open = hosts.iter().flat_map(|host| host["ports"].as_array().into_iter().flatten());
    let open = open.filter(|port| port["state"] == "open");
    assert!(open.clone().all(|port| port["reason"] == "syn-ack"));
    assert_eq!(open.count(), lab.world().truth().open.len());
    Ok(())
}

#[test]
fn targets_come_from_a_file_with_comments_as_well() -> anyhow::Result<()> {
    let Some((lab, home)) = lab(&WorldOptions::default())? else { return Ok(()) };
    let alive = &lab.world().truth().alive;
    let list: Vec<String> = alive.iter().map(ToString::to_string).collect();
    let file = home.path().join("targets");
    fs::write(&file, format!("# those that answer\n{}\n", list.join("\n")))?;
    let open = scan(&lab, &home, &["--file", &file.display().to_string(), "--ports", PORTS, "-o", "list"])?.ok()?;
    let score = lab.world().truth().score(&open)?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn the_table_names_every_open_port_and_leaves_data_alone_on_stdout() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 16, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let ran = scan(&lab, &home, &["10.77.0.0/28", "--ports", PORTS])?;
    let table = ran.clone().ok()?;
    for (address, port) in &lab.world().truth().open {
        assert!(
            table.contains(&address.to_string()) && table.contains(&port.to_string()),
            "{address} {port}:\n{table}"
        );
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no colours outside a terminal");
    Ok(())
}

#[test]
fn an_interrupted_scan_keeps_what_it_found_and_goes_on_from_its_file_to_the_whole_truth() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let truth = lab.world().truth().of_ports(&[80, 81]);
    let words = ["scan", "10.77.0.0/22", "--ports", "80,81", "--rate", "200", "--no-discovery", "-o", "list"];
    let ran = interrupted(lab.host(1), home.path(), 8, &words)?;
    assert_eq!(ran.code, 7, "{ran:?}");
    let told = ran.stdout.lines().find(|line| line.starts_with('#'));
    assert!(told.is_some_and(|line| line.starts_with("# partial: ")), "{ran:?}");
    let score = truth.score(&ran.stdout)?;
    assert!(score.phantom.is_empty() && score.found > 0 && !score.missed.is_empty(), "{score}");
    let file = ran.stderr.split("--resume ").nth(1).and_then(|rest| rest.split('`').next());
    let file = home.path().join(file.unwrap_or_else(|| panic!("no file is named: {}", ran.stderr)));

    let resumed = scan(&lab, &home, &["--resume", &file.display().to_string(), "--json"])?.json()?;
    let summary = &resumed["summary"];
    assert_eq!((&summary["targets_scanned"], &summary["targets_total"]), (&1024.into(), &1024.into()), "{summary}");
    assert!(summary["recall_estimate"].as_f64().is_some_and(|recall| recall > 0.99), "{summary}");
    // In the form that was asked for first.
    let all = scan(&lab, &home, &["--resume", &file.display().to_string()])?.ok()?;
    let score = truth.score(&all)?;
    assert!(score.is_exact(), "{score}");

    let mut bytes = fs::read(&file)?;
    bytes.truncate(bytes.len() - 9);
    fs::write(&file, bytes)?;
    let said = scan(&lab, &home, &["--resume", &file.display().to_string()])?.refused(2)?;
    assert!(said.contains("cut short or changed"), "{said}");
    let said = scan(&lab, &home, &["10.77.0.1", "--resume", &file.display().to_string()])?.refused(2)?;
    assert!(said.contains("--resume"), "{said}");
    Ok(())
}

#[test]
fn a_scan_whose_terminal_goes_away_prints_what_it_found_in_every_form_and_says_that_it_is_not_all() -> anyhow::Result<()>
{
    let options = WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let mut resumable = 0;
    for (form, mark) in [
        ("csv", ",\"partial: "),
        ("jsonl", "{\"summary\":{"),
        ("json", "\"partial\":true"),
        ("xml", "exit=\"error\""),
        ("sarif", "\"executionSuccessful\":false"),
        ("table", "note: partial: "),
        ("html", "\"partial\":true"),
    ] {
        let words =
            ["scan", "10.77.0.0/24", "--ports", "80", "--rate", "40", "--no-discovery", "--no-services", "-o", form];
        let ran = signalled(lab.host(1), home.path(), "HUP", 4, &words)?;
        assert!(ran.code == 7 && ran.stdout.contains(mark), "{form}: {ran:?}");
        // One that has hardly begun on a busy machine has nothing to go on from.
        let saved = ran.stderr.contains("--resume pentora-");
        assert!(saved || ran.stderr.contains("; nothing is finished"), "{form}: {}", ran.stderr);
        resumable += u32::from(saved);
        if form == "json" {
            let document: Value = serde_json::from_str(&ran.stdout)?;
            assert!(document["summary"]["probes_sent"].as_u64().is_some_and(|probes| probes > 5), "{document}");
        }
    }
    assert!(resumable > 0, "no scan left a file to go on with");
    Ok(())
}

#[test]
fn a_scan_goes_on_with_the_rules_it_began_with_or_not_at_all() -> anyhow::Result<()> {
    let options = WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() };
    let Some((lab, home)) = lab(&options)? else { return Ok(()) };
    let probes = home.path().join("own.probes");
    fs::write(&probes, "Probe TCP NULL q||\nmatch own m|^nobody says this$|\n")?;
    let own = probes.display().to_string();
    let words = [
        "scan",
        "10.77.0.0/24",
        "--ports",
        "80",
        "--rate",
        "40",
        "--no-discovery",
        "--service-probes",
        &own,
        "-o",
        "json",
    ];
    let ran = interrupted(lab.host(1), home.path(), 5, &words)?;
    let file = ran.stderr.split("--resume ").nth(1).and_then(|rest| rest.split('`').next());
    let file =
        home.path().join(file.unwrap_or_else(|| panic!("no file is named: {}", ran.stderr))).display().to_string();
    fs::write(&probes, "Probe TCP NULL q||\nmatch own m|^everybody$|\n")?;
    let said = scan(&lab, &home, &["--resume", &file])?.refused(2)?;
    assert!(said.contains("--service-probes") && said.contains("own.probes"), "{said}");
    fs::remove_file(&probes)?;
    let said = scan(&lab, &home, &["--resume", &file])?.refused(2)?;
    assert!(said.contains("--service-probes") && said.contains("own.probes"), "{said}");
    let moved = home.path().join("moved.probes");
    fs::write(&moved, "Probe TCP NULL q||\nmatch own m|^nobody says this$|\n")?;
    let words = ["--resume", &file, "--service-probes", &moved.display().to_string()];
    let summary = scan(&lab, &home, &words)?.json()?["summary"].clone();
    assert_eq!((&summary["targets_scanned"], &summary["partial"]), (&256.into(), &false.into()), "{summary}");
    Ok(())
}

#[test]
fn one_command_needs_no_configuration_and_leaves_none() -> anyhow::Result<()> {
    let Some((lab, home)) = lab(&WorldOptions { addresses: 1, ..WorldOptions::default() })? else { return Ok(()) };
    scan(&lab, &home, &["127.0.0.1", "--ports", "1", "-o", "list"])?.ok()?;
    let left: Vec<_> = fs::read_dir(home.path())?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "an embedded scan left {left:?} in the home folder");
    Ok(())
}

#[test]
fn learned_ports_are_what_the_last_scan_found_open_most_and_where_there_was_none_that_is_said() -> anyhow::Result<()> {
    let Some((lab, home)) = lab(&WorldOptions { addresses: 64, ..WorldOptions::default() })? else { return Ok(()) };
    let data = home.path().join("data").display().to_string();
    let scan = |words: &[&str]| {
        let words = [&["scan", "10.77.0.0/26", "-o", "list"], words].concat();
        pentora(lab.host(1), home.path(), &[("PENTORA_DATA_DIR", &data)], &words)
    };
    let before = scan(&["--top-ports", "1", "--learned"])?;
    assert!(before.stderr.contains("there are no results to learn from"), "{before:?}");
    assert!(scan(&["--ports", "22", "--learned"])?.code == 2, "named ports are not learned");

    scan(&["--ports", PORTS])?.ok()?;
    let open = &lab.world().truth().open;
    let count = |port: u16| open.iter().filter(|(_, is)| *is == port).count();
    let most = PORTS.split(',').filter_map(|port| port.parse().ok()).map(count).max().unwrap_or_default();
    let after = scan(&["--top-ports", "1", "--learned"])?;
    assert!(after.stderr.contains("learned from 1 scan: "), "{after:?}");
    let found = after.ok()?;
    let hosts = found.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(hosts, most, "one port was asked, and it is one that most have open: {found}");
    Ok(())
}
