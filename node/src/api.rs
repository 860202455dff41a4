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
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
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

/// Who is let in: by a node's API as a whole, and by each of its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Bearers of a token whose digest is in the log.
    Token,
    /// Everybody. A node: the embedded one, and `auth: none` on loopback. A route: those of supervisors and collectors of
    /// metrics, which have no token.
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
    /// This node's work sessions as the leader.
    pub sessions: Arc<WorkSessions>,
    /// Where packets may go.
    pub scope: Arc<Scope>,
    /// How often a unit is tried.
    pub max_attempts: u32,
    /// Who is let in.
    pub access: Access,
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

/// A row of the table of routes.
struct Route {
    access: Access,
    method: Method,
    path: &'static str,
    /// Puts the handler behind the method.
    handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<Node>>,
}

impl Route {
    fn new<H: Handler<T, Node>, T: 'static>(access: Access, method: Method, path: &'static str, handler: H) -> Self {
        Self { access, method, path, handler: Box::new(|method| on(method, handler)) }
    }

    fn add_to(self, router: Router<Node>) -> Router<Node> {
        let method = MethodFilter::try_from(self.method).expect("the table has HTTP's own methods only");
        router.route(self.path, (self.handler)(method))
    }
}

/// Every route there is: the router is made of these rows, and of nothing else.
fn routes() -> Vec<Route> {
    use Access::{Open, Token};
    vec![
        Route::new(Token, Method::POST, "/api/v1/scans", scans::submit),
        Route::new(Token, Method::GET, "/api/v1/jobs", jobs::list),
        Route::new(Token, Method::GET, "/api/v1/jobs/{id}", jobs::one),
        Route::new(Token, Method::GET, "/api/v1/jobs/{id}/results", jobs::results),
        Route::new(Token, Method::GET, "/api/v1/jobs/{id}/events", jobs::events),
        Route::new(Token, Method::GET, "/api/v1/jobs/{id}/findings/{finding}/explain", findings::explain),
        Route::new(Token, Method::POST, "/api/v1/jobs/{id}/cancel", jobs::cancel),
        Route::new(Token, Method::GET, "/api/v1/workers", cluster::workers),
        Route::new(Token, Method::GET, "/api/v1/worker-tokens", tokens::list),
        Route::new(Token, Method::POST, "/api/v1/worker-tokens", tokens::create),
        Route::new(Token, Method::DELETE, "/api/v1/worker-tokens/{id}", tokens::revoke),
        Route::new(Token, Method::GET, "/api/v1/feeds", feeds::list),
        Route::new(Token, Method::PUT, "/api/v1/feeds/{kind}", feeds::put),
        Route::new(Token, Method::DELETE, "/api/v1/feeds/{kind}", feeds::remove),
        Route::new(Token, Method::GET, "/api/v1/cluster", cluster::cluster),
        Route::new(Token, Method::POST, "/api/v1/cluster/transfer-leadership", cluster::transfer),
        Route::new(Open, Method::GET, "/healthz", cluster::health),
        Route::new(Open, Method::GET, "/readyz", cluster::ready),
        Route::new(Open, Method::GET, "/metrics", metrics::metrics),
        Route::new(Open, Method::GET, "/version", cluster::version),
    ]
}

/// The API: `routes`, each behind what its access asks for.
pub fn router(served: Node) -> Router {
    let (mut guarded, mut open) = (Router::new(), Router::new());
    for route in routes() {
        match route.access {
            Access::Token => guarded = route.add_to(guarded),
            Access::Open => open = route.add_to(open),
        }
    }
    guarded
        .route_layer(from_fn_with_state(Arc::new(Semaphore::new(body::LARGE_AT_ONCE)), body::read))
        .route_layer(from_fn_with_state(Arc::clone(&served), wait_for_index))
        .route_layer(from_fn_with_state(Arc::clone(&served), auth::check))
        .merge(open)
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
