//! How fresh an answer is to be: `?min_index=N` for read-your-writes on any node, `?consistency=` for the rest.
//!
//! `default` answers from what this node has applied, with what the leader knows of work that is out. `stale` does without
//! the leader's word, so nothing is waited for. `linearizable` asks the leader what is committed, which asks a majority
//! whether it still leads, and waits until this node has applied that: what was acknowledged before the request, through
//! whatever node, is in the answer.

use std::time::Duration;

use super::listeners::Listeners;
use super::whose::Whose;
use super::{ApiError, Node};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// How long a read waits for the index that the caller names.
pub(super) const MIN_INDEX_WITHIN: Duration = Duration::from_secs(5);
/// Reads that wait so at once. Ours: half of the API's connections.
const WAITING_MAX: usize = 256;
/// Of these, whoever shows one token: a part of its share of the connections, so that who waits for what never comes can still ask.
const WAITING_OF_ONE: usize = 64;

/// What reads wait by.
#[derive(Debug, Clone)]
pub(super) struct Freshness {
    node: Node,
    /// Places for those that wait.
    waiting: Listeners,
}

impl Freshness {
    pub(super) fn of(node: Node) -> Self {
        Self { node, waiting: Listeners::new(WAITING_MAX, WAITING_OF_ONE) }
    }

    /// Waits until what has this index is applied here.
    async fn reach(&self, index: u64, whose: &Whose) -> Result<(), ApiError> {
        if *self.node.raft.watch_applied().borrow() >= index {
            return Ok(());
        }
        let told = |most, whose: &str| format!("{most} requests{whose} wait on this node for an index already");
        let _place = self.waiting.take(whose).map_err(|full| full.busy(told).retry_after(1))?;
        applied_here(&self.node, index).await
    }
}

/// The words of `?consistency=`.
pub(super) const CONSISTENCY: [&str; 3] = ["default", "stale", "linearizable"];

tokio::task_local! {
    /// Whether the request that is being answered does without the leader's word.
    static STALE: bool;
}

/// Whether the request that is being answered does without the leader's word.
pub(super) fn is_stale() -> bool {
    STALE.try_with(|stale| *stale).unwrap_or(false)
}

/// Whether a request with this query does without the leader's word.
pub(super) fn asks_stale(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("consistency=")) == Some("stale")
}

/// Answers once this node knows as much as the caller asks for.
pub(super) async fn wait(State(freshness): State<Freshness>, request: Request, next: Next) -> Response {
    let node = &freshness.node;
    // A gateway reads that itself.
    if node.raft.is_outside() {
        return next.run(request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let value = |name| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    if let Some((_, wanted)) = value("min_index") {
        let Ok(index) = wanted.parse() else {
            return ApiError::bad_request("min_index is not a number").into_response();
        };
        if let Err(behind) = freshness.reach(index, &Whose::beside(request.extensions())).await {
            return behind.into_response();
        }
    }
    let stale = match value("consistency").map(|(_, word)| word) {
        None | Some("default") => false,
        Some("stale") => true,
        Some("linearizable") => {
            let waited = async { applied_here(node, node.proposer.read_index().await?).await };
            if let Err(error) = waited.await {
                return error.into_response();
            }
            false
        }
        Some(_) => {
            let detail = format!("consistency is one of {}", CONSISTENCY.join(", "));
            return ApiError::bad_request(detail).into_response();
        }
    };
    STALE.scope(stale, next.run(request)).await
}

/// Waits until this node has applied the log up to an index.
///
/// # Errors
/// It has not within [`MIN_INDEX_WITHIN`].
pub(super) async fn applied_here(node: &Node, index: u64) -> Result<(), ApiError> {
    if node.raft.wait_applied(index, MIN_INDEX_WITHIN).await {
        return Ok(());
    }
    let applied = *node.raft.watch_applied().borrow();
    let detail = format!("this node has applied {applied}, not yet {index}");
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "behind", detail).retry_after(1))
}
