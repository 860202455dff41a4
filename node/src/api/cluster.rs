//! `/cluster`, `/workers`, and the probes of supervisors.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::command::NodePolicy;
use pentora_raft::state::{NodeRecord, NodeStatus};
use pentora_raft::{Leadership, NodeId, RaftStatus, Role, Versions};
use std::time::Duration;

use super::auth::HandedOnBy;
use super::cluster_time::{Ahead, Clocks, ahead};
use super::knowledge::{Knowledge, millis};
use super::paging::{Paging, rising};
use super::{ApiError, Node};
use crate::backup;
use crate::clock::rfc3339;
use crate::coordinator::placement;
use crate::document::{
    AuditHead, ClusterDocument, NodeDocument, Page, Quorum, TransferRequest, VersionDocument, WorkerDocument,
    WorkerLoad,
};
use crate::rpc::SoftState;
use crate::rpc::calls::{Answer, Request as Ask};
use crate::rpc::no_majority::{name_of, no_majority, no_majority_beside};
use crate::tls::Fingerprint;

/// How long a hand-over of leadership is waited for.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);
/// A voter that the leader heard within so many milliseconds can take over.
const HEARD_WITHIN_MS: u64 = 2_000;

pub(super) async fn cluster(State(node): State<Node>, by: Option<Extension<HandedOnBy>>) -> Json<ClusterDocument> {
    let soft = node.soft().await;
    let status = node.raft.status();
    let knowledge = Knowledge::of(&node, &status, &soft);
    let handed_on_by = by.map(|Extension(HandedOnBy(id))| node.raft.read(|state| name_of(state, id)));
    Json(ClusterDocument { handed_on_by, ..document_of(&node, &status, &soft, &knowledge) })
}

pub(super) async fn workers(State(node): State<Node>, paging: Paging) -> Result<Json<Page<WorkerDocument>>, ApiError> {
    let workers = worker_documents(&node).await.into_iter().map(|(id, worker)| (rising(id), worker));
    paging.part("workers", workers, |worker| worker).map(Json)
}

/// Every node as a worker.
pub(super) async fn worker_documents(node: &Node) -> Vec<(NodeId, WorkerDocument)> {
    let soft = node.soft().await;
    let now_ms = node.raft.now_ms();
    let knowledge = Knowledge::of(node, &node.raft.status(), &soft);
    node.raft.read(|state| {
        let document = |(id, record): (NodeId, &NodeRecord)| {
            let load = load_of(state, id, record);
            let heard = knowledge.heard_ms(id, record).map(|ms| rfc3339(now_ms.saturating_sub(ms)));
            let is_heard = is_heard(record) && knowledge.is_of_now();
            let policy = state.policy(id);
            let worker = WorkerDocument {
                worker_id: record.worker_id(),
                name: record.info.name.clone(),
                status: worker_word(state, id, record, load),
                status_age_ms: knowledge.status_age_ms(),
                region: record.info.region.clone(),
                tags: record.info.tags.clone(),
                load: is_heard.then_some(load),
                uptime_seconds: is_heard.then(|| now_ms.saturating_sub(record.started_at_ms) / 1000),
                version: Some(record.info.version.clone()),
                network_access: access_of(record, &policy),
                engines: record.info.engines.clone(),
                last_seen: heard,
                set_aside: placement::set_aside(state.health(id), now_ms),
                takes_no_work: soft.rests.get(&id).cloned(),
                site: policy.site,
                ephemeral: policy.ephemeral,
                keeps_results: policy.keeps_results,
                leaving: state.is_leaving(id),
            };
            (id, worker)
        };
        state.nodes().map(document).collect()
    })
}

/// The networks that a node may scan; where its routes reach none of those that its policy names, the policy's.
fn access_of(record: &NodeRecord, policy: &NodePolicy) -> Vec<String> {
    let Some(reached) = record.info.networks.as_ref() else { return vec!["auto".into()] };
    let named = policy.networks.as_ref().filter(|_| reached.is_empty()).unwrap_or(reached);
    named.iter().map(ToString::to_string).collect()
}

/// Hands leadership to the node named, or to any voter that has all of the log.
pub(super) async fn transfer(State(node): State<Node>, body: Bytes) -> Result<Json<ClusterDocument>, ApiError> {
    let request: TransferRequest =
        if body.is_empty() { TransferRequest::default() } else { super::scans::read_json(&body)? };
    let status = node.raft.status();
    let Some(leader) = status.leader else {
        let detail = format!("there is no leader to hand over: {}", no_majority(&node.raft).unwrap_or_default());
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", detail).retry_after(1));
    };
    let to = match request.to {
        Some(name) => named(&node, &name)?,
        None => successor(&node, &status, leader).await?,
    };
    let of = |id| node.raft.read(|state| name_of(state, id));
    if !status.voters.contains(&to) {
        return Err(ApiError::new(StatusCode::CONFLICT, "not_a_voter", format!("{} does not vote", of(to))));
    }
    if let Some(why) = gone(&node, to).filter(|_| to != leader) {
        let detail = format!("{} cannot take over: {why}; start it first, or name another voter", of(to));
        return Err(ApiError::new(StatusCode::CONFLICT, "transfer_failed", detail));
    }
    ask_to_transfer(&node, leader, to).await?;
    let end = std::time::Instant::now() + TRANSFER_WITHIN;
    while node.raft.status().leader != Some(to) {
        if std::time::Instant::now() >= end {
            let detail = format!("{} did not take over; {} may still lead", of(to), of(leader));
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "transfer_failed", detail).retry_after(1));
        }
        node.raft.status_changed(Duration::from_millis(50)).await;
    }
    Ok(cluster(State(node), None).await)
}

/// Why a node that went is not there.
fn gone(node: &Node, id: NodeId) -> Option<&'static str> {
    node.raft.read(|state| placement::unavailable(state.node(id).filter(|record| record.status.is_gone())?))
}

/// The voter that is to lead where none is named: of those that the leader hears, the one that trails it least.
async fn successor(node: &Node, status: &RaftStatus, leader: NodeId) -> Result<NodeId, ApiError> {
    let others: Vec<NodeId> = status.voters.iter().copied().filter(|voter| *voter != leader).collect();
    if others.is_empty() {
        let detail = "there is no other voter to hand over to";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_other_voter", detail));
    }
    let soft = node.soft().await;
    let heard = |voter: &&NodeId| soft.heard_ms.get(voter).is_some_and(|ms| *ms <= HEARD_WITHIN_MS);
    let least = others.iter().filter(heard).min_by_key(|voter| (soft.lag.get(voter), **voter));
    least.copied().ok_or_else(|| {
        let detail = "the leader hears no other voter; start the voters that are down first";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "transfer_failed", detail).retry_after(1)
    })
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
        Ok(_) => Err(failed(format!("{} would not hand over", node.raft.read(|state| name_of(state, leader))))),
        Err(error) => Err(failed(error.to_string())),
    }
}

pub(super) fn named(node: &Node, name: &str) -> Result<NodeId, ApiError> {
    let found = node.raft.read(|state| state.nodes().find(|(_, record)| record.info.name == name).map(|(id, _)| id));
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "node_unknown", format!("there is no node `{name}`")))
}

fn document_of(node: &Node, status: &RaftStatus, soft: &SoftState, knowledge: &Knowledge) -> ClusterDocument {
    let voters = status.voters.len();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let contact = |id| {
        let heard = node.raft.read(|state| knowledge.heard_ms(id, state.node(id)?));
        heard.map(Duration::from_millis)
    };
    let no_majority = no_majority_beside(&node.raft, contact);
    let ahead = time_ahead(node, status, soft);
    let rivals = node.rivals.told();
    node.raft.read(|state| {
        let (leader_heard_ms, last_leader, lost_ms) = match status.leadership {
            Leadership::Known { age, .. } => (Some(millis(age)), None, None),
            Leadership::Lost { last, since } => (None, last.map(|id| name_of(state, id)), since.map(millis)),
        };
        ClusterDocument {
            cluster_id: node.cluster.to_string(),
            leader: status.leader.map(|id| name_of(state, id)),
            leader_heard_ms,
            no_majority,
            last_leader,
            lost_ms,
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            quorum: Quorum {
                voters: count(voters),
                needed: count(voters / 2 + 1),
                failures_tolerated: knowledge.margin.map(count),
            },
            authority: state.authority().map(|it| Fingerprint::of(&it.certificate).to_string()),
            nodes: state.nodes().map(|(id, record)| node_of(state, id, record, status, soft, knowledge)).collect(),
            answered_by: node.name.clone(),
            handed_on_by: None,
            results_short: soft.results_short.clone(),
            log_version: state.log_version(),
            time_ahead_ms: ahead.map(|ahead| ahead.ms),
            time_slowed_until: ahead.map(|ahead| rfc3339(ahead.until_ms)),
            rivals,
            audit: audit_head(state),
            next_log_version: (Versions::OWN.newest > state.log_version()).then_some(Versions::OWN.newest),
        }
    })
}

/// Whether the cluster's time is ahead of the clocks of most nodes.
pub(super) fn time_ahead(node: &Node, status: &RaftStatus, soft: &SoftState) -> Option<Ahead> {
    let (own, leader, wall_ms) = (node.raft.node(), status.leader, node.raft.wall_ms());
    ahead(node.raft.now_ms(), &Clocks { own, leader, wall_ms, skew_ms: &soft.skew_ms })
}

fn audit_head(state: &pentora_raft::State) -> Option<AuditHead> {
    let ends = state.audit_ends();
    (ends.last > 0).then(|| AuditHead { last: ends.last, digest: hex::encode(ends.digest.0) })
}

fn node_of(
    state: &pentora_raft::State,
    id: NodeId,
    record: &NodeRecord,
    status: &RaftStatus,
    soft: &SoftState,
    knowledge: &Knowledge,
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
        status: word(state, id, record).into(),
        status_age_ms: knowledge.status_age_ms(),
        region: record.info.region.clone(),
        address: record.info.addresses.first().cloned(),
        version: Some(record.info.version.clone()),
        last_contact_ms: knowledge.heard_ms(id, record),
        lag: soft.lag.get(&id).copied(),
        load: Some(load_of(state, id, record)),
        takes_no_work: soft.rests.get(&id).cloned(),
        clock_ahead_ms: soft.skew_ms.get(&id).copied(),
        unreached: knowledge.unreached(record),
        kept_from_voting: state.is_kept_from_voting(id),
        log_versions: vec![state.versions(id).oldest, state.versions(id).newest],
        key: Some(record.info.peer.clone()),
    }
}

fn load_of(state: &pentora_raft::State, id: NodeId, record: &NodeRecord) -> WorkerLoad {
    let running = state.leases().filter(|(_, lease)| lease.node == id).count();
    WorkerLoad { running: u32::try_from(running).unwrap_or(u32::MAX), capacity: record.info.max_concurrent_scans }
}

fn is_heard(record: &NodeRecord) -> bool {
    matches!(record.status, NodeStatus::Active | NodeStatus::Draining)
}

fn worker_word(state: &pentora_raft::State, id: NodeId, record: &NodeRecord, load: WorkerLoad) -> String {
    match word(state, id, record) {
        "Active" if load.running == 0 => "Idle".into(),
        word => word.into(),
    }
}

/// A node's status in a word. One that does not read the log takes no part, whatever else is known of it.
fn word(state: &pentora_raft::State, id: NodeId, record: &NodeRecord) -> &'static str {
    if !state.reads_log(id) {
        return "Incompatible";
    }
    match record.status {
        NodeStatus::Joining => "Joining",
        NodeStatus::Active => "Active",
        NodeStatus::Stale => "Stale",
        NodeStatus::Failed => "Failed",
        NodeStatus::Draining => "Draining",
        NodeStatus::Left => "Left",
    }
}

/// A backup of the cluster as this node has it.
pub(super) async fn snapshot(State(node): State<Node>) -> Response {
    let pieces = backup::stream(&node.raft, node.exchange.clone(), &node.tasks);
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)).into_response()
}

/// The process runs.
pub(super) async fn health(State(node): State<Node>) -> Result<&'static str, ApiError> {
    match node.raft.status().stopped {
        None => Ok("ok\n"),
        Some(reason) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "node_stopped", reason)),
    }
}

/// The node is in a cluster and knows a leader now.
pub(super) async fn ready(State(node): State<Node>) -> Result<&'static str, ApiError> {
    let status = node.raft.status();
    let own = node.raft.node();
    let is_shown = node.raft.is_outside() && node.raft.read(|state| state.node(own).is_some());
    if status.role == Role::Outside && !is_shown {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "joining", "this node is not in the cluster yet"));
    }
    match no_majority(&node.raft) {
        None => Ok("ready\n"),
        Some(why) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "quorum_lost", why).retry_after(1)),
    }
}

pub(super) async fn version() -> Json<VersionDocument> {
    Json(VersionDocument { name: "pentora".into(), version: env!("CARGO_PKG_VERSION").into(), api: "v1".into() })
}
