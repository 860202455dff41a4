//! `POST /scans`: takes a scan, or with `?plan=true` says what would become of it.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::Digest;
use pentora_raft::command::Author;
use serde::Deserialize;

use super::shapes::Shaped;
use super::texts::field_with_secret;
use super::{ApiError, Node};
use crate::document::{ScanAccepted, ScanRequest};
use crate::jobs::{self, RefusedRequest};
use crate::traces::Place;

/// The longest `Idempotency-Key`, in bytes: a UUID with room to spare.
const KEY_BYTES_MAX: usize = 256;

/// `?plan=true`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct How {
    plan: Option<bool>,
}

/// What a request is known by if it comes again, where it says so.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let key = headers.get("idempotency-key").map(|key| key.to_str()).transpose();
    let key = key.map_err(|_not_text| ApiError::bad_request("the Idempotency-Key is not printable ASCII"))?;
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        return Err(ApiError::bad_request("the Idempotency-Key has no or more than 256 characters"));
    }
    Ok(key)
}

/// Accepts a scan: 202 and where its job is. With `plan`, 200 and what it would become; nothing is sent or kept.
pub(super) async fn submit(
    State(node): State<Node>,
    Query(how): Query<How>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let began_ns = node.traces.begin();
    let mut request: ScanRequest = read_json(&body)?;
    if how.plan == Some(true) && request.carry {
        return Err(ApiError::bad_request(
            "what a carried job becomes is its worker's affair: leave plan or carry out",
        ));
    }
    if how.plan == Some(true) {
        return plan(&node, request, author).await;
    }
    if request.carry && node.raft.read(|state| state.limits_of(&author.who)).is_some() {
        let detail =
            "a token that is limited to networks or scopes orders nothing that is carried: its limits do not travel";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "scope_denied", detail));
    }
    let key = idempotency_key(&headers)?;
    if let Some(key) = key {
        // The same request under the same key is the same to the letter.
        let drawn = Digest::of(format!("seed:{key}").as_bytes());
        request.seed.get_or_insert(drawn.0.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)));
    }
    // Parsing a target file of a million lines takes long enough to hold up others on this thread.
    let raft = node.raft.clone();
    let (request, learned) = jobs::learn(request, &raft, &node.exchange).await?;
    let prepared = tokio::task::spawn_blocking(move || jobs::prepare(request, author, &raft)).await;
    let prepared =
        prepared.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))??;
    let prepared = prepared.with_note(learned);
    let own = node.raft.node();
    let tries = node.settings().max_attempts;
    let accepted = jobs::submit(prepared, key, &node.proposer, &node.exchange, own, tries).await?;
    let facts = || vec![("log_index", accepted.index.into()), ("targets", accepted.targets.into())];
    node.traces.tell(accepted.job, Place::Submit(own), began_ns, facts, None);
    let location = format!("/api/v1/jobs/{}", accepted.job);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(ScanAccepted::from(accepted))).into_response())
}

/// What a request would become.
async fn plan(node: &Node, request: ScanRequest, author: Author) -> Result<Response, ApiError> {
    let raft = node.raft.clone();
    let settings = node.settings();
    let (request, learned) = jobs::learn(request, &raft, &node.exchange).await?;
    let now_ms = raft.now_ms();
    let planning = move || {
        let prepared = jobs::prepare_for_any(request, author, &raft)?.with_note(learned);
        raft.read(|state| {
            prepared.is_unused(state)?;
            Ok::<_, RefusedRequest>(jobs::forecast(&prepared, state, &settings, now_ms))
        })
    };
    let planned = tokio::task::spawn_blocking(planning).await;
    let planned =
        planned.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))??;
    Ok(Json(planned).into_response())
}

/// The most that stands between commas, and in brackets, in a request's JSON. Ours: a list of half a million targets; more come as text
/// (`target_text`), which is read as it stands.
const ITEMS_MAX: usize = 1 << 19;

/// Reads a JSON body, none of whose texts may have a secret of ours in it: what is asked for, and why, is read by everybody who may
/// look. The error names line and column.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if has_too_many(body) {
        let detail = format!(
            "the request's JSON has more than {ITEMS_MAX} values; targets come as text in target_text, which may be longer"
        );
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let malformed = |error: serde_json::Error| ApiError::bad_request(format!("the request's JSON: {error}"));
    if let Some(field) = field_with_secret(body).map_err(malformed)? {
        let detail =
            format!("{field} has the secret of a token in it, which others would read: is it meant for --token-file?");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = T::deserialize(Shaped(&mut reader)).and_then(|read| reader.end().map(|()| read));
    read.map_err(malformed)
}

/// Whether a body has more values than may be. Looked at before anything is made of it: a value in memory is many times what `"",` is.
fn has_too_many(body: &[u8]) -> bool {
    if body.len() <= ITEMS_MAX {
        return false;
    }
    let (mut items, mut in_text, mut is_escaped) = (0, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b',' | b'[' | b'{') => items += 1,
            _ => {}
        }
    }
    items > ITEMS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_and_ends_with_it() {
        let read =
            |body: &str| read_json::<ScanRequest>(body.as_bytes()).map_err(|error| error.into_response().status());
        read(r#"{"targets":["10.77.0.1"]}"#).unwrap();
        for body in [r#"[["10.77.0.1"],null,[],null,null,"1"]"#, r#"{"targets":["10.77.0.1"]}{}"#, "null", "1", ""] {
            assert_eq!(read(body).unwrap_err(), StatusCode::BAD_REQUEST, "{body}");
        }
    }

    #[test]
    fn a_body_of_more_values_than_may_be_is_refused_before_one_of_them_is_made_and_a_long_text_is_not() {
        let read =
            |body: &str| read_json::<ScanRequest>(body.as_bytes()).map_err(|error| error.into_response().status());
        let list = |count: usize| format!(r#"{{"targets":[{}""]}}"#, "\"\",".repeat(count));
        assert_eq!(read(&list(ITEMS_MAX)).unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(&list(ITEMS_MAX / 2)).unwrap().targets.len(), ITEMS_MAX / 2 + 1);
        let nested = format!(r#"{{"targets":{}"#, "[".repeat(ITEMS_MAX + 1));
        assert_eq!(read(&nested).unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
        let text = "10.0.0.1,\\\"[{,".repeat(ITEMS_MAX / 2);
        let long = format!(r#"{{"target_text":"{text}"}}"#);
        assert_eq!(read(&long).unwrap().target_text.map(|text| text.len()), Some((ITEMS_MAX / 2) * 13));
        assert_eq!(read(&"[".repeat(100)).unwrap_err(), StatusCode::BAD_REQUEST, "as before");
    }
}
