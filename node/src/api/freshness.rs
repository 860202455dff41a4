//! How fresh an answer is to be: `?min_index=N` for read-your-writes on any node, `?consistency=` for the rest.
//!
//! `default` answers from what this node has applied, with what the leader knows of work that is out. `stale` does without
//! the leader's word, so nothing is waited for. `linearizable` asks the leader what is committed, which asks a majority
//! whether it still leads, and waits until this node has applied that: what was acknowledged before the request, through
//! whatever node, is in the answer.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{ApiError, Node};

/// How long a read waits for the index that the caller names.
pub(super) const MIN_INDEX_WITHIN: Duration = Duration::from_secs(5);

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
pub(super) async fn wait(State(node): State<Node>, request: Request, next: Next) -> Response {
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
        if let Err(behind) = applied_here(&node, index).await {
            return behind.into_response();
        }
    }
    let stale = match value("consistency").map(|(_, word)| word) {
        None | Some("default") => false,
        Some("stale") => true,
        Some("linearizable") => {
            let waited = async { applied_here(&node, node.proposer.read_index().await?).await };
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
