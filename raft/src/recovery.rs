//! Stores that no process has open: the way back from a lost majority, and a store that begins with a backup.
//!
//! What a stopped node's store holds can be seen, and that node made the only voter. Nothing of the log is taken away: what stands at its end and was never
//! known to be on a majority is kept, because nobody is left to say otherwise. A membership of this node alone is put
//! behind it, and the other nodes are taken out of the cluster: one that comes back with an older or a longer log must not
//! be taken for one that agrees, so they join anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use openraft::EntryPayload;
use openraft::entry::RaftEntry;

use crate::command::{Command, Proposal};
use crate::id::{NodeId, RecoveryId};
use crate::kill_point;
use crate::raft_types::{Entry, LeaderId, LogId, Member, StoredMembership, Vote};
use crate::state::{NodeRecord, Recovery, State, TAKEN_OUT_MAX, TakenOut};
use crate::store::log::{Ends, LogEngine};
use crate::store::machine::{self, StateMachine};
use crate::store::record::MetaRecord;
use crate::store::snapshot::{self, SnapshotData, Writer};
use crate::store::{LogStore, OpenError, Storage};
use crate::version::Versions;

type Membership = openraft::Membership<u64, Member>;

/// Entries that are read at once, in bytes.
const READ_BYTES_MAX: usize = 4 << 20;

/// What a stopped node's store holds.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The term that it knows of.
    pub term: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that it knew to be on a majority; what is behind it may never have been acknowledged.
    pub committed_index: u64,
    /// Who votes, by its log.
    pub voters: BTreeSet<NodeId>,
    /// The state with all of the log applied.
    pub state: State,
}

/// Why a store is not made that of the only voter. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read or written.
    #[error("the store cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The node is not in it.
    #[error("the log does not know of node {node}; recover on a node whose log does")]
    Unknown {
        /// Which.
        node: NodeId,
    },
    /// The node only scans.
    #[error("node {node} only scans and never votes; recover on a node that may vote")]
    OnlyScans {
        /// Which.
        node: NodeId,
    },
}

/// What the store of the stopped node holds.
///
/// # Errors
/// [`RecoveryError`].
pub fn survey(store: &Path) -> Result<Survey, RecoveryError> {
    let (log, machine) = machine::open(&Storage::Disk(store.to_owned()))?;
    Ok(surveyed(&*log.0, &machine)?.survey)
}

/// Makes `node`, whose stopped store this is, the only voter, and takes all other nodes out of the cluster. `id` is drawn at
/// random: another survivor that does the same goes on by the same log and the same cluster's id.
///
/// # Errors
/// [`RecoveryError`].
pub fn stand_alone(store: &Path, node: NodeId, id: RecoveryId) -> Result<Survey, RecoveryError> {
    let (LogStore(log), machine) = machine::open(&Storage::Disk(store.to_owned()))?;
    let Surveyed { survey, last } = surveyed(&*log, &machine)?;
    let record = survey.state.node(node).ok_or(RecoveryError::Unknown { node })?;
    if !record.may_vote() {
        return Err(RecoveryError::OnlyScans { node });
    }
    let member = Member { peer: record.info.peer.clone() };
    let alone = Membership::new(vec![BTreeSet::from([node])], BTreeMap::from([(node, member)]))
        .map_err(|error| io::Error::other(error.to_string()))?;
    let commands = commands(&survey.state, node, id).into_iter();
    let commands = commands.map(|command| EntryPayload::Normal(Proposal { at_ms: survey.state.now_ms(), command }));
    // Nobody has ever led this term: whoever comes back with entries of the old one is behind.
    let leader_id = LeaderId { term: survey.term.saturating_add(1), voted_for: node };
    let payloads = std::iter::once(EntryPayload::Membership(alone)).chain(commands);
    let entries: Vec<Entry> = (last.map_or(0, |id| id.index + 1)..)
        .zip(payloads)
        .map(|(index, payload)| Entry::new(LogId::new_term_index(leader_id.term, index), payload))
        .collect();
    let end = entries.last().map(|entry| entry.log_id);
    log.append(entries)?;
    kill_point::reached("recover-appended");
    log.write_vote(&Vote { leader_id, committed: false })?;
    kill_point::reached("recover-voted");
    log.write_committed(end.as_ref())?;
    synced(&*log)?;
    kill_point::reached("recover-synced");
    Ok(survey)
}

/// What is put behind the log of a node that goes on alone. The log is raised to the version that knows of recoveries: it is followed
/// by that node alone.
fn commands(state: &State, node: NodeId, id: RecoveryId) -> Vec<Command> {
    let others = || state.nodes().filter(|(id, _)| *id != node);
    let members = others().filter(|(_, record)| record.may_vote()).take(TAKEN_OUT_MAX);
    let taken_out = members.map(|(_, NodeRecord { info, .. })| TakenOut {
        name: info.name.clone(),
        peer: info.peer.clone(),
        addresses: info.addresses.clone(),
    });
    let recovery = Command::Recover(Box::new(Recovery { id, node, taken_out: taken_out.collect() }));
    let mut commands: Vec<Command> = others().map(|(other, _)| Command::RemoveNode { node: other }).collect();
    let needed = recovery.kind().since();
    if state.log_version() < needed {
        commands.push(Command::SetVersions { node, versions: Versions::OWN });
        commands.push(Command::RaiseLog { version: needed });
    }
    commands.push(recovery);
    commands
}

struct Surveyed {
    survey: Survey,
    last: Option<LogId>,
}

fn surveyed(log: &dyn LogEngine, machine: &StateMachine) -> Result<Surveyed, RecoveryError> {
    let (applied, membership) = machine.applied();
    let ends = log.ends();
    let last = ends.last.or(ends.purged).max(applied);
    let mut voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let mut state = machine.shared().read().clone();
    let mut next = applied.map_or(0, |id| id.index + 1);
    let end = last.map_or(0, |id| id.index + 1);
    while next < end {
        let entries = log.read(next..end, READ_BYTES_MAX)?;
        if entries.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log lacks entry {next}")).into());
        }
        for entry in entries {
            next = entry.log_id.index + 1;
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(proposal) => drop(state.apply(entry.log_id.index, proposal)),
                EntryPayload::Membership(membership) => voters = membership.voter_ids().collect(),
            }
        }
    }
    let voted = log.vote()?.map_or(0, |vote| vote.leader_id.term);
    let committed = log.committed()?.max(applied);
    let survey = Survey {
        term: voted.max(last.map_or(0, |id| id.leader_id.term)),
        last_index: last.map_or(0, |id| id.index),
        committed_index: committed.map_or(0, |id| id.index),
        voters,
        state,
    };
    Ok(Surveyed { survey, last })
}

/// Waits until all that was written is on disk.
fn synced(log: &dyn LogEngine) -> io::Result<()> {
    let (done, flushed) = sync_channel(1);
    log.flush(Box::new(move |result| drop(done.send(result))));
    flushed.recv().map_err(io::Error::other)?
}

/// The bytes of a state, verified by their own digest when they are read.
///
/// # Errors
/// Where a row has 4 GiB and more, which none has.
pub fn state_bytes(state: &State) -> io::Result<Vec<u8>> {
    written(state, &MetaRecord::new(None, &StoredMembership::default()))
}

/// A snapshot in memory.
fn written(state: &State, meta: &MetaRecord) -> io::Result<Vec<u8>> {
    let mut writer = Writer::begin(Vec::new(), meta)?;
    let mut result = Ok(());
    state.for_each_row(|key, value| {
        if result.is_ok() {
            result = writer.row(&key, &value);
        }
    });
    result?;
    writer.finish()
}

/// Reads what [`state_bytes`] wrote.
///
/// # Errors
/// `InvalidData` where it was cut or changed, or is of a release that this one does not know.
pub fn read_state(bytes: Vec<u8>) -> io::Result<State> {
    let mut state = State::default();
    snapshot::read(&SnapshotData::Memory(Arc::new(bytes)), |key, value| state.load_row(&key, &value))?;
    Ok(state)
}

/// Makes an empty store that of `node`, the only voter, whose log begins behind `state`. `node` is the index at which the
/// log is taken to end, so that no id comes twice.
///
/// # Errors
/// [`RecoveryError`]; what is in `store` by then is no whole store.
pub fn seed(store: &Path, node: NodeId, peer: &str, state: &State) -> Result<(), RecoveryError> {
    let (LogStore(log), mut machine) = machine::open(&Storage::Disk(store.to_owned()))?;
    if log.ends() != Ends::default() || machine.applied().0.is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the store is not empty").into());
    }
    let leader_id = LeaderId { term: 1, voted_for: node };
    let end = LogId::new_term_index(leader_id.term, node);
    let member = Member { peer: peer.to_owned() };
    let alone = Membership::new(vec![BTreeSet::from([node])], BTreeMap::from([(node, member)]))
        .map_err(|error| io::Error::other(error.to_string()))?;
    let meta = MetaRecord::new(Some(&end), &StoredMembership::new(Some(end), alone));
    machine.install(&meta, &SnapshotData::Memory(Arc::new(written(state, &meta)?)))?;
    log.purge(&end)?;
    log.write_vote(&Vote { leader_id, committed: false })?;
    log.write_committed(Some(&end))?;
    Ok(synced(&*log)?)
}
