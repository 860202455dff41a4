//! The engine of a simulated node: a unit takes some time, finds nobody, and fails now and then.

use std::time::Duration;

use pentora_scanner::engine::StandIn;
use pentora_scanner::finding::TcpScan;
use pentora_scanner::tally::{LeftOut, Tally};
use pentora_scanner::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan, UnitTask};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

/// How long it sends before it looks whether it may still.
const SLICE: Duration = Duration::from_millis(50);
/// Of so many units one fails.
const FAILS_ONE_IN: u32 = 40;

/// Does units without a network.
#[derive(Debug)]
pub(super) struct Scanning;

impl StandIn for Scanning {
    fn scan(&self, task: UnitTask) -> Result<UnitScan, ScanError> {
        let (found, findings) = mpsc::channel(FINDINGS_QUEUE);
        let (shown, progress) = watch::channel(UnitProgress::default());
        let (ended, outcome) = oneshot::channel();
        TaskTracker::new().spawn(async move {
            let slices = rand::random_range(4..100u32);
            let fails = rand::random_ratio(1, FAILS_ONE_IN);
            let mut sent = 0;
            while sent < slices {
                tokio::time::sleep(SLICE).await;
                if task.cancel.is_cancelled() {
                    drop(found);
                    return drop(ended.send(Err(ScanError::Cancelled)));
                }
                if task.pace.get() != Some(0) {
                    sent += 1;
                }
            }
            let targets = task.range.end - task.range.start;
            let tally = Tally { targets_done: targets, probes_sent: targets, ..Tally::default() };
            let figures = UnitProgress { tally, settled_until: task.range.end, ..UnitProgress::default() };
            shown.send_replace(figures);
            drop(found);
            let duration = SLICE * slices;
            let outcome = UnitOutcome {
                progress: figures,
                duration,
                sending: duration,
                targets_per_second: targets as f64 / duration.as_secs_f64(),
                left_out: LeftOut::default(),
                recapture: None,
            };
            drop(ended.send(if fails { Err(ScanError::Stopped) } else { Ok(outcome) }));
        });
        Ok(UnitScan { findings, progress, note: None, tcp: TcpScan::Connect, outcome })
    }
}
