//! `/worker-tokens`: making, listing and revoking join tokens. The secret is shown once.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pentora_raft::command::{Command, NewToken, NodeRole};

use super::{ApiError, Node};
use crate::clock::{rfc3339, wall_ms};
use crate::document::{Page, TokenCreated, TokenDocument, TokenRequest};
use crate::join::token::JoinToken;

/// How long a token lasts unless asked otherwise: a day.
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// How long it may last: whoever has it can reach the mesh's port, so a month at most.
const TTL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// How many nodes may use one.
const USES_MAX: u32 = 10_000;

pub(super) async fn create(State(node): State<Node>, body: Bytes) -> Result<Response, ApiError> {
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
    if request.name.is_empty() || request.name.len() > 64 {
        return Err(ApiError::bad_request("name must have 1 to 64 characters"));
    }
    let role = match request.role.as_deref() {
        None | Some("auto" | "voter") => NodeRole::Auto,
        Some("scanner") => NodeRole::Scanner,
        Some(other) => return Err(ApiError::bad_request(format!("`{other}` is not a role: auto or scanner"))),
    };
    let networks = request.networks.iter().map(|net| net.parse()).collect::<Result<Vec<_>, _>>();
    let networks = networks.map_err(|error| ApiError::bad_request(format!("networks: {error}")))?;
    let token = JoinToken::generate(node.cluster, psk);
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let new = NewToken {
        token: token.id,
        secret: token.secret_digest(),
        name: request.name.clone(),
        ttl_ms,
        uses,
        role,
        region: request.region,
        networks: (!networks.is_empty()).then_some(networks),
    };
    node.proposer.propose(Command::CreateToken(new)).await?;
    let expires_at = rfc3339(wall_ms().saturating_add(ttl_ms));
    let created = TokenCreated { token: token.to_string(), expires_at, name: request.name };
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

pub(super) async fn list(State(node): State<Node>) -> Json<Page<TokenDocument>> {
    let items = node.raft.read(|state| {
        let now_ms = state.cluster().now_ms.max(wall_ms());
        let document = |(id, token): (pentora_raft::TokenId, &pentora_raft::state::JoinToken)| TokenDocument {
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
            role: Some(if token.role == NodeRole::Scanner { "scanner" } else { "auto" }.into()),
            region: token.region.clone(),
            networks: token.networks.iter().flatten().map(ToString::to_string).collect(),
        };
        state.tokens().map(document).collect()
    });
    Json(Page::whole(items))
}

pub(super) async fn revoke(State(node): State<Node>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let token = id.parse().map_err(|error: pentora_raft::id::IdError| ApiError::bad_request(error.to_string()))?;
    node.proposer.propose(Command::RevokeToken { token }).await?;
    Ok(StatusCode::NO_CONTENT)
}
