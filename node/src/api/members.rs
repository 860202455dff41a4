//! `/cluster/nodes/...` and `/cluster/leave`: what the cluster says of a node, and taking one out.
//!
//! A removal is looked at by the leader, because only the leader knows who answers, and one at a time. Then the log says that the
//! node is to leave, and whoever leads carries that out; this waits for it.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_p2p::PeerId;
use pentora_raft::NodeId;
use pentora_raft::autopilot::{Obstacle, Removal};
use pentora_raft::command::{Command, NodeRole, NotedRetirement, PolicyChange, Voting};
use pentora_raft::state::NodeRecord;

use super::auth::{AlreadyNoted, AskedAs};
use super::cluster::named;
use super::{ApiError, Node};
use crate::coordinator::{self, plan_removal};
use crate::document::{PolicyRequest, RemovalDocument};
use crate::join::{Membership, ask_membership};
use crate::rpc::calls::{Answer, Request as Ask};

/// How long a removal is waited for: a hand-over, a change of voters, and copies of what only that node keeps. Less than a
/// client waits for an answer.
const REMOVED_WITHIN: Duration = Duration::from_secs(25);
/// How long the leader gets to have a node give up its seat: it waits for those before that one.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(8);
/// How long others are asked whether a node is out by one that is out itself, and ends soon.
const OTHERS_SAY_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the leader gets to look ahead.
const PLAN_WITHIN: Duration = Duration::from_millis(1_500);

/// Removes a node, or with `?plan=true` says what that would come to.
pub(super) async fn remove(
    State(node): State<Node>,
    asked: Option<Extension<AskedAs>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.unwrap_or_default();
    let only_plan = match query.split('&').find_map(|pair| pair.strip_prefix("plan")) {
        None | Some("=false") => false,
        Some("=true") => true,
        // Whoever says `plan` wants to look first: never a removal by a slip.
        Some(_) => return Err(ApiError::bad_request("plan is true or false")),
    };
    let id = named(&node, &name)?;
    let plan = planned(&node, id, &name).await?;
    if only_plan {
        return Ok(Json(document_of(&node, id, &name, &plan, false)).into_response());
    }
    retire(&node, (id, &name), &plan, asked).await
}

/// Takes the answering node itself out; its process ends afterwards.
pub(super) async fn leave(State(node): State<Node>, asked: Option<Extension<AskedAs>>) -> Result<Response, ApiError> {
    if node.psk.is_none() {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node has no cluster to leave"));
    }
    let (id, name) = (node.raft.node(), node.name.clone());
    let plan = planned(&node, id, &name).await?;
    node.departure.ask();
    retire(&node, (id, &name), &plan, asked).await
}

/// What is answered by a node outside the log that is out of its cluster: nobody followed it, and nothing was decided by it.
pub(super) fn has_left(node: &Node) -> Response {
    let voters = node.raft.status().voters;
    let plan = Removal { hands_over_to: None, voters: voters.clone(), voters_after: voters };
    Json(document_of(node, node.raft.node(), &node.name, &plan, true)).into_response()
}

/// Wants a node among the voters.
pub(super) async fn promote(State(node): State<Node>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let id = named(&node, &name)?;
    let (role, ephemeral) = node.raft.read(|state| (state.node(id).map(|it| it.info.role), state.policy(id).ephemeral));
    if ephemeral || role == Some(NodeRole::Scanner) {
        let (why, flag) = match ephemeral {
            true => ("comes and goes (ephemeral)", "--ephemeral false"),
            false => ("only scans", "--role member"),
        };
        let detail = format!("{name} cannot vote: it {why}; change that first with `pentora nodes set {name} {flag}`");
        return Err(ApiError::new(StatusCode::CONFLICT, "not_a_member", detail));
    }
    change(&node, (id, &name), PolicyChange { voting: Some(Voting::Preferred), ..PolicyChange::default() }).await
}

/// Keeps a node from voting.
pub(super) async fn demote(State(node): State<Node>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let id = named(&node, &name)?;
    change(&node, (id, &name), PolicyChange { voting: Some(Voting::Never), ..PolicyChange::default() }).await
}

/// Has the leader put into the log that a node gives up its seat by a change of the cluster's word about it, or its place (`ask`): a
/// voter's seat is given up under the same conditions either way, and one at a time, and the leader sees to that. Answers the index
/// of the entry.
async fn give_up(node: &Node, id: NodeId, name: &str, ask: &Ask) -> Result<u64, ApiError> {
    let end = Instant::now() + GIVEN_UP_WITHIN;
    loop {
        let leader = node.proposer.leader().await?;
        let answer = if leader == node.raft.node() {
            match ask {
                Ask::Demote(_, change) => {
                    coordinator::demote(&node.raft, &node.sessions, id, PolicyChange::clone(change)).await
                }
                Ask::RetireNoted(noted) => {
                    coordinator::retire_noted(&node.raft, &node.sessions, NotedRetirement::clone(noted)).await
                }
                _ => coordinator::retire(&node.raft, &node.sessions, id).await,
            }
        } else {
            let (calls, peer) = node.proposer.reach(leader).map_err(unanswered)?;
            let asked = calls.ask(peer, ask, GIVEN_UP_WITHIN).await;
            asked.map_err(|error| unanswered(error.to_string()))?
        };
        match answer {
            Answer::Applied { response: pentora_raft::Response::Refused(refusal), .. } => return Err(refusal.into()),
            Answer::Applied { index, .. } => return Ok(index),
            Answer::Removal(Err(obstacle)) => return Err(keeps_its_place(name, &obstacle)),
            Answer::Unavailable(why) => return Err(ApiError::new(StatusCode::CONFLICT, "removal_refused", why)),
            Answer::NotLeader { .. } if Instant::now() < end => node.raft.status_changed(LOOK_AGAIN).await,
            _ => return Err(unanswered("leadership has just changed".into())),
        }
    }
}

/// Changes the cluster's word about a node.
pub(super) async fn set(
    State(node): State<Node>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let request: PolicyRequest = super::scans::read_json(&body)?;
    let id = named(&node, &name)?;
    let networks = request.networks.as_deref().map(super::tokens::networks).transpose()?;
    let role = request.role.as_deref().map(super::tokens::role).transpose()?;
    if role == Some(NodeRole::Auto) {
        let says = |state: &pentora_raft::State| {
            let standing = state.standings().find(|(other, _)| *other == id).map(|(_, standing)| standing.says.role);
            standing.or_else(|| state.node(id).map(|record| record.info.role))
        };
        if node.raft.read(says) == Some(NodeRole::Scanner) {
            let detail = format!(
                "{name} only scans by its own file (server.mode: worker), which no policy widens; take it out \
                 (`pentora cluster remove {name}`), set server.mode: coordinator there, and join it again with a token of a member"
            );
            return Err(ApiError::new(StatusCode::CONFLICT, "only_scans", detail));
        }
    }
    if role == Some(NodeRole::Scanner) && node.raft.status().voters.contains(&id) {
        let detail = format!("{name} votes; take its vote first: `pentora cluster demote {name}`");
        return Err(ApiError::new(StatusCode::CONFLICT, "votes", detail));
    }
    let PolicyRequest { region, site, tags, ephemeral, keeps_results, .. } = request;
    // What comes and goes is no place for results, unless somebody says so.
    let keeps_results = keeps_results.or((ephemeral == Some(true)).then_some(false));
    if keeps_results == Some(false) || role == Some(NodeRole::Scanner) {
        let is_other = |(other, record): (NodeId, &NodeRecord)| other != id && record.may_vote();
        let others = node.raft.read(|state| state.nodes().any(|it| is_other(it) && state.keeps_results(it.0)));
        if !others {
            let detail = format!("no other node keeps results, so {name} has to");
            return Err(ApiError::new(StatusCode::CONFLICT, "last_keeper", detail));
        }
    }
    super::tokens::labels(region.iter().chain(&site).chain(tags.iter().flatten()))?;
    let voting = None;
    let said = PolicyChange { role, voting, region, site, networks, tags, ephemeral, keeps_results };
    change(&node, (id, &name), said).await
}

/// Changes the cluster's word about a node; one that may vote, and by that no longer does, gives up its seat like any other.
async fn change(node: &Node, (id, name): (NodeId, &str), change: PolicyChange) -> Result<StatusCode, ApiError> {
    let change = Box::new(change);
    let index = if coordinator::is_demotion(&change) {
        give_up(node, id, name, &Ask::Demote(id, change)).await?
    } else {
        node.proposer.propose(Command::SetPolicy { node: id, change }).await?.index
    };
    node.raft.wait_applied(index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the leader says of a removal.
async fn planned(node: &Node, id: NodeId, name: &str) -> Result<Removal, ApiError> {
    let leader = node.proposer.leader().await?;
    let plan = if leader == node.raft.node() {
        plan_removal(&node.raft, &node.sessions, id)
    } else {
        let (calls, peer) = node.proposer.reach(leader).map_err(unanswered)?;
        match calls.ask(peer, &Ask::PlanRemoval(id), PLAN_WITHIN).await {
            Ok(Answer::Removal(plan)) => Some(plan),
            Ok(_) => None,
            Err(error) => return Err(unanswered(error.to_string())),
        }
    };
    let plan = plan.ok_or_else(|| unanswered("leadership has just changed".into()))?;
    plan.map_err(|obstacle| keeps_its_place(name, &obstacle))
}

fn keeps_its_place(name: &str, obstacle: &Obstacle) -> ApiError {
    let code = if *obstacle == Obstacle::Unknown { "node_unknown" } else { "removal_refused" };
    ApiError::new(StatusCode::CONFLICT, code, format!("{name} cannot give up its place now: {obstacle}"))
}

fn unanswered(reason: String) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", format!("the leader does not answer: {reason}"))
        .retry_after(1)
}

async fn retire(
    node: &Node,
    (id, name): (NodeId, &str),
    plan: &Removal,
    asked: Option<Extension<AskedAs>>,
) -> Result<Response, ApiError> {
    let document = |removed| Json(document_of(node, id, name, plan, removed));
    let (unfinished, done) = (document(false), document(true));
    let ask = retirement(node, id, asked);
    let index = match give_up(node, id, name, &ask).await {
        Ok(index) => index,
        Err(_) if node.departure.is_removed() => return Err(out_itself(node, name)),
        Err(error) => return Err(error),
    };
    // A node that is out writes no audit log.
    let told = |answer: Response| match &ask {
        Ask::RetireNoted(_) => (Extension(AlreadyNoted), answer).into_response(),
        _ => answer,
    };
    let end = Instant::now() + REMOVED_WITHIN;
    let mut applied = node.raft.watch_applied();
    while node.raft.read(|state| state.node(id).is_some()) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(told((StatusCode::ACCEPTED, unfinished).into_response()));
        }
        tokio::select! {
            biased;
            // Cut off before its own log said so: of itself, or of a node that goes at the same time.
            () = node.departure.until_removed() => match id == node.raft.node() || others_say_gone(node, id, index).await {
                true => break,
                false => return Ok((StatusCode::ACCEPTED, unfinished).into_response()),
            },
            _ = applied.changed() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
    Ok(told(done.into_response()))
}

/// How a node is to be taken out: one that takes itself out cannot say afterwards what came of it, so that the log notes that at once,
/// once it is of a version that does.
fn retirement(node: &Node, id: NodeId, asked: Option<Extension<AskedAs>>) -> Ask {
    let Some(Extension(AskedAs { author, action, asked })) = asked.filter(|_| id == node.raft.node()) else {
        return Ask::Retire(id);
    };
    let noted = NotedRetirement { node: id, author, action, asked, batch: rand::random() };
    let ask = Ask::RetireNoted(Box::new(noted));
    if ask.is_known_at(node.raft.read(pentora_raft::State::log_version)) { ask } else { Ask::Retire(id) }
}

/// Whether members say that a node is out whose removal is the entry at `index`, to this node, which is out itself: its own log says
/// nothing any more.
async fn others_say_gone(node: &Node, id: NodeId, index: u64) -> bool {
    let Some(mesh) = &node.mesh else { return false };
    let own = mesh.peer_id();
    let members: Vec<PeerId> = node.raft.read(|state| {
        let members = state.nodes().filter(|(other, record)| *other != id && record.may_vote());
        members.filter_map(|(_, record)| record.info.peer.parse().ok()).filter(|peer| *peer != own).collect()
    });
    let asking = async {
        loop {
            for member in &members {
                if let Ok(Membership::Removed) = ask_membership(mesh, *member, (id, index), None).await {
                    return;
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(OTHERS_SAY_WITHIN, asking).await.is_ok()
}

/// What is said of a removal that a node was to ask for which is out itself by now.
fn out_itself(node: &Node, name: &str) -> ApiError {
    let own = &node.name;
    let detail = format!(
        "{own} was itself removed from the cluster meanwhile, before it could ask for the removal of {name}; ask another node"
    );
    ApiError::new(StatusCode::CONFLICT, "removed", detail)
}

fn document_of(node: &Node, id: NodeId, name: &str, plan: &Removal, removed: bool) -> RemovalDocument {
    node.raft.read(|state| {
        let name_of = |id: &NodeId| state.node(*id).map_or_else(|| format!("node {id}"), |it| it.info.name.clone());
        let kept =
            state.nodes().map(|(other, _)| other).filter(|other| *other != id && state.is_kept_from_voting(*other));
        let chunks = state.chunks().filter(|(_, chunk)| chunk.stored.holders == [id]).count();
        RemovalDocument {
            name: name.to_owned(),
            node_id: id,
            removed,
            hands_over_to: plan.hands_over_to.as_ref().map(name_of),
            voters: plan.voters.iter().map(name_of).collect(),
            voters_after: plan.voters_after.iter().map(name_of).collect(),
            kept_from_voting: kept.map(|other| name_of(&other)).collect(),
            units_handed_back: state.leases().filter(|(_, lease)| lease.node == id).count() as u64,
            results_only_there: chunks as u64,
        }
    })
}
