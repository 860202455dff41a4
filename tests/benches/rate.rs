//! `--rate 1000`, seen from the target: every probe's time of arrival, as the kernel there stamps it.

use std::time::Duration;

use anyhow::Context;
use pentora_tests::lab::{Course, WORLD_PORTS, WorldOptions, most_within, probes_during};

use crate::figures::{head, row};
use crate::scanners::check;
use crate::{bounded, choices};

const RATE: usize = 1000;
/// 1,024 addresses and 20 ports: twenty seconds at this rate.
const TARGETS: &str = "10.77.0.0/22";
const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

pub(crate) fn measure() -> anyhow::Result<()> {
    head(&["program", "seed", "probes", "most in any second", "most in any 100 ms", "mean per second", "goal"]);
    for seed in choices::seeds(2)? {
        for engine in ["raw", "connect"] {
            measure_one(engine, seed)?;
        }
    }
    Ok(())
}

fn measure_one(engine: &str, seed: u64) -> anyhow::Result<()> {
    let course = Course::start(Duration::ZERO)?;
    let mut course = course.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")?;
    course.become_world(&WorldOptions { seed, addresses: 1024, ..WorldOptions::default() })?;
    let folder = tempfile::tempdir()?;
    let ports = WORLD_PORTS.map(|port| port.to_string()).join(",");
    let rate = RATE.to_string();
    let words = ["scan", TARGETS, "--ports", &ports, "--rate", &rate, "--engine", engine];
    let mut command = course.scanner().command(&pentora_tests::binaries::binary("pentora")?);
    command.env_clear().env("HOME", folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(words).args(["--no-discovery", "--no-banners", "--local", "-o", "list"]);
    let limit = choices::limit()?;
    let (ran, probes) = probes_during(course.far(), || bounded::run(&mut command, folder.path(), limit))?;
    let times: Vec<Duration> = probes.into_iter().map(|(time, _)| time).collect();
    let name = format!("pentora --rate {RATE} --engine {engine}");
    if let Err(refused) = check(&name, &ran) {
        row(&[&[name, seed.to_string(), refused.to_string()][..], &[const { String::new() }; 4]].concat());
        return Ok(());
    }
    let span = times.last().zip(times.first()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    row(&[
        name,
        seed.to_string(),
        times.len().to_string(),
        most_within(&times, SECOND).to_string(),
        most_within(&times, TENTH).to_string(),
        format!("{:.0}", times.len() as f64 / span.as_secs_f64().max(1e-3)),
        "<= 1050, <= 105, >= 950".to_owned(),
    ]);
    Ok(())
}
