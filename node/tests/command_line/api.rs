//! An API that plays a node's part on loopback.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use pentora_node::document::{
    ClusterDocument, JobEvent, Page, Problem, Quorum, ScanRequest, TokenCreated, WorkerDocument,
};
use pentora_scanner::finding::{
    HostRecord, HostState, Identity, PortRecord, PortState, Reason, Service, ServiceMethod,
};
use pentora_scanner::port::Protocol;
use pentora_scanner::report::json_line;
use serde_json::{Value, json};

/// An API on loopback that answers from a script.
pub(crate) struct Api {
    pub(crate) endpoint: String,
    pub(crate) seen: Arc<Mutex<Vec<(String, String)>>>,
    /// The scans that were asked for.
    pub(crate) scans: Arc<Mutex<Vec<ScanRequest>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    /// A node with one job that shows as running `looks` times and then ends as `end`.
    pub(crate) fn with_job(end: &'static str, looks: usize) -> Self {
        let left = Arc::new(Mutex::new(looks));
        let job = move || {
            let mut left = left.lock().unwrap();
            let status = if *left == 0 { end } else { "running" };
            *left = left.saturating_sub(1);
            job(status)
        };
        let scans: Arc<Mutex<Vec<ScanRequest>>> = Arc::default();
        let asked = Arc::clone(&scans);
        let accept = move |Json(request): Json<ScanRequest>| async move {
            asked.lock().unwrap().push(request.clone());
            accept(request)
        };
        let served = Self::serve(
            Router::new()
                .route("/api/v1/scans", post(accept))
                .route("/api/v1/jobs/{id}", get(move || async move { Json(job()) }))
                .route("/api/v1/jobs/{id}/results", get(|| async { results() }))
                .route("/api/v1/jobs/{id}/cancel", post(|| async { Json(json!({})) }))
                .route("/api/v1/jobs/{id}/events", get(|| async { Json(Page::whole(events())) }))
                .route("/api/v1/workers", get(|| async { Json(Page::whole(vec![worker()])) }))
                .route("/api/v1/worker-tokens", post(|| async { Json(token()) }))
                .route("/api/v1/worker-tokens/{id}", delete(|| async { StatusCode::NO_CONTENT }))
                .route("/api/v1/cluster", get(|| async { Json(cluster()) })),
        );
        Self { scans, ..served }
    }

    /// A node that refuses every scan.
    pub(crate) fn refusing(status: u16, code: &'static str) -> Self {
        let refuse = move || async move {
            let mut response =
                (StatusCode::from_u16(status).unwrap(), Json(Problem::new(status, code, "no", "the detail")))
                    .into_response();
            if status == 503 {
                response.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
            }
            response
        };
        Self::serve(Router::new().route("/api/v1/scans", post(refuse)))
    }

    pub(crate) fn serve(router: Router) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let log = seen.clone();
        let router = router.layer(axum::middleware::map_request(move |request: Request| {
            let token = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            log.lock().unwrap().push((request.uri().to_string(), token.unwrap_or_default()));
            async move { request }
        }));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint, seen, scans: Arc::default(), _runtime: runtime }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(uri, _)| uri.clone()).collect()
    }
}

fn accept(request: ScanRequest) -> Response {
    let targets = request.targets.len() + request.target_text.map_or(0, |text| text.lines().count());
    let accepted = json!({"job_id": "job-1", "targets": targets, "partitions": 1, "index": 7});
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

fn job(status: &str) -> Value {
    json!({
        "job_id": "job-1", "status": status, "workers": 1, "duration": "3s", "worker_stats": [], "elapsed_seconds": 3.0,
        "targets_scanned": if status == "completed" { 2 } else { 1 }, "targets_total": 2, "probes_sent": 9,
        "results": {"hosts_up": 2, "open_ports": 2, "services_detected": 2, "vulnerabilities": 0},
        "submitted_at": "2025-07-10T12:00:00Z",
        "reason": if status == "partial" { Some("unit 0:1-2 failed 3 times") } else { None },
    })
}

pub(crate) fn results() -> String {
    let host = |last: u8| HostRecord {
        address: std::net::Ipv4Addr::new(10, 0, 0, last).into(),
        name: None,
        state: HostState::Up,
        reason: Reason::SynAck,
        ports: vec![PortRecord {
            port: 22,
            protocol: Protocol::Tcp,
            state: PortState::Open,
            reason: Reason::SynAck,
            banner: Some("SSH-2.0-x".into()),
            service: Some(Box::new(Service {
                name: "ssh".into(),
                method: ServiceMethod::Probed,
                ..Service::default()
            })),
            weaknesses: Vec::new(),
        }],
        not_shown: Vec::new(),
        started_at_ms: 0,
        worker: "wrk_a".into(),
        is_middlebox: false,
        ended_at_ms: 0,
        tcp: None,
        identity: Identity::default(),
        likely_found_permille: None,
        is_target_itself: false,
        redirected: Vec::new(),
        stopped_after_probes: None,
    };
    format!("{}\n{}\n", json_line(&host(1)), json_line(&host(2)))
}

fn events() -> Vec<JobEvent> {
    let at = "2025-07-10T12:00:00.250Z".to_owned();
    vec![JobEvent {
        job_id: "job-abc123".into(),
        index: 9,
        at,
        kind: "submitted".into(),
        message: "job accepted".into(),
        worker: None,
        unit: None,
        node: None,
    }]
}

fn worker() -> WorkerDocument {
    serde_json::from_value(json!({"worker_id": "wrk_a", "name": "n1", "status": "Idle"})).unwrap()
}

fn token() -> TokenCreated {
    TokenCreated { token: "pnj_secret".into(), expires_at: "2025-07-11T12:00:00Z".into(), name: "n2".into() }
}

fn cluster() -> ClusterDocument {
    ClusterDocument {
        cluster_id: "c1".into(),
        leader: Some("n1".into()),
        term: 2,
        commit_index: 5,
        applied_index: 5,
        quorum: Quorum { voters: 1, needed: 1, failures_tolerated: Some(0) },
        nodes: Vec::new(),
        answered_by: "n1".into(),
        ..ClusterDocument::default()
    }
}
