//! Reads request bodies, within a size, a time and a number at once, before their handlers run.
//!
//! A body is large once more than [`LARGE_BYTES`] of it are here, whatever its head says, and takes one of few places then: those of
//! routes that take large ones alone, and one of each bearer, so that nobody holds all of them. Whoever sends slower than anybody
//! does who means to send is not waited for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use pentora_raft::Digest;
use pentora_raft::command::Author;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ApiError;
use super::auth::{CameFrom, bearer};
use super::routes::Route;

/// The largest request body, in bytes: a target file with a few million lines.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;
/// Bodies above this size count against [`LARGE_AT_ONCE`], in bytes, and most routes take none. Ours: everything but target files and
/// feeds is far smaller.
const LARGE_BYTES: usize = 1 << 20;
/// Large bodies that are read and worked on at once, which bounds their memory.
const LARGE_AT_ONCE: usize = 2;
/// How long a body may take. Ours: 64 MiB at 1 MiB/s.
const BODY_WITHIN: Duration = Duration::from_secs(64);
/// Of a body at least [`PACE_BYTES`] come within this time, or its end. Ours: a tenth of what a mobile phone sends at its worst.
const PACE_WITHIN: Duration = Duration::from_secs(10);
const PACE_BYTES: usize = 16 << 10;
/// How long a bearer's second large body waits for the first.
const OWN_WITHIN: Duration = Duration::from_secs(10);

/// What bodies are read by.
#[derive(Debug)]
pub(super) struct Bodies {
    /// The routes that take large ones, by path and method.
    large: BTreeSet<(String, String)>,
    /// Places for large bodies.
    places: Arc<Semaphore>,
    /// The bearers that hold one, or wait for it.
    own: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Places that a large body holds until its request is answered.
#[derive(Debug)]
struct Places {
    _own: OwnedSemaphorePermit,
    _large: OwnedSemaphorePermit,
}

impl Bodies {
    pub(super) fn of(routes: &[Route]) -> Self {
        let large = routes.iter().filter(|route| route.takes_large);
        Self {
            large: large.map(|route| (route.path.to_string(), route.method.to_string())).collect(),
            places: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            own: Mutex::default(),
        }
    }

    /// The most bytes that a route takes.
    fn most(&self, path: &str, method: &Method) -> usize {
        let is_large = self.large.contains(&(path.to_owned(), method.to_string()));
        if is_large { BODY_BYTES_MAX } else { LARGE_BYTES }
    }

    /// The one place for a large body of a bearer.
    fn own(&self, who: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Places that somebody holds or waits for are known to them as well.
        own.retain(|_, place| Arc::strong_count(place) > 1 || place.available_permits() == 0);
        Arc::clone(own.entry(who.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// Places for a large body.
    async fn places(&self, who: &str) -> Result<Places, ApiError> {
        let busy = |status, detail: &str| ApiError::new(status, "busy", detail).retry_after(1);
        let own = tokio::time::timeout(OWN_WITHIN, self.own(who).acquire_owned()).await;
        let own = own.ok().and_then(Result::ok).ok_or_else(|| {
            busy(StatusCode::TOO_MANY_REQUESTS, "another large request of yours is being worked on: one is at a time")
        })?;
        let large = tokio::time::timeout(BODY_WITHIN, Arc::clone(&self.places).acquire_owned()).await;
        let large = large.ok().and_then(Result::ok);
        let large = large
            .ok_or_else(|| busy(StatusCode::SERVICE_UNAVAILABLE, "too many large requests are being worked on"))?;
        Ok(Places { _own: own, _large: large })
    }

    /// The body whole, of at most so many bytes, and its places where it is large.
    async fn collect<E: std::fmt::Display>(
        &self,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most: usize,
        who: &str,
    ) -> Result<(Bytes, Option<Places>), ApiError> {
        let began = Instant::now();
        // What is waited for here is not held against whoever sends.
        let (mut waited, mut places, mut whole) = (Duration::ZERO, None, Vec::new());
        let (mut paced, mut brought) = (began, 0);
        loop {
            let piece = match tokio::time::timeout_at(paced + PACE_WITHIN, pieces.next()).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok((whole.into(), places)),
                Err(_elapsed) if brought >= PACE_BYTES && began.elapsed() < BODY_WITHIN + waited => {
                    (paced, brought) = (Instant::now(), 0);
                    continue;
                }
                Err(_elapsed) => return Err(too_slow()),
            };
            let piece =
                piece.map_err(|error| ApiError::bad_request(format!("the request's body broke off: {error}")))?;
            if whole.len() + piece.len() > most {
                return Err(too_large(most));
            }
            if began.elapsed() >= BODY_WITHIN + waited {
                return Err(too_slow());
            }
            if places.is_none() && whole.len() + piece.len() > LARGE_BYTES {
                let since = Instant::now();
                places = Some(self.places(who).await?);
                waited = since.elapsed();
                (paced, brought) = (Instant::now(), 0);
            }
            brought += piece.len();
            whole.extend_from_slice(&piece);
        }
    }
}

/// Reads the body and hands it on whole, or answers why not.
pub(super) async fn read(State(bodies): State<Arc<Bodies>>, request: Request, next: Next) -> Response {
    let who = who(&request);
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let most = bodies.most(path, request.method());
    let (head, body) = request.into_parts();
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return too_large(most).into_response();
    }
    let (bytes, places) = match bodies.collect(body.into_data_stream(), most, &who).await {
        Ok(collected) => collected,
        Err(error) => return error.into_response(),
    };
    let answer = next.run(Request::from_parts(head, Body::from(bytes))).await;
    drop(places);
    answer
}

/// Whose request it is: by its token where that is known here, else by what it shows, and else by where it came from.
fn who(request: &Request) -> String {
    let name = request.extensions().get::<Author>().map(|author| author.who.clone()).filter(|who| !who.is_empty());
    let shown = || bearer(request).map(|token| Digest::of(token.as_bytes()).to_string());
    let from = || request.extensions().get::<CameFrom>().map(|from| from.0.clone());
    name.or_else(shown).or_else(from).unwrap_or_default()
}

fn too_slow() -> ApiError {
    let detail = format!(
        "the request's body did not come within {} s, at {} KiB in {} s at least",
        BODY_WITHIN.as_secs(),
        PACE_BYTES >> 10,
        PACE_WITHIN.as_secs()
    );
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
}

fn too_large(most: usize) -> ApiError {
    let detail = format!("the request's body is larger than the {most} bytes that this route takes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::super::routes::routes;
    use super::*;

    type Piece = Result<Bytes, Infallible>;

    fn piece(bytes: usize) -> Piece {
        Ok(Bytes::from(vec![b' '; bytes]))
    }

    /// Pieces of so many bytes, one a second, without an end.
    fn drip(bytes: usize) -> impl Stream<Item = Piece> + Unpin {
        let every = Duration::from_secs(1);
        Box::pin(stream::unfold(tokio::time::interval(every), move |mut every| async move {
            every.tick().await;
            Some((piece(bytes), every))
        }))
    }

    fn status(error: ApiError) -> u16 {
        error.into_response().status().as_u16()
    }

    #[test]
    fn most_routes_take_small_bodies_alone_and_those_with_targets_rules_and_feeds_large_ones() {
        let bodies = Bodies::of(&routes());
        for path in ["/api/v1/scans", "/api/v1/schedules", "/api/v1/keeps", "/api/v1/exclusions"] {
            assert_eq!(bodies.most(path, &Method::POST), BODY_BYTES_MAX, "{path}");
        }
        assert_eq!(bodies.most("/api/v1/feeds/{kind}", &Method::PUT), BODY_BYTES_MAX);
        for path in ["/api/v1/auth/login", "/api/v1/tokens", "/api/v1/jobs/{id}/cancel", ""] {
            assert_eq!(bodies.most(path, &Method::POST), LARGE_BYTES, "{path}");
        }
        assert_eq!(bodies.most("/api/v1/scans", &Method::GET), LARGE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_ended_after_ten_seconds_and_one_that_is_slow_and_comes_is_not() {
        let bodies = Bodies::of(&routes());
        let began = Instant::now();
        let dripping = bodies.collect(drip(1), BODY_BYTES_MAX, "v").await.map(drop).map_err(status);
        assert_eq!((dripping, began.elapsed().as_secs()), (Err(408), 10));
        let began = Instant::now();
        let endless = bodies.collect(drip(8 << 10), BODY_BYTES_MAX, "v").await.map(drop).map_err(status);
        assert_eq!(endless, Err(408));
        assert!((64..=80).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        let slow = Box::pin(drip(8 << 10).take(30));
        let (whole, places) = bodies.collect(slow, BODY_BYTES_MAX, "v").await.unwrap();
        assert_eq!((whole.len(), places.is_none()), (240 << 10, true), "small bodies take no place");
        assert_eq!(bodies.places.available_permits(), LARGE_AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bearer_has_one_large_body_at_a_time_and_leaves_room_for_others() {
        let bodies = Bodies::of(&routes());
        let large = || stream::iter((0..3).map(|_| piece(LARGE_BYTES)));
        let first = bodies.collect(large(), BODY_BYTES_MAX, "a").await.unwrap();
        assert!(first.1.is_some());
        assert_eq!(bodies.collect(large(), BODY_BYTES_MAX, "a").await.map(drop).map_err(status), Err(429));
        let other = bodies.collect(large(), BODY_BYTES_MAX, "b").await.unwrap();
        assert_eq!(bodies.collect(large(), BODY_BYTES_MAX, "c").await.map(drop).map_err(status), Err(503));
        drop(first);
        let again = bodies.collect(large(), BODY_BYTES_MAX, "a").await.unwrap();
        drop((other, again));
        assert_eq!(bodies.places.available_permits(), LARGE_AT_ONCE);
        assert!(bodies.own("d").available_permits() == 1 && bodies.own.lock().unwrap().len() == 1, "none is kept");
        let over = bodies.collect(large(), LARGE_BYTES, "a").await.map(drop).map_err(status);
        assert_eq!(over, Err(413), "whatever its head said");
    }
}
