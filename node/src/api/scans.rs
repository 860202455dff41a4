//! `POST /scans`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{ApiError, Node};
use crate::document::{ScanAccepted, ScanRequest};
use crate::jobs;

/// The longest `Idempotency-Key`, in bytes: a UUID with room to spare.
const KEY_BYTES_MAX: usize = 256;

/// Accepts a scan: 202 and where its job is.
pub(super) async fn submit(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let request: ScanRequest = read_json(&body)?;
    let key = headers.get("idempotency-key").map(|key| key.to_str()).transpose();
    let key = key.map_err(|_not_text| ApiError::bad_request("the Idempotency-Key is not printable ASCII"))?;
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        return Err(ApiError::bad_request("the Idempotency-Key has no or more than 256 characters"));
    }
    // Parsing a target file of a million lines takes long enough to hold up others on this thread.
    let (scope, raft) = (Arc::clone(&node.scope), node.raft.clone());
    let prepared = tokio::task::spawn_blocking(move || jobs::prepare(request, &scope, &raft)).await;
    let prepared =
        prepared.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))??;
    let own = node.raft.node();
    let accepted = jobs::submit(prepared, key, &node.proposer, &node.exchange, own, node.max_attempts).await?;
    let location = format!("/api/v1/jobs/{}", accepted.job);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(ScanAccepted::from(accepted))).into_response())
}

/// Reads a JSON body; the error names line and column.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the request's JSON: {error}")))
}
