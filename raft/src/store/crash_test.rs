//! Kills the process and cuts the disk: nothing acknowledged is lost by the first, only a tail by the second.
//!
//! The test starts itself again as a child, which runs one node on disk, proposes without pause and prints what was
//! acknowledged; SIGKILL comes at a random moment, again and again in one directory. After each kill the store is
//! opened and compared with what the child said and with a replay of its own log. A power failure takes the unsynced
//! end of the write-ahead log as well: for that, copies of the directory lose bytes at the end of its newest file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use super::Storage;
use super::log::LogStore;
use super::machine::{StateMachine, open};
use super::snapshot;
use crate::command::sample_test::{limits, node_info};
use crate::command::{Command, Response, SpecRef, Submission};
use crate::config::{Config, Profile};
use crate::handle::Raft;
use crate::id::{ClusterId, Digest};
use crate::invariant;
use crate::kill_point;
use crate::network::memory::Network;
use crate::raft_types::{Entry, LogId, Vote};
use crate::state::{Partition, Priority, State};

/// Tells the child where its store is; unset in every other process.
const DIR: &str = "PENTORA_RAFT_CRASH_DIR";
/// Tells the child which life of the node this is.
const LIFE: &str = "PENTORA_RAFT_CRASH_LIFE";

/// How often the node is killed.
const LIVES: u64 = 12;
/// From this life on there are snapshots; before it the whole log is kept, so that all of it can be replayed.
const FIRST_LIFE_WITH_SNAPSHOTS: u64 = 5;
/// How many proposers the child runs at once, so that groups form.
const PROPOSERS: u64 = 16;

fn config(life: u64) -> Config {
    let (snapshot_after_entries, entries_kept) =
        if life < FIRST_LIFE_WITH_SNAPSHOTS { (u64::MAX, u64::MAX) } else { (300, 100) };
    Config { profile: Profile::Fast, snapshot_after_entries, entries_kept, ..Config::default() }
}

async fn start(dir: &Path, life: u64) -> Raft {
    let (transport, _inbound) = Network::default().join(1);
    let raft = Raft::start(1, config(life), &Storage::Disk(dir.to_owned()), transport).await.unwrap();
    if !raft.is_initialized().await.unwrap() {
        raft.initialize("peer").await.unwrap();
    }
    while raft.status().leader != Some(1) {
        raft.status_changed(Duration::from_secs(1)).await;
    }
    raft
}

/// What the proposal number `number` of a proposer in one life is known by.
fn key(life: u64, proposer: u64, number: u64) -> Digest {
    Digest::of(format!("{life} {proposer} {number}").as_bytes())
}

fn job(key: Digest) -> Command {
    Command::SubmitJob(Box::new(Submission {
        spec: SpecRef::Inline(vec![7; 300]),
        partitions: vec![Partition { target_count: 10, ..Partition::default() }],
        priority: Priority::Normal,
        limits: limits(),
        via: 1,
        idempotency_key: Some(key),
        title: "crash".into(),
        finished: Vec::new(),
    }))
}

async fn propose_forever(raft: Raft, life: u64, proposer: u64) {
    for number in 0.. {
        let key = key(life, proposer, number);
        let submitted = raft.propose(job(key)).await.unwrap();
        let Response::Submitted { job, .. } = submitted.response else { panic!("{:?}", submitted.response) };
        println!("acked {} {} {key}", submitted.index, job.0);
        raft.propose(Command::Cancel { job, reason: "done".into() }).await.unwrap();
    }
}

/// The child's part; a process without its environment has nothing to do here.
#[test]
fn the_child_proposes_until_it_is_killed() {
    let (Ok(dir), Ok(life)) = (std::env::var(DIR), std::env::var(LIFE)) else { return };
    let life = life.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let raft = start(Path::new(&dir), life).await;
        let info = node_info("n1");
        raft.propose(Command::Begin { cluster: ClusterId([1; 16]), info, admin_token: Digest::of(b"a") })
            .await
            .unwrap();
        let mut proposers = tokio::task::JoinSet::new();
        for proposer in 0..PROPOSERS {
            proposers.spawn(propose_forever(raft.clone(), life, proposer));
        }
        proposers.join_all().await;
    });
}

/// An acknowledged submission: its log index and its job.
type Acks = BTreeMap<Digest, (u64, u64)>;

fn child(dir: &Path, life: u64) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "store::crash_test::the_child_proposes_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn spawn_child(dir: &Path, life: u64) -> Child {
    child(dir, life).spawn().unwrap()
}

/// Lets a child live for a while after its first word, kills it, and answers what it had acknowledged.
fn live_and_die(dir: &Path, life: u64, lifetime: Duration) -> Acks {
    let mut child = spawn_child(dir, life);
    let output = BufReader::new(child.stdout.take().unwrap());
    let (acks, count) = (Arc::new(Mutex::new(Acks::new())), Arc::new(AtomicUsize::new(0)));
    let (into, counted) = (Arc::clone(&acks), Arc::clone(&count));
    let reader = std::thread::spawn(move || {
        // A line that was cut by the kill has no end and was not said.
        let mut lines = output;
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap_or(0) > 0 && line.ends_with('\n') {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["acked", index, job, key] = words[..] {
                into.lock().unwrap().insert(key.parse().unwrap(), (index.parse().unwrap(), job.parse().unwrap()));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            line.clear();
        }
    });
    let begun = Instant::now();
    while count.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child acknowledged nothing");
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::park_timeout(Duration::from_millis(2));
    }
    std::thread::park_timeout(lifetime);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let acks = acks.lock().unwrap().clone();
    assert!(!acks.is_empty());
    acks
}

/// A child that has acknowledged so many is not on its way to any point.
const ACKS_MAX: usize = 20_000;

/// Lets a child live until it dies by itself at a point; answers what it had acknowledged, which may be nothing.
fn live_until(dir: &Path, life: u64, point: &str) -> Acks {
    let mut command = child(dir, life);
    let mut child = command.env(kill_point::VARIABLE, point).spawn().unwrap();
    let mut acks = Acks::new();
    // Its end ends the lines.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["acked", index, job, key] = words[..]
            && let Ok(key) = key.parse()
        {
            acks.insert(key, (index.parse().unwrap(), job.parse().unwrap()));
            if acks.len() > ACKS_MAX {
                child.kill().unwrap();
                panic!("{point}: no process comes there");
            }
        }
    }
    assert!(!child.wait().unwrap().success(), "{point}: it ended by itself");
    acks
}

#[test]
fn a_process_that_dies_at_any_named_point_of_the_store_has_lost_nothing_that_it_acknowledged() {
    let dir = TempDir::new().unwrap();
    let (mut acks, mut vote) = (Acks::new(), None);
    for (life, point) in (FIRST_LIFE_WITH_SNAPSHOTS..).zip(kill_point::OF_THE_STORE) {
        // Well into a life where the point comes often, at the second time where it is about snapshots.
        let times = match point {
            "vote-written" => 1,
            _ if point.starts_with("snapshot") || point == "log-purged" => 2,
            _ => 150,
        };
        let told = live_until(dir.path(), life, &format!("{point}:{times}"));
        assert!(times == 1 || !told.is_empty(), "{point}: nothing was acknowledged before");
        acks.extend(told);
        let found = find(dir.path());
        check_whole(&found);
        assert!(found.replayed.is_some(), "{point}: a kill leaves no snapshot ahead of the state");
        check_acks(&found, &acks);
        assert!(vote <= found.vote, "{point}: the vote went back from {vote:?} to {:?}", found.vote);
        vote = found.vote;
    }
    println!("{} acknowledged over {} deaths", acks.len(), kill_point::OF_THE_STORE.len());
}

/// A store after a kill, with its whole log read.
struct Found {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    applied: Option<LogId>,
    state: State,
    /// The state that its snapshot and its log make; `None` where the snapshot is ahead of the state, as only a cut of
    /// what was synced can leave it. Consensus then installs the snapshot.
    replayed: Option<State>,
    had_snapshot: bool,
}

fn find(dir: &Path) -> Found {
    let (log, mut machine) = open(&Storage::Disk(dir.to_owned())).unwrap();
    let found = look(&log, &mut machine);
    let closed = machine.closed().unwrap();
    drop((log, machine));
    assert!(closed.is_cancelled(), "the store is closed again");
    found
}

fn look(log: &LogStore, machine: &mut StateMachine) -> Found {
    let entries: BTreeMap<u64, Entry> =
        log.0.read(0..u64::MAX, usize::MAX).unwrap().into_iter().map(|entry| (entry.log_id.index, entry)).collect();
    let now = futures::executor::block_on(async {
        (machine.applied_state().await.unwrap().0, machine.get_current_snapshot().await.unwrap())
    });
    let (applied, kept) = now;
    let mut replayed = State::default();
    let mut from = 0;
    if let Some(kept) = &kept {
        snapshot::read(&kept.snapshot, |key, value| replayed.load_row(&key, &value)).unwrap();
        from = kept.meta.last_log_id.map_or(0, |id| id.index + 1);
    }
    let upto = applied.map_or(0, |id| id.index + 1);
    for index in from..upto {
        let entry = entries.get(&index).unwrap_or_else(|| panic!("entry {index} is applied and not in the log"));
        if let EntryPayload::Normal(proposal) = &entry.payload {
            replayed.apply(index, proposal);
        }
    }
    let replayed = Some(replayed).filter(|_| from <= upto);
    let state = machine.shared().read().clone();
    Found { entries, vote: log.0.vote().unwrap(), applied, state, replayed, had_snapshot: kept.is_some() }
}

/// Every acknowledged submission is in the log, or where that is purged, in the state.
fn check_acks(found: &Found, acks: &Acks) {
    let first = found.entries.keys().next().copied().unwrap_or(0);
    for (key, (index, job)) in acks {
        if *index < first {
            let kept = found.state.idempotency.get(key).map(|earlier| earlier.job.0);
            assert_eq!(kept, Some(*job), "the acknowledged entry {index} is gone from log and state");
            continue;
        }
        let entry = found.entries.get(index).unwrap_or_else(|| panic!("the acknowledged entry {index} is gone"));
        let EntryPayload::Normal(proposal) = &entry.payload else { panic!("entry {index} is another one") };
        let Command::SubmitJob(submission) = &proposal.command else { panic!("entry {index} is another one") };
        assert_eq!(submission.idempotency_key, Some(*key), "entry {index} is another one");
    }
}

fn check_whole(found: &Found) {
    if let Some(replayed) = &found.replayed {
        assert_eq!(&found.state, replayed);
    }
    invariant::check(&found.state, found.applied.map_or(0, |id| id.index)).unwrap();
    let indexes: Vec<u64> = found.entries.keys().copied().collect();
    assert!(indexes.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the log has no hole");
}

/// The newest file of the write-ahead log.
fn newest_wal(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("db")).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Cuts `bytes` off the newest write-ahead log of a copy of `dir`; answers what is found then, and how much was cut.
fn find_cut(dir: &Path, bytes: u64) -> (TempDir, Found, u64) {
    let copy = TempDir::new().unwrap();
    copy_dir(dir, copy.path());
    let wal = std::fs::OpenOptions::new().write(true).open(newest_wal(copy.path())).unwrap();
    let length = wal.metadata().unwrap().len();
    wal.set_len(length.saturating_sub(bytes)).unwrap();
    drop(wal);
    let found = find(copy.path());
    (copy, found, bytes.min(length))
}

/// What is left after a cut is the beginning of what was there.
fn check_prefix(cut: &Found, whole: &Found) {
    check_whole(cut);
    assert!(cut.vote.is_none() || cut.vote.partial_cmp(&whole.vote).is_some_and(|order| order.is_le()));
    assert!(cut.applied <= whole.applied);
    for (index, entry) in cut.entries.range(whole.entries.keys().next().copied().unwrap_or(0)..) {
        let before = whole.entries.get(index).unwrap_or_else(|| panic!("entry {index} was never there"));
        assert_eq!(entry.log_id, before.log_id);
    }
}

/// A life in milliseconds that depends on the seed only.
fn lifetime(seed: u64, life: u64) -> Duration {
    let mixed = Digest::of(format!("{seed} {life}").as_bytes()).0;
    Duration::from_millis(u64::from(mixed[0]) * 2 + u64::from(mixed[1]) / 8)
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_and_only_a_tail_by_cuts() {
    let (seed, begun): (u64, _) = (rand::random(), Instant::now());
    let dir = TempDir::new().unwrap();
    let (mut acks, mut vote) = (Acks::new(), None);
    let (mut snapshots, mut cuts, mut fewer) = (0, 0, 0);
    for life in 0..LIVES {
        acks.extend(live_and_die(dir.path(), life, lifetime(seed, life)));
        // Opening writes the log's tail into tables and begins an empty one, so the cuts come first.
        let cut: Vec<_> =
            [1 + life, 700 * (life + 1), 50_000 * (life + 1)].map(|bytes| find_cut(dir.path(), bytes)).into();
        let found = find(dir.path());
        check_whole(&found);
        assert!(found.replayed.is_some(), "a kill leaves no snapshot ahead of the state");
        check_acks(&found, &acks);
        assert!(vote <= found.vote, "seed {seed}: the vote went back from {vote:?} to {:?}", found.vote);
        vote = found.vote;
        snapshots += u64::from(found.had_snapshot);
        for (copy, cut, lost) in cut {
            check_prefix(&cut, &found);
            if life + 1 == LIVES {
                go_on_after_a_cut(copy.path(), &cut);
            }
            cuts += 1;
            fewer += u64::from(lost > 0 && cut.entries.len() < found.entries.len());
        }
    }
    assert!(snapshots >= LIVES - FIRST_LIFE_WITH_SNAPSHOTS - 1, "{snapshots} lives left a snapshot");
    assert!(fewer > 0, "no cut took an entry: the test cuts nothing");
    let (count, took) = (acks.len(), begun.elapsed().as_secs_f64());
    println!(
        "seed {seed}: {LIVES} kills, {count} acknowledged, none lost; {cuts} cuts, {fewer} took entries; {took:.1} s"
    );
}

/// A node whose disk lost its tail starts again and takes proposals.
fn go_on_after_a_cut(dir: &Path, cut: &Found) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let applied = runtime.block_on(async {
        let raft = start(dir, LIVES).await;
        let applied = raft.propose(job(Digest::of(b"after the cut"))).await.unwrap();
        raft.shutdown().await;
        applied
    });
    assert!(matches!(applied.response, Response::Submitted { existing: false, .. }), "{applied:?}");
    let after = find(dir);
    check_whole(&after);
    assert!(after.applied > cut.applied);
}
