//! `/feeds`: taking a bundle in, listing feeds, taking one away.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pentora_raft::Digest;
use pentora_raft::command::{Command, StoredChunk};
use pentora_raft::state::FeedRecord;

use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{FeedDocument, Page};
use crate::feeds::{FeedKind, bundle, signed_words};

/// The longest description of a source that is kept, in bytes.
const SOURCE_BYTES_MAX: usize = 256;

pub(super) async fn list(State(node): State<Node>) -> Json<Page<FeedDocument>> {
    Json(Page::whole(documents(&node)))
}

pub(super) async fn put(State(node): State<Node>, Path(kind): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let kind: FeedKind = kind.parse().map_err(ApiError::bad_request)?;
    let Some(signer) = &node.signer else {
        let detail = "this node keeps no feeds of a cluster";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", detail));
    };
    let checked = body.clone();
    let heading = tokio::task::spawn_blocking(move || bundle::read(&checked, |_, _| Ok(()))).await;
    let heading = heading.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let heading = heading.map_err(|error| ApiError::bad_request(error.to_string()))?;
    if heading.kind != kind.as_str() {
        return Err(ApiError::bad_request(format!("the bundle is a feed of kind {}, not {kind}", heading.kind)));
    }
    let StoredChunk { digest, bytes, holders } = node.exchange.make_durable(body).await;
    let words = signed_words(kind.as_str(), &digest, bytes, heading.records);
    let record = FeedRecord {
        digest,
        bytes,
        records: heading.records,
        source: heading.source.chars().take(SOURCE_BYTES_MAX / 4).collect(),
        holders,
        signer: signer.peer_id().to_string(),
        signature: signer.sign(&words),
        imported_at_ms: 0,
    };
    node.proposer.propose(Command::SetFeed { kind: kind.to_string(), record: Box::new(record) }).await?;
    let document = documents(&node).into_iter().find(|feed| feed.kind == kind.as_str());
    Ok((StatusCode::CREATED, Json(document)).into_response())
}

pub(super) async fn remove(State(node): State<Node>, Path(kind): Path<String>) -> Result<StatusCode, ApiError> {
    let kind: FeedKind = kind.parse().map_err(ApiError::bad_request)?;
    node.proposer.propose(Command::RemoveFeed { kind: kind.to_string() }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn documents(node: &Node) -> Vec<FeedDocument> {
    let in_use = |kind: &str, digest: &Digest| {
        let current = node.feeds.as_ref().zip(kind.parse().ok()).map(|(feeds, kind)| feeds.current(kind));
        matches!(current, Some(Ok(Some(current))) if current.digest == *digest)
    };
    node.raft.read(|state| {
        let document = |(kind, feed): (&str, &FeedRecord)| FeedDocument {
            kind: kind.to_owned(),
            source: feed.source.clone(),
            records: feed.records,
            bytes: feed.bytes,
            digest: feed.digest.to_string(),
            imported_at: rfc3339(feed.imported_at_ms),
            signer: state
                .nodes()
                .find(|(_, record)| record.info.peer == feed.signer)
                .map_or_else(|| feed.signer.clone(), |(_, record)| record.info.name.clone()),
            in_use: in_use(kind, &feed.digest),
        };
        state.feeds().map(document).collect()
    })
}
