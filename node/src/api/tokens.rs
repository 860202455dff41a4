//! `/worker-tokens`: making, listing and revoking join tokens. The secret is shown once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipnet::IpNet;
use pentora_raft::command::{Author, Command, NodePolicy, NodeRole, TokenGrant};
use pentora_raft::id::is_node_name;

use super::object::About;
use super::paging::{Paging, rising_bytes};
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{Page, TokenCreated, TokenDocument, TokenRequest};
use crate::join::token::JoinToken;

/// How long a token lasts unless asked otherwise: a day.
pub(super) const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// How long it may last: whoever has it can reach the mesh's port, so a month at most.
const TTL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// How many nodes may use one.
const USES_MAX: u32 = 10_000;
/// How many networks a policy names: as many as the log takes.
const NETWORKS_MAX: usize = 1024;

/// Makes a join token. The same request under the same key, with the same bearer, is answered with the same token.
pub(super) async fn create(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: TokenRequest = super::scans::read_json(&body)?;
    let Some(psk) = &node.psk else {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node has no mesh to join"));
    };
    let ttl = request.ttl_seconds.map_or(TTL_DEFAULT, Duration::from_secs);
    if ttl.is_zero() || ttl > TTL_MAX {
        return Err(ApiError::bad_request("ttl_seconds must be from 1 to 2678400 (31 days)"));
    }
    let uses = request.uses.unwrap_or(1);
    if uses == 0 || uses > USES_MAX {
        return Err(ApiError::bad_request("uses must be from 1 to 10000"));
    }
    if !is_node_name(&request.name) {
        let name = request.name.escape_debug();
        let detail = format!("no node can be called `{name}`: 1 to 63 letters, digits or ._:/@+=-");
        return Err(ApiError::bad_request(detail));
    }
    let policy = policy(&request)?;
    let shown = headers.get(header::AUTHORIZATION);
    let token = match super::scans::idempotency_key(&headers)?.zip(shown) {
        // A secret that others could work out would be none: without one to make it of, it is drawn.
        None => JoinToken::generate(node.cluster, psk),
        Some((key, shown)) => {
            let key = [author.who.as_bytes(), &[0], key.as_bytes()].concat();
            JoinToken::of_request(node.cluster, psk, &key, shown.as_bytes(), &body)
        }
    };
    let token = token.of_authority(node.authority());
    let earlier = node.raft.read(|state| {
        let row = state.tokens().find(|(id, _)| *id == token.id).map(|(_, row)| row);
        row.map(|row| (row.secret == token.key(), row.expires_at_ms))
    });
    if let Some((false, _)) = earlier {
        let detail = "the Idempotency-Key belongs to another join token; use a new key for another request";
        return Err(ApiError::new(StatusCode::CONFLICT, "idempotency_key_reused", detail));
    }
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let (name, by) = (request.name.clone(), author.who);
    let grant = TokenGrant { token: token.id, key: token.key(), name, ttl_ms, uses, policy, by };
    let about = About::of(&[("token_id", token.id.to_string()), ("networks", request.networks.join(","))]);
    node.proposer.propose(Command::MakeToken(Box::new(grant))).await?;
    let expires_at_ms = earlier.map_or_else(|| node.raft.now_ms().saturating_add(ttl_ms), |(_, ends_ms)| ends_ms);
    let expires_at = rfc3339(expires_at_ms);
    let created = TokenCreated { token: token.to_string(), expires_at, name: request.name };
    Ok((StatusCode::CREATED, Extension(about), Json(created)).into_response())
}

/// What a request's token lets a node be.
fn policy(request: &TokenRequest) -> Result<NodePolicy, ApiError> {
    labels(request.region.iter().chain(&request.site).chain(&request.tags))?;
    let networks = networks(&request.networks)?;
    Ok(NodePolicy {
        role: request.role.as_deref().map_or(Ok(NodeRole::Auto), role)?,
        region: request.region.clone(),
        site: request.site.clone(),
        networks: (!networks.is_empty()).then_some(networks),
        tags: (!request.tags.is_empty()).then(|| request.tags.clone()),
        ephemeral: request.ephemeral,
        keeps_results: request.keeps_results.unwrap_or(!request.ephemeral),
        ..NodePolicy::default()
    })
}

/// A role's word.
pub(super) fn role(word: &str) -> Result<NodeRole, ApiError> {
    match word {
        "member" | "auto" | "voter" => Ok(NodeRole::Auto),
        "scanner" => Ok(NodeRole::Scanner),
        other => Err(ApiError::bad_request(format!("`{}` is not a role: member or scanner", other.escape_debug()))),
    }
}

/// Prefixes, at most as many as a policy names.
pub(super) fn networks(texts: &[String]) -> Result<Vec<IpNet>, ApiError> {
    if texts.len() > NETWORKS_MAX {
        return Err(ApiError::bad_request(format!("networks: at most {NETWORKS_MAX} of them")));
    }
    let network = |text: &String| match text.parse::<IpNet>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => Err(ApiError::bad_request(format!("networks: {net} is an address in {}", net.trunc()))),
        Err(error) => Err(ApiError::bad_request(format!("networks: {error}"))),
    };
    texts.iter().map(network).collect()
}

/// Refuses texts that no node could say of itself; an empty one lifts a limit.
pub(super) fn labels<'a>(texts: impl Iterator<Item = &'a String>) -> Result<(), ApiError> {
    for text in texts.filter(|text| !text.is_empty()) {
        if !is_node_name(text) {
            let detail = format!("`{}` is not a label: 1 to 63 letters, digits or ._:/@+=-", text.escape_debug());
            return Err(ApiError::bad_request(detail));
        }
    }
    Ok(())
}

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<TokenDocument>>, ApiError> {
    let now_ms = node.raft.now_ms();
    let page = node.raft.read(|state| {
        let document = |(id, token): (pentora_raft::TokenId, &pentora_raft::state::JoinToken)| {
            let policy = state.token_policy(id, token);
            TokenDocument {
                token_id: id.to_string(),
                name: token.name.clone(),
                created_at: rfc3339(token.created_at_ms),
                expires_at: rfc3339(token.expires_at_ms),
                uses_left: token.uses_left,
                status: match (token.uses_left, token.expires_at_ms <= now_ms) {
                    (0, _) => "used".into(),
                    (_, true) => "expired".into(),
                    _ => "valid".into(),
                },
                role: Some(if policy.role == NodeRole::Scanner { "scanner" } else { "member" }.into()),
                region: policy.region,
                networks: policy.networks.iter().flatten().map(ToString::to_string).collect(),
                site: policy.site,
                tags: policy.tags.unwrap_or_default(),
                ephemeral: policy.ephemeral,
                keeps_results: Some(policy.keeps_results),
            }
        };
        let tokens = state.tokens().map(|(id, token)| (rising_bytes(&id.0), (id, token)));
        paging.part("worker-tokens", tokens, document)
    });
    page.map(Json)
}

pub(super) async fn revoke(State(node): State<Node>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let token = id.parse().map_err(|error: pentora_raft::id::IdError| ApiError::bad_request(error.to_string()))?;
    node.proposer.propose(Command::RevokeToken { token }).await?;
    Ok(StatusCode::NO_CONTENT)
}
