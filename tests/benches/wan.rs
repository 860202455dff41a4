//! Hosts far from each other: 10 ms of cable each, so 40 ms from host to host and back.

use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::WorldOptions;

use crate::failover::kills;
use crate::figures::summary;
use crate::pause;

const CABLE: Duration = Duration::from_millis(10);
const ROUNDS: usize = 20;

/// Seconds without a fault, unless `QUIET_SECONDS` says otherwise.
const QUIET_SECONDS: u64 = 600;

pub(crate) fn measure() -> anyhow::Result<()> {
    let mut lab = crate::lab(3)?;
    lab.add_world(&WorldOptions { addresses: 1 << 16, alive_percent: 100, ..WorldOptions::default() })?;
    lab.lengthen_cables(CABLE)?;
    let mut cluster = Cluster::with_options(lab, 3, &["--profile", "wan"])?;
    let quiet = std::env::var("QUIET_SECONDS").ok().map_or(Ok(QUIET_SECONDS), |text| text.parse())?;

    // 65,536 probes at 100 a second outlast the watch.
    let job = Job::submit(&cluster, 2, &["10.77.0.0/16", "--ports", "80", "--rate", "100", "--no-discovery"])?;
    let term = |cluster: &Cluster| cluster.status(1)?.get("term").cloned().context("a term");
    let before = term(&cluster)?;
    pause(Duration::from_secs(quiet));
    let after = term(&cluster)?;
    let running = job.document(&cluster, 1)?.get("status").is_some_and(|status| status == "running");
    ensure!(running, "the scan ended within the {quiet} s");
    cluster.pentora(1, &["job", "cancel", &job.0])?.ok()?;
    println!("Term {before} before and {after} after {quiet} quiet seconds under a running scan.\n");

    let times = kills(&mut cluster, ROUNDS)?;
    summary("kill -9 of the leader, to a write through another node", "ms", &times, "p95 6000 ms");
    Ok(())
}
