//! The HTTP API of every node. It holds no decision of its own: it checks who asks, translates, and calls a room.

mod access;
mod airgap;
mod audit;
mod auth;
mod body;
mod browser;
mod capacity;
mod cluster;
mod cluster_time;
mod departure;
mod drain;
mod drill;
mod feeds;
mod findings;
mod forward;
mod freshness;
mod job_control;
mod jobs;
mod keeps;
mod knowledge;
mod limits;
mod listen;
mod listeners;
mod members;
mod metrics;
mod object;
mod openapi;
mod paging;
mod places;
mod problem;
mod register;
mod residency;
mod routes;
mod rules;
mod scans;
mod schedules;
mod sessions;
mod settings;
mod shapes;
mod shares;
mod strangers;
mod stream;
mod texts;
mod tokens;
mod waiting;
mod whose;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use pentora_p2p::{Identity, Mesh, PreSharedKey};
use pentora_raft::command::{AccessRole, Command};
use pentora_raft::state::Settings;
use pentora_raft::{Applied, ClusterId, JobId, Raft};
use tokio_util::task::TaskTracker;

pub use airgap::Spool;
pub use auth::{CameFrom, HandedOnBy};
pub use departure::Departure;
use freshness::MIN_INDEX_WITHIN;
pub use listen::{Bounds, HangUp, serve, serve_meanwhile};
pub use problem::ApiError;
pub use waiting::waiting;

use crate::coordinator::{HAND_IN, WorkSessions, hand_in, soft_state};
use crate::drill::Faults;
use crate::feeds::FeedStore;
use crate::join::Rivals;
use crate::meters::{Meters, RequestKind};
use crate::results::Exchange;
use crate::rpc::SoftState;
use crate::rpc::calls::{Answer, Request as Ask};
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::sign_in::SignIn;
use crate::tls::Fingerprint;
use crate::traces::Traces;
use crate::trail::Trail;

/// How long another node's soft state is waited for; documents do without it after that.
const SOFT_WITHIN: Duration = Duration::from_millis(300);

/// Who is let in: by a node's API as a whole, and by each of its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Bearers of a token whose digest is in the log. Of a node alone.
    Token,
    /// Those of them whose role goes so far. Of a route alone.
    As(AccessRole),
    /// Administrators, and workers that show a credential of their join token. Of a route alone.
    Worker,
    /// Everybody. A node: the embedded one, and `auth: none` on loopback. A route: those of supervisors and collectors of
    /// metrics, which have no token.
    Open,
}

impl From<AccessRole> for Access {
    fn from(role: AccessRole) -> Self {
        Self::As(role)
    }
}

/// What the API serves from.
#[derive(Debug, Clone)]
pub struct Served {
    /// This node's name.
    pub name: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The mesh's key, for join tokens; `None` for an embedded node.
    pub psk: Option<PreSharedKey>,
    /// The names under which browsers ask this node; `None` for any.
    pub hosts: Option<Vec<String>>,
    /// Consensus.
    pub raft: Raft,
    /// What is heard of the others; `None` for an embedded node.
    pub mesh: Option<Mesh>,
    /// The way into the log.
    pub proposer: Proposer,
    /// Chunks.
    pub exchange: Exchange,
    /// This node's work sessions as the leader.
    pub sessions: Arc<WorkSessions>,
    /// What holds for the work of all nodes where the log does not say.
    pub settings: Settings,
    /// Who is let in.
    pub access: Access,
    /// Requests a minute that are taken with one token.
    pub token_rate: u32,
    /// When the node started.
    pub started: Instant,
    /// Report tasks, so that stopping can wait for them.
    pub tasks: TaskTracker,
    /// What services are matched with.
    pub feeds: Option<FeedStore>,
    /// Signs feeds that are taken in; `None` for an embedded node, which takes none in.
    pub signer: Option<Identity>,
    /// This node's way out of its cluster.
    pub departure: Departure,
    /// The other clusters of this one's name that were met.
    pub rivals: Rivals,
    /// Whether a worker registers with its join token alone.
    pub auto_register: bool,
    /// Who is let in by a provider of identities.
    pub sign_in: SignIn,
    /// The way into the audit log; `None` for an embedded node, which keeps none.
    pub trail: Option<Trail>,
    /// Where bundles that come in and go out lie meanwhile; `None` for an embedded node, which has none.
    pub spool: Option<Spool>,
    /// What this node suffers for a drill; `None` for an embedded node.
    pub faults: Option<Faults>,
    /// What this process counts of itself.
    pub meters: Meters,
    /// Where this node's part of each job's way is told.
    pub traces: Traces,
}

type Node = Arc<Served>;

/// The API: `routes`, each behind what its access asks for.
pub fn router(served: Node) -> Router {
    let (mut guarded, mut streamed) = (Router::new(), Router::new());
    let (mut of_workers, mut open) = (Router::new(), Router::new());
    let (handed_on, streams) = (forward::places(), forward::streams());
    let (routes, silent) = (routes::routes(), forward::Silent::default());
    let gateway = forward::Gateway {
        node: Arc::clone(&served),
        places: handed_on.clone(),
        streams: streams.clone(),
        silent: silent.clone(),
        body_max: 0,
    };
    let gate = Arc::new(auth::Gate::new(gateway, &routes));
    let bodies = Arc::new(body::Bodies::of(&routes));
    let freshness = freshness::Freshness::of(Arc::clone(&served));
    for route in routes.into_iter().map(|route| route.handed_on(&served, (&handed_on, &streams, &silent))) {
        match (route.access, route.streams) {
            (Access::As(_) | Access::Token, false) => guarded = route.add_to(guarded),
            (Access::As(_) | Access::Token, true) => streamed = route.add_to(streamed),
            (Access::Worker, _) => of_workers = route.add_to(of_workers),
            (Access::Open, _) => open = route.add_to(open),
        }
    }
    guarded
        .route_layer(from_fn_with_state(bodies, body::read))
        .merge(streamed)
        .route_layer(from_fn_with_state(freshness.clone(), freshness::wait))
        .route_layer(from_fn_with_state(Arc::clone(&gate), auth::check))
        .merge(
            of_workers
                .route_layer(from_fn_with_state(freshness, freshness::wait))
                .route_layer(from_fn_with_state(Arc::clone(&gate), auth::check_worker)),
        )
        .merge(open.route_layer(from_fn_with_state(gate, strangers::let_by)))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(Extension(stream::listeners()))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(from_fn_with_state(Arc::clone(&served), browser::keep_out))
        .layer(from_fn_with_state(Arc::clone(&served), stamp))
        .with_state(served)
}

/// Every answer says which node gave it and how far that node is, and every error is a problem document. How long it took
/// until it began is counted.
async fn stamp(State(node): State<Node>, request: Request, next: Next) -> Response {
    let (began, kind) = (Instant::now(), kind_of(&request));
    let mut response = problem::of_rejection(next.run(request).await).await;
    node.meters.answered(kind, response.status().as_u16(), began.elapsed());
    let applied = *node.raft.watch_applied().borrow();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("pentora-index"), HeaderValue::from(applied));
    if let Ok(name) = HeaderValue::from_str(&node.name) {
        headers.insert(HeaderName::from_static("pentora-node"), name);
    }
    response
}

/// What a request is counted under: nothing that whoever asks can make up.
fn kind_of(request: &Request) -> RequestKind {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    RequestKind { method, route: route.to_owned() }
}

impl Served {
    /// What holds for the work of all nodes.
    pub fn settings(&self) -> Settings {
        self.raft.read(|state| state.settings().cloned()).unwrap_or_else(|| self.settings.clone())
    }

    /// What the authority is known by that signs the certificates of the cluster's APIs.
    fn authority(&self) -> Option<Fingerprint> {
        self.raft.read(|state| state.authority().map(|authority| Fingerprint::of(&authority.certificate)))
    }

    /// Puts an order into the log that stops a job, once workers have handed in what is settled of it.
    async fn stop_job(&self, job: JobId, order: Command) -> Result<Applied, Unavailable> {
        self.hand_in(job).await;
        self.proposer.propose(order).await
    }

    /// Has workers hand in what is settled of a job that is to stop, as far as that is soon done.
    async fn hand_in(&self, job: JobId) {
        match self.raft.status().leader {
            Some(leader) if leader != self.raft.node() => {
                let Ok((calls, peer)) = self.proposer.reach(leader) else { return };
                let leads_no_more = async {
                    while self.raft.status().leader == Some(leader) {
                        self.raft.status_changed(SOFT_WITHIN).await;
                    }
                };
                let ask = Ask::EndUnits(job);
                // In vain where it does not answer: then the order does not come to it either, or stops the job without that.
                tokio::select! {
                    _ = calls.ask(peer, &ask, HAND_IN + SOFT_WITHIN) => {}
                    () = leads_no_more => {}
                }
            }
            _ => hand_in(&self.raft, &self.sessions, job).await,
        }
    }

    /// What the leader knows, asked of it where another node leads; empty where it does not answer soon.
    async fn soft(&self) -> SoftState {
        let leader = self.raft.status().leader;
        match leader {
            Some(leader) if leader != self.raft.node() => {
                if freshness::is_stale() {
                    return SoftState::default();
                }
                let Ok((calls, peer)) = self.proposer.reach(leader) else { return SoftState::default() };
                match calls.ask(peer, &Ask::Soft, SOFT_WITHIN).await {
                    Ok(Answer::Soft(soft)) => soft,
                    _ => SoftState::default(),
                }
            }
            _ => {
                let soft = soft_state(&self.raft, &self.sessions);
                SoftState { results_short: self.exchange.short(), ..soft }
            }
        }
    }
}

#[cfg(test)]
#[path = "api/audit_test.rs"]
mod audit_tests;
#[cfg(test)]
#[path = "api/client_test.rs"]
mod client_tests;
#[cfg(test)]
#[path = "api/cluster_test.rs"]
mod cluster_tests;
#[cfg(test)]
#[path = "api/conforms_test.rs"]
mod conforms;
#[cfg(test)]
#[path = "api/doors_test.rs"]
mod doors_tests;
#[cfg(test)]
#[path = "api/routes_test.rs"]
mod routes_tests;
#[cfg(test)]
#[path = "api/scans_test.rs"]
mod scans_tests;
#[cfg(test)]
#[path = "api/sessions_test.rs"]
mod sessions_tests;
#[cfg(test)]
#[path = "api/stream_test.rs"]
mod stream_tests;
#[cfg(test)]
#[path = "api/api_test.rs"]
mod tests;
#[cfg(test)]
#[path = "api/tls_test.rs"]
mod tls_tests;
#[cfg(test)]
#[path = "api/tokens_test.rs"]
mod tokens_tests;
