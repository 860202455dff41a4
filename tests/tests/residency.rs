//! Results that do not leave a region: made, kept and read there alone, counted at the hosts that they would leave from.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::lab::{Lab, WORLD_PORTS, WorldOptions, probes_within};
use pentora_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);
const SCAN_MAX: Duration = Duration::from_secs(120);

fn ports() -> String {
    WORLD_PORTS.map(|port| port.to_string()).join(",")
}

/// The chunks in a node's data directory, with their sizes.
fn chunks(cluster: &Cluster, number: usize) -> anyhow::Result<BTreeMap<String, u64>> {
    let folder = cluster.data_dir(number).join("chunks");
    files(&folder)
}

fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // One that is being written, or goes meanwhile, is none.
        if let Ok(file) = entry.metadata()
            && !name.contains('.')
        {
            found.insert(name, file.len());
        }
    }
    Ok(found)
}

fn wait_for_workers(cluster: &Cluster, names: &[&str]) -> anyhow::Result<()> {
    wait::until("all workers", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let works = |name: &&str| {
            list.as_array()
                .into_iter()
                .flatten()
                .any(|node| node["name"] == **name && ["Active", "Idle"].iter().any(|status| node["status"] == *status))
        };
        Ok(names.iter().all(works).then_some(()))
    })
}

/// Two nodes elsewhere and two in eu, the first of which is elsewhere and leads.
fn two_regions(hosts: u8, addresses: u32) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(hosts)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of_one(lab)?;
    for (number, region) in [(2, "us"), (3, "eu"), (4, "eu")] {
        let token = cluster.token(&format!("n{number}"), &[])?;
        cluster.join_with(number, &token, &["--region", region])?;
    }
    cluster.wait_for_voters(3)?;
    wait_for_workers(&cluster, &["n1", "n2", "n3", "n4"])?;
    Ok(Some(cluster))
}

#[test]
fn results_that_stay_in_a_region_are_made_kept_and_read_there_and_none_of_their_bytes_leave_it() -> anyhow::Result<()> {
    let Some(mut cluster) = two_regions(4, 8_192)? else { return Ok(()) };
    let ports = ports();
    let scan = ["10.77.0.0/19", "--ports", &ports, "--no-discovery", "--no-services"];
    // What leaves eu for the others while nothing of a region is bound: copies lie in different regions.
    let meter = cluster.lab().bytes_from(&[3, 4], &[1, 2])?;
    let before = [chunks(&cluster, 3)?, chunks(&cluster, 4)?];
    let free = Job::submit(&cluster, 1, &[&scan[..], &["--region", "eu"]].concat())?;
    free.wait(&cluster, 1, SCAN_MAX)?;
    let of_free = meter.bytes()?;
    let free_chunks = [chunks(&cluster, 3)?, chunks(&cluster, 4)?];
    let made = |now: &[BTreeMap<String, u64>; 2], before: &[BTreeMap<String, u64>; 2]| -> BTreeMap<String, u64> {
        let all = now.iter().flatten().map(|(name, bytes)| (name.clone(), *bytes));
        all.filter(|(name, _)| !before.iter().any(|known| known.contains_key(name))).collect()
    };
    let free_bytes: u64 = made(&free_chunks, &before).values().sum();
    ensure!(of_free > free_bytes && free_bytes > 20_000, "{of_free} bytes left, {free_bytes} of results");

    let idle = (meter.bytes()?, Instant::now());
    wait::until("some quiet seconds", SOON, || Ok((idle.1.elapsed() >= Duration::from_secs(5)).then_some(())))?;
    let idle_per_second = (meter.bytes()? - idle.0) as f64 / idle.1.elapsed().as_secs_f64();

    let (began, first) = (Instant::now(), meter.bytes()?);
    let bound = Job::submit(&cluster, 2, &[&scan[..], &["--residency", "eu"]].concat())?;
    let document = bound.wait(&cluster, 2, SCAN_MAX)?;
    ensure!(document["status"] == "completed" && document["targets_scanned"] == 8_192, "{document}");
    let left = meter.bytes()? - first;
    let noise = idle_per_second * began.elapsed().as_secs_f64();
    let bound_chunks = made(&[chunks(&cluster, 3)?, chunks(&cluster, 4)?], &free_chunks);
    let bound_bytes: u64 = bound_chunks.values().sum();
    ensure!(bound_bytes > 20_000, "{bound_bytes}");
    println!(
        "left eu: {of_free} bytes with {free_bytes} of results free to go, {left} with {bound_bytes} bound, {noise:.0} of \
         them anyhow"
    );
    ensure!((left as f64) < noise + bound_bytes as f64 / 2.0, "{left} bytes left eu, {noise} of them anyhow");
    for (number, holds) in [(1, false), (2, false), (3, true), (4, true)] {
        let there = chunks(&cluster, number)?;
        ensure!(bound_chunks.keys().all(|name| there.contains_key(name) == holds), "n{number}: {there:?}");
    }

    // Read in the region alone, and told where else.
    let truth = cluster.lab().world().truth().of_ports(&WORLD_PORTS);
    for number in [3, 4] {
        let score = bound.score(&cluster, number, &truth)?;
        ensure!(score.is_exact(), "{score}");
    }
    for number in [1, 2] {
        let said = cluster.pentora(number, &["job", "results", &bound.0])?.refused(4)?;
        ensure!(said.contains("do not leave region eu") && said.contains("ask a node there: n3"), "{said}");
    }
    let explained = cluster.pentora(1, &["job", "explain", &bound.0])?.ok()?;
    ensure!(explained.contains("results stay in eu"), "{explained}");
    let explained = cluster.pentora(1, &["job", "explain", &bound.0, "--json"])?.json()?;
    let refused = explained["partitions"][0]["refused"].to_string();
    ensure!(refused.contains("it is in region us, and the results stay in eu"), "{explained}");

    // With one of the two holders gone the other has all of it, and no third one is made elsewhere.
    cluster.node_mut(4)?.kill()?;
    let score = bound.score(&cluster, 3, &truth)?;
    ensure!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn a_node_that_leaves_the_region_ends_its_units_at_once_and_none_of_their_results_stay_on_it() -> anyhow::Result<()> {
    let Some(cluster) = two_regions(4, 256)? else { return Ok(()) };
    let before = chunks(&cluster, 3)?;
    let scan = ["10.77.0.0/24", "--ports", "22,80,443", "--no-discovery", "--no-services", "--rate", "200"];
    let job = Job::submit(&cluster, 1, &[&scan[..], &["--residency", "eu"]].concat())?;
    cluster.lab().wait_for_probes(4, 50)?;
    // Nobody else scans for it meanwhile.
    cluster.pentora(3, &["nodes", "set", "n3", "--region", "us"])?.ok()?;
    cluster.pentora(1, &["nodes", "set", "n4", "--region", "us"])?.ok()?;
    let told = Instant::now();
    wait::until("two seconds", SOON, || Ok((told.elapsed() >= Duration::from_secs(2)).then_some(())))?;
    let sent = probes_within(cluster.lab().world_host(), Duration::from_secs(3))?;
    ensure!(sent.is_empty(), "{} probes of nodes that left", sent.len());
    cluster.pentora(1, &["nodes", "set", "n3", "--region", "eu"])?.ok()?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    ensure!(document["status"] == "completed" && document["targets_scanned"] == 256, "{document}");
    let blamed: Vec<Value> = job.events(&cluster, 1)?.into_iter().filter(|event| event["kind"] == "expired").collect();
    ensure!(blamed.is_empty(), "{blamed:?}");
    let score = job.score(&cluster, 3, &cluster.lab().world().truth().of_ports(&[22, 80, 443]))?;
    ensure!(score.is_exact(), "{score}");
    let made: Vec<String> = chunks(&cluster, 3)?.into_keys().filter(|name| !before.contains_key(name)).collect();
    ensure!(!made.is_empty(), "nothing is kept in the region");
    wait::until("no result on the node that left", SOON, || {
        let left = chunks(&cluster, 4)?;
        Ok(made.iter().all(|name| !left.contains_key(name)).then_some(()))
    })
}

#[test]
fn a_region_that_cannot_do_it_is_refused_with_each_nodes_reason_and_nothing_is_made_of_it() -> anyhow::Result<()> {
    let Some(cluster) = two_regions(4, 64)? else { return Ok(()) };
    let scan = |more: &[&str]| cluster.pentora(1, &[&["scan", "10.77.0.0/26", "--detach"], more].concat());
    let said = scan(&["--residency", "mars"])?.refused(4)?;
    let reasons = ["n1", "n2", "n3", "n4", "it is in region us, and the results stay in mars"];
    ensure!(reasons.iter().all(|part| said.contains(part)), "{said}");
    let said = scan(&["--residency", "eu", "--region", "us"])?.refused(2)?;
    ensure!(said.contains("region and residency are different"), "{said}");
    ensure!(scan(&["--residency", "eu us"])?.refused(2)?.contains("name of a region"));
    let plan = cluster.pentora(1, &["scan", "10.77.0.0/26", "--plan", "--residency", "eu", "--json"])?.json()?;
    let part = &plan["partitions"][0];
    ensure!(part["needs"].to_string().contains("results stay in eu"), "{plan}");
    ensure!(part["eligible"] == serde_json::json!(["wrk_n3", "wrk_n4"]), "{plan}");

    // Nobody keeps results in us but n2; when that keeps none, nobody may scan for it.
    cluster.pentora(1, &["nodes", "set", "n2", "--keeps-results", "false"])?.ok()?;
    let said = scan(&["--residency", "us"])?.refused(4)?;
    ensure!(said.contains("n2: the results stay in us, and no member there keeps results"), "{said}");
    ensure!(cluster.pentora(1, &["job", "list", "--json"])?.json()?.as_array().is_some_and(Vec::is_empty));

    // A standing scan and a schedule carry it on.
    let keep = [
        "keep",
        "10.77.0.0/26",
        "--fresh",
        "1h",
        "--rate",
        "2000",
        "--ports",
        "80",
        "--name",
        "k",
        "--residency",
        "eu",
    ];
    cluster.pentora(1, &keep)?.ok()?;
    let job = wait::until("a pass", SOON, || {
        let list = cluster.pentora(1, &["job", "list", "--json"])?.json()?;
        Ok(list.as_array().and_then(|all| all.first()).and_then(|job| job["job_id"].as_str().map(str::to_owned)))
    })?;
    let explained = cluster.pentora(2, &["job", "explain", &job])?.ok()?;
    ensure!(explained.contains("results stay in eu"), "{explained}");
    Ok(())
}

#[test]
fn a_scanner_of_the_region_whose_gateway_is_elsewhere_keeps_its_results_until_a_member_there_takes_them()
-> anyhow::Result<()> {
    let Some(mut cluster) = two_regions(5, 256)? else { return Ok(()) };
    let token = cluster.token("n5", &["--role", "scanner", "--region", "eu"])?;
    cluster.join_with(5, &token, &["--tag", "dmz"])?;
    wait_for_workers(&cluster, &["n5"])?;
    cluster.lab().cut(5, 3)?;
    cluster.lab().cut(5, 4)?;
    wait::until("a gateway elsewhere", SOON, || {
        let log = cluster.node(5)?.log();
        let last = log.lines().rev().find(|line| line.contains("shown the log by a gateway")).map(str::to_owned);
        Ok(last.filter(|line| line.contains("n1") || line.contains("n2")).map(drop))
    })?;
    let scan = ["10.77.0.0/24", "--ports", "80,81", "--no-discovery", "--no-services", "--require-worker-tag", "dmz"];
    let job = Job::submit(&cluster, 1, &[&scan[..], &["--residency", "eu"]].concat())?;
    let spool = cluster.data_dir(5).join("hand-in");
    wait::until("results in the spool", SOON, || Ok(files(&spool).ok().filter(|files| !files.is_empty()).map(drop)))?;
    let elsewhere = [chunks(&cluster, 1)?, chunks(&cluster, 2)?];
    let waiting = files(&spool)?;
    ensure!(waiting.keys().all(|name| !elsewhere.iter().any(|there| there.contains_key(name))), "{waiting:?}");

    cluster.lab().heal()?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    ensure!(document["status"] == "completed" && document["targets_scanned"] == 256, "{document}");
    let score = job.score(&cluster, 3, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    ensure!(score.is_exact(), "{score}");
    ensure!(units_completed(&job.events(&cluster, 1)?).values().all(|count| *count == 1));
    let there = [chunks(&cluster, 3)?, chunks(&cluster, 4)?];
    ensure!(waiting.keys().all(|name| there.iter().any(|there| there.contains_key(name))), "{waiting:?} {there:?}");
    Ok(())
}
