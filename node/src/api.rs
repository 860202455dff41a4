//! The HTTP API of every node. It holds no decision of its own: it checks who asks, translates, and calls a room.

mod auth;
mod body;
mod cluster;
mod feeds;
mod findings;
mod jobs;
mod listen;
mod metrics;
mod problem;
mod scans;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use pentora_p2p::{Identity, PreSharedKey};
use pentora_raft::{ClusterId, Raft};
use pentora_scanner::scope::Scope;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use listen::{Bounds, serve};
pub use problem::ApiError;

use crate::coordinator::{WorkSessions, soft_state};
use crate::feeds::FeedStore;
use crate::results::Exchange;
use crate::rpc::SoftState;
use crate::rpc::calls::{Answer, Request as Ask};
use crate::rpc::proposer::Proposer;

/// How long a read waits for the index that the caller names.
const MIN_INDEX_WITHIN: Duration = Duration::from_secs(5);
/// How long another node's soft state is waited for; documents do without it after that.
const SOFT_WITHIN: Duration = Duration::from_millis(300);

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Bearers of a token whose digest is in the log.
    Token,
    /// Everybody: the embedded node, and `auth: none` on loopback.
    Open,
}

/// What the API serves from.
#[derive(Debug)]
pub struct Served {
    /// This node's name.
    pub name: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The mesh's key, for join tokens; `None` for an embedded node.
    pub psk: Option<PreSharedKey>,
    /// Consensus.
    pub raft: Raft,
    /// The way into the log.
    pub proposer: Proposer,
    /// Chunks.
    pub exchange: Exchange,
    /// This node's sessions as the leader.
    pub sessions: Arc<WorkSessions>,
    /// Where packets may go.
    pub scope: Arc<Scope>,
    /// How often a unit is tried.
    pub max_attempts: u32,
    /// Who is let in.
    pub gate: Gate,
    /// When the node started.
    pub started: Instant,
    /// Report tasks, so that stopping can wait for them.
    pub tasks: TaskTracker,
    /// What services are matched with.
    pub feeds: Option<FeedStore>,
    /// Signs feeds that are taken in; `None` for an embedded node, which takes none in.
    pub signer: Option<Identity>,
}

type Node = Arc<Served>;

/// All routes.
pub fn router(served: Node) -> Router {
    let api = Router::new()
        .route("/scans", post(scans::submit))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{id}", get(jobs::one))
        .route("/jobs/{id}/results", get(jobs::results))
        .route("/jobs/{id}/events", get(jobs::events))
        .route("/jobs/{id}/findings/{finding}/explain", get(findings::explain))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/workers", get(cluster::workers))
        .route("/worker-tokens", get(tokens::list).post(tokens::create))
        .route("/worker-tokens/{id}", delete(tokens::revoke))
        .route("/feeds", get(feeds::list))
        .route("/feeds/{kind}", put(feeds::put).delete(feeds::remove))
        .route("/cluster", get(cluster::cluster))
        .route("/cluster/transfer-leadership", post(cluster::transfer))
        .route_layer(from_fn_with_state(Arc::new(Semaphore::new(body::LARGE_AT_ONCE)), body::read))
        .route_layer(from_fn_with_state(Arc::clone(&served), wait_for_index))
        .route_layer(from_fn_with_state(Arc::clone(&served), auth::check));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(cluster::health))
        .route("/readyz", get(cluster::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/version", get(cluster::version))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(from_fn_with_state(Arc::clone(&served), stamp))
        .with_state(served)
}

/// `?min_index=N`: answers only once everything up to `N` is applied here, for read-your-writes on any node.
async fn wait_for_index(State(node): State<Node>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("min_index="));
    if let Some(wanted) = wanted {
        let Ok(index) = wanted.parse::<u64>() else {
            return ApiError::bad_request("min_index is not a number").into_response();
        };
        if !node.raft.wait_applied(index, MIN_INDEX_WITHIN).await {
            let applied = *node.raft.watch_applied().borrow();
            let detail = format!("this node has applied {applied}, not yet {index}");
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "behind", detail).retry_after(1).into_response();
        }
    }
    next.run(request).await
}

/// Every answer says which node gave it and how far that node is, and every error is a problem document.
async fn stamp(State(node): State<Node>, request: Request, next: Next) -> Response {
    let mut response = problem::of_rejection(next.run(request).await).await;
    let applied = *node.raft.watch_applied().borrow();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("pentora-index"), HeaderValue::from(applied));
    if let Ok(name) = HeaderValue::from_str(&node.name) {
        headers.insert(HeaderName::from_static("pentora-node"), name);
    }
    response
}

impl Served {
    /// What the leader knows, asked of it where another node leads; empty where it does not answer soon.
    async fn soft(&self) -> SoftState {
        let leader = self.raft.status().leader;
        match leader {
            Some(leader) if leader != self.raft.node() => {
                let Ok((calls, peer)) = self.proposer.reach(leader) else { return SoftState::default() };
                match calls.ask(peer, &Ask::Soft, SOFT_WITHIN).await {
                    Ok(Answer::Soft(soft)) => soft,
                    _ => SoftState::default(),
                }
            }
            _ => soft_state(&self.raft, &self.sessions),
        }
    }
}

#[cfg(test)]
#[path = "api/api_test.rs"]
mod tests;
