//! `/keeps`: standing scans.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::command::{Arrangement, Author, Command};
use pentora_raft::state::{FRESH_MS_MIN, Keep, is_schedule_name};

use super::paging::Paging;
use super::schedules::chosen_name;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{KeepDocument, KeepOldest, KeepRequest, Page, ScanRequest};
use crate::jobs;
use crate::keeps::{Standing, slice_request, spec_of};

/// How much of the addresses of a slice is shown, in characters.
const SHOWN_CHARS_MAX: usize = 120;

/// Makes a standing scan: 201 and where it is. What would be refused if it began now is refused now, but for nodes that are
/// missing.
pub(super) async fn create(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: KeepRequest = super::scans::read_json(&body)?;
    if node.mesh.is_none() {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node ends with its scan"));
    }
    let name = request.name.clone().unwrap_or_else(|| chosen_name("keep", headers.get("idempotency-key")));
    if !is_schedule_name(&name) {
        return Err(refused("a standing scan's name has 1 to 64 letters, digits, -, _ and ."));
    }
    let Some(rate_pps) = request.scan.rate else {
        return Err(refused("a standing scan needs a budget: `rate`, in packets per second"));
    };
    let fresh_ms = request.fresh_seconds.saturating_mul(1_000);
    if fresh_ms < FRESH_MS_MIN {
        return Err(refused("a minute is the shortest that can be promised"));
    }
    let (raft, scan, asks) = (node.raft.clone(), request.scan, author.clone());
    let checking = move || {
        let spec = spec_of(scan, fresh_ms, rate_pps)?;
        let whole: ScanRequest = serde_json::from_slice(&spec.request)
            .map_err(|_never| jobs::RefusedRequest::Field("the request cannot be kept"))?;
        // Which windows are open when a pass is due is asked then.
        jobs::prepare_for_any(ScanRequest { wait_for_window: true, ..whole }, asks, &raft)?;
        Ok::<_, jobs::RefusedRequest>(spec)
    };
    let spec = tokio::task::spawn_blocking(checking).await;
    let spec =
        spec.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))??;
    let arrangement = Box::new(Arrangement::Keep { name: name.clone(), spec });
    let applied = node.proposer.propose(Command::ArrangeAs { author, arrangement }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    let location = format!("/api/v1/keeps/{name}");
    let document = one(State(node), Path(name)).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], document).into_response())
}

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<KeepDocument>>, ApiError> {
    let now_ms = node.raft.now_ms();
    let page = node.raft.read(|state| {
        let keeps = state.keeps().map(|(name, keep)| (name.to_owned(), (name, keep)));
        paging.part("keeps", keeps, |(name, keep)| Standing::of(state, name, keep))
    });
    let Page { items, next } = page?;
    let short = |standing| KeepDocument { latest_jobs: Vec::new(), ..document(&standing, now_ms) };
    Ok(Json(Page { items: items.into_iter().map(short).collect(), next }))
}

pub(super) async fn one(State(node): State<Node>, Path(name): Path<String>) -> Result<Json<KeepDocument>, ApiError> {
    let now_ms = node.raft.now_ms();
    let found = node.raft.read(|state| Some(Standing::of(state, &name, state.keep(&name)?)));
    let unknown = || pentora_raft::Refusal::KeepUnknown { name: name.chars().take(64).collect() };
    found.map(|standing| Json(document(&standing, now_ms))).ok_or_else(|| unknown().into())
}

pub(super) async fn remove(State(node): State<Node>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    // The pass that is on ends with it.
    let pass = node.raft.read(|state| state.keep(&name)?.running.map(|(_, job)| job));
    let order = Command::RemoveKeep { name };
    let applied = match pass {
        Some(job) => node.stop_job(job, order).await?,
        None => node.proposer.propose(order).await?,
    };
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(state: State<Node>, name: Path<String>) -> Result<Json<KeepDocument>, ApiError> {
    hold(state, name, true).await
}

pub(super) async fn resume(state: State<Node>, name: Path<String>) -> Result<Json<KeepDocument>, ApiError> {
    hold(state, name, false).await
}

async fn hold(
    State(node): State<Node>,
    Path(name): Path<String>,
    paused: bool,
) -> Result<Json<KeepDocument>, ApiError> {
    let applied = node.proposer.propose(Command::PauseKeep { name: name.clone(), paused }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    one(State(node), Path(name)).await
}

fn document(standing: &Standing, now_ms: u64) -> KeepDocument {
    let Standing { name, keep, pass, held_up, .. } = standing;
    let fresh_ms = keep.spec.fresh_ms;
    let held = standing.held(now_ms);
    let oldest = held.oldest.map(|(slice, seen_ms)| KeepOldest {
        addresses: addresses(keep, slice),
        seen_at: rfc3339(seen_ms),
        age_seconds: now_ms.saturating_sub(seen_ms) / 1_000,
    });
    let count = |which: &dyn Fn(&pentora_raft::state::Slice) -> bool| {
        keep.slices.iter().filter(|slice| which(slice)).count() as u64
    };
    KeepDocument {
        name: name.clone(),
        status: match (keep.paused, &keep.refused, held_up) {
            (true, ..) => "paused".into(),
            (false, Some(_), _) => "refused".into(),
            (false, None, Some(_)) => "held".into(),
            (false, None, None) => "active".into(),
        },
        title: keep.spec.title.clone(),
        fresh_seconds: fresh_ms / 1_000,
        rate_pps: keep.spec.rate_pps,
        targets: held.targets.saturating_add(held.excluded),
        targets_excluded: held.excluded,
        targets_fresh: held.fresh,
        targets_never_seen: held.never,
        fresh_share: held.fresh_share(),
        oldest,
        pass_seconds: held.pass_ms.map(|ms| ms as f64 / 1_000.0),
        needed_pps: held.needed_pps,
        can_be_held: held.is_enough(fresh_ms),
        slices: keep.slices.len() as u64,
        slices_answering: count(&|slice| slice.hosts_up > 0),
        slices_changed: count(&|slice| slice.changed_ms.is_some_and(|at| now_ms.saturating_sub(at) < fresh_ms)),
        hosts_up: keep.slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(slice.hosts_up)),
        open_ports: keep.slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(slice.open_ports)),
        job_id: pass.map(|job| job.to_string()),
        held: held_up.clone(),
        latest_jobs: keep.slices.iter().filter_map(|slice| slice.job).map(|job| job.to_string()).collect(),
        reason: keep.refused.as_ref().map(|(_, reason)| reason.clone()),
        created_at: rfc3339(keep.made_at_ms),
    }
}

/// The addresses of a slice, cut to a length that suits a line.
fn addresses(keep: &Keep, slice: u32) -> String {
    let text = slice_request(&keep.spec, slice).map(|request| request.targets.concat()).unwrap_or_default();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn refused(detail: &str) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", detail)
}
