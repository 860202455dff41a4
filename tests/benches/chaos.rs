//! Scans under random faults, for a while: every result must be the truth, every unit counted once.
//!
//! `CHAOS_SECONDS` says how long (120), `CHAOS_SEED` repeats the order of a run. Faults come one at a time and end before
//! the result is read: what is tested is that nothing of them stays.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use pentora_tests::cluster::Cluster;
use pentora_tests::dice::Dice;
use pentora_tests::lab::WorldOptions;
use pentora_tests::wait;

use crate::pause;
use crate::worker::{check, submit};

const SCAN_MAX: Duration = Duration::from_secs(180);

/// What happens to one node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    Isolate,
    Deaf,
    Stop,
}

const FAULTS: [Fault; 5] = [Fault::Kill, Fault::Freeze, Fault::Isolate, Fault::Deaf, Fault::Stop];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Freeze => "frozen",
            Self::Isolate => "isolated",
            Self::Deaf => "no longer hears the others",
            Self::Stop => "asked to end",
        })
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let seconds = number("CHAOS_SECONDS")?.unwrap_or(120);
    let seed = number("CHAOS_SEED")?.map_or_else(clock_seed, Ok)?;
    println!("chaos for {seconds} s; CHAOS_SEED={seed} repeats it");
    let mut dice = Dice::new(seed);
    let mut lab = crate::lab(3)?;
    lab.add_world(&WorldOptions { addresses: 1024, alive_percent: 100, ..WorldOptions::default() })?;
    let mut cluster = Cluster::of(lab, 3)?;
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        round(&mut cluster, &mut dice)?;
        rounds += 1;
    }
    println!("{rounds} scans, {rounds} right");
    Ok(())
}

/// One scan with one fault in it.
fn round(cluster: &mut Cluster, dice: &mut Dice) -> anyhow::Result<()> {
    let mut node = || dice.one_of(&[1, 2, 3]).context("a node");
    let (asked, victim, reader) = (node()?, node()?, node()?);
    let fault = dice.one_of(&FAULTS).context("a fault")?;
    let early = Duration::from_millis(dice.below(5000));
    let long = Duration::from_millis(500 + dice.below(20_000));
    let job = submit(cluster, asked)?;
    pause(early);
    let leads = cluster.leader()? == victim;
    println!("{}: n{victim}{} {fault} after {early:?}, for {long:?}", job.0, if leads { " (leads)" } else { "" });
    match fault {
        Fault::Kill => cluster.node_mut(victim)?.kill()?,
        Fault::Stop => drop(cluster.node_mut(victim)?.stop(Duration::from_secs(30))?),
        Fault::Freeze => cluster.node(victim)?.signal(Signal::SIGSTOP)?,
        Fault::Isolate => cluster.lab().isolate(victim)?,
        Fault::Deaf => {
            (1..=3).filter(|other| *other != victim).try_for_each(|other| cluster.lab().oneway(other, victim))?
        }
    }
    pause(long);
    match fault {
        Fault::Kill | Fault::Stop => cluster.restart(victim)?,
        Fault::Freeze => cluster.node(victim)?.signal(Signal::SIGCONT)?,
        Fault::Isolate | Fault::Deaf => cluster.lab().heal()?,
    }
    job.wait(cluster, reader, SCAN_MAX)?;
    let verdict = wait::until("the result", Duration::from_secs(30), || Ok(check(cluster, &job, reader).ok()))?;
    if verdict != (true, true) {
        let document = job.document(cluster, reader)?;
        bail!("{}: exact {}, counted once {}: {document}", job.0, verdict.0, verdict.1);
    }
    Ok(())
}

fn clock_seed() -> anyhow::Result<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a run without a seed of its own takes one from the clock, and prints it"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock")?;
    Ok(now.as_secs())
}
