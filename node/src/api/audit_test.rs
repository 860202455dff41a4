//! What the audit log has of requests.

use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::tests::{TestNode, one_port, tokens};
use super::*;

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
    let page = axum::http::Request::builder()
        .uri("/api/v1/tokens")
        .header("authorization", format!("Bearer {}", viewer.1))
        .header("host", "127.0.0.1:8080")
        .header("origin", "http://evil.example");
    let mut page = page.body(Body::empty()).unwrap();
    page.extensions_mut().insert(CameFrom("192.0.2.9".into()));
    assert_eq!(router.clone().oneshot(page).await.unwrap().status(), 403, "a page of another site");
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
        if times(&entries) >= 11 {
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
        line("a-viewer", "GET /api/v1/tokens", "refused", Some(403)),
    ] {
        assert!(all.contains(&wanted), "{wanted:?} in {all:?}");
    }
    assert_eq!(times(&entries), 11, "{all:?}");
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
