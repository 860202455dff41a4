//! Scans under random faults, round after round: every result must be the truth and every unit counted once, the history
//! of registers linearizable, and no two nodes lead in one term.
//!
//! Five members, of which three or five vote, and four nodes that only scan. A round is a scan with one disturbance or two in
//! it, drawn by a seed (`plan`): nodes are killed, stopped, frozen, cut off one way or both, or their disk is full; leadership
//! moves, voters are demoted, nodes are removed and join anew without anything. All of it ends before the round does: what is
//! tested is that nothing of it stays.
//!
//! `CHAOS_ROUNDS` says how many, or `CHAOS_SECONDS` (120) for how long rounds begin; `CHAOS_SEED` repeats a run and
//! `CHAOS_FIRST` begins it at a later round; `CHAOS_FAULTS=kill,full-disk` draws from those alone; `CHAOS_VOTERS` is 3 or 5. The
//! logs of a round that fails are kept in a folder that is named, `CHAOS_EVIDENCE` or one among the temporary ones.

mod mesh;
mod plan;
mod register;
mod reigns;
mod small_disk;
mod tally;

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use pentora_tests::cluster::Job;
use pentora_tests::dice::Dice;
use pentora_tests::wait;

use self::mesh::{Mesh, Suffered};
use self::plan::{Fault, Plan};
use self::register::Registers;
use self::reigns::Reigns;
use self::tally::{Outcome, Tally};
use crate::pause;
use crate::worker::{check, submit};

const SCAN_MAX: Duration = Duration::from_secs(180);
/// The results are all there within this after the job's end: holders may still be on their way back.
const RESULTS_MAX: Duration = Duration::from_secs(60);
/// So many jobs stay, whose results are looked at again; older ones are deleted, so that a long run needs no more room.
const JOBS_KEPT: usize = 6;
/// The nodes that clients of the registers ask: all members and one that hands on.
const CLIENTS: [usize; 6] = [1, 2, 3, 4, 5, 6];

/// What was asked for.
#[derive(Debug)]
struct Options {
    rounds: Option<u64>,
    seconds: u64,
    seed: u64,
    first: u64,
    faults: Vec<Fault>,
    voters: usize,
    evidence: PathBuf,
}

/// The jobs whose results are still there.
type Jobs = VecDeque<Job>;

pub(crate) fn run() -> anyhow::Result<()> {
    let options = Options::of_environment()?;
    let (seed, voters) = (options.seed, options.voters);
    let length = options.rounds.map_or(format!("{} s", options.seconds), |rounds| format!("{rounds} rounds"));
    println!("chaos for {length}, 5 members of which {voters} vote and 4 scanners; CHAOS_SEED={seed} repeats it");
    let mut mesh = Mesh::start(voters)?;
    let mut registers = Registers::new(&mesh.cluster, CLIENTS)?;
    let (mut jobs, mut tally, mut seeds) = (Jobs::new(), Tally::default(), Dice::new(seed));
    let began = Instant::now();
    for number in 1.. {
        let plan = Plan::draw(seeds.below(u64::MAX), &options.faults)?;
        if number < options.first {
            continue;
        }
        if options.is_over(number, began.elapsed()) {
            break;
        }
        println!("round {number}");
        match round(&mut mesh, &mut registers, &mut jobs, &plan) {
            Ok(outcome) => tally.add(&outcome),
            Err(error) => {
                let text =
                    format!("CHAOS_SEED={seed} CHAOS_VOTERS={voters} CHAOS_FIRST={number}\n{plan:#?}\n\n{error:#}\n");
                let kept = mesh.keep_evidence(&options.evidence, &text)?;
                tally.print();
                println!("{} rounds right; round {number} is not, its logs are in {}", tally.rounds(), kept.display());
                return Err(error.context(format!("round {number} of CHAOS_SEED={seed} CHAOS_VOTERS={voters}")));
            }
        }
    }
    let (disk, logs) = mesh.bytes()?;
    let reigns = Reigns::of(mesh.logs()?.iter().map(String::as_str))?;
    println!();
    tally.print();
    println!(
        "\n{rounds} rounds, {rounds} right, in {:.0} s. {} reigns, none in the term of another, the last in term {}. The fullest \
         member's disk holds {:.1} MB, all logs {:.1} MB.",
        began.elapsed().as_secs_f64(),
        reigns.len(),
        reigns.last_term(),
        disk as f64 / 1e6,
        logs as f64 / 1e6,
        rounds = tally.rounds(),
    );
    Ok(())
}

/// One scan with what the plan says in it.
fn round(mesh: &mut Mesh, registers: &mut Registers, jobs: &mut Jobs, plan: &Plan) -> anyhow::Result<Outcome> {
    let (done, history) = registers.during(plan.seed, || suffer(mesh, plan));
    let (job, took, suffered, whole) = done?;
    let calls = registers.judge(plan.reader, history?)?;
    let shared = Reigns::of(mesh.logs()?.iter().map(String::as_str))?.shared();
    ensure!(shared.is_empty(), "two leaders in one term (term, nodes): {shared:?}");
    is_right(mesh, &job, plan.reader)?;
    if let Some(older) = jobs.front() {
        is_right(mesh, older, plan.asked).context("a job of an earlier round")?;
    }
    jobs.push_back(job);
    if jobs.len() > JOBS_KEPT
        && let Some(oldest) = jobs.pop_front()
    {
        mesh.cluster.pentora(plan.asked, &["job", "delete", &oldest.0, "--yes"])?.ok()?;
    }
    println!(
        "  right: job {:.1} s, whole {:.1} s after; register: {} calls acknowledged, {} unknown, {} failed, at most {:.1} s without \
         a write",
        took.as_secs_f64(),
        whole.as_secs_f64(),
        calls.acknowledged,
        calls.unknown,
        calls.failed,
        calls.longest_without_write.as_secs_f64(),
    );
    let suffered = suffered.iter().map(|it| (it.fault, it.led, it.refused.is_some())).collect();
    Ok(Outcome { suffered, job: took, whole, calls })
}

/// Submits the job, lets everything happen and undoes it, and waits until all is as it was and the job has ended. How long
/// the job took, and how long it was from the last disturbance's end until all was as before.
fn suffer(mesh: &mut Mesh, plan: &Plan) -> anyhow::Result<(Job, Duration, Vec<Suffered>, Duration)> {
    let began = Instant::now();
    let job = submit(&mesh.cluster, plan.asked)?;
    let mut suffered: Vec<Option<Suffered>> = plan.disturbances.iter().map(|_| None).collect();
    let ends = plan.disturbances.iter().enumerate().map(|(at, it)| (it.after + it.lasts, at, false));
    let begins = plan.disturbances.iter().enumerate().map(|(at, it)| (it.after, at, true));
    let mut steps: Vec<(Duration, usize, bool)> = begins.chain(ends).collect();
    steps.sort();
    let mut over = Vec::new();
    for (due, at, begins) in steps {
        pause(due.saturating_sub(began.elapsed()));
        let others = plan.disturbances.iter().zip(&suffered).enumerate().filter(|(other, _)| *other != at);
        let busy: Vec<usize> =
            others.map(|(_, (drawn, now))| now.as_ref().map_or(drawn.victim.drawn(), |now| now.node)).collect();
        let (Some(drawn), Some(slot)) = (plan.disturbances.get(at), suffered.get_mut(at)) else { continue };
        if begins {
            let now = mesh.begin(drawn, &busy)?;
            println!("  {:5.1} s  {}", began.elapsed().as_secs_f64(), told(&job, &now, drawn.lasts));
            *slot = Some(now);
        } else if let Some(now) = slot {
            mesh.end(now, &busy)?;
            println!("  {:5.1} s  n{}: {} is over", began.elapsed().as_secs_f64(), now.node, now.fault.name());
            over.extend(slot.take());
        }
    }
    let undone = Instant::now();
    mesh.make_whole()?;
    let whole = undone.elapsed();
    job.wait(&mesh.cluster, plan.reader, SCAN_MAX)?;
    Ok((job, began.elapsed(), over, whole))
}

fn told(job: &Job, now: &Suffered, lasts: Duration) -> String {
    let (leads, lasts) = (if now.led { " (leads)" } else { "" }, lasts.as_secs_f64());
    let refused = now.refused.as_ref().map_or(String::new(), |why| format!("; refused, {why}"));
    match now.fault {
        Fault::Transfer => format!("{}: leadership is handed over{refused}", job.0),
        fault => format!("{}: n{}{leads} {fault}, for {lasts:.1} s{refused}", job.0, now.node),
    }
}

/// Whether a job's result is the truth and each unit counted once, as a node tells it.
fn is_right(mesh: &Mesh, job: &Job, reader: usize) -> anyhow::Result<()> {
    let mut why = String::new();
    let look = || match check(&mesh.cluster, job, reader) {
        Ok(verdict) => Ok(Some(verdict)),
        Err(error) => {
            why = format!("{error:#}");
            Ok(None)
        }
    };
    let verdict =
        wait::until("the results", RESULTS_MAX, look).with_context(|| format!("{} by n{reader}: {why}", job.0))?;
    if verdict != (true, true) {
        let truth = mesh.cluster.lab().world().truth().of_ports(&[80, 81]);
        let score = job.score(&mesh.cluster, reader, &truth)?;
        let (document, events) = (job.document(&mesh.cluster, reader)?, job.events(&mesh.cluster, reader)?);
        let events: Vec<String> = events.iter().map(ToString::to_string).collect();
        let (exact, once) = verdict;
        bail!("{} by n{reader}: exact {exact}, counted once {once}: {score}\n{document}\n{}", job.0, events.join("\n"));
    }
    Ok(())
}

impl Options {
    fn of_environment() -> anyhow::Result<Self> {
        let number = |name: &str| {
            let said = env::var(name).ok();
            said.map(|text| text.parse::<u64>().with_context(|| format!("{name}={text} is not a number"))).transpose()
        };
        let seed = number("CHAOS_SEED")?.map_or_else(clock_seed, Ok)?;
        let voters = match number("CHAOS_VOTERS")? {
            None if seed & 1 == 0 => 5,
            None => 3,
            Some(3) => 3,
            Some(5) => 5,
            Some(other) => bail!("CHAOS_VOTERS={other}: of five members three or five vote"),
        };
        let faults = env::var("CHAOS_FAULTS").ok().filter(|names| !names.is_empty());
        let folder = || env::temp_dir().join(format!("pentora-chaos-{seed}"));
        Ok(Self {
            rounds: number("CHAOS_ROUNDS")?,
            seconds: number("CHAOS_SECONDS")?.unwrap_or(120),
            seed,
            first: number("CHAOS_FIRST")?.unwrap_or(1),
            faults: faults.map_or_else(|| Ok(Fault::all().collect()), |names| Fault::list(&names))?,
            voters,
            evidence: env::var_os("CHAOS_EVIDENCE").map_or_else(folder, PathBuf::from),
        })
    }

    fn is_over(&self, number: u64, elapsed: Duration) -> bool {
        match self.rounds {
            Some(rounds) => number >= self.first.saturating_add(rounds),
            None => elapsed >= Duration::from_secs(self.seconds),
        }
    }
}

fn clock_seed() -> anyhow::Result<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a run without a seed of its own takes one from the clock, and prints it"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock")?;
    Ok(now.as_secs())
}
