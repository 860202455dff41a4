//! Who the hosts are that a unit finds, behind its scan: what name servers call them, and whose their interfaces are.
//!
//! Findings pass through. Each host that turns up is asked about once, while the scan goes on; at its end the kernel's table
//! of neighbours tells the hardware addresses that the engine has not seen. A unit waits only seconds for name servers after
//! its scan has ended, however many hosts are left, and its findings are the same without them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::finding::{Finding, HostState, Observation, ScannedHost};
use crate::io::neighbour_table;
use crate::io::reverse_dns::{Name, ReverseDns};
use crate::unit::{FINDINGS_QUEUE, ScanError, UnitOutcome, UnitScan, UnitTask};
use crate::vendors::Vendors;
use crate::watermark::Watermark;

/// After the scan, how long to wait without an answer: a name server that lives answers within a second or two.
const QUIET_MAX: Duration = Duration::from_millis(2500);
/// After the scan, how long to wait in all.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Hosts whose hardware addresses are looked for in the kernel's table; it has no more neighbours.
const NEIGHBOURS_MAX: usize = 65_536;

/// What is needed to tell who hosts are, shared by the units of an engine.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    dns: ReverseDns,
    /// The registry; the system's is read when it is first needed.
    vendors: Mutex<Option<Arc<Vendors>>>,
}

impl Identities {
    /// Makes this the registry in place of the system's.
    pub(crate) fn set_vendors(&self, vendors: Vendors) {
        *self.vendors.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(vendors));
    }

    /// Lets hosts be asked about that a unit finds. A unit of this machine's loopback alone has none to ask about.
    pub(crate) fn attach(self: &Arc<Self>, scan: UnitScan, task: &UnitTask, runtime: &Handle) -> UnitScan {
        let partition = usize::try_from(task.partition).ok().and_then(|at| task.spec.partitions.get(at));
        let is_loopback = |targets: &crate::target::TargetSet| {
            let mut ranges = targets.ranges();
            targets.name_count() == 0 && ranges.all(|range| range.first.is_loopback() && range.last.is_loopback())
        };
        if partition.is_some_and(is_loopback) {
            return scan;
        }
        let (findings, findings_out) = mpsc::channel(FINDINGS_QUEUE);
        let (outcome, outcome_out) = oneshot::channel();
        let UnitScan { findings: found, progress: scanning, note, tcp, outcome: scanned } = scan;
        let (progress, progress_out) = watch::channel(*scanning.borrow());
        let stage = Stage {
            identities: Arc::clone(self),
            is_dns_asked: task.spec.reverse_dns,
            findings,
            asked: FuturesUnordered::new(),
            hosts: HashSet::new(),
            watermark: Watermark::new(scanning, progress),
            has_answer: false,
        };
        let cancel = task.cancel.clone();
        runtime.spawn(async move {
            // Nobody has to wait for it.
            let _ = outcome.send(stage.run(found, scanned, cancel).await);
        });
        UnitScan { findings: findings_out, progress: progress_out, note, tcp, outcome: outcome_out }
    }

    /// The registry.
    async fn vendors(&self) -> Arc<Vendors> {
        let known = || self.vendors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(vendors) = known() {
            return vendors;
        }
        // Thousands of lines of a file; a thread that panics over them leaves a registry without vendors.
        let read = tokio::task::spawn_blocking(Vendors::of_system).await.unwrap_or_default();
        let mut vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(vendors.get_or_insert_with(|| Arc::new(read)))
    }
}

struct Stage {
    identities: Arc<Identities>,
    is_dns_asked: bool,
    findings: mpsc::Sender<Vec<Finding>>,
    /// Questions to name servers that are out.
    asked: FuturesUnordered<BoxFuture<'static, (ScannedHost, Name)>>,
    /// Hosts that are up and whose hardware address is not known.
    hosts: HashSet<(u64, IpAddr, Name)>,
    watermark: Watermark,
    /// Whether name servers have answered anything.
    has_answer: bool,
}

impl Stage {
    async fn run(
        mut self,
        mut found: mpsc::Receiver<Vec<Finding>>,
        scanned: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
        cancel: CancellationToken,
    ) -> Result<UnitOutcome, ScanError> {
        // What is not read any more closes what it comes from, which ends the scan.
        let is_read = self.pass(&mut found).await;
        drop(found);
        let scan_end = Instant::now();
        // Name servers are asked beside every budget.
        self.watermark.scan_ended(false);
        if is_read {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.wait_for_names() => {}
            }
        }
        self.watermark.tell();
        drop(self);
        match scanned.await {
            Ok(Ok(outcome)) => Ok(UnitOutcome { duration: outcome.duration + scan_end.elapsed(), ..outcome }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ScanError::Stopped),
        }
    }

    /// Passes everything on until the scan has ended; false when nobody reads any more.
    async fn pass(&mut self, found: &mut mpsc::Receiver<Vec<Finding>>) -> bool {
        loop {
            tokio::select! {
                Some((host, name)) = self.asked.next(), if !self.asked.is_empty() => {
                    if !self.answered(host, name).await {
                        return false;
                    }
                }
                batch = found.recv() => {
                    let Some(mut batch) = batch else { return self.tell_neighbours().await };
                    self.take_in(&mut batch).await;
                    if self.findings.send(batch).await.is_err() {
                        return false;
                    }
                    self.watermark.passed();
                }
                Ok(()) = self.watermark.scanning.changed() => self.watermark.hear(found.len()),
            }
        }
    }

    /// Asks about the hosts of a batch that are new, and names vendors.
    async fn take_in(&mut self, batch: &mut [Finding]) {
        for finding in batch {
            let Finding { target_index, address, ref name, ref mut observation } = *finding;
            match observation {
                Observation::Host { state: HostState::Up, .. } => {
                    if self.hosts.len() < NEIGHBOURS_MAX {
                        self.hosts.insert((target_index, address, name.clone()));
                    }
                    self.ask(ScannedHost { target_index, address, name: name.clone() });
                }
                Observation::Hardware { mac, vendor } => {
                    self.hosts.remove(&(target_index, address, name.clone()));
                    if vendor.is_none() {
                        *vendor = self.identities.vendors().await.of_mac(*mac);
                    }
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, host: ScannedHost) {
        if !self.is_dns_asked {
            return;
        }
        if let Some(answer) = self.identities.dns.ask(host.address) {
            self.watermark.asked(host.target_index);
            self.asked.push(async move { (host, answer.await.unwrap_or_default()) }.boxed());
        }
    }

    /// Tells what a host is called; false when nobody reads any more.
    async fn answered(&mut self, host: ScannedHost, name: Name) -> bool {
        self.has_answer |= name.is_some();
        if let Some(name) = name {
            let batch = vec![host.finding(Observation::ReverseDns { name })];
            if self.findings.send(batch).await.is_err() {
                return false;
            }
        }
        self.watermark.answered(std::iter::once(host.target_index));
        true
    }

    /// Tells the hardware addresses that the kernel knows of hosts that are up; false when nobody reads any more.
    async fn tell_neighbours(&mut self) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let table = tokio::task::spawn_blocking(neighbour_table).await.unwrap_or_default();
        let vendors = self.identities.vendors().await;
        let known = std::mem::take(&mut self.hosts).into_iter().filter_map(|(target_index, address, name)| {
            let mac = *table.get(&address)?;
            let host = ScannedHost { target_index, address, name };
            Some(host.finding(Observation::Hardware { mac, vendor: vendors.of_mac(mac) }))
        });
        let known: Vec<Finding> = known.collect();
        known.is_empty() || self.findings.send(known).await.is_ok()
    }

    /// Waits for what name servers still have to answer, as long as they do.
    async fn wait_for_names(&mut self) {
        let end = Instant::now() + WAIT_MAX;
        while !self.asked.is_empty() {
            let quiet_end = end.min(Instant::now() + QUIET_MAX);
            tokio::select! {
                Some((host, name)) = self.asked.next() => {
                    if !self.answered(host, name).await {
                        return;
                    }
                }
                () = tokio::time::sleep_until(quiet_end) => {
                    if !self.has_answer {
                        self.identities.dns.was_silent();
                    }
                    tracing::debug!(hosts = self.asked.len(), "name servers do not answer in time");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "identity/identity_test.rs"]
mod tests;
