//! The runbook of docs/OPERATING.md for a majority that is lost for good, as it stands there.

use std::fs;
use std::time::Duration;

use pentora_tests::cluster::{Cluster, Job, START_MAX};
use pentora_tests::command_line::{self, Ran};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;

const SCAN_MAX: Duration = Duration::from_secs(60);

fn scan(cluster: &Cluster, targets: &str) -> anyhow::Result<Job> {
    let job = Job::submit(cluster, 1, &[targets, "--ports", "80", "--no-discovery", "--no-services"])?;
    let document = job.wait(cluster, 1, SCAN_MAX)?;
    assert_eq!(document.get("status"), Some(&"completed".into()), "{document}");
    Ok(job)
}

fn recover(cluster: &Cluster, more: &[&str]) -> anyhow::Result<Ran> {
    let data = cluster.data_dir(1).display().to_string();
    let words = [&["recover", "--data-dir", &data], more].concat();
    command_line::run(cluster.lab().host(1), "pentora-node", cluster.folder(), &[], &words)
}

#[test]
fn the_last_of_three_members_goes_on_alone_and_new_ones_join_under_the_old_names() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(3)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 64, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let job = scan(&cluster, "10.77.0.0/28")?;
    let found = job.results(&cluster, 1, "jsonl")?.lines().count();
    let running = recover(&cluster, &["--yes"])?;
    assert_eq!((running.code, running.stderr.contains("in use")), (1, true), "{running:?}");
    for node in [2, 3] {
        cluster.node_mut(node)?.kill()?;
        fs::remove_dir_all(cluster.data_dir(node))?;
    }
    cluster.node_mut(1)?.kill()?;

    let asked = recover(&cluster, &[])?;
    assert_eq!(asked.code, 2, "{asked:?}");
    for part in ["n1, n2, n3", "1 job (0 not ended)", "take out: n2, n3"] {
        assert!(asked.stdout.contains(part), "{part}: {}", asked.stdout);
    }
    recover(&cluster, &["--yes"])?.ok()?;
    cluster.restart(1)?;
    wait::until("the survivor to lead alone", START_MAX, || {
        Ok(cluster.status(1).ok().filter(|status| status["leader"] == "n1" && status["quorum"]["voters"] == 1))
    })?;
    assert_eq!(cluster.status(1)?["nodes"].as_array().map(Vec::len), Some(1));
    let left = cluster.pentora(1, &["job", "results", &job.0, "-o", "jsonl"])?;
    // What only the lost ones held is named as missing.
    assert!([0, 6].contains(&left.code) && found == 16, "{left:?}");
    assert_eq!(left.code == 0, left.stdout.lines().count() == found, "{left:?}");
    scan(&cluster, "10.77.0.16/30")?;

    for node in [2, 3] {
        let token = cluster.token(&format!("n{node}"), &[])?;
        cluster.join(node, &token)?;
    }
    cluster.wait_for_voters(3)?;
    let leader = cluster.leader()?;
    assert_eq!(cluster.status(leader)?["quorum"]["failures_tolerated"], 1);
    scan(&cluster, "10.77.0.32/28").map(drop)
}
