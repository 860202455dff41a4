//! Many scanners, over real sockets: whole nodes that stand outside the log, all in this process, with members that are processes of
//! the program. Only the scan engine is a stand-in, which takes its time and sends nothing.
//!
//! `make test` runs a few of them. `make bench BENCH=growth` asks for many, and prints what docs/BENCHMARKS.md has of it: how long
//! they take to join, what they cost the leader at rest and at work, and how much faster many are than one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pentora_scanner::engine::{Engine, EngineConfig, StandIn};
use pentora_scanner::finding::TcpScan;
use pentora_scanner::spec::EngineChoice;
use pentora_scanner::tally::{LeftOut, Tally};
use pentora_scanner::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::cli::{Invocation, Next};
use crate::client::Client;
use crate::config::{Secret, StartPlan};
use crate::document::{ScanRequest, TokenRequest};
use crate::tls::Trust;

/// Says what is run: `SCANNERS,TARGETS` for each run, with blanks between them, `SCANNERS,TARGETS,MOST` where those that join
/// for it take no units of more than so many targets, or `SCANNERS,TARGETS,MOST,SECONDS` where their scan time is so long.
const RUNS: &str = "PENTORA_GROWTH";
/// For how many seconds scanners without work are watched.
const QUIET: &str = "PENTORA_GROWTH_QUIET";
/// Says which numbers of workers are held against one.
const WORKERS: &str = "PENTORA_GROWTH_WORKERS";
/// Where the program is that members are processes of.
const PROGRAMS: &str = "PENTORA_BIN_DIR";

/// How long all scanners together are to take for a job, in seconds.
const JOB_SECONDS: u64 = 60;
/// For how long a unit scans before another of its node does.
const SLICE: Duration = Duration::from_millis(100);
/// How many scanners join at once.
const JOIN_AT_ONCE: usize = 32;
/// How often it is looked whether something small is so.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often many scanners are counted, and a job of theirs is looked at: its document has a line for each of them, and whoever asks
/// too often measures the answers. How long it took is in the log.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// The tag of those that are to scan.
const TAG: &str = "many";
/// Kernel ticks per second in `/proc/PID/stat`: 100 on every Linux that user space sees (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// How many targets a node does in a second, from when it starts; units that were done, and targets of them.
static TARGETS_PER_SECOND: AtomicU64 = AtomicU64::new(1_000);
static UNITS: AtomicU64 = AtomicU64::new(0);
static TARGETS: AtomicU64 = AtomicU64::new(0);

/// The engine below all stand-ins, which never scans.
static BELOW: LazyLock<Engine> = LazyLock::new(|| {
    let config = EngineConfig { choice: EngineChoice::Connect, ..EngineConfig::default() };
    Engine::start(config).expect("an engine that is never used")
});

tokio::task_local! {
    /// Set where a node scans nothing: nodes of other tests do scan.
    static SCANS_NOTHING: ();
}
/// Held by the test that runs: what a node does in a second is the process's.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// What the node that starts in this task scans with, where it scans nothing.
pub(super) fn engine() -> Option<Engine> {
    SCANS_NOTHING.try_with(|()| BELOW.clone().with_stand_in(Arc::new(Slow(Arc::new(Mutex::new(())))))).ok()
}

/// Does a fixed number of targets in a second, all units of a node in turn, and finds nobody.
#[derive(Debug)]
struct Slow(Arc<Mutex<()>>);

impl StandIn for Slow {
    fn scan(&self, task: UnitTask) -> Result<UnitScan, ScanError> {
        let (found, findings) = mpsc::channel(FINDINGS_QUEUE);
        let (shown, progress) = watch::channel(UnitProgress::default());
        let (ended, outcome) = oneshot::channel();
        let turn = Arc::clone(&self.0);
        TaskTracker::new().spawn(async move {
            let begun = Instant::now();
            let (targets, mut done) = (task.range.end - task.range.start, 0);
            let rate = TARGETS_PER_SECOND.load(Ordering::Relaxed) as f64;
            while done < targets {
                #[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
                let slice = ((rate * SLICE.as_secs_f64()) as u64).clamp(1, targets - done);
                {
                    let _turn = turn.lock().await;
                    tokio::time::sleep(Duration::from_secs_f64(slice as f64 / rate)).await;
                }
                if task.cancel.is_cancelled() {
                    drop(found);
                    return drop(ended.send(Err(ScanError::Cancelled)));
                }
                done += slice;
            }
            let tally = Tally { targets_done: targets, probes_sent: targets, ..Tally::default() };
            let progress = UnitProgress { tally, settled_until: task.range.end, ..UnitProgress::default() };
            shown.send_replace(progress);
            drop(found);
            UNITS.fetch_add(1, Ordering::Relaxed);
            TARGETS.fetch_add(targets, Ordering::Relaxed);
            let duration = begun.elapsed();
            let targets_per_second = targets as f64 / duration.as_secs_f64().max(0.001);
            let left_out = LeftOut::default();
            let outcome =
                UnitOutcome { progress, duration, sending: duration, targets_per_second, left_out, recapture: None };
            drop(ended.send(Ok(outcome)));
        });
        Ok(UnitScan { findings, progress, note: None, tcp: TcpScan::Connect, outcome })
    }
}

/// A process of the program, killed when it is dropped.
struct Member {
    name: String,
    process: Child,
    mesh: String,
    api: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Member {
    /// Seconds of a core that it has used, and megabytes that it has resident.
    fn used(&self) -> (f64, f64) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        (ticks / TICKS_PER_SECOND, kilobytes / 1024.0)
    }
}

/// Three members, and scanners beside them in this process.
struct Growth {
    folder: tempfile::TempDir,
    members: Vec<Member>,
    client: Client,
    scanners: usize,
    running: TaskTracker,
}

/// A port of loopback that nobody uses.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn program() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    std::env::var_os(PROGRAMS).map_or_else(beside, PathBuf::from).join("pentora-node")
}

/// Waits until something is so.
async fn until<T>(what: &str, longest: Duration, is: impl AsyncFnMut() -> Option<T>) -> T {
    until_by(what, (LOOK_EVERY, longest), is).await
}

/// Waits until something is so, looking so often.
async fn until_by<T>(what: &str, (every, longest): (Duration, Duration), mut is: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = is().await {
            return found;
        }
        assert!(begun.elapsed() < longest, "not within {longest:?}: {what}");
        tokio::time::sleep(every).await;
    }
}

impl Growth {
    /// Three members that vote.
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut members: Vec<Member> = Vec::new();
        let mut client = None;
        for number in 1..=3 {
            let name = format!("m{number}");
            let (mesh, api) = (free(), free());
            let data = folder.path().join(&name);
            let mut process = Process::new(program());
            match (members.first(), &client) {
                (Some(first), Some(client)) => {
                    let token = joining(client, &name, 1, "member").await;
                    process.args(["join", "--peer", &first.mesh, "--token-file", "-"]);
                    let file = folder.path().join(format!("{name}.token"));
                    fs::write(&file, token).unwrap();
                    process.stdin(fs::File::open(file).unwrap());
                }
                _ => drop(process.args(["start", "--init"]).stdin(Stdio::null())),
            }
            process.args(["--name", &name, "--mesh-listen", &mesh, "--api-listen", &api, "--data-dir"]).arg(&data);
            let log = fs::File::create(folder.path().join(format!("{name}.log"))).unwrap();
            let process = process.env_clear().stderr(log).stdout(Stdio::null()).spawn().unwrap();
            let member = Member { name, process, mesh, api };
            let token = until("the first token", Duration::from_secs(20), async || {
                if number > 1 {
                    return Some(String::new());
                }
                fs::read_to_string(data.join("admin.token")).ok().filter(|token| !token.trim().is_empty())
            });
            let token = token.await;
            if number == 1 {
                client = Some(at(&member.api, &token));
            }
            members.push(member);
            let client = client.as_ref().unwrap();
            let is_in = format!("{number} members");
            until(&is_in, Duration::from_secs(30), async || {
                client.cluster_once().await.ok().filter(|cluster| cluster.nodes.len() == number)
            })
            .await;
        }
        let client = client.unwrap();
        until("three voters", Duration::from_secs(60), async || {
            client.cluster_once().await.ok().filter(|cluster| cluster.quorum.voters == 3)
        })
        .await;
        Self { folder, members, client, scanners: 0, running: TaskTracker::new() }
    }

    /// Has scanners join until there are so many, each with so many units at once, of at most so many targets where that is said.
    /// Answers how long that took.
    async fn join(&mut self, scanners: usize, at_once: u32, most: Option<u64>) -> Duration {
        let begun = Instant::now();
        let more = scanners - self.scanners;
        let token = joining(&self.client, "many", u32::try_from(more).unwrap(), "scanner").await;
        let file = self.folder.path().join("many.token");
        fs::write(&file, token).unwrap();
        let config = self.folder.path().join("many.yaml");
        let most = most.map(|most| format!(", max_targets_per_scan: {most}")).unwrap_or_default();
        let yaml = format!(
            "server: {{mode: worker}}\nworker:\n  tags: [{TAG}]\n  network_access: [\"fd00::/8\"]\n  \
             capacity: {{max_concurrent_scans: {at_once}{most}}}\n"
        );
        fs::write(&config, yaml).unwrap();
        for first in (self.scanners..scanners).step_by(JOIN_AT_ONCE) {
            let last = scanners.min(first + JOIN_AT_ONCE);
            for number in first..last {
                let peer = &self.members[number % self.members.len()].mesh;
                let data = self.folder.path().join(format!("s{number}"));
                let plan = plan(number, &data, peer, &config, &file).await;
                let asked = super::Asked::receive().unwrap();
                self.running.spawn(async move {
                    let ended = SCANS_NOTHING.scope((), Box::pin(super::run(plan, asked))).await;
                    ended.unwrap_or_else(|failure| panic!("s{number}: {failure}"));
                });
            }
            self.stand(last, Duration::from_secs(120)).await;
        }
        self.scanners = scanners;
        begun.elapsed()
    }

    /// Waits until so many scanners can take work.
    async fn stand(&self, scanners: usize, longest: Duration) {
        let every = if scanners > JOIN_AT_ONCE { COUNT_EVERY } else { LOOK_EVERY };
        until_by(&format!("{scanners} scanners"), (every, longest), async || {
            let workers = self.client.workers().await.ok()?;
            let ready = |status: &str| matches!(status, "Idle" | "Active");
            let there =
                workers.iter().filter(|worker| worker.tags.iter().any(|tag| tag == TAG) && ready(&worker.status));
            (there.count() >= scanners).then_some(())
        })
        .await;
    }

    async fn leader(&self) -> &Member {
        let name =
            until("a leader", Duration::from_secs(20), async || self.client.cluster_once().await.ok()?.leader).await;
        self.members.iter().find(|member| member.name == name).expect("a member leads")
    }

    /// Watches scanners without work. Answers the leader's share of a core.
    async fn rest(&self, lasts: Duration) -> f64 {
        let leader = self.leader().await;
        let (before, begun) = (leader.used().0, Instant::now());
        while begun.elapsed() < lasts {
            tokio::time::sleep(Duration::from_secs(5).min(lasts)).await;
            let workers = self.client.workers().await.unwrap();
            let gone: Vec<String> = workers
                .iter()
                .filter(|worker| !matches!(worker.status.as_str(), "Idle" | "Active"))
                .map(|worker| format!("{} {}", worker.name, worker.status))
                .collect();
            assert!(gone.is_empty(), "after {:?}, nobody having failed: {gone:?}", begun.elapsed());
        }
        (leader.used().0 - before) / begun.elapsed().as_secs_f64()
    }

    /// Runs a job of so many targets by at most so many workers.
    async fn scan(&self, targets: u64, workers: Option<usize>) -> Scanned {
        let leader = self.leader().await;
        let (used, begun) = (leader.used().0, Instant::now());
        UNITS.store(0, Ordering::Relaxed);
        TARGETS.store(0, Ordering::Relaxed);
        let request = ScanRequest {
            targets: networks(targets),
            ports: Some("80".into()),
            require_worker_tags: vec![TAG.into()],
            workers: workers.map(|workers| u32::try_from(workers).unwrap()),
            ..ScanRequest::default()
        };
        let job = self.client.scan(&request).await.unwrap().job_id;
        let ended = until_by("the end of the job", (COUNT_EVERY, Duration::from_secs(1_800)), async || {
            let job = self.client.job(&job).await.ok()?;
            matches!(job.status.as_str(), "completed" | "partial" | "failed" | "cancelled").then_some(job)
        })
        .await;
        let lasted = begun.elapsed().as_secs_f64();
        let (used_then, resident) = leader.used();
        assert_eq!((ended.status.as_str(), ended.targets_scanned), ("completed", targets), "{ended:?}");
        Scanned {
            seconds: ended.elapsed_seconds,
            units: UNITS.load(Ordering::Relaxed),
            again: TARGETS.load(Ordering::Relaxed) - targets,
            of_a_core: (used_then - used) / lasted,
            resident,
        }
    }
}

/// What a job was.
struct Scanned {
    /// From its entry in the log to its end there.
    seconds: f64,
    units: u64,
    /// Targets that were scanned once more.
    again: u64,
    /// The leader's share of one.
    of_a_core: f64,
    /// Of the leader, megabytes.
    resident: f64,
}

/// Private networks that have so many addresses together.
fn networks(targets: u64) -> Vec<String> {
    assert!(targets > 0 && targets <= 1 << 40);
    // The last of the bits is one address; where there are more of them, the networks follow each other, largest first.
    let mut networks = Vec::new();
    let mut from = 0u128;
    for bit in (0..=40).rev().filter(|bit| targets & (1 << bit) != 0) {
        let base = (0xfd00_u128 << 112) + from;
        networks.push(format!("{}/{}", std::net::Ipv6Addr::from(base), 128 - bit));
        from += 1 << bit;
    }
    networks
}

async fn joining(client: &Client, name: &str, uses: u32, role: &str) -> String {
    let request = serde_json::json!({"name": name, "uses": uses, "role": role});
    let request: TokenRequest = serde_json::from_value(request).unwrap();
    let token = until("a token", Duration::from_secs(20), async || client.create_token(&request).await.ok());
    token.await.token
}

fn at(api: &str, token: &str) -> Client {
    Client::http(vec![format!("http://{api}")], Some(Secret::new(token.trim())), &Trust::default()).unwrap()
}

/// How a scanner of this process starts, by the same command line as anywhere.
async fn plan(number: usize, data: &Path, peer: &str, config: &Path, token: &Path) -> StartPlan {
    let line = format!(
        "pentora-node --quiet join --mesh-listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --name s{number} --peer {peer} --data-dir {} \
         --config {} --token-file {}",
        data.display(),
        config.display(),
        token.display()
    );
    match Invocation::of(&line).unwrap().run().await {
        Ok(Next::RunNode(plan)) => *plan,
        Ok(_) => panic!("{line} starts no node"),
        Err(failure) => panic!("{line}: {failure}"),
    }
}

/// Runs on a runtime of its own, which is left with whatever still runs.
fn on_a_runtime(work: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(work);
    runtime.shutdown_background();
}

fn numbers(name: &str, otherwise: &str) -> Vec<Vec<u64>> {
    let text = std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    text.split_whitespace().map(|run| run.split(',').map(|number| number.parse().unwrap()).collect()).collect()
}

#[test]
fn scanners_of_one_process_join_over_real_sockets_and_do_a_job_to_its_end() {
    let runs = numbers(RUNS, "4,100000");
    let quiet = numbers(QUIET, "2")[0][0];
    on_a_runtime(async {
        let mut growth = Growth::begin().await;
        println!(
            "| scanners | join | leader at rest | targets | job | units | units/s | again | leader at work | leader |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for run in runs {
            let (scanners, targets) = (usize::try_from(run[0]).unwrap(), run[1]);
            let seconds = run.get(3).copied().unwrap_or_else(|| JOB_SECONDS.min(targets / 20_000)).max(1);
            TARGETS_PER_SECOND.store((targets / (run[0] * seconds)).max(1), Ordering::Relaxed);
            let most = run.get(2).copied();
            let joined =
                if scanners > growth.scanners { growth.join(scanners, 20, most).await } else { Duration::ZERO };
            let at_rest = growth.rest(Duration::from_secs(quiet)).await;
            let Scanned { seconds, units, again, of_a_core, resident } = growth.scan(targets, None).await;
            println!(
                "| {scanners} | {:.1} s | {:.1} % | {targets} | {seconds:.1} s | {units} | {:.0} | {again} | {:.0} % | {resident:.0} MB |",
                joined.as_secs_f64(),
                at_rest * 100.0,
                units as f64 / seconds,
                of_a_core * 100.0,
            );
        }
    });
}

#[test]
fn more_workers_are_faster() {
    let workers = numbers(WORKERS, "1,4");
    let workers = &workers[0];
    let (rate, targets) = if std::env::var_os(WORKERS).is_some() { (1_000, 240_000) } else { (4_000, 24_000) };
    TARGETS_PER_SECOND.store(rate, Ordering::Relaxed);
    on_a_runtime(async {
        let mut growth = Growth::begin().await;
        println!("| workers | job | times as fast as one | of what is possible |\n|---|---|---|---|");
        let mut alone = None;
        for &count in workers {
            growth.join(usize::try_from(count).unwrap(), 10, None).await;
            let seconds = growth.scan(targets, None).await.seconds;
            let alone = *alone.get_or_insert(seconds * count as f64);
            let times = alone / seconds;
            println!("| {count} | {seconds:.2} s | {times:.2} | {:.0} % |", 100.0 * times / count as f64);
        }
    });
}

#[test]
fn networks_have_as_many_addresses_as_are_asked_for() {
    assert_eq!(networks(1), ["fd00::/128"]);
    assert_eq!(networks(65_536 + 256 + 1), ["fd00::/112", "fd00::1:0/120", "fd00::1:100/128"]);
}
