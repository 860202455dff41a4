//! `/cluster/nodes/{name}/fault` and `/cluster/empty-write`: a fault that an administrator rehearses, and a write that changes
//! nothing, by which it is seen whether the cluster takes any.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pentora_raft::command::{Author, Command};
use pentora_raft::state::NodeRecord;
use pentora_raft::{NodeId, State as Tables};

use super::cluster::named;
use super::knowledge::millis;
use super::{ApiError, Node};
use crate::document::{EmptyWriteDocument, FaultDocument, FaultKind, FaultRequest};
use crate::drill::{BEGINS_AFTER, BEGINS_AFTER_MAX_MS, DELAY_MAX_MS, Fault, LASTS_MAX_MS};
use crate::rpc::calls::{Answer, CallError, Request as Ask};

/// How long another node gets to answer: it says yes, and nothing more.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long a node is sought that is not reached: one that has just come back is connected again within that.
const SOUGHT_FOR: Duration = Duration::from_secs(1);
/// Pause between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Has a node suffer a fault, this one or another.
pub(super) async fn fault(
    State(node): State<Node>,
    Path(name): Path<String>,
    axum::Extension(author): axum::Extension<Author>,
    body: Bytes,
) -> Result<(StatusCode, Json<FaultDocument>), ApiError> {
    let request: FaultRequest = super::scans::read_json(&body)?;
    let id = named(&node, &name)?;
    let for_ms = request.for_ms;
    if for_ms == 0 || for_ms > LASTS_MAX_MS {
        return Err(ApiError::bad_request(format!("for_ms: a fault lasts 1 to {LASTS_MAX_MS} ms")));
    }
    if request.after_ms > BEGINS_AFTER_MAX_MS {
        return Err(ApiError::bad_request(format!("after_ms: a fault begins within {BEGINS_AFTER_MAX_MS} ms")));
    }
    let is_slow = request.fault == FaultKind::SlowDisk;
    match request.fault {
        FaultKind::Kill if !request.from.is_empty() => {
            return Err(ApiError::bad_request("from: a process that ends is cut off from everybody"));
        }
        FaultKind::SlowDisk if !request.from.is_empty() => {
            return Err(ApiError::bad_request("from: a node with a slow disk is cut off from nobody"));
        }
        _ => {}
    }
    if is_slow && !(1..=DELAY_MAX_MS).contains(&request.delay_ms) {
        return Err(ApiError::bad_request(format!("delay_ms: a sync waits 1 to {DELAY_MAX_MS} ms")));
    }
    if !is_slow && request.delay_ms != 0 {
        return Err(ApiError::bad_request("delay_ms: of a slow disk alone"));
    }
    if is_slow && node.raft.read(|state| state.node(id).is_some_and(|record| !record.may_vote())) {
        let detail = format!("{name} only scans, and has no log whose disk could be slow");
        return Err(ApiError::new(StatusCode::CONFLICT, "not_a_member", detail));
    }
    let from = request.from.iter().map(|name| peer_of(&node, named(&node, name)?, name)).collect::<Result<_, _>>()?;
    let fault = match request.fault {
        FaultKind::Kill => Fault::Kill { down_ms: for_ms },
        FaultKind::Cut => Fault::Cut { from, for_ms },
        FaultKind::SlowDisk => Fault::SlowDisk { delay_ms: request.delay_ms, for_ms },
    };
    tracing::warn!(node = id, name, ?fault, who = author.who, from = author.from, "a drill");
    if id == node.raft.node() {
        let faults = node.faults.as_ref().ok_or_else(|| {
            ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node has no cluster that could rehearse")
        })?;
        faults.suffer(fault, Duration::from_millis(request.after_ms)).map_err(ApiError::bad_request)?;
    } else {
        order(&node, id, &name, (fault, request.after_ms)).await?;
    }
    let begins_in_ms = request.after_ms.max(millis(BEGINS_AFTER));
    Ok((StatusCode::ACCEPTED, Json(FaultDocument { name, begins_in_ms, for_ms })))
}

/// Tells a node what it is to suffer: from here, or where it only scans through a member that it is connected to.
async fn order(node: &Node, id: NodeId, name: &str, (fault, after_ms): (Fault, u64)) -> Result<(), ApiError> {
    let gateways: Vec<NodeId> = node.raft.read(|state| {
        let only_scans = state.node(id).is_some_and(|record| !record.may_vote());
        let is_there = |(other, record): &(NodeId, &NodeRecord)| {
            only_scans && *other != node.raft.node() && record.may_vote() && !record.status.is_gone()
        };
        state.nodes().filter(is_there).map(|(other, _)| other).collect()
    });
    let begun = Instant::now();
    let reasons = loop {
        let (mut reasons, mut again) = (Vec::new(), true);
        for through in std::iter::once(id).chain(gateways.iter().copied()) {
            // A try later on leaves less time, so that those who suffer together begin together.
            let after_ms = after_ms.saturating_sub(millis(begun.elapsed()));
            match ask(node, through, Ask::Suffer { node: id, fault: fault.clone(), after_ms }).await {
                Ok(()) => return Ok(()),
                Err(untold) => {
                    again &= untold.again;
                    reasons.push(untold.why);
                }
            }
        }
        // What may have been taken is not ordered twice: the node would suffer it again once it is back.
        if !again || begun.elapsed() >= SOUGHT_FOR {
            break reasons;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    };
    let detail = format!("{name} cannot be told to suffer that from here: {}", reasons.join("; "));
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "node_unreachable", detail))
}

/// Why a node was not told.
struct Untold {
    why: String,
    /// Whether it is certain that the order was not taken, and may be a little later.
    again: bool,
}

async fn ask(node: &Node, to: NodeId, order: Ask) -> Result<(), Untold> {
    let (calls, peer) = node.proposer.reach(to).map_err(|why| Untold { why, again: false })?;
    match calls.ask(peer, &order, ANSWER_WITHIN).await {
        Ok(Answer::Done) => Ok(()),
        Ok(Answer::Unavailable(why) | Answer::Denied(why)) => Err(Untold { why, again: false }),
        Ok(_) => Err(Untold { why: "its answer does not fit".into(), again: false }),
        Err(error) => Err(Untold { again: matches!(error, CallError::Open(_)), why: error.to_string() }),
    }
}

fn peer_of(node: &Node, id: NodeId, name: &str) -> Result<String, ApiError> {
    let peer = node.raft.read(|state| state.node(id).map(|record| record.info.peer.clone()));
    peer.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "node_unknown", format!("there is no node `{name}`")))
}

/// Writes what is there already: that this node reaches the networks which it says that it reaches.
pub(super) async fn empty_write(State(node): State<Node>) -> Result<Json<EmptyWriteDocument>, ApiError> {
    let (own, begun) = (node.raft.node(), Instant::now());
    let says = |state: &Tables| {
        let said = state.standings().find(|(id, _)| *id == own).map(|(_, standing)| standing.says.networks.clone());
        said.or_else(|| state.node(own).map(|record| record.info.networks.clone())).flatten()
    };
    let networks = node.raft.read(says);
    let applied = node.proposer.propose(Command::SetNetworks { node: own, networks }).await?;
    Ok(Json(EmptyWriteDocument { index: applied.index, took_ms: millis(begun.elapsed()) }))
}
