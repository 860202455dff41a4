//! Jobs land where they may and nowhere else, counted at what they scan: two sites with the same addresses, a region that results do
//! not leave, a site that only dials out, a tag that work requires; also while the leader is killed. And what a network gets from
//! all nodes together stays within its budget.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use pentora_tests::cluster::{Cluster, Job, units_completed};
use pentora_tests::lab::{Lab, WorldOptions, most_within, probes_during};
use pentora_tests::wait;

const SOON: Duration = Duration::from_secs(60);
const SCAN_MAX: Duration = Duration::from_secs(150);

/// The workers at the two sites, which only scan, and what they scan: two hosts that each are all of 10.77.0.0/16, and one that both
/// reach.
const BERLIN: usize = 4;
const MADRID: usize = 5;
const TARGETS: [usize; 3] = [6, 7, 8];

fn wait_for_workers(cluster: &Cluster, names: &[&str]) -> anyhow::Result<()> {
    wait::until("all workers", SOON, || {
        let list = cluster.pentora(1, &["nodes", "list", "--json"])?.json()?;
        let is_idle = |name: &&str| {
            list.as_array().into_iter().flatten().any(|node| node["name"] == **name && node["status"] == "Idle")
        };
        Ok(names.iter().all(is_idle).then_some(()))
    })
}

fn sites() -> anyhow::Result<Option<Cluster>> {
    let Some(lab) = Lab::start(8)? else { return Ok(None) };
    let [berlin, madrid, both] = TARGETS;
    for (target, network) in [(berlin, "10.77.0.0/16"), (madrid, "10.77.0.0/16"), (both, "10.79.0.0/16")] {
        lab.host(target).namespace().ip(&format!("route add local {network} dev lo"))?;
    }
    let address = |number: usize| lab.host(number).address();
    for (worker, target) in [(BERLIN, berlin), (MADRID, madrid)] {
        lab.host(worker).namespace().ip(&format!("route add 10.77.0.0/16 via {}", address(target)))?;
        lab.host(worker).namespace().ip(&format!("route add 10.79.0.0/16 via {}", address(both)))?;
    }
    let mut cluster = Cluster::of_one(lab)?;
    for (number, region) in [(2, "us"), (3, "eu")] {
        let token = cluster.token(&format!("n{number}"), &[])?;
        cluster.join_with(number, &token, &["--region", region])?;
    }
    cluster.wait_for_voters(3)?;
    let token = cluster.token("n4", &["--role", "scanner", "--site", "berlin", "--tags", "production"])?;
    cluster.join_with(BERLIN, &token, &["--region", "us"])?;
    cluster.lab().outbound_only(MADRID)?;
    let token = cluster.token("n5", &["--role", "scanner", "--site", "madrid", "--region", "eu"])?;
    cluster.join(MADRID, &token)?;
    wait_for_workers(&cluster, &["n4", "n5"])?;
    for site in ["berlin", "madrid"] {
        cluster.pentora(1, &["site", "add", site, "10.77.0.0/16"])?.ok()?;
    }
    Ok(Some(cluster))
}

#[test]
fn jobs_land_only_where_they_may_and_in_each_target_only_those_arrive_also_while_the_leader_is_killed()
-> anyhow::Result<()> {
    let Some(cluster) = sites()? else { return Ok(()) };
    let [berlin, madrid, both] = TARGETS;
    let arrivals = [
        cluster.lab().arrivals(berlin, "10.77.0.0/16")?,
        cluster.lab().arrivals(madrid, "10.77.0.0/16")?,
        cluster.lab().arrivals(both, "10.79.0.0/16")?,
    ];
    if cluster.leader()? == 3 {
        // The one member of the region has to stay.
        cluster.pentora(1, &["cluster", "transfer-leadership", "n1"])?.ok()?;
        wait::until("another leader", SOON, || Ok((cluster.leader()? != 3).then_some(())))?;
    }
    let scan = |network: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        let words = [network, "--ports", "80,81", "--no-discovery", "--no-services", "--rate", "16"];
        [&words[..], more].concat()
    };
    let said =
        cluster.pentora(1, &[&["scan"][..], scan("10.77.0.0/26", &["--detach"]).as_slice()].concat())?.refused(4)?;
    ensure!(said.contains("berlin") && said.contains("madrid"), "{said}");
    let jobs = [
        Job::submit(&cluster, 1, &scan("10.77.0.0/26", &["--site", "berlin"]))?,
        Job::submit(&cluster, 2, &scan("10.77.0.0/26", &["--site", "madrid", "--residency", "eu"]))?,
        Job::submit(&cluster, 3, &scan("10.79.0.0/26", &["--require-worker-tag", "production"]))?,
    ];
    wait::until("work on all of them", SOON, || {
        let documents = jobs.iter().map(|job| job.document(&cluster, 3)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(documents.iter().all(|document| document["active_workers"] == 1).then_some(()))
    })?;
    let leader = cluster.leader()?;
    ensure!(leader != 3, "n{leader}");
    cluster.node(leader)?.signal(Signal::SIGKILL)?;
    for (job, worker) in jobs.iter().zip(["wrk_n4", "wrk_n5", "wrk_n4"]) {
        let document = job.wait(&cluster, 3, SCAN_MAX)?;
        ensure!(document["status"] == "completed" && document["targets_scanned"] == 64, "{document}");
        let workers: Vec<&str> = document["worker_stats"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|stat| stat["worker_id"].as_str())
            .collect();
        ensure!(workers == [worker], "{document}");
        ensure!(units_completed(&job.events(&cluster, 3)?).values().all(|count| *count == 1));
    }
    for (arrivals, worker) in arrivals.iter().zip([BERLIN, MADRID, BERLIN]) {
        let from = arrivals.packets()?;
        ensure!(from.keys().eq([&worker]) && from[&worker] >= 128, "{from:?}");
    }
    // Read where they stay, and nowhere else.
    jobs[1].results(&cluster, 3, "json")?;
    let other = (1..=2).find(|number| *number != leader).context("another member")?;
    let said = cluster.pentora(other, &["job", "results", &jobs[1].0])?.refused(4)?;
    ensure!(said.contains("do not leave region eu") && said.contains("n3"), "{said}");
    Ok(())
}

#[test]
fn five_nodes_stay_within_a_networks_budget_while_their_leader_is_killed() -> anyhow::Result<()> {
    const BUDGET: usize = 150;
    let Some(mut lab) = Lab::start(5)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    let cluster = Cluster::of(lab, 5)?;
    wait_for_workers(&cluster, &["n1", "n2", "n3", "n4", "n5"])?;
    cluster.pentora(1, &["budget", "add", "10.77.0.0/24", "--rate", "150", "--name", "thin"])?.ok()?;
    let leader = cluster.leader()?;
    let asked = (1..=5).find(|number| *number != leader).context("another node")?;
    let scan = ["10.77.0.0/24", "--ports", "80,81,82", "--no-discovery", "--no-services"];
    let (ended, probes) = probes_during(cluster.lab().world_host(), || {
        let jobs = [Job::submit(&cluster, asked, &scan)?, Job::submit(&cluster, asked, &scan)?];
        cluster.lab().wait_for_probes(asked, 10)?;
        cluster.node(leader)?.signal(Signal::SIGKILL)?;
        jobs.iter().map(|job| job.wait(&cluster, asked, SCAN_MAX)).collect::<anyhow::Result<Vec<_>>>()
    })?;
    ensure!(ended.iter().all(|document| document["status"] == "completed"), "{ended:?}");
    let times: Vec<Duration> = probes.iter().map(|(at, _)| *at).collect();
    let most = most_within(&times, Duration::from_secs(1));
    // Each of ten shares may have a probe in flight and 3 % of slack.
    ensure!(most <= BUDGET + BUDGET / 20 + 10, "{most} probes within a second");
    ensure!(probes.len() >= 1_536, "{} probes", probes.len());
    Ok(())
}
