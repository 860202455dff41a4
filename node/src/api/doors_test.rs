//! What strangers, and whoever has a single token, may take of the API: no more than leaves it to others.

use axum::body::Body;
use axum::http::HeaderMap;
use futures::future::join_all;
use pentora_p2p::{Identity, PreSharedKey};
use pentora_raft::ClusterId;
use pentora_raft::command::{Arrangement, Author, Command};
use pentora_raft::state::KeepSpec;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::tests::{Answer, TestNode};
use super::*;
use crate::join::token::JoinToken;

async fn asked(node: &TestNode, path: &str, from: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(axum::http::Request::get(path), |to, (name, value)| to.header(*name, *value));
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(CameFrom(from.into()));
    node.send(request).await
}

async fn made(node: &TestNode, path: &str, body: &Value) -> Answer {
    let request = axum::http::Request::post(path).header("authorization", "Bearer key");
    node.send(request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()).await
}

/// What unseated leaders: strangers had it made anew, 5 ms each.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_made_once_and_whoever_has_it_is_told_so() {
    let text = async || {
        let answer = strangers::describe(HeaderMap::new()).await;
        axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap()
    };
    let (first, second) = (text().await, text().await);
    assert_eq!(first.as_ptr(), second.as_ptr(), "the same bytes, and not the same text");
    let node = TestNode::open().await;
    let whole = asked(&node, "/api/v1/openapi.json", "192.0.2.9", &[]).await;
    assert_eq!((whole.status, whole.json()["openapi"].as_str()), (200, Some("3.1.0")));
    let tag = whole.headers["etag"].to_str().unwrap();
    for (known, status) in
        [(tag.to_owned(), 304), (format!("\"other\", W/{tag}"), 304), ("*".into(), 304), ("\"other\"".into(), 200)]
    {
        let answer = asked(&node, "/api/v1/openapi.json", "192.0.2.9", &[("if-none-match", &known)]).await;
        assert_eq!((answer.status, answer.headers["etag"].to_str().unwrap()), (status, tag), "{known}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_token_has_a_rate_and_neither_others_nor_tokens_from_there_have_it() {
    let node = TestNode::open().await;
    let mut refused = None;
    for number in 0..20_000 {
        // Of one network of IPv6, which is one.
        let answer = asked(&node, "/healthz", &format!("2001:db8::{number:x}"), &[]).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("there is a rate");
    assert_eq!((refused.status, refused.problem().as_str()), (429, "rate_limited"));
    assert!(refused.headers.contains_key("retry-after") && refused.headers["connection"] == "close");
    for path in ["/metrics", "/version", "/api/v1/openapi.json"] {
        assert_eq!(asked(&node, path, "192.0.2.9", &[]).await.status, 200, "{path}");
        let known = asked(&node, path, "2001:db8::1", &[("authorization", "Bearer key")]).await;
        assert_eq!(known.status, 200, "{path}");
    }
    node.close().await;
}

/// What had supervisors end a node that was well: whoever shares their address asked for something else.
#[tokio::test(flavor = "multi_thread")]
async fn probes_have_a_rate_of_their_own_whatever_else_is_asked_for_from_their_address() {
    let node = TestNode::open().await;
    let mut status = 200;
    for _ in 0..20_000 {
        status = asked(&node, "/version", "192.0.2.9", &[]).await.status;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 429, "there is a rate");
    assert_eq!(asked(&node, "/healthz", "192.0.2.9", &[]).await.status, 200);
    // Whether it is ready is its own affair.
    assert_ne!(asked(&node, "/readyz", "192.0.2.9", &[]).await.status, 429);
    node.close().await;
}

/// What kept those out who belong: each wrong credential was held for two seconds, however many had come before it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_with_join_tokens_that_are_none_is_not_waited_for_again() {
    let node = TestNode::open().await;
    let guessed = JoinToken::generate(ClusterId::default(), &PreSharedKey::from_bytes([7; 32]));
    let guessed = guessed.credential(&Identity::from_secret([3; 32])).to_string();
    let many = async {
        for _ in 0..40 {
            let request = axum::http::Request::post("/api/v1/workers/register");
            let request = request.header("authorization", format!("Bearer {guessed}"));
            let mut request = request.header("content-type", "application/json").body(Body::from("{}")).unwrap();
            request.extensions_mut().insert(CameFrom("192.0.2.9".into()));
            let answer = node.send(request).await;
            assert!(matches!(answer.status, 401 | 429), "{}", answer.body);
        }
    };
    // Eighty seconds, were each waited for.
    tokio::time::timeout(Duration::from_secs(40), many).await.expect("the first alone is waited for");
    node.close().await;
}

/// What shut everybody out of a member: reads that wait for an index that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_a_share_of_the_reads_that_wait_for_an_index() {
    let node = TestNode::open().await;
    let viewer = made(&node, "/api/v1/tokens", &json!({"name": "v", "role": "viewer"})).await;
    let viewer = format!("Bearer {}", viewer.json()["token"].as_str().unwrap());
    let by_viewer = [("authorization", viewer.as_str())];
    let waiting = |_| asked(&node, "/api/v1/jobs?min_index=99999999", "192.0.2.9", &by_viewer);
    let other = async {
        let known = [("authorization", "Bearer key")];
        asked(&node, "/api/v1/jobs?min_index=99999999", "192.0.2.9", &known).await.problem()
    };
    let (answers, other) = tokio::join!(join_all((0..70).map(waiting)), other);
    let told = |code: &str| answers.iter().filter(|answer| answer.problem() == code).count();
    assert_eq!((told("behind"), told("busy"), other.as_str()), (64, 6, "behind"));
    assert!(answers.iter().all(|answer| answer.headers.contains_key("retry-after")));
    let now = asked(&node, "/api/v1/jobs?min_index=1", "192.0.2.9", &by_viewer).await;
    assert_eq!(now.status, 200);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_strangers_no_name_of_a_standing_scan_and_whoever_shows_a_token_all() {
    let node = TestNode::open().await;
    let spec =
        KeepSpec { request: b"{}".to_vec(), title: "t".into(), fresh_ms: 3_600_000, rate_pps: 100, slices: vec![20] };
    // An embedded node takes none over its API: it ends with its scan.
    let arrangement = Box::new(Arrangement::Keep { name: "plant-seven".into(), spec });
    let made = Command::ArrangeAs { author: Author::default(), arrangement };
    let made = node.served.proposer.propose(made).await.unwrap();
    assert!(node.served.raft.wait_applied(made.index, MIN_INDEX_WITHIN).await);
    let stranger = asked(&node, "/metrics", "192.0.2.9", &[]).await.body;
    assert!(!stranger.contains("plant-seven"), "{stranger}");
    let label = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("pentora_keep_promised_seconds{")).unwrap().to_owned();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let again = asked(&node, "/metrics", "192.0.2.8", &[]).await.body;
    assert_eq!((label(&stranger).len(), label(&stranger)), (12, label(&again)), "alerts tell one from another");
    for bearer in ["Bearer wrong", "Bearer key"] {
        let text = asked(&node, "/metrics", "192.0.2.9", &[("authorization", bearer)]).await.body;
        assert_eq!(label(&text) == "plant-seven", bearer == "Bearer key", "{text}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_a_socket_names_its_host_once_whoever_asks() {
    let node = TestNode::open().await;
    for (hosts, status) in [(0, 400), (1, 200), (2, 400)] {
        let request = axum::http::Request::get("/api/v1/jobs").header("authorization", "Bearer key");
        let request = (0..hosts).fold(request, |request, _| request.header("host", "n1:8080"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(HangUp(CancellationToken::new()));
        let answer = node.send(request).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(status == 200 || answer.problem() == "bad_host");
    }
    node.close().await;
}
