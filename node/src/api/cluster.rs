//! `/cluster`, `/workers`, and the probes of supervisors.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use pentora_raft::state::{NodeRecord, NodeStatus};
use pentora_raft::{NodeId, RaftStatus, Role};
use std::time::Duration;

use super::{ApiError, Node};
use crate::clock::{rfc3339, wall_ms};
use crate::document::{
    ClusterDocument, NodeDocument, Page, Quorum, TransferRequest, VersionDocument, WorkerDocument, WorkerLoad,
};
use crate::rpc::SoftState;
use crate::rpc::calls::{Answer, Request as Ask};

/// How long a hand-over of leadership is waited for.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn cluster(State(node): State<Node>) -> Json<ClusterDocument> {
    let soft = node.soft().await;
    Json(document_of(&node, &node.raft.status(), &soft))
}

pub(super) async fn workers(State(node): State<Node>) -> Json<Page<WorkerDocument>> {
    let soft = node.soft().await;
    let now_ms = wall_ms();
    let items = node.raft.read(|state| {
        let document = |(id, record): (NodeId, &NodeRecord)| {
            let load = load_of(state, id, record);
            let heard = soft.heard_ms.get(&id).map(|ms| rfc3339(now_ms.saturating_sub(*ms)));
            WorkerDocument {
                worker_id: record.worker_id(),
                name: record.info.name.clone(),
                status: worker_word(record, load),
                region: record.info.region.clone(),
                tags: record.info.tags.clone(),
                load: is_heard(record).then_some(load),
                uptime_seconds: is_heard(record).then(|| now_ms.saturating_sub(record.started_at_ms) / 1000),
                version: Some(record.info.version.clone()),
                network_access: record
                    .info
                    .networks
                    .as_ref()
                    .map_or_else(|| vec!["auto".into()], |nets| nets.iter().map(ToString::to_string).collect()),
                engines: record.info.engines.clone(),
                last_seen: heard,
            }
        };
        state.nodes().map(document).collect()
    });
    Json(Page::whole(items))
}

/// Hands leadership to the node named, or to any voter that has all of the log.
pub(super) async fn transfer(State(node): State<Node>, body: Bytes) -> Result<Json<ClusterDocument>, ApiError> {
    let request: TransferRequest =
        if body.is_empty() { TransferRequest::default() } else { super::scans::read_json(&body)? };
    let status = node.raft.status();
    let Some(leader) = status.leader else {
        let detail = "there is no leader to hand over";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", detail).retry_after(1));
    };
    let to = match request.to {
        Some(name) => named(&node, &name)?,
        None => *status.voters.iter().find(|voter| **voter != leader).ok_or_else(|| {
            ApiError::new(StatusCode::CONFLICT, "no_other_voter", "there is no other voter to hand over to")
        })?,
    };
    if !status.voters.contains(&to) {
        return Err(ApiError::new(StatusCode::CONFLICT, "not_a_voter", format!("node {to} does not vote")));
    }
    ask_to_transfer(&node, leader, to).await?;
    let end = std::time::Instant::now() + TRANSFER_WITHIN;
    while node.raft.status().leader != Some(to) {
        if std::time::Instant::now() >= end {
            let detail = format!("node {to} did not take over; node {leader} may still lead");
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "transfer_failed", detail).retry_after(1));
        }
        node.raft.status_changed(Duration::from_millis(50)).await;
    }
    Ok(cluster(State(node)).await)
}

async fn ask_to_transfer(node: &Node, leader: NodeId, to: NodeId) -> Result<(), ApiError> {
    let failed =
        |reason: String| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "transfer_failed", reason).retry_after(1);
    if leader == to {
        return Ok(());
    }
    if leader == node.raft.node() {
        return node.raft.transfer_leader(to).await.map_err(|error| failed(error.to_string()));
    }
    let (calls, peer) = node.proposer.reach(leader).map_err(failed)?;
    match calls.ask(peer, &Ask::TransferLeader(to), TRANSFER_WITHIN).await {
        Ok(Answer::Done) => Ok(()),
        Ok(_) => Err(failed(format!("node {leader} would not hand over"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn named(node: &Node, name: &str) -> Result<NodeId, ApiError> {
    let found = node.raft.read(|state| state.nodes().find(|(_, record)| record.info.name == name).map(|(id, _)| id));
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "node_unknown", format!("there is no node `{name}`")))
}

fn document_of(node: &Node, status: &RaftStatus, soft: &SoftState) -> ClusterDocument {
    let voters = status.voters.len();
    let needed = voters / 2 + 1;
    node.raft.read(|state| {
        let lost = status.voters.iter().filter(|id| {
            state.node(**id).is_some_and(|record| matches!(record.status, NodeStatus::Failed | NodeStatus::Stale))
        });
        let up = voters - lost.count();
        ClusterDocument {
            cluster_id: node.cluster.to_string(),
            leader: status
                .leader
                .map(|id| state.node(id).map_or_else(|| format!("node {id}"), |record| record.info.name.clone())),
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            quorum: Quorum {
                voters: u32::try_from(voters).unwrap_or(u32::MAX),
                needed: u32::try_from(needed).unwrap_or(u32::MAX),
                failures_tolerated: u32::try_from(up.saturating_sub(needed)).unwrap_or(u32::MAX),
            },
            nodes: state.nodes().map(|(id, record)| node_of(state, id, record, status, soft)).collect(),
            answered_by: node.name.clone(),
        }
    })
}

fn node_of(
    state: &pentora_raft::State,
    id: NodeId,
    record: &NodeRecord,
    status: &RaftStatus,
    soft: &SoftState,
) -> NodeDocument {
    let role = match () {
        () if status.voters.contains(&id) => "voter",
        () if record.may_vote() && status.learners.contains(&id) => "learner",
        () if record.may_vote() => "joining",
        () => "scanner",
    };
    NodeDocument {
        name: record.info.name.clone(),
        node_id: id,
        role: role.into(),
        status: word(record.status).into(),
        region: record.info.region.clone(),
        address: record.info.addresses.first().cloned(),
        version: Some(record.info.version.clone()),
        last_contact_ms: soft.heard_ms.get(&id).copied(),
        lag: soft.lag.get(&id).copied(),
        load: Some(load_of(state, id, record)),
    }
}

fn load_of(state: &pentora_raft::State, id: NodeId, record: &NodeRecord) -> WorkerLoad {
    let running = state.leases().filter(|(_, lease)| lease.node == id).count();
    WorkerLoad { running: u32::try_from(running).unwrap_or(u32::MAX), capacity: record.info.max_concurrent_scans }
}

fn is_heard(record: &NodeRecord) -> bool {
    matches!(record.status, NodeStatus::Active | NodeStatus::Draining)
}

fn worker_word(record: &NodeRecord, load: WorkerLoad) -> String {
    match record.status {
        NodeStatus::Active if load.running == 0 => "Idle".into(),
        status => word(status).into(),
    }
}

fn word(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Joining => "Joining",
        NodeStatus::Active => "Active",
        NodeStatus::Stale => "Stale",
        NodeStatus::Failed => "Failed",
        NodeStatus::Draining => "Draining",
    }
}

/// The process runs.
pub(super) async fn health(State(node): State<Node>) -> Result<&'static str, ApiError> {
    match node.raft.status().stopped {
        None => Ok("ok\n"),
        Some(reason) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "node_stopped", reason)),
    }
}

/// The node is in a cluster that has a leader.
pub(super) async fn ready(State(node): State<Node>) -> Result<&'static str, ApiError> {
    let status = node.raft.status();
    if status.role == Role::Outside {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "joining", "this node is not in the cluster yet"));
    }
    match status.leader {
        Some(_) => Ok("ready\n"),
        None => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", "no leader is known")),
    }
}

pub(super) async fn version() -> Json<VersionDocument> {
    Json(VersionDocument { name: "pentora".into(), version: env!("CARGO_PKG_VERSION").into(), api: "v1".into() })
}
