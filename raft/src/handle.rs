//! The handle through which a node uses consensus: propose, read, watch, change membership, hand leadership over.
//!
//! A handle is cheap to clone. Proposals are at least once: a proposer that did not hear an answer asks again, and each
//! command is made so that asking again changes nothing more (ids, epochs, idempotency keys).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{LogClock, OtherClock};
use crate::config::Config;
use crate::id::NodeId;
use crate::leadership::{Heard, Leadership, Word};
use crate::network::{Class, Duplex, Ends, Factory, Transport, refuse, serve};
use crate::raft_types::Member;
use crate::state::State;
use crate::store::machine::{self, Shared};
use crate::store::slowness::Slowness;
use crate::store::{OpenError, Openraft, Storage};
use crate::view::GatewayWord;

mod propose;
mod status;
mod viewer;
pub use propose::{Applied, ProposeError};
pub use status::{RaftStatus, Role};
use viewer::Shown;
pub use viewer::Viewer;

/// A node's part in consensus.
#[derive(Clone)]
pub struct Raft {
    part: Part,
    shared: Arc<Shared>,
    node: NodeId,
    config: Arc<Config>,
    /// The last word of a leader that this node follows.
    heard: Arc<Heard>,
    /// Counts changes of role, leader, term and membership.
    changes: watch::Receiver<u64>,
}

/// How a node takes part.
#[derive(Clone)]
enum Part {
    /// It follows the log.
    Inside {
        raft: Openraft,
        staging: Option<PathBuf>,
        /// Cancelled when the store on disk is closed.
        closed: Option<CancellationToken>,
        /// How the log's disk is made slow; `None` where it is in memory.
        slowness: Option<Arc<Slowness>>,
        _watching: Arc<AbortOnDropHandle<()>>,
    },
    /// It stands outside, and has what a gateway shows it.
    Outside(Arc<Mutex<Shown>>),
}

const OUTSIDE: &str = "this node stands outside the log";

impl std::fmt::Debug for Raft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raft").field("node", &self.node).finish_non_exhaustive()
    }
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

/// Why membership did not change.
#[derive(Debug, thiserror::Error)]
#[error("membership did not change: {0}")]
pub struct MembershipError(String);

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
        let (log, machine) = match storage {
            Storage::Memory | Storage::Simulated(_) => machine::open(storage)?,
            Storage::Disk(_) => {
                let storage = storage.clone();
                let opening = tokio::task::spawn_blocking(move || machine::open(&storage)).await;
                opening.map_err(|error| StartError::Core(error.to_string()))??
            }
        };
        let shared = machine.shared();
        let staging = machine.staging_dir();
        let (closed, slowness) = (machine.closed(), log.0.slowness());
        let factory = Factory { own: node, transport };
        // By the log itself: the core's figures come once it runs, and by then it may read entries again.
        shared.read_again_until(log.0.ends().last.map_or(0, |last| last.index));
        let raft = Openraft::new(node, openraft_config, factory, log, machine)
            .await
            .map_err(|error| StartError::Core(error.to_string()))?;
        let (changed, changes, watching) = status::watch_changes(&raft, config.profile.election_max());
        let (config, heard) = (Arc::new(config), Arc::new(Heard::new(changed)));
        let part = Part::Inside { raft, staging, closed, slowness, _watching: watching };
        Ok(Self { part, shared, node, config, heard, changes })
    }

    /// A node that stands outside the log: it has in memory what the returned viewer takes from a gateway, and nothing else.
    #[must_use]
    pub fn outside(node: NodeId, config: Config) -> (Self, Viewer) {
        let (changed, changes) = watch::channel(0u64);
        let shared = Arc::new(Shared::of_a_view());
        let shown = Arc::new(Mutex::new(Shown::default()));
        let viewer = Viewer::new(Arc::clone(&shared), Arc::clone(&shown), changed.clone());
        let heard = Arc::new(Heard::new(changed));
        (Self { part: Part::Outside(shown), shared, node, config: Arc::new(config), heard, changes }, viewer)
    }

    /// Whether this node stands outside the log.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        matches!(self.part, Part::Outside(_))
    }

    /// Which node to ask for what the leader decides: the leader, or the gateway of a node outside the log. `None` while no
    /// leader is known.
    #[must_use]
    pub fn way(&self) -> Option<NodeId> {
        self.way_and_term().map(|(way, _)| way)
    }

    /// The same, with the term in which the leader leads.
    #[must_use]
    pub fn way_and_term(&self) -> Option<(NodeId, u64)> {
        match &self.part {
            Part::Inside { .. } => {
                let status = self.status();
                status.leader.map(|leader| (leader, status.term))
            }
            Part::Outside(shown) => {
                self.leadership().leader()?;
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                Some((shown.gateway?, shown.term()))
            }
        }
    }

    /// The member that shows this node the log, where it stands outside; it may know no leader.
    #[must_use]
    pub fn gateway(&self) -> Option<NodeId> {
        match &self.part {
            Part::Inside { .. } => None,
            Part::Outside(shown) => shown.lock().unwrap_or_else(PoisonError::into_inner).gateway,
        }
    }

    fn core(&self) -> Option<&Openraft> {
        match &self.part {
            Part::Inside { raft, .. } => Some(raft),
            Part::Outside(_) => None,
        }
    }

    /// Has each sync of this node's log wait for `delay` before it begins, for as long as `lasts`, as a disk that is slow does:
    /// a drill. It ends with the process at the latest. `false` where this node has no log on a disk.
    pub fn slow_disk(&self, delay: Duration, lasts: Duration) -> bool {
        let Part::Inside { slowness: Some(slowness), .. } = &self.part else { return false };
        slowness.begin(delay, lasts);
        true
    }

    /// Whether this store has ever been part of a cluster.
    ///
    /// # Errors
    /// Where the core has stopped.
    pub async fn is_initialized(&self) -> Result<bool, ProposeError> {
        let Some(raft) = self.core() else { return Ok(false) };
        raft.is_initialized().await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Makes this node the one voter of a new cluster.
    ///
    /// # Errors
    /// Where the store is not empty.
    pub async fn initialize(&self, peer: &str) -> Result<(), MembershipError> {
        let members = BTreeMap::from([(self.node, Member { peer: peer.into() })]);
        self.to_change()?.initialize(members).await.map_err(|error| MembershipError(error.to_string()))
    }

    /// The log's time now, in Unix milliseconds, for people: one clock on all nodes, however theirs go.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let shown = self.clock().shown_ms(self.config.wall.now_ms(), Instant::now());
        shown.max(self.read(|state| state.cluster().now_ms))
    }

    /// What this machine's clock shows, in Unix milliseconds: to say how far the log's time is from it, and for nothing else.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.config.wall.now_ms()
    }

    /// Tells the leader's clock of the other nodes that are there, each with what its clock showed where that is known.
    pub fn compare_clocks(&self, others: Vec<Option<OtherClock>>) {
        self.clock().set_others(others, self.config.wall.now_ms(), Instant::now());
    }

    fn clock(&self) -> MutexGuard<'_, LogClock> {
        self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Some(raft) = self.core() else { return Err(ProposeError::NotLeader { leader: self.status().leader }) };
        let after = self.config.propose_timeout;
        match tokio::time::timeout(after, raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex)).await {
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
        let limit = self.config.profile.election_max();
        match &self.part {
            Part::Inside { raft, .. } => {
                let metrics = raft.metrics().borrow_watched().clone();
                status::of(self.node, limit, &metrics, self.heard.last(), Instant::now())
            }
            Part::Outside(shown) => {
                let applied = *self.shared.watch_applied().borrow();
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.status(self.node, limit, applied, Instant::now())
            }
        }
    }

    /// What a member tells a node outside the log beside the rows that it shows, which are as of `applied`.
    #[must_use]
    pub fn word(&self, applied: u64) -> GatewayWord {
        let status = self.status();
        let leader = match status.leadership {
            Leadership::Known { leader, age } => Some((leader, u64::try_from(age.as_millis()).unwrap_or(u64::MAX))),
            Leadership::Lost { .. } => None,
        };
        GatewayWord { applied, leader, term: status.term, voter_sets: status.voter_sets, now_ms: self.now_ms() }
    }

    /// Whether this node knows a leader now.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        match &self.part {
            Part::Inside { .. } => self.status().leadership,
            Part::Outside(shown) => {
                let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.leadership(self.config.profile.election_max(), Instant::now())
            }
        }
    }

    /// The last word of another leader to this node, however old.
    #[must_use]
    pub fn last_word(&self) -> Option<Word> {
        self.heard.last()
    }

    /// Counts changes of role, leader, term and membership. That a leader falls silent is no change: nothing happens then.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// Waits for the next change of [`Self::watch_status`], or for `limit`.
    pub async fn status_changed(&self, limit: Duration) {
        let mut changes = self.watch_status();
        // Whatever the outcome, the caller looks again.
        drop(tokio::time::timeout(limit, changes.changed()).await);
    }

    /// Lets `node` follow the log without voting. Answers once it is in the membership.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, node: NodeId, peer: &str) -> Result<(), MembershipError> {
        let member = Member { peer: peer.into() };
        bounded(self.to_change()?.add_learner(node, member, false)).await
    }

    /// Makes exactly `voters` vote; those who voted before and are not among them stay as learners.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        bounded(self.to_change()?.change_membership(ChangeMembers::ReplaceAllVoters(voters), true)).await
    }

    /// Takes a learner out of the membership.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), MembershipError> {
        bounded(self.to_change()?.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([node])), true)).await
    }

    /// Asks `to` to take over from this node, the leader. Returns once asked; watch the status for the outcome.
    ///
    /// # Errors
    /// [`ProposeError::NoOtherVoter`], because a leader that has asked takes no proposals until another leads, and one that
    /// does not vote never will; [`ProposeError::Stopped`] where the core has stopped.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ProposeError> {
        if to == self.node || !self.status().voters.contains(&to) {
            return Err(ProposeError::NoOtherVoter { node: to });
        }
        let Some(raft) = self.core() else { return Err(ProposeError::NoOtherVoter { node: to }) };
        raft.trigger().transfer_leader(to).await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Makes a snapshot now.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] where the core has stopped.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        let raft = self.core().ok_or_else(|| ProposeError::Stopped(OUTSIDE.into()))?;
        raft.trigger().snapshot().await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Answers what comes on a stream that another node opened, until it ends. `from` is who that is by its key, where
    /// that is known: a stream that greets as another is refused.
    ///
    /// # Errors
    /// Where the stream breaks, is meant for another node, comes from another than it says, or is not understood.
    pub async fn serve(&self, class: Class, duplex: Duplex, from: Option<NodeId>) -> io::Result<()> {
        let Part::Inside { raft, staging, .. } = &self.part else {
            return refuse(duplex, OUTSIDE.to_owned()).await;
        };
        let ends = Ends { own: self.node, from, votes_from: self.config.votes_from };
        serve(raft, ends, staging.clone(), class, duplex, Arc::clone(&self.heard)).await
    }

    fn to_change(&self) -> Result<&Openraft, MembershipError> {
        self.core().ok_or_else(|| MembershipError(OUTSIDE.into()))
    }

    /// Stops the core and waits until its store is closed, so that it can be opened again. What was acknowledged is on
    /// disk.
    pub async fn shutdown(&self) {
        let Part::Inside { raft, closed, .. } = &self.part else { return };
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        if let Some(closed) = closed
            && tokio::time::timeout(CLOSE_TIMEOUT, closed.cancelled()).await.is_err()
        {
            tracing::warn!("the store is still open; something holds on to it");
        }
    }
}

/// How long the store may take to close after the core has stopped: a snapshot that is being built goes on to its end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
