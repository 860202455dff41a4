//! A node that its cluster makes another kind: one that only scans, outside the log, or a member again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pentora_raft::Raft;
use pentora_raft::command::NodeRole;
use pentora_raft::state::NodeRecord;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::removed::Place;
use crate::api::Departure;
use crate::config::{NodeConfig, NodeMode};
use crate::data_dir::DataDir;
use crate::failure::{ExitCode, Failure};

/// Takes note of what `noticed` finds: that this node was removed from its cluster, or is outside the log; `outside` is told
/// of that.
pub(super) async fn notice_place(
    noticed: impl Future<Output = Place>,
    departure: Departure,
    outside: Arc<Notify>,
    stop: CancellationToken,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        place = noticed => match place {
            Place::Removed => departure.removed(),
            Place::OnlyScans => outside.notify_one(),
        }
    }
}

/// Returns once the cluster has made this node another kind: one that only scans and does not vote any more, or a member
/// again. What a node is by its own file no cluster widens.
///
/// A node that is a member again reads the log from its beginning, and there that it was to scan only: what stands before
/// the entry since which it is a member is history. Taken for news, it would send the node out once more, with the log that
/// the leader counts on.
pub(super) async fn becomes_another(
    raft: &Raft,
    data_dir: &DataDir,
    config: &NodeConfig,
    name: &str,
    outside: &Notify,
) {
    let (own, mut applied, inside_since) = (raft.node(), raft.watch_applied(), data_dir.inside_since());
    let mut is_said = false;
    loop {
        // Outside the index is that of the state; inside the state may be a little ahead of it.
        let (may_vote, read_to) =
            raft.read(|state| (state.node(own).map(NodeRecord::may_vote), *applied.borrow_and_update()));
        match (raft.is_outside(), may_vote) {
            (false, Some(false)) if read_to >= inside_since && !raft.status().voters.contains(&own) => {
                tracing::info!("the cluster has this node only scan; it goes on outside the log");
                if let Err(error) = data_dir.note_outside() {
                    tracing::error!(%error, "the data directory does not note that");
                }
                return;
            }
            (true, Some(true)) if config.mode != NodeMode::Worker => match data_dir.stand_inside(read_to) {
                Ok(()) => {
                    let since = read_to;
                    tracing::info!(
                        since,
                        "the cluster has this node be a member; it goes on with the log, from its beginning"
                    );
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "this node is to be a member, which its data directory does not note")
                }
            },
            (true, Some(false)) if config.mode != NodeMode::Worker && !is_said => {
                is_said = true;
                let by_policy = raft.read(|state| state.policy(own).role == NodeRole::Scanner);
                if !by_policy {
                    tracing::warn!(
                        "this node joined as one that only scans (server.mode: worker), which a changed file does not \
                         widen; to make it a member, remove it (pentora cluster remove {}) and join again with a new token",
                        name
                    );
                }
            }
            _ => {}
        }
        tokio::select! {
            _ = applied.changed() => {}
            () = raft.status_changed(Duration::from_secs(1)) => {}
            () = outside.notified() => {
                if let Err(error) = data_dir.note_outside() {
                    tracing::error!(%error, "the data directory does not note that this node only scans");
                }
                tracing::info!("a member says that this node only scans; it goes on outside the log");
                return;
            }
        }
    }
}

/// Where a node outside the log keeps results that no gateway has taken. What is there at a start is of units that
/// others have been given. One that kept results of others has them where they were, for members to copy.
pub(super) fn spool(data_dir: &DataDir) -> Result<PathBuf, Failure> {
    let kept = data_dir.chunk_dir();
    if std::fs::read_dir(&kept).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(kept);
    }
    let spool = data_dir.handed_in_dir();
    match std::fs::remove_dir_all(&spool) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(ExitCode::Failure, format!("{} cannot be emptied", spool.display()))
                .because(error.to_string()))
        }
        _ => Ok(spool),
    }
}
