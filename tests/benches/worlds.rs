//! 65,536 addresses and 20 ports, clean, with loss, behind a policer, and far away: ours beside the others.

use std::time::Duration;

use anyhow::Context;
use pentora_tests::lab::{Course, Truth, WORLD_PORTS, World, WorldOptions};

use crate::contest::Contest;
use crate::scanners::{Scanner, Task};

/// More than any of them sends here: each goes as fast as it can.
const UNLIMITED: u32 = 1_000_000;
/// What the policed world lets through.
const POLICED: u32 = 20_000;
/// One way; there and back it is twice that.
const DELAY: Duration = Duration::from_millis(25);

const NMAP_FASTEST: Scanner = Scanner::NmapSyn("-T5 --min-rate 100000");

/// All addresses of the world's network.
fn whole() -> WorldOptions {
    WorldOptions { addresses: 1 << 16, ..WorldOptions::default() }
}

fn contest(
    scanners: &[Scanner],
    (targets, ports): (&str, &[u16]),
    fixed_rate: u32,
    (options, delay): (WorldOptions, Duration),
    runs: u64,
) -> anyhow::Result<()> {
    let course = move |seed| -> anyhow::Result<(Course, Truth)> {
        let course = Course::start(delay)?;
        let mut course = course.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")?;
        let truth = course.become_world(&WorldOptions { seed, ..options })?.truth().clone();
        Ok((course, truth))
    };
    let task = Task { targets: targets.to_owned(), ports: ports.to_vec(), fixed_rate };
    Contest { scanners, task, course: &course, runs, police_pps: options.police_pps }.hold()
}

pub(crate) fn measure_clean() -> anyhow::Result<()> {
    let scanners = [
        Scanner::Raw,
        Scanner::RawDefault,
        Scanner::Example,
        Scanner::Masscan,
        Scanner::Zmap,
        Scanner::RustScan,
        NMAP_FASTEST,
    ];
    contest(&scanners, (World::NETWORK, &WORLD_PORTS), UNLIMITED, (whole(), Duration::ZERO), 10)
}

pub(crate) fn measure_connect() -> anyhow::Result<()> {
    let scanners = [Scanner::Connect, Scanner::NmapConnect("-T5 --min-rate 100000"), Scanner::RustScan];
    contest(&scanners, (World::NETWORK, &WORLD_PORTS), UNLIMITED, (whole(), Duration::ZERO), 3)
}

pub(crate) fn measure_loss_5() -> anyhow::Result<()> {
    lossy(5)
}

pub(crate) fn measure_loss_20() -> anyhow::Result<()> {
    lossy(20)
}

/// Clean first, in the same run: the goals are multiples of it.
fn lossy(loss_percent: u8) -> anyhow::Result<()> {
    let scanners = [Scanner::Raw, Scanner::RawDefault, Scanner::Example, Scanner::Masscan];
    let network = (World::NETWORK, WORLD_PORTS.as_slice());
    for options in [whole(), WorldOptions { loss_percent, ..whole() }] {
        println!("\n#### {} % lost, each way\n", options.loss_percent);
        contest(&scanners, network, UNLIMITED, (options, Duration::ZERO), 3)?;
    }
    Ok(())
}

pub(crate) fn measure_police() -> anyhow::Result<()> {
    let scanners = [Scanner::Raw, Scanner::RawDefault, Scanner::Example, Scanner::Masscan];
    let options = WorldOptions { police_pps: POLICED, ..whole() };
    // Masscan has to be told; ours is not.
    contest(&scanners, (World::NETWORK, &WORLD_PORTS), POLICED, (options, Duration::ZERO), 2)
}

pub(crate) fn measure_delay() -> anyhow::Result<()> {
    let scanners = [
        Scanner::Raw,
        Scanner::RawDefault,
        Scanner::Connect,
        Scanner::Example,
        Scanner::Masscan,
        Scanner::NmapSyn("-T4"),
        Scanner::NmapConnect("-T4"),
    ];
    let options = WorldOptions { addresses: 4096, ..WorldOptions::default() };
    contest(&scanners, ("10.77.0.0/20", &[22, 80, 443]), 50_000, (options, DELAY), 3)
}
