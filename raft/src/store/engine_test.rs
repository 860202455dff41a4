//! All log engines: openraft's own suite, gaps refused, holes found, reads bounded, and alike under random use.

use std::io;
use std::sync::Arc;

use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, RaftLogReader};
use proptest::prelude::*;
use tempfile::TempDir;

use super::log::{APPEND_BYTES_MAX, Ends, LogEngine, LogStore};
use super::machine::{StateMachine, open};
use super::memory::MemoryLog;
use super::{OpenError, SimulatedDisk, Storage, World, disk::DiskDb};
use crate::command::{Command, Proposal};
use crate::raft_types::{Entry, LogId, TypeConfig};

struct Disk;
struct Memory;
struct Simulated;
struct Sound;

impl World for Sound {}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Disk {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let (log, machine) = open(&Storage::Disk(dir.path().to_owned())).unwrap();
        Ok((dir, log, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for Memory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let (log, machine) = open(&Storage::Memory).unwrap();
        Ok(((), log, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for Simulated {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let (log, machine) = open(&Storage::Simulated(SimulatedDisk::new(Arc::new(Sound)))).unwrap();
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn the_consensus_librarys_suite_passes_on_a_disk_that_is_simulated() {
    Suite::test_all(Simulated).await.unwrap();
}

#[tokio::test]
async fn the_consensus_librarys_suite_passes_on_disk() {
    Suite::test_all(Disk).await.unwrap();
}

#[tokio::test]
async fn the_consensus_librarys_suite_passes_in_memory() {
    Suite::test_all(Memory).await.unwrap();
}

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

pub(super) fn blank(term: u64, index: u64) -> Entry {
    Entry::new(id(term, index), EntryPayload::Blank)
}

/// An entry of about `bytes` bytes.
fn sized(index: u64, bytes: usize) -> Entry {
    let command = Command::Cancel { job: crate::JobId(1), reason: "x".repeat(bytes) };
    Entry::new(id(1, index), EntryPayload::Normal(Proposal { at_ms: 1, command }))
}

fn indexes(entries: &[Entry]) -> Vec<(u64, u64)> {
    entries.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
}

/// Runs `look` on an engine of each kind.
fn on_both(look: impl Fn(&dyn LogEngine)) {
    let dir = TempDir::new().unwrap();
    look(&*DiskDb::open(dir.path()).unwrap());
    look(&MemoryLog::default());
    look(&SimulatedDisk::new(Arc::new(Sound)).open());
}

#[test]
fn a_gap_is_refused_and_nothing_of_it_is_written() {
    on_both(|log| {
        log.append(vec![blank(1, 0), blank(1, 1)]).unwrap();
        for gap in [vec![blank(1, 3)], vec![blank(1, 1)], vec![blank(1, 2), blank(1, 4)]] {
            let error = log.append(gap).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
        assert_eq!(indexes(&log.read(0..u64::MAX, usize::MAX).unwrap()), [(1, 0), (1, 1)]);
        assert_eq!(log.ends(), Ends { purged: None, last: Some(id(1, 1)) });
        log.append(vec![blank(1, 2)]).unwrap();
        log.purge(&id(1, 2)).unwrap();
        assert_eq!(log.ends(), Ends { purged: Some(id(1, 2)), last: None });
        log.append(vec![blank(1, 2)]).unwrap_err();
        log.append(vec![blank(1, 4)]).unwrap_err();
        log.append(vec![blank(2, 3)]).unwrap();
        assert_eq!(indexes(&log.read(0..u64::MAX, usize::MAX).unwrap()), [(2, 3)]);
    });
}

#[test]
fn a_purge_that_comes_late_does_not_bring_entries_back() {
    on_both(|log| {
        log.append((0..10).map(|index| blank(1, index)).collect()).unwrap();
        log.purge(&id(1, 6)).unwrap();
        log.purge(&id(1, 3)).unwrap();
        assert_eq!(log.ends(), Ends { purged: Some(id(1, 6)), last: Some(id(1, 9)) });
        assert_eq!(indexes(&log.read(0..8, usize::MAX).unwrap()), [(1, 7)]);
    });
}

#[test]
fn a_limited_read_stops_before_the_limit_and_always_gives_one() {
    on_both(|log| {
        let large = APPEND_BYTES_MAX + 10_000;
        log.append(vec![sized(0, 60_000), sized(1, 60_000), sized(2, 60_000), sized(3, large), sized(4, 1)]).unwrap();
        let read = |from| log.read(from..5, APPEND_BYTES_MAX).unwrap().len();
        assert_eq!([read(0), read(2), read(3), read(4)], [2, 1, 1, 1]);
        assert_eq!(log.read(0..5, usize::MAX).unwrap().len(), 5);
    });
}

#[tokio::test]
async fn a_follower_is_sent_nothing_in_place_of_what_is_purged() {
    let dir = TempDir::new().unwrap();
    for storage in [Storage::Memory, Storage::Disk(dir.path().to_owned())] {
        let (mut log, _machine) = open(&storage).unwrap();
        log.0.append((0..10).map(|index| blank(1, index)).collect()).unwrap();
        log.0.purge(&id(1, 4)).unwrap();
        assert_eq!(log.limited_get_log_entries(3, 8).await.unwrap().len(), 0);
        assert_eq!(log.limited_get_log_entries(5, 8).await.unwrap().len(), 3);
    }
}

#[test]
fn a_hole_in_the_log_is_found_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let db = DiskDb::open(dir.path()).unwrap();
    db.append((0..10).map(|index| blank(1, index)).collect()).unwrap();
    db.forget_entry(5);
    assert_eq!(db.read(0..5, usize::MAX).unwrap().len(), 5);
    let error = db.read(0..10, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_store_in_use_is_refused_and_can_be_opened_once_it_is_closed() {
    let dir = TempDir::new().unwrap();
    let db = DiskDb::open(dir.path()).unwrap();
    assert!(matches!(DiskDb::open(dir.path()), Err(OpenError::Io { .. })));
    let closed = db.closed();
    assert!(!closed.is_cancelled());
    drop(db);
    assert!(closed.is_cancelled());
    DiskDb::open(dir.path()).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64, u8),
    Truncate(u64),
    Purge(u64),
    Read(u64, u64),
    Vote(u64),
    Committed(u64),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..3, 1u8..6).prop_map(|(gap, count)| Step::Append(gap.saturating_sub(1), count)),
        2 => (0u64..12).prop_map(Step::Truncate),
        1 => (0u64..12).prop_map(Step::Purge),
        3 => (0u64..40, 0u64..10).prop_map(|(from, count)| Step::Read(from, count)),
        1 => (1u64..9).prop_map(Step::Vote),
        1 => (1u64..9).prop_map(Step::Committed),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_are_the_same_log(steps in prop::collection::vec(any_step(), 1..40)) {
        let dir = TempDir::new().unwrap();
        let mut disk = DiskDb::open(dir.path()).unwrap();
        let memory = MemoryLog::default();
        for (term, step) in (1u64..).zip(steps) {
            let Ends { purged, last } = memory.ends();
            let next = last.or(purged).map_or(0, |id| id.index + 1);
            match step {
                Step::Append(gap, count) => {
                    let entries: Vec<_> = (next + gap..).take(usize::from(count)).map(|at| blank(term, at)).collect();
                    prop_assert_eq!(disk.append(entries.clone()).is_ok(), memory.append(entries).is_ok());
                }
                Step::Truncate(back) => {
                    // Never below what is purged: consensus does not.
                    let to = next.saturating_sub(back + 1).max(purged.map_or(0, |id| id.index));
                    let to = memory.read(to..to + 1, usize::MAX).unwrap().first().map(|entry| entry.log_id).or(purged);
                    disk.truncate_after(to.as_ref()).unwrap();
                    memory.truncate_after(to.as_ref()).unwrap();
                }
                Step::Purge(ahead) => {
                    let upto = id(term, purged.map_or(0, |id| id.index) + ahead);
                    disk.purge(&upto).unwrap();
                    memory.purge(&upto).unwrap();
                }
                Step::Read(from, count) => {
                    let (ours, theirs) = (disk.read(from..from + count, 60), memory.read(from..from + count, 60));
                    prop_assert_eq!(indexes(&ours.unwrap()), indexes(&theirs.unwrap()));
                }
                Step::Vote(term) => {
                    disk.write_vote(&openraft::Vote::new(term, 1)).unwrap();
                    memory.write_vote(&openraft::Vote::new(term, 1)).unwrap();
                }
                Step::Committed(index) => {
                    disk.write_committed(Some(&id(1, index))).unwrap();
                    memory.write_committed(Some(&id(1, index))).unwrap();
                }
                Step::Reopen => {
                    drop(disk);
                    disk = DiskDb::open(dir.path()).unwrap();
                }
            }
            prop_assert_eq!(disk.ends(), memory.ends());
            prop_assert_eq!(disk.vote().unwrap(), memory.vote().unwrap());
            prop_assert_eq!(disk.committed().unwrap(), memory.committed().unwrap());
            let all = |log: &dyn LogEngine| indexes(&log.read(0..u64::MAX, usize::MAX).unwrap());
            prop_assert_eq!(all(&*disk), all(&memory));
        }
    }
}
