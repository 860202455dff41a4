//! What begins by itself, or elsewhere, is done as whoever asked for it, with what that one may scan then.

use std::time::Duration;

use anyhow::ensure;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::lab::{Lab, WorldOptions};
use pentora_tests::wait;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn passes_schedules_and_carried_jobs_are_their_authors_and_end_where_the_author_may_not_go() -> anyhow::Result<()> {
    let Some(mut lab) = Lab::start(1)? else { return Ok(()) };
    lab.add_world(&WorldOptions { addresses: 256, ..WorldOptions::default() })?;
    let cluster = Cluster::of_one(lab)?;
    let keep =
        ["keep", "10.77.0.0/24", "--fresh", "1m", "--rate", "4000", "--ports", "80", "--no-discovery", "--name", "k"];
    cluster.pentora(1, &keep)?.ok()?;
    let carried = Job::submit(&cluster, 1, &["10.77.0.200", "--ports", "80", "--carry"])?;
    let shown = || cluster.pentora(1, &["keep", "status", "k", "--json"])?.json();
    wait::until("a pass", SOON, || {
        let status = shown()?;
        let status = status.as_array().and_then(|all| all.first()).cloned().unwrap_or(status);
        Ok((status["targets_fresh"] == 256).then_some(()))
    })?;

    // The rule is about the author's token; jobs of nobody would pass it.
    let only =
        ["scope", "add", "10.77.0.0/25", "--only", "--token", "admin", "--reason", "half of it", "--name", "half"];
    cluster.pentora(1, &only)?.ok()?;
    let refused = wait::until("a pass that is refused", Duration::from_secs(150), || {
        let status = shown()?;
        let status = status.as_array().and_then(|all| all.first()).cloned().unwrap_or(status);
        Ok((status["status"] == "refused").then_some(status))
    })?;
    let reason = "scope `half` lets token `admin` scan 10.77.0.0/25 alone";
    ensure!(refused["reason"].as_str().is_some_and(|why| why.contains(reason)), "{refused}");
    let schedule = ["scan", "10.77.0.0/24", "--ports", "80", "--schedule", "0 2 * * *", "--timezone", "Europe/Berlin"];
    ensure!(cluster.pentora(1, &schedule)?.refused(4)?.contains(reason));
    let carry = ["scan", "10.77.0.200", "--ports", "80", "--carry"];
    ensure!(cluster.pentora(1, &carry)?.refused(4)?.contains(reason));
    ensure!(carried.document(&cluster, 1)?["status"] == "carried");
    // What the rule allows goes on.
    let schedule = ["scan", "10.77.0.0/25", "--ports", "80", "--schedule", "0 2 * * *"];
    cluster.pentora(1, &schedule)?.ok()?;
    Ok(())
}
