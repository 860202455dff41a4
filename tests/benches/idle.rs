//! Three nodes left alone: what a cluster costs while it has nothing to do.

use std::time::Duration;

use pentora_tests::cluster::Cluster;

use crate::figures::{head, row};
use crate::pause;

/// Membership changes and first snapshots are over by then.
const SETTLE: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(60);

pub(crate) fn measure() -> anyhow::Result<()> {
    let cluster = Cluster::of(crate::lab(3)?, 3)?;
    pause(SETTLE);
    let before = (1..=3).map(|number| cluster.node(number)?.usage()).collect::<anyhow::Result<Vec<_>>>()?;
    pause(WATCHED);
    let leader = cluster.leader()?;
    head(&["node", "processor, of one core", "resident", "goal"]);
    for (number, before) in (1..=3).zip(before) {
        let now = cluster.node(number)?.usage()?;
        let busy = (now.processor_seconds - before.processor_seconds) / WATCHED.as_secs_f64();
        let role = if number == leader { " (leads)" } else { "" };
        row(&[
            format!("n{number}{role}"),
            format!("{:.2} %", busy * 100.0),
            format!("{:.1} MB", now.resident_mb),
            "1 %, 100 MB".to_owned(),
        ]);
    }
    Ok(())
}
