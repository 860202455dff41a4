//! `/schedules`: scans that begin by themselves.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::command::{Arrangement, Author, Command};
use pentora_raft::state::{MissedPolicy, OverlapPolicy, Run, RunOutcome, Schedule, ScheduleSpec, is_schedule_name};
use pentora_raft::{Digest, State as Log};
use serde::Deserialize;

use super::paging::Paging;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::document::{Page, ScanRequest, ScheduleDocument, ScheduleRequest, ScheduleRun, ScheduleTime, ScheduleTimes};
use crate::jobs;
use crate::orders::{self, Repeats};
use crate::schedules::Times;

/// How many times to come are shown.
const NEXT: usize = 5;
/// How many may be asked for.
pub(super) const NEXT_MAX: usize = 100;
/// Letters of a name that the node chooses: none that are taken for each other.
const NAME_LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// How many letters it has.
const NAME_RANDOM: usize = 6;

/// `?count=N`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HowMany {
    count: Option<usize>,
}

/// Makes a schedule: 201 and where it is. What would be refused if it began now is refused now, but for nodes that are missing.
pub(super) async fn create(
    State(node): State<Node>,
    Extension(author): Extension<Author>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: ScheduleRequest = super::scans::read_json(&body)?;
    if node.mesh.is_none() {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_mesh", "an embedded node ends with its scan"));
    }
    let name = request.name.clone().unwrap_or_else(|| chosen_name("sch", headers.get("idempotency-key")));
    if !is_schedule_name(&name) {
        let detail = format!("`{}` is no schedule's name: 1 to 64 letters, digits, -, _ and .", name.escape_debug());
        return Err(refused(detail));
    }
    if request.scan.carry {
        return Err(refused("what is carried to a worker without a network does not begin by itself".to_owned()));
    }
    let spec = spec_of(&request)?;
    if let Some(signed) = &request.scan.order {
        let verified = orders::verify(signed).map_err(jobs::RefusedRequest::from)?;
        let times = Repeats { cron: spec.cron.clone(), timezone: spec.timezone.clone() };
        if verified.order.repeats.as_ref() != Some(&times) {
            return Err(refused(
                "the order was not signed for these times: `pentora scan --schedule CRON --sign`".to_owned(),
            ));
        }
        if let Some(other) = node.raft.read(|state| jobs::schedule_of_order(state, &request.scan, &name)) {
            let detail = format!("the order is that of schedule `{other}`: an order is for one schedule, sign another");
            return Err(ApiError::new(StatusCode::CONFLICT, "order_used", detail));
        }
    }
    // Which windows are open when a run is due is asked then.
    let (raft, scan) = (node.raft.clone(), ScanRequest { wait_for_window: true, ..request.scan });
    let asks = author.clone();
    let checked = tokio::task::spawn_blocking(move || jobs::prepare_for_any(scan, asks, &raft)).await;
    checked.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))??;
    let arrangement = Box::new(Arrangement::Schedule { name: name.clone(), spec });
    let command = Command::ArrangeAs { author, arrangement };
    let applied = node.proposer.propose(command).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    let location = format!("/api/v1/schedules/{name}");
    let document = one(State(node), Path(name)).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], document).into_response())
}

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<ScheduleDocument>>, ApiError> {
    let now_ms = node.raft.now_ms();
    let page = node.raft.read(|state| {
        let schedules = state.schedules().map(|(name, schedule)| (name.to_owned(), (name, schedule)));
        // A list shows what and when, one schedule all of it.
        let short = |(name, schedule): (&String, &Schedule)| ScheduleDocument {
            scan: None,
            ..document(state, name, schedule, now_ms)
        };
        paging.part("schedules", schedules, short)
    });
    page.map(Json)
}

pub(super) async fn one(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleDocument>, ApiError> {
    let now_ms = node.raft.now_ms();
    let found = node.raft.read(|state| Some(document(state, &name, state.schedule(&name)?, now_ms)));
    found.map(Json).ok_or_else(|| unknown(&name))
}

/// The next times, also of one that is paused.
pub(super) async fn next(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(how_many): Query<HowMany>,
) -> Result<Json<ScheduleTimes>, ApiError> {
    let count = how_many.count.unwrap_or(NEXT);
    if !(1..=NEXT_MAX).contains(&count) {
        return Err(ApiError::bad_request("count must be from 1 to 100"));
    }
    let now_ms = node.raft.now_ms();
    let spec = node.raft.read(|state| state.schedule(&name).map(|schedule| schedule.spec.clone()));
    let spec = spec.ok_or_else(|| unknown(&name))?;
    let times = Times::parse(&spec.cron, &spec.timezone).map_err(|error| refused(error.to_string()))?;
    let next = times.upcoming(now_ms).take(count).map(|at| time(Some(&times), at)).collect();
    Ok(Json(ScheduleTimes { name, cron: spec.cron, timezone: spec.timezone, next }))
}

pub(super) async fn remove(State(node): State<Node>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let applied = node.proposer.propose(Command::RemoveSchedule { name }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleDocument>, ApiError> {
    hold(node, name, true).await
}

pub(super) async fn resume(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleDocument>, ApiError> {
    hold(node, name, false).await
}

async fn hold(node: Node, name: String, paused: bool) -> Result<Json<ScheduleDocument>, ApiError> {
    let applied = node.proposer.propose(Command::PauseSchedule { name: name.clone(), paused }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    one(State(node), Path(name)).await
}

/// What the log keeps of a request.
fn spec_of(request: &ScheduleRequest) -> Result<ScheduleSpec, ApiError> {
    let timezone = request.timezone.as_deref().unwrap_or("UTC");
    let times = Times::parse(&request.cron, timezone).map_err(|error| refused(error.to_string()))?;
    let missed = [MissedPolicy::Skip, MissedPolicy::RunOnce];
    let overlap = [OverlapPolicy::Skip, OverlapPolicy::Queue, OverlapPolicy::Allow];
    let scan = serde_json::to_vec(&request.scan)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(ScheduleSpec {
        cron: request.cron.split_whitespace().collect::<Vec<_>>().join(" "),
        timezone: times.zone_name().to_owned(),
        missed: word("missed", request.missed.as_deref(), &missed, MissedPolicy::name)?,
        overlap: word("overlap", request.overlap.as_deref(), &overlap, OverlapPolicy::name)?,
        request: scan,
        title: jobs::title(&request.scan),
    })
}

/// The one of `all` that is named; the first where none is.
fn word<T: Copy + Default>(
    field: &str,
    said: Option<&str>,
    all: &[T],
    name: fn(&T) -> &'static str,
) -> Result<T, ApiError> {
    let Some(said) = said else { return Ok(T::default()) };
    all.iter().copied().find(|one| name(one) == said).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(name).collect();
        let said: String = said.chars().take(64).collect();
        refused(format!("{field}: `{}` is not one of {}", said.escape_debug(), words.join(", ")))
    })
}

fn document(state: &Log, name: &str, schedule: &Schedule, now_ms: u64) -> ScheduleDocument {
    let ScheduleSpec { cron, timezone, missed, overlap, request, title } = &schedule.spec;
    let times = Times::parse(cron, timezone);
    let mut notes = Vec::new();
    if let Err(error) = &times {
        notes.push(format!("it does not run on nodes of this release: {error}"));
    }
    let times = times.ok();
    let scan: Option<ScanRequest> = serde_json::from_slice(request).ok();
    if scan.is_none() {
        notes.push("nodes of this release do not understand what it scans".to_owned());
    }
    let due = times.as_ref().and_then(|times| times.next_ms(schedule.over_ms)).is_some_and(|next| next <= now_ms);
    let waits = due && *overlap == OverlapPolicy::Queue && state.unfinished_run(schedule).is_some();
    let shown = times.as_ref().filter(|_| !schedule.paused);
    let next = shown.map(|times| times.upcoming(now_ms).take(NEXT).map(|at| time(Some(times), at)).collect());
    ScheduleDocument {
        name: name.to_owned(),
        status: if schedule.paused {
            "paused".into()
        } else if waits {
            "waiting".into()
        } else {
            "active".into()
        },
        cron: cron.clone(),
        timezone: timezone.clone(),
        missed: missed.name().into(),
        overlap: overlap.name().into(),
        title: title.clone(),
        created_at: rfc3339(schedule.made_at_ms),
        next: next.unwrap_or_default(),
        runs: schedule.runs.iter().rev().map(|run| run_of(times.as_ref(), run)).collect(),
        scan,
        notes,
    }
}

fn run_of(times: Option<&Times>, run: &Run) -> ScheduleRun {
    let (job_id, reason) = match &run.outcome {
        RunOutcome::Started { job } | RunOutcome::Overlapped { job } => (Some(job.to_string()), None),
        RunOutcome::Refused { reason } => (None, Some(reason.clone())),
        RunOutcome::Missed => (None, None),
    };
    ScheduleRun {
        due: time(times, run.occurrence.at_ms),
        decided_at: rfc3339(run.at_ms),
        outcome: run.outcome.name().into(),
        job_id,
        reason,
        passed_over: run.occurrence.passed_over,
    }
}

/// An instant in the zone and in UTC; in UTC twice where the zone is not known.
fn time(times: Option<&Times>, at_ms: u64) -> ScheduleTime {
    let utc = rfc3339(at_ms);
    let shown = times.and_then(|times| times.shown(at_ms));
    let (at, zone) = shown.map_or_else(
        || (utc.clone(), "UTC".to_owned()),
        |zoned| (zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(), zoned.strftime("%Z").to_string()),
    );
    ScheduleTime { at, utc, zone, at_ms }
}

/// A name for what has none; the same for the same request that comes again.
pub(super) fn chosen_name(prefix: &str, key: Option<&HeaderValue>) -> String {
    let Digest(bytes) = key.map_or_else(|| Digest(rand::random()), |key| Digest::of(key.as_bytes()));
    let letter = |byte: &u8| NAME_LETTERS.get(usize::from(*byte) % NAME_LETTERS.len()).copied().map_or('a', char::from);
    format!("{prefix}-{}", bytes.iter().take(NAME_RANDOM).map(letter).collect::<String>())
}

fn refused(detail: String) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_schedule", detail)
}

fn unknown(name: &str) -> ApiError {
    pentora_raft::Refusal::ScheduleUnknown { name: name.chars().take(64).collect() }.into()
}
