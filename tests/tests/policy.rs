//! The cluster's policy: written through one node, held to by all, and seen at the target.

use std::net::Ipv4Addr;
use std::time::Duration;

use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::http::Request;
use pentora_tests::lab::{Lab, WorldOptions, most_within, probes_during, probes_within};
use pentora_tests::wait;

const SCAN_MAX: Duration = Duration::from_secs(90);
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Nodes, and a world of which every address is alive.
fn cluster(size: usize, options: &[&str]) -> anyhow::Result<Option<Cluster>> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(None) };
    lab.add_world(&WorldOptions { addresses: 256, alive_percent: 100, ..WorldOptions::default() })?;
    Cluster::with_options(lab, size, options).map(Some)
}

/// Waits until probes of a job arrive at the world.
fn wait_for_probes(cluster: &Cluster) -> anyhow::Result<()> {
    let world = cluster.lab().world_host();
    wait::until("probes", SCAN_MAX, || Ok((!probes_within(world, Duration::from_secs(1))?.is_empty()).then_some(())))
}

#[test]
fn public_space_is_refused_until_a_scope_allows_it_and_again_when_that_is_gone() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, &["--network-access", "0.0.0.0/0"])? else { return Ok(()) };
    let world = cluster.lab().world_host();
    world.namespace().ip("addr add 203.0.113.9/32 dev lo")?;
    for number in 1..=2 {
        cluster.lab().host(number).namespace().ip(&format!("route add 203.0.113.0/28 via {}", world.address()))?;
    }
    let scan = ["scan", "203.0.113.9", "--ports", "80", "--json"];
    let said = cluster.pentora(1, &scan)?.refused(4)?;
    assert!(said.contains("203.0.113.9 is outside") && said.contains("pentora scope add"), "{said}");
    let missing = ["scope", "add", "203.0.113.0/28", "--reason", " "];
    assert!(cluster.pentora(1, &missing)?.refused(2)?.contains("needs its reason"));
    let everything = ["scope", "add", "0.0.0.0/0", "--reason", "all of it"];
    assert!(cluster.pentora(1, &everything)?.refused(2)?.contains("no scan can be of"));

    let add = ["scope", "add", "203.0.113.0/28", "--reason", "contract 4711", "--name", "lab"];
    cluster.pentora(2, &add)?.ok()?;
    wait::until("the scope on the other node", ANSWER_MAX, || {
        Ok((cluster.pentora(1, &["scope", "show", "lab"])?.code == 0).then_some(()))
    })?;
    let shown = cluster.pentora(1, &["scope", "show", "lab", "--json"])?.json()?;
    assert_eq!((&shown["reason"], &shown["by"]), (&"contract 4711".into(), &"admin".into()), "{shown}");
    assert!(shown["from"].as_str().is_some_and(|from| from.parse::<std::net::IpAddr>().is_ok()), "{shown}");
    let scanned = cluster.pentora(1, &scan)?.ok()?;
    assert!(scanned.contains("203.0.113.9"), "{scanned}");

    cluster.pentora(1, &["scope", "remove", "lab", "--yes"])?.ok()?;
    cluster.pentora(1, &scan)?.refused(4)?;
    assert!(cluster.pentora(1, &["scope", "remove", "lab", "--yes"])?.refused(1)?.contains("no scope is named `lab`"));
    let get = Request { method: "GET", path: "/api/v1/scopes/lab", ..Request::default() };
    assert_eq!(cluster.api(2, &get, ANSWER_MAX)?.status, 404);
    Ok(())
}

#[test]
fn a_running_job_that_a_new_rule_forbids_sends_nothing_more_and_goes_on_when_the_rule_is_gone() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, &[])? else { return Ok(()) };
    let job = Job::submit(&cluster, 1, &["10.77.0.0/24", "--ports", "80,81", "--rate", "60", "--no-discovery"])?;
    wait_for_probes(&cluster)?;
    let only = ["scope", "add", "10.77.0.0/25", "--only", "--reason", "half of it", "--name", "half"];
    cluster.pentora(2, &only)?.ok()?;
    let world = cluster.lab().world_host();
    probes_within(world, Duration::from_secs(1))?;
    let late = probes_within(world, Duration::from_secs(3))?;
    let outside = late.iter().filter(|(_, to)| *to >= Ipv4Addr::new(10, 77, 0, 128)).count();
    // A unit that was handed back may have begun anew, within the rule, in the moment before the whole job was held.
    assert!(outside == 0 && late.len() <= 2, "from 1 s after the rule on: {late:?}");
    let document = job.document(&cluster, 3)?;
    assert_eq!(document["status"], "paused", "{document}");
    assert!(document["reason"].as_str().is_some_and(|why| why.contains("scope `half`")), "{document}");
    let refused = cluster.pentora(3, &["job", "resume", &job.0])?.refused(1)?;
    assert!(refused.contains("held by policy") && refused.contains("scope `half`"), "{refused}");
    let said = cluster.pentora(3, &["scan", "10.77.0.0/24", "--ports", "80", "--detach"])?.refused(4)?;
    assert!(said.contains("scope `half` lets token `admin` scan 10.77.0.0/25 alone"), "{said}");

    cluster.pentora(3, &["scope", "remove", "half", "--yes"])?.ok()?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &256.into()), "{document}");
    let score = job.score(&cluster, 2, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn what_the_cluster_excludes_gets_nothing_and_profiles_complete_a_request() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, &[])? else { return Ok(()) };
    cluster.pentora(1, &["exclude", "add", "10.77.0.0/29", "10.77.0.9", "--name", "plant", "--reason", "plc"])?.ok()?;
    let slip = cluster.pentora(1, &["exclude", "add", "10.77.0.0/99"])?.refused(2)?;
    assert!(slip.contains("10.77.0.0/99"), "{slip}");
    let own = ["profile", "add", "web", "ports=80,81", "services=false", "discovery=false", "--reason", "two ports"];
    cluster.pentora(2, &own)?.ok()?;
    let said = cluster.pentora(1, &["scan", "10.77.0.9", "--profile", "web"])?.refused(4)?;
    assert!(said.contains("every target is excluded, by `plant`"), "{said}");
    let job = Job::submit(&cluster, 2, &["10.77.0.0/28", "--profile", "web"])?;
    let (document, probes) = probes_during(cluster.lab().world_host(), || job.wait(&cluster, 1, SCAN_MAX))?;
    assert_eq!((&document["targets_total"], &document["ports"]), (&7.into(), &"80-81".into()), "{document}");
    assert!(document["notes"].to_string().contains("exclusion `plant` leaves 9 targets out"), "{document}");
    let spared = |to: Ipv4Addr| to < Ipv4Addr::new(10, 77, 0, 8) || to == Ipv4Addr::new(10, 77, 0, 9);
    assert!(!probes.iter().any(|(_, to)| spared(*to)), "{probes:?}");

    let unknown = cluster.pentora(1, &["scan", "10.77.0.20", "--profile", "nosuch"])?.refused(2)?;
    assert!(unknown.contains("no profile named `nosuch`") && unknown.contains("quick"), "{unknown}");
    let listed = cluster.pentora(1, &["profile", "list", "--json"])?.json()?;
    let names: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect();
    assert!(
        ["quick", "standard", "deep", "discovery", "udp", "ot-safe", "web"].iter().all(|name| names.contains(name))
    );
    let up = cluster.pentora(2, &["scan", "10.77.0.16/28", "--profile", "discovery", "--json"])?.json()?;
    assert_eq!(up["summary"]["hosts_up"], 16, "{up}");
    Ok(())
}

#[test]
fn a_window_that_closes_holds_the_job_and_one_that_opens_lets_it_go_on() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, &[])? else { return Ok(()) };
    let job = Job::submit(&cluster, 1, &["10.77.0.0/24", "--ports", "80,81", "--rate", "60", "--no-discovery"])?;
    wait_for_probes(&cluster)?;
    let freeze = ["window", "add", "freeze", "10.77.0.0/25", "--blackout", "--from", "2020-01-01T00:00:00Z", "--until"];
    cluster.pentora(2, &[&freeze[..], &["2099-01-01T00:00:00Z", "--reason", "audit"]].concat())?.ok()?;
    let world = cluster.lab().world_host();
    probes_within(world, Duration::from_secs(1))?;
    let late = probes_within(world, Duration::from_secs(3))?;
    assert!(late.is_empty(), "{} probes from 1 s after the blackout on", late.len());
    wait::until("the hold", Duration::from_secs(10), || {
        Ok((job.document(&cluster, 2)?["status"] == "paused").then_some(()))
    })?;
    let document = job.document(&cluster, 1)?;
    assert!(document["reason"].as_str().is_some_and(|why| why.contains("blackout `freeze`")), "{document}");
    let scan = ["scan", "10.77.0.9", "--ports", "80", "--detach"];
    let said = cluster.pentora(1, &scan)?.refused(4)?;
    assert!(said.contains("blackout `freeze`") && said.contains("--wait-for-window"), "{said}");
    let other = Job::submit(&cluster, 1, &["10.77.0.200", "--ports", "80"])?;
    assert_eq!(other.wait(&cluster, 1, SCAN_MAX)?["status"], "completed", "what it does not name goes on");
    let waiting = Job::submit(&cluster, 2, &["10.77.0.9", "--ports", "80", "--wait-for-window"])?;

    cluster.pentora(1, &["window", "remove", "freeze", "--yes"])?.ok()?;
    assert_eq!(waiting.wait(&cluster, 1, SCAN_MAX)?["status"], "completed");
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["targets_scanned"]), (&"completed".into(), &256.into()), "{document}");
    let score = job.score(&cluster, 2, &cluster.lab().world().truth().of_ports(&[80, 81]))?;
    assert!(score.is_exact(), "{score}");
    Ok(())
}

#[test]
fn two_jobs_on_three_nodes_stay_within_a_networks_budget_through_a_change_of_leader() -> anyhow::Result<()> {
    const BUDGET: usize = 120;
    let Some(cluster) = cluster(3, &[])? else { return Ok(()) };
    let words = ["budget", "add", "10.77.0.0/24", "--rate", "120", "--name", "thin"];
    cluster.pentora(1, &words)?.ok()?;
    let scan = ["10.77.0.0/24", "--ports", "80,81", "--no-discovery", "--no-services"];
    let (ended, probes) = probes_during(cluster.lab().world_host(), || {
        let jobs = [Job::submit(&cluster, 1, &scan)?, Job::submit(&cluster, 2, &scan)?];
        wait_for_probes(&cluster)?;
        cluster.pentora(3, &["cluster", "transfer-leadership"])?.ok()?;
        jobs.iter().map(|job| job.wait(&cluster, 1, SCAN_MAX)).collect::<anyhow::Result<Vec<_>>>()
    })?;
    assert!(ended.iter().all(|document| document["status"] == "completed"), "{ended:?}");
    let times: Vec<Duration> = probes.iter().map(|(at, _)| *at).collect();
    let most = most_within(&times, Duration::from_secs(1));
    // Each of six shares may have a probe in flight and 3 % of slack.
    assert!(most <= BUDGET + BUDGET / 20 + 6, "{most} probes within a second");
    assert!(probes.len() >= 1_024, "{} probes", probes.len());
    Ok(())
}

#[test]
fn an_address_of_two_sites_is_refused_with_both_and_scanned_by_the_nodes_of_the_one_that_is_named() -> anyhow::Result<()>
{
    let Some(cluster) = cluster(2, &[])? else { return Ok(()) };
    for (node, site) in [("n1", "berlin"), ("n2", "madrid")] {
        cluster.pentora(1, &["site", "add", site, "10.77.0.0/16"])?.ok()?;
        cluster.pentora(1, &["nodes", "set", node, "--site", site])?.ok()?;
    }
    let said = cluster.pentora(2, &["scan", "10.77.0.0/28", "--ports", "80", "--detach"])?.refused(4)?;
    assert!(["berlin", "madrid", "--site"].iter().all(|word| said.contains(word)), "{said}");
    let job = Job::submit(&cluster, 1, &["10.77.0.0/28", "--ports", "80", "--site", "madrid"])?;
    let document = job.wait(&cluster, 1, SCAN_MAX)?;
    assert_eq!((&document["status"], &document["site"]), (&"completed".into(), &"madrid".into()), "{document}");
    let workers: Vec<&str> = document["worker_stats"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|worker| worker["worker_id"].as_str())
        .collect();
    assert_eq!(workers, ["wrk_n2"], "{document}");
    let nowhere = ["scan", "10.77.0.0/28", "--ports", "80", "--site", "oslo", "--detach"];
    let said = cluster.pentora(1, &nowhere)?.refused(2)?;
    assert!(said.contains("there is no site named `oslo`: there are berlin, madrid"), "{said}");
    Ok(())
}
