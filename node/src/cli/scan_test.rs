//! An embedded scan interrupted in its middle, with a router in the part of the node.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;

use super::*;
use crate::cli::status::tests::original;
use crate::client::Client;

const HOST: &str = r#"{"address":"10.0.0.1","name":null,"state":"up","reason":"syn-ack","ports":[{"port":22,"protocol":"tcp","state":"open","reason":"syn-ack","banner":null,"service":"ssh"}],"not_shown":[],"started_at":"2025-07-10T12:00:00.000Z","worker":"wrk_a"}"#;

/// Output that a test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A node whose job runs until it is cancelled; each look at it is counted.
fn node(looks: Arc<AtomicU32>) -> Router {
    let cancelled = Arc::new(AtomicBool::new(false));
    let shown = cancelled.clone();
    let job = move || {
        looks.fetch_add(1, Ordering::SeqCst);
        let status = if shown.load(Ordering::SeqCst) { "cancelled" } else { "running" };
        Json(JobDocument { status: status.into(), ..original() })
    };
    let accepted = || async { Json(serde_json::json!({"job_id": "job-1", "targets": 2, "partitions": 1, "index": 1})) };
    let cancel = move || async move { cancelled.store(true, Ordering::SeqCst) };
    Router::new()
        .route("/api/v1/scans", post(accepted))
        .route("/api/v1/jobs/{id}", get(|| async move { job() }))
        .route("/api/v1/jobs/{id}/cancel", post(cancel))
        .route("/api/v1/jobs/{id}/results", get(|| async { format!("{HOST}\n") }))
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    scan: ScanArgs,
}

#[tokio::test]
async fn ctrl_c_ends_an_embedded_scan_and_prints_what_it_found() {
    let looks = Arc::new(AtomicU32::new(0));
    let session = Session { client: Client::in_process(node(looks.clone()), None), searched: String::new() };
    let mut interrupts = Interrupts::listen().unwrap();
    let out = Shared::default();
    let mut context = Context::for_test(out.clone());
    let args = Line::parse_from(["scan", "10.0.0.1-2", "-o", "list"]).scan;
    let request = args.request.request().unwrap();
    let interrupt = async {
        while looks.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
    };
    let scan = on_embedded(&args, &request, &session, &mut interrupts, &mut context);
    let (failure, ()) = tokio::join!(scan, interrupt);
    assert_eq!(failure.unwrap_err().exit, ExitCode::Cancelled);
    assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), "10.0.0.1 22 tcp\n");
}
