//! Chunks as they are read: from here, or from whichever holder answers first.

use std::fmt;

use bytes::Bytes;
use pentora_raft::state::NodeStatus;
use pentora_raft::{Digest, NodeId};

use super::lacking::{LOST, NOT_HERE};
use super::silent::moment_for;
use super::{COPY_WITHIN, Exchange};

/// As large as most chunks are, in bytes.
const MOST_CHUNKS: u64 = 64 << 10;

/// Why a chunk was not read, with every holder that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFetched {
    /// Which.
    pub digest: Digest,
    /// Who was asked, and what came of it.
    pub tried: Vec<(NodeId, String)>,
}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried: Vec<String> = self.tried.iter().map(|(node, why)| format!("node {node}: {why}")).collect();
        write!(f, "chunk {} cannot be read: {}", self.digest, tried.join("; "))
    }
}

impl std::error::Error for NotFetched {}

impl Exchange {
    /// Reads a chunk from here or from one of its holders.
    ///
    /// # Errors
    /// Why no holder gave it.
    pub async fn fetch(&self, digest: Digest, holders: &[NodeId]) -> Result<Bytes, NotFetched> {
        let here = match self.store.get(digest).await {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => NOT_HERE.to_owned(),
            Err(error) => error.to_string(),
        };
        if self.raft.is_outside() {
            // The gateway fetches it, so that one connection is all that this node needs.
            let gateway: Vec<NodeId> = self.raft.way().into_iter().collect();
            return self.fetch_elsewhere(digest, &gateway).await;
        }
        let own = self.raft.node();
        self.fetch_elsewhere(digest, holders).await.map_err(|mut error| {
            if holders.contains(&own) {
                error.tried.insert(0, (own, here));
            }
            error
        })
    }

    /// Reads a chunk from a holder other than this node.
    pub(super) async fn fetch_elsewhere(&self, digest: Digest, holders: &[NodeId]) -> Result<Bytes, NotFetched> {
        let ask = async |holder| -> Result<Bytes, String> {
            let (together, peer) = match (&self.together, self.peer_of(holder)) {
                (None, _) => return Err("this node has no mesh".into()),
                (_, None) => return Err("it is not in the cluster".into()),
                (Some(together), Some(peer)) => (together, peer),
            };
            match together.calls().get_chunk(peer, digest, COPY_WITHIN).await {
                Ok(Some(bytes)) if Digest::of(&bytes) == digest => Ok(bytes),
                Ok(Some(_)) => Err("it gave other bytes".into()),
                Ok(None) => Err(LOST.into()),
                Err(error) => Err(error.to_string()),
            }
        };
        let (mut found, mut tried) = (None, Vec::new());
        let is_it = |holder, given: Result<Bytes, String>| {
            match given {
                Ok(bytes) => found = Some(bytes),
                Err(why) => tried.push((holder, why)),
            }
            found.is_some()
        };
        self.silent.ask(self.by_health(holders), (1, moment_for(MOST_CHUNKS)), ask, is_it).await;
        found.ok_or(NotFetched { digest, tried })
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
}
