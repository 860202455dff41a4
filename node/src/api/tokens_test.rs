//! Access tokens: how they are made and end, what bounds them, and what becomes of their work.

use axum::body::Body;
use pentora_raft::command::{Arrangement, Author};
use pentora_raft::state::{MissedPolicy, OverlapPolicy, ScheduleSpec};
use serde_json::{Value, json};

use super::tests::{TestNode, one_port, tokens};
use super::*;

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

/// What multiplied the requests of whoever stole a token that makes others.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_as_many_requests_as_the_nodes_file_says_and_all_that_one_made_a_few_times_as_many() {
    let node = TestNode::open_as(|served| Served { token_rate: 60, ..served }).await;
    let mut made = Vec::new();
    for number in 0..7 {
        // A rate of its own is never above that of the node.
        let new = json!({"name": format!("t{number}"), "role": "viewer", "requests_per_minute": 1_000_000});
        made.push(node.post("/api/v1/tokens", &new).await.json()["token"].as_str().unwrap().to_owned());
    }
    let ask = async |secret: &str| {
        let request =
            axum::http::Request::builder().uri("/api/v1/jobs").header("authorization", format!("Bearer {secret}"));
        node.send(request.body(Body::empty()).unwrap()).await
    };
    let mut taken = Vec::new();
    let mut told = Vec::new();
    for secret in &made {
        let mut count = 0;
        for _ in 0..100 {
            let answer = ask(secret).await;
            if answer.status != 200 {
                assert_eq!((answer.status, answer.problem().as_str()), (429, "rate_limited"));
                assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
                told.push(answer.body.contains("and others of whoever answers for it"));
                break;
            }
            count += 1;
        }
        taken.push(count);
    }
    // Some are given back while this lasts: one a second of each, and four of all.
    assert!((60..=70).contains(&taken[0]) && !told[0], "{taken:?}");
    let all: usize = taken.iter().sum();
    assert!((240..=300).contains(&all) && told.last() == Some(&true), "{taken:?} {told:?}");
    assert_eq!(node.get("/api/v1/jobs").await.status, 200, "whoever made them goes on");
    node.close().await;
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
