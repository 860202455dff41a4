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

#[test]
fn what_is_excluded_is_never_fresh_and_keeps_nothing_else_waiting() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let cluster = Cluster::of_one(lab)?;
    // A whole slice, and an address of another.
    for excluded in ["10.77.0.0/24", "10.77.1.7"] {
        cluster.pentora(1, &["exclude", "add", excluded, "--reason", "plc"])?.ok()?;
    }
    let promise = ["keep", "10.77.0.0/22", "--fresh", "1h", "--ports", "80", "--no-discovery", "--rate", "2000"];
    cluster.pentora(1, &[&promise[..], &["--name", "office"]].concat())?.ok()?;
    let all = wait::until("all that may be scanned to be fresh", ALL_SEEN_MAX, || {
        Ok(status(&cluster, 1).ok().filter(|now| now["targets_fresh"] == 767))
    })?;
    let told = ["targets", "targets_excluded", "targets_never_seen"].map(|field| all[field].as_u64());
    assert_eq!(told, [Some(1024), Some(257), Some(0)], "{all}");
    assert_eq!((&all["fresh_share"], &all["status"]), (&1.0.into(), &"active".into()), "{all}");
    let shown = cluster.pentora(1, &["keep", "status"])?.ok()?;
    let expected = "Fresh: 767 of 767 addresses (100%)\nExcluded: 257 of 1,024 addresses";
    assert!(shown.contains(expected), "{shown}");
    // What was seen before it was excluded is not counted either, from then on.
    cluster.pentora(1, &["exclude", "add", "10.77.2.0/28", "--reason", "plc"])?.ok()?;
    let later = status(&cluster, 1)?;
    assert_eq!((&later["targets_fresh"], &later["targets_excluded"]), (&751.into(), &273.into()), "{later}");
    Ok(())
}
