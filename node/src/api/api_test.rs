//! The API over an embedded node: every route, who is let in, and what errors look like.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use pentora_raft::command::{Arrangement, Author, Command, NodeInfo, NodePolicy, TokenGrant};
use pentora_raft::state::{MissedPolicy, OverlapPolicy, ScheduleSpec, is_schedule_name};
use pentora_raft::{Digest, TokenId};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::routes::{Route, routes};
use super::*;
use crate::app::{StopHandle, start_embedded};
use crate::clock::wall_ms;
use crate::document::ScanRequest;
use crate::join::token::JoinToken;
use crate::orders;
use crate::signing::PersonKey;

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

    fn header(&self, name: &str) -> &str {
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

    pub(super) async fn close(self) {
        drop((self.router, self.served));
        self.stop.stop().await;
    }
}

/// The path of a route with something in place of what stands in braces.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

/// A request that is accepted and over at once: one port of loopback that nobody listens on.
pub(super) fn one_port() -> Value {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    json!({"targets": ["127.0.0.1"], "ports": listener.local_addr().unwrap().port().to_string(), "discovery": false})
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_token_every_route_of_the_api_answers_401_and_probes_of_supervisors_do_not() {
    let node = TestNode::open().await;
    for Route { access, method, path, .. } in routes() {
        let path = filled(&path);
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
async fn who_shows_a_join_token_is_told_that_nobody_does_and_a_query_that_does_not_read_is_named() {
    let node = TestNode::open().await;
    let token = JoinToken::generate(ClusterId::default(), &PreSharedKey::from_bytes([7; 32]));
    let request = axum::http::Request::builder().method("POST").uri("/api/v1/workers/register");
    let answer =
        node.send(request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthorized"), "{}", answer.body);
    assert!(answer.body.contains("its secret is never sent"), "{}", answer.body);
    let paged = node.get("/api/v1/jobs?limit=1&limit=2").await;
    let planned = node.post("/api/v1/scans?plan=yes", &json!({"targets": ["127.0.0.1"]})).await;
    for (answer, what) in [(paged, "limit"), (planned, "plan")] {
        let says = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && says.starts_with("the query is not understood: "), "{says}");
        assert!(says.contains(what), "{says}");
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
async fn a_signed_scan_is_told_with_its_signer_and_one_that_is_not_what_was_signed_is_refused() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    let key = PersonKey::generate();
    let request: ScanRequest = serde_json::from_value(one_port()).unwrap();
    let sign = |request: &ScanRequest, now_ms| {
        let order = Some(orders::sign(request, None, (now_ms, 60_000), &key).unwrap());
        ScanRequest { order, ..request.clone() }
    };
    let good = sign(&request, wall_ms());
    let accepted = node.post("/api/v1/scans", &json!(good)).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let job = node.end_of(accepted.json()["job_id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["signed_by"]), (&json!("completed"), &json!(key.public().to_string())));
    // Whoever has the order has had its job.
    let again = node.post("/api/v1/scans", &json!(good)).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "order_used"));
    assert!(again.body.contains(accepted.json()["job_id"].as_str().unwrap()), "{}", again.body);
    let planned = async |request: &ScanRequest| node.post("/api/v1/scans?plan=true", &json!(request)).await;
    assert_eq!(planned(&good).await.problem(), "order_used", "a plan tells what would be");
    assert_eq!(planned(&sign(&request, wall_ms())).await.json()["accepted"], true);
    let keyed = sign(&request, wall_ms());
    let under = async |key: &str| {
        node.ask(Method::POST, "/api/v1/scans", &[("idempotency-key", key)], &json!(keyed).to_string()).await
    };
    let (first, retried, other) = (under("a").await, under("a").await, under("b").await);
    assert_eq!((first.status, retried.status), (202, 202), "{} {}", first.body, retried.body);
    assert_eq!(first.json()["job_id"], retried.json()["job_id"], "the same request again");
    assert_eq!((other.status, other.problem().as_str()), (409, "order_used"));
    let daily = orders::Repeats { cron: "0 2 * * *".into(), timezone: "UTC".into() };
    let nightly = Some(orders::sign(&request, Some(daily), (wall_ms(), 60_000), &key).unwrap());
    let nightly = ScanRequest { order: nightly, ..request.clone() };
    for beside in [node.post("/api/v1/scans", &json!(nightly)).await, planned(&nightly).await] {
        assert_eq!((beside.status, beside.problem().as_str()), (409, "order_repeats"));
    }
    let another = ScanRequest { rate: Some(9), ..good.clone() };
    let mut altered = good.clone();
    altered.order.as_mut().unwrap().order = good.order.as_ref().unwrap().order.replace("127.0.0.1", "127.0.0.2");
    let tagged = ScanRequest { require_worker_tags: vec![format!("signed-by:{}", key.public())], ..request.clone() };
    for (bad, part) in [
        (another, "another request"),
        (altered, "was not signed by"),
        (sign(&request, wall_ms() - 60_000), "expired at"),
        (sign(&ScanRequest { profile: Some("ours".into()), ..request.clone() }, wall_ms()), "no profile named"),
        (tagged, "no worker tag begins with"),
    ] {
        let refused = node.post("/api/v1/scans", &json!(bad)).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.body.contains(part), "{}", refused.body);
    }
    assert_eq!(node.get("/api/v1/jobs/job-999999/bundle").await.status, 409, "an embedded node signs nothing");
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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_says_of_a_node_holds_at_once_and_the_last_node_stays() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    let of_node = "/api/v1/cluster/nodes/n1";
    let patch = async |body: Value| node.ask(Method::PATCH, of_node, &[], &body.to_string()).await;
    let set = patch(json!({"region": "eu", "site": "fra1", "tags": ["pci"], "networks": ["10.0.0.0/8"]})).await;
    assert_eq!(set.status, 204, "{}", set.body);
    let worker = node.get("/api/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&worker["region"], &worker["site"], &worker["tags"]), (&json!("eu"), &json!("fra1"), &json!(["pci"])));
    assert_eq!(worker["network_access"], json!(["10.0.0.0/8"]), "{worker}");
    assert_eq!(patch(json!({"region": "", "networks": []})).await.status, 204);
    let worker = node.get("/api/v1/workers").await.json()["items"][0].clone();
    assert_eq!((&worker["region"], &worker["network_access"]), (&Value::Null, &json!(["auto"])), "{worker}");
    for (body, part) in [
        (json!({"role": "king"}), "member or scanner"),
        (json!({"networks": ["10.0.0.0/40"]}), "networks"),
        (json!({"networks": ["10.0.0.1/8"]}), "10.0.0.1/8 is an address in 10.0.0.0/8"),
        (json!({"tags": ["a b"]}), "is not a label"),
        (json!({"regoin": "eu"}), "regoin"),
    ] {
        let answer = patch(body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_request"), "{}", answer.body);
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    for (path, status, code) in [
        ("/api/v1/cluster/nodes/n1/remove", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n1/remove?plan=true", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n1/demote", 409, "removal_refused"),
        ("/api/v1/cluster/nodes/n9/remove", 404, "node_unknown"),
        ("/api/v1/workers/wrk_n9/drain", 404, "node_unknown"),
        ("/api/v1/cluster/leave", 409, "no_mesh"),
    ] {
        let answer = node.ask(Method::POST, path, &[], "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{path}: {}", answer.body);
    }
    assert_eq!(node.get("/api/v1/cluster").await.json()["nodes"][0]["name"], "n1", "nothing happened to it");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_nodes_vote_is_decided_while_no_other_gives_up_its_seat_however_it_is_said() {
    let node = TestNode::open().await;
    let (raft, proposer) = (&node.served.raft, &node.served.proposer);
    let token = TokenId([1; 8]);
    let policy = NodePolicy::default();
    let (key, name, by) = (Digest::of(b"k"), "t".into(), String::new());
    let grant = TokenGrant { token, key, name, ttl_ms: 600_000, uses: 9, policy, by };
    proposer.propose(Command::MakeToken(Box::new(grant))).await.unwrap();
    for name in ["n2", "n3"] {
        let info = NodeInfo { name: name.into(), peer: name.into(), ..NodeInfo::default() };
        proposer.propose(Command::Admit { token, info: Box::new(info) }).await.unwrap();
    }
    let (ephemeral, scanner) = (json!({"ephemeral": true}), json!({"role": "scanner"}));
    let set = async |name: &str, body: &Value| {
        node.ask(Method::PATCH, &format!("/api/v1/cluster/nodes/{name}"), &[], &body.to_string()).await
    };
    let may_vote = || raft.read(|state| state.nodes().filter(|(id, _)| state.may_vote(*id)).count());
    let another_is_on = node.served.sessions.demoting().await;
    let (second, third) = tokio::join!(set("n2", &ephemeral), set("n3", &scanner));
    for answer in [second, third] {
        assert_eq!((answer.status, answer.problem().as_str()), (409, "removal_refused"), "{}", answer.body);
    }
    assert_eq!(may_vote(), 3, "nothing changed");
    drop(another_is_on);
    assert_eq!([set("n2", &ephemeral).await.status, set("n3", &scanner).await.status], [204, 204]);
    assert_eq!(may_vote(), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_shows_so_by_its_id_or_its_name_until_it_is_resumed() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    for (drained, resumed) in [("wrk_n1", "n1"), ("n1", "wrk_n1")] {
        let path = |worker, verb| format!("/api/v1/workers/{worker}/{verb}");
        assert_eq!(node.post(&path(drained, "drain"), &json!({"hand_back": true})).await.status, 204);
        assert_eq!(node.get("/api/v1/workers").await.json()["items"][0]["status"], "Draining");
        assert_eq!(node.ask(Method::POST, &path(resumed, "resume"), &[], "").await.status, 204);
        node.worker_heard().await;
    }
    node.close().await;
}

/// A token of each role, made with the node's own.
async fn tokens(node: &TestNode) -> Vec<(AccessRole, String)> {
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
async fn a_token_goes_as_far_as_its_role_at_every_route_and_a_denial_names_the_role_that_is_missing() {
    let node = TestNode::open().await;
    let tokens = tokens(&node).await;
    let mut denied = 0;
    for Route { access, method, path, .. } in routes() {
        let needed = match access {
            Access::As(needed) => needed,
            // Whoever shows no worker's credential must be an administrator there.
            Access::Worker => AccessRole::Admin,
            Access::Open | Access::Token => continue,
        };
        for (role, token) in &tokens {
            let may = role.may(needed);
            if may && method != Method::GET {
                // It would be carried out.
                continue;
            }
            let request = axum::http::Request::builder().method(&method).uri(filled(&path));
            let request = request.header("authorization", format!("Bearer {token}"));
            let answer = node.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status == 403, !may, "{method} {path} as {}: {}", role.name(), answer.body);
            if !may {
                denied += 1;
                assert_eq!(answer.problem(), "role_missing");
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(&format!("needs the role {}", needed.name())), "{detail}");
                assert!(detail.contains(&format!("`a-{}` has the role {}", role.name(), role.name())), "{detail}");
            }
        }
    }
    assert!(denied > 100, "{denied} denials");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_shown_once_given_another_secret_and_revoked() {
    let node = TestNode::open().await;
    let request = json!({"name": "ci", "role": "operator", "ttl_seconds": 3600, "networks": ["10.0.0.0/8"]});
    let made = node.post("/api/v1/tokens", &request).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let first = made.json()["token"].as_str().unwrap().to_owned();
    let as_who = |secret: String| {
        let node = &node;
        async move {
            let request = axum::http::Request::builder().uri("/api/v1/tokens/self");
            let request = request.header("authorization", format!("Bearer {secret}"));
            node.send(request.body(Body::empty()).unwrap()).await
        }
    };
    let own = as_who(first.clone()).await;
    assert_eq!((own.status, &own.json()["name"], &own.json()["by"]), (200, &json!("ci"), &json!("admin")));
    assert!(!node.get("/api/v1/tokens").await.body.contains(&first));
    assert_eq!(node.post("/api/v1/tokens", &request).await.problem(), "token_exists");
    let rotated = node.post("/api/v1/tokens/ci/rotate", &json!({})).await;
    let second = rotated.json()["token"].as_str().unwrap().to_owned();
    assert_eq!((as_who(first).await.status, as_who(second.clone()).await.status), (401, 200));
    let outside = json!({"targets": ["192.168.0.1"], "ports": "80"});
    let scan = axum::http::Request::builder().method("POST").uri("/api/v1/scans?plan=true");
    let scan = scan.header("authorization", format!("Bearer {second}"));
    let answer = node.send(scan.body(Body::from(outside.to_string())).unwrap()).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "scope_denied"), "{}", answer.body);
    assert!(answer.body.contains("token `ci` may scan 10.0.0.0/8 alone"), "{}", answer.body);
    assert_eq!(node.ask(Method::DELETE, "/api/v1/tokens/ci", &[], "").await.status, 204);
    let revoked = as_who(second).await;
    assert_eq!(revoked.status, 401);
    assert!(revoked.body.contains("`ci` has ended or was revoked"), "{}", revoked.body);
    assert_eq!(node.get("/api/v1/tokens/ci").await.json()["status"], "revoked");
    let last = node.ask(Method::DELETE, "/api/v1/tokens/admin", &[], "").await;
    assert_eq!((last.status, last.problem().as_str()), (409, "last_administrator"));
    for (bad, status) in [
        (json!({"name": "x", "role": "root"}), 422),
        (json!({"name": "a b", "role": "viewer"}), 422),
        (json!({"name": "x", "role": "viewer", "ttl_seconds": 0}), 422),
        (json!({"name": "x", "role": "viewer", "scopes": ["none"]}), 422),
        (json!({"name": "x", "role": "viewer", "networks": ["10.0.0.0/33"]}), 400),
        (json!({"name": "x"}), 400),
    ] {
        assert_eq!(node.post("/api/v1/tokens", &bad).await.status, status, "{bad}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_too_often_or_for_too_much_is_told_when_to_come_again() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    let request =
        json!({"name": "few", "role": "operator", "requests_per_minute": 4, "open_jobs": 9, "targets_per_day": 1});
    let made = node.post("/api/v1/tokens", &request).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let secret = made.json()["token"].as_str().unwrap().to_owned();
    let ask = |method: Method, path: &'static str, body: Value| {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {secret}"));
        node.send(request.body(Body::from(body.to_string())).unwrap())
    };
    let accepted = ask(Method::POST, "/api/v1/scans", one_port()).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let used_up = ask(Method::POST, "/api/v1/scans", one_port()).await;
    assert_eq!((used_up.status, used_up.problem().as_str()), (429, "quota_exceeded"));
    let wait: u64 = used_up.header("retry-after").parse().unwrap();
    assert!((1..=24 * 3600).contains(&wait), "{wait}");
    let shown = ask(Method::GET, "/api/v1/tokens/self", Value::Null).await.json();
    assert_eq!((&shown["requests_per_minute"], &shown["targets_per_day"]), (&json!(4), &json!(1)));
    assert_eq!(ask(Method::GET, "/api/v1/jobs", Value::Null).await.status, 200);
    let often = ask(Method::GET, "/api/v1/jobs", Value::Null).await;
    assert_eq!((often.status, often.problem().as_str()), (429, "rate_limited"));
    let wait: u64 = often.header("retry-after").parse().unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    assert_eq!(node.get("/api/v1/jobs").await.status, 200, "others go on");
    let nothing = json!({"name": "none", "role": "viewer", "requests_per_minute": 0});
    assert_eq!(node.post("/api/v1/tokens", &nothing).await.status, 422);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one log, from its first entry to its last")]
async fn orders_and_refusals_are_in_the_audit_log_with_who_from_where_and_what_came_of_it() {
    let node = TestNode::open().await;
    let trail = Trail::new(node.served.proposer.clone());
    let (tasks, stop) = (TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    tasks.spawn(trail.clone().keep(stop.clone()));
    let served = Arc::new(Served { trail: Some(trail), ..(*node.served).clone() });
    let router = router(Arc::clone(&served));
    let ask = async |method: &str, path: &str, token: &str, body: Value| {
        let request =
            axum::http::Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        request.extensions_mut().insert(CameFrom("192.0.2.9".into()));
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let by_role: [(AccessRole, String); 4] = tokens(&node).await.try_into().unwrap();
    let [viewer, auditor, ..] = by_role;
    assert_eq!(ask("POST", "/api/v1/scans?plan=true", "key", one_port()).await, 200);
    assert_eq!(ask("POST", "/api/v1/scans", &viewer.1, one_port()).await, 403);
    assert_eq!(ask("POST", "/api/v1/jobs/no-job/cancel", "key", json!({})).await, 400);
    let scope = json!({"name": "lab", "networks": ["10.0.0.0/8"], "reason": "r"});
    let made = ask("POST", "/api/v1/scopes", "key", scope).await;
    for _ in 0..3 {
        assert_eq!(ask("GET", "/api/v1/jobs/secret-path", "guessed", Value::Null).await, 401);
    }
    assert_eq!(ask("GET", "/api/v1/audit", &viewer.1, Value::Null).await, 403);
    assert_eq!(ask("GET", "/api/v1/jobs", &viewer.1, Value::Null).await, 200, "who looks is not noted");
    let read = async || {
        let request = axum::http::Request::builder()
            .uri("/api/v1/audit")
            .header("authorization", format!("Bearer {}", auditor.1));
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["items"].as_array().unwrap().clone()
    };
    // What came of requests follows them.
    let times = |entries: &[Value]| entries.iter().map(|entry| entry["times"].as_u64().unwrap()).sum::<u64>();
    let mut entries = Vec::new();
    for _ in 0..100 {
        entries = read().await;
        if times(&entries) >= 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        (text("who"), text("from"), text("action"), text("outcome"), entry["status"].as_u64())
    };
    let all: Vec<_> = entries.iter().map(told).collect();
    let line = |who: &str, action: &str, outcome: &str, status: Option<u64>| {
        (who.to_owned(), "192.0.2.9".to_owned(), action.to_owned(), outcome.to_owned(), status)
    };
    for wanted in [
        line("admin", "POST /api/v1/scans?plan=true", "asked", None),
        line("admin", "POST /api/v1/scans?plan=true", "answered", Some(200)),
        line("a-viewer", "POST /api/v1/scans", "refused", Some(403)),
        line("a-viewer", "GET /api/v1/audit", "refused", Some(403)),
        line("", "GET /api/v1", "refused", Some(401)),
    ] {
        assert!(all.contains(&wanted), "{wanted:?} in {all:?}");
    }
    assert_eq!(times(&entries), 10, "{all:?}");
    let scope = line("admin", "POST /api/v1/scopes", "answered", Some(made.into()));
    let on =
        entries.iter().find(|entry| told(entry) == scope).map(|entry| entry["object"].as_str().unwrap_or_default());
    assert!(made == 201 && on.is_some_and(|on| on.contains("name=lab")), "{made} {on:?} {all:?}");
    let unreadable = line("admin", "POST /api/v1/jobs/{id}/cancel", "refused", Some(400));
    assert!(all.contains(&unreadable) && !all.iter().any(|entry| entry.2.contains("no-job")), "{all:?}");
    assert!(!entries.iter().any(|entry| entry.to_string().contains("guessed")));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    drop((router, served));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_with_another_request_is_refused_and_the_first_job_stays() {
    let node = TestNode::open().await;
    let body = one_port();
    let key = [("idempotency-key", "k")];
    let first = node.ask(Method::POST, "/api/v1/scans", &key, &body.to_string()).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let again = node.ask(Method::POST, "/api/v1/scans", &key, &body.to_string()).await;
    assert_eq!((again.status, &again.json()["job_id"]), (202, &first.json()["job_id"]), "{}", again.body);
    let other = json!({"targets": ["127.0.0.2"], "ports": body["ports"], "discovery": false});
    let refused = node.ask(Method::POST, "/api/v1/scans", &key, &other.to_string()).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "idempotency_key_reused"), "{}", refused.body);
    assert!(refused.body.contains(first.json()["job_id"].as_str().unwrap()), "{}", refused.body);
    // What the spec does not hold is asked for as well.
    for (field, value) in [("priority", json!("low")), ("wait_for_worker", json!(true)), ("workers", json!(1))] {
        let mut other = body.clone();
        other[field] = value;
        let refused = node.ask(Method::POST, "/api/v1/scans", &key, &other.to_string()).await;
        assert_eq!((refused.status, refused.problem().as_str()), (409, "idempotency_key_reused"), "{field}");
    }
    let secret = format!("pna_{}", "mfrggzdfmztwq2lk".repeat(3));
    let job = first.json()["job_id"].as_str().unwrap().to_owned();
    let (cancel, pause) = (format!("/api/v1/jobs/{job}/cancel"), format!("/api/v1/jobs/{job}/pause"));
    let scan = |field: &str, value: Value| {
        let mut scan = body.clone();
        scan[field] = value;
        ("/api/v1/scans", field.to_owned(), scan)
    };
    for (path, field, leaks) in [
        scan("targets", json!([secret])),
        scan("target_text", json!(format!("127.0.0.2\n{secret}\n"))),
        scan("exclude", json!([secret])),
        // A name server would be asked for it.
        scan("exclude_text", json!(secret)),
        scan("worker_tags", json!([secret])),
        scan("require_worker_tags", json!([secret])),
        scan("region", json!(secret)),
        scan("residency", json!(secret)),
        scan("site", json!(secret)),
        (cancel.as_str(), "reason".into(), json!({"reason": secret})),
        (pause.as_str(), "reason".into(), json!({"reason": format!("see {secret}")})),
        ("/api/v1/scopes", "reason".into(), json!({"networks": ["10.0.0.0/8"], "reason": secret})),
        ("/api/v1/exclusions", "reason".into(), json!({"targets": ["10.0.0.1"], "reason": secret})),
    ] {
        let leaks = node.post(path, &leaks).await;
        assert!(leaks.status == 422 && !leaks.body.contains(&secret), "{path} {field}: {}", leaks.body);
        assert!(leaks.body.contains(&format!("`{field}` has the secret of a token in it")), "{path}: {}", leaks.body);
    }
    let refused = node.post("/api/v1/tokens", &json!({"name": secret, "role": "viewer"})).await;
    assert!(refused.status == 422 && !refused.body.contains(&secret), "{}", refused.body);
    // An embedded node takes no schedule.
    assert!(!is_schedule_name(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_tokens_work_is_named_and_stops_where_that_is_asked_for() {
    let node = TestNode::open().await;
    let by_role: [(AccessRole, String); 4] = tokens(&node).await.try_into().unwrap();
    let Some((_, operator)) = by_role.into_iter().find(|(role, _)| *role == AccessRole::Operator) else {
        panic!("there is one of each role");
    };
    let order = async |path: &str, body: &Value| {
        let request = axum::http::Request::builder().method(Method::POST).uri(path);
        let request = request.header("authorization", format!("Bearer {operator}"));
        node.send(request.body(Body::from(body.to_string())).unwrap()).await
    };
    // An embedded node takes none over its API: it ends with its scan.
    let spec = ScheduleSpec {
        cron: "0 3 1 1 *".into(),
        timezone: "UTC".into(),
        missed: MissedPolicy::default(),
        overlap: OverlapPolicy::default(),
        request: one_port().to_string().into_bytes(),
        title: "127.0.0.1".into(),
    };
    let arrangement = Box::new(Arrangement::Schedule { name: "nightly".into(), spec });
    let author = Author { who: "a-operator".into(), from: "127.0.0.1".into() };
    let made = node.served.proposer.propose(Command::ArrangeAs { author, arrangement }).await.unwrap();
    assert!(node.served.raft.wait_applied(made.index, MIN_INDEX_WITHIN).await);
    let mut waits = one_port();
    waits["wait_for_worker"] = json!(true);
    waits["require_worker_tags"] = json!(["none-has-this"]);
    let job = order("/api/v1/scans", &waits).await;
    assert_eq!(job.status, 202, "{}", job.body);
    let job = job.json()["job_id"].as_str().unwrap().to_owned();
    let path = "/api/v1/tokens/a-operator";
    assert_eq!(node.ask(Method::DELETE, path, &[], "").await.status, 204);
    let shown = node.get(path).await.json();
    assert_eq!(shown["work"]["schedules"], json!(["nightly"]), "{shown}");
    assert_eq!((&shown["work"]["jobs"], &shown["status"]), (&json!([job]), &json!("revoked")), "{shown}");
    assert_eq!(node.ask(Method::DELETE, &format!("{path}?with_work=true"), &[], "").await.status, 204);
    let shown = node.get(path).await.json();
    assert_eq!((&shown["work"]["schedules"], &shown["work"]["jobs"]), (&json!([]), &json!([])), "{shown}");
    assert_eq!(node.get(&format!("/api/v1/jobs/{job}")).await.json()["status"], "cancelled");
    assert_eq!(node.get("/api/v1/schedules/nightly").await.json()["status"], "paused");
    node.close().await;
}

/// The messages of a stream of events so far, each as its id, its kind and its document; heartbeats are none.
fn messages(text: &str) -> Vec<(String, String, Value)> {
    let fields = |block: &str, name: &str| {
        let field = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        field.unwrap_or_default().to_owned()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let document = serde_json::from_str(&fields(block, "data")).unwrap();
            (fields(block, "id"), fields(block, "event"), document)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_comes_in_parts_and_what_it_did_not_give_is_no_cursor() {
    let node = TestNode::open().await;
    node.worker_heard().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.insert(0, node.post("/api/v1/scans", &one_port()).await.json()["job_id"].clone());
    }
    let scope = |name: &str| json!({"name": name, "networks": ["203.0.113.0/24"], "reason": "r"});
    for name in ["b", "a", "c"] {
        assert_eq!(node.post("/api/v1/scopes", &scope(name)).await.status, 201);
    }
    let read = async |path: &str, limit: usize, field: &str| {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = node.get(&format!("{path}?limit={limit}{after}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            all.extend(items.iter().map(|item| item[field].clone()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    };
    for limit in [1, 2, 3, 1000] {
        assert_eq!(read("/api/v1/jobs", limit, "job_id").await, jobs);
        assert_eq!(read("/api/v1/scopes", limit, "name").await, ["a", "b", "c"]);
        assert_eq!(read("/api/v1/profiles", limit, "name").await.len(), 7);
        node.end_of(jobs[0].as_str().unwrap()).await;
        let kinds = read(&format!("/api/v1/jobs/{}/events", jobs[0].as_str().unwrap()), limit, "kind").await;
        assert_eq!(kinds, ["submitted", "assigned", "unit_done", "finished"]);
    }
    let of_jobs = node.get("/api/v1/jobs?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    for Route { method, path, says: _, .. } in routes().into_iter().filter(|route| route.method == Method::GET) {
        let path = filled(&path).replace("/jobs/x", &format!("/jobs/{}", jobs[0].as_str().unwrap()));
        let is_list = conforms::takes(&method, &path, "after");
        for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=!", "after=", &format!("after={of_jobs}")] {
            if !is_list || (path == "/api/v1/jobs" && bad.ends_with(&of_jobs)) {
                continue;
            }
            let answer = node.get(&format!("{path}?{bad}")).await;
            assert!(answer.status == 400, "{path}?{bad}: {} {}", answer.status, answer.body);
            let code = answer.problem();
            assert!(
                code == "bad_request" || (code == "bad_cursor" && bad.starts_with("after")),
                "{path}?{bad}: {code}"
            );
        }
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_to_the_jobs_end_and_from_any_id_on_without_gap_or_repeat() {
    let node = TestNode::open().await;
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/jobs/{job}/events");
    let stream = async |path: &str, last: Option<&str>| {
        let headers: Vec<(&str, &str)> =
            std::iter::once(("accept", "text/event-stream")).chain(last.map(|id| ("last-event-id", id))).collect();
        // It ends with the job.
        tokio::time::timeout(Duration::from_secs(30), node.ask(Method::GET, path, &headers, "")).await.unwrap()
    };
    let whole = stream(&path, None).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, "text/event-stream"));
    let all = messages(&whole.body);
    let kinds: Vec<&str> = all.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["submitted", "assigned", "unit_done", "finished"], "{}", whole.body);
    let listed = node.get(&path).await.json();
    let documents: Vec<Value> = all.iter().map(|(_, _, document)| document.clone()).collect();
    assert_eq!(listed["items"], json!(documents), "a stream and a list say the same");
    for (read, (id, _, document)) in (1..).zip(&all) {
        let index = document["index"].as_u64().unwrap().to_string();
        let is_last = all.iter().skip(read).all(|(_, _, later)| later["index"] != document["index"]);
        assert!(id == &index || (!is_last && id.starts_with(&format!("{index}."))), "{id} of {document}");
        let rest = stream(&path, Some(id)).await;
        assert_eq!(rest.status, if read == all.len() { 204 } else { 200 }, "behind {id}");
        assert_eq!(messages(&rest.body), all[read..], "behind {id}");
        let page = node.get(&format!("{path}?after={id}")).await.json();
        assert_eq!(page["items"], json!(documents[read..]), "behind {id}");
    }
    for bad in ["x", "1.2", "-1"] {
        assert_eq!(stream(&path, Some(bad)).await.problem(), "bad_request");
    }
    assert_eq!(stream("/api/v1/jobs/job-000999/events", None).await.problem(), "job_unknown");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_log_never_came_to_is_refused_and_not_kept_in_silence() {
    let node = TestNode::open().await;
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].as_str().unwrap().to_owned();
    let of_job = format!("/api/v1/jobs/{job}/events");
    for path in [of_job.as_str(), "/api/v1/events"] {
        for ahead in ["999999", "999999.2a.0", "18446744073709551615"] {
            let headers = [("accept", "text/event-stream"), ("last-event-id", ahead)];
            let streamed = node.ask(Method::GET, path, &headers, "").await;
            let behind = format!("{path}?after={ahead}");
            let listed = node.get(&behind).await;
            let streamed_behind = node.ask(Method::GET, &behind, &headers[..1], "").await;
            for answer in [streamed, listed, streamed_behind] {
                assert_eq!((answer.status, answer.problem().as_str()), (409, "event_ahead"), "{path} {ahead}");
                assert!(answer.body.contains("of another cluster"), "{}", answer.body);
            }
        }
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_streams_have_places_which_they_give_back() {
    let node = TestNode::open().await;
    let open = async || {
        let request = axum::http::Request::get("/api/v1/events").header("authorization", "Bearer key");
        let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
        node.router.clone().oneshot(request).await.unwrap()
    };
    let mut readers = Vec::new();
    loop {
        let response = open().await;
        match response.status().as_u16() {
            200 => readers.push(response),
            status => {
                assert_eq!((status, response.headers()["retry-after"].to_str().unwrap()), (429, "5"));
                break;
            }
        }
        assert!(readers.len() < 1_000, "there is no bound");
    }
    assert_eq!(readers.len(), 16, "a token has a share, and the rest is for others");
    readers.pop();
    // Whoever is gone is noticed by whoever would have told it something.
    let again = async {
        while open().await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("a place is free again");
    // One that is told of all jobs hears of one that begins now.
    let mut body = readers.pop().unwrap().into_body().into_data_stream();
    let job = node.post("/api/v1/scans", &one_port()).await.json()["job_id"].clone();
    let mut text = String::new();
    let hear = async {
        while !messages(&text).iter().any(|(_, kind, document)| kind == "finished" && document["job_id"] == job) {
            let piece = futures::StreamExt::next(&mut body).await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), hear).await.unwrap();
    drop((readers, body));
    node.close().await;
}
