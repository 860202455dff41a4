//! `/audit`: what was asked of the API, and an export that can be verified without a node.

use super::paging::{Paging, rising};
use super::{ApiError, Node};
use crate::document::{AuditDocument, AuditLine, Page, end_statement};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<AuditDocument>>, ApiError> {
    let after = paging.after_number("audit")?;
    node.raft.read(|state| {
        let entries = state.audit(after).map(|(number, record)| (rising(number), (number, record)));
        paging.part("audit", entries, |(number, record)| AuditDocument::of(number, record)).map(Json)
    })
}

/// Every entry that is kept, with the ends of the chain, signed by this node.
pub(super) async fn export(State(node): State<Node>) -> Result<Response, ApiError> {
    let Some(signer) = node.signer.clone() else {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node keeps no audit log"));
    };
    let cluster = node.cluster.to_string();
    let raft = node.raft.clone();
    let written = tokio::task::spawn_blocking(move || {
        let (ends, entries) = raft.read(|state| {
            let entries: Vec<_> = state.audit(0).map(|(number, record)| (number, record.clone())).collect();
            (state.audit_ends(), entries)
        });
        let statement = end_statement(&cluster, ends.gone, &ends.gone_digest, ends.last, &ends.digest);
        let begin = AuditLine::Begin { cluster, gone: ends.gone, gone_digest: hex::encode(ends.gone_digest.0) };
        let end = AuditLine::End {
            last: ends.last,
            digest: hex::encode(ends.digest.0),
            signer: signer.peer_id().to_string(),
            signature: hex::encode(signer.sign(&statement)),
        };
        let entries = entries.iter().map(|(number, record)| AuditLine::Entry(AuditDocument::of(*number, record)));
        let mut text = String::new();
        for line in std::iter::once(begin).chain(entries).chain([end]) {
            text.push_str(&serde_json::to_string(&line).expect("a document has only strings and numbers"));
            text.push('\n');
        }
        text
    });
    let text = written
        .await
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response())
}
