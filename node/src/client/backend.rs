//! One try of one call: over HTTP, or into a router in this process.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tower::ServiceExt;

use super::ClientError;
use crate::config::Secret;
use crate::tls::{Fault, Trust, fault_in, innermost, nobody};

/// A node on the same network accepts within milliseconds; across the world within a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence in an answer: a node that waits for a leader says so within seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

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

/// An answer, its body still to come.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: BodyStream,
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
    /// Whether another address may be asked in place of this one.
    fn sent_nothing(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Untrusted { .. })
    }

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
        Self { status, retry_after, body }
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
    Http { http: reqwest::Client, tls: Box<rustls::ClientConfig>, endpoints: Vec<String> },
    InProcess { router: Router },
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { endpoints, .. } => f.debug_struct("Http").field("endpoints", endpoints).finish(),
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
        Ok(Self::Http { http, tls: Box::new(tls), endpoints })
    }

    /// Sends `call` once with the bytes of a file, to the first endpoint that takes the connection. The answer may take as
    /// long as what is done with them.
    pub(super) async fn upload(&self, call: &Call, file: tokio::fs::File) -> Result<Reply, Attempt> {
        let (http, endpoints) = match self {
            Self::Http { tls, endpoints, .. } => {
                (client(UPLOAD_READ_TIMEOUT, rustls::ClientConfig::clone(tls)), endpoints)
            }
            Self::InProcess { .. } => {
                return Err(Attempt::Setup { reason: "a node inside this process takes no files".to_owned() });
            }
        };
        let http = http.map_err(|error| Attempt::Setup { reason: innermost(&error) })?;
        let length = file.metadata().await.map_err(|error| Attempt::Setup { reason: error.to_string() })?.len();
        let mut all = Vec::new();
        for endpoint in endpoints {
            if is_way_around(endpoint, &all) {
                continue;
            }
            let again = file.try_clone().await.map_err(|error| Attempt::Setup { reason: error.to_string() })?;
            let mut request = http.request(call.method.clone(), format!("{endpoint}{}", call.path));
            for (name, value) in headers(call) {
                request = request.header(name, value);
            }
            let request = request
                .header(header::CONTENT_TYPE, "application/gzip")
                .header(header::CONTENT_LENGTH, length)
                .body(reqwest::Body::from(again));
            match answered(request, endpoint).await {
                Err(refused) if refused.sent_nothing() => all.push(refused),
                outcome => return outcome,
            }
        }
        Err(Attempt::of_all(all, endpoints))
    }

    pub(super) fn in_process(router: Router) -> Self {
        Self::InProcess { router }
    }

    /// Sends `call` once; over HTTP, to the first endpoint that takes the connection.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Reply, Attempt> {
        match self {
            Self::InProcess { router } => in_process(router, call).await,
            Self::Http { http, endpoints, .. } => {
                let mut all = Vec::new();
                for endpoint in endpoints {
                    if is_way_around(endpoint, &all) {
                        continue;
                    }
                    match over_http(http, endpoint, call).await {
                        Err(refused) if refused.sent_nothing() => all.push(refused),
                        outcome => return outcome,
                    }
                }
                Err(Attempt::of_all(all, endpoints))
            }
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
