//! `/workers/register`, one worker, its heartbeat, and its removal.
//!
//! A worker registers with its join token, of which it shows a signature and never the secret: what travels here, and what
//! anybody reads on the way, joins as nobody else. It learns how it is called, where the mesh is, and how often it reports.
//! An administrator registers a worker with an administrator's token, and gets a join token for it. Being registered is not
//! being admitted: that is the mesh's own door.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipnet::IpNet;
use pentora_raft::command::{Author, Command, NodePolicy, NodeRole, TokenGrant};
use pentora_raft::id::is_node_name;
use pentora_raft::{Refusal, worker_id};

use super::auth::{AskedAs, bearer};
use super::limits::source_of;
use super::listeners::{Listener, Listeners};
use super::object::About;
use super::tokens::{TTL_DEFAULT, labels, networks};
use super::whose::Whose;
use super::{ApiError, Node};
use crate::document::{HeartbeatDocument, RegistrationDocument, RegistrationRequest, WorkerDocument};
use crate::join::holder;
use crate::join::token::{Credential, JoinToken};

/// Where a worker registers.
pub(super) const REGISTER: &str = "/api/v1/workers/register";
/// The largest request, in bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 256 << 10;
/// How long a request's body may take. Ours: a few packets, also over a slow line.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long a token that is not known here is waited for.
const TOKEN_KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Requests that wait for their token at once. Ours: a rack of machines that start together.
const WAITING_MAX: usize = 16;
/// Of these, from one address.
const WAITING_OF_ONE: usize = 4;

/// Beside a request that waits for its token where that is not known here: whoever comes with one that is none is told so at once, next
/// time.
#[derive(Debug, Clone)]
pub(super) struct MayWait {
    _place: Arc<Listener>,
}

/// Places for those that wait.
#[derive(Debug)]
pub(super) struct Waiting(Listeners);

impl Default for Waiting {
    fn default() -> Self {
        Self(Listeners::new(WAITING_MAX, WAITING_OF_ONE))
    }
}

impl Waiting {
    /// A place for a request from there.
    pub(super) fn take(&self, from: &str) -> Option<MayWait> {
        self.0.take(&Whose::alone(source_of(from))).ok().map(|place| MayWait { _place: Arc::new(place) })
    }
}

/// Who asks.
enum Caller {
    /// An administrator.
    Administrator(Author),
    /// Whoever has the secret of a join token.
    Holder(Credential),
}

/// Who asks; the router let nobody else through.
fn caller(request: &Request) -> Result<Caller, ApiError> {
    if let Some(author) = request.extensions().get::<Author>() {
        return Ok(Caller::Administrator(author.clone()));
    }
    let credential = bearer(request).and_then(|token| token.parse().ok());
    credential.map(Caller::Holder).ok_or_else(|| unauthorized(&Refusal::TokenUnknown))
}

fn unauthorized(refusal: &Refusal) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, refusal.code(), refusal.to_string())
}

/// Registers a worker.
pub(super) async fn register(State(node): State<Node>, request: Request) -> Result<Response, ApiError> {
    let caller = caller(&request)?;
    if let Caller::Holder(credential) = &caller {
        if let Some(waits) = request.extensions().get::<MayWait>() {
            wait_for_token(&node, credential, waits).await;
        }
        is_held(&node, credential)?;
    }
    let request: RegistrationRequest = super::scans::read_json(&body_of(request).await?)?;
    let (name, token, about) = match caller {
        Caller::Administrator(author) => {
            (named(&request.name)?, by_administrator(&node, &request, author.who).await?, Vec::new())
        }
        Caller::Holder(credential) => {
            let about = vec![("token_id", credential.token.to_string()), ("peer", credential.peer.to_string())];
            (by_holder(&node, &request, &credential)?, credential.to_string(), about)
        }
    };
    let heartbeat_interval = node.settings().heartbeat_ms.div_ceil(1_000).max(1);
    let mesh = node.raft.read(|state| {
        state
            .nodes()
            .filter(|(_, record)| record.may_vote())
            .flat_map(|(_, record)| record.info.addresses.clone())
            .collect()
    });
    let worker_id = worker_id(&name);
    let document = RegistrationDocument { worker_id, token, heartbeat_interval, name, mesh };
    Ok((StatusCode::CREATED, Extension(About::of(&about)), Json(document)).into_response())
}

/// Whether a credential is of a token that lets it in. Asked before anything else of whoever shows it is read.
fn is_held(node: &Node, credential: &Credential) -> Result<(), ApiError> {
    let held = node.raft.read(|state| holder(state, credential).map(|_| ()));
    held.map_err(|refusal| unauthorized(&refusal))
}

/// A token may have been made on another member a moment ago.
async fn wait_for_token(node: &Node, credential: &Credential, _waits: &MayWait) {
    let mut applied = node.raft.watch_applied();
    let known = async {
        while !node.raft.read(|state| state.tokens().any(|(id, _)| id == credential.token)) {
            if applied.changed().await.is_err() {
                return;
            }
        }
    };
    drop(tokio::time::timeout(TOKEN_KNOWN_WITHIN, known).await);
}

/// Makes a join token for a worker that an administrator names.
async fn by_administrator(node: &Node, request: &RegistrationRequest, by: String) -> Result<String, ApiError> {
    let Some(psk) = &node.psk else {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node has no mesh to join"));
    };
    labels(request.tags.iter())?;
    let nets = networks_of(request)?;
    free(node, &request.name, None)?;
    let token = JoinToken::generate(node.cluster, psk).of_authority(node.authority());
    let policy = NodePolicy {
        role: NodeRole::Scanner,
        tags: (!request.tags.is_empty()).then(|| request.tags.clone()),
        networks: nets,
        ..NodePolicy::default()
    };
    let ttl_ms = u64::try_from(TTL_DEFAULT.as_millis()).unwrap_or(u64::MAX);
    let name = request.name.clone();
    let grant = TokenGrant { token: token.id, key: token.key(), name, ttl_ms, uses: 1, policy, by };
    node.proposer.propose(Command::MakeToken(Box::new(grant))).await?;
    Ok(token.to_string())
}

/// The name of a worker that shows a join token's credential: its own, or the token's where it has none.
fn by_holder(node: &Node, request: &RegistrationRequest, credential: &Credential) -> Result<String, ApiError> {
    let of_token = node.raft.read(|state| holder(state, credential).map(|row| row.name.clone()));
    let of_token = of_token.map_err(|refusal| unauthorized(&refusal))?;
    if !node.auto_register {
        let detail = "workers.auto_register is false here: an administrator registers workers";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "registration_closed", detail));
    }
    labels(request.tags.iter())?;
    networks_of(request)?;
    let peer = credential.peer.to_string();
    let known = node
        .raft
        .read(|state| state.node_of(&peer).and_then(|id| state.node(id)).map(|record| record.info.name.clone()));
    if let Some(known) = known {
        return Ok(known);
    }
    if !request.name.is_empty() {
        free(node, &request.name, Some(peer.as_str()))?;
        return named(&request.name);
    }
    // One token for many: the first gets its name, the others that name and a part of their key.
    match free(node, &of_token, Some(peer.as_str())) {
        Ok(()) => named(&of_token),
        Err(_) => {
            let tail: String = peer.chars().rev().take(6).collect();
            named(&format!("{}-{tail}", of_token.chars().take(56).collect::<String>()))
        }
    }
}

fn named(name: &str) -> Result<String, ApiError> {
    if is_node_name(name) {
        return Ok(name.to_owned());
    }
    let name = name.escape_debug();
    Err(ApiError::bad_request(format!("no worker can be called `{name}`: 1 to 63 letters, digits or ._:/@+=-")))
}

/// The networks that a worker says it reaches; `None` for all of them.
fn networks_of(request: &RegistrationRequest) -> Result<Option<Vec<IpNet>>, ApiError> {
    let nets: Vec<String> = request.network_access.iter().filter(|net| *net != "auto").cloned().collect();
    Ok(Some(networks(&nets)?).filter(|nets| !nets.is_empty()))
}

/// Whether no other node is called so.
fn free(node: &Node, name: &str, peer: Option<&str>) -> Result<(), ApiError> {
    let wanted = worker_id(name);
    let is_taken = node.raft.read(|state| {
        state.nodes().any(|(_, record)| record.worker_id() == wanted && Some(record.info.peer.as_str()) != peer)
    });
    if is_taken {
        let detail = format!("a worker `{}` is in the cluster already", name.escape_debug());
        return Err(ApiError::new(StatusCode::CONFLICT, "name_taken", detail));
    }
    Ok(())
}

async fn body_of(request: Request) -> Result<axum::body::Bytes, ApiError> {
    let body: Body = request.into_body();
    match tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(read) => read.map_err(|error| {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the request's body: {error}"))
        }),
        Err(_elapsed) => {
            let detail = format!("the request's body did not come within {} s", BODY_WITHIN.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail))
        }
    }
}

/// One worker.
pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<WorkerDocument>, ApiError> {
    document_of(&node, &id).await.map(Json)
}

async fn document_of(node: &Node, id: &str) -> Result<WorkerDocument, ApiError> {
    let mut workers = super::cluster::worker_documents(node).await.into_iter().map(|(_, worker)| worker);
    workers.find(|worker| worker.worker_id == id || worker.name == id).ok_or_else(|| unknown(id))
}

/// What the cluster hears of a worker: for a worker that wants to know whether its reports arrive, and for whoever watches
/// it. It takes the place of no report: those come over the mesh.
pub(super) async fn heartbeat(
    State(node): State<Node>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<HeartbeatDocument>, ApiError> {
    if let Caller::Holder(credential) = caller(&request)? {
        is_held(&node, &credential)?;
        let is_own = node.raft.read(|state| {
            let own = state.node_of(&credential.peer.to_string()).and_then(|id| state.node(id));
            own.is_some_and(|own| own.worker_id() == id || own.info.name == id)
        });
        // The same of others and of such as there are none: nobody learns here who there is.
        if !is_own {
            let detail = "a worker asks for itself alone";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "not_allowed", detail));
        }
    }
    let worker = document_of(&node, &id).await?;
    Ok(Json(HeartbeatDocument {
        heard: worker.uptime_seconds.is_some(),
        worker_id: worker.worker_id,
        status: worker.status,
        last_seen: worker.last_seen,
        heartbeat_interval: node.settings().heartbeat_ms.div_ceil(1_000).max(1),
    }))
}

/// Takes a worker out of the cluster for good.
pub(super) async fn revoke(
    State(node): State<Node>,
    asked: Option<Extension<AskedAs>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let name = node.raft.read(|state| {
        let found = state.nodes().find(|(_, record)| record.worker_id() == id || record.info.name == id);
        found.map(|(_, record)| record.info.name.clone())
    });
    let name = name.ok_or_else(|| unknown(&id))?;
    super::members::remove(State(node), asked, Path(name), axum::extract::RawQuery(None)).await
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "node_unknown", format!("there is no worker `{}`", id.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wait_for_a_token_at_once_and_fewer_from_one_address() {
        let waiting = Waiting::default();
        let mut held: Vec<_> = (0..WAITING_OF_ONE).map(|last| waiting.take(&format!("2001:db8::{last}"))).collect();
        assert!(held.iter().all(Option::is_some) && waiting.take("2001:db8::9").is_none(), "one network");
        held.extend((held.len()..WAITING_MAX).map(|last| waiting.take(&format!("192.0.2.{last}"))));
        assert!(held.iter().all(Option::is_some) && waiting.take("192.0.2.99").is_none());
        drop(held);
        assert!(waiting.take("192.0.2.99").is_some());
    }
}
