//! The streams that other nodes open, each served by a task of its own.

use std::sync::Arc;

use pentora_p2p::{Class, FrameStream, Incoming};
use pentora_raft::{Digest, ProposeError, Raft};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coordinator::{WorkSessions, granted, soft_state};
use crate::join;
use crate::raft_transport::{raft_class, raft_duplex};
use crate::results::Exchange;
use crate::rpc::calls::{self, Answer, CallError, Request};
use crate::rpc::proposer::Proposer;
use crate::work_protocol;

/// What streams are served from.
#[derive(Debug, Clone)]
pub(super) struct StreamServices {
    pub(super) raft: Raft,
    pub(super) proposer: Proposer,
    pub(super) exchange: Exchange,
    pub(super) sessions: Arc<WorkSessions>,
}

/// Hands each inbound stream to a task of its own until `stop`.
pub(super) async fn streams(
    mut incoming: Incoming,
    services: StreamServices,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            stream = incoming.next() => match stream {
                Some(stream) => stream,
                None => return,
            },
        };
        let serving = serve(stream, services.clone(), tasks.clone());
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

async fn serve(mut stream: FrameStream, services: StreamServices, tasks: TaskTracker) {
    let (peer, class) = (stream.peer, stream.class);
    let ended = if let Some(raft_class) = raft_class(class) {
        services.raft.serve(raft_class, raft_duplex(stream)).await.map_err(|error| error.to_string())
    } else {
        match class {
            Class::Work => serve_worker(stream, &services, &tasks).await,
            Class::Join => join::answer(&mut stream, &services.proposer, &services.raft).await,
            _ => serve_calls(&mut stream, &services).await.map_err(|error| error.to_string()),
        }
    };
    if let Err(reason) = ended {
        tracing::debug!(%peer, %class, %reason, "stream ended");
    }
}

async fn serve_worker(stream: FrameStream, services: &StreamServices, tasks: &TaskTracker) -> Result<(), String> {
    let peer = stream.peer.to_string();
    let node = services.raft.read(|state| state.nodes().find(|(_, node)| node.info.peer == peer).map(|(id, _)| id));
    let node = node.ok_or("a work session of a node that is not in the cluster")?;
    let held = || granted(&services.raft, node);
    if services.sessions.serve(node, work_protocol::over(stream, tasks), held).await {
        Ok(())
    } else {
        Err("this node does not lead".into())
    }
}

async fn serve_calls(stream: &mut FrameStream, services: &StreamServices) -> Result<(), CallError> {
    while let Some(request) = calls::next_request(stream).await? {
        match request {
            Request::GetChunk(digest) => send_chunk(stream, services, digest).await?,
            Request::PutChunk { digest, bytes } => {
                let bytes = calls::receive_parts(stream, bytes).await?;
                let answer = match services.exchange.store().put(digest, bytes).await {
                    Ok(()) => Answer::Done,
                    Err(error) => Answer::Unavailable(error.to_string()),
                };
                calls::send_answer(stream, &answer).await?;
            }
            other => {
                let answer = answer(other, services).await;
                calls::send_answer(stream, &answer).await?;
            }
        }
    }
    Ok(())
}

async fn send_chunk(stream: &mut FrameStream, services: &StreamServices, digest: Digest) -> Result<(), CallError> {
    match services.exchange.store().get(digest).await {
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

async fn answer(request: Request, services: &StreamServices) -> Answer {
    match request {
        Request::Propose(command) => match services.raft.propose(*command).await {
            Ok(applied) => Answer::Applied { index: applied.index, response: applied.response },
            Err(ProposeError::NotLeader { leader }) => Answer::NotLeader { leader },
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::Soft => Answer::Soft(soft_state(&services.raft, &services.sessions)),
        Request::TransferLeader(to) => match services.raft.transfer_leader(to).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Unavailable(error.to_string()),
        },
        Request::GetChunk(_) | Request::PutChunk { .. } => Answer::NotFound,
    }
}

#[cfg(test)]
#[path = "serve/serve_test.rs"]
mod tests;
