//! Standing scans: a promise is held whoever leads, and says how well.

use std::time::Duration;

use anyhow::Context;
use pentora_tests::cluster::Cluster;
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;
use serde_json::Value;

/// Four slices, each scanned in some seconds, and an election.
const ALL_SEEN_MAX: Duration = Duration::from_secs(120);

fn status(cluster: &Cluster, number: usize) -> anyhow::Result<Value> {
    cluster.pentora(number, &["keep", "status", "office", "--json"])?.json()
}

#[test]
fn a_promise_is_held_through_the_loss_of_its_leader_with_the_latest_results_of_each_slice() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let leader = cluster.leader()?;
    let follower = *cluster.followers()?.first().context("a follower")?;
    let promise = ["keep", "10.77.0.0/22", "--fresh", "5m", "--ports", "80", "--no-discovery", "--rate", "400"];
    let refused = cluster.pentora(follower, &["keep", "h.example", "--fresh", "5m", "--rate", "400"])?;
    assert!(refused.code == 2 && refused.stderr.contains("of addresses"), "{refused:?}");
    let named = cluster.pentora(follower, &[&promise[..], &["--name", "office"]].concat())?;
    assert_eq!((named.code, named.stdout.as_str()), (0, "office\n"), "{named:?}");
    let first = wait::until("a slice that was seen", ALL_SEEN_MAX, || {
        Ok(status(&cluster, follower).ok().filter(|status| status["oldest"].is_object()))
    })?;
    assert_eq!((&first["slices"], &first["targets"]), (&4.into(), &1024.into()), "{first}");
    cluster.node_mut(leader)?.kill()?;
    let all = wait::until("every address fresh", ALL_SEEN_MAX, || {
        let now = status(&cluster, follower).ok();
        Ok(now.filter(|now| now["targets_fresh"] == 1024 && now["latest_jobs"].as_array().map(Vec::len) == Some(4)))
    })?;
    // As one scan of all of it finds.
    let scan = ["scan", "10.77.0.0/22", "--ports", "80", "--no-discovery", "--no-services", "--json"];
    let scanned = cluster.pentora(follower, &scan)?.json()?;
    assert_eq!((&all["hosts_up"], &all["can_be_held"]), (&scanned["summary"]["hosts_up"], &true.into()), "{all}");
    assert!(all["needed_pps"].as_u64() >= Some(1) && all["targets_never_seen"] == 0, "{all}");
    let shown = cluster.pentora(follower, &["keep", "status"])?.ok()?;
    assert!(shown.contains("Fresh: 1,024 of 1,024 addresses (100%)") && shown.contains("Budget: enough"), "{shown}");
    let needs = cluster.pentora(follower, &["plan", "capacity", "--for", "keep", "--json"])?.json()?;
    assert_eq!((&needs[0]["name"], &needs[0]["targets"]), (&"office".into(), &1024.into()), "{needs}");
    cluster.pentora(follower, &["keep", "remove", "office", "--yes"])?.ok()?;
    let gone = cluster.pentora(follower, &["keep", "status", "office"])?;
    assert!(gone.code == 1 && gone.stderr.contains("keep list"), "{gone:?}");
    let jobs = cluster.pentora(follower, &["job", "list", "--json"])?.json()?;
    let open = |job: &&Value| ["queued", "running"].iter().any(|word| job["status"] == *word);
    assert_eq!(jobs.as_array().into_iter().flatten().find(open), None, "no pass goes on");
    Ok(())
}
