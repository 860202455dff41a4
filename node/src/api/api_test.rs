//! The API over an embedded node: the node that its tests ask, and what every answer and every error looks like.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use pentora_raft::Digest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::app::{StopHandle, start_embedded};

/// A node in this process whose API asks for the token `key`.
pub(super) struct TestNode {
    pub(super) router: Router,
    pub(super) served: Node,
    stop: StopHandle,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// The problem's code, once its shape is that of RFC 9457 and of our contract.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl TestNode {
    pub(super) async fn open() -> Self {
        Self::open_as(|served| served).await
    }

    /// One that serves from something else.
    pub(super) async fn open_as(change: impl FnOnce(Served) -> Served) -> Self {
        let (served, stop) = start_embedded("n1".into(), Access::Token, Digest::of(b"key")).await.unwrap();
        let served = Arc::new(change(Served::clone(&served)));
        Self { router: router(Arc::clone(&served)), served, stop }
    }

    pub(super) async fn send(&self, request: axum::http::Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
        let media_type = answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        conforms::check(&method, &path, answer.status, media_type, &answer.body).unwrap();
        answer
    }

    pub(super) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = axum::http::Request::builder().method(method).uri(path).header("authorization", "Bearer key");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, &[], &body.to_string()).await
    }

    /// The node's worker, once it was heard.
    pub(super) async fn worker_heard(&self) -> Value {
        for _ in 0..100 {
            let worker = self.get("/api/v1/workers").await.json()["items"][0].clone();
            if worker["status"] == "Idle" {
                return worker;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the worker was not heard")
    }

    /// Waits until the job is no longer open.
    pub(super) async fn end_of(&self, job: &str) -> Value {
        for _ in 0..300 {
            let document = self.get(&format!("/api/v1/jobs/{job}")).await.json();
            if !matches!(document["status"].as_str(), Some("queued" | "running")) {
                return document;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{job} did not end")
    }

    pub(super) async fn close(self) {
        drop((self.router, self.served));
        self.stop.stop().await;
    }
}

/// The path of a route with something in place of what stands in braces.
pub(super) fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

/// A request that is accepted and over at once: one port of loopback that nobody listens on.
pub(super) fn one_port() -> Value {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    json!({"targets": ["127.0.0.1"], "ports": listener.local_addr().unwrap().port().to_string(), "discovery": false})
}

/// A token of each role, made with the node's own.
pub(super) async fn tokens(node: &TestNode) -> Vec<(AccessRole, String)> {
    let mut tokens = Vec::new();
    for role in AccessRole::ALL {
        let made =
            node.post("/api/v1/tokens", &json!({"name": format!("a-{}", role.name()), "role": role.name()})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        tokens.push((role, made.json()["token"].as_str().unwrap().to_owned()));
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_node_and_index_also_where_it_is_an_error() {
    let node = TestNode::open().await;
    for (path, status) in [("/api/v1/jobs", 200), ("/api/v1/nothing", 404), ("/healthz", 200), ("/api/v1/jobs/x", 400)]
    {
        let answer = node.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("pentora-node"), "n1");
        assert!(answer.header("pentora-index").parse::<u64>().unwrap() > 0, "{path}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_query_method_or_length_is_a_problem_too() {
    let node = TestNode::open().await;
    for (method, path, headers, status, code) in [
        (Method::GET, "/nothing", &[][..], 404, "not_found"),
        (Method::DELETE, "/api/v1/jobs", &[], 405, "method_not_allowed"),
        (Method::GET, "/api/v1/jobs/job-zzz", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs/%ff", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs/job-000999", &[], 404, "job_unknown"),
        (Method::GET, "/api/v1/jobs/job-000999/results", &[], 404, "job_unknown"),
        (Method::GET, "/api/v1/jobs/job-000999/events", &[], 404, "job_unknown"),
        (Method::POST, "/api/v1/jobs/job-000999/cancel", &[], 404, "job_unknown"),
        (Method::GET, "/api/v1/jobs/job-000999/events?after=x", &[], 400, "bad_cursor"),
        (Method::GET, "/api/v1/jobs/job-000999/events?after=1&after=2", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?min_index=x", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?min_index=18446744073709551616", &[], 400, "bad_request"),
        (Method::DELETE, "/api/v1/worker-tokens/xyz", &[], 400, "bad_request"),
        (Method::DELETE, "/api/v1/worker-tokens/0102030405060708", &[], 404, "token_unknown"),
        (
            Method::POST,
            "/api/v1/scans",
            &[("content-length", "99999999999"), ("content-type", "application/json")],
            413,
            "too_large",
        ),
        (Method::POST, "/api/v1/scans", &[("content-length", "2")], 415, "content_type"),
        (Method::POST, "/api/v1/cluster/transfer-leadership", &[], 409, "no_other_voter"),
    ] {
        let answer = node.ask(method.clone(), path, headers, "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{method} {path}: {}", answer.body);
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_that_does_not_end_is_cut_off_at_the_limit() {
    let node = TestNode::open().await;
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1 << 20])));
    let request = axum::http::Request::post("/api/v1/scans").header("authorization", "Bearer key");
    let request = request.header("content-type", "application/json");
    let request = request.header("transfer-encoding", "chunked").body(Body::from_stream(pieces)).unwrap();
    let answer = node.send(request).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too_large"));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_not_here_in_time_is_answered_by_behind() {
    let node = TestNode::open().await;
    let answer = node.get("/api/v1/jobs?min_index=1000000").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "behind"));
    assert_eq!(answer.header("retry-after"), "1");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_as_fresh_as_it_is_asked_to_be() {
    let node = TestNode::open().await;
    for word in ["default", "stale", "linearizable"] {
        let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].clone();
        let listed = node.get(&format!("/api/v1/jobs?consistency={word}")).await;
        assert_eq!(listed.json()["items"][0]["job_id"], job, "{word}");
        assert_eq!(node.get(&format!("/api/v1/cluster?consistency={word}")).await.json()["leader"], "n1");
    }
    for bad in ["strong", "", "LINEARIZABLE"] {
        let answer = node.get(&format!("/api/v1/jobs?consistency={bad}")).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_request"));
    }
    node.close().await;
}
