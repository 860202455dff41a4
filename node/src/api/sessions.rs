//! `/auth/login`, and who shows a JWT. A session is worth what its access token is worth now: the token is looked up at each request, so
//! that one which was revoked, has ended or got another secret ends its sessions wherever that is applied.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use pentora_raft::command::{AccessRole, Author, Command};
use pentora_raft::state::{NewSessionKey, SessionKey};

use super::auth::{Bearer, By, Shown};
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::SessionDocument;
use crate::sign_in::{self, Fault, LIFE_S, MadeKey, Wanted};
use crate::tls::Sealing;

/// Where a token is exchanged for a session.
pub(super) const LOGIN: &str = "/api/v1/auth/login";
/// How long a key signs, in milliseconds. Ours: a day. The one before is kept, so sessions outlast it by far.
const KEY_SIGNS_MS: u64 = 24 * 3600 * 1000;

/// A JWT that is not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// Whose it is, where that is sure.
    pub(super) who: String,
    pub(super) fault: Fault,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let who = match &fault {
            Fault::NoRole { who, .. } => who.clone(),
            _ => String::new(),
        };
        Self { who, fault }
    }
}

/// Who shows this JWT.
pub(super) fn bearer(node: &Node, text: &str) -> Result<Bearer, Refused> {
    let look = sign_in::look(text)?;
    let now_ms = node.raft.now_ms();
    if look.issuer() != Some(sign_in::issuer_of(node.cluster).as_str()) {
        let (sign_in::Person { who, role, ends_ms }, word) = node.sign_in.read(&look, now_ms)?;
        let shown = Shown { by: By::Provider(role, word), ends_ms: Some(ends_ms) };
        return Ok(Bearer { who, roles: vec![role], shown });
    }
    let number = sign_in::number_of(&look)?;
    let key = node.raft.read(|state| state.session_key(number).cloned()).ok_or(Fault::KeyUnknown)?;
    let session = sign_in::read(&look, node.cluster, &key.public, now_ms)?;
    let found = node.raft.read(|state| state.keyed_access_token(&session.token));
    // A name that is not known any more was signed by us: its token was forgotten after it had ended.
    let ended = || Refused { who: session.token.clone(), fault: Fault::Ended };
    let (secret, token) = found.ok_or_else(ended)?;
    if !token.is_valid(now_ms) || !session.is_of(node.cluster, &secret) {
        return Err(ended());
    }
    let made_with = AccessRole::named(&session.role).ok_or_else(ended)?;
    let shown = Shown { by: By::Token(secret), ends_ms: Some(session.ends_ms) };
    Ok(Bearer { who: token.name, roles: vec![token.role, made_with], shown })
}

/// Exchanges an access token for a session. Sessions, and what a provider signed, are exchanged for nothing: whoever finds one has it for
/// its quarter of an hour.
pub(super) async fn login(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    shown: Option<Extension<Shown>>,
) -> Result<Json<SessionDocument>, ApiError> {
    let conflict = |code, detail: &str| ApiError::new(StatusCode::CONFLICT, code, detail);
    let secret = match shown.map(|Extension(shown)| shown) {
        Some(Shown { by: By::Token(secret), ends_ms: None }) => secret,
        Some(_) => {
            let detail = "a session is made with an access token, and not with a JWT";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "login_needs_token", detail));
        }
        None => {
            return Err(conflict("no_token", "no token is asked for at this address, so there is nothing to exchange"));
        }
    };
    let psk = node.psk.as_ref().ok_or_else(|| conflict("no_sessions", "this node is alone and makes no sessions"))?;
    let sealing = Sealing { psk: psk.as_bytes(), cluster: &node.cluster.0 };
    let (number, key) = signing_key(&node, sealing).await?;
    let gone = || ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token has ended meanwhile");
    let token = node.raft.read(|state| state.access_token(&secret)).ok_or_else(gone)?;
    let role = token.role.name();
    let networks: Vec<String> = token.networks.iter().flatten().map(ToString::to_string).collect();
    let wanted = Wanted {
        cluster: node.cluster,
        token: &token.name,
        secret,
        role,
        scopes: &token.scopes,
        networks: &networks,
        ends_ms: token.expires_at_ms,
        now_ms: node.raft.now_ms(),
    };
    let key = MadeKey { public: key.public, sealed: key.sealed };
    let granted = sign_in::sign(&wanted, number, &key, sealing).map_err(cannot_sign)?;
    tracing::debug!(who = author.who, "a session was made");
    Ok(Json(SessionDocument {
        token: granted.jwt,
        token_type: "Bearer".to_owned(),
        expires_in: granted.ends_ms.saturating_sub(wanted.now_ms).div_ceil(1000).min(LIFE_S),
        expires_at: rfc3339(granted.ends_ms),
        name: token.name.clone(),
        role: role.to_owned(),
    }))
}

/// The key that signs now, with its number: made here where there is none, or where it has signed for long enough.
async fn signing_key(node: &Node, sealing: Sealing<'_>) -> Result<(u64, SessionKey), ApiError> {
    let newest = || node.raft.read(|state| state.newest_session_key().map(|(number, key)| (number, key.clone())));
    let now_ms = node.raft.now_ms();
    let before = newest();
    if let Some((number, key)) = before.as_ref().filter(|(_, key)| now_ms < key.made_at_ms.saturating_add(KEY_SIGNS_MS))
    {
        return Ok((*number, key.clone()));
    }
    let after = before.as_ref().map_or(0, |(number, _)| *number);
    let MadeKey { public, sealed } = sign_in::make_key(sealing).map_err(cannot_sign)?;
    // Of several that are made at once the first holds, and the others are nothing.
    let command = Command::SetSessionKey(Box::new(NewSessionKey { after, public, sealed }));
    match node.proposer.propose(command).await {
        Ok(applied) => node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await,
        // It is late, and that is no reason to let nobody in.
        Err(error) if before.is_some() => {
            tracing::warn!(%error, "the key of sessions could not be exchanged");
            false
        }
        Err(error) => return Err(error.into()),
    };
    newest().ok_or_else(|| cannot_sign("the log has no key of sessions yet".to_owned()))
}

fn cannot_sign(why: String) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_session_key", why).retry_after(1)
}
