//! Keeps the chunks that the log names on two nodes, and removes from this one those that it does not name.

use std::collections::BTreeSet;
use std::time::Duration;

use pentora_raft::command::{Command, SpecRef, UnitKey};
use pentora_raft::state::NodeStatus;
use pentora_raft::{Digest, JobId, NodeId, Raft, Role, State};
use tokio_util::sync::CancellationToken;

use crate::results::Exchange;
use crate::rpc::proposer::Proposer;

/// How often the chunks' holders are looked at, and chunks nobody needs are removed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Garbage is looked for at every so many looks.
const GARBAGE_EVERY: u32 = 60;
/// Chunks of a kind that are repaired in one look; more come at the next.
const REPAIRS_MAX: usize = 32;

/// The care for this node's chunks.
#[derive(Debug, Clone)]
pub(super) struct Holders {
    pub(super) raft: Raft,
    pub(super) exchange: Exchange,
    pub(super) proposer: Proposer,
}

/// A chunk, by what the log names it for.
struct Named<K> {
    key: K,
    digest: Digest,
    holders: Vec<NodeId>,
}

impl Holders {
    /// Brings chunks whose holders failed back to two, and removes chunks that nothing names, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut look = 0u32;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            // Without a leader a finished unit may wait for long to be counted, and so may what holds it: its chunk.
            // Garbage is looked for only after a leader was there for the whole time since.
            look = if self.raft.status().leader.is_some() { look.wrapping_add(1) } else { 0 };
            self.repair().await;
            if look > 0 && look.is_multiple_of(GARBAGE_EVERY) {
                self.collect_garbage().await;
            }
        }
    }

    /// Looks after the results, specs and feeds of which this node is the first live holder.
    pub(super) async fn repair(&self) {
        if self.raft.status().role == Role::Outside {
            return;
        }
        let own = self.raft.node();
        let results = self.raft.read(|state| lacking_results(state, own));
        self.copy("results", results, |updates| vec![Command::SetHolders { updates }]).await;
        let specs = self.raft.read(|state| lacking_specs(state, own));
        self.copy("specs", specs, |updates| vec![Command::SetSpecHolders { updates }]).await;
        let feeds = self.raft.read(|state| lacking_feeds(state, own));
        let of_feed = |(digest, holders)| Command::SetFeedHolders { digest, holders };
        self.copy("feeds", feeds, |updates| updates.into_iter().map(of_feed).collect()).await;
    }

    /// Copies chunks to second holders, and tells the log by `commands`.
    async fn copy<K>(
        &self,
        what: &'static str,
        lacking: Vec<Named<K>>,
        commands: impl FnOnce(Vec<(K, Vec<NodeId>)>) -> Vec<Command>,
    ) {
        let mut updates = Vec::new();
        for Named { key, digest, holders } in lacking {
            if let Some(holders) = self.exchange.repair(digest, &holders).await {
                updates.push((key, holders));
            }
        }
        if updates.is_empty() {
            return;
        }
        let count = updates.len();
        for command in commands(updates) {
            if let Err(error) = self.proposer.propose(command).await {
                tracing::debug!(what, %error, "repaired holders are not in the log yet");
                return;
            }
        }
        tracing::info!(what, count, "chunks have a second holder again");
    }

    async fn collect_garbage(&self) {
        let wanted = self.raft.read(wanted);
        match self.exchange.store().collect_garbage(wanted).await {
            Ok(removed) if removed > 0 => tracing::info!(removed, "chunks that nothing names were removed"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "garbage was not collected"),
        }
    }
}

/// Units' results that this node has to copy.
fn lacking_results(state: &State, own: NodeId) -> Vec<Named<UnitKey>> {
    let lacking = state.chunks().filter(|(_, chunk)| lacks_holder(state, own, &chunk.stored.holders)).take(REPAIRS_MAX);
    lacking
        .map(|(key, chunk)| Named { key, digest: chunk.stored.digest, holders: chunk.stored.holders.clone() })
        .collect()
}

/// Specs that this node has to copy, of jobs that still want work done.
fn lacking_specs(state: &State, own: NodeId) -> Vec<Named<JobId>> {
    let open = state.jobs().filter(|(_, job)| job.is_open());
    let specs = open.filter_map(|(key, _)| match state.spec(key) {
        Some(SpecRef::Chunk { digest, holders }) if lacks_holder(state, own, holders) => {
            Some(Named { key, digest: *digest, holders: holders.clone() })
        }
        _ => None,
    });
    specs.take(REPAIRS_MAX).collect()
}

/// Bundles of feeds that this node has to copy: nodes that were away still have to fetch them.
fn lacking_feeds(state: &State, own: NodeId) -> Vec<Named<Digest>> {
    let lacking = state.feeds().filter(|(_, feed)| lacks_holder(state, own, &feed.holders));
    lacking.map(|(_, feed)| Named { key: feed.digest, digest: feed.digest, holders: feed.holders.clone() }).collect()
}

/// Whether a chunk has lost a holder for good and this node is the first that is left.
fn lacks_holder(state: &State, own: NodeId, holders: &[NodeId]) -> bool {
    let alive = |node: &NodeId| state.node(*node).is_some_and(|record| record.status != NodeStatus::Failed);
    holders.iter().any(|holder| !alive(holder)) && holders.iter().find(|holder| alive(holder)) == Some(&own)
}

/// Every chunk that the log names.
fn wanted(state: &State) -> BTreeSet<Digest> {
    let specs = state.jobs().filter_map(|(id, _)| match state.spec(id) {
        Some(SpecRef::Chunk { digest, .. }) => Some(*digest),
        _ => None,
    });
    let feeds = state.feeds().map(|(_, feed)| feed.digest);
    state.chunks().map(|(_, chunk)| chunk.stored.digest).chain(specs).chain(feeds).collect()
}
