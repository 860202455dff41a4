//! The client against small routers, in process and over a real socket on loopback.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::*;
use crate::document::JobResults;

/// What a test node saw.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

fn record(seen: &Seen, request: &Request) {
    seen.lock().unwrap().push((request.uri().to_string(), request.headers().clone()));
}

fn job() -> JobDocument {
    JobDocument {
        not_probed: Default::default(),
        notes: Vec::new(),
        job_id: "job-1".into(),
        status: "running".into(),
        status_age_ms: None,
        workers: 1,
        targets_scanned: 1,
        duration: "1s".into(),
        results: JobResults::default(),
        worker_stats: Vec::new(),
        targets_total: 2,
        targets_in_progress: 0,
        ports: None,
        title: String::new(),
        site: None,
        signed_by: None,
        allow_fragile: false,
        priority: pentora_raft::state::Priority::Normal,
        submitted_at: String::new(),
        started_at: None,
        finished_at: None,
        elapsed_seconds: 1.0,
        eta_seconds: None,
        active_workers: 1,
        probes_sent: 0,
        loss_estimate: Some(0.0),
        recall_estimate: None,
        recall_measured: None,
        in_progress: crate::document::JobProgress::default(),
        reason: None,
        waits: Vec::new(),
    }
}

fn problem(status: u16, code: &str, retry_after: Option<&str>) -> Response {
    let mut response =
        (StatusCode::from_u16(status).unwrap(), Json(Problem::new(status, code, "t", "d"))).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.parse().unwrap());
    }
    response
}

/// A router on a free port of loopback, for as long as this lives.
struct Listening {
    endpoint: String,
    _tasks: tokio::task::JoinSet<()>,
}

async fn serve(router: Router) -> Listening {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Listening { endpoint, _tasks: tasks }
}

#[tokio::test]
async fn a_submission_is_repeated_with_the_same_key_until_a_leader_takes_it() {
    let seen = Seen::default();
    let router = {
        let seen = seen.clone();
        Router::new()
            .route(
                "/api/v1/scans",
                post(move |request: Request| async move {
                    record(&seen, &request);
                    let tries = seen.lock().unwrap().len();
                    match tries {
                        1 | 2 => problem(503, "quorum_lost", Some("0")),
                        _ => {
                            Json(json!({"job_id": "job-1", "targets": 2, "partitions": 1, "index": 7})).into_response()
                        }
                    }
                }),
            )
            .route(
                "/api/v1/jobs/{id}",
                get(|request: Request| async move { request.uri().query().unwrap().to_owned() }),
            )
    };
    let client = Client::in_process(router, Some(Secret::new("pna_1")));
    let accepted = client.scan(&ScanRequest::default()).await.unwrap();
    assert_eq!((accepted.job_id.as_str(), accepted.index), ("job-1", 7));
    let seen = seen.lock().unwrap();
    let keys: Vec<_> = seen.iter().map(|(_, headers)| headers["idempotency-key"].clone()).collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
    assert_eq!(seen[0].1[header::AUTHORIZATION], "Bearer pna_1");
    assert_eq!(client.fresh("/x"), "/x?min_index=7", "later questions wait for the entry");
}

#[tokio::test]
async fn a_problem_keeps_its_code_and_is_not_repeated() {
    let seen = Seen::default();
    let router = {
        let seen = seen.clone();
        Router::new().route(
            "/api/v1/scans",
            post(move |request: Request| async move {
                record(&seen, &request);
                problem(403, "scope_denied", None)
            }),
        )
    };
    let error = Client::in_process(router, None).scan(&ScanRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str(), error.is_passing()), ("scope_denied", "d", false));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_follow_their_cursors_to_the_end() {
    let page = |Query(query): Query<std::collections::HashMap<String, String>>| async move {
        match query.get("after").map(String::as_str) {
            None => Json(json!({"items": [job()], "next": "c1"})),
            Some("c1") => Json(json!({"items": [job(), job()]})),
            Some(_) => Json(json!({"items": []})),
        }
    };
    let client = Client::in_process(Router::new().route("/api/v1/jobs", get(page)), None);
    assert_eq!(client.jobs().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_cursor_that_would_change_the_request_is_refused() {
    let page = || async { Json(json!({"items": [job()], "next": "x&min_index=0"})) };
    let client = Client::in_process(Router::new().route("/api/v1/jobs", get(page)), None);
    assert!(matches!(client.jobs().await, Err(ClientError::BadCursor)));
}

#[tokio::test]
async fn over_a_socket_the_same_calls_give_the_same_answers() {
    let router = Router::new()
        .route(
            "/api/v1/jobs/{id}",
            get(|Path(id): Path<String>| async move { Json(JobDocument { job_id: id, ..job() }) }),
        )
        .route("/api/v1/jobs/{id}/results", get(|| async { "one\ntwo\n" }))
        .route("/api/v1/worker-tokens/{id}", axum::routing::delete(|| async { StatusCode::NO_CONTENT }))
        .route("/healthz", get(|| async { "ok" }));
    let node = serve(router).await;
    let client = Client::http(vec![node.endpoint.clone()], None, &Trust::default()).unwrap();
    assert_eq!(client.job("job-9").await.unwrap().job_id, "job-9");
    client.healthz().await.unwrap();
    client.revoke_token("t").await.unwrap();
    let mut lines = client.results("job-9").await.unwrap();
    assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(lines.next().await.unwrap(), None);
    let error = client.cluster().await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { status: 404 }), "{error}");
}

#[tokio::test]
async fn the_second_address_is_asked_when_the_first_refuses_and_nobody_means_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let node = serve(Router::new().route("/healthz", get(|| async { "ok" }))).await;
    Client::http(vec![nobody.clone(), node.endpoint.clone()], None, &Trust::default())
        .unwrap()
        .healthz()
        .await
        .unwrap();

    let started = Instant::now();
    let error = Client::http(vec![nobody], None, &Trust::default()).unwrap().cluster().await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    assert!(error.is_passing() && started.elapsed() < Duration::from_secs(2), "a refused connection is told at once");
}

#[tokio::test]
async fn a_connection_cut_in_mid_answer_is_tried_again() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = second.read(&mut request).await.unwrap();
        assert!(read > 0);
        let body = r#"{"name":"pentora","version":"0","api":"v1"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        second.write_all(answer.as_bytes()).await.unwrap();
    });
    let version = Client::http(vec![endpoint], None, &Trust::default()).unwrap().version().await.unwrap();
    assert_eq!(version.api, "v1");
}

/// What connections to an address have said.
type Heard = Arc<Mutex<Vec<String>>>;

/// A node that takes connections and what is said on them, and answers nothing; or with `hangs_up` ends them then.
async fn mute(hangs_up: bool) -> (Listening, Heard) {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let heard = Heard::default();
    let mut tasks = tokio::task::JoinSet::new();
    let told = Arc::clone(&heard);
    tasks.spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned();
            told.lock().unwrap().push(line);
            if !hangs_up {
                open.push(connection);
            }
        }
    });
    (Listening { endpoint, _tasks: tasks }, heard)
}

/// A node that answers everything with this, and keeps what it was asked.
async fn answering(answer: fn() -> Response) -> (Listening, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        record(&kept, &request);
        async move { answer() }
    });
    (serve(router).await, seen)
}

fn paths(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
}

fn of_all(nodes: &[&Listening]) -> Client {
    Client::http(nodes.iter().map(|node| node.endpoint.clone()).collect(), None, &Trust::default()).unwrap()
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn lost() -> Response {
    problem(503, "quorum_lost", None)
}

/// Within this a client has given up an address that does not answer, which it alone would be waited for 30 s.
const PATIENCE: Duration = Duration::from_secs(25);

#[tokio::test]
async fn behind_a_node_that_hangs_the_next_is_asked_and_goes_first_from_then_on() {
    let (hung, heard) = mute(false).await;
    let (well, seen) = answering(no_content).await;
    let client = of_all(&[&hung, &well]);
    tokio::time::timeout(PATIENCE, client.healthz()).await.expect("the second is asked").unwrap();
    client.ready().await.unwrap();
    assert_eq!(paths(&seen), ["/healthz", "/readyz"]);
    assert_eq!(heard.lock().unwrap().len(), 1, "what hung is not asked first any more");
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_sent_to_a_node_that_answers_and_to_no_other() {
    let (hung, heard) = mute(false).await;
    let (well, seen) = answering(no_content).await;
    let client = of_all(&[&hung, &well]);
    tokio::time::timeout(PATIENCE, client.revoke_token("t")).await.expect("the second is asked").unwrap();
    assert_eq!(paths(&seen), ["/readyz", "/api/v1/worker-tokens/t"]);
    assert_eq!(*heard.lock().unwrap(), ["GET /readyz HTTP/1.1"]);
    // The same past a node that hears no leader.
    let (alone, asked) = answering(lost).await;
    of_all(&[&alone, &well]).revoke_token("u").await.unwrap();
    assert_eq!((paths(&asked), paths(&seen).pop()), (vec!["/readyz".into()], Some("/api/v1/worker-tokens/u".into())));
}

#[tokio::test]
async fn a_submission_goes_past_nodes_without_a_leader_with_the_same_key() {
    let (first, asked) = answering(lost).await;
    let accepted = || Json(json!({"job_id": "job-1", "targets": 2, "partitions": 1, "index": 7})).into_response();
    let (second, taken) = answering(accepted).await;
    let client = of_all(&[&first, &second]);
    assert_eq!(client.scan(&ScanRequest::default()).await.unwrap().job_id, "job-1");
    let keys = [&asked, &taken].map(|seen| seen.lock().unwrap()[0].1["idempotency-key"].clone());
    assert!(keys[0] == keys[1] && paths(&asked) == paths(&taken), "{keys:?}");
    // Where nobody has one, one of them says so.
    let (third, _) = answering(lost).await;
    let error = of_all(&[&first, &third]).cluster().await.unwrap_err();
    assert_eq!(error.code(), "quorum_lost", "{error}");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let (breaks, heard) = mute(true).await;
    let error = of_all(&[&breaks]).revoke_token("t").await.unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error}");
    assert_eq!(*heard.lock().unwrap(), ["DELETE /api/v1/worker-tokens/t HTTP/1.1"]);
    // Told by a node that it did nothing, it is.
    for (not_done, times) in [(false, 1), (true, 2)] {
        let seen = Seen::default();
        let router = {
            let seen = seen.clone();
            Router::new().fallback(move |request: Request| async move {
                record(&seen, &request);
                if seen.lock().unwrap().len() > 1 {
                    return no_content();
                }
                let mut problem = Problem::new(503, "quorum_lost", "t", "d");
                problem.extra.insert("not_done".into(), not_done.into());
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")], Json(problem)).into_response()
            })
        };
        let revoked = Client::in_process(router, None).revoke_token("t").await;
        assert_eq!((revoked.is_ok(), paths(&seen).len()), (not_done, times));
    }
}
