//! What is asked of a node that only scans goes to its gateway, with the token of whoever asks.
//!
//! Such a node stands outside the log: it knows no token, no job but its own units', and proposes nothing but its own part
//! (`access`). A member takes the request as its own API would, and lets in bearers of a known token alone. A node that only
//! scans by a policy that it has not acted on yet still follows the log, and hands on orders alone.
//!
//! A stale answer needs no leader: a member that is alive tells what it has, through this node as itself.
//!
//! A gateway that is silent is left for the next member (`forward/way.rs`). Answers travel as they are made, so that a report or a job's events are as long as they are.

mod way;

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use pentora_p2p::FrameStream;
use pentora_raft::Digest;

use self::way::Asked;
pub(super) use self::way::Silent;
use super::auth::bearer;
use super::listeners::{Full, Listener, Listeners};
use super::shares::{Patience, Share, Shares};
use super::whose::Whose;
use super::{ApiError, CameFrom, MIN_INDEX_WITHIN, Node, freshness};
use crate::rpc::calls::{ApiAnswer, ApiCall, FORWARDED_FROM, next_part};
use crate::sign_in::{is_jwt, look};

/// How long the gateway may take to begin its answer: a large feed travels there, and is made durable.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// What of a request's head is handed on.
const HANDED_ON: [&str; 5] = ["authorization", "content-type", "idempotency-key", "accept", "last-event-id"];
/// What any known token may ask, for a node that knows no token itself.
const OWN_TOKEN: &str = "/api/v1/tokens/self";
/// Bodies up to this size are read before a member has looked at the token, in bytes: less than the head of a request may have.
const UNASKED_BYTES_MAX: u64 = 16 << 10;
/// Where a node takes bundles in.
const IMPORTS: &str = "/api/v1/imports";
/// Where the node that is asked is taken out of its cluster.
const LEAVE: &str = "/api/v1/cluster/leave";
/// Where an answer says how far the log was.
const INDEX: &str = "pentora-index";
/// What an administrator alone is answered, for a node that knows no token itself.
const ADMIN_ONLY: &str = "/api/v1/tokens";
/// Requests that a node hands on at once. Each has a stream to the gateway, which gives a peer sixteen; results and
/// proposals need some.
const AT_ONCE: usize = 8;
/// Of these, whoever shows one token, streams among them: half is for others, whatever one of them waits for.
const OF_ONE: usize = 4;
/// Of these, streams of events, which last: the rest stays free.
const STREAMS_AT_ONCE: usize = 5;
/// Of those, the streams that are read with one token. With the token itself and with a session of it are two here.
const STREAMS_OF_ONE: usize = 2;
/// How long a request waits for its turn.
const PLACE_WITHIN: Patience = Patience { own: Duration::from_secs(2), all: Duration::from_secs(2) };

/// The way to a member, for the requests of one route.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    /// This node.
    pub(super) node: Node,
    /// Places among the requests that are handed on, of all routes.
    pub(super) places: Shares,
    /// Places among the streams, of all routes.
    pub(super) streams: Listeners,
    /// Members that were silent lately, of all routes.
    pub(super) silent: Silent,
    /// The largest body that is taken, in bytes.
    pub(super) body_max: usize,
}

/// Hands requests to a member where this node only scans.
pub(super) async fn to_member(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let node = &gateway.node;
    let own = node.raft.node();
    let only_scans = || node.raft.read(|state| state.node(own).is_some_and(|record| !record.may_vote()));
    if !node.raft.is_outside() && (request.method().is_safe() || !only_scans()) {
        return next.run(request).await;
    }
    let is_stream = request.headers().get(header::ACCEPT).is_some_and(|kind| kind == "text/event-stream");
    let stream = match is_stream.then(|| gateway.streams.take(&reader(&request))).transpose() {
        Ok(stream) => stream,
        Err(Full::All(most)) => return busy(most, "streams of events").into_response(),
        Err(Full::Own(share) | Full::Maker(share)) => return busy_with(share, "streams of events").into_response(),
    };
    let answer = gateway.hand_on(request).await.unwrap_or_else(IntoResponse::into_response);
    match stream {
        Some(place) => held(answer, place),
        None => answer,
    }
}

/// Whose stream it is, as far as a node can tell that knows no token: by what is shown, which the member looks at. A session is told by
/// the token that it says it is of, so that more sessions are no more places.
pub(super) fn reader(request: &Request) -> Whose {
    let shown = bearer(request).unwrap_or_default();
    let of_session = if is_jwt(shown) { look(shown).ok().and_then(|look| look.subject()) } else { None };
    let who = of_session.unwrap_or_else(|| shown.to_owned());
    Whose::alone(if who.is_empty() { who } else { Digest::of(who.as_bytes()).to_string() })
}

/// An answer that holds a place for as long as its body is read.
fn held(answer: Response, place: Listener) -> Response {
    let (head, body) = answer.into_parts();
    let pieces = body.into_data_stream().map(move |piece| {
        let _held = &place;
        piece
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Places for the requests that a node hands on.
pub(super) fn places() -> Shares {
    Shares::new(AT_ONCE, OF_ONE)
}

/// Places for the streams that a node hands on.
pub(super) fn streams() -> Listeners {
    Listeners::new(STREAMS_AT_ONCE, STREAMS_OF_ONE)
}

fn busy_with(share: usize, what: &str) -> ApiError {
    let detail = format!("this node only scans, and hands on at most {share} {what} with one token at once");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(5)
}

fn busy(most: usize, what: &str) -> ApiError {
    let detail = format!("this node only scans, and hands on at most {most} {what} at once");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
}

fn unreachable(why: &str) -> ApiError {
    let detail = format!("this node only scans and hands requests to a member, which does not answer: {why}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "leader_unreachable", detail).retry_after(1)
}

/// Lets a request through that is about the node that is asked. Where that stands outside the log, it knows no token: a
/// member has to know the one that the request comes with.
pub(super) async fn once_let_in(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    if !gateway.node.raft.is_outside() {
        return next.run(request).await;
    }
    if request.uri().path() == LEAVE {
        return gateway.leave(request).await;
    }
    let token = request.headers().get(header::AUTHORIZATION).cloned();
    match gateway.let_in(token).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    }
}

impl Gateway {
    /// A place among the requests that are handed on, for whoever asks.
    async fn place(&self, whose: &Whose) -> Result<Share, ApiError> {
        self.places.take(whose, PLACE_WITHIN).await.map_err(|full| match full {
            Full::All(most) => busy(most, "requests"),
            Full::Own(share) | Full::Maker(share) => busy_with(share, "requests"),
        })
    }

    /// What a member is asked before the body of a request is read: whether it knows the token, where the body is large, or of
    /// unknown size, or not handed on.
    pub(super) fn before_its_body(request: &Request) -> Option<Request> {
        let is_small = request.body().size_hint().upper().is_some_and(|bytes| bytes <= UNASKED_BYTES_MAX);
        // Its handler answers for this node, and not for the member that knows the token.
        if is_small && request.uri().path() != IMPORTS {
            return None;
        }
        let mut asked = Request::new(Body::empty());
        *asked.uri_mut() = axum::http::Uri::from_static(OWN_TOKEN);
        if let Some(token) = request.headers().get(header::AUTHORIZATION) {
            asked.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        if let Some(from) = request.extensions().get::<CameFrom>() {
            asked.extensions_mut().insert(from.clone());
        }
        Some(asked)
    }

    /// Whether a member knows a token, by its answer to `asked`.
    ///
    /// # Errors
    /// The member's refusal.
    pub(super) async fn knows(&self, asked: Request) -> Result<(), Response> {
        let answer = self.hand_on(asked).await.map_err(IntoResponse::into_response)?;
        // A member without tokens knows none, and refuses nobody.
        let is_known = answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND;
        if is_known { Ok(()) } else { Err(answer) }
    }

    /// Takes this node out, as an order to a member: that notes it in the audit log, as it does when another node is taken out.
    async fn leave(&self, request: Request) -> Response {
        let node = &self.node;
        let (mut head, _nothing) = request.into_parts();
        // A name may have characters that mean something in a path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let as_it_is = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let name: String = node.name.bytes().map(as_it_is).collect();
        let path = format!("/api/v1/cluster/nodes/{name}/remove");
        head.uri = axum::http::Uri::try_from(path).expect("what is not plain is hexadecimal");
        node.departure.ask();
        let answer = tokio::select! {
            answer = self.hand_on(Request::from_parts(head, Body::from("{}"))) => answer,
            // Cut off before the member's answer was here.
            () = node.departure.until_removed() => return super::members::has_left(node),
        };
        let answer = answer.unwrap_or_else(IntoResponse::into_response);
        if !answer.status().is_success() && !node.departure.is_removed() {
            node.departure.stays();
        }
        answer
    }

    /// Whether a member knows a token, as an administrator's.
    async fn let_in(&self, token: Option<HeaderValue>) -> Result<(), Response> {
        let mut asked = Request::new(Body::empty());
        *asked.uri_mut() = axum::http::Uri::from_static(ADMIN_ONLY);
        if let Some(token) = token {
            asked.headers_mut().insert(header::AUTHORIZATION, token);
        }
        match self.hand_on(asked).await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(response),
            Err(error) => Err(error.into_response()),
        }
    }

    async fn hand_on(&self, request: Request) -> Result<Response, ApiError> {
        let node = &self.node;
        let is_read = request.method().is_safe();
        let is_stale = is_read && freshness::asks_stale(request.uri().query());
        let whose = reader(&request);
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, self.body_max).await;
        let body = body.map_err(|error| {
            let detail = format!("the request's body: {error}");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        })?;
        // Not before its body is here, which a client may be slow with.
        let place = self.place(&whose).await?;
        let text = |name: &str| Some((name.to_owned(), head.headers.get(name)?.to_str().ok()?.to_owned()));
        let from = head.extensions.get::<CameFrom>().map_or_else(String::new, |from| from.0.clone());
        let headers = HANDED_ON.iter().filter_map(|name| text(name));
        let call = ApiCall {
            method: head.method.as_str().to_owned(),
            path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: headers.chain([(FORWARDED_FROM.to_owned(), format!("{from} through {}", node.name))]).collect(),
        };
        let asked = Asked { call, body, is_read, is_stale };
        let (ApiAnswer { status, headers, .. }, stream) = self.ask(&asked).await?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = (status, Body::from_stream(pieces(stream, place))).into_response();
        response.headers_mut().clear();
        for (name, value) in headers {
            if name == INDEX {
                if is_stale {
                    continue;
                }
                // Whoever asks this node next finds what it ordered.
                node.raft.wait_applied(value.parse().unwrap_or(0), MIN_INDEX_WITHIN).await;
            } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}

/// An answer's body as it comes. It breaks off where the stream does, so that nobody takes a part for the whole.
fn pieces(stream: FrameStream, place: Share) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold(Some((stream, place)), |held| async move {
        let (mut stream, place) = held?;
        match next_part(&mut stream).await {
            Ok(Some(piece)) => Some((Ok(piece), Some((stream, place)))),
            Ok(None) => None,
            Err(error) => Some((Err(std::io::Error::other(error.to_string())), None)),
        }
    })
}
