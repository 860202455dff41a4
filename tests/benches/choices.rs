//! What a measurement is told from outside: how many runs, which seeds, which scanners, and when to stop one.
//!
//! Seeds are drawn anew for each run and printed, so that nothing is tuned to one; `BENCH_SEEDS` repeats a run.

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use anyhow::Context;

/// A scanner that takes longer is stopped: nmap needs minutes for what others do in seconds.
const LIMIT_SECONDS: u64 = 150;

/// The seeds of a measurement's worlds: those of `BENCH_SEEDS` (`1,2,3`), or as many new ones as `BENCH_RUNS` says.
pub(crate) fn seeds(usual_runs: u64) -> anyhow::Result<Vec<u64>> {
    if let Ok(list) = env::var("BENCH_SEEDS") {
        return list.split(',').map(|seed| seed.trim().parse().context("BENCH_SEEDS")).collect();
    }
    let runs = runs(usual_runs)?;
    // A hasher's keys are the system's random bytes.
    Ok((0..runs).map(|_| RandomState::new().build_hasher().finish() % 1_000_000).collect())
}

/// How often to measure: `BENCH_RUNS`.
pub(crate) fn runs(usual: u64) -> anyhow::Result<u64> {
    Ok(number("BENCH_RUNS")?.unwrap_or(usual))
}

/// The time after which a scanner is stopped: `BENCH_LIMIT` seconds.
pub(crate) fn limit() -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(number("BENCH_LIMIT")?.unwrap_or(LIMIT_SECONDS)))
}

/// Whether a scanner takes part: `BENCH_SCANNERS` (`pentora,masscan`) names parts of names, and all are in without it.
pub(crate) fn takes_part(name: &str) -> bool {
    env::var("BENCH_SCANNERS").map_or(true, |list| list.split(',').any(|part| name.contains(part.trim())))
}

fn number(variable: &str) -> anyhow::Result<Option<u64>> {
    env::var(variable).ok().map(|text| text.parse().with_context(|| format!("{variable}={text}"))).transpose()
}
