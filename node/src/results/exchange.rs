//! Chunks between nodes: copied to further holders before they are counted, fetched from a holder when asked for.

mod fetch;
mod held_up;
mod lacking;
mod silent;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::command::StoredChunk;
use pentora_raft::{Digest, NodeId, Raft, State};
use tokio::sync::watch;

pub use self::fetch::NotFetched;
use self::held_up::HeldUp;
use self::lacking::Lacking;
pub use self::lacking::{Lacks, is_gone};
use self::silent::{Silent, moment_for};
use self::together::Together;
use super::choose::{candidates, keeps_results, may_have, members, takers_in, within};
use super::{ChunkReader, ChunkStore, StoreError};
use crate::rpc::calls::{CallError, Calls};

/// How many nodes hold a chunk, where nobody says otherwise and as far as there are nodes.
pub const COPIES: usize = 2;
/// How long one copy may take.
const COPY_WITHIN: Duration = Duration::from_secs(20);
/// How long another node may take to fetch a chunk that it is to hold: from a second holder where the first is silent.
const KEEP_WITHIN: Duration = Duration::from_secs(50);
/// How long a gateway may take to have a chunk on as many disks as there should be.
const HAND_IN_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before a chunk that could not be made durable is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest pause between tries to write to a disk that refuses: soon after room was made, without flooding the log.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The chunks of all nodes, as this node reaches them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchange {
    raft: Raft,
    store: ChunkStore,
    /// The way to them.
    together: Option<Together>,
    copies: usize,
    short: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Whether this node was below its floor when it had a result to keep.
    is_full: Arc<AtomicBool>,
    /// Why a chunk could not be written last, until one is again.
    trouble: Arc<watch::Sender<Option<String>>>,
    held_up: HeldUp,
    /// What this node should hold and does not get.
    lacking: Lacking,
    /// Who lately did not answer in time.
    silent: Silent,
}

/// Why a node does not hold a chunk that it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// It is below its floor of free space.
    #[error("{0}")]
    Full(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::Full(error.to_string()),
            StoreError::Io { .. } | StoreError::Damaged { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<CallError> for NotKept {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Full(why) => Self::Full(why),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Exchange {
    /// Chunks of this node in `store`, of others through `calls`; `copies` of each, as far as there are nodes.
    #[must_use]
    pub fn new(raft: Raft, store: ChunkStore, calls: Option<Calls>, copies: usize) -> Self {
        let trouble = Arc::new(watch::Sender::new(None));
        let together = calls.map(Together::new);
        Self {
            raft,
            store,
            together,
            copies,
            short: Arc::default(),
            is_full: Arc::default(),
            trouble,
            held_up: HeldUp::default(),
            lacking: Lacking::default(),
            silent: Silent::default(),
        }
    }

    /// Why chunks cannot be written here, while they cannot.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Why results of this node wait that no disk takes, while some do.
    #[must_use]
    pub fn held_up(&self) -> Option<String> {
        self.held_up.reason()
    }

    /// The same, as it changes.
    #[must_use]
    pub fn watch_held_up(&self) -> watch::Receiver<Option<String>> {
        self.held_up.watch()
    }

    /// Writes a chunk to this node's disk, and notes whether the disk took it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write(&self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        let kept = self.store.put(digest, bytes).await;
        match &kept {
            Ok(()) => self.note(None),
            Err(StoreError::Io { source, .. }) => self.note(Some(source.to_string())),
            Err(StoreError::Full { .. } | StoreError::Damaged { .. }) => {}
        }
        kept
    }

    /// Tries the disk where it was in trouble, and notes whether there is room again.
    pub async fn try_disk(&self) {
        if self.trouble.borrow().is_some() {
            self.note(self.store.try_disk().await.err().map(|error| error.to_string()));
        }
    }

    fn note(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|known| {
            let is_news = *known != trouble;
            *known = trouble;
            is_news
        });
    }

    /// This node's own chunks.
    #[must_use]
    pub fn store(&self) -> &ChunkStore {
        &self.store
    }

    /// How many nodes are to hold each chunk.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// How many chunks lack a holder that they should have, by reason; known while this node leads.
    #[must_use]
    pub fn short(&self) -> BTreeMap<String, u64> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what [`Self::short`] answers.
    pub fn set_short(&self, short: BTreeMap<String, u64>) {
        *self.short.lock().unwrap_or_else(PoisonError::into_inner) = short;
    }

    /// Has the nodes that should hold a chunk hold it, and answers its name and who does. Tries until it is done: a unit
    /// whose results are not durable is not done.
    pub async fn make_durable(&self, bytes: Bytes) -> StoredChunk {
        if self.raft.is_outside() {
            return self.hand_in(bytes).await;
        }
        let digest = Digest::of(&bytes);
        let region = region_of(&bytes);
        let own = self.raft.node();
        let (mut holders, mut full) = (Vec::new(), BTreeSet::new());
        let way = self.held_up.begin(digest);
        let mut pause = RETRY;
        loop {
            let is_short_here = !self.hold_here(digest, &bytes, &mut holders, &mut full).await;
            let up = |state: &State| within(members(state, &full), region.as_deref());
            let others = self.raft.read(|state| candidates(digest, own, &up(state)));
            let here = usize::from(holders.contains(&own));
            let elsewhere = others.iter().filter(|node| !holders.contains(node)).count() + holders.len() - here;
            let needed = self.copies.min(here + elsewhere).max(1);
            let known_full = full.len();
            let last = self.copy_to(others, needed, (digest, &bytes), &mut holders, &mut full).await;
            if holders.len() >= needed {
                return StoredChunk { digest, bytes: bytes.len() as u64, holders };
            }
            if full.len() > known_full {
                continue;
            }
            if is_short_here || full.contains(&own) {
                tracing::error!(%digest, "results cannot be written to as many disks as needed; trying again");
            }
            // A peer that answers nothing once is no reason yet.
            if pause > RETRY {
                way.waits(self.why_it_waits(holders.len(), needed, &full, last));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
            full.clear();
        }
    }

    /// Has as many of `others` hold a chunk as `needed` wants beside `holders`, and adds those that do. Answers who refused last, and why.
    async fn copy_to(
        &self,
        mut others: Vec<NodeId>,
        needed: usize,
        (digest, bytes): (Digest, &Bytes),
        holders: &mut Vec<NodeId>,
        full: &mut BTreeSet<NodeId>,
    ) -> Option<(NodeId, String)> {
        others.retain(|node| !holders.contains(node));
        let wanted = needed.saturating_sub(holders.len());
        let mut last = None;
        let is_kept = |node, kept: Result<(), NotKept>| {
            match kept {
                Ok(()) => {
                    holders.push(node);
                    return true;
                }
                Err(NotKept::Full(why)) => {
                    tracing::debug!(node, why, "has no room for a copy");
                    full.insert(node);
                    last = Some((node, why));
                }
                Err(NotKept::Failed(why)) => {
                    tracing::debug!(node, %digest, why, "chunk not copied");
                    last = Some((node, why));
                }
            }
            false
        };
        let asked = (wanted, moment_for(bytes.len() as u64));
        self.silent.ask(others, asked, |node| self.copy(node, digest, bytes), is_kept).await;
        last
    }

    /// Why too few disks take a chunk.
    fn why_it_waits(
        &self,
        taken: usize,
        needed: usize,
        full: &BTreeSet<NodeId>,
        last: Option<(NodeId, String)>,
    ) -> String {
        let name =
            |node: NodeId| self.raft.read(|state| state.node(node).map_or_else(String::new, |it| it.info.name.clone()));
        let full: Vec<String> = full.iter().map(|node| name(*node)).filter(|name| !name.is_empty()).collect();
        let why = match last {
            _ if !full.is_empty() => {
                format!("no more room above results.free_space_floor on {}", full.join(", "))
            }
            Some((node, why)) => format!("{}: {why}", name(node)),
            None => "the disk of this node refuses".to_owned(),
        };
        let disks =
            if needed == 1 { "a disk".to_owned() } else { format!("{needed} disks, of which {taken} took them") };
        format!("results wait for {disks}: {why}")
    }

    /// Has a gateway, or a member of the region that a chunk does not leave, make it durable. While none takes it, it waits in
    /// the spool and not in memory.
    async fn hand_in(&self, bytes: Bytes) -> StoredChunk {
        let digest = Digest::of(&bytes);
        let region = region_of(&bytes);
        let (mut kept, mut pause, mut is_spooled) = (Some(bytes), RETRY, false);
        let on_its_way = self.held_up.begin(digest);
        let mut tries = 0usize;
        loop {
            let bytes = match &kept {
                Some(bytes) => Some(bytes.clone()),
                None => self.store.get(digest).await.ok().flatten(),
            };
            let Some(bytes) = bytes else {
                tracing::error!(%digest, "results that waited for a gateway are damaged on this disk; trying to read them again");
                tokio::time::sleep(RETRY_MAX).await;
                continue;
            };
            let way = self.raft.way();
            let taker = self.taker(way, region.as_deref(), digest, tries);
            let handed = match taker {
                Some(taker) => match self.way_to(taker) {
                    Ok((together, peer)) => tokio::select! {
                        biased;
                        handed = together.hand_in(peer, (digest, &bytes), HAND_IN_WITHIN, tries > 0) => {
                            handed.map_err(|error| error.to_string())
                        }
                        // One that is frozen or cut off does not hang up.
                        () = self.turned_from(taker), if way == Some(taker) => Err("another gateway is to be asked".into()),
                    },
                    Err(error) => Err(error.to_string()),
                },
                None => Err(match &region {
                    Some(region) if way.is_some() => {
                        format!("no member in {region}, which they do not leave, takes any")
                    }
                    _ => "no gateway knows a leader".into(),
                }),
            };
            match handed {
                Ok(stored) if stored.digest == digest => {
                    if is_spooled && let Err(error) = self.store.remove(vec![digest]).await {
                        tracing::warn!(%digest, %error, "results that were handed in stay in the spool");
                    }
                    return stored;
                }
                Ok(_) => tracing::warn!(%digest, "a gateway says that it has other results than it was given"),
                Err(why) => {
                    tracing::debug!(%digest, why, "results not handed in yet");
                    if tries > 0 {
                        on_its_way.waits(format!("results wait to be handed in: {why}"));
                    }
                }
            }
            if !is_spooled && self.write(digest, bytes).await.is_ok() {
                (is_spooled, kept) = (true, None);
            }
            let patience = if self.raft.way().is_some() { pause } else { RETRY };
            self.raft.status_changed(patience).await;
            pause = (pause * 2).min(RETRY_MAX);
            tries = tries.wrapping_add(1);
        }
    }

    /// Who is to take a chunk in: the gateway, where that may have it, or a member that may, another at each try.
    fn taker(&self, way: Option<NodeId>, region: Option<&str>, digest: Digest, tries: usize) -> Option<NodeId> {
        let (way, Some(region)) = (way?, region) else { return way };
        self.raft.read(|state| {
            if keeps_results(state, way) && may_have(state, way, Some(region)) && tries.is_multiple_of(2) {
                return Some(way);
            }
            let takers = takers_in(state, region, digest);
            takers.get((tries / 2).checked_rem(takers.len())?).copied()
        })
    }

    /// Waits until a gateway is not the one to ask any more. Cancel-safe.
    async fn turned_from(&self, gateway: NodeId) {
        while self.raft.way() == Some(gateway) {
            self.raft.status_changed(RETRY).await;
        }
    }

    /// Holds a chunk on this node, if it keeps results. Answers whether nothing went wrong.
    async fn hold_here(
        &self,
        digest: Digest,
        bytes: &Bytes,
        holders: &mut Vec<NodeId>,
        full: &mut BTreeSet<NodeId>,
    ) -> bool {
        let own = self.raft.node();
        let region = region_of(bytes);
        let keeps = self.raft.read(|state| {
            (state.node(own).is_none() || keeps_results(state, own)) && may_have(state, own, region.as_deref())
        });
        if !keeps || holders.contains(&own) || full.contains(&own) {
            return true;
        }
        match self.write(digest, bytes.clone()).await {
            Ok(()) => {
                self.is_full.store(false, Ordering::Relaxed);
                holders.insert(0, own);
                true
            }
            Err(error @ StoreError::Full { .. }) => {
                // Said once: it holds for every result until there is room again.
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "this node takes no more results");
                }
                full.insert(own);
                false
            }
            Err(error) => {
                tracing::error!(%error, "results cannot be written here");
                false
            }
        }
    }

    /// Holds a chunk on this node, which one of `holders` gives if it is not here or damaged.
    ///
    /// # Errors
    /// [`NotKept`].
    pub async fn keep(&self, digest: Digest, holders: &[NodeId]) -> Result<(), NotKept> {
        if self.store.renew(digest).await? {
            return Ok(());
        }
        let bytes = self.fetch_elsewhere(digest, holders).await;
        let bytes = bytes.map_err(|error| NotKept::Failed(error.to_string()))?;
        Ok(self.write(digest, bytes).await?)
    }

    /// Has `node`, which may be this one, hold a chunk that one of `holders` gives.
    ///
    /// # Errors
    /// [`NotKept`].
    pub async fn have_kept(&self, node: NodeId, digest: Digest, holders: &[NodeId]) -> Result<(), NotKept> {
        if node == self.raft.node() {
            return self.keep(digest, holders).await;
        }
        let (calls, peer) = self.reach(node)?;
        Ok(calls.keep_chunk(peer, digest, holders, KEEP_WITHIN).await?)
    }

    async fn copy(&self, node: NodeId, digest: Digest, bytes: &Bytes) -> Result<(), NotKept> {
        let (together, peer) = self.way_to(node)?;
        Ok(together.put(peer, (digest, bytes), COPY_WITHIN).await?)
    }

    fn reach(&self, node: NodeId) -> Result<(&Calls, PeerId), NotKept> {
        self.way_to(node).map(|(together, peer)| (together.calls(), peer))
    }

    fn way_to(&self, node: NodeId) -> Result<(&Together, PeerId), NotKept> {
        let failed = |why: &str| NotKept::Failed(format!("node {node}: {why}"));
        let together = self.together.as_ref().ok_or_else(|| failed("this node has no mesh"))?;
        Ok((together, self.peer_of(node).ok_or_else(|| failed("it is not in the cluster"))?))
    }

    fn peer_of(&self, node: NodeId) -> Option<PeerId> {
        self.raft.read(|state| state.node(node).and_then(|record| record.info.peer.parse().ok()))
    }
}

/// The region that a chunk does not leave, by its own word; `None` as well for specs and feeds, which may be anywhere.
fn region_of(bytes: &Bytes) -> Option<String> {
    ChunkReader::open(bytes.clone()).ok()?.region().map(str::to_owned)
}
