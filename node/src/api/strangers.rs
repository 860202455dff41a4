//! Whoever asks for what needs no token: supervisors, collectors of metrics, and anybody on the network. Each address has a rate, and
//! what costs most is made once.

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pentora_raft::Digest;

use super::auth::Gate;
use super::{ApiError, openapi};

/// Lets a request by that needs no token: whoever shows one that is known is known to what answers, and anybody else comes as often as
/// an address may.
pub(super) async fn let_by(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    if let Some(author) = gate.known(&request) {
        request.extensions_mut().insert(author);
        return next.run(request).await;
    }
    match gate.may_ask(&request) {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            let detail = "too many requests without a token came from this address";
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds);
            let mut response = error.into_response();
            // What was sent ahead on this connection is not answered one by one.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// The API's description of itself. It is the same for as long as the process lives, so it is made once, and whoever has it is told that.
pub(super) async fn describe(headers: HeaderMap) -> Response {
    static MADE: OnceLock<(Bytes, HeaderValue)> = OnceLock::new();
    let (text, tag) = MADE.get_or_init(|| {
        let text = serde_json::to_vec(&openapi::document()).expect("what the program is made of is JSON");
        let tag = format!("\"{}\"", Digest::of(&text));
        (text.into(), HeaderValue::try_from(tag).expect("a digest is hexadecimal"))
    });
    // RFC 9110 section 13.1.2.
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    if known.any(|one| one == "*" || one.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response();
    }
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind), (header::ETAG, tag.clone())], Body::from(text.clone())).into_response()
}
