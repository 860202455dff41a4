//! Which node may show the results of a job that do not leave a region: one that is there, to whom they go through no other.

use axum::http::StatusCode;
use pentora_raft::{JobId, NodeId, State as Log};

use super::auth::HandedOnBy;
use super::{ApiError, Node};
use crate::results::choose::may_have;

/// Nodes that a refusal names.
const NAMED_MAX: usize = 4;

/// Whether the results of a job may be read here, for a node that handed the request on where one did.
///
/// # Errors
/// 409 `outside_region`, with the nodes to ask.
pub(super) fn check_readable(node: &Node, job: JobId, by: Option<HandedOnBy>) -> Result<(), ApiError> {
    node.raft.read(|state| readable(state, node.raft.node(), job, by.map(|HandedOnBy(by)| by)))
}

fn readable(state: &Log, own: NodeId, job: JobId, by: Option<NodeId>) -> Result<(), ApiError> {
    let Some(region) = state.residency(job) else { return Ok(()) };
    let is_there = |node| may_have(state, node, Some(region));
    if is_there(own) && by.is_none_or(is_there) {
        return Ok(());
    }
    let asked = by.filter(|by| !is_there(*by)).unwrap_or(own);
    let name = state.node(asked).map_or("this node", |record| record.info.name.as_str());
    let there = state.nodes().filter(|(id, record)| is_there(*id) && !record.status.is_gone());
    // By name alone: where its API listens nobody else knows, and the mesh's port answers no request.
    let there: Vec<String> = there.take(NAMED_MAX).map(|(_, record)| record.info.name.clone()).collect();
    let ask = match there.is_empty() {
        true => "no node there is up".to_owned(),
        false => format!("ask a node there: {}", there.join(", ")),
    };
    let detail = format!("the results of {job} do not leave region {region}, and {name} is not in it: {ask}");
    Err(ApiError::new(StatusCode::CONFLICT, "outside_region", detail))
}
