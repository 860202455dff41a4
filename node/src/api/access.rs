//! `/tokens`: who may use the API. A secret is shown once, when it is made.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use ipnet::IpNet;
use pentora_raft::command::{AccessRole, Author, Command, NewAccessToken, TokenLimits};
use pentora_raft::state::{AccessToken, WorkOf};
use pentora_raft::{Applied, ClusterId, Digest, Refusal, State};
use serde::Deserialize;

use super::auth::{By, Shown};
use super::object::About;
use super::paging::Paging;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{AccessTokenCreated, AccessTokenDocument, AccessTokenRequest, Page, TokenWork};
use crate::rpc::proposer::Unavailable;
use crate::sign_in::is_person;

/// The longest that a token may be valid where it ends by itself: ten years, so that a slip of the pen is found.
const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const SECRET_BYTES: usize = 32;
/// Orders of a token that are stopped at once: each waits for its workers.
const STOPPED_AT_ONCE: usize = 64;

/// What the log keeps of the secret of a token: of no use in another cluster, or for anything else.
pub(super) fn key_of(cluster: ClusterId, secret: &str) -> Digest {
    let parts: [&[u8]; 3] = [b"pentora access token", &cluster.0, secret.as_bytes()];
    Digest::of(&parts.concat())
}

fn new_secret() -> String {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    format!("pna_{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

pub(super) async fn create(
    extract::State(node): extract::State<Node>,
    Extension(author): Extension<Author>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let refused = |what: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", what);
    let request: AccessTokenRequest = super::scans::read_json(&body)?;
    let limits = TokenLimits {
        requests_per_minute: request.requests_per_minute,
        open_jobs: request.open_jobs,
        targets_per_day: request.targets_per_day,
    };
    if let Some(problem) = limits.problem() {
        return Err(refused(problem));
    }
    let AccessTokenRequest { name, role, ttl_seconds, networks, scopes, .. } = request;
    let unknown = || refused(format!("`{}` is no role: {}", role.escape_debug(), AccessRole::NAMES.join(", ")));
    let role = AccessRole::named(&role).ok_or_else(unknown)?;
    let ttl = ttl_seconds.map(Duration::from_secs);
    if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > TTL_MAX) {
        return Err(refused("ttl_seconds is from 1 to ten years".into()));
    }
    let about = About::of(&[("networks", networks.join(",")), ("scopes", scopes.join(","))]);
    let networks = super::tokens::networks(&networks)?;
    if let Some(scope) = node.raft.read(|state| {
        let is_there = |scope: &&String| state.rule(pentora_raft::command::RuleKind::Scope, scope).is_none();
        scopes.iter().find(is_there).cloned()
    }) {
        return Err(refused(format!("there is no scope `{}`; `pentora scope list` has them", scope.escape_debug())));
    }
    node.raft.read(|state| hands_on(state, &author, &networks, &scopes))?;
    let secret = new_secret();
    let new = NewAccessToken {
        name: name.clone(),
        key: key_of(node.cluster, &secret),
        role,
        ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        networks: (!networks.is_empty()).then_some(networks),
        scopes,
        author: author.clone(),
    };
    if let Some(problem) = new.problem() {
        return Err(refused(problem));
    }
    let mut applied = node.proposer.propose(Command::MakeAccessToken(Box::new(new))).await?;
    if !limits.is_empty() {
        // Nobody has the secret before this is in the log as well.
        applied = node.proposer.propose(Command::LimitAccessToken { name: name.clone(), limits, author }).await?;
    }
    let made = created(&node, applied.index, &name, secret, StatusCode::CREATED).await?;
    Ok((Extension(about), made).into_response())
}

/// Whether whoever asks may give out a token with these limits: nobody hands on more than they have.
fn hands_on(state: &State, author: &Author, networks: &[IpNet], scopes: &[String]) -> Result<(), ApiError> {
    let Some((own, maker)) = state.limits_of(&author.who).zip(state.access_token_named(&author.who)) else {
        return Ok(());
    };
    let is_in_networks = !networks.is_empty() && networks.iter().all(|net| own.iter().any(|own| own.contains(net)));
    let is_in_scopes =
        maker.networks.is_none() && !scopes.is_empty() && scopes.iter().all(|scope| maker.scopes.contains(scope));
    if is_in_networks || is_in_scopes {
        return Ok(());
    }
    let detail = format!(
        "token `{}` is limited to networks or scopes and gives out nothing that is let into others: name networks within its own",
        maker.name
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, "scope_denied", detail))
}

/// Whether an administrator is left for good without that token: one that ends by itself is none some day, and a limited one gives out no
/// other that is not.
fn leaves_administrator(state: &State, name: &str, now_ms: u64) -> Result<(), ApiError> {
    let stays = |token: &AccessToken| {
        let is_limited = token.networks.is_some() || !token.scopes.is_empty() || token.expires_at_ms.is_some();
        token.role == AccessRole::Admin && token.is_valid(now_ms) && !is_limited
    };
    let is_last = state.access_token_named(name).is_some_and(|token| stays(&token))
        && !state.access_tokens().any(|token| token.name != name && stays(&token));
    if !is_last {
        return Ok(());
    }
    let detail = format!(
        "`{}` is the last valid administrator whose token does not end by itself; make another first: pentora token create --role admin",
        name.escape_debug()
    );
    Err(ApiError::new(StatusCode::CONFLICT, "last_administrator", detail))
}

/// Answers with a secret, once this node lets it in.
async fn created(node: &Node, index: u64, name: &str, token: String, status: StatusCode) -> Result<Response, ApiError> {
    node.raft.wait_applied(index, super::MIN_INDEX_WITHIN).await;
    let row = found(node, name)?;
    let (name, role) = (row.name, row.role.name().to_owned());
    let created = AccessTokenCreated { token, name, role, expires_at: row.expires_at_ms.map(rfc3339) };
    Ok((status, Json(created)).into_response())
}

fn found(node: &Node, name: &str) -> Result<AccessToken, ApiError> {
    let unknown = || Refusal::AccessTokenUnknown { name: name.chars().take(64).collect() };
    node.raft.read(|state| state.access_token_named(name)).ok_or_else(|| unknown().into())
}

/// What goes with a token's row: its limits, and whether it waits for a secret.
fn beside(state: &State, name: &str) -> (TokenLimits, bool) {
    (state.token_limits(name), state.waits_for_secret(name))
}

fn document(token: AccessToken, (limits, waits): (TokenLimits, bool), now_ms: u64) -> AccessTokenDocument {
    let status = match (token.revoked_at_ms, token.is_valid(now_ms)) {
        (Some(_), _) if waits => "restored",
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "expired",
    };
    AccessTokenDocument {
        name: token.name,
        role: token.role.name().to_owned(),
        status: status.to_owned(),
        created_at: rfc3339(token.created_at_ms),
        changed_at: rfc3339(token.changed_at_ms),
        expires_at: token.expires_at_ms.map(rfc3339),
        revoked_at: token.revoked_at_ms.map(rfc3339),
        networks: token.networks.iter().flatten().map(ToString::to_string).collect(),
        scopes: token.scopes,
        requests_per_minute: limits.requests_per_minute,
        open_jobs: limits.open_jobs,
        targets_per_day: limits.targets_per_day,
        by: token.author.who,
        from: token.author.from,
        work: None,
    }
}

pub(super) async fn list(
    extract::State(node): extract::State<Node>,
    paging: Paging,
) -> Result<Json<Page<AccessTokenDocument>>, ApiError> {
    let now_ms = node.raft.now_ms();
    let mut tokens: Vec<_> = node.raft.read(|state| {
        let tokens = state.access_tokens();
        tokens.map(|token| (beside(state, &token.name), token)).map(|(beside, token)| (token, beside)).collect()
    });
    tokens.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let entries = tokens.into_iter().map(|(token, beside)| (token.name.clone(), (token, beside)));
    paging.part("tokens", entries, |(token, beside)| document(token, beside, now_ms)).map(Json)
}

pub(super) async fn show(
    extract::State(node): extract::State<Node>,
    Path(name): Path<String>,
) -> Result<Json<AccessTokenDocument>, ApiError> {
    let now_ms = node.raft.now_ms();
    let (beside, work) = node.raft.read(|state| (beside(state, &name), state.work_of(&name)));
    let WorkOf { schedules, keeps, jobs, tokens, join_tokens } = work;
    let jobs = jobs.iter().map(ToString::to_string).collect();
    let join_tokens = join_tokens.iter().map(ToString::to_string).collect();
    let work = Some(TokenWork { schedules, keeps, jobs, tokens, join_tokens });
    if is_person(&name) {
        // No token of the cluster: what such a person asked for and made is told all the same.
        return Ok(Json(AccessTokenDocument {
            name,
            status: "person".to_owned(),
            work,
            ..AccessTokenDocument::default()
        }));
    }
    found(&node, &name).map(|token| Json(AccessTokenDocument { work, ..document(token, beside, now_ms) }))
}

/// Who asks: the token that was shown.
pub(super) async fn own(
    extract::State(node): extract::State<Node>,
    Extension(author): Extension<Author>,
    shown: Option<Extension<Shown>>,
) -> Result<Json<AccessTokenDocument>, ApiError> {
    if let Some(Extension(Shown { by: By::Provider(role, _), ends_ms })) = shown {
        return Ok(Json(of_person(author, role, ends_ms)));
    }
    if author.who.is_empty() {
        let detail = "no token is asked for at this address, and whoever comes here may do everything";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_token", detail));
    }
    show(extract::State(node), Path(author.who)).await
}

/// Somebody whom a provider let in, as if that were a token: there is none of that name, and no limit but the role.
fn of_person(author: Author, role: AccessRole, ends_ms: Option<u64>) -> AccessTokenDocument {
    AccessTokenDocument {
        name: author.who,
        role: role.name().to_owned(),
        status: "valid".to_owned(),
        expires_at: ends_ms.map(rfc3339),
        ..AccessTokenDocument::default()
    }
}

/// `?with_work=true`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Revoked {
    with_work: Option<bool>,
}

/// Makes a token useless. One that it was is let in nowhere as soon as a node has applied it. With its work, what it asked for
/// stops as well: jobs are cancelled, schedules and standing scans paused.
pub(super) async fn revoke(
    extract::State(node): extract::State<Node>,
    Extension(author): Extension<Author>,
    Query(how): Query<Revoked>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let with_work = how.with_work == Some(true);
    if !is_person(&name) {
        let now_ms = node.raft.now_ms();
        node.raft.read(|state| leaves_administrator(state, &name, now_ms))?;
        let applied = node.proposer.propose(Command::RevokeAccessToken { name: name.clone(), author }).await?;
        node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    } else if !with_work {
        let detail =
            "whom a provider of identities lets in is shut out there; what they asked for is stopped with their work";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_token", detail));
    }
    if with_work {
        stop_work(&node, &name).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Stops what a token asked for, whoever else did something to it meanwhile. What makes jobs goes first.
async fn stop_work(node: &Node, name: &str) -> Result<(), ApiError> {
    let WorkOf { schedules, keeps, .. } = node.raft.read(|state| state.work_of(name));
    let paused = true;
    let pauses = schedules.into_iter().map(|name| Command::PauseSchedule { name, paused });
    let pauses = pauses.chain(keeps.into_iter().map(|name| Command::PauseKeep { name, paused }));
    all_applied(node, pauses.map(|pause| node.proposer.propose(pause))).await?;
    let reason = format!("token `{name}` was revoked with its work");
    let jobs = node.raft.read(|state| state.work_of(name)).jobs;
    let cancels = jobs.into_iter().map(|job| node.stop_job(job, Command::Cancel { job, reason: reason.clone() }));
    all_applied(node, cancels).await
}

/// Waits until orders are applied here, several at once: what is settled of a job may take its time to be handed in.
async fn all_applied(
    node: &Node,
    orders: impl Iterator<Item = impl Future<Output = Result<Applied, Unavailable>>>,
) -> Result<(), ApiError> {
    let (mut index, mut answers) = (0, futures::stream::iter(orders).buffer_unordered(STOPPED_AT_ONCE));
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(applied) => index = index.max(applied.index),
            // It ended or went by itself.
            Err(Unavailable::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    node.raft.wait_applied(index, super::MIN_INDEX_WITHIN).await;
    Ok(())
}

/// Gives a token another secret; the one before is of no use from here on.
pub(super) async fn rotate(
    extract::State(node): extract::State<Node>,
    Extension(author): Extension<Author>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    if name != author.who {
        // Whoever gives a secret has it.
        node.raft.read(|state| {
            let token = state.access_token_named(&name);
            token.map_or(Ok(()), |token| {
                hands_on(state, &author, token.networks.as_deref().unwrap_or_default(), &token.scopes)
            })
        })?;
    }
    let secret = new_secret();
    let key = key_of(node.cluster, &secret);
    let applied = node.proposer.propose(Command::RotateAccessToken { name: name.clone(), key, author }).await?;
    created(&node, applied.index, &name, secret, StatusCode::OK).await
}
