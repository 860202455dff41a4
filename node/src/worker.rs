//! From lease to accepted chunk: the part of a node that scans.
//!
//! `work_session` keeps one work session with whoever leads, wherever that is. Leases that come over it become units in
//! `units`; each runs on its own: scan, fold, write the chunk, copy it to holders, and put its completion into the log.
//! A work session that breaks stops nothing: units go on until their lease's term is over without word from a leader, and
//! then pause, because by then another may have been given them.

mod fence;
mod own_log;
mod permits;
mod rest;
mod shares;
mod signed;
mod skew;
mod unit;
mod unit_fault;
mod unit_findings;
mod unit_spans;
mod units;
mod work_session;

use std::sync::Arc;
use std::time::Duration;

use pentora_raft::{NodeId, Raft};
use pentora_scanner::engine::Engine;
use pentora_scanner::finding::HostRecord;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use fence::Fence;
pub use permits::Permits;
pub use rest::Rest;
pub use signed::{NotTaken, order_of};
pub use skew::Skew;
pub use units::Units;

use crate::coordinator::WorkSessions;
use crate::feeds::FeedStore;
use crate::meters::Meters;
use crate::results::Exchange;
use crate::rpc::batch::Batch;
use crate::rpc::proposer::Proposer;
use crate::traces::Traces;
use pentora_p2p::Mesh;
use pentora_raft::command::{Command, LeaseRef};

/// Everything a unit needs, shared by all of them.
#[derive(Debug)]
pub struct Context {
    /// This node.
    pub node: NodeId,
    /// The id under which its findings stand.
    pub worker_id: String,
    /// Consensus.
    pub raft: Raft,
    /// The way into the log.
    pub proposer: Proposer,
    /// The way of what is done.
    pub batch: Batch,
    /// The engine that sends probes.
    pub engine: Engine,
    /// Where chunks are kept and copied.
    pub exchange: Exchange,
    /// What its units may send to.
    pub permits: Permits,
    /// The lease's term without word from a leader.
    pub fence: Fence,
    /// What it works on.
    pub units: Units,
    /// Whether the leader has it rest.
    pub rest: Rest,
    /// This process among all that ever ran from this data directory: two that are heard at once are copies.
    pub instance: u128,
    /// How far this node's clock is ahead of the leader's, as it found last.
    pub skew: Skew,
    /// What services are matched with.
    pub feeds: Option<FeedStore>,
    /// What its units come to.
    pub meters: Meters,
    /// Where its units are told of.
    pub traces: Traces,
}

/// The node's worker.
#[derive(Debug, Clone)]
pub struct Worker {
    context: Arc<Context>,
    tasks: TaskTracker,
}

impl Worker {
    /// A worker with nothing to do yet.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context: Arc::new(context), tasks: TaskTracker::new() }
    }

    /// Works until `stop`, then hands back what is unfinished. `local` are this node's own work sessions, for when it leads
    /// itself; `mesh` reaches other leaders.
    pub async fn run(self, local: Arc<WorkSessions>, mesh: Option<Mesh>, stop: CancellationToken) {
        let fencing = self.tasks.spawn(fence::keep(Arc::clone(&self.context), stop.clone()));
        self.tasks.spawn(own_log::keep(Arc::clone(&self.context), stop.clone()));
        self.tasks.spawn(permits::keep(Arc::clone(&self.context), stop.clone()));
        self.tasks.spawn(rest::keep(Arc::clone(&self.context), stop.clone()));
        work_session::keep(&self.context, &self.tasks, &local, mesh.as_ref(), &stop).await;
        self.hand_back().await;
        if let Err(error) = fencing.await {
            tracing::warn!(%error, "the fence ended badly");
        }
        self.tasks.close();
        if tokio::time::timeout(UNITS_STOP_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("units did not stop in time");
        }
    }

    /// Ends every unit early, with what is settled of it counted, and answers what else they had found and how many
    /// probes were sent for that. The worker takes no more units.
    pub async fn suspend(&self) -> (Vec<HostRecord>, u64) {
        self.context.units.suspend().await
    }

    /// Stops every unit and gives its lease back, so that others need not wait for its term.
    async fn hand_back(&self) {
        let leases: Vec<LeaseRef> = self.context.units.stop_all();
        if leases.is_empty() {
            return;
        }
        let count = leases.len();
        match self.context.proposer.propose(Command::Release { leases }).await {
            Ok(_) => tracing::info!(count, "unfinished units handed back"),
            Err(error) => tracing::warn!(count, %error, "unfinished units not handed back; their leases will expire"),
        }
    }
}

/// How long units may take to notice that they are stopped.
const UNITS_STOP_WITHIN: Duration = Duration::from_secs(3);
