//! Spans against a collector of the test's own, on loopback.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use pentora_raft::ClusterId;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

/// What came, in order.
#[derive(Debug, Clone, Default)]
struct Came(Arc<Mutex<Vec<(String, String, Value)>>>);

impl Came {
    fn spans(&self) -> Vec<Value> {
        let came = self.0.lock().unwrap();
        let of = |(_, _, body): &(String, String, Value)| {
            body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        };
        came.iter().flat_map(of).collect()
    }
}

/// A collector that answers the first requests with these, and then takes everything.
async fn collector(answers: &'static [(StatusCode, &'static str)]) -> (String, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (came, asked) = (Came::default(), Arc::new(AtomicUsize::new(0)));
    let seen = came.clone();
    let take = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let answer = answers.get(number).copied().unwrap_or((StatusCode::OK, "{}"));
        if answer.0.is_success() {
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            let body = serde_json::from_slice(&body).unwrap();
            seen.0.lock().unwrap().push((uri.path().to_owned(), kind, body));
        }
        async move { answer }
    };
    TaskTracker::new().spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
    (url, came)
}

fn exporter(url: &str) -> (Exporter, Traces) {
    let teller = Teller { cluster: ClusterId([1; 16]), node: 1, name: "n1".into() };
    Line::to(&Collector { url: url.into(), ca_file: None, headers: HeaderMap::new() }).unwrap().exporter(teller)
}

fn tell(traces: &Traces, job: u64) {
    let began = traces.begin();
    traces.tell(JobId(job), Place::Submit(1), began, Vec::new, None);
}

async fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn whoever_is_told_of_no_collector_makes_no_span() {
    let traces = Traces::default();
    assert!(!traces.are_told());
    assert_eq!(traces.begin(), 0);
    traces.tell(JobId(1), Place::Job, 0, || panic!("nobody is told"), None);
    assert_eq!(traces.told(), Told::default());
}

#[tokio::test]
async fn spans_reach_the_collector_at_the_protocols_path_together_and_what_is_left_when_the_node_stops_as_well() {
    let (url, came) = collector(&[]).await;
    let (exporter, traces) = exporter(&url);
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(exporter.run(stop.clone()));
    (0..3).for_each(|job| tell(&traces, job));
    until(|| came.spans().len() == 3).await;
    assert_eq!(came.0.lock().unwrap().len(), 1, "one request");
    let (path, kind, _) = came.0.lock().unwrap()[0].clone();
    assert_eq!((path.as_str(), kind.as_str()), ("/v1/traces", "application/json"));
    tell(&traces, 4);
    stop.cancel();
    running.await.unwrap();
    assert_eq!(came.spans().len(), 4);
    assert_eq!(traces.told(), Told { sent: 4, dropped: 0 });
    tell(&traces, 5);
    assert_eq!(traces.told(), Told { sent: 4, dropped: 1 }, "the queue is closed");
}

#[tokio::test]
async fn a_collector_gets_the_headers_that_it_wants_with_every_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&came);
    let take = move |headers: HeaderMap| {
        let of = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push([of("authorization"), of("x-tenant"), of("content-type")]);
        async { "{}" }
    };
    TaskTracker::new().spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
    let headers = read_headers("authorization=Bearer%20new,x-tenant=7").unwrap();
    let line = Line::to(&Collector { url, ca_file: None, headers }).unwrap();
    assert!(!format!("{line:?}").contains("Bearer"), "{line:?}");
    let teller = Teller { cluster: ClusterId([1; 16]), node: 1, name: "n1".into() };
    let (exporter, traces) = line.exporter(teller);
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(exporter.run(stop.clone()));
    for job in 1..=2 {
        tell(&traces, job);
        until(|| traces.told().sent == job).await;
    }
    stop.cancel();
    running.await.unwrap();
    let wanted = ["Bearer new", "7", "application/json"].map(|text| Some(text.to_owned()));
    assert_eq!(*came.lock().unwrap(), [wanted.clone(), wanted]);
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_and_what_it_refuses_is_counted() {
    const ANSWERS: &[(StatusCode, &str)] = &[
        (StatusCode::SERVICE_UNAVAILABLE, ""),
        (StatusCode::OK, r#"{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}}"#),
        (StatusCode::BAD_REQUEST, "what is this"),
    ];
    let (url, came) = collector(ANSWERS).await;
    let (exporter, traces) = exporter(&format!("{url}/elsewhere"));
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(exporter.run(stop.clone()));
    (0..2).for_each(|job| tell(&traces, job));
    until(|| traces.told().sent == 1).await;
    assert_eq!(traces.told(), Told { sent: 1, dropped: 1 });
    assert_eq!(came.0.lock().unwrap()[0].0, "/elsewhere", "its own path stays");
    // What is refused for good is not tried again, and the next is sent.
    tell(&traces, 3);
    until(|| traces.told().dropped == 2).await;
    tell(&traces, 4);
    until(|| traces.told().sent == 2).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_is_away_and_a_node_with_one_stops_in_time() {
    let (exporter, traces) = exporter("http://127.0.0.1:9");
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(exporter.run(stop.clone()));
    let begun = Instant::now();
    (0..3 * WAITING_MAX as u64).for_each(|job| tell(&traces, job));
    assert!(traces.told().dropped >= WAITING_MAX as u64, "{:?}", traces.told());
    stop.cancel();
    running.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(traces.told(), Told { sent: 0, dropped: 3 * WAITING_MAX as u64 });
}
