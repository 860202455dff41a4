//! Scans that are ordered over the API, from the request to the end of their job.

use axum::body::Body;
use pentora_raft::Response;
use pentora_raft::command::{Arrangement, Author, SpecRef, Submission};
use pentora_raft::state::{JobLimits, KeepSpec, Partition, Priority, is_schedule_name};
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::target::TargetSet;
use serde_json::{Value, json};

use super::tests::{TestNode, one_port, tokens};
use super::*;
use crate::clock::wall_ms;
use crate::document::ScanRequest;
use crate::orders;
use crate::signing::PersonKey;
use crate::spec;

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

/// A job of 256 addresses at forty a second, which goes on.
async fn under_way(node: &TestNode, token: &str) -> String {
    let request = json!({"targets": ["127.0.0.0/24"], "ports": "9", "rate": 40, "discovery": false, "services": false});
    let scan = axum::http::Request::post("/api/v1/scans").header("authorization", format!("Bearer {token}"));
    let accepted = node.send(scan.body(Body::from(request.to_string())).unwrap()).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let job = accepted.json()["job_id"].as_str().unwrap().to_owned();
    until_it_goes_on(node, &job).await;
    job
}

async fn until_it_goes_on(node: &TestNode, job: &str) {
    for _ in 0..600 {
        let document = node.get(&format!("/api/v1/jobs/{job}")).await.json();
        if document["targets_in_progress"].as_u64().is_some_and(|targets| targets >= 5) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{job} does not go on")
}

/// A pass of a standing scan over the same; an embedded node takes none over its API.
async fn pass_under_way(node: &TestNode) -> String {
    let targets: TargetSet = "127.0.0.0/24".parse().unwrap();
    let spec = ScanSpec { partitions: vec![targets], ports: "9".parse().unwrap(), ..ScanSpec::default() };
    let spec = ScanSpec { rate_pps: Some(40), services: None, ..spec };
    let kept =
        KeepSpec { request: b"{}".to_vec(), title: "k".into(), fresh_ms: 60_000, rate_pps: 40, slices: vec![256] };
    let arrangement = Box::new(Arrangement::Keep { name: "k".into(), spec: kept });
    node.served.proposer.propose(Command::ArrangeAs { author: Author::default(), arrangement }).await.unwrap();
    let submission = Box::new(Submission {
        spec: SpecRef::Inline(spec::encode(&spec)),
        partitions: vec![Partition { target_count: 256, ..Partition::default() }],
        priority: Priority::Normal,
        limits: JobLimits { max_attempts: 3, budget_pps: Some(40), ..JobLimits::default() },
        via: 1,
        idempotency_key: None,
        title: "k".into(),
        finished: Vec::new(),
    });
    let start = Command::StartSlice { keep: "k".into(), slice: 0, submission };
    let Response::Submitted { job, .. } = node.served.proposer.propose(start).await.unwrap().response else {
        panic!("the pass does not begin")
    };
    until_it_goes_on(node, &job.to_string()).await;
    job.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_order_stops_a_job_its_units_hand_in_what_they_have_first() {
    let node = TestNode::open().await;
    let by_role = tokens(&node).await;
    let (_, operator) = by_role.iter().find(|(role, _)| *role == AccessRole::Operator).unwrap();
    let delete = async |path: &str| node.ask(Method::DELETE, path, &[], "").await.status;
    let stopped = async |job: &str| {
        let document = node.get(&format!("/api/v1/jobs/{job}")).await.json();
        assert_eq!(document["active_workers"], 0, "{document}");
        // What is settled is counted, and the rest handed back; an order alone takes all of it.
        let events = node.get(&format!("/api/v1/jobs/{job}/events")).await.json();
        let is_released = events["items"].as_array().unwrap().iter().any(|event| event["kind"] == "released");
        assert!(is_released, "{events}");
        document["status"].as_str().unwrap().to_owned()
    };
    let job = under_way(&node, "key").await;
    assert_eq!(node.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await.status, 200);
    assert_eq!(stopped(&job).await, "cancelled");
    let job = under_way(&node, "key").await;
    assert_eq!(node.post(&format!("/api/v1/jobs/{job}/pause"), &json!({})).await.status, 200);
    assert_eq!(stopped(&job).await, "paused");
    let job = under_way(&node, operator).await;
    assert_eq!(delete("/api/v1/tokens/a-operator?with_work=true").await, 204);
    assert_eq!(stopped(&job).await, "cancelled");
    let job = pass_under_way(&node).await;
    assert_eq!(delete("/api/v1/keeps/k").await, 204);
    assert_eq!(stopped(&job).await, "cancelled");
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
