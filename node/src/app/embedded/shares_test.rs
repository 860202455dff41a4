//! What becomes of a budget while a unit only asks what it has found what it is.

use axum::body::Body;
use pentora_raft::JobId;
use pentora_scanner::engine::StandIn;
use pentora_scanner::finding::TcpScan;
use pentora_scanner::pace::RateCap;
use pentora_scanner::tally::{LeftOut, Tally};
use pentora_scanner::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tower::ServiceExt;

use super::*;

/// A unit, and what has it go on.
type Unit = (Arc<RateCap>, oneshot::Sender<Option<u64>>);

/// Units that scan until they are told how many ports are still asked, and end when they are told so.
#[derive(Debug)]
struct Tails(mpsc::Sender<Unit>);

impl StandIn for Tails {
    fn scan(&self, task: UnitTask) -> Result<UnitScan, ScanError> {
        let (found, findings) = mpsc::channel(FINDINGS_QUEUE);
        let (shown, progress) = watch::channel(UnitProgress::default());
        let (ended, outcome) = oneshot::channel();
        let (go_on, still_asked) = oneshot::channel();
        self.0.try_send((Arc::clone(&task.pace), go_on)).map_err(|_full| ScanError::Stopped)?;
        TaskTracker::new().spawn(async move {
            // One that nobody has go on ends when the test does.
            let Ok(still_asked) = still_asked.await else { return };
            let tally = Tally { targets_done: task.range.end - task.range.start, ..Tally::default() };
            let figures = UnitProgress { still_asked, ..UnitProgress::default() };
            shown.send_replace(figures);
            if still_asked.is_some() {
                task.cancel.cancelled().await;
                drop(found);
                return drop(ended.send(Err(ScanError::Cancelled)));
            }
            drop(found);
            drop(ended.send(Ok(UnitOutcome {
                progress: UnitProgress { tally, settled_until: task.range.end, ..figures },
                duration: Duration::from_secs(1),
                sending: Duration::from_secs(1),
                targets_per_second: 1.0,
                left_out: LeftOut::default(),
                recapture: None,
            })));
        });
        Ok(UnitScan { findings, progress, note: None, tcp: TcpScan::Connect, outcome })
    }
}

/// Orders something; answers the document.
async fn post(node: &Embedded, path: &str, body: &Value) -> Value {
    let request = axum::http::Request::post(path).body(Body::from(body.to_string())).unwrap();
    let answer = api::router(Arc::clone(&node.served)).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

async fn scan(node: &Embedded) -> JobId {
    let request = json!({"targets": ["127.0.0.1"], "ports": "1", "discovery": false});
    post(node, "/api/v1/scans", &request).await["job_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_does_not_need_of_a_budget_while_it_asks_what_it_found_is_another_jobs_meanwhile() {
    let (units, mut begun) = mpsc::channel(8);
    let engine = start_engine().unwrap().with_stand_in(Arc::new(Tails(units)));
    let own = (node_info::of_embedded("n1", &engine), OwnFile::default());
    let node = start_with(own, engine, None, Access::Open, Digest::of(&[])).await.unwrap();
    let budget = json!({"name": "thin", "networks": ["127.0.0.0/8"], "rate": 800, "reason": "r"});
    post(&node, "/api/v1/budgets", &budget).await;
    let shares = |job| -> Vec<Option<u64>> {
        node.served.raft.read(|state| state.job_leases(job).map(|(_, lease)| lease.share.rate_pps).collect())
    };
    let within = Duration::from_secs(30);
    let next = async |begun: &mut mpsc::Receiver<Unit>| {
        tokio::time::timeout(within, begun.recv()).await.expect("a unit begins").unwrap()
    };

    let first = scan(&node).await;
    let (pace, go_on) = next(&mut begun).await;
    assert_eq!((pace.get(), shares(first)), (Some(800), vec![Some(800)]));
    let second = scan(&node).await;
    assert!(shares(second).is_empty(), "the first has all of it");
    go_on.send(Some(20)).unwrap();
    let (other, other_goes_on) = next(&mut begun).await;
    assert_eq!((pace.get(), shares(first)), (Some(80), vec![Some(80)]), "twenty ports are still asked");
    assert_eq!((other.get(), shares(second)), (Some(720), vec![Some(720)]));

    other_goes_on.send(None).unwrap();
    let mut applied = node.served.raft.watch_applied();
    let is_over = || node.served.raft.read(|state| state.job(second).is_some_and(|job| !job.is_open()));
    tokio::time::timeout(within, applied.wait_for(|_| is_over())).await.expect("the second is done").unwrap();
    assert_eq!(shares(first), [Some(80)], "the first is not: it still asks");
    node.stop().await;
}
