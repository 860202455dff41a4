//! A node that its cluster makes another kind: one that only scans, outside the log, or a member again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pentora_raft::command::{Command, LogStep, NodeRole};
use pentora_raft::state::NodeRecord;
use pentora_raft::{Raft, kill_point};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::removed::Place;
use crate::api::Departure;
use crate::config::{NodeConfig, NodeMode};
use crate::data_dir::DataDir;
use crate::failure::{ExitCode, Failure};
use crate::results::ChunkStore;
use crate::rpc::proposer::Proposer;

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
/// the leader counts on. For the same reason it begins a log only once the group has forgotten the one that it gave up
/// (`raft/src/state/log_places.rs`), however soon it is to be a member again.
pub(super) async fn becomes_another(
    raft: &Raft,
    proposer: &Proposer,
    data_dir: &DataDir,
    config: &NodeConfig,
    outside: &Notify,
) {
    let (own, mut applied, inside_since) = (raft.node(), raft.watch_applied(), data_dir.inside_since());
    // Read once: nothing else writes it while this runs, and entries come by the thousand.
    let noted = || (data_dir.outside_since(), data_dir.is_outside_untold());
    let ((mut outside_since, mut is_untold), mut is_said) = (noted(), false);
    loop {
        // Outside the index is that of the state; inside the state may be a little ahead of it.
        let (may_vote, read_to) =
            raft.read(|state| (state.node(own).map(NodeRecord::may_vote), *applied.borrow_and_update()));
        if raft.is_outside() && read_to < outside_since {
            // A gateway that is behind shows what this node was before.
            drop(tokio::time::timeout(Duration::from_secs(1), applied.changed()).await);
            continue;
        }
        if let Some(step) = own_step(raft, is_untold, config)
            && let Err(error) = proposer.propose(Command::MoveInLog { node: own, step }).await
        {
            tracing::debug!(?step, %error, "not decided; it is tried again");
        }
        match (raft.is_outside(), may_vote) {
            (false, Some(false)) if read_to >= inside_since && !raft.status().voters.contains(&own) => {
                tracing::info!("the cluster has this node only scan; it goes on outside the log");
                note_outside(data_dir, read_to);
                kill_point::reached("outside-noted");
                return;
            }
            (true, Some(true)) if config.mode != NodeMode::Worker && !is_untold && stands_inside(data_dir, read_to) => {
                return;
            }
            (true, Some(false)) if is_untold => {
                note_outside(data_dir, read_to);
                (outside_since, is_untold) = noted();
            }
            (true, Some(false)) if config.mode != NodeMode::Worker && !is_said => {
                is_said = true;
                warn_of_own_word(raft);
            }
            _ => {}
        }
        tokio::select! {
            _ = applied.changed() => {}
            () = raft.status_changed(Duration::from_secs(1)) => {}
            () = outside.notified() => {
                note_outside(data_dir, read_to);
                tracing::info!("a member says that this node only scans; it goes on outside the log");
                return;
            }
        }
    }
}

fn note_outside(data_dir: &DataDir, since: u64) {
    if let Err(error) = data_dir.note_outside(since) {
        tracing::error!(%error, "the data directory does not note that its cluster knows this node outside the log");
    }
}

/// Notes that this node is a member since the entry at `since`; answers whether that is noted.
fn stands_inside(data_dir: &DataDir, since: u64) -> bool {
    if let Err(error) = data_dir.stand_inside(since) {
        tracing::error!(%error, "this node is to be a member, which its data directory does not note");
        return false;
    }
    kill_point::reached("inside-noted");
    tracing::info!(since, "the cluster has this node be a member; it goes on with the log, from its beginning");
    true
}

/// Says why a node that is to be a member by its file is none, where that is because of how it joined.
fn warn_of_own_word(raft: &Raft) {
    let own = raft.node();
    let (by_policy, name) = raft.read(|state| {
        let name = state.node(own).map(|record| record.info.name.clone()).unwrap_or_default();
        (state.policy(own).role == NodeRole::Scanner, name)
    });
    if !by_policy && !is_wanted(raft) {
        tracing::warn!(
            "this node joined as one that only scans (server.mode: worker), which a changed file does not widen; to make it a \
             member, remove it (pentora cluster remove {name}) and join again with a new token"
        );
    }
}

/// The step that a node outside the log takes by itself on its way to being a member again.
fn own_step(raft: &Raft, is_untold: bool, config: &NodeConfig) -> Option<LogStep> {
    let own = raft.node();
    if !raft.is_outside() || config.mode == NodeMode::Worker {
        return None;
    }
    let (may_vote, place) = raft.read(|state| (state.node(own).map(NodeRecord::may_vote), state.log_place(own)));
    match (may_vote?, place) {
        (true, _) => is_untold.then_some(LogStep::GiveUp),
        (false, Some(place)) if place.is_out && is_wanted(raft) => Some(LogStep::Back { since: place.since }),
        (false, _) => None,
    }
}

/// Whether this node is to be a member, by its policy and its own word.
fn is_wanted(raft: &Raft) -> bool {
    raft.read(|state| state.wanted_role(raft.node())) == Some(NodeRole::Auto)
}

/// Where a node outside the log keeps results that no gateway has taken. What is there at a start is of units that
/// others have been given. One that kept results of others has them where they were, for members to copy.
pub(super) fn spool(data_dir: &DataDir) -> Result<PathBuf, Failure> {
    let kept = data_dir.chunk_dir();
    if ChunkStore::has_any(&kept) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_where_those_of_others_are_kept_and_a_journal_that_is_empty_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let kept = data_dir.chunk_dir();
        assert_eq!(spool(&data_dir).unwrap(), data_dir.handed_in_dir());
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("journal.0"), b"").unwrap();
        std::fs::write(kept.join("half.tmp"), b"half").unwrap();
        assert_eq!(spool(&data_dir).unwrap(), data_dir.handed_in_dir());
        std::fs::write(kept.join("journal.1"), b"whatever is in it").unwrap();
        assert_eq!(spool(&data_dir).unwrap(), kept, "chunks whose files a crash took are in there");
        std::fs::remove_file(kept.join("journal.1")).unwrap();
        std::fs::write(kept.join(pentora_raft::Digest::of(b"x").to_string()), b"x").unwrap();
        assert_eq!(spool(&data_dir).unwrap(), kept);
    }
}
