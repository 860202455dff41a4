//! Whole nodes in one process and in simulated time, with everything going wrong that a seed draws: the first proof of the mesh.
//!
//! What runs is what a node runs: consensus, state, coordinator, sessions, gateways, workers, holders, joining, and the mesh's
//! own peer table and event loop. Simulated are the wire (`pentora_p2p::memory`), the disks (`pentora_raft::store::SimulatedDisk`,
//! `place`), the scan engine (`scanning`), and clocks and randomness (`machine`). `faults` cuts, delays, loses, stalls, crashes
//! and lies; `checks` looks at every entry that is applied. After that the faults end, and all work must come to its end.
//!
//! One process runs one seed, so that nothing of an earlier run is left in it: the tests start this program again for each.
//! `make simulation SEED=17` runs one and tells what happened in it.
//!
//! Not simulated: a process that stands still while its clocks go on is cut off with a disk that stands still; its own timers
//! go on.

mod bug;
mod checks;
mod cluster;
mod faults;
mod machine;
mod place;
mod scanning;

use std::process::Command as Process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pentora_raft::command::{Command, NodeRole, SpecRef, Submission};
use pentora_raft::state::{JobLimits, JobStatus, Needs, Partition, Priority};
use pentora_raft::{Digest, JobId, Response};
use pentora_scanner::engine::{Engine, EngineConfig};
use pentora_scanner::port::PortSet;
use pentora_scanner::spec::{EngineChoice, ScanSpec};
use pentora_scanner::target::parse_targets;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::bug::Bug;
use self::checks::Checks;
use self::cluster::{Cluster, TAG};
use self::faults::Faults;
use crate::coordinator::VERSION;
use crate::results::ChunkReader;
use crate::rpc::proposer::Proposer;
use crate::spec;

/// The release of a node that goes with no other here.
const TOO_NEW: &str = "9999.0.0";
/// Members that there are before anything goes wrong.
const MEMBERS: usize = 4;
/// Nodes that only scan, besides one of another release.
const SCANNERS: usize = 2;
/// How often all nodes are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// For how long things go wrong.
const TROUBLE: Duration = Duration::from_secs(20);
/// Within which time all work must have come to its end after that.
const HEALS_WITHIN: Duration = Duration::from_secs(240);
/// No run takes longer, in its own time.
const LASTS_MAX: Duration = Duration::from_secs(1_200);
/// Whole nodes start in futures of one thread, which without optimisation are large.
const STACK_BYTES: usize = 64 << 20;
/// Whoever submits a job asks another member after so long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How many jobs there are.
const JOBS: u64 = 4;

/// Tells a process of this program which seed it is to run, and with which bug.
const RUN: &str = "PENTORA_SIMULATION";
/// How many seeds are run.
const SEEDS: &str = "PENTORA_SIMULATION_SEEDS";
/// The first of them.
const FIRST: &str = "PENTORA_SIMULATION_FIRST";

/// A run of one seed.
struct Simulation {
    cluster: Cluster,
    submitting: TaskTracker,
    submitted: u64,
    /// What goes to the log at the members that run now.
    proposers: Arc<Mutex<Vec<Proposer>>>,
}

impl Simulation {
    /// Some members and scanners, all of them well.
    async fn begin(seed: u64, bug: Option<Bug>, engine: Engine) -> Self {
        let mut cluster = Cluster::begin(SmallRng::seed_from_u64(seed), bug, engine).await;
        let members = std::iter::repeat_n((NodeRole::Auto, VERSION), MEMBERS - 1);
        let scanners = std::iter::repeat_n((NodeRole::Scanner, VERSION), SCANNERS);
        for (role, version) in members.chain(scanners).chain([(NodeRole::Scanner, TOO_NEW)]) {
            while cluster.join(role, version).await.is_none() {
                tokio::time::sleep(LOOK).await;
            }
        }
        cluster.founders = cluster.places.len();
        Self { cluster, submitting: TaskTracker::new(), submitted: 0, proposers: Arc::default() }
    }

    /// Goes on for so long, or until `is_over`.
    async fn go_on(&mut self, lasts: Duration, is_over: impl Fn(&Cluster) -> bool) -> Result<bool, String> {
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            self.cluster.look().await?;
            self.cluster.end_removed();
            let members = self.cluster.places.iter().filter(|place| !place.is_scanner());
            let proposers = members.filter_map(|place| Some(place.running.as_ref()?.proposer.clone()));
            *self.proposers.lock().unwrap() = proposers.collect();
            if is_over(&self.cluster) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    }

    /// Submits a job through some member, again and again until that says that it has it.
    fn submit(&mut self) {
        self.submitted += 1;
        let number = self.submitted;
        let random = SmallRng::seed_from_u64(self.cluster.random.random());
        let (proposers, checks) = (Arc::clone(&self.proposers), Arc::clone(&self.cluster.checks));
        self.submitting.spawn(submit(number, proposers, random, checks));
    }

    async fn run(mut self) -> Result<String, String> {
        let has_voters = |cluster: &Cluster| {
            let first = cluster.places.first().and_then(|place| place.running.as_ref());
            first.is_some_and(|running| running.raft.status().voters.len() == 3)
        };
        if !self.go_on(Duration::from_secs(60), has_voters).await? {
            return Err("there are not three voters after a minute".into());
        }
        self.submit();
        let mut faults = Faults::none();
        let end = Instant::now() + TROUBLE;
        while Instant::now() < end {
            let pause = Faults::pause(&mut self.cluster);
            self.go_on(pause, |_| false).await?;
            faults.step(&mut self.cluster).await;
            if self.submitted < JOBS && self.cluster.random.random_bool(0.15) {
                self.submit();
            }
        }
        faults.end(&mut self.cluster).await;
        while self.submitted < JOBS {
            self.submit();
        }
        self.submitting.close();
        let healed = Instant::now();
        let submitting = self.submitting.clone();
        if !self.go_on(HEALS_WITHIN, |cluster| submitting.is_empty() && is_done(cluster)).await? {
            return Err(format!("it does not heal within {HEALS_WITHIN:?}: {}", unfinished(&self.cluster)));
        }
        self.look_at_results().await?;
        let (entries, parts) = self.cluster.checks.figures();
        Ok(format!("{entries} entries, {parts} parts, healed in {:?}", healed.elapsed()))
    }

    /// Every part that was counted can be read, and is what it says.
    async fn look_at_results(&self) -> Result<(), String> {
        let holders = |digest: Digest| {
            self.cluster.places.iter().filter(|place| !place.is_scanner()).map(move |place| place.chunk(digest))
        };
        for (part, counted) in self.cluster.checks.counted() {
            let mut found = None;
            for chunk in holders(counted.digest) {
                found = found.or(chunk.await);
            }
            let bytes = found.ok_or_else(|| format!("the results of {part:?} are nowhere"))?;
            let heading = ChunkReader::open(bytes).map_err(|error| error.to_string())?.heading();
            if heading.unit != part || heading.end != counted.end {
                return Err(format!("the results of {part:?} are those of {heading:?}"));
            }
        }
        Ok(())
    }
}

/// Whether every job has come to its end, and all members know.
fn is_done(cluster: &Cluster) -> bool {
    let mut applied = None;
    cluster.places.iter().filter(|place| !place.is_scanner() && !place.is_gone && place.node.is_some()).all(|place| {
        let Some(running) = &place.running else { return false };
        let index = *running.raft.watch_applied().borrow();
        *applied.get_or_insert(index) == index
            && running.raft.read(|state| {
                let jobs = state.jobs().count();
                jobs as u64 == JOBS
                    && state.jobs().all(|(_, job)| job.status == JobStatus::Completed && job.done == job.targets())
            })
    })
}

/// What is not done, for whoever has to find out why.
fn unfinished(cluster: &Cluster) -> String {
    let nodes = cluster.places.iter().map(|place| {
        let Some(running) = &place.running else { return format!("node {:?} is off", place.node) };
        let status = running.raft.status();
        let jobs = running.raft.read(|state| {
            let jobs = state.jobs().map(|(id, job)| {
                let leases: Vec<_> =
                    state.job_leases(id).map(|(unit, lease)| (unit.start, lease.node, lease.epoch)).collect();
                format!("{id} {:?} {}+{} of {}, leases {leases:?}", job.status, job.done, job.dead, job.targets())
            });
            let nodes = state.nodes().map(|(id, node)| format!("{id} {:?}", node.status));
            jobs.chain(nodes).collect::<Vec<_>>().join("; ")
        });
        let (role, leader, term) = (status.role, status.leader, status.term);
        let (applied, voters) = (status.applied_index, status.voters);
        format!(
            "node {:?} {role:?} leader {leader:?} term {term} applied {applied} voters {voters:?}: {jobs}",
            place.node
        )
    });
    nodes.collect::<Vec<_>>().join("\n")
}

/// Submits job number `number` until it is accepted.
async fn submit(number: u64, proposers: Arc<Mutex<Vec<Proposer>>>, mut random: SmallRng, checks: Arc<Checks>) {
    let targets = parse_targets(&format!("10.{number}.0.0/21"), "the simulation").unwrap();
    let target_count = targets.count();
    let scan =
        ScanSpec { partitions: vec![targets], ports: PortSet::top_ports(2), services: None, ..ScanSpec::default() };
    let required_tags = if number.is_multiple_of(2) { vec![TAG.to_owned()] } else { Vec::new() };
    let submission = Submission {
        spec: SpecRef::Inline(spec::encode(&scan)),
        partitions: vec![Partition { target_count, needs: Needs { required_tags, ..Needs::default() } }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 1_000, ..JobLimits::default() },
        via: pentora_raft::state::FIRST_NODE,
        idempotency_key: Some(Digest::of(&number.to_be_bytes())),
        title: format!("job {number}"),
        finished: Vec::new(),
    };
    let command = Command::SubmitJob(Box::new(submission));
    loop {
        let proposer = proposers.lock().unwrap().choose(&mut random).cloned();
        // A node that is killed answers nothing any more.
        if let Some(proposer) = proposer
            && let Ok(Ok(applied)) = tokio::time::timeout(ANSWERS_WITHIN, proposer.propose(command.clone())).await
            && let Response::Submitted { job, .. } = applied.response
        {
            let job: JobId = job;
            return checks.acknowledged(job, applied.index);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Runs one seed in this process, which is that of nothing else.
fn run_here(seed: u64, bug: Option<Bug>) -> Result<String, String> {
    // Whether this process may send raw packets makes no difference then.
    let config = EngineConfig { choice: EngineChoice::Connect, ..EngineConfig::default() };
    let engine = Engine::start(config).map_err(|error| error.to_string())?;
    let run = move || {
        machine::simulate(seed);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().map_err(|error| error.to_string())?;
        let outcome = runtime.block_on(async {
            machine::begin();
            let simulated = async {
                let simulation = Simulation::begin(seed, bug, engine).await;
                let checks = Arc::clone(&simulation.cluster.checks);
                let outcome = simulation.run().await;
                outcome.map(|figures| format!("{figures}, trace {}", checks.trace()))
            };
            let outcome = tokio::time::timeout(LASTS_MAX, simulated).await;
            outcome.unwrap_or_else(|_elapsed| Err(format!("it is not over after {LASTS_MAX:?}")))
        });
        runtime.shutdown_background();
        outcome
    };
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map_err(|error| error.to_string())?
        .join()
        .map_err(|_panic| "it panicked".to_owned())?
}

/// Runs one seed in a process of its own.
fn run_apart(seed: u64, bug: Option<Bug>) -> Result<String, String> {
    let run = format!("{seed}:{}", bug.map(Bug::name).unwrap_or_default());
    let mut process = Process::new(std::env::current_exe().map_err(|error| error.to_string())?);
    process.args(["--exact", "app::simulation::one_seed_in_a_process_of_its_own", "--nocapture"]).env(RUN, run);
    let output = process.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = text.lines().find_map(|line| line.split_once("simulated: ")).map(|(_, told)| told.to_owned());
    if output.status.success() {
        return told.ok_or(text);
    }
    let broken = text.split_once("broken: ").map(|(_, why)| why.split("\nbroken end").next().unwrap_or(why).to_owned());
    Err(broken.unwrap_or_else(|| format!("{text}\n{}", String::from_utf8_lossy(&output.stderr))))
}

/// The number in a variable of the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The part of the process that runs one seed; any other has nothing to do here.
#[test]
fn one_seed_in_a_process_of_its_own() {
    let Ok(run) = std::env::var(RUN) else { return };
    let (seed, bug) = run.split_once(':').unwrap_or((&run, ""));
    let seed = seed.parse().unwrap();
    if std::env::var("RUST_LOG").is_ok() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    match run_here(seed, Bug::named(bug)) {
        Ok(told) => println!("simulated: {told}"),
        Err(why) => {
            println!("broken: {why}\nbroken end");
            std::process::exit(1);
        }
    }
}

/// Runs seeds on all cores until one fails. Answers how many were run, and the failed one.
fn run_seeds(first: u64, count: u64, bug: Option<Bug>) -> (u64, Option<(u64, String)>) {
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(why) = run_apart(seed, bug) {
                        failed.lock().unwrap().get_or_insert((seed, why));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (done.into_inner(), failed.into_inner().unwrap())
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_or_counted_twice_and_the_work_is_done_in_the_end() {
    let begun = std::time::Instant::now();
    let (first, count) = (number(FIRST, 0), number(SEEDS, 200));
    let (done, failed) = run_seeds(first, count, None);
    if let Some((seed, why)) = failed {
        panic!("{why}\n\nto run it again: make simulation SEED={seed}");
    }
    println!("{done} seeds from {first} on in {:.1} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_seed_comes_to_the_same_every_time() {
    for seed in [3, 4] {
        let told = run_apart(seed, None);
        assert_eq!(told, run_apart(seed, None), "seed {seed}");
    }
}

/// Runs seeds with a bug until the checks find it, and answers what they say.
fn finds(bug: Bug, within: u64) -> String {
    let (done, failed) = run_seeds(0, within, Some(bug));
    let Some((seed, why)) = failed else { panic!("{bug:?} is not found in {done} seeds") };
    println!("{bug:?} is found after {done} seeds, in seed {seed}: {why}");
    why
}

#[test]
fn a_lease_that_is_not_fenced_is_found() {
    let why = finds(Bug::FencingOff, 60);
    assert!(why.contains("under epoch") || why.contains("counted twice"), "{why}");
}

#[test]
fn an_entry_that_is_applied_twice_is_found() {
    let why = finds(Bug::AppliedTwice, 20);
    assert!(why.contains("came to something else") || why.contains("differ"), "{why}");
}

#[test]
fn a_sync_that_is_skipped_is_found() {
    finds(Bug::SyncSkipped, 60);
}

#[test]
fn a_vote_that_is_not_kept_is_found() {
    finds(Bug::VoteNotKept, 60);
}

#[test]
fn a_chunk_that_is_acknowledged_before_it_is_stored_is_found() {
    let why = finds(Bug::ChunkNotStored, 60);
    assert!(why.contains("does not hold it") || why.contains("are nowhere"), "{why}");
}

#[test]
fn a_proposal_of_a_scanner_that_is_not_checked_is_found() {
    let why = finds(Bug::ProposalNotChecked, 60);
    assert!(why.contains("does not hold it"), "{why}");
}
