//! The API over an embedded node: every route, who is let in, and what errors look like.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use pentora_raft::Digest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::app::{StopHandle, start_embedded};

/// A node in this process whose API asks for the token `key`.
struct TestNode {
    router: Router,
    served: Node,
    stop: StopHandle,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// The problem's code, once its shape is that of RFC 9457 and of our contract.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl TestNode {
    async fn open() -> Self {
        let (served, stop) = start_embedded("n1".into(), Access::Token, Digest::of(b"key")).await.unwrap();
        Self { router: router(Arc::clone(&served)), served, stop }
    }

    async fn send(&self, request: axum::http::Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = axum::http::Request::builder().method(method).uri(path).header("authorization", "Bearer key");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, &[], &body.to_string()).await
    }

    /// The node's worker, once it was heard.
    async fn worker_heard(&self) -> Value {
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
    async fn end_of(&self, job: &str) -> Value {
        for _ in 0..300 {
            let document = self.get(&format!("/api/v1/jobs/{job}")).await.json();
            if !matches!(document["status"].as_str(), Some("queued" | "running")) {
                return document;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{job} did not end")
    }

    async fn close(self) {
        drop((self.router, self.served));
        self.stop.stop().await;
    }
}

/// The path of a route with something in place of what stands in braces.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

/// A request that is accepted and over at once: one port of loopback that nobody listens on.
fn one_port() -> Value {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    json!({"targets": ["127.0.0.1"], "ports": listener.local_addr().unwrap().port().to_string(), "discovery": false})
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_token_every_route_of_the_api_answers_401_and_probes_of_supervisors_do_not() {
    let node = TestNode::open().await;
    for Route { access, method, path, .. } in routes() {
        let path = filled(path);
        if access == Access::Open {
            let request = axum::http::Request::builder().method(&method).uri(&path);
            let answer = node.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            continue;
        }
        for path in [path.clone(), format!("{path}?min_index=99999999")] {
            for token in [None, Some("Bearer other"), Some("Basic key"), Some("key"), Some("")] {
                let request = axum::http::Request::builder().method(&method).uri(&path);
                let request = token.into_iter().fold(request, |request, token| request.header("authorization", token));
                let answer = node.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
                assert_eq!(answer.problem(), "unauthorized");
                assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
            }
        }
    }
    node.close().await;
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
async fn a_scan_is_accepted_scanned_reported_and_its_job_listed() {
    let node = TestNode::open().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let request = json!({"targets": ["127.0.0.1"], "ports": port.to_string(), "discovery": false});
    let accepted = node.post("/api/v1/scans", &request).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let document = accepted.json();
    let job = document["job_id"].as_str().unwrap().to_owned();
    assert_eq!(accepted.header("location"), format!("/api/v1/jobs/{job}"));
    assert_eq!((&document["targets"], &document["partitions"]), (&json!(1), &json!(1)));

    let index = document["index"].as_u64().unwrap();
    let read = node.get(&format!("/api/v1/jobs/{job}?min_index={index}")).await;
    assert_eq!(read.status, 200);
    assert!(read.header("pentora-index").parse::<u64>().unwrap() >= index);

    let ended = node.end_of(&job).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!((&ended["targets_scanned"], &ended["results"]["open_ports"]), (&json!(1), &json!(1)));
    assert_eq!(ended["ports"], port.to_string(), "what was asked stands in the head of a report");
    let results = node.get(&format!("/api/v1/jobs/{job}/results")).await;
    assert_eq!(results.header("content-type"), "application/x-ndjson");
    let host: Value = serde_json::from_str(results.body.trim()).unwrap();
    assert_eq!(host["address"], "127.0.0.1");
    assert_eq!(host["ports"][0]["port"], port);
    assert_eq!(host["ports"][0]["state"], "open");

    let events = node.get(&format!("/api/v1/jobs/{job}/events")).await.json();
    let kinds: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["submitted", "assigned", "unit_done", "finished"], "{events}");
    let after = events["items"][1]["index"].as_u64().unwrap();
    let rest = node.get(&format!("/api/v1/jobs/{job}/events?after={after}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 2, "{rest}");
    let listed = node.get("/api/v1/jobs").await.json()["items"][0].clone();
    assert_eq!((&listed["job_id"], &listed["ports"]), (&json!(job), &Value::Null), "{listed}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_twice_under_one_key_makes_one_job_and_another_key_another() {
    let node = TestNode::open().await;
    let body = one_port().to_string();
    let mut jobs = Vec::new();
    for key in ["a", "a", "b"] {
        let answer = node.ask(Method::POST, "/api/v1/scans", &[("idempotency-key", key)], &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        jobs.push(answer.json()["job_id"].clone());
    }
    assert_eq!(jobs[0], jobs[1]);
    assert_ne!(jobs[0], jobs[2]);
    assert_eq!(node.get("/api/v1/jobs").await.json()["items"].as_array().unwrap().len(), 2);
    for key in ["", &"k".repeat(257)] {
        let answer = node.ask(Method::POST, "/api/v1/scans", &[("idempotency-key", key)], &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_request"));
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_taken_is_a_problem_with_its_code_and_position() {
    let node = TestNode::open().await;
    let long = "t".repeat(300_000);
    for (body, status, code, part) in [
        (json!(5).to_string(), 400, "bad_request", "JSON"),
        ("{".to_owned(), 400, "bad_request", "line 1 column 1"),
        ("[".repeat(100_000), 400, "bad_request", "JSON"),
        (json!({"targets": ["127.0.0.1"], "prots": "1"}).to_string(), 400, "bad_request", "prots"),
        (json!({"targets": ["10.0.0.1 10.0.0.999"]}).to_string(), 422, "bad_targets", "1:10"),
        (json!({"targets": ["10.0.0.1"], "ports": "80,70000"}).to_string(), 422, "bad_ports", "ports:4"),
        (json!({"targets": ["10.0.0.1"], "timing": "insane"}).to_string(), 400, "bad_request", "polite, normal, fast"),
        (json!({"targets": ["10.0.0.1"], "priority": "urgent"}).to_string(), 400, "bad_request", "`critical`"),
        (json!({"targets": []}).to_string(), 422, "bad_request", "no target"),
        (json!({"targets": ["10.0.0.1"], "workers": 0}).to_string(), 422, "bad_request", "workers"),
        (json!({"targets": ["10.0.0.1"], "ports": "1", "top_ports": 1}).to_string(), 422, "bad_request", "top_ports"),
        (json!({"targets": ["192.0.2.7"], "ports": "1"}).to_string(), 403, "scope_denied", "192.0.2.7"),
        (json!({"targets": ["10.0.0.1"], "require_worker_tags": ["x"]}).to_string(), 409, "no_eligible_node", "n1"),
        (json!({"targets": ["10.0.0.1"], "worker_tags": [long]}).to_string(), 422, "malformed", "bytes"),
    ] {
        let answer = node.ask(Method::POST, "/api/v1/scans", &[], &body).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
        assert_eq!(answer.problem(), code, "{shown}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{shown}: {}", answer.body);
    }
    assert_eq!(node.get("/api/v1/jobs").await.json()["items"], json!([]), "nothing was accepted");
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
        (Method::GET, "/api/v1/jobs/job-000999/events?after=x", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs/job-000999/events?after=1&after=2", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?min_index=x", &[], 400, "bad_request"),
        (Method::GET, "/api/v1/jobs?min_index=18446744073709551616", &[], 400, "bad_request"),
        (Method::DELETE, "/api/v1/worker-tokens/xyz", &[], 400, "bad_request"),
        (Method::DELETE, "/api/v1/worker-tokens/0102030405060708", &[], 404, "token_unknown"),
        (Method::POST, "/api/v1/scans", &[("content-length", "99999999999")], 413, "too_large"),
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
async fn a_cancelled_job_stays_with_its_reason_and_cancelling_again_changes_nothing() {
    let node = TestNode::open().await;
    // A packet a second: it cannot be over before it is cancelled.
    let request = json!({"targets": ["127.0.0.1"], "ports": "9,10,11,12,13", "rate": 1, "discovery": false});
    let job = node.post("/api/v1/scans", &request).await.json()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/jobs/{job}/cancel");
    let cancelled = node.post(&path, &json!({"reason": "wrong network"})).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")), "{}", cancelled.body);
    assert_eq!(cancelled.json()["reason"], "wrong network");
    let again = node.post(&path, &json!({"reason": "other"})).await;
    assert!(matches!(again.status, 200 | 409), "{}", again.body);
    assert_eq!(node.end_of(&job).await["reason"], "wrong network");
    assert_eq!(node.post(&path, &json!({"why": "x"})).await.problem(), "bad_request");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_workers_metrics_and_version_describe_the_node() {
    let node = TestNode::open().await;
    let cluster = node.get("/api/v1/cluster").await.json();
    assert_eq!((&cluster["leader"], &cluster["answered_by"]), (&json!("n1"), &json!("n1")), "{cluster}");
    assert_eq!(cluster["nodes"][0]["role"], "voter", "{cluster}");
    assert_eq!(cluster["quorum"]["voters"], 1);
    let worker = node.worker_heard().await;
    assert_eq!((&worker["worker_id"], &worker["load"]["running"]), (&json!("wrk_n1"), &json!(0)), "{worker}");
    assert_eq!(node.get("/version").await.json()["api"], "v1");
    let metrics = node.get("/metrics").await.body;
    for name in ["pentora_queue_depth 0", "pentora_cluster_queue_depth 0", "pentora_raft_leader 1", "pentora_leases 0"]
    {
        assert!(metrics.lines().any(|line| line == name), "{name} in:\n{metrics}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_node_makes_no_join_tokens_and_says_so() {
    let node = TestNode::open().await;
    assert_eq!(node.post("/api/v1/worker-tokens", &json!({"name": "x"})).await.problem(), "no_mesh");
    assert_eq!(node.get("/api/v1/worker-tokens").await.json(), json!({"items": []}));
    node.close().await;
}
