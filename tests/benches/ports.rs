//! A connect scan of every TCP port of one host with 200 listeners, beside other scanners in the same namespaces.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::command_line::pentora;
use pentora_tests::lab::{Host, Lab};
use pentora_tests::process::Process;
use pentora_tests::wait;

use crate::figures::{Sample, head, row};

const RUNS: usize = 20;

/// Every 327th port from 100 on: 200 of them, spread over the whole range.
fn listening() -> BTreeSet<u16> {
    (0..200).map(|number| 100 + number * 327).collect()
}

pub(crate) fn measure() -> anyhow::Result<()> {
    let lab = crate::lab(2)?;
    let folder = tempfile::tempdir()?;
    let list: Vec<String> = listening().iter().map(u16::to_string).collect();
    let mut farm = lab.host(2).command(&binary("lab-farm")?);
    let farm = Process::start(farm.args(["serve", "--ports", &list.join(",")]), &folder.path().join("farm.log"))?;
    wait::until("the farm", Duration::from_secs(10), || Ok(farm.log().contains("listening").then_some(())))?;

    let others = [("nmap -sT -T4", installed("nmap")), ("rustscan", installed("rustscan"))];
    let mut ours = Sample::default();
    let mut theirs = [Sample::default(), Sample::default()];
    let mut exact = 0;
    for _ in 0..RUNS {
        let began = Instant::now();
        let words = ["scan", "10.88.0.2", "--ports", "1-65535", "-o", "list"];
        let open = pentora(lab.host(1), folder.path(), &[], &words)?.ok()?;
        ours.add_s(began.elapsed());
        let found: BTreeSet<u16> = open.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
        exact += usize::from(found == listening() && open.lines().count() == found.len());
        for ((name, there), sample) in others.iter().zip(&mut theirs) {
            if *there {
                sample.add_s(peer(&lab, name)?);
            }
        }
    }
    println!("{exact} of {RUNS} runs found 200 of 200 and nothing else.\n");
    head(&["program", "n", "p50", "max", "ours / its, by p50"]);
    print_row("pentora", &ours, &ours);
    for ((name, _), sample) in others.iter().zip(&theirs) {
        print_row(name, sample, &ours);
    }
    Ok(())
}

fn print_row(name: &str, sample: &Sample, ours: &Sample) {
    let cells = match sample.len() {
        0 => ["0", "not installed", "", ""].map(str::to_owned),
        n => [
            n.to_string(),
            format!("{:.2} s", sample.median()),
            format!("{:.2} s", sample.max()),
            format!("{:.2}", ours.median() / sample.median()),
        ],
    };
    row(&[&[name.to_owned()][..], &cells].concat());
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// How long another scanner takes for the same.
fn peer(lab: &Lab, name: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let output = command(lab.host(1), name).output().with_context(|| name.to_owned())?;
    let took = began.elapsed();
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn command(host: &Host, name: &str) -> Command {
    let mut command = host.command(name.split(' ').next().unwrap_or(name).as_ref());
    match name {
        // No discovery and no name service for either: ports alone, as ours.
        "rustscan" => command.args(["-a", "10.88.0.2", "-r", "1-65535", "-g", "--no-config", "--ulimit", "65000"]),
        _ => command.args(["-n", "-Pn", "-sT", "-T4", "-p1-65535", "10.88.0.2"]),
    };
    command
}
