//! The handle through which a node uses consensus: propose, read, watch, change membership, hand leadership over.
//!
//! A handle is cheap to clone. Proposals are at least once: a proposer that did not hear an answer asks again, and each
//! command is made so that asking again changes nothing more (ids, epochs, idempotency keys).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::codec;
use crate::command::{Command, ENTRY_BYTES_MAX, Proposal, Refusal, Response};
use crate::config::Config;
use crate::id::NodeId;
use crate::network::{Class, Duplex, Factory, Transport, serve, spawn_owned};
use crate::raft_types::Member;
use crate::state::State;
use crate::store::machine::{self, Shared};
use crate::store::{OpenError, Openraft, Storage};

/// A node's part in consensus.
#[derive(Clone)]
pub struct Raft {
    raft: Openraft,
    shared: Arc<Shared>,
    node: NodeId,
    config: Arc<Config>,
    staging: Option<PathBuf>,
    /// Cancelled when the store on disk is closed.
    closed: Option<CancellationToken>,
    /// Counts changes of role, leader, term and membership.
    changes: watch::Receiver<u64>,
    _watching: Arc<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A command that is in the log and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its log index.
    pub index: u64,
    /// What applying it answered.
    pub response: Response,
}

/// Why consensus could not be started. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The configuration does not hold together.
    #[error("the consensus configuration is unusable: {0}")]
    Config(String),
    /// The consensus core refused what it found in the store.
    #[error("consensus did not start: {0}")]
    Core(String),
}

/// Why a command was not applied, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads; ask it. Nothing changed.
    #[error("node {} leads, not this one", .leader.map_or_else(|| "?".to_owned(), |id| id.to_string()))]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum answered in time. It may or may not be applied later; ask again.
    #[error("no quorum of voters answered within {} ms", .after.as_millis())]
    TimedOut {
        /// The time that was given.
        after: Duration,
    },
    /// Consensus has stopped on this node; the process should end and start again.
    #[error("consensus has stopped on this node: {0}")]
    Stopped(String),
}

/// Why membership did not change.
#[derive(Debug, thiserror::Error)]
#[error("membership did not change: {0}")]
pub struct MembershipError(String);

/// A node's part in elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads, and a quorum has answered it within its lease (the longest election time-out).
    Leader,
    /// It votes.
    Voter,
    /// It follows the log and does not vote.
    Learner,
    /// It is not in the membership.
    Outside,
}

/// What a node knows of consensus right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// Its part.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: u64,
    /// The last entry in its log.
    pub last_index: u64,
    /// The last entry known to be on a quorum.
    pub commit_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// The voters; those of both sets while membership changes.
    pub voters: BTreeSet<NodeId>,
    /// Whether a membership change is half done.
    pub joint: bool,
    /// The learners.
    pub learners: BTreeSet<NodeId>,
    /// Leader only: the last entry each member has.
    pub matched: BTreeMap<NodeId, u64>,
    /// Leader only: milliseconds since each member last answered.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// Leader only: milliseconds since a quorum last answered.
    pub quorum_heard_ms: Option<u64>,
    /// `None` while the core runs; otherwise why it stopped.
    pub stopped: Option<String>,
}

impl Raft {
    /// Opens the store and starts the core. The node takes no part until it is in a membership.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(
        node: NodeId,
        config: Config,
        storage: &Storage,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let openraft_config = Arc::new(config.to_openraft().map_err(StartError::Config)?);
        let storage = storage.clone();
        let (log, machine) = tokio::task::spawn_blocking(move || machine::open(&storage))
            .await
            .map_err(|error| StartError::Core(error.to_string()))??;
        let shared = machine.shared();
        let staging = machine.staging_dir();
        let closed = machine.closed();
        let factory = Factory { own: node, transport };
        let raft = Openraft::new(node, openraft_config, factory, log, machine)
            .await
            .map_err(|error| StartError::Core(error.to_string()))?;
        let (changes, watching) = watch_changes(&raft);
        Ok(Self { raft, shared, node, config: Arc::new(config), staging, closed, changes, _watching: watching })
    }

    /// Whether this store has ever been part of a cluster.
    ///
    /// # Errors
    /// Where the core has stopped.
    pub async fn is_initialized(&self) -> Result<bool, ProposeError> {
        self.raft.is_initialized().await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Makes this node the one voter of a new cluster.
    ///
    /// # Errors
    /// Where the store is not empty.
    pub async fn initialize(&self, peer: &str) -> Result<(), MembershipError> {
        let members = BTreeMap::from([(self.node, Member { peer: peer.into() })]);
        self.raft.initialize(members).await.map_err(|error| MembershipError(error.to_string()))
    }

    /// Puts a command into the log and waits until it is applied here. Only the leader can. One that is larger than
    /// [`ENTRY_BYTES_MAX`] is refused without an entry, under the index of the last one applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; after `TimedOut` the command may still be applied later.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let after = self.config.propose_timeout;
        let proposal = Proposal { at_ms: wall_ms(), command };
        let bytes = codec::encoded_len(&proposal);
        if bytes > ENTRY_BYTES_MAX {
            let what = format!("it takes {bytes} bytes, an entry of the log at most {ENTRY_BYTES_MAX}");
            let index = *self.watch_applied().borrow();
            return Ok(Applied { index, response: Response::Refused(Refusal::Malformed { what }) });
        }
        match tokio::time::timeout(after, self.raft.client_write(proposal)).await {
            Err(_elapsed) => Err(ProposeError::TimedOut { after }),
            Ok(Ok(written)) => Ok(Applied { index: written.log_id.index, response: written.data }),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id })
            }
            Ok(Err(other)) => Err(ProposeError::Stopped(other.to_string())),
        }
    }

    /// Looks at the state as applied here. `look` must be quick: it holds up applying.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.read())
    }

    /// The index of the last applied entry, as it grows.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.shared.watch_applied()
    }

    /// Waits until the entry at `index` is applied here; `false` where it is not within `limit`.
    pub async fn wait_applied(&self, index: u64, limit: Duration) -> bool {
        let mut applied = self.watch_applied();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(tokio::time::timeout(limit, reached).await, Ok(Ok(_)))
    }

    /// Waits until everything that was committed before this call is applied here. Only the leader can say.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn ensure_linearizable(&self) -> Result<(), ProposeError> {
        let after = self.config.propose_timeout;
        match tokio::time::timeout(after, self.raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex)).await {
            Err(_elapsed) => Err(ProposeError::TimedOut { after }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(error))) => Err(ProposeError::NotLeader { leader: forwarded(&error) }),
            Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Stopped(fatal.to_string())),
        }
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What this node knows right now.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        status_of(self.node, self.config.profile.timings().election_max_ms, &metrics)
    }

    /// Waits for the next change of role, leader, term or membership, or for `limit`.
    pub async fn status_changed(&self, limit: Duration) {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        // Whatever the outcome, the caller looks again.
        drop(tokio::time::timeout(limit, changes.changed()).await);
    }

    /// Lets `node` follow the log without voting. Answers once it is in the membership.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, node: NodeId, peer: &str) -> Result<(), MembershipError> {
        let member = Member { peer: peer.into() };
        bounded(self.raft.add_learner(node, member, false)).await
    }

    /// Makes exactly `voters` vote; those who voted before and are not among them stay as learners.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        bounded(self.raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), true)).await
    }

    /// Takes a learner out of the membership.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), MembershipError> {
        bounded(self.raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([node])), true)).await
    }

    /// Asks `to` to take over from this node, the leader. Returns once asked; watch the status for the outcome.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] where the core has stopped.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ProposeError> {
        self.raft.trigger().transfer_leader(to).await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Makes a snapshot now.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] where the core has stopped.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        self.raft.trigger().snapshot().await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Answers what comes on a stream that another node opened, until it ends.
    ///
    /// # Errors
    /// Where the stream breaks, is meant for another node, or is not understood.
    pub async fn serve(&self, class: Class, duplex: Duplex) -> io::Result<()> {
        serve(&self.raft, self.node, self.staging.clone(), class, duplex).await
    }

    /// Stops the core and waits until its store is closed, so that it can be opened again. What was acknowledged is on
    /// disk.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        if let Some(closed) = &self.closed
            && tokio::time::timeout(CLOSE_TIMEOUT, closed.cancelled()).await.is_err()
        {
            tracing::warn!("the store is still open; something holds on to it");
        }
    }
}

/// How long the store may take to close after the core has stopped: a snapshot that is being built goes on to its end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the core's rarely changing figures. A receiver handed out by the core begins as changed, so one is kept.
fn watch_changes(raft: &Openraft) -> (watch::Receiver<u64>, Arc<AbortOnDropHandle<()>>) {
    let (count, changes) = watch::channel(0u64);
    let mut server = raft.server_metrics();
    let watching = spawn_owned(async move {
        while server.changed().await.is_ok() {
            count.send_modify(|count| *count = count.wrapping_add(1));
        }
        // The core has ended: whoever waits should look now.
        count.send_modify(|count| *count = count.wrapping_add(1));
    });
    (changes, Arc::new(AbortOnDropHandle::new(watching)))
}

/// How long a membership change may take: two commits, and the learner's first contact.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(10);

async fn bounded<T, E: std::fmt::Display>(change: impl Future<Output = Result<T, E>>) -> Result<(), MembershipError> {
    match tokio::time::timeout(MEMBERSHIP_TIMEOUT, change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(MembershipError(error.to_string())),
        Err(_elapsed) => Err(MembershipError("it took more than 10 s".into())),
    }
}

fn forwarded(error: &openraft::errors::LinearizableReadError<crate::raft_types::TypeConfig>) -> Option<NodeId> {
    match error {
        openraft::errors::LinearizableReadError::ForwardToLeader(forward) => forward.leader_id,
        _ => None,
    }
}

/// A leader that has not heard a quorum for its lease takes no proposals, though consensus keeps it in office until it
/// hears of another; whoever asks is told that nobody leads.
fn status_of(
    node: NodeId,
    lease_ms: u64,
    metrics: &openraft::RaftMetrics<crate::raft_types::TypeConfig>,
) -> RaftStatus {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let learners: BTreeSet<NodeId> = membership.learner_ids().collect();
    let quorum_heard_ms = metrics.last_quorum_acked.as_ref().map(elapsed_ms);
    let alone = voters.len() == 1 && voters.contains(&node);
    let in_office = alone || quorum_heard_ms.is_some_and(|heard_ms| heard_ms <= lease_ms);
    let role = match metrics.state {
        openraft::ServerState::Leader if in_office => Role::Leader,
        _ if voters.contains(&node) => Role::Voter,
        _ if learners.contains(&node) => Role::Learner,
        _ => Role::Outside,
    };
    let index = |id: &Option<crate::raft_types::LogId>| id.as_ref().map_or(0, |id| id.index);
    let mut heard_ms = BTreeMap::new();
    for (id, at) in metrics.heartbeat.iter().flatten() {
        if let Some(at) = at {
            heard_ms.insert(*id, elapsed_ms(at));
        }
    }
    RaftStatus {
        node,
        role,
        leader: metrics.current_leader.filter(|leader| *leader != node || role == Role::Leader),
        term: metrics.current_term,
        last_index: metrics.last_log_index.unwrap_or(0),
        commit_index: index(&metrics.cluster_committed).max(index(&metrics.local_committed)),
        applied_index: index(&metrics.last_applied),
        joint: membership.get_joint_config().len() > 1,
        voters,
        learners,
        matched: metrics.replication.iter().flatten().map(|(id, matched)| (*id, index(matched))).collect(),
        heard_ms,
        quorum_heard_ms,
        stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

fn elapsed_ms(at: &openraft::alias::SerdeInstantOf<crate::raft_types::TypeConfig>) -> u64 {
    u64::try_from(at.into_inner().elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the one place where wall time enters the log, on the leader")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
