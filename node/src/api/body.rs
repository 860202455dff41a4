//! Reads request bodies, within a size, a time and a number at once, before their handlers run.
//!
//! A body takes a place once more than [`MIDDLE_BYTES`] of it are here, whatever its head says, and one of few once those are more than
//! [`LARGE_BYTES`], which few routes take. Of both a bearer has a share, so that nobody holds all of them, nor memory by the number of
//! connections. Whoever sends slower than anybody does who means to send is not waited for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use pentora_raft::Digest;
use tokio::time::Instant;

use super::ApiError;
use super::auth::{CameFrom, bearer};
use super::listeners::Full;
use super::routes::Route;
use super::shares::{Patience, Share, Shares};
use super::whose::Whose;

/// The largest request body, in bytes: a target file with a few million lines.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;
/// Bodies above this size count against [`LARGE_AT_ONCE`], in bytes, and most routes take none. Ours: everything but target files and
/// feeds is far smaller.
const LARGE_BYTES: usize = 1 << 20;
/// Large bodies that are read and worked on at once, which bounds their memory.
const LARGE_AT_ONCE: usize = 2;
/// Bodies above this size count against [`MIDDLE_AT_ONCE`], in bytes. Ours: 512 connections hold 32 MiB below it.
const MIDDLE_BYTES: usize = 64 << 10;
/// Bodies above that which are read and worked on at once: 32 MiB.
const MIDDLE_AT_ONCE: usize = 32;
/// Of these, whoever shows one token.
const MIDDLE_OF_ONE: usize = 4;
/// How long a body may take. Ours: 64 MiB at 1 MiB/s.
const BODY_WITHIN: Duration = Duration::from_secs(64);
/// Of a body at least [`PACE_BYTES`] come within this time, or its end. Ours: a tenth of what a mobile phone sends at its worst.
pub(super) const PACE_WITHIN: Duration = Duration::from_secs(10);
pub(super) const PACE_BYTES: usize = 16 << 10;
/// How long a bearer's body waits for those that it sent before, and then for those of others.
const PATIENCE: Patience = Patience { own: Duration::from_secs(10), all: BODY_WITHIN };

/// What bodies are read by.
#[derive(Debug)]
pub(super) struct Bodies {
    /// The routes that take large ones, by path and method.
    large: BTreeSet<(String, String)>,
    /// Places for large bodies, held until the request is answered.
    places: Shares,
    /// The same for those of a middling size.
    middle: Shares,
}

impl Bodies {
    pub(super) fn of(routes: &[Route]) -> Self {
        let large = routes.iter().filter(|route| route.takes_large);
        Self {
            large: large.map(|route| (route.path.to_string(), route.method.to_string())).collect(),
            places: Shares::new(LARGE_AT_ONCE, 1),
            middle: Shares::new(MIDDLE_AT_ONCE, MIDDLE_OF_ONE),
        }
    }

    /// The most bytes that a route takes.
    fn most(&self, path: &str, method: &Method) -> usize {
        let is_large = self.large.contains(&(path.to_owned(), method.to_string()));
        if is_large { BODY_BYTES_MAX } else { LARGE_BYTES }
    }

    /// The place that a body of so many bytes needs, where it needs another than it `has`.
    async fn place(&self, bytes: usize, has: usize, whose: &Whose) -> Result<Option<Share>, ApiError> {
        let places = match (bytes > LARGE_BYTES, bytes > MIDDLE_BYTES) {
            (true, _) if has <= LARGE_BYTES => &self.places,
            (false, true) if has <= MIDDLE_BYTES => &self.middle,
            _ => return Ok(None),
        };
        let busy = |status, detail| ApiError::new(status, "busy", detail).retry_after(1);
        places.take(whose, PATIENCE).await.map(Some).map_err(|full| match full {
            Full::Own(share) | Full::Maker(share) => {
                let detail = format!("other large requests of yours are being worked on: {share} at a time");
                busy(StatusCode::TOO_MANY_REQUESTS, detail)
            }
            Full::All(_) => {
                busy(StatusCode::SERVICE_UNAVAILABLE, "too many large requests are being worked on".to_owned())
            }
        })
    }

    /// The body whole, of at most so many bytes, and its places where it is large.
    async fn collect<E: std::fmt::Display>(
        &self,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most: usize,
        whose: &Whose,
    ) -> Result<(Bytes, Option<Share>), ApiError> {
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
            let since = Instant::now();
            if let Some(place) = self.place(whole.len() + piece.len(), whole.len(), whose).await? {
                places = Some(place);
                waited += since.elapsed();
                (paced, brought) = (Instant::now(), 0);
            }
            brought += piece.len();
            whole.extend_from_slice(&piece);
        }
    }
}

/// Reads the body and hands it on whole, or answers why not.
pub(super) async fn read(State(bodies): State<Arc<Bodies>>, request: Request, next: Next) -> Response {
    let whose = whose(&request);
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let most = bodies.most(path, request.method());
    let (head, body) = request.into_parts();
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return too_large(most).into_response();
    }
    let (bytes, places) = match bodies.collect(body.into_data_stream(), most, &whose).await {
        Ok(collected) => collected,
        Err(error) => return error.into_response(),
    };
    let answer = next.run(Request::from_parts(head, Body::from(bytes))).await;
    drop(places);
    answer
}

/// Whose request it is: by its token where that is known here, else by what it shows, and else by where it came from.
fn whose(request: &Request) -> Whose {
    let shown = || bearer(request).map(|token| Digest::of(token.as_bytes()).to_string());
    let from = || request.extensions().get::<CameFrom>().map(|from| from.0.clone());
    match Whose::beside(request.extensions()) {
        nobody if nobody.is_anybody() => Whose::alone(shown().or_else(from).unwrap_or_default()),
        known => known,
    }
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

    fn of(who: &str) -> Whose {
        Whose::alone(who)
    }

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
        let dripping = bodies.collect(drip(1), BODY_BYTES_MAX, &of("v")).await.map(drop).map_err(status);
        assert_eq!((dripping, began.elapsed().as_secs()), (Err(408), 10));
        let began = Instant::now();
        let endless = bodies.collect(drip(8 << 10), BODY_BYTES_MAX, &of("v")).await.map(drop).map_err(status);
        assert_eq!(endless, Err(408));
        assert!((64..=80).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        let slow = Box::pin(drip(2 << 10).take(30));
        let (whole, places) = bodies.collect(slow, BODY_BYTES_MAX, &of("v")).await.unwrap();
        assert_eq!((whole.len(), places.is_none()), (60 << 10, true), "small bodies take no place");
        assert_eq!((bodies.places.free().0, bodies.middle.free().0), (LARGE_AT_ONCE, MIDDLE_AT_ONCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bearer_has_one_large_body_at_a_time_and_leaves_room_for_others() {
        let bodies = Bodies::of(&routes());
        let large = || stream::iter((0..3).map(|_| piece(LARGE_BYTES)));
        let first = bodies.collect(large(), BODY_BYTES_MAX, &of("a")).await.unwrap();
        assert!(first.1.is_some());
        assert_eq!(bodies.collect(large(), BODY_BYTES_MAX, &of("a")).await.map(drop).map_err(status), Err(429));
        let other = bodies.collect(large(), BODY_BYTES_MAX, &of("b")).await.unwrap();
        assert_eq!(bodies.collect(large(), BODY_BYTES_MAX, &of("c")).await.map(drop).map_err(status), Err(503));
        drop(first);
        let again = bodies.collect(large(), BODY_BYTES_MAX, &of("a")).await.unwrap();
        drop((other, again));
        assert_eq!((bodies.places.free().0, bodies.middle.free().0), (LARGE_AT_ONCE, MIDDLE_AT_ONCE));
        let over = bodies.collect(large(), LARGE_BYTES, &of("a")).await.map(drop).map_err(status);
        assert_eq!(over, Err(413), "whatever its head said");
    }

    /// What filled a node: many connections with a body each of nearly the size from which they had counted.
    #[tokio::test(start_paused = true)]
    async fn bodies_of_a_middling_size_have_places_too_of_which_a_bearer_has_a_share() {
        let bodies = Bodies::of(&routes());
        let middling = || stream::iter((0..15).map(|_| piece(MIDDLE_BYTES)));
        let mut held = Vec::new();
        for _ in 0..MIDDLE_OF_ONE {
            held.push(bodies.collect(middling(), LARGE_BYTES, &of("a")).await.unwrap());
        }
        assert_eq!(bodies.collect(middling(), LARGE_BYTES, &of("a")).await.map(drop).map_err(status), Err(429));
        for number in held.len()..MIDDLE_AT_ONCE {
            held.push(bodies.collect(middling(), LARGE_BYTES, &of(&format!("b{number}"))).await.unwrap());
        }
        assert_eq!(bodies.collect(middling(), LARGE_BYTES, &of("c")).await.map(drop).map_err(status), Err(503));
        let small = bodies.collect(stream::iter([piece(MIDDLE_BYTES)]), LARGE_BYTES, &of("a")).await.unwrap();
        assert!(small.1.is_none());
        held.remove(0);
        // One that grows on gives its place back for one of the few.
        let large = stream::iter((0..20).map(|_| piece(MIDDLE_BYTES)));
        let (_, place) = bodies.collect(large, BODY_BYTES_MAX, &of("d")).await.unwrap();
        assert_eq!((bodies.places.free().0, bodies.middle.free().0), (LARGE_AT_ONCE - 1, 1));
        drop((place, held));
    }
}
