//! The streams that other nodes open, each served by a task of its own, and the care of this node's chunks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::{Class, FrameStream, Incoming};
use pentora_raft::command::{Command, SpecRef, UnitKey};
use pentora_raft::state::ChunkRef;
use pentora_raft::{Digest, JobId, NodeId, ProposeError, Raft, Role};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coordinator::{Sessions, soft_state};
use crate::glue::calls::{self, Answer, CallError, Request};
use crate::glue::proposer::Proposer;
use crate::glue::{raft_class, raft_duplex};
use crate::join;
use crate::results::Exchange;
use crate::worker;

/// How often the chunks' holders are looked at, and chunks nobody needs are removed.
const TEND: Duration = Duration::from_secs(10);
/// Garbage is looked for at every so many looks.
const GARBAGE_EVERY: u32 = 60;
/// Chunks repaired in one look; more come at the next.
const REPAIRS_MAX: usize = 32;

/// What streams are served from.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    pub(super) raft: Raft,
    pub(super) proposer: Proposer,
    pub(super) exchange: Exchange,
    pub(super) sessions: Arc<Sessions>,
}

/// Hands each inbound stream to a task of its own until `stop`.
pub(super) async fn streams(mut incoming: Incoming, doors: Doors, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = incoming.next() => match stream {
                Some(stream) => stream,
                None => return,
            },
        };
        let serving = serve(stream, doors.clone(), tasks.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

async fn serve(mut stream: FrameStream, doors: Doors, tasks: TaskTracker) {
    let (peer, class) = (stream.peer, stream.class);
    let ended = if let Some(raft_class) = raft_class(class) {
        doors.raft.serve(raft_class, raft_duplex(stream)).await.map_err(|error| error.to_string())
    } else {
        match class {
            Class::Work => serve_worker(stream, &doors, &tasks).await,
            Class::Join => join::answer(&mut stream, &doors.proposer, &doors.raft).await,
            _ => serve_calls(&mut stream, &doors).await.map_err(|error| error.to_string()),
        }
    };
    if let Err(reason) = ended {
        tracing::debug!(%peer, %class, %reason, "stream ended");
    }
}

async fn serve_worker(stream: FrameStream, doors: &Doors, tasks: &TaskTracker) -> Result<(), String> {
    let peer = stream.peer.to_string();
    let node = doors.raft.read(|state| state.nodes().find(|(_, node)| node.info.peer == peer).map(|(id, _)| id));
    let node = node.ok_or("a work session of a node that is not in the cluster")?;
    let granted = || worker::granted(&doors.raft, node);
    if doors.sessions.serve(node, worker::over(stream, tasks), granted).await {
        Ok(())
    } else {
        Err("this node does not lead".into())
    }
}

async fn serve_calls(stream: &mut FrameStream, doors: &Doors) -> Result<(), CallError> {
    while let Some(request) = calls::next_request(stream).await? {
        match request {
            Request::GetChunk(digest) => send_chunk(stream, doors, digest).await?,
            Request::PutChunk { digest, bytes } => {
                let bytes = calls::receive_parts(stream, bytes).await?;
                let answer = match doors.exchange.store().put(digest, bytes).await {
                    Ok(()) => Answer::Done,
                    Err(error) => Answer::Unavailable(error.to_string()),
                };
                calls::send_answer(stream, &answer).await?;
            }
            other => {
                let answer = answer(other, doors).await;
                calls::send_answer(stream, &answer).await?;
            }
        }
    }
    Ok(())
}

async fn send_chunk(stream: &mut FrameStream, doors: &Doors, digest: Digest) -> Result<(), CallError> {
    match doors.exchange.store().get(digest).await {
        Ok(Some(bytes)) => {
            calls::send_answer(stream, &Answer::Chunk { bytes: bytes.len() as u64 }).await?;
            calls::send_parts(stream, &bytes).await
        }
        Ok(None) => calls::send_answer(stream, &Answer::NotFound).await,
        Err(error) => {
            tracing::warn!(%error, "a chunk asked for is not given");
            calls::send_answer(stream, &Answer::NotFound).await
        }
    }
}

async fn answer(request: Request, doors: &Doors) -> Answer {
    match request {
        Request::Propose(command) => match doors.raft.propose(*command).await {
            Ok(applied) => Answer::Applied { index: applied.index, response: applied.response },
            Err(ProposeError::NotLeader { leader }) => Answer::NotLeader { leader },
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::Soft => Answer::Soft(soft_state(&doors.raft, &doors.sessions)),
        Request::TransferLeader(to) => match doors.raft.transfer_leader(to).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::GetChunk(_) | Request::PutChunk { .. } => Answer::NotFound,
    }
}

/// Brings chunks whose holders failed back to two, and removes chunks that nothing names, until `stop`.
pub(super) async fn tend_chunks(raft: Raft, exchange: Exchange, proposer: Proposer, stop: CancellationToken) {
    let mut look = 0u32;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TEND) => {}
        }
        // Without a leader a finished unit may wait for long to be counted, and so may what holds it: its chunk. Garbage
        // is looked for only after a leader was there for the whole time since.
        look = if raft.status().leader.is_some() { look.wrapping_add(1) } else { 0 };
        repair(&raft, &exchange, &proposer).await;
        if look > 0 && look.is_multiple_of(GARBAGE_EVERY) {
            let wanted = wanted(&raft);
            match exchange.store().collect_garbage(wanted).await {
                Ok(removed) if removed > 0 => tracing::info!(removed, "chunks that nothing names were removed"),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "garbage was not collected"),
            }
        }
    }
}

/// Every chunk's first live holder looks after it; the leader's log learns of new holders.
async fn repair(raft: &Raft, exchange: &Exchange, proposer: &Proposer) {
    if raft.status().role == Role::Outside {
        return;
    }
    let own = raft.node();
    let mine: Vec<(UnitKey, ChunkRef)> = raft.read(|state| {
        let held = state.chunks().filter(|(_, chunk)| chunk.stored.holders.contains(&own));
        held.filter(|(_, chunk)| lacks_holder(state, own, &chunk.stored.holders))
            .take(REPAIRS_MAX)
            .map(|(unit, chunk)| (unit, chunk.clone()))
            .collect()
    });
    let mut updates: Vec<(UnitKey, Vec<NodeId>)> = Vec::new();
    for (unit, chunk) in mine {
        if let Some(holders) = exchange.repair(chunk.stored.digest, &chunk.stored.holders).await {
            updates.push((unit, holders));
        }
    }
    let count = updates.len();
    if count > 0 {
        match proposer.propose(Command::SetHolders { updates }).await {
            Ok(_) => tracing::info!(count, "chunks have a second holder again"),
            Err(error) => tracing::debug!(%error, "repaired holders are not in the log yet"),
        }
    }
    repair_specs(raft, exchange, proposer).await;
    repair_feeds(raft, exchange, proposer).await;
}

/// The same for specs that are chunks, of jobs that still want work done.
async fn repair_specs(raft: &Raft, exchange: &Exchange, proposer: &Proposer) {
    let own = raft.node();
    let mine: Vec<(JobId, Digest, Vec<NodeId>)> = raft.read(|state| {
        let open = state.jobs().filter(|(_, job)| job.is_open());
        let specs = open.filter_map(|(job, _)| match state.spec(job) {
            Some(SpecRef::Chunk { digest, holders }) if lacks_holder(state, own, holders) => {
                Some((job, *digest, holders.clone()))
            }
            _ => None,
        });
        specs.take(REPAIRS_MAX).collect()
    });
    let mut updates: Vec<(JobId, Vec<NodeId>)> = Vec::new();
    for (job, digest, holders) in mine {
        if let Some(holders) = exchange.repair(digest, &holders).await {
            updates.push((job, holders));
        }
    }
    let count = updates.len();
    if count > 0 {
        match proposer.propose(Command::SetSpecHolders { updates }).await {
            Ok(_) => tracing::info!(count, "specs have a second holder again"),
            Err(error) => tracing::debug!(%error, "repaired holders of specs are not in the log yet"),
        }
    }
}

/// The same for the bundles of feeds, which nodes that were away still have to fetch.
async fn repair_feeds(raft: &Raft, exchange: &Exchange, proposer: &Proposer) {
    let own = raft.node();
    let mine: Vec<(Digest, Vec<NodeId>)> = raft.read(|state| {
        let feeds = state.feeds().filter(|(_, feed)| lacks_holder(state, own, &feed.holders));
        feeds.map(|(_, feed)| (feed.digest, feed.holders.clone())).collect()
    });
    for (digest, holders) in mine {
        let Some(holders) = exchange.repair(digest, &holders).await else { continue };
        match proposer.propose(Command::SetFeedHolders { digest, holders }).await {
            Ok(_) => tracing::info!(%digest, "a feed has a second holder again"),
            Err(error) => tracing::debug!(%error, "repaired holders of a feed are not in the log yet"),
        }
    }
}

/// Whether a chunk has lost a holder for good and this node is the first that is left.
fn lacks_holder(state: &pentora_raft::State, own: NodeId, holders: &[NodeId]) -> bool {
    let alive = |node: &NodeId| {
        state.node(*node).is_some_and(|record| record.status != pentora_raft::state::NodeStatus::Failed)
    };
    holders.iter().any(|holder| !alive(holder)) && holders.iter().find(|holder| alive(holder)) == Some(&own)
}

fn wanted(raft: &Raft) -> BTreeSet<Digest> {
    raft.read(|state| {
        let specs = state.jobs().filter_map(|(id, _)| match state.spec(id) {
            Some(SpecRef::Chunk { digest, .. }) => Some(*digest),
            _ => None,
        });
        let feeds = state.feeds().map(|(_, feed)| feed.digest);
        state.chunks().map(|(_, chunk)| chunk.stored.digest).chain(specs).chain(feeds).collect()
    })
}

#[cfg(test)]
#[path = "serve/serve_test.rs"]
mod tests;
