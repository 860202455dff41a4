//! What a member does for nodes that stand outside the log: it shows them what of its state concerns them (`views`), carries
//! their work sessions to whoever leads (`relay`), and has what they propose put into the log (`rpc/batch`).
//!
//! Everything they say was let through by `access` before it comes here, as theirs. What many of them say at once
//! travels together: one stream to the leader for all their sessions, one entry of the log for completions that wait.

mod relay;
mod views;

use std::sync::Arc;

use pentora_p2p::{FrameStream, Mesh};
use pentora_raft::command::Command;
use pentora_raft::{Applied, NodeId, Raft};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use relay::serve as serve_relay;
#[cfg(fuzzing)]
pub(crate) use relay::{Down, Up};

use self::relay::Relay;
use self::views::Views;
use crate::coordinator::WorkSessions;
use crate::rpc::batch::Batch;
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::work_protocol::{LeaderFrame, Link, WorkerFrame};

/// What a node outside the log says first on a stream on which it wants to be shown the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewHello {
    /// What it was shown before, by another gateway maybe: it is shown nothing older.
    pub applied: u64,
}

/// A member's part as a gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    views: Arc<Views>,
    relay: Arc<Relay>,
    batch: Batch,
    proposer: Proposer,
}

impl Gateway {
    /// A gateway that nobody uses yet; `mesh` reaches other leaders, and `sessions` are those of this node while it leads.
    #[must_use]
    pub fn new(raft: &Raft, proposer: &Proposer, sessions: &Arc<WorkSessions>, mesh: Option<Mesh>) -> Self {
        Self {
            views: Arc::new(Views::new(raft.clone())),
            relay: Arc::new(Relay::new(raft.clone(), Arc::clone(sessions), mesh)),
            batch: Batch::new(proposer.clone()),
            proposer: proposer.clone(),
        }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let work = async { tokio::join!(self.views.keep(), self.relay.keep()) };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = work => {}
        }
    }

    /// Shows `node` the log on a stream that it opened, until one side ends it.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn show(&self, stream: FrameStream, node: NodeId) -> Result<(), String> {
        self.views.show(stream, node).await
    }

    /// Carries a work session of `node` to the leader, until either side or the leadership ends.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn carry(
        &self,
        node: NodeId,
        link: Link<LeaderFrame, WorkerFrame>,
        tasks: &TaskTracker,
    ) -> Result<(), String> {
        self.relay.carry(node, link, tasks).await
    }

    /// Puts into the log what `access` let a node outside propose.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn propose(&self, command: Command) -> Result<Applied, Unavailable> {
        match command {
            Command::Complete { completions } => self.batch.complete(completions).await,
            other => self.proposer.propose(other).await,
        }
    }
}
