//! Reads request bodies, within a size, a time and a number at once, before their handlers run.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::ApiError;

/// The largest request body, in bytes: a target file with a few million lines.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;
/// Bodies from this size count against [`LARGE_AT_ONCE`], in bytes. Ours: everything but target files is far smaller.
const LARGE_BYTES: usize = 1 << 20;
/// Large bodies that are read and worked on at once, which bounds their memory.
pub(super) const LARGE_AT_ONCE: usize = 2;
/// How long a body may take. Ours: 64 MiB at 1 MiB/s.
const BODY_WITHIN: Duration = Duration::from_secs(64);

/// Reads the body and hands it on whole, or answers why not.
pub(super) async fn read(State(large): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // A body without a length may be of any size; a request without a body has length 0 or says nothing of one.
    let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return too_large().into_response();
    }
    let place = if chunked || length.is_some_and(|length| length >= LARGE_BYTES) {
        match tokio::time::timeout(BODY_WITHIN, Arc::clone(&large).acquire_owned()).await {
            Ok(place) => place.ok(),
            Err(_elapsed) => {
                let detail = "too many large requests are being worked on";
                let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
                return error.retry_after(1).into_response();
            }
        }
    } else {
        None
    };
    let answer = match tokio::time::timeout(BODY_WITHIN, collect(body)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(error)) => error.into_response(),
        Err(_elapsed) => {
            let detail = format!("the request's body did not come within {} s", BODY_WITHIN.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail).into_response()
        }
    };
    drop(place);
    answer
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let mut pieces = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ApiError::bad_request(format!("the request's body broke off: {error}")))?;
        if whole.len() + piece.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

fn too_large() -> ApiError {
    let detail = format!("the request's body is larger than {BODY_BYTES_MAX} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}
