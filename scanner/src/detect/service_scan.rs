//! The service scan, behind a port scan: findings pass through, and every open port among them is asked what it is.
//!
//! Each port flows on its own: a port found open is asked at once, while the scan goes on, and what it is follows as a
//! finding of its own. It ends when the scan has ended and every port has been asked. While its reader is slow, or
//! more ports wait than it holds, it stops reading from the scan, which then stops sending. Whose turn it is, and which
//! ports are not asked at all, is decided in `queue`; what names of one address share, in `shared`.

mod queue;
mod shared;

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, PollSemaphore};

use self::queue::{HostKey, PortQueue};
use self::shared::{Decided, SharedPorts};
use super::own_time::Waits;
use super::{DEFAULT_BUDGET, Detector, INTENSITY_MAX, Options, Pacing, os};
use crate::finding::{Finding, Observation, PortState, ScannedHost, Service, Weakness};
use crate::gate::{Gate, Stage, Verdict};
use crate::port::Port;
use crate::spec::ScanSpec;
use crate::target::socket_address;
use crate::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitScan};
use crate::vuln::check::Known;
use crate::watermark::Watermark;

/// Ports of one unit that are asked at once while its scan sends and loses: what is lost then is mostly what does not fit
/// through the path, and thousands of connections beside the probes would take it from them and spoil the judgement of how
/// much does. Otherwise there are as many as the detector allows.
const ASKED_MAX_LOSING: usize = 64;
/// From this share of lost round trips on.
const LOSING: f64 = 0.02;
/// Ports that may wait beside them before the scan is held up: some four megabytes.
const WAITING_MAX: usize = 64 * 1024;
/// As long as fewer ports wait, the answers that showed them open are kept for them: some six megabytes.
const HEARD_MAX: usize = 4096;
/// Services and weaknesses that are compared with new ones: more than a fleet has kinds.
const INTERNED_MAX: usize = 4096;
/// Findings of its own that are handed over at once.
const BATCH: usize = 256;
/// How long a finding of its own may wait for others: as long as an engine's.
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// Asks every open port that a scan finds what it is, as the spec says; a spec that asks for no services, or a gate that
/// lets no question through, gives the scan back as it came.
///
/// Figures pass through, but for `settled_until`, which waits for the ports that are still asked. Connections draw on the
/// budget of `pacing` beside the scan's own probes. It runs on `runtime` and ends with the scan, when `cancel`, which is
/// the scan's own, is cancelled, or when the findings are no longer read.
#[must_use]
pub fn attach(
    scan: UnitScan,
    spec: &ScanSpec,
    detector: Arc<Detector>,
    (gate, pacing): (Gate, Arc<Pacing>),
    runtime: &Handle,
    cancel: CancellationToken,
) -> UnitScan {
    let may_ask = gate.of_port(None, Stage::Service) == Verdict::Allow;
    let Some(intensity) = spec.services.filter(|_| may_ask) else { return scan };
    let asking = Asking {
        options: Options {
            intensity: intensity.min(INTENSITY_MAX),
            budget: DEFAULT_BUDGET,
            pacing: Some(Arc::clone(&pacing)),
            gate,
        },
        is_weakness_wanted: spec.weaknesses,
    };
    let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
    let (outcome, outcome_out) = oneshot::channel();
    let UnitScan { findings: found, progress: scanning, note, tcp, outcome: scanned } = scan;
    let (progress, progress_out) = watch::channel(*scanning.borrow());
    let service_scan = ServiceScan {
        room: PollSemaphore::new(Arc::clone(&detector.room)),
        detector,
        asking: Arc::new(asking),
        pacing,
        findings,
        asked: JoinSet::new(),
        queue: PortQueue::default(),
        shared: SharedPorts::default(),
        watermark: Watermark::new(scanning, progress),
        interner: Interner::default(),
    };
    runtime.spawn(async move {
        let ended = service_scan.run(found, scanned, cancel).await;
        // Nobody has to wait for it.
        let _ = outcome.send(ended);
    });
    UnitScan { findings: findings_out, progress: progress_out, note, tcp, outcome: outcome_out }
}

/// A port to be asked: what the finding said that tells of it, without what all of them have in common.
#[derive(Debug)]
struct Open {
    host: ScannedHost,
    port: Port,
    packet: Option<os::Packet>,
    /// The datagram that showed it open.
    heard: Option<Arc<[u8]>>,
}

impl Open {
    /// The open port that a finding tells of.
    fn of(finding: &Finding) -> Option<Self> {
        let Finding { target_index, address, ref name, ref observation } = *finding;
        match *observation {
            Observation::Port { port, state: PortState::Open, ttl, stack, .. } => {
                let host = ScannedHost { target_index, address, name: name.clone() };
                Some(Self { host, port, packet: ttl.map(|ttl| os::Packet { ttl, stack }), heard: None })
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
struct ServiceScan {
    detector: Arc<Detector>,
    /// This unit's place in line for the ports that the detector has room for.
    room: PollSemaphore,
    asking: Arc<Asking>,
    pacing: Arc<Pacing>,
    findings: mpsc::Sender<Vec<Finding>>,
    asked: JoinSet<(HostKey, Port, Vec<Finding>)>,
    queue: PortQueue,
    shared: SharedPorts,
    watermark: Watermark,
    interner: Interner,
}

impl ServiceScan {
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
        while is_scanning || !self.asked.is_empty() || self.waiting() > 0 || !told.is_empty() {
            let has_room = self.waiting() < WAITING_MAX;
            self.release_shared(&mut answered);
            if self.asked.is_empty() && !self.queue.has_next() && (!has_room || !is_scanning) {
                // All wait for a verdict of the scan's, which waits for them, or for tasks that panicked.
                self.queue.release_idle();
            }
            let may_ask = self.may_ask(is_scanning);
            let batch = tokio::select! {
                Some(done) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if told.is_empty() {
                        flush_at = Instant::now() + FLUSH_AFTER;
                    }
                    // A task that panicked has found nothing out; its port stays open and unknown, and its host unsettled.
                    if let Ok((key, port, findings)) = done {
                        let left_out = self.queue.done(key, !findings.is_empty());
                        answered.extend(std::iter::repeat_n(key.0, 1 + left_out));
                        let mut decided = Decided::default();
                        self.shared.answered((key.1, port), &findings, &mut decided);
                        self.carry_out(decided, &mut told, &mut answered);
                        told.extend(findings.into_iter().map(|finding| self.interner.share(finding)));
                    }
                    None
                }
                permit = turn(&mut self.room, &self.pacing), if may_ask => {
                    permit.into_iter().for_each(|permit| self.ask(permit));
                    None
                }
                batch = found.recv(), if is_scanning && has_room => {
                    is_scanning = batch.is_some();
                    if !is_scanning {
                        self.pacing.scan_ended();
                        self.queue.release();
                        self.watermark.scan_ended(true);
                    }
                    batch
                }
                () = tokio::time::sleep_until(flush_at), if !told.is_empty() => None,
                Ok(()) = self.watermark.scanning.changed() => {
                    self.watermark.hear(found.len());
                    self.queue.forget(self.watermark.settled);
                    self.pacing.set_chance_loss(self.watermark.scanning.borrow().estimates.chance_loss);
                    None
                }
            };
            if let Some(mut batch) = batch {
                if told.is_empty() {
                    flush_at = Instant::now() + FLUSH_AFTER;
                }
                let decided = self.take_in(&mut batch, &mut answered);
                self.carry_out(decided, &mut told, &mut answered);
                if self.findings.send(batch).await.is_err() {
                    return false;
                }
                self.watermark.passed();
            }
            let is_last = !is_scanning && self.asked.is_empty() && self.waiting() == 0;
            let is_due = told.len() >= BATCH || Instant::now() >= flush_at || is_last;
            if !told.is_empty() && is_due && self.findings.send(std::mem::take(&mut told)).await.is_err() {
                return false;
            }
            if told.is_empty() {
                self.watermark.answered(answered.drain(..));
            }
        }
        // The last figures may have come with the end.
        self.watermark.tell();
        true
    }

    /// Lets the open ports of a batch wait for their turn; those that are not asked after all are told in `answered`. What
    /// showed a port open stays here: nobody else has use for it.
    fn take_in(&mut self, batch: &mut Vec<Finding>, answered: &mut Vec<u64>) -> Decided {
        let mut heard = self.take_heard(batch);
        let mut later = Decided::default();
        for finding in batch.iter() {
            let left_out = self.queue.hear(finding);
            answered.extend(std::iter::repeat_n(finding.target_index, left_out));
            if let Some(mut open) = Open::of(finding) {
                open.heard = heard.remove(&(finding.target_index, finding.address, open.port));
                self.watermark.asked(open.host.target_index);
                self.shared.found(open, &mut later);
                self.push(later.asked.drain(..), answered);
            }
        }
        later
    }

    /// Ports that are not being asked yet.
    fn waiting(&self) -> usize {
        self.queue.len() + self.shared.waiting()
    }

    /// Lets ports wait for their turn.
    fn push(&mut self, ports: impl Iterator<Item = Open>, answered: &mut Vec<u64>) {
        for open in ports {
            let index = open.host.target_index;
            answered.extend(std::iter::repeat_n(index, self.queue.push(open)));
        }
    }

    /// Lets the names that wait for another one ask for themselves, where that was not asked after all.
    fn release_shared(&mut self, answered: &mut Vec<u64>) {
        if self.asked.is_empty() && self.queue.is_empty() {
            let left = self.shared.release();
            self.push(left.into_iter(), answered);
        }
    }

    /// Asks, or tells, what was decided of the ports that names share.
    fn carry_out(&mut self, decided: Decided, told: &mut Vec<Finding>, answered: &mut Vec<u64>) {
        self.push(decided.asked.into_iter(), answered);
        for (index, findings) in decided.told {
            answered.push(index);
            told.extend(findings.into_iter().map(|finding| self.interner.share(finding)));
        }
    }

    /// Takes the answers out of a batch. While many ports wait they are let go: such a port is asked once more.
    fn take_heard(&self, batch: &mut Vec<Finding>) -> HashMap<(u64, IpAddr, Port), Arc<[u8]>> {
        let is_kept = self.queue.len() < HEARD_MAX;
        let mut heard = HashMap::new();
        batch.retain_mut(|finding| match &mut finding.observation {
            Observation::Answer { port, bytes } => {
                if is_kept {
                    heard.insert((finding.target_index, finding.address, *port), Arc::clone(bytes));
                }
                false
            }
            _ => true,
        });
        heard
    }

    /// Whether another port is to be asked as soon as the detector has room for it.
    fn may_ask(&self, is_scanning: bool) -> bool {
        let loss = if is_scanning { self.watermark.scanning.borrow().estimates.loss } else { 0.0 };
        self.queue.has_next() && (self.asked.len() < asked_max(loss) || self.queue.len() >= WAITING_MAX)
    }

    /// Asks the next port.
    fn ask(&mut self, permit: OwnedSemaphorePermit) {
        let Some(open) = self.queue.next() else { return };
        let (detector, asking) = (Arc::clone(&self.detector), Arc::clone(&self.asking));
        self.asked.spawn(async move {
            let _permit = permit;
            ((open.host.target_index, open.host.address), open.port, ask(&detector, &asking, open).await)
        });
    }
}

/// How many ports of a unit are asked at once while its scan loses this share of round trips.
fn asked_max(loss: f64) -> usize {
    if loss > LOSING { ASKED_MAX_LOSING } else { usize::MAX }
}

/// Waits until the detector has room for another port and the path is ready for it.
async fn turn(room: &mut PollSemaphore, pacing: &Pacing) -> Option<OwnedSemaphorePermit> {
    let permit = poll_fn(|context| room.poll_acquire(context)).await;
    pacing.port().await;
    permit
}

/// Services and weaknesses that were told of lately. A fleet has many that are equal in every word, and a unit's findings
/// are held until it ends: they share the memory.
#[derive(Debug, Default)]
struct Interner {
    services: HashSet<Arc<Service>>,
    weaknesses: HashSet<Arc<Weakness>>,
}

impl Interner {
    fn share(&mut self, mut finding: Finding) -> Finding {
        match &mut finding.observation {
            Observation::Service { service, .. } => share(&mut self.services, service),
            Observation::Weakness { weakness, .. } => share(&mut self.weaknesses, weakness),
            _ => {}
        }
        finding
    }
}

/// Puts an equal one in place of `one`, or keeps it for those that come.
fn share<T: Hash + Eq>(known: &mut HashSet<Arc<T>>, one: &mut Arc<T>) {
    if let Some(same) = known.get(&*one) {
        *one = Arc::clone(same);
        return;
    }
    if known.len() >= INTERNED_MAX {
        known.clear();
    }
    known.insert(Arc::clone(one));
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
    let (port, packet) = (open.port, open.packet);
    let target = socket_address(open.host.address, port.number);
    let (begun, waits) = (Instant::now(), Waits::default());
    let (name, heard) = (open.host.name.as_deref(), open.heard.as_deref());
    let identified = detector.identify_heard(target, port.protocol, name, &asking.options, heard, &waits).await;
    let mut findings = Vec::new();
    let banner = identified.banner.as_deref();
    findings.extend(banner.map(|banner| open.host.finding(Observation::Banner { port, banner: banner.to_owned() })));
    if let Some(mut service) = identified.service {
        os::annotate(&mut service, banner, packet);
        let weak = match asking.is_weakness_wanted {
            // Boxed, so that the thousands of ports that never come to it do not keep room for it.
            true => {
                let known =
                    Known { target, name: open.host.name.as_deref(), protocol: port.protocol, service: &service };
                let spent = begun.elapsed().saturating_sub(waits.so_far());
                let left = asking.options.budget.saturating_sub(spent);
                Box::pin(detector.weaknesses(known, &asking.options, left, now_s())).await
            }
            false => Vec::new(),
        };
        findings.push(open.host.finding(Observation::Service { port, service: Arc::new(service) }));
        let weak = weak.into_iter().map(|weakness| Observation::Weakness { port, weakness: Arc::new(weakness) });
        findings.extend(weak.map(|observation| open.host.finding(observation)));
    }
    findings
}

/// Seconds since 1970-01-01T00:00:00Z, for what is judged by its date.
fn now_s() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "an edge: certificates and products end at dates of the calendar")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "service_scan/service_scan_test.rs"]
mod tests;
