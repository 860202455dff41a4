//! Our send loop against a sink that drops everything, beside a bare `sendmmsg` loop in C on the same cable.
//!
//! The sink drops at the first point there is, so that both pay for the cable alone. The C program is `sendmmsg.c` beside
//! this file, compiled here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::repository;
use pentora_tests::lab::{Course, World};

use crate::figures::{Sample, head, row};
use crate::scanners::{Scanner, Task, check, gateway};
use crate::{arrivals, bounded, choices};

const RUNS: u64 = 5;
/// Ports enough that each program sends to its end without waiting for answers that nobody gives.
const PORTS: std::ops::RangeInclusive<u16> = 1..=100;
/// More than the cable carries.
const NO_LIMIT: u32 = 5_000_000;
/// A program that is slower than this has shown its rate by then.
const LIMIT: Duration = Duration::from_secs(10);
/// About as long as our scan takes.
const SECONDS: &str = "4";

pub(crate) fn measure() -> anyhow::Result<()> {
    let course = Course::start(Duration::ZERO)?;
    let course = course.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")?;
    let mac = gateway(course.far())?;
    // The sink answers nobody, so its hardware address is told.
    course.scanner().namespace().ip(&format!("neigh add {} lladdr {mac} dev eth0 nud permanent", Course::FAR))?;
    let sink =
        "table netdev sink {\n  chain in { type filter hook ingress device eth0 priority 0; policy drop;\n  }\n}\n";
    course.far().namespace().nft(sink)?;
    let folder = tempfile::tempdir()?;
    let bare = compile(folder.path())?;

    let task = Task { targets: World::NETWORK.to_owned(), ports: PORTS.collect(), fixed_rate: NO_LIMIT };
    let scanners = [Scanner::RawAt(NO_LIMIT), Scanner::Raw, Scanner::Example, Scanner::Masscan];
    let mut bare_pps = (Sample::default(), Sample::default());
    let mut theirs: Vec<_> = scanners.iter().map(|who| (*who, Sample::default(), Sample::default(), None)).collect();
    theirs.retain(|(who, ..)| choices::takes_part(&who.name()));
    // Turn by turn, so that all share whatever else the machine does.
    for _ in 0..choices::runs(RUNS)? {
        let mut command = course.scanner().command(&bare);
        command.args(["eth0", &mac, &Course::SCANNER.to_string(), SECONDS]);
        let work = || bounded::run(&mut command, folder.path(), LIMIT);
        let (ran, arrived) = arrivals::during(course.far(), work)?;
        check("the bare loop", &ran)?;
        bare_pps.0.add(arrived.mean_pps());
        bare_pps.1.add(arrived.best_pps());
        for (who, mean, best, refused) in &mut theirs {
            let Some(mut command) = who.command(&course, &task, folder.path())? else {
                *refused = Some("not installed".to_owned());
                continue;
            };
            let work = || bounded::run(&mut command, folder.path(), LIMIT);
            let (ran, arrived) = arrivals::during(course.far(), work)?;
            match check(&who.name(), &ran) {
                Err(error) if !ran.is_stopped => *refused = Some(error.to_string()),
                _ => {
                    mean.add(arrived.mean_pps());
                    best.add(arrived.best_pps());
                }
            }
        }
    }
    head(&["program", "n", "packets/s while sending, p50", "best second", "of the bare loop, p50", "best of best"]);
    let cells = |name: &str, mean: &Sample, best: &Sample| {
        let ratio = |ours: f64, bare: f64| format!("{:.2}", ours / bare.max(1.0));
        vec![
            name.to_owned(),
            mean.len().to_string(),
            format!("{:.0}", mean.median()),
            format!("{:.0}", best.max()),
            ratio(mean.median(), bare_pps.0.median()),
            ratio(best.max(), bare_pps.1.max()),
        ]
    };
    row(&cells("sendmmsg in C", &bare_pps.0, &bare_pps.1));
    for (who, mean, best, refused) in &theirs {
        match refused {
            Some(why) => row(&[who.name(), "0".to_owned(), why.clone(), String::new(), String::new(), String::new()]),
            None => row(&cells(&who.name(), mean, best)),
        }
    }
    Ok(())
}

fn compile(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let program = folder.join("sendmmsg");
    let source = repository().join("tests/benches/sendmmsg.c");
    let output = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(source).output();
    let output = output.context("starting cc")?;
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}
