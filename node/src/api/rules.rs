//! Rules of the cluster's policy: listed, shown, written and removed, each kind in the same way.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::Refusal;
use pentora_raft::command::{Author, Command};

use super::paging::{Paging, rising};
use super::{ApiError, Node};
use crate::document::{Noun, Page, RuleDocument};

pub(super) async fn list<N: Noun>(
    State(node): State<Node>,
    paging: Paging,
) -> Result<Json<Page<RuleDocument<N::Words>>>, ApiError> {
    let written = node.raft.read(|state| {
        let rules = state.rules(N::KIND).filter_map(|(name, record)| RuleDocument::of::<N>(name, record));
        rules.collect::<Vec<_>>()
    });
    // In the order in which they are told, those that are built in first.
    let built_in =
        (0u64..).zip(RuleDocument::built_in::<N>()).map(|(number, rule)| (format!("0{}", rising(number)), rule));
    let written = written.into_iter().map(|rule| (format!("1{}", rule.name), rule));
    paging.part(N::PATH, built_in.chain(written), |rule| rule).map(Json)
}

pub(super) async fn show<N: Noun>(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<RuleDocument<N::Words>>, ApiError> {
    let built_in = RuleDocument::built_in::<N>().into_iter().find(|rule| rule.name == name);
    built_in.map_or_else(|| found::<N>(&node, &name), Ok).map(Json)
}

/// Writes a rule, over one of the same name, and answers how it stands; every node that follows the log goes by it as soon
/// as it has applied it.
pub(super) async fn write<N: Noun>(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let refused = |what: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", what);
    let new = N::rule(super::scans::read_json(&body)?, author).map_err(refused)?;
    if let Some(problem) = new.problem() {
        return Err(refused(problem));
    }
    let (kind, name) = (N::KIND.name(), new.name.clone());
    let existed = node.raft.read(|state| state.rule(N::KIND, &name).is_some());
    tracing::info!(kind, name, by = new.author.who, from = new.author.from, reason = new.reason, "a rule is written");
    let applied = node.proposer.propose(Command::SetRule(Box::new(new))).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    let document = found::<N>(&node, &name)?;
    let location = format!("/api/v1/{}/{name}", N::PATH);
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::LOCATION, location)], Json(document)).into_response())
}

pub(super) async fn remove<N: Noun>(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    found::<N>(&node, &name)?;
    tracing::info!(kind = N::KIND.name(), name, by = author.who, from = author.from, "a rule is removed");
    let applied = node.proposer.propose(Command::RemoveRule { kind: N::KIND, name, author }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

fn found<N: Noun>(node: &Node, name: &str) -> Result<RuleDocument<N::Words>, ApiError> {
    let found = node.raft.read(|state| RuleDocument::of::<N>(name, state.rule(N::KIND, name)?));
    let unknown = || Refusal::RuleUnknown { kind: N::KIND.name().into(), name: name.chars().take(64).collect() };
    found.ok_or_else(|| unknown().into())
}
