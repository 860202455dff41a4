//! A place in a simulation where a node lives: its disk, its chunks and its address, which outlive its processes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::{Identity, Mesh, PeerId};
use pentora_raft::command::{NodeInfo, NodeRole, Proposal};
use pentora_raft::store::{SimulatedDisk, World};
use pentora_raft::{Digest, NodeId, Raft, Response, State};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bug::{self, Bug};
use super::checks::Checks;
use crate::member_address::MemberAddress;
use crate::results::ChunkStore;
use crate::rpc::proposer::Proposer;

/// The longest that a sync takes on a disk without trouble, in milliseconds.
const SYNC_MS_MAX: u64 = 12;
/// How many entries a node with [`Bug::AppliedTwice`] applies twice when it starts again.
const APPLIED_TWICE: u64 = 20;

/// Where a node lives.
pub(super) struct Place {
    pub(super) host: u8,
    pub(super) identity: Identity,
    pub(super) info: NodeInfo,
    pub(super) disk: SimulatedDisk,
    pub(super) below: Arc<Below>,
    pub(super) chunks: ChunkStore,
    /// Its node's id, once that was admitted.
    pub(super) node: Option<NodeId>,
    pub(super) known: Vec<MemberAddress>,
    pub(super) running: Option<Running>,
    /// Whether its node was taken out of the cluster.
    pub(super) is_gone: bool,
}

/// A node's process.
pub(super) struct Running {
    pub(super) mesh: Mesh,
    pub(super) raft: Raft,
    pub(super) proposer: Proposer,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Running {
    /// Ends it.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.raft.shutdown().await;
        self.mesh.shutdown().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Place {
    pub(super) fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(super) fn is_scanner(&self) -> bool {
        self.info.role == NodeRole::Scanner
    }

    /// What is on its disk of chunks after a crash.
    pub(super) async fn chunks_after_crash(&self, bug: Option<Bug>) -> ChunkStore {
        let left = ChunkStore::memory();
        for digest in self.chunks.list().await.unwrap_or_default().into_keys() {
            if bug == Some(Bug::ChunkNotStored) && self.below.is_young(digest) {
                continue;
            }
            if let Ok(Some(bytes)) = self.chunks.get(digest).await {
                left.put(digest, bytes).await.unwrap();
            }
        }
        left
    }

    /// Whether it has a chunk.
    pub(super) async fn chunk(&self, digest: Digest) -> Option<Bytes> {
        self.chunks.get(digest).await.ok().flatten()
    }
}

/// What is below a node.
pub(super) struct Below {
    checks: Arc<Checks>,
    bug: Option<Bug>,
    node: AtomicU64,
    /// How often its process began.
    starts: AtomicU64,
    /// How many entries it applied since then.
    applied: AtomicU64,
    /// The last term in which it answered a vote.
    voted: AtomicU64,
    disk: Mutex<Disk>,
    syncs: TaskTracker,
}

struct Disk {
    random: SmallRng,
    /// Until when nothing is synced.
    stalled: Option<Instant>,
    /// When chunks were seen first.
    seen: BTreeMap<Digest, Instant>,
}

impl Below {
    pub(super) fn new(checks: Arc<Checks>, bug: Option<Bug>, seed: u64) -> Arc<Self> {
        let disk = Disk { random: SmallRng::seed_from_u64(seed), stalled: None, seen: BTreeMap::new() };
        let (node, starts, applied, voted) = Default::default();
        Arc::new(Self { checks, bug, node, starts, applied, voted, disk: Mutex::new(disk), syncs: TaskTracker::new() })
    }

    /// A process of this node begins.
    pub(super) fn begin(&self, node: NodeId) {
        self.node.store(node, Ordering::Relaxed);
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.applied.store(0, Ordering::Relaxed);
    }

    /// The last term in which it answered a vote.
    pub(super) fn voted_in(&self) -> u64 {
        self.voted.load(Ordering::Relaxed)
    }

    /// Nothing is synced for so long.
    pub(super) fn stall(&self, lasts: Duration) {
        self.lock().stalled = Some(Instant::now() + lasts);
    }

    /// Notes which chunks there are.
    pub(super) fn sees(&self, chunks: impl Iterator<Item = Digest>) {
        let mut disk = self.lock();
        for digest in chunks {
            disk.seen.entry(digest).or_insert_with(Instant::now);
        }
    }

    /// Whether a chunk came within the last seconds.
    fn is_young(&self, digest: Digest) -> bool {
        self.lock().seen.get(&digest).is_none_or(|since| since.elapsed() < Duration::from_secs(5))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for Below {
    fn sync(&self, sync: Box<dyn FnOnce() + Send>) {
        let until = {
            let mut disk = self.lock();
            let takes = Duration::from_millis(disk.random.random_range(0..=SYNC_MS_MAX));
            let begins = disk.stalled.map_or_else(Instant::now, |stalled| stalled.max(Instant::now()));
            begins + takes
        };
        self.syncs.spawn(async move {
            tokio::time::sleep_until(until).await;
            sync();
        });
    }

    fn is_synced(&self) -> bool {
        self.bug != Some(Bug::SyncSkipped)
    }

    fn is_vote_kept(&self) -> bool {
        self.bug != Some(Bug::VoteNotKept)
    }

    fn voted(&self, term: u64) {
        self.voted.fetch_max(term, Ordering::Relaxed);
    }

    fn apply(&self, state: &mut State, index: u64, proposal: &Proposal) -> Response {
        let count = self.applied.fetch_add(1, Ordering::Relaxed);
        let changed = if self.bug == Some(Bug::FencingOff) { bug::unfenced(state, proposal) } else { None };
        let response = state.apply(index, changed.as_ref().unwrap_or(proposal));
        let is_again = self.starts.load(Ordering::Relaxed) > 1 && count < APPLIED_TWICE;
        let response =
            if self.bug == Some(Bug::AppliedTwice) && is_again { state.apply(index, proposal) } else { response };
        self.checks.applied(self.node.load(Ordering::Relaxed), index, proposal, &response, state);
        response
    }
}
