//! `/workers/{id}/drain` and `resume`: a worker that gets no new work, and one that does again.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pentora_raft::NodeId;
use pentora_raft::command::{Command, LeaseRef};

use super::{ApiError, Node};
use crate::coordinator::granted;
use crate::document::DrainRequest;

/// Gives a worker nothing new; with `hand_back`, gives what it has to others as well.
pub(super) async fn drain(
    State(node): State<Node>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let request: DrainRequest = if body.is_empty() { DrainRequest::default() } else { super::scans::read_json(&body)? };
    let worker = worker(&node, &id)?;
    let mut applied = node.proposer.propose(Command::DrainNode { node: worker, draining: true }).await?;
    if request.hand_back {
        node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
        let leases = granted(&node.raft, worker).into_iter();
        let leases = leases.map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect();
        applied = node.proposer.propose(Command::Release { leases }).await?;
    }
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a worker work again.
pub(super) async fn resume(State(node): State<Node>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let worker = worker(&node, &id)?;
    if node.raft.read(|state| state.is_leaving(worker)) {
        return Err(ApiError::new(StatusCode::CONFLICT, "leaving", format!("{id} leaves the cluster")));
    }
    let applied = node.proposer.propose(Command::DrainNode { node: worker, draining: false }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The node of a worker's id, or of its name.
fn worker(node: &Node, id: &str) -> Result<NodeId, ApiError> {
    let found = node.raft.read(|state| {
        let of_worker = state.nodes().find(|(_, record)| record.worker_id() == id);
        of_worker.or_else(|| state.nodes().find(|(_, record)| record.info.name == id)).map(|(found, _)| found)
    });
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "node_unknown", format!("there is no worker `{id}`")))
}
