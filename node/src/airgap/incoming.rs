//! Results that were carried in from a worker without a network: checked whole, then counted.
//!
//! They are of this cluster, or of one that it was restored from. They pass what a worker's own results do: each unit is part of
//! a job that is carried and of the very order that the job is, each chunk is of its digest and of its unit, no host in it lies
//! outside the order's targets, its exclusions or the scope, and what it counts is what is in it. Only when everything passed is
//! anything changed. Chunks are durable before they are counted, and the log counts a unit once; so a bundle may come twice, in
//! any order, and after an import that broke off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use pentora_p2p::PeerId;
use pentora_raft::command::{Command, Finished, Imported, ImportedUnit, StoredChunk};
use pentora_raft::state::{Cluster, Counts, JobStatus, OfflineWorker, kept_number};
use pentora_raft::{Digest, JobId, NodeId, Raft, Response, State};
use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::Summary;
use pentora_scanner::scope::Scope;
use pentora_scanner::spec::ScanSpec;

use super::encryption::ClusterKey;
use super::manifest::{Body, Manifest, Results, Unit};
use super::{BundleError, IS_A_RECORD, open};
use crate::document::{ImportDocument, ImportedJob, LeftOut};
use crate::policy::Policy;
use crate::results::{ChunkReader, Exchange, Heading};
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::spec;

/// How long one chunk may take to be on as many disks as it should.
const CHUNK_KEPT_WITHIN: Duration = Duration::from_secs(60);
/// How many units one entry of the log counts, a unit's notes as one each. Ours: an entry with as many stays far below what
/// one may have.
const WEIGHT_PER_ENTRY: usize = 100;
/// Most notes of one unit, and the longest in bytes: what the log keeps of a whole job.
const NOTES_MAX: usize = 16;
const NOTE_BYTES_MAX: usize = 240;

/// What results are taken in with.
#[derive(Debug, Clone)]
pub struct Taker {
    /// The log.
    pub raft: Raft,
    /// The way into it.
    pub proposer: Proposer,
    /// Chunks.
    pub exchange: Exchange,
    /// What bundles are decrypted with; `None` where the cluster has no key.
    pub key: Option<ClusterKey>,
}

/// Why results were not taken in.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The bundle was refused. Nothing was changed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The log takes nothing now. What was counted stays; the bundle can be taken in again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Its chunks could not be kept on as many disks as they should. As above.
    #[error("the results could not be kept on as many disks as they should within {} s; take the bundle in again", within.as_secs())]
    NotDurable {
        /// How long it was tried.
        within: Duration,
    },
}

impl From<super::archive::ArchiveError> for NotTaken {
    fn from(error: super::archive::ArchiveError) -> Self {
        Self::Bundle(error.into())
    }
}

/// Whose results they are, and whether the log knows the worker.
struct Worker {
    signer: PeerId,
    id: Option<NodeId>,
}

/// What is to become of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Count,
    Known,
    LeaveOut(String),
}

impl Taker {
    /// Takes the results in `file` in, or with `dry_run` only says what would come of it. `trust` is the key of a worker
    /// whose results are let in from now on.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn take_in(
        &self,
        file: PathBuf,
        trust: Option<PeerId>,
        dry_run: bool,
    ) -> Result<ImportDocument, NotTaken> {
        let (worker, manifest, results) = self.opened(file.clone(), trust).await?;
        let fates = self.raft.read(|state| {
            results.units.iter().map(|unit| fate_of(state, unit)).collect::<Result<Vec<Fate>, BundleError>>()
        })?;
        let specs = self.specs(&results, &fates).await?;
        let checking = {
            let (file, key, manifest, results) = (file.clone(), self.key.clone(), manifest.clone(), results.clone());
            tokio::task::spawn_blocking(move || check_contents((&file, key.as_ref()), &manifest, &results, &specs))
        };
        checking.await.map_err(|error| BundleError::Contents(error.to_string()))??;
        let known = worker.id.map(|id| self.raft.read(|state| state.worker_id(id)));
        let mut told = told_of(&worker, known, (&results, &fates), dry_run);
        if dry_run {
            return Ok(self.with_missing(told, &worker, &results));
        }
        let id = match worker.id {
            Some(id) => id,
            None => self.let_in(&worker, &results.name).await?,
        };
        let refused = self.count(file, &manifest, &results, &fates, id).await?;
        for (job, reason) in refused {
            told.leave_out(job, reason);
        }
        let of = |number| kept_number(results.numbering, number);
        let note = Command::NoteBundles { worker: id, first: of(results.first), last: of(results.last) };
        self.proposer.propose(note).await?;
        Ok(self.with_missing(told, &worker, &results))
    }

    /// The manifest, where its signer may bring results.
    async fn opened(&self, file: PathBuf, trust: Option<PeerId>) -> Result<(Worker, Manifest, Results), NotTaken> {
        let (raft, key) = (self.raft.clone(), self.key.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let (reader, manifest) = open(&file, key.as_ref(), |signer| match trust {
                Some(named) if named != signer => Err(BundleError::OtherSigner { signer, named }),
                Some(_) => Ok(()),
                None if worker_of(&raft, signer).is_some() => Ok(()),
                None => Err(BundleError::UnknownSigner { signer }),
            })?;
            let signer = reader.signer();
            let results = match manifest.body.clone() {
                Body::Results(results) => results,
                Body::Orders(_) => {
                    let what = "it holds orders; they go to a worker without a network: pentora worker import";
                    return Err(BundleError::Direction(what));
                }
                Body::Job(_) => return Err(BundleError::Direction(IS_A_RECORD)),
            };
            raft.read(|state| check_cluster(&manifest.cluster, &state.cluster()))?;
            Ok((Worker { signer, id: worker_of(&raft, signer) }, manifest, results))
        });
        Ok(opening.await.map_err(|error| BundleError::Contents(error.to_string()))??)
    }

    /// The orders of the jobs of which something is to be counted, each with where whoever asked for it may have it scanned.
    async fn specs(&self, results: &Results, fates: &[Fate]) -> Result<Specs, BundleError> {
        let jobs: BTreeSet<JobId> = results
            .units
            .iter()
            .zip(fates)
            .filter(|(_, fate)| **fate == Fate::Count)
            .map(|(unit, _)| unit.job)
            .collect();
        let mut specs = BTreeMap::new();
        for job in jobs {
            let Some(kept) = self.raft.read(|state| state.spec(job).cloned()) else { continue };
            let scope = self.raft.read(|state| Policy::of_job(state, job)).scope();
            let digest = spec::digest(&kept);
            specs
                .insert((job, digest), (spec::read(&self.exchange, kept).await.map_err(BundleError::Contents)?, scope));
        }
        Ok(specs)
    }

    /// Lets the worker's results in, now and from now on.
    async fn let_in(&self, worker: &Worker, name: &str) -> Result<NodeId, NotTaken> {
        let command = Command::SetOffline { peer: worker.signer.to_string(), name: Some(name.to_owned()) };
        match self.proposer.propose(command).await?.response {
            Response::Joined { node } => Ok(node),
            other => Err(BundleError::Contents(format!("the log answered {other:?}")).into()),
        }
    }

    /// Makes the chunks of new units durable and counts the units. Answers those that the log left out.
    async fn count(
        &self,
        file: PathBuf,
        manifest: &Manifest,
        results: &Results,
        fates: &[Fate],
        worker: NodeId,
    ) -> Result<Vec<(JobId, String)>, NotTaken> {
        let wanted: BTreeMap<Digest, Unit> = results
            .units
            .iter()
            .zip(fates)
            .filter(|(_, fate)| **fate == Fate::Count)
            .map(|(unit, _)| (unit.chunk.digest, unit.clone()))
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, mut chunks) = tokio::sync::mpsc::channel::<(Digest, Bytes)>(1);
        let (manifest, key) = (manifest.clone(), self.key.clone());
        let names = wanted.keys().copied().collect::<BTreeSet<_>>();
        let reading = tokio::task::spawn_blocking(move || -> Result<(), BundleError> {
            let (reader, _) = open(&file, key.as_ref(), |_checked| Ok(()))?;
            reader.contents(&manifest.contents, |digest, bytes| {
                // Whoever counts is gone only where counting failed, which is told then.
                if names.contains(&digest) {
                    drop(sender.blocking_send((digest, bytes.into())));
                }
                Ok(())
            })
        });
        let mut left_out: Vec<(JobId, String)> = Vec::new();
        let mut waiting: Vec<(JobId, ImportedUnit)> = Vec::new();
        let mut weight = 0;
        while let Some((digest, bytes)) = chunks.recv().await {
            let Some(unit) = wanted.get(&digest) else { continue };
            let kept = tokio::time::timeout(CHUNK_KEPT_WITHIN, self.exchange.make_durable(bytes)).await;
            let stored: StoredChunk = kept.map_err(|_elapsed| NotTaken::NotDurable { within: CHUNK_KEPT_WITHIN })?;
            let finished = Finished { unit: unit.unit, stored, counts: unit.counts };
            waiting.push((unit.job, ImportedUnit { finished, remarks: unit.remarks.clone() }));
            weight += 1 + unit.remarks.notes.len();
            if weight >= WEIGHT_PER_ENTRY {
                weight = 0;
                left_out.extend(self.propose(worker, std::mem::take(&mut waiting)).await?);
            }
        }
        left_out.extend(self.propose(worker, waiting).await?);
        reading.await.map_err(|error| BundleError::Contents(error.to_string()))??;
        Ok(left_out)
    }

    async fn propose(
        &self,
        worker: NodeId,
        units: Vec<(JobId, ImportedUnit)>,
    ) -> Result<Vec<(JobId, String)>, NotTaken> {
        let mut by_job: BTreeMap<JobId, Vec<ImportedUnit>> = BTreeMap::new();
        for (job, unit) in units {
            by_job.entry(job).or_default().push(unit);
        }
        let mut left_out = Vec::new();
        for (job, units) in by_job {
            let count = units.len();
            let command = Command::Import(Box::new(Imported { worker, job, units }));
            let refused = match self.proposer.propose(command).await?.response {
                Response::Completed { accepted } => accepted.iter().filter(|accepted| !**accepted).count(),
                _ => count,
            };
            let reason = || "counted otherwise meanwhile".to_owned();
            left_out.extend(std::iter::repeat_with(|| (job, reason())).take(refused));
        }
        Ok(left_out)
    }

    /// The answer, with the numbers of bundles that this worker wrote and nobody carried in.
    fn with_missing(&self, told: ImportDocument, worker: &Worker, results: &Results) -> ImportDocument {
        let missing = self.raft.read(|state| {
            let known = state.offline_workers().find(|(_, known)| known.peer == worker.signer.to_string());
            let mut record = match known {
                Some((_, record)) => record.clone(),
                None => OfflineWorker {
                    name: results.name.clone(),
                    peer: worker.signer.to_string(),
                    since_ms: 0,
                    imported_at_ms: 0,
                    bundles: pentora_raft::IntervalSet::default(),
                    last: 0,
                },
            };
            let of = |number| kept_number(results.numbering, number);
            record.bundles.insert(of(results.first)..of(results.last) + 1);
            record.last = record.last.max(of(results.last));
            missing(&record)
        });
        ImportDocument { missing_bundles: missing, ..told }
    }
}

/// `4`, or `2-3`.
#[must_use]
pub fn numbers(range: &std::ops::Range<u64>) -> String {
    let last = range.end.saturating_sub(1);
    if range.start == last { last.to_string() } else { format!("{}-{last}", range.start) }
}

/// The numbers of bundles that a worker wrote and nobody carried in, in words.
#[must_use]
pub fn missing(worker: &OfflineWorker) -> Vec<String> {
    let latest = worker.numbering();
    let words = |(numbering, range): (u64, std::ops::Range<u64>)| {
        let earlier = if numbering == latest { "" } else { " of an earlier numbering" };
        format!("{}{earlier}", numbers(&range))
    };
    worker.missing().into_iter().map(words).collect()
}

/// Whether results are of this cluster, or of one whose jobs it began with.
fn check_cluster(named: &str, here: &Cluster) -> Result<(), BundleError> {
    if here.ids().any(|id| id.to_string() == named) {
        return Ok(());
    }
    if named.is_empty() {
        return Err(BundleError::Contents("it is of no cluster: its worker had taken no orders in".into()));
    }
    let here = here.id.map(|id| id.to_string()).unwrap_or_default();
    Err(BundleError::OtherCluster { named: named.to_owned(), whose: "this is", here })
}

fn worker_of(raft: &Raft, signer: PeerId) -> Option<NodeId> {
    let signer = signer.to_string();
    raft.read(|state| state.offline_workers().find(|(_, worker)| worker.peer == signer).map(|(id, _)| id))
}

/// What is to become of a unit, as the log is now.
///
/// # Errors
/// Where it is of no order that this cluster gave.
fn fate_of(state: &State, unit: &Unit) -> Result<Fate, BundleError> {
    let job = unit.job;
    let (Some(record), Some(kept)) = (state.job(job), state.spec(job)) else {
        return Ok(Fate::LeaveOut("there is no such job (any more)".into()));
    };
    if spec::digest(kept) != unit.spec {
        // Jobs are named by places in the log, so a cluster that was restored gives names anew that its former self gave.
        return Ok(Fate::LeaveOut("they are of another order than this cluster gave under that id".into()));
    }
    let part = usize::try_from(unit.unit.partition).ok().and_then(|at| record.partitions.get(at));
    if !part.is_some_and(|part| unit.unit.start < unit.unit.end && unit.unit.end <= part.target_count) {
        return Err(BundleError::Contents(format!("its unit {} is no part of {job}", unit.unit)));
    }
    let remarks = &unit.remarks;
    let are_few = remarks.notes.len() <= NOTES_MAX && remarks.notes.iter().all(|note| note.len() <= NOTE_BYTES_MAX);
    if !are_few || remarks.not_probed_total() > unit.unit.targets() {
        return Err(BundleError::Contents(format!("what it remarks on unit {} of {job} cannot be right", unit.unit)));
    }
    let key = unit.unit.of(job);
    let same = state.chunks_from(key).next().filter(|(found, _)| *found == key);
    if same.is_some_and(|(_, chunk)| chunk.end == unit.unit.end && chunk.stored.digest == unit.chunk.digest) {
        return Ok(Fate::Known);
    }
    let range = unit.unit.start..unit.unit.end;
    let is_counted = state.progress(job, unit.unit.partition).is_some_and(|progress| progress.done.overlaps(&range));
    Ok(match record.status {
        _ if is_counted => Fate::LeaveOut("a part of it is counted from another scan".into()),
        JobStatus::Carried => Fate::Count,
        status => Fate::LeaveOut(format!("the job is {}", status.name())),
    })
}

/// Orders by their jobs and what they say: another cluster gave one of these ids to something else.
type Specs = BTreeMap<(JobId, Digest), (ScanSpec, Scope)>;

/// Reads every content to its end, and holds those that are to be counted against their orders.
fn check_contents(
    (file, key): (&std::path::Path, Option<&ClusterKey>),
    manifest: &Manifest,
    results: &Results,
    specs: &Specs,
) -> Result<(), BundleError> {
    let by_chunk: BTreeMap<Digest, &Unit> = results.units.iter().map(|unit| (unit.chunk.digest, unit)).collect();
    let (reader, _) = open(file, key, |_checked| Ok(()))?;
    reader.contents(&manifest.contents, |digest, bytes| {
        let Some(unit) = by_chunk.get(&digest) else { return Ok(()) };
        let checked = check_chunk(unit, bytes.into(), specs.get(&(unit.job, unit.spec)));
        checked.map_err(|what| BundleError::Contents(format!("its unit {} of {}: {what}", unit.unit, unit.job)))
    })
}

/// Whether a chunk holds the results of its unit and nothing that its order does not allow.
fn check_chunk(unit: &Unit, bytes: Bytes, order: Option<&(ScanSpec, Scope)>) -> Result<(), String> {
    let mut reader = ChunkReader::open(bytes).map_err(|error| error.to_string())?;
    let heading = Heading { unit: unit.unit.of(unit.job), end: unit.unit.end };
    if reader.heading() != heading {
        return Err("its chunk holds another unit".into());
    }
    let mut summary = Summary::default();
    while let Some(records) = reader.next_block().map_err(|error| error.to_string())? {
        for record in &records {
            if let Some((order, scope)) = order {
                check_host(record, unit, order, scope)?;
            }
            summary.count(record);
        }
    }
    let Counts { hosts_up, open_ports, services_detected, vulnerabilities, .. } = unit.counts;
    let found = [summary.hosts_up, summary.open_ports, summary.services_detected, summary.vulnerabilities];
    if found != [hosts_up, open_ports, services_detected, vulnerabilities] {
        return Err(format!(
            "it counts {:?}, and {found:?} are in it",
            [hosts_up, open_ports, services_detected, vulnerabilities]
        ));
    }
    Ok(())
}

fn check_host(record: &HostRecord, unit: &Unit, order: &ScanSpec, scope: &Scope) -> Result<(), String> {
    let address = record.address;
    let part = usize::try_from(unit.unit.partition).ok().and_then(|at| order.partitions.get(at));
    let named = |targets: &pentora_scanner::target::TargetSet| {
        record.name.as_ref().is_some_and(|name| targets.contains_name(name))
    };
    match part {
        _ if !scope.contains(address) => Err(format!("{address} is outside the scope")),
        _ if order.exclude.contains(address) => Err(format!("{address} was excluded")),
        Some(targets) if targets.contains(address) || named(targets) => Ok(()),
        _ => Err(format!("{address} was never to be scanned")),
    }
}

/// The answer, before anything was counted.
fn told_of(
    worker: &Worker,
    known: Option<String>,
    (results, fates): (&Results, &[Fate]),
    dry_run: bool,
) -> ImportDocument {
    let mut told = ImportDocument {
        dry_run,
        worker_id: known.unwrap_or_else(|| pentora_raft::worker_id(&results.name)),
        signer: worker.signer.to_string(),
        let_in: worker.id.is_none(),
        bundles: if results.last < results.first { None } else { Some(numbers(&(results.first..results.last + 1))) },
        ..ImportDocument::default()
    };
    for (unit, fate) in results.units.iter().zip(fates) {
        match fate {
            Fate::Count => {
                told.units_counted += 1;
                told.targets_counted += unit.unit.targets();
                let job = unit.job.to_string();
                match told.jobs.iter_mut().find(|known| known.job_id == job) {
                    Some(known) => known.add(unit.unit.targets(), unit.counts.hosts_up),
                    None => told.jobs.push(ImportedJob {
                        job_id: job,
                        targets: unit.unit.targets(),
                        hosts_up: unit.counts.hosts_up,
                    }),
                }
            }
            Fate::Known => told.units_known += 1,
            Fate::LeaveOut(reason) => told.note_left_out(&unit.job.to_string(), reason),
        }
    }
    told
}

impl ImportDocument {
    /// A unit that was to be counted is left out after all.
    fn leave_out(&mut self, job: JobId, reason: String) {
        self.units_counted = self.units_counted.saturating_sub(1);
        self.note_left_out(&job.to_string(), &reason);
    }

    fn note_left_out(&mut self, job_id: &str, reason: &str) {
        match self.left_out.iter_mut().find(|known| known.job_id == job_id && known.reason == reason) {
            Some(known) => known.units += 1,
            None => self.left_out.push(LeftOut { job_id: job_id.to_owned(), units: 1, reason: reason.to_owned() }),
        }
    }
}

impl ImportedJob {
    fn add(&mut self, targets: u64, hosts_up: u64) {
        self.targets += targets;
        self.hosts_up += hosts_up;
    }
}

#[cfg(test)]
#[path = "incoming_test.rs"]
mod tests;
