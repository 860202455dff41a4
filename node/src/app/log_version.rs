//! Which versions of the log this release reads: told to the cluster, and held against what the log is.
//!
//! A node whose log is of another version cannot know what it holds. It says so and stops, whether it reads that in its own
//! log or, because it cannot read so far, the leader tells it.

use std::time::Duration;

use pentora_raft::command::Command;
use pentora_raft::{LogVersion, Raft, Response, Versions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure::{ExitCode, Failure};
use crate::rpc::proposer::Proposer;

/// How long to wait before the cluster is told again.
const RETRY: Duration = Duration::from_millis(500);

/// Tells the cluster what this release reads, where it has that otherwise, and puts the version of the log into `found`
/// where this release does not read it.
pub(super) async fn keep(
    raft: Raft,
    proposer: Proposer,
    found: watch::Sender<Option<LogVersion>>,
    stop: CancellationToken,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        version = unread(&raft, &proposer) => {
            found.send_replace(Some(version));
        }
    }
}

/// Waits for a version of the log that this release does not read.
async fn unread(raft: &Raft, proposer: &Proposer) -> LogVersion {
    let (node, mut applied) = (raft.node(), raft.watch_applied());
    loop {
        let (version, told) = raft.read(|state| {
            let is_in = state.node(node).is_some();
            (state.log_version(), !is_in || state.versions(node) == Versions::OWN)
        });
        if !Versions::OWN.reads(version) {
            return version;
        }
        if told {
            // A node that stops drops this; until then entries come.
            drop(applied.changed().await);
            continue;
        }
        match proposer.propose(Command::SetVersions { node, versions: Versions::OWN }).await {
            Ok(answered) => match answered.response {
                Response::LogVersion { version } if !Versions::OWN.reads(version) => return version,
                _ => drop(raft.wait_applied(answered.index, RETRY).await),
            },
            Err(error) => {
                tracing::debug!(%error, "the cluster does not know yet what this release reads");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Why a node ends whose cluster's log is of `version`.
pub(super) fn other_version(version: LogVersion) -> Failure {
    let side = if version > Versions::OWN.newest { "newer" } else { "older" };
    Failure::new(ExitCode::Refused, "this release does not go with the cluster")
        .because(format!("the cluster's log is of version {version}, and this release reads {}", Versions::OWN))
        .next(format!("install a {side} release on this machine and start the node again; its data stays as it is"))
}

/// Proposes what only a next release knows, until the log takes it: the program that the tests upgrade a cluster to.
#[cfg(feature = "next-version")]
pub(super) async fn rehearse(raft: Raft, proposer: Proposer, stop: CancellationToken) {
    let propose = async {
        while let Err(error) = proposer.propose(Command::Rehearse { node: raft.node() }).await {
            tracing::info!(%error, "the new command waits");
            tokio::time::sleep(RETRY).await;
        }
        tracing::info!("the new command is in the log");
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = propose => {}
    }
}
