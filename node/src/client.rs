//! A typed client of the HTTP API: over a socket to a node elsewhere, or straight into the router of a node inside
//! this process.
//!
//! The command line reaches a node only through this module, the embedded one included, so an embedded scan runs the
//! same code as one on a mesh. What is submitted carries a random `Idempotency-Key`, which makes it safe to send
//! again, to another node too, when a connection breaks or a leader is being elected; so is a question. Anything else is sent
//! again only where a node says that it has not done it. Not in here: what a person sees (`cli`), and which node to ask
//! (`client::locate` finds addresses and token from settings given to it).

mod access;
mod airgap;
mod backend;
pub mod contexts;
mod error;
mod events;
mod host_line;
mod keeps;
mod lines;
pub mod locate;
mod members;
mod retry;
mod rules;
mod schedules;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Method;
use pentora_raft::state::Priority;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::backend::{Attempt, Backend, Call, Reply};
pub use self::error::ClientError;
pub use self::events::Events;
pub use self::host_line::parse_host_line;
pub use self::lines::{Pieces, ResultLines};
use crate::config::Secret;
use crate::document::{
    CapacityDocument, ClusterDocument, ExplainDocument, FeedDocument, JobDocument, JobEvent, Page, PlanDocument,
    Problem, QueueDocument, ScanAccepted, ScanRequest, SettingsChange, SettingsDocument, TokenCreated, TokenDocument,
    TokenRequest, TransferRequest, VersionDocument, WorkerDocument,
};
use crate::feeds::FeedKind;
use crate::feeds::explain::{Asked, Explained};
use crate::tls::Trust;

/// What is made once however often it is asked for with the same `Idempotency-Key`.
const KEYED: [&str; 3] = ["/api/v1/scans", "/api/v1/schedules", "/api/v1/keeps"];

/// Longest answer read into memory: a page of jobs or events is far below it.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Talks to a node. Methods are cancel-safe: dropping one gives up the answer, not what the node already did.
#[derive(Debug)]
pub struct Client {
    backend: Backend,
    token: Option<Secret>,
    /// Log index of the last accepted submission, so that a question to another node waits until it knows the job.
    submitted_index: AtomicU64,
}

impl Client {
    /// A client of the nodes at `endpoints` (`https://host:port` or `http://...`), tried in order; over TLS, of whom `trust`
    /// believes.
    ///
    /// # Errors
    /// No endpoint, nobody to trust, or the HTTP client cannot be set up.
    pub fn http(endpoints: Vec<String>, token: Option<Secret>, trust: &Trust) -> Result<Self, ClientError> {
        Ok(Self::new(Backend::http(endpoints, trust)?, token))
    }

    /// A client of the node whose API is `router`, in this process.
    #[must_use]
    pub fn in_process(router: Router, token: Option<Secret>) -> Self {
        Self::new(Backend::in_process(router), token)
    }

    fn new(backend: Backend, token: Option<Secret>) -> Self {
        Self { backend, token, submitted_index: AtomicU64::new(0) }
    }

    /// Whether the node's process works, or with `ready` whether it takes requests (`GET /healthz`, `/readyz`).
    ///
    /// # Errors
    /// See [`ClientError`]; `Refused` where the node says that it does not.
    pub async fn health(&self, ready: bool) -> Result<(), ClientError> {
        let reply = self.once(&self.call(Method::GET, if ready { "/readyz" } else { "/healthz" }, None)).await?;
        self.good(reply).await.map(|_| ())
    }

    /// Submits a scan (`POST /scans`).
    ///
    /// # Errors
    /// See [`ClientError`]; after `Interrupted` or `Unreachable` the job may exist.
    pub async fn scan(&self, request: &ScanRequest) -> Result<ScanAccepted, ClientError> {
        let accepted: ScanAccepted = self.post("/api/v1/scans", request).await?;
        self.submitted_index.fetch_max(accepted.index, Ordering::Relaxed);
        Ok(accepted)
    }

    /// What a scan would become, with nothing sent or kept (`POST /scans?plan=true`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan(&self, request: &ScanRequest) -> Result<PlanDocument, ClientError> {
        self.post("/api/v1/scans?plan=true", request).await
    }

    /// What ended jobs, or one of them, say of how long targets take (`GET /capacity`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn capacity(&self, job: Option<&str>) -> Result<CapacityDocument, ClientError> {
        self.get(&job.map_or_else(|| "/api/v1/capacity".to_owned(), |job| format!("/api/v1/capacity?job={job}"))).await
    }

    /// The jobs that are not over, by class (`GET /queue`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queue(&self) -> Result<QueueDocument, ClientError> {
        self.get("/api/v1/queue").await
    }

    /// Every job, newest first (`GET /jobs`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self) -> Result<Vec<JobDocument>, ClientError> {
        self.pages("/api/v1/jobs", None).await
    }

    /// One job (`GET /jobs/{id}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, id: &str) -> Result<JobDocument, ClientError> {
        self.get(&self.fresh(&format!("/api/v1/jobs/{id}"))).await
    }

    /// A job's accepted results so far, as one JSON line per host (`GET /jobs/{id}/results`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn results(&self, id: &str) -> Result<ResultLines, ClientError> {
        let path = self.fresh(&format!("/api/v1/jobs/{id}/results"));
        let reply = self.send(&self.call(Method::GET, &path, None)).await?;
        Ok(ResultLines::new(self.good(reply).await?.body))
    }

    /// A job's history after the log index `after` (`GET /jobs/{id}/events`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, id: &str, after: Option<u64>) -> Result<Vec<JobEvent>, ClientError> {
        let after = after.map(|index| index.to_string());
        self.pages(&self.fresh(&format!("/api/v1/jobs/{id}/events")), after).await
    }

    /// Stops a job; what was found stays (`POST /jobs/{id}/cancel`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, id: &str) -> Result<(), ClientError> {
        self.command(Method::POST, &format!("/api/v1/jobs/{id}/cancel"), Some(b"{}".to_vec())).await
    }

    /// Forgets an ended job and its results (`DELETE /jobs/{id}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_job(&self, id: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/jobs/{id}"), None).await
    }

    /// Why a job stands as it does (`GET /jobs/{id}/explain`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain_job(&self, id: &str) -> Result<ExplainDocument, ClientError> {
        self.get(&self.fresh(&format!("/api/v1/jobs/{id}/explain"))).await
    }

    /// Holds a job: nothing of it is sent until it is let go on (`POST /jobs/{id}/pause`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_job(&self, id: &str) -> Result<JobDocument, ClientError> {
        self.post(&format!("/api/v1/jobs/{id}/pause"), &serde_json::json!({})).await
    }

    /// Lets a job go on (`POST /jobs/{id}/resume`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_job(&self, id: &str) -> Result<JobDocument, ClientError> {
        self.post(&format!("/api/v1/jobs/{id}/resume"), &serde_json::json!({})).await
    }

    /// Gives a job another priority (`POST /jobs/{id}/reprioritize`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reprioritize(&self, id: &str, priority: Priority) -> Result<JobDocument, ClientError> {
        self.post(&format!("/api/v1/jobs/{id}/reprioritize"), &serde_json::json!({ "priority": priority })).await
    }

    /// Every worker (`GET /workers`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn workers(&self) -> Result<Vec<WorkerDocument>, ClientError> {
        self.pages("/api/v1/workers", None).await
    }

    /// Makes a join token (`POST /worker-tokens`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenCreated, ClientError> {
        self.post("/api/v1/worker-tokens", request).await
    }

    /// Join tokens without their secrets (`GET /worker-tokens`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenDocument>, ClientError> {
        self.pages("/api/v1/worker-tokens", None).await
    }

    /// Makes a join token useless (`DELETE /worker-tokens/{id}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/worker-tokens/{id}"), None).await
    }

    /// Why a finding of a job is one (`GET /jobs/{id}/findings/{finding}/explain`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn explain(&self, job: &str, asked: &Asked) -> Result<Vec<Explained>, ClientError> {
        let mut path = format!("/api/v1/jobs/{job}/findings/{}/explain", url_safe(&asked.id)?);
        let address = asked.address.map(|address| format!("address={address}"));
        let port = asked.port.map(|port| format!("port={port}"));
        for (joint, part) in ['?', '&'].into_iter().zip([address, port].into_iter().flatten()) {
            path.push(joint);
            path.push_str(&part);
        }
        self.pages(&path, None).await
    }

    /// The cluster's feeds (`GET /feeds`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn feeds(&self) -> Result<Vec<FeedDocument>, ClientError> {
        self.pages("/api/v1/feeds", None).await
    }

    /// Makes a bundle the cluster's feed of its kind (`PUT /feeds/{kind}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_feed(&self, kind: FeedKind, bundle: Vec<u8>) -> Result<(), ClientError> {
        self.command(Method::PUT, &format!("/api/v1/feeds/{kind}"), Some(bundle)).await
    }

    /// Takes a feed away (`DELETE /feeds/{kind}`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_feed(&self, kind: FeedKind) -> Result<(), ClientError> {
        self.command(Method::DELETE, &format!("/api/v1/feeds/{kind}"), None).await
    }

    /// The cluster (`GET /cluster`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cluster(&self) -> Result<ClusterDocument, ClientError> {
        self.get("/api/v1/cluster").await
    }

    /// A backup of the cluster, in pieces (`GET /cluster/snapshot`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshot(&self) -> Result<Pieces, ClientError> {
        let reply = self.send(&self.call(Method::GET, "/api/v1/cluster/snapshot", None)).await?;
        Ok(Pieces::new(self.good(reply).await?.body))
    }

    /// Hands leadership to the voter named `to`, or to the most caught-up one (`POST /cluster/transfer-leadership`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn transfer_leadership(&self, to: Option<String>) -> Result<(), ClientError> {
        let body = encode(&TransferRequest { to });
        self.command(Method::POST, "/api/v1/cluster/transfer-leadership", Some(body)).await
    }

    /// How the cluster shares out work, times it and tries it again (`GET /cluster/settings`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn settings(&self) -> Result<SettingsDocument, ClientError> {
        self.get("/api/v1/cluster/settings").await
    }

    /// Changes some of that for all nodes (`PATCH /cluster/settings`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_settings(&self, change: &SettingsChange) -> Result<SettingsDocument, ClientError> {
        let call = self.call(Method::PATCH, "/api/v1/cluster/settings", Some(encode(change)));
        let reply = self.send(&call).await?;
        self.decode(reply).await
    }

    /// Whether a node's process answers (`GET /healthz`). Asked once, without retries.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn healthz(&self) -> Result<(), ClientError> {
        // Nobody has said yet that it is a node that listens here: it is shown no token.
        let call = Call { token: None, ..self.call(Method::GET, "/healthz", None) };
        let reply = self.once(&call).await?;
        self.good(reply).await.map(|_| ())
    }

    /// Whether a node knows a leader now (`GET /readyz`), so that what needs one can be refused before it is prepared.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.command(Method::GET, "/readyz", None).await
    }

    /// What the node runs (`GET /version`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<VersionDocument, ClientError> {
        self.get("/version").await
    }

    /// The node's figures, in Prometheus' text format (`GET /metrics`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let reply = self.send(&self.call(Method::GET, "/metrics", None)).await?;
        let text = self.good(reply).await?.whole(ANSWER_BYTES_MAX).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The API's description of itself (`GET /openapi.json`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn description(&self) -> Result<serde_json::Value, ClientError> {
        self.get("/api/v1/openapi.json").await
    }

    /// Adds `min_index` after a submission, so that a node behind the one that took it waits instead of saying 404.
    fn fresh(&self, path: &str) -> String {
        match self.submitted_index.load(Ordering::Relaxed) {
            0 => path.to_owned(),
            index => format!("{path}?min_index={index}"),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let reply = self.send(&self.call(Method::GET, path, None)).await?;
        self.decode(reply).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<T, ClientError> {
        let reply = self.send(&self.call(Method::POST, path, Some(encode(body)))).await?;
        self.decode(reply).await
    }

    /// A call whose answer says nothing beyond that it was done.
    async fn command(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<(), ClientError> {
        let reply = self.send(&self.call(method, path, body)).await?;
        self.good(reply).await.map(|_| ())
    }

    /// Every page of a list, following its cursors from `after` on.
    async fn pages<T: DeserializeOwned>(&self, path: &str, mut after: Option<String>) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page_path = match &after {
                Some(cursor) => format!("{path}{joint}after={}", url_safe(cursor)?),
                None => path.to_owned(),
            };
            let page: Page<T> = self.get(&page_path).await?;
            items.extend(page.items);
            match page.next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(items),
            }
        }
    }

    fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Call {
        let is_keyed = method == Method::POST && KEYED.contains(&path.split('?').next().unwrap_or_default());
        let idempotency_key = is_keyed.then(|| format!("{:032x}", rand::random::<u128>()));
        Call { method, path: path.to_owned(), body, idempotency_key, token: self.token.clone(), follow: None }
    }

    async fn once(&self, call: &Call) -> Result<Reply, ClientError> {
        self.backend.attempt(call).await.map_err(Attempt::into_error)
    }

    /// Sends a call, and again where that is safe and sensible, until [`retry`] says stop.
    async fn send(&self, call: &Call) -> Result<Reply, ClientError> {
        let started = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let outcome = self.backend.attempt(call).await;
            let again = call.is_repeatable();
            let verdict = match &outcome {
                Ok(reply) if reply.is_excuse() && (again || reply.is_not_done) => {
                    retry::Outcome::Busy(reply.retry_after)
                }
                Ok(_) => retry::Outcome::Answered,
                Err(Attempt::Broken { .. }) if again => retry::Outcome::Broken,
                Err(_) => retry::Outcome::Refused,
            };
            match retry::wait(verdict, tries, started.elapsed()) {
                None => return outcome.map_err(Attempt::into_error),
                Some(pause) => self.pause(pause).await,
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    /// Turns an answer that is not 2xx into its error.
    async fn good(&self, reply: Reply) -> Result<Reply, ClientError> {
        if reply.status.is_success() {
            return Ok(reply);
        }
        let status = reply.status;
        let body = reply.whole(ANSWER_BYTES_MAX).await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if !problem.detail.is_empty() || !problem.code.is_empty() => {
                Err(ClientError::Refused { status: status.as_u16(), problem: Box::new(problem) })
            }
            _ => Err(ClientError::Unexpected { status: status.as_u16() }),
        }
    }

    async fn decode<T: DeserializeOwned>(&self, reply: Reply) -> Result<T, ClientError> {
        let body = self.good(reply).await?.whole(ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::NotUnderstood { what: "answer", source })
    }
}

fn encode(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have only strings, numbers and lists")
}

/// A name as a part of a path: a label may hold characters that mean something there.
fn in_path(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Cursors are opaque but must fit a query as they are.
fn url_safe(cursor: &str) -> Result<&str, ClientError> {
    let good = cursor.len() <= 512 && cursor.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    if good { Ok(cursor) } else { Err(ClientError::BadCursor) }
}

#[cfg(test)]
#[path = "client/client_test.rs"]
mod tests;
