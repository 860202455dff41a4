//! The history of a job, `/jobs/{id}/events`, and of all jobs, the nodes and the policy, `/events`: as lists, or as server-sent events
//! (`Accept: text/event-stream`, WHATWG HTML section 9.2).
//!
//! An event's id is the log index of its entry, so `Last-Event-ID` goes on with what is behind it on any node: each node that
//! has applied an entry has the same events of it, and one that has not says nothing before it has: a reader that was further
//! elsewhere is waited for, and one whose place the cluster never came to is refused. Nothing is kept for a
//! reader but its place: what is behind that is read when the reader has taken the last. One that does not read is
//! dropped, and goes on later where it was.

use std::fmt::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::state::{CLUSTER_EVENTS_KEPT_MAX, EventPlace, Happening, PlacedEvent};
use pentora_raft::{JobId, Refusal};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::auth::Shown;
use super::jobs::job_id;
use super::listen::HangUp;
use super::listeners::{Full, Listener, Listeners};
use super::paging::{Paging, bad_cursor};
use super::whose::Whose;
use super::{ApiError, Node, freshness};
use crate::clock::rfc3339;
use crate::document::{EventCursor, JobEvent, Page};

/// Readers of streams at once. Ours: an eighth of the API's connections, so that they cannot keep others out.
const LISTENERS_MAX: usize = 64;
/// Of these, whoever shows one token. Ours: a dashboard, and a person's windows.
const LISTENERS_OF_ONE: usize = 16;
/// Events that are read at once, and the most that wait for a reader.
const BATCH: usize = 64;
/// How often a stream says that it is there. Ours: below the silence after which clients and proxies give up (30 s).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a reader may leave what is waiting for it.
const SLOW_WITHIN: Duration = Duration::from_secs(20);
/// How long what comes next is gathered before it is looked at: each look goes over all jobs.
const GATHER: Duration = Duration::from_millis(50);
/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 1_000;

/// Places for this node's readers.
pub(super) fn listeners() -> Listeners {
    Listeners::new(LISTENERS_MAX, LISTENERS_OF_ONE)
}

/// A place for a reader, and the end of its connection.
struct Surroundings {
    listeners: Listeners,
    hang_up: Option<HangUp>,
    shown: Option<Shown>,
    whose: Whose,
    headers: HeaderMap,
}

impl Surroundings {
    /// From what was put beside a request.
    fn of(listeners: Listeners, beside: &Extensions, headers: HeaderMap) -> Self {
        let whose = Whose::beside(beside);
        let (hang_up, shown) = (beside.get::<HangUp>().cloned(), beside.get::<Shown>().copied());
        Self { listeners, hang_up, shown, whose, headers }
    }
}

/// A job's history.
pub(super) async fn of_job(
    State(node): State<Node>,
    Path(id): Path<String>,
    paging: Paging,
    Extension(listeners): Extension<Listeners>,
    beside: Extensions,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let surroundings = Surroundings::of(listeners, &beside, headers);
    answer(node, Some(job_id(&id)?), &paging, surroundings).await
}

/// The history of all jobs, of the nodes and of the policy.
pub(super) async fn of_all(
    State(node): State<Node>,
    paging: Paging,
    Extension(listeners): Extension<Listeners>,
    beside: Extensions,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let surroundings = Surroundings::of(listeners, &beside, headers);
    answer(node, None, &paging, surroundings).await
}

async fn answer(
    node: Node,
    only: Option<JobId>,
    paging: &Paging,
    surroundings: Surroundings,
) -> Result<Response, ApiError> {
    let Surroundings { listeners, hang_up, shown, whose, headers } = surroundings;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let read = |text: &str| text.parse::<EventCursor>().map(|EventCursor(place)| place);
    let after =
        paging.after.as_deref().map(|after| read(after).map_err(|_no_cursor| bad_cursor("events"))).transpose()?;
    if let Some(job) = only.filter(|job| node.raft.read(|state| state.job(*job).is_none())) {
        return Err(Refusal::JobUnknown { job }.into());
    }
    if !accepts.split(',').any(|kind| kind.trim().starts_with("text/event-stream")) {
        reached(&node, after).await?;
        kept(&node, only, after)?;
        return Ok(Json(list(&node, only, after.unwrap_or(EventPlace::behind(0)), paging.limit)).into_response());
    }
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    let last = last.map(|id| {
        let bad = |_no_place| ApiError::bad_request("Last-Event-ID is not one of this stream, such as 41");
        read(id).map_err(bad)
    });
    let last = last.transpose()?.or(after);
    reached(&node, last).await?;
    kept(&node, only, last)?;
    let now = || EventPlace::behind(*node.raft.watch_applied().borrow());
    // Of a job all is told, of the cluster what comes.
    let begin = || if only.is_some() { EventPlace::behind(0) } else { now() };
    let place = last.unwrap_or_else(begin);
    let mut reader = Reader { node, only, place, shown };
    // Told apart from a connection that broke, which is made again: this one is not.
    if reader.is_over() && reader.next().0.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let listener = listeners.take(&whose).map_err(full)?;
    let (sender, receiver) = channel(BATCH);
    let tasks = reader.node.tasks.clone();
    tasks.spawn(reader.run(sender, hang_up, listener));
    let head = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((head, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Waits for this node to be where a reader was on another. Of a place that the cluster has not come to nobody can have read:
/// behind it nothing would ever be told that the reader does not know.
async fn reached(node: &Node, place: Option<EventPlace>) -> Result<(), ApiError> {
    let Some(EventPlace { index, .. }) = place else { return Ok(()) };
    if index <= *node.raft.watch_applied().borrow() {
        return Ok(());
    }
    let there = node.proposer.read_index().await;
    if let Ok(there) = there
        && there < index
    {
        let detail = format!(
            "the cluster's log is at {there} and has no event {index}: that id is of another cluster, or of one before it was \
             restored; begin without it"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "event_ahead", detail));
    }
    // Without a majority nobody knows; what this node is still told may reach it.
    freshness::applied_here(node, index).await
}

/// Refuses to go on from a place behind which events of the cluster are kept no more: they would be missed in silence. Whoever
/// begins, at 0, asks for what there is.
fn kept(node: &Node, only: Option<JobId>, place: Option<EventPlace>) -> Result<(), ApiError> {
    let Some(place) = place.filter(|place| place.index > 0 && only.is_none()) else { return Ok(()) };
    let Some(first) = node.raft.read(|state| state.cluster_events_gone(place)) else { return Ok(()) };
    let detail = format!(
        "of the cluster's events the last {CLUSTER_EVENTS_KEPT_MAX} are kept, the first of them {first}, and some behind that id \
         are gone: read the audit log for them, and begin with after=0 for all that is kept"
    );
    Err(ApiError::new(StatusCode::GONE, "events_gone", detail))
}

/// Why there is no stream for now.
fn full(why: Full) -> ApiError {
    let (status, detail) = match why {
        Full::All(most) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{most} streams of events are read on this node already; read them on another"),
        ),
        Full::Own(share) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("{share} streams of events are read with this token on this node already, which is all it may"),
        ),
        Full::Maker(has) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "{has} streams of events are read on this node already with this token and others of whoever answers for it, and \
                 what is left is for others"
            ),
        ),
    };
    ApiError::new(status, "busy", detail).retry_after(5)
}

/// A part of a history as a list.
fn list(node: &Node, only: Option<JobId>, after: EventPlace, limit: usize) -> Page<JobEvent> {
    node.raft.read(|state| {
        // One more, which says whether there is more.
        let mut events = state.events_behind(after, only, limit + 1);
        let more = events.len() > limit;
        events.truncate(limit);
        let last = events.last().filter(|_| more);
        let next = last.map(|last| EventCursor::behind(last.place, last.is_last).to_string());
        Page { items: events.iter().map(document_of).collect(), next }
    })
}

fn document_of(placed: &PlacedEvent<'_>) -> JobEvent {
    let index = placed.place.index;
    match placed.event {
        Happening::OfJob(event) => JobEvent {
            job_id: placed.place.job.to_string(),
            index,
            at: rfc3339(event.at_ms),
            kind: event.what.name().into(),
            message: event.to_string(),
            worker: event.worker.as_ref().map(|worker| worker.worker_id.clone()),
            unit: event.unit.map(|unit| unit.to_string()),
            node: None,
        },
        Happening::OfCluster(event) => JobEvent {
            job_id: String::new(),
            index,
            at: rfc3339(event.at_ms),
            kind: event.what.name().into(),
            message: event.to_string(),
            worker: None,
            unit: None,
            node: event.node.as_ref().map(|node| node.name.clone()),
        },
    }
}

/// One event as it travels.
fn message(placed: &PlacedEvent<'_>) -> Bytes {
    let document = document_of(placed);
    let id = EventCursor::behind(placed.place, placed.is_last);
    // JSON has no line ends in it.
    let data = serde_json::to_string(&document).unwrap_or_default();
    format!("event: {}\nid: {id}\ndata: {data}\n\n", document.kind).into()
}

/// One reader's place.
struct Reader {
    node: Node,
    only: Option<JobId>,
    place: EventPlace,
    /// What the reader showed.
    shown: Option<Shown>,
}

impl Reader {
    /// What is behind its place, as it travels, and where the reader is then.
    fn next(&mut self) -> (Vec<Bytes>, EventPlace) {
        self.node.raft.read(|state| {
            let events = state.events_behind(self.place, self.only, BATCH);
            let place = events.last().map_or(self.place, |last| last.place);
            (events.iter().map(message).collect(), place)
        })
    }

    /// Whether nothing will be added to what there is.
    fn is_over(&self) -> bool {
        let Some(job) = self.only else { return false };
        self.node.raft.read(|state| state.job(job).is_none_or(|job| !job.is_open()))
    }

    /// Tells what comes until there is nothing more to come, nobody reads, or the node stops.
    async fn run(mut self, sender: Sender<Result<Bytes, std::io::Error>>, hang_up: Option<HangUp>, _place: Listener) {
        let stop = hang_up.map(|HangUp(token)| token).unwrap_or_default();
        let mut applied = self.node.raft.watch_applied();
        let mut withdrawn = self.node.sign_in.watch_withdrawn();
        let mut hello = format!("retry: {RETRY_MS}\n");
        // An id without data is kept by the reader, so that one who is cut off before the first event misses none.
        let _ = write!(hello, "id: {}\n\n", EventCursor(self.place));
        let (mut waiting, mut said) = (vec![Bytes::from(hello)], Instant::now());
        loop {
            if !waiting.is_empty() {
                said = Instant::now();
            }
            for piece in waiting.drain(..) {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    sent = sender.send_timeout(Ok(piece), SLOW_WITHIN) => match sent {
                        Ok(()) => {}
                        Err(tokio::sync::mpsc::error::SendTimeoutError::Closed(_)) => return,
                        Err(tokio::sync::mpsc::error::SendTimeoutError::Timeout(_)) => {
                            tracing::info!("a reader of events that does not read is dropped");
                            stop.cancel();
                            return;
                        }
                    },
                }
            }
            applied.borrow_and_update();
            withdrawn.borrow_and_update();
            // Revoked, rotated, over, or let in by a word that holds no more: who reads on has to show another.
            if self.shown.is_some_and(|shown| !shown.is_valid(&self.node)) {
                return;
            }
            // One that fell so far behind is told so where it connects again.
            if self.place.index > 0 && kept(&self.node, self.only, Some(self.place)).is_err() {
                return;
            }
            let was_over = self.is_over();
            let (next, place) = self.next();
            if !next.is_empty() {
                (waiting, self.place) = (next, place);
                continue;
            }
            if was_over {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sender.closed() => return,
                looked = withdrawn.changed() => if looked.is_err() { return },
                () = tokio::time::sleep_until(said + HEARTBEAT) => waiting.push(Bytes::from_static(b": here\n\n")),
                changed = applied.changed() => match changed {
                    Ok(()) => tokio::time::sleep(GATHER).await,
                    // Consensus has ended here.
                    Err(_) => return,
                },
            }
        }
    }
}
