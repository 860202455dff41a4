//! `/feeds`: taking a bundle in, listing feeds, taking one away.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pentora_raft::Digest;
use pentora_raft::command::{Command, StoredChunk};
use pentora_raft::state::FeedRecord;

use super::paging::Paging;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{FeedDocument, Page};
use crate::feeds::{FeedKind, bundle, signed_words};

/// How long a bundle may take to be on the disks of two nodes: 64 MiB over a slow line, and below the silence after which
/// a client gives up.
const BUNDLE_KEPT_WITHIN: Duration = Duration::from_secs(25);
/// The longest description of a source that is kept, in bytes.
const SOURCE_BYTES_MAX: usize = 256;

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<FeedDocument>>, ApiError> {
    let feeds = documents(&node).into_iter().map(|feed| (feed.kind.clone(), feed));
    paging.part("feeds", feeds, |feed| feed).map(Json)
}

pub(super) async fn put(State(node): State<Node>, Path(kind): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let kind: FeedKind = kind.parse().map_err(ApiError::bad_request)?;
    let Some(signer) = &node.signer else {
        let detail = "this node keeps no feeds of a cluster";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", detail));
    };
    // Without a leader it would be copied for nothing, and for long: the holders may be what is missing.
    node.proposer.leader().await?;
    let checked = body.clone();
    let heading = tokio::task::spawn_blocking(move || bundle::read(&checked, |_, _| Ok(()))).await;
    let heading = heading.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let heading = heading.map_err(|error| ApiError::bad_request(error.to_string()))?;
    if heading.kind != kind.as_str() {
        return Err(ApiError::bad_request(format!("the bundle is a feed of kind {}, not {kind}", heading.kind)));
    }
    let kept = tokio::time::timeout(BUNDLE_KEPT_WITHIN, node.exchange.make_durable(body)).await;
    let Ok(StoredChunk { digest, bytes, holders }) = kept else {
        let detail = format!("the bundle was not on two nodes' disks within {BUNDLE_KEPT_WITHIN:?}");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", detail));
    };
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
    let command = Command::SetFeed { kind: kind.to_string(), record: Box::new(record) };
    let applied = node.proposer.propose(command).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    let document = documents(&node).into_iter().find(|feed| feed.kind == kind.as_str());
    let gone = || ApiError::new(StatusCode::CONFLICT, "feed_gone", format!("the feed {kind} was removed meanwhile"));
    let document = document.ok_or_else(gone)?;
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
