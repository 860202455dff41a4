//! What holds at every route: who is let in, and how lists come in parts.

use axum::body::Body;
use serde_json::json;

use super::routes::{Route, routes};
use super::tests::{TestNode, filled, one_port, tokens};
use super::*;
use crate::join::token::JoinToken;

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
