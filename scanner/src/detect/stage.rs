//! Detection as a stage behind a scan: findings pass through, and every open port among them is asked what it is.
//!
//! Each port flows on its own: a port found open is asked at once, while the scan goes on, and what it is follows as a
//! finding of its own. The stage ends when the scan has ended and every port has been asked. While its reader is slow, or
//! more ports wait than it holds, it stops reading from the scan, which then stops sending.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DEFAULT_BUDGET, Detector, INTENSITY_MAX, Options, os};
use crate::engine::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitProgress, UnitScan};
use crate::finding::{Finding, Observation, PortState};
use crate::pace::RateCap;
use crate::port::Port;
use crate::spec::{Profile, ScanSpec};

/// Ports of one unit that are asked at once; most of their time is waiting.
const ASKED_MAX: usize = 1024;
/// The same while the scan sends and loses: what is lost then is mostly what does not fit through the path, and thousands
/// of connections beside the probes would take it from them and spoil the judgement of how much does.
const ASKED_MAX_LOSING: usize = 64;
/// From this share of lost round trips on.
const LOSING: f64 = 0.02;
/// Ports that may wait beside them before the scan is held up: some ten megabytes.
const WAITING_MAX: usize = 64 * 1024;
/// Findings of the stage's own that are handed over at once.
const BATCH: usize = 256;
/// How long a finding of the stage's own may wait for others: as long as an engine's.
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// Asks every open port that a scan finds what it is, as the spec says; a spec that asks for no services, or forbids all
/// payloads, gives the scan back as it came.
///
/// Figures pass through, but for `settled_until`, which waits for the ports that are still asked. Connections draw on `pace` beside the scan's own probes. The stage runs on `runtime` and ends with the scan, when
/// `cancel`, which is the scan's own, is cancelled, or when the findings are no longer read.
#[must_use]
pub fn attach(
    scan: UnitScan,
    spec: &ScanSpec,
    detector: Arc<Detector>,
    pace: Arc<RateCap>,
    runtime: &Handle,
    cancel: CancellationToken,
) -> UnitScan {
    let Some(intensity) = spec.services.filter(|_| spec.profile != Profile::OtSafe) else { return scan };
    let asking = Asking {
        options: Options { intensity: intensity.min(INTENSITY_MAX), budget: DEFAULT_BUDGET, pace: Some(pace) },
        is_weakness_wanted: spec.weaknesses,
    };
    let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
    let (outcome, outcome_out) = oneshot::channel();
    let UnitScan { findings: found, progress: scanning, outcome: scanned } = scan;
    let (progress, progress_out) = watch::channel(*scanning.borrow());
    let stage = Stage {
        detector,
        asking: Arc::new(asking),
        findings,
        asked: JoinSet::new(),
        waiting: VecDeque::new(),
        front: Front::new(scanning, progress),
    };
    runtime.spawn(async move {
        let ended = stage.run(found, scanned, cancel).await;
        // Nobody has to wait for it.
        let _ = outcome.send(ended);
    });
    UnitScan { findings: findings_out, progress: progress_out, outcome: outcome_out }
}

/// A port to be asked.
#[derive(Debug)]
struct Open {
    finding: Finding,
    port: Port,
    ttl: Option<u8>,
}

#[derive(Debug)]
struct Stage {
    detector: Arc<Detector>,
    asking: Arc<Asking>,
    findings: mpsc::Sender<Vec<Finding>>,
    asked: JoinSet<(u64, Vec<Finding>)>,
    waiting: VecDeque<Open>,
    front: Front,
}

impl Stage {
    async fn run(
        mut self,
        mut found: mpsc::Receiver<Vec<Finding>>,
        scanned: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
        cancel: CancellationToken,
    ) -> Result<UnitOutcome, ScanError> {
        let is_whole = tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            is_whole = self.pass(&mut found) => is_whole,
        };
        self.asked.abort_all();
        if !is_whole {
            // What the scan found up to here is true; the reader gets it as far as it still reads.
            while let Some(batch) = found.recv().await {
                if self.findings.send(batch).await.is_err() {
                    found.close();
                }
            }
        }
        let scan_end = Instant::now();
        drop(self);
        match scanned.await {
            Ok(Ok(_)) if !is_whole => Err(ScanError::Cancelled),
            Ok(Ok(outcome)) => Ok(UnitOutcome { duration: outcome.duration + scan_end.elapsed(), ..outcome }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ScanError::Stopped),
        }
    }

    /// Passes everything on until the scan has ended and all ports were asked; false when nobody reads any more.
    async fn pass(&mut self, found: &mut mpsc::Receiver<Vec<Finding>>) -> bool {
        let (mut is_scanning, mut told, mut flush_at) = (true, Vec::new(), Instant::now());
        let mut answered = Vec::new();
        while is_scanning || !self.asked.is_empty() || !told.is_empty() {
            let has_room = self.waiting.len() < WAITING_MAX;
            let batch = tokio::select! {
                Some(done) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if told.is_empty() {
                        flush_at = Instant::now() + FLUSH_AFTER;
                    }
                    // A task that panicked has found nothing out; its port stays open and unknown, and its host unsettled.
                    if let Ok((index, findings)) = done {
                        answered.push(index);
                        told.extend(findings);
                    }
                    None
                }
                batch = found.recv(), if is_scanning && has_room => {
                    is_scanning = batch.is_some();
                    batch
                }
                () = tokio::time::sleep_until(flush_at), if !told.is_empty() => None,
                Ok(()) = self.front.scanning.changed() => {
                    self.front.hear(found.len());
                    None
                }
            };
            if let Some(batch) = batch {
                let open = batch.iter().filter_map(open_port);
                self.waiting.extend(open.inspect(|open| self.front.asked(open.finding.target_index)));
                if self.findings.send(batch).await.is_err() {
                    return false;
                }
                self.front.passed();
            }
            self.ask(is_scanning);
            let is_due = told.len() >= BATCH || Instant::now() >= flush_at || (!is_scanning && self.asked.is_empty());
            if !told.is_empty() && is_due && self.findings.send(std::mem::take(&mut told)).await.is_err() {
                return false;
            }
            if told.is_empty() {
                self.front.answered(answered.drain(..));
            }
        }
        // The last figures may have come with the end.
        self.front.tell();
        true
    }

    /// Asks as many of the waiting ports as there is room for.
    fn ask(&mut self, is_scanning: bool) {
        let is_losing = self.front.scanning.borrow().loss_estimate > LOSING;
        let waits = is_scanning && is_losing && self.waiting.len() < WAITING_MAX;
        let most = if waits { ASKED_MAX_LOSING } else { ASKED_MAX };
        while self.asked.len() < most {
            let Some(open) = self.waiting.pop_front() else { return };
            let (detector, asking) = (Arc::clone(&self.detector), Arc::clone(&self.asking));
            let index = open.finding.target_index;
            self.asked.spawn(async move { (index, ask(&detector, &asking, open).await) });
        }
    }
}

/// How far everything is settled: what the scan has settled, as far as its findings were passed on and no port of a host
/// is still being asked.
#[derive(Debug)]
struct Front {
    scanning: watch::Receiver<UnitProgress>,
    progress: watch::Sender<UnitProgress>,
    /// What the scan said last, and how many of its batches have to be passed on before that is so for the reader.
    said: Option<(u64, usize)>,
    settled: u64,
    /// Ports that are asked or wait for it, by target.
    asking: BTreeMap<u64, u32>,
}

impl Front {
    fn new(scanning: watch::Receiver<UnitProgress>, progress: watch::Sender<UnitProgress>) -> Self {
        Self { scanning, progress, said: None, settled: 0, asking: BTreeMap::new() }
    }

    /// The scan's figures have changed, with so many batches unread.
    fn hear(&mut self, unread: usize) {
        if self.said.is_none() {
            self.said = Some((self.scanning.borrow_and_update().settled_until, unread));
        }
        self.tell();
    }

    /// A batch of the scan's was passed on.
    fn passed(&mut self) {
        if let Some((_, unread)) = &mut self.said {
            *unread = unread.saturating_sub(1);
        }
        self.tell();
    }

    fn asked(&mut self, index: u64) {
        *self.asking.entry(index).or_default() += 1;
    }

    /// What these ports answered was passed on.
    fn answered(&mut self, indexes: impl Iterator<Item = u64>) {
        for index in indexes {
            if let Some(left) = self.asking.get_mut(&index) {
                *left -= 1;
                if *left == 0 {
                    self.asking.remove(&index);
                }
            }
        }
        self.tell();
    }

    fn tell(&mut self) {
        if let Some((settled, 0)) = self.said {
            (self.settled, self.said) = (settled, None);
        }
        let first = self.asking.keys().next().copied().unwrap_or(u64::MAX);
        let figures = UnitProgress { settled_until: self.settled.min(first), ..*self.scanning.borrow() };
        self.progress.send_if_modified(|told| std::mem::replace(told, figures) != figures);
    }
}

/// The open port that a finding tells of.
fn open_port(finding: &Finding) -> Option<Open> {
    match finding.observation {
        Observation::Port { port, state: PortState::Open, ttl, .. } => {
            Some(Open { finding: finding.clone(), port, ttl })
        }
        _ => None,
    }
}

/// How ports are asked.
#[derive(Debug)]
struct Asking {
    options: Options,
    /// Whether what is weak about a service is looked for as well.
    is_weakness_wanted: bool,
}

/// Asks one port and tells what was learnt, about the same host.
async fn ask(detector: &Detector, asking: &Asking, open: Open) -> Vec<Finding> {
    let Open { finding, port, ttl } = open;
    let target = SocketAddr::new(finding.address, port.number);
    let deadline = Instant::now() + asking.options.budget;
    let identified = detector.identify(target, port.protocol, finding.name.as_deref(), &asking.options).await;
    let mut observations = Vec::new();
    let banner = identified.banner.as_deref();
    observations.extend(banner.map(|banner| Observation::Banner { port, banner: banner.to_owned() }));
    if let Some(mut service) = identified.service {
        os::annotate(&mut service, banner, ttl);
        let weak = match asking.is_weakness_wanted {
            true => detector.weaknesses(target, port.protocol, &service, &asking.options, deadline, now_s()).await,
            false => Vec::new(),
        };
        observations.push(Observation::Service { port, service: Box::new(service) });
        let weak = weak.into_iter().map(|weakness| Observation::Weakness { port, weakness: Box::new(weakness) });
        observations.extend(weak);
    }
    observations.into_iter().map(|observation| Finding { observation, ..finding.clone() }).collect()
}

/// Seconds since 1970-01-01T00:00:00Z, for what is judged by its date.
fn now_s() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "an edge: certificates and products end at dates of the calendar")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "stage/stage_test.rs"]
mod tests;
