//! Tells the cluster whose orders this node takes alone, by its own file, so that it is given no others.

use std::time::Duration;

use pentora_raft::Raft;
use pentora_raft::command::Command;
use tokio_util::sync::CancellationToken;

use crate::policy::own::{OwnFile, OwnRules};
use crate::rpc::proposer::Proposer;

/// How often what was told is held against what holds: a proposal may fail, and an older state may come back.
const LOOK: Duration = Duration::from_secs(1);

/// Tells it whenever it changes, until `stop`.
pub(super) async fn keep(raft: Raft, proposer: Proposer, own: OwnFile, stop: CancellationToken) {
    let node = raft.node();
    let mut read = own.watch();
    loop {
        let keys = keys_of(&own.now());
        let is_told = raft.read(|state| {
            // Before it is known here that this node is in the cluster there is nobody to tell.
            state.node(node).is_none() || state.signers(node) == keys.as_deref()
        });
        if !is_told {
            match proposer.propose(Command::SetSigners { node, keys }).await {
                Ok(_) => tracing::info!(node, "whose orders this node takes is told to the cluster"),
                Err(error) => tracing::debug!(%error, "whose orders this node takes is not in the log yet"),
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = read.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn keys_of(own: &OwnRules) -> Option<Vec<String>> {
    Some(own.signers()?.iter().map(|trusted| trusted.key.to_string()).collect())
}
