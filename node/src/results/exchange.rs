//! Chunks between nodes: copied to a second holder before they are counted, fetched from a holder when asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::command::StoredChunk;
use pentora_raft::state::NodeStatus;
use pentora_raft::{Digest, NodeId, Raft};

use super::ChunkStore;
use crate::rpc::calls::Calls;

/// How many nodes hold a chunk before it is counted, as far as there are nodes.
const HOLDERS: usize = 2;
/// How long one copy may take.
const COPY_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait before a chunk that could not be made durable is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The longest pause between tries to write to a disk that refuses: soon after room was made, without flooding the log.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The chunks of all nodes, as this node reaches them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchange {
    raft: Raft,
    store: ChunkStore,
    calls: Option<Calls>,
}

impl Exchange {
    /// Chunks of this node in `store`, of others through `calls`.
    #[must_use]
    pub fn new(raft: Raft, store: ChunkStore, calls: Option<Calls>) -> Self {
        Self { raft, store, calls }
    }

    /// This node's own chunks.
    #[must_use]
    pub fn store(&self) -> &ChunkStore {
        &self.store
    }

    /// Keeps a chunk here and on a second node, and answers its name and who holds it. Tries until it is done: a unit whose results
    /// are not durable is not done.
    pub async fn make_durable(&self, bytes: Bytes) -> StoredChunk {
        let digest = Digest::of(&bytes);
        let mut pause = RETRY;
        while let Err(error) = self.store.put(digest, bytes.clone()).await {
            tracing::error!(%error, "results cannot be written; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        let own = self.raft.node();
        let mut holders = vec![own];
        loop {
            let others = self.candidates(digest);
            let needed = HOLDERS.min(1 + others.len());
            for (node, peer) in others {
                if holders.len() >= needed {
                    break;
                }
                if !holders.contains(&node) && self.copy(peer, digest, &bytes).await {
                    holders.push(node);
                }
            }
            if holders.len() >= needed {
                return StoredChunk { digest, bytes: bytes.len() as u64, holders };
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads a chunk from here or from one of its holders.
    ///
    /// # Errors
    /// A sentence naming why no holder gave it.
    pub async fn fetch(&self, digest: Digest, holders: &[NodeId]) -> Result<Bytes, String> {
        let mut reason = match self.store.get(digest).await {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => String::from("it is not on this node"),
            Err(error) => error.to_string(),
        };
        let Some(calls) = &self.calls else { return Err(reason) };
        for holder in &self.by_health(holders) {
            let Some(peer) = self.peer_of(*holder) else { continue };
            match calls.get_chunk(peer, digest, COPY_WITHIN).await {
                Ok(Some(bytes)) if Digest::of(&bytes) == digest => return Ok(bytes),
                Ok(Some(_)) => reason = format!("node {holder} gave other bytes"),
                Ok(None) => reason = format!("node {holder} has lost it"),
                Err(error) => reason = format!("node {holder}: {error}"),
            }
        }
        Err(format!("chunk {digest} cannot be read: {reason}"))
    }

    /// Brings chunks that lack a live holder back to two, as far as this node holds them. Answers the new holders.
    pub async fn repair(&self, digest: Digest, holders: &[NodeId]) -> Option<Vec<NodeId>> {
        let live: BTreeSet<NodeId> = self.candidates(digest).into_iter().map(|(node, _)| node).collect();
        let own = self.raft.node();
        let kept: Vec<NodeId> = holders.iter().copied().filter(|node| *node == own || live.contains(node)).collect();
        if kept.len() >= HOLDERS.min(1 + live.len()) || kept.first() != Some(&own) {
            return None;
        }
        let bytes = self.store.get(digest).await.ok().flatten()?;
        let mut now = kept;
        for (node, peer) in self.candidates(digest) {
            if now.len() >= HOLDERS {
                break;
            }
            if !now.contains(&node) && self.copy(peer, digest, &bytes).await {
                now.push(node);
            }
        }
        (now.len() > holders.iter().filter(|node| now.contains(node)).count()).then_some(now)
    }

    async fn copy(&self, peer: PeerId, digest: Digest, bytes: &Bytes) -> bool {
        let Some(calls) = &self.calls else { return false };
        match calls.put_chunk(peer, digest, bytes, COPY_WITHIN).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%peer, %digest, %error, "chunk not copied");
                false
            }
        }
    }

    /// Other nodes that should be up, in the order of their rendezvous hash with the chunk, so that chunks spread.
    fn candidates(&self, digest: Digest) -> Vec<(NodeId, PeerId)> {
        let own = self.raft.node();
        let mut nodes: Vec<(Digest, NodeId, PeerId)> = self.raft.read(|state| {
            let up = state.nodes().filter(|(id, node)| {
                *id != own && matches!(node.status, NodeStatus::Active | NodeStatus::Draining | NodeStatus::Stale)
            });
            up.filter_map(|(id, node)| Some((rendezvous(digest, id), id, node.info.peer.parse().ok()?))).collect()
        });
        nodes.sort();
        nodes.into_iter().map(|(_, node, peer)| (node, peer)).collect()
    }

    /// The other holders, those that should be up first: one that is cut off is waited for long before it is given up.
    fn by_health(&self, holders: &[NodeId]) -> Vec<NodeId> {
        let own = self.raft.node();
        let mut others: Vec<NodeId> = holders.iter().copied().filter(|holder| *holder != own).collect();
        self.raft.read(|state| {
            others.sort_by_key(|holder| state.node(*holder).map(|node| node.status != NodeStatus::Active));
        });
        others
    }

    fn peer_of(&self, node: NodeId) -> Option<PeerId> {
        self.raft.read(|state| state.node(node).and_then(|record| record.info.peer.parse().ok()))
    }
}

fn rendezvous(digest: Digest, node: NodeId) -> Digest {
    let mut bytes = digest.0.to_vec();
    bytes.extend(node.to_le_bytes());
    Digest::of(&bytes)
}
