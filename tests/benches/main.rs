//! The measurements of docs/BENCHMARKS.md: `make bench`, or `make bench BENCH=NAME` for one.
//!
//! Everything runs on the programs that ship, in namespaces of this process's own, and prints tables for that page. A
//! measurement that cannot be made here says why instead of printing a figure. `chaos` is not a measurement but scans under
//! random faults, round after round; it fails if a result is wrong, a history not linearizable or a term has two leaders.

mod arrivals;
mod bounded;
mod chaos;
mod choices;
mod contest;
mod doors;
mod failover;
mod feeds;
mod figures;
mod idle;
mod machine;
mod nodes;
mod one_host;
mod ports;
mod rate;
mod router;
mod scanners;
mod sink;
mod start;
mod submit;
mod wan;
mod worker;
mod worlds;
mod writes;
mod zoo;

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use pentora_tests::lab::Lab;

/// A measurement: its name, what it measures, and how.
type Measurement = (&'static str, &'static str, fn() -> anyhow::Result<()>);

const MEASUREMENTS: [Measurement; 24] = [
    ("machine", "what this is measured on", machine::print),
    ("start", "one command, from start to exit", start::measure),
    ("ports", "a connect scan of 65,535 ports, beside other scanners", ports::measure),
    ("world", "65,536 addresses and 20 ports, beside other scanners", worlds::measure_clean),
    ("connect", "the same over ordinary connections", worlds::measure_connect),
    ("loss5", "the same with 5 % of the packets lost, each way", worlds::measure_loss_5),
    ("loss20", "the same with 20 % of the packets lost, each way", worlds::measure_loss_20),
    ("police", "the same behind a policer of 20,000 packets per second", worlds::measure_police),
    ("delay", "4,096 addresses and 3 ports, 50 ms there and back", worlds::measure_delay),
    ("host", "every port of one host", one_host::measure),
    ("rate", "a given rate, seen from the target", rate::measure),
    ("router", "somebody else's connections through a router with a small table", router::measure),
    ("sink", "the send loop against a sink", sink::measure),
    ("idle", "nodes left alone", idle::measure),
    ("nodes", "sixty nodes join, and rest", nodes::measure),
    ("submit", "submission through a follower", submit::measure),
    ("doors", "leases under logins, and the API under strangers", doors::measure),
    ("writes", "writes per second, beside etcd", writes::measure),
    ("transfer", "planned transfer of leadership", failover::measure_transfer),
    ("failover", "the leader killed", failover::measure_kill),
    ("worker", "a worker killed in the middle of a scan", worker::measure),
    ("feeds", "300,000 records of a feed imported", feeds::measure),
    ("zoo", "real daemons named, beside nmap", zoo::measure),
    ("wan", "40 ms between hosts and back", wan::measure),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let done = match names.as_slice() {
        [] => all(),
        [name] if name == "chaos" => chaos::run(),
        names => names.iter().try_for_each(|name| one(name)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pentora-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one(name: &str) -> anyhow::Result<()> {
    let found = MEASUREMENTS.iter().find(|(is, _, _)| *is == name);
    let names = || MEASUREMENTS.map(|(name, _, _)| name).join(", ");
    let (_, what, measure) = found.with_context(|| format!("no measurement {name}: {}, or chaos", names()))?;
    println!("\n### {name}: {what}\n");
    measure().with_context(|| name.to_owned())
}

/// Runs each in a process of its own: what one leaves in memory or in the kernel's counters is not the next one's.
fn all() -> anyhow::Result<()> {
    let own = std::env::current_exe().context("the path of this program")?;
    let mut failed = Vec::new();
    for (name, _, _) in MEASUREMENTS {
        if !Command::new(&own).arg(name).status().context("starting a measurement")?.success() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// Lets `time` pass. Only here: time is part of a measurement, and a test waits for facts.
fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a measurement runs plain threads, and watches for so long")]
    std::thread::sleep(time);
}

/// A lab, which a measurement cannot do without.
fn lab(hosts: u8) -> anyhow::Result<Lab> {
    Lab::start(hosts)?.context("a measurement needs a lab: unset PENTORA_SKIP_LAB")
}
