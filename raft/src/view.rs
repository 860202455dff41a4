//! What a node outside the log is shown of it: the rows that concern it, as a gateway has applied them, and what the
//! gateway knows of the leader.
//!
//! A gateway looks at its state ([`Look`]) and sends each node the rows that changed since ([`changes`]); the node keeps
//! them in a state of its own (`handle::Viewer`), which all that reads a state reads as usual. Shown are the members, the node
//! itself, its leases with the specs, the authors and the residency of their jobs, the feeds, the rules of the policy and what holds for all;
//! no token, no other node that only scans, no job that the node has no part in.
//!
//! **Invariant: what is shown never goes back.** A gateway that is behind the one before it shows nothing until it has
//! applied as much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind};
use crate::id::{JobId, NodeId};
use crate::state::table::RowChange;
use crate::state::{NodeRecord, State};

/// Rows by their stored keys.
pub type Rows = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// The tables of `State` that all nodes are shown whole, by their numbers: feeds, settings, shape, the rules that each node holds
/// to before it sends, and the version of the log, by which each judges what it may propose.
const COMMON_TABLES: [u8; 5] = [13, 15, 20, 24, 29];
/// The tables of which a node is shown the rows of jobs that it has a unit of, beside their specs: who asked for them, because
/// rules may be about that, and which region their results do not leave.
const JOB_TABLES: [u8; 3] = [25, 31, 43];
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

/// Looks at the state for many nodes outside the log at once.
#[derive(Debug, Default)]
pub struct Look {
    /// Specs as they were encoded last: they are large, and hardly ever change.
    specs: BTreeMap<JobId, (Vec<u8>, Arc<[u8]>)>,
    common: Arc<Rows>,
}

/// What a look found.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What all nodes are shown; the same as at the last look where nothing of it changed.
    pub common: Arc<Rows>,
    /// What each is shown beside.
    pub own: BTreeMap<NodeId, Rows>,
}

impl Look {
    /// What `nodes` are to be shown of a state. The cost is that of the members, the leases that are out, and the specs of
    /// jobs that these nodes work for.
    pub fn at(&mut self, state: &State, nodes: &BTreeSet<NodeId>) -> Seen {
        let mut own: BTreeMap<NodeId, Rows> = nodes.iter().map(|node| (*node, Rows::new())).collect();
        let mut specs: BTreeMap<JobId, BTreeSet<NodeId>> = BTreeMap::new();
        for (unit, lease) in state.leases() {
            if let Some(rows) = own.get_mut(&lease.node) {
                rows.extend(shared(state.leases.stored(&unit)));
                specs.entry(unit.job).or_default().insert(lease.node);
            }
        }
        self.specs.retain(|job, _| specs.contains_key(job));
        for (job, workers) in specs {
            let mut of_job: Vec<(Vec<u8>, Arc<[u8]>)> = self.spec(state, job).into_iter().collect();
            state.for_each_row_of_job(&JOB_TABLES, job, |key, row| of_job.push((key, Arc::from(row))));
            for worker in workers {
                if let Some(rows) = own.get_mut(&worker) {
                    rows.extend(of_job.iter().map(|(key, row)| (key.clone(), Arc::clone(row))));
                }
            }
        }
        for (node, rows) in &mut own {
            rows.extend(shared(state.nodes.stored(node)));
            rows.extend(shared(state.standings.stored(node)));
            rows.extend(shared(state.signers.stored(node)));
            rows.extend(shared(state.log_places.stored(node)));
        }
        let common = common(state);
        if common != *self.common {
            self.common = Arc::new(common);
        }
        Seen { common: Arc::clone(&self.common), own }
    }

    fn spec(&mut self, state: &State, job: JobId) -> Option<(Vec<u8>, Arc<[u8]>)> {
        let (key, row) = state.specs.stored(&job)?;
        match self.specs.get(&job) {
            Some((key, kept)) if **kept == *row => Some((key.clone(), Arc::clone(kept))),
            _ => {
                let encoded = (key, Arc::from(row));
                self.specs.insert(job, encoded.clone());
                Some(encoded)
            }
        }
    }
}

fn shared(row: Option<(Vec<u8>, Vec<u8>)>) -> Option<(Vec<u8>, Arc<[u8]>)> {
    row.map(|(key, row)| (key, Arc::from(row)))
}

fn common(state: &State) -> Rows {
    let mut rows = Rows::new();
    // The clock in it moves with every entry; the word beside the rows carries it.
    let cluster = crate::state::Cluster { now_ms: 0, ..state.cluster() };
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
