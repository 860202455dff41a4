//! The state machine on both stores: what a snapshot holds while applying goes on, and installations cut off midway.

use std::io;
use std::sync::Arc;

use futures::stream;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tempfile::TempDir;

use super::Storage;
use super::engine_test::{blank, id};
use super::machine::{StateMachine, open};
use super::snapshot::{self, SnapshotData};
use crate::command::sample_test::node_info;
use crate::command::{Command, Proposal};
use crate::id::{ClusterId, Digest};
use crate::raft_types::Entry;
use crate::state::State;
use crate::state::table::RowChange;

fn entry(index: u64, command: Command) -> Entry {
    Entry::new(id(1, index), EntryPayload::Normal(Proposal { at_ms: index, command }))
}

fn begin(index: u64) -> Entry {
    entry(index, Command::Begin { cluster: ClusterId([1; 16]), info: node_info("n1"), admin_token: Digest::of(b"a") })
}

/// Entries that each change the state: the one node is heard and lost in turn.
fn turn(index: u64) -> Entry {
    entry(
        index,
        if index.is_multiple_of(2) { Command::WorkerBack { node: 1 } } else { Command::WorkerSuspect { node: 1 } },
    )
}

async fn apply(machine: &mut StateMachine, entries: impl IntoIterator<Item = Entry>) {
    let items: Vec<io::Result<_>> = entries.into_iter().map(|entry| Ok((entry, None))).collect();
    machine.apply(stream::iter(items)).await.unwrap();
}

async fn build(machine: &mut StateMachine) -> openraft::alias::SnapshotOf<crate::raft_types::TypeConfig, SnapshotData> {
    machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap()
}

fn state_in(data: &SnapshotData) -> State {
    let mut state = State::default();
    snapshot::read(data, |key, value| state.load_row(&key, &value)).unwrap();
    state
}

fn state_of(machine: &StateMachine) -> State {
    machine.shared().read().clone()
}

fn stores() -> (TempDir, [Storage; 2]) {
    let dir = TempDir::new().unwrap();
    let disk = Storage::Disk(dir.path().join("store"));
    (dir, [Storage::Memory, disk])
}

#[tokio::test]
async fn a_snapshot_holds_the_state_of_exactly_the_entry_that_it_names() {
    let (_dir, stores) = stores();
    for storage in stores {
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0)]).await;
        let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
        apply(&mut machine, (1..8).map(turn)).await;
        let snapshot = builder.build_snapshot().await.unwrap();
        let last = snapshot.meta.last_log_id.unwrap().index;
        let mut replayed = State::default();
        for entry in std::iter::once(begin(0)).chain((1..=last).map(turn)) {
            let EntryPayload::Normal(proposal) = &entry.payload else { panic!("all are commands") };
            replayed.apply(entry.log_id.index, proposal);
        }
        assert_eq!(state_in(&snapshot.snapshot), replayed, "{storage:?} at {last}");
    }
}

#[tokio::test]
async fn a_snapshot_built_late_does_not_replace_a_newer_one() {
    let (_dir, stores) = stores();
    for storage in stores {
        let (_log, mut ahead) = open(&Storage::Memory).unwrap();
        apply(&mut ahead, std::iter::once(begin(0)).chain((1..20).map(turn))).await;
        let newer = build(&mut ahead).await;
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0), turn(1)]).await;
        let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
        machine.install_snapshot(&newer.meta, newer.snapshot.clone()).await.unwrap();
        builder.build_snapshot().await.unwrap();
        let kept = machine.get_current_snapshot().await.unwrap().unwrap();
        assert_eq!(kept.meta, newer.meta, "{storage:?}");
        assert_eq!(state_of(&machine), state_of(&ahead));
    }
}

#[tokio::test]
async fn an_installed_snapshot_is_the_state_after_reopening_too() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::Disk(dir.path().to_owned());
    let (_log, mut ahead) = open(&Storage::Memory).unwrap();
    apply(&mut ahead, std::iter::once(begin(0)).chain((1..20).map(turn))).await;
    let newer = build(&mut ahead).await;
    {
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0), turn(1)]).await;
        build(&mut machine).await;
        machine.install_snapshot(&newer.meta, newer.snapshot.clone()).await.unwrap();
        apply(&mut machine, [turn(20)]).await;
    }
    apply(&mut ahead, [turn(20)]).await;
    let (_log, mut machine) = open(&storage).unwrap();
    assert_eq!(state_of(&machine), state_of(&ahead));
    assert_eq!(machine.applied_state().await.unwrap().0, Some(id(1, 20)));
    assert_eq!(machine.get_current_snapshot().await.unwrap().unwrap().meta, newer.meta);
}

#[tokio::test]
async fn what_an_interrupted_installation_leaves_is_swept_and_the_state_before_it_stands() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::Disk(dir.path().to_owned());
    let before = {
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0), turn(1)]).await;
        let db = machine.disk().unwrap();
        let failed = db.replace_state(|put| {
            put(vec![2, 9], vec![0; 100])?;
            Err(io::Error::other("killed here"))
        });
        assert!(failed.is_err());
        std::fs::write(dir.path().join("snap/received-1.tmp"), b"half").unwrap();
        std::fs::write(dir.path().join("snap/building.tmp"), b"half").unwrap();
        apply(&mut machine, [turn(2)]).await;
        state_of(&machine)
    };
    let (_log, machine) = open(&storage).unwrap();
    assert_eq!(state_of(&machine), before);
    assert_eq!(std::fs::read_dir(dir.path().join("snap")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_changes_nothing() {
    let (_dir, stores) = stores();
    let (_log, mut ahead) = open(&Storage::Memory).unwrap();
    apply(&mut ahead, std::iter::once(begin(0)).chain((1..9).map(turn))).await;
    let newer = build(&mut ahead).await;
    let SnapshotData::Memory(bytes) = &newer.snapshot else { panic!("in memory") };
    let mut broken = bytes.to_vec();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    for storage in stores {
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0)]).await;
        let before = state_of(&machine);
        let data = SnapshotData::Memory(Arc::new(broken.clone()));
        assert!(machine.install_snapshot(&newer.meta, data).await.is_err());
        assert_eq!(state_of(&machine), before);
        assert_eq!(machine.applied_state().await.unwrap().0, Some(id(1, 0)));
        assert!(machine.get_current_snapshot().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_store_whose_rows_do_not_decode_is_named_as_damaged() {
    let dir = TempDir::new().unwrap();
    let storage = Storage::Disk(dir.path().to_owned());
    {
        let (_log, mut machine) = open(&storage).unwrap();
        apply(&mut machine, [begin(0), blank(1, 1)]).await;
        machine
            .disk()
            .unwrap()
            .write_state(std::iter::once(RowChange { key: vec![2, 1, 1, 1], value: Some(vec![9, 9]) }))
            .unwrap();
    }
    let Err(error) = open(&storage) else { panic!("a damaged store was opened") };
    assert!(error.to_string().contains("cannot be read"), "{error}");
}
