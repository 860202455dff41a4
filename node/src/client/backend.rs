//! One try of one call: over HTTP, or into a router in this process.
//!
//! Where there are several addresses, none of them is waited for alone: one that does not begin to answer soon is left to it
//! and the next is asked as well, and one that knows no leader is passed over for one that does. What may not be done twice
//! is sent to one node, which a question that changes nothing has found.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, stream};
use tower::ServiceExt;

use super::ClientError;
use crate::config::Secret;
use crate::document::Problem;
use crate::tls::{Fault, Trust, fault_in, innermost, nobody};

/// A node on the same network accepts within milliseconds; across the world within a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence in an answer: a node that waits for a leader says so within seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one of several addresses may leave the head of an answer out before the next is asked as well. Ours: longer than an
/// election, which a node waits out before it answers.
const HEAD_WITHIN: Duration = Duration::from_secs(2);

/// Longest answer of a node that cannot do now what it is asked, in bytes: a sentence.
const EXCUSE_BYTES_MAX: usize = 64 << 10;

/// The same where a file was sent: it is checked and copied to other nodes before there is an answer.
const UPLOAD_READ_TIMEOUT: Duration = Duration::from_secs(3600);

/// An answer's bytes as they come; an error is what the connection failed with.
pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// A request, ready to be sent any number of times.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
    pub(super) idempotency_key: Option<String>,
    pub(super) token: Option<Secret>,
    /// Of a stream of events: the id behind which it is wanted, empty for its beginning.
    pub(super) follow: Option<String>,
}

impl Call {
    /// Whether it may be sent again, and to two nodes at once: it changes nothing, or its key makes it one.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method == Method::GET || self.idempotency_key.is_some()
    }

    /// A question that changes nothing and that a node answers well where it hears a leader. It is shown no token.
    fn scout() -> Self {
        let (method, path) = (Method::GET, "/readyz".to_owned());
        Self { method, path, body: None, idempotency_key: None, token: None, follow: None }
    }
}

/// An answer, its body still to come.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: BodyStream,
    /// Whether the node says that it has done nothing, and may be asked again.
    pub(super) is_not_done: bool,
}

/// How a try failed.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Nobody took the connection.
    Connect { endpoints: String, reason: String },
    /// Who took it is not who it should be, and was sent nothing.
    Untrusted { endpoints: String, reason: String },
    /// It broke later.
    Broken { reason: String },
    /// The request could not even be built.
    Setup { reason: String },
}

impl Attempt {
    /// What is told where none of the addresses took the request: who is not trusted before who is not there.
    fn of_all(all: Vec<Self>, endpoints: &[String]) -> Self {
        let mut reasons = String::new();
        for attempt in all {
            match attempt {
                Self::Connect { reason, .. } => reasons = reason,
                other => return other,
            }
        }
        Self::Connect { endpoints: endpoints.join(", "), reason: reasons }
    }

    pub(super) fn into_error(self) -> ClientError {
        match self {
            Self::Connect { endpoints, reason } => ClientError::Unreachable { endpoints, reason },
            Self::Untrusted { endpoints, reason } => ClientError::Untrusted { endpoints, reason },
            Self::Broken { reason } => ClientError::Interrupted { reason },
            Self::Setup { reason } => ClientError::Setup { reason },
        }
    }
}

impl Reply {
    fn new(status: StatusCode, headers: &HeaderMap, body: BodyStream) -> Self {
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        Self { status, retry_after, body, is_not_done: false }
    }

    /// The same; of a node that cannot do now what it is asked, with what it says of it.
    async fn with_excuse(self) -> Self {
        if !self.is_excuse() {
            return self;
        }
        let (status, retry_after) = (self.status, self.retry_after);
        let said = self.whole(EXCUSE_BYTES_MAX).await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&said).ok();
        let is_not_done = problem.is_some_and(|problem| {
            let is_told = problem.extra.get("not_done").and_then(serde_json::Value::as_bool) == Some(true);
            // Said before anything is begun.
            is_told || ["busy", "behind", "starting", "not_joined"].contains(&problem.code.as_str())
        });
        Self { status, retry_after, body: stream::once(async move { Ok(Bytes::from(said)) }).boxed(), is_not_done }
    }

    /// Whether the node says that it cannot do now what it is asked.
    pub(super) fn is_excuse(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The whole body, up to `limit_bytes`.
    pub(super) async fn whole(mut self, limit_bytes: usize) -> Result<Vec<u8>, ClientError> {
        let mut whole = Vec::new();
        while let Some(part) = self.body.next().await {
            let part = part.map_err(|reason| ClientError::Interrupted { reason })?;
            if whole.len() + part.len() > limit_bytes {
                return Err(ClientError::TooLarge { limit_bytes });
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }
}

/// Where calls go.
pub(super) enum Backend {
    Http(Box<Nodes>),
    InProcess { router: Router },
}

/// The addresses of a cluster's nodes.
pub(super) struct Nodes {
    http: reqwest::Client,
    tls: rustls::ClientConfig,
    endpoints: Vec<String>,
    /// The one that answered last, which is asked first.
    preferred: AtomicUsize,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(nodes) => f.debug_struct("Http").field("endpoints", &nodes.endpoints).finish(),
            Self::InProcess { .. } => f.write_str("InProcess"),
        }
    }
}

impl Backend {
    /// Redirects are not followed and no proxy of the environment is used: the token goes to the named node only. Whom to
    /// `trust` is looked up only where TLS is spoken.
    pub(super) fn http(endpoints: Vec<String>, trust: &Trust) -> Result<Self, ClientError> {
        let setup = |reason: String| ClientError::Setup { reason };
        if endpoints.is_empty() {
            return Err(setup("no API address".to_owned()));
        }
        let tls = match endpoints.iter().any(|endpoint| endpoint.starts_with("https://")) {
            true => trust.config().map_err(|error| setup(error.to_string()))?,
            false => nobody(),
        };
        let http = client(READ_TIMEOUT, tls.clone()).map_err(|error| setup(innermost(&error)))?;
        Ok(Self::Http(Box::new(Nodes { http, tls, endpoints, preferred: AtomicUsize::new(0) })))
    }

    /// Sends `call` once with the bytes of a file, to one node. The answer may take as long as what is done with them.
    pub(super) async fn upload(&self, call: &Call, file: tokio::fs::File) -> Result<Reply, Attempt> {
        let Self::Http(nodes) = self else {
            return Err(Attempt::Setup { reason: "a node inside this process takes no files".to_owned() });
        };
        let http = client(UPLOAD_READ_TIMEOUT, nodes.tls.clone());
        let http = http.map_err(|error| Attempt::Setup { reason: innermost(&error) })?;
        let length = file.metadata().await.map_err(|error| Attempt::Setup { reason: error.to_string() })?.len();
        let endpoint = nodes.endpoint(nodes.found().await?);
        let mut request = http.request(call.method.clone(), format!("{endpoint}{}", call.path));
        for (name, value) in headers(call) {
            request = request.header(name, value);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/gzip")
            .header(header::CONTENT_LENGTH, length)
            .body(reqwest::Body::from(file));
        answered(request, endpoint).await
    }

    pub(super) fn in_process(router: Router) -> Self {
        Self::InProcess { router }
    }

    /// Sends `call`: over HTTP to as many nodes as it takes until one answers, or to one where it may not be done twice.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Reply, Attempt> {
        match self {
            Self::InProcess { router } => Ok(in_process(router, call).await?.with_excuse().await),
            Self::Http(nodes) if call.is_repeatable() => nodes.first_answer(call).await.1,
            Self::Http(nodes) => nodes.ask(nodes.found().await?, call).await.1,
        }
    }
}

impl Nodes {
    fn endpoint(&self, place: usize) -> &str {
        self.endpoints.get(place).map_or("", String::as_str)
    }

    /// The node to send to what may not be done twice: one that hears a leader, or where none does, one that answers at all.
    async fn found(&self) -> Result<usize, Attempt> {
        if self.endpoints.len() == 1 {
            return Ok(0);
        }
        let (place, answer) = self.first_answer(&Call::scout()).await;
        answer.map(|_head| place)
    }

    /// Asks one node after the other, the next as soon as one fails or cannot do it now, and without giving one up that only takes
    /// long. Answers which node it was that said so; where none did it, what one said of why.
    async fn first_answer(&self, call: &Call) -> (usize, Result<Reply, Attempt>) {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let others = (0..self.endpoints.len()).filter(|place| *place != preferred);
        let mut next = std::iter::once(preferred).chain(others).peekable();
        let (mut asked, mut failed, mut excuse) = (FuturesUnordered::new(), Vec::new(), None);
        let mut is_due = true;
        loop {
            if std::mem::take(&mut is_due)
                && let Some(place) = next.next()
            {
                if is_way_around(self.endpoint(place), &failed) {
                    is_due = true;
                    continue;
                }
                asked.push(self.ask(place, call));
            }
            if asked.is_empty() {
                break;
            }
            let is_waited_for = excuse.is_some() || next.peek().is_some();
            let (place, answer) = tokio::select! {
                biased;
                Some(answer) = asked.next() => answer,
                () = tokio::time::sleep(HEAD_WITHIN), if is_waited_for => {
                    if next.peek().is_none() {
                        break;
                    }
                    is_due = true;
                    continue;
                }
            };
            is_due = true;
            match answer {
                Ok(reply) if reply.is_excuse() => excuse = Some((place, reply)),
                Ok(reply) => {
                    self.prefer(place);
                    return (place, Ok(reply));
                }
                Err(attempt @ Attempt::Setup { .. }) => return (place, Err(attempt)),
                Err(attempt) => failed.push(attempt),
            }
        }
        match excuse {
            Some((place, reply)) => (place, Ok(reply)),
            None => (preferred, Err(Attempt::of_all(failed, &self.endpoints))),
        }
    }

    /// Has a node be asked first from now on; none in plain HTTP goes before one that is not, which may come back.
    fn prefer(&self, place: usize) {
        let is_clear = |endpoint: &String| endpoint.starts_with("http://");
        if self.endpoints.get(place).is_some_and(|chosen| !is_clear(chosen)) || self.endpoints.iter().all(is_clear) {
            self.preferred.store(place, Ordering::Relaxed);
        }
    }

    async fn ask(&self, place: usize, call: &Call) -> (usize, Result<Reply, Attempt>) {
        let answer = over_http(&self.http, self.endpoint(place), call).await;
        match answer {
            Ok(reply) => (place, Ok(reply.with_excuse().await)),
            Err(attempt) => (place, Err(attempt)),
        }
    }
}

/// Whether an address is one in plain HTTP, behind one whose certificate was refused: whoever stands before the first would
/// have the token sent to the second in clear.
fn is_way_around(endpoint: &str, before: &[Attempt]) -> bool {
    endpoint.starts_with("http://") && before.iter().any(|attempt| matches!(attempt, Attempt::Untrusted { .. }))
}

fn client(read_timeout: Duration, tls: rustls::ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(read_timeout)
        .user_agent(concat!("pentora/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The header lines of a call.
fn headers(call: &Call) -> impl Iterator<Item = (header::HeaderName, String)> {
    let body = call.body.as_ref().map(|_| (header::CONTENT_TYPE, "application/json".to_owned()));
    let token = call.token.as_ref().map(|token| (header::AUTHORIZATION, format!("Bearer {}", token.expose())));
    let key = call.idempotency_key.clone().map(|key| (header::HeaderName::from_static("idempotency-key"), key));
    let follow = call.follow.as_ref().map(|_| (header::ACCEPT, "text/event-stream".to_owned()));
    let last = call.follow.clone().filter(|id| !id.is_empty());
    let last = last.map(|id| (header::HeaderName::from_static("last-event-id"), id));
    body.into_iter().chain(token).chain(key).chain(follow).chain(last)
}

async fn over_http(http: &reqwest::Client, endpoint: &str, call: &Call) -> Result<Reply, Attempt> {
    let mut request = http.request(call.method.clone(), format!("{endpoint}{}", call.path));
    for (name, value) in headers(call) {
        request = request.header(name, value);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    answered(request, endpoint).await
}

async fn answered(request: reqwest::RequestBuilder, endpoint: &str) -> Result<Reply, Attempt> {
    let response = request.send().await.map_err(|error| {
        let endpoints = endpoint.to_owned();
        let reason = match fault_in(&error) {
            Some(Fault::Untrusted(reason)) => return Attempt::Untrusted { endpoints, reason },
            Some(Fault::Speech(reason)) => reason,
            None => innermost(&error),
        };
        match () {
            () if error.is_connect() => Attempt::Connect { endpoints, reason },
            () if error.is_builder() => Attempt::Setup { reason },
            () => Attempt::Broken { reason },
        }
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes_stream().map(|part| part.map_err(|error| innermost(&error))).boxed();
    Ok(Reply::new(status, &headers, body))
}

async fn in_process(router: &Router, call: &Call) -> Result<Reply, Attempt> {
    let mut request = Request::builder().method(call.method.clone()).uri(&call.path);
    for (name, value) in headers(call) {
        request = request.header(name, value);
    }
    let body = call.body.clone().map_or_else(Body::empty, Body::from);
    let request = request.body(body).map_err(|error| Attempt::Setup { reason: error.to_string() })?;
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let body = body.into_data_stream().map(|part| part.map_err(|error| innermost(&error))).boxed();
    Ok(Reply::new(parts.status, &parts.headers, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_certificate_that_is_refused_no_address_is_asked_in_plain_http() {
        let gone = || Attempt::Connect { endpoints: "a".into(), reason: "refused".into() };
        let untrusted = Attempt::Untrusted { endpoints: "a".into(), reason: "of another".into() };
        assert!(!is_way_around("http://b", &[gone()]));
        let before = [gone(), untrusted];
        assert!(is_way_around("http://b", &before) && !is_way_around("https://b", &before));
    }
}
