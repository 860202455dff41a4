//! Who is let in: bearers of a token whose digest is in the log.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pentora_raft::Digest;

use super::{Access, ApiError, Node};

/// Lets a request through or answers 401.
pub(super) async fn check(State(node): State<Node>, request: Request, next: Next) -> Response {
    if node.access == Access::Open || bearer(&request).is_some_and(|token| known(&node, token)) {
        return next.run(request).await;
    }
    if node.raft.read(|state| state.cluster().id.is_none()) {
        // It has just joined or starts: no token is known yet, so none may be called wrong.
        let detail = "this node has not caught up with its cluster yet, and knows no token before it has";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail).retry_after(1).into_response();
    }
    let detail = "a valid bearer token is needed; the first one is in admin.token in the data directory of the node \
                  that began the cluster";
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Only digests are compared, so the time it takes tells nothing about a token.
fn known(node: &Node, token: &str) -> bool {
    let digest = Digest::of(token.as_bytes());
    node.raft.read(|state| state.is_admin_token(&digest))
}
