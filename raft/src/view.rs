//! What a node outside the log is shown of it: the rows that concern it, as a gateway has applied them, and what the
//! gateway knows of the leader.
//!
//! A gateway looks at its state ([`Look`]) and sends each node the rows that changed since ([`changes`]); the node keeps
//! them in a state of its own (`handle::Viewer`), which all that reads a state reads as usual. Shown are the members, the node
//! itself, its leases with the specs, the authors and the residency of their jobs, the feeds, the rules of the policy, the recoveries and what holds for all;
//! no token, no other node that only scans, no job that the node has no part in.
//!
//! **Invariant: what is shown never goes back.** A gateway that is behind the one before it shows nothing until it has
//! applied as much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind};
use crate::command::UnitKey;
use crate::id::{JobId, NodeId};
use crate::state::table::RowChange;
use crate::state::{Cluster, Lease, NodeRecord, State};

/// Rows by their stored keys.
pub type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// The tables of `State` that all nodes are shown whole, by their numbers: feeds, settings, shape, the rules that each node holds
/// to before it sends, the version of the log, by which each judges what it may propose, and the recoveries, so that each looks whether
/// one that was taken out goes on.
const COMMON_TABLES: [u8; 6] = [13, 15, 20, 24, 29, 53];
/// The tables of which a node is shown the rows of jobs that it has a unit of, beside their specs: who asked for them, because
/// rules may be about that, and which region their results do not leave.
const JOB_TABLES: [u8; 3] = [25, 31, 43];
/// The table of the specs.
const SPECS: [u8; 1] = [6];
/// The tables of which a node is shown its own row, and members' rows are shown to all.
const NODE_TABLES: [u8; 4] = [2, 18, 44, 48];
/// A gateway's word may be so much older than the leader's that it tells of: it speaks as often as this, or more often.
pub const WORD_EVERY: Duration = Duration::from_millis(250);

/// What a gateway sends. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ViewFrame {
    /// From here on all is sent anew.
    Anew,
    /// Rows that are there, or not any more; to be shown with the next word.
    Rows(Vec<RowChange>),
    /// What was sent is the state as of this word.
    Word(GatewayWord),
}

/// What a gateway knows of the log beside its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayWord {
    /// The last entry that it has applied.
    pub applied: u64,
    /// Who leads, where it knows, and how many milliseconds ago that was known.
    pub leader: Option<(NodeId, u64)>,
    /// The term.
    pub term: u64,
    /// The voter sets, two while membership changes.
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// The log's time.
    pub now_ms: u64,
}

/// A row as it is sent: its key and its value.
type EncodedRow = (Vec<u8>, Arc<[u8]>);

/// Looks at the state for many nodes outside the log at once.
///
/// A gateway looks as often as entries are applied, and of what it shows hardly anything is another each time: only rows of
/// tables that have changed since are encoded again, and of leases only those of nodes whose leases are others.
#[derive(Debug, Default)]
pub struct Look {
    common: Arc<Rows>,
    /// What of the state `common` was made from.
    common_as_of: Option<(u64, Cluster)>,
    /// Rows of jobs that these nodes work for: specs are large, and hardly ever change.
    of_jobs: BTreeMap<JobId, Vec<EncodedRow>>,
    of_nodes: BTreeMap<NodeId, OfNode>,
    /// What of the state the rows of nodes and of jobs were made from.
    as_of: (u64, u64),
}

/// What one node was shown last beside what is common.
#[derive(Debug)]
struct OfNode {
    leases: Vec<(UnitKey, Lease)>,
    rows: Arc<Rows>,
}

/// What a look found. What is the same as at the last look is the very same.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What all nodes are shown.
    pub common: Arc<Rows>,
    /// What each is shown beside.
    pub own: BTreeMap<NodeId, Arc<Rows>>,
}

impl Look {
    /// What `nodes` are to be shown of a state. The cost is that of a glance at each node and at each lease that is out, and
    /// of encoding what changed.
    pub fn at(&mut self, state: &State, nodes: &BTreeSet<NodeId>) -> Seen {
        let as_of = (state.revision_of(&NODE_TABLES), state.revision_of(&SPECS) + state.revision_of(&JOB_TABLES));
        let is_as_before = as_of == self.as_of;
        if as_of.1 != self.as_of.1 {
            self.of_jobs.clear();
        }
        self.as_of = as_of;
        let mut held: BTreeMap<NodeId, Vec<(UnitKey, &Lease)>> = nodes.iter().map(|node| (*node, Vec::new())).collect();
        let mut at_work = BTreeSet::new();
        for (unit, lease) in state.leases() {
            if let Some(held) = held.get_mut(&lease.node) {
                held.push((unit, lease));
                at_work.insert(unit.job);
            }
        }
        self.of_jobs.retain(|job, _| at_work.contains(job));
        self.of_nodes.retain(|node, _| held.contains_key(node));
        for (node, held) in held {
            let is_same = |before: &OfNode| {
                is_as_before && before.leases.iter().map(|(unit, lease)| (*unit, lease)).eq(held.iter().copied())
            };
            if self.of_nodes.get(&node).is_some_and(is_same) {
                continue;
            }
            let rows = self.rows_of(state, node, &held);
            let before = self.of_nodes.remove(&node).map(|before| before.rows);
            let rows = before.filter(|before| **before == rows).unwrap_or_else(|| Arc::new(rows));
            let leases = held.into_iter().map(|(unit, lease)| (unit, lease.clone())).collect();
            self.of_nodes.insert(node, OfNode { leases, rows });
        }
        self.look_at_common(state);
        let own = self.of_nodes.iter().map(|(node, of)| (*node, Arc::clone(&of.rows))).collect();
        Seen { common: Arc::clone(&self.common), own }
    }

    /// What a node is shown that has these leases, beside what is common.
    fn rows_of(&mut self, state: &State, node: NodeId, held: &[(UnitKey, &Lease)]) -> Rows {
        let mut rows: Rows = held.iter().filter_map(|(unit, _)| shared(state.leases.stored(unit))).collect();
        let jobs: BTreeSet<JobId> = held.iter().map(|(unit, _)| unit.job).collect();
        for job in jobs {
            let of_job = self.of_jobs.entry(job).or_insert_with(|| {
                let mut of_job: Vec<_> = shared(state.specs.stored(&job)).into_iter().collect();
                state.for_each_row_of_job(&JOB_TABLES, job, |key, row| of_job.push((key, Arc::from(row))));
                of_job
            });
            rows.extend(of_job.iter().map(|(key, row)| (key.clone(), Arc::clone(row))));
        }
        rows.extend(shared(state.nodes.stored(&node)));
        rows.extend(shared(state.standings.stored(&node)));
        rows.extend(shared(state.signers.stored(&node)));
        rows.extend(shared(state.log_places.stored(&node)));
        rows
    }

    fn look_at_common(&mut self, state: &State) {
        // The clock in it moves with every entry; the word beside the rows carries it.
        let cluster = Cluster { now_ms: 0, ..state.cluster() };
        let as_of = Some((state.revision_of(&COMMON_TABLES) + state.revision_of(&NODE_TABLES), cluster));
        if as_of == self.common_as_of {
            return;
        }
        let common = common(state);
        if common != *self.common {
            self.common = Arc::new(common);
        }
        self.common_as_of = as_of;
    }
}

fn shared(row: Option<(Vec<u8>, Vec<u8>)>) -> Option<(Vec<u8>, Arc<[u8]>)> {
    row.map(|(key, row)| (key, Arc::from(row)))
}

fn common(state: &State) -> Rows {
    let mut rows = Rows::new();
    let cluster = Cluster { now_ms: 0, ..state.cluster() };
    let cluster_key = state.cluster.iter().next().and_then(|(key, _)| state.cluster.stored(key)).map(|(key, _)| key);
    rows.extend(cluster_key.map(|key| (key, Arc::from(codec::encode(Kind::Row, &cluster)))));
    for (id, _) in state.nodes().filter(|(_, record)| NodeRecord::may_vote(record)) {
        rows.extend(shared(state.nodes.stored(&id)));
        rows.extend(shared(state.standings.stored(&id)));
    }
    state.for_each_row_of(&COMMON_TABLES, |key, row| {
        rows.insert(key, Arc::from(row));
    });
    rows
}

/// What changed from one set of rows to another.
#[must_use]
pub fn changes(before: &Rows, now: &Rows) -> Vec<RowChange> {
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let gone = gone.map(|key| RowChange { key: key.clone(), value: None });
    let is_new = |(key, row): &(&Vec<u8>, &Arc<[u8]>)| before.get(*key).is_none_or(|before| before != *row);
    let new = now.iter().filter(is_new);
    gone.chain(new.map(|(key, row)| RowChange { key: key.clone(), value: Some(row.to_vec()) })).collect()
}
