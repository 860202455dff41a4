//! A finished job as a bundle: what was asked and by whom, what the audit log has of it, and every chunk that was counted, so that
//! anybody can hold one against the other with no node.
//!
//! The node that writes it signs the whole. What it could make up is its own word: status, counts, the audit log's entries. What
//! it cannot is the signature of whoever ordered, and that each chunk is of the unit it is listed for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use pentora_p2p::{Identity, PeerId};
use pentora_raft::command::{AuditEntry, Outcome, SpecRef};
use pentora_raft::state::{AuditRecord, Counts, Job, JobStatus, Run, RunOutcome, chained};
use pentora_raft::{ClusterId, Digest, JobId, NodeId, Raft, State};
use pentora_scanner::spec::ScanSpec;
use serde::Serialize;
use tokio::sync::mpsc;

use super::archive::ArchiveWriter;
use super::manifest::{AUDIT_LINKS_MAX, AuditLink, Body, COUNTED_UNITS_MAX, Content, CountedUnit, JobRecord, Manifest};
use super::{BundleError, at, open};
use crate::clock::rfc3339;
use crate::document::{AuditDocument, ScanRequest};
use crate::jobs::{covers, title};
use crate::orders::{self, Order};
use crate::results::{ChunkReader, Exchange};
use crate::rpc::calls::CHUNK_BYTES_MAX;
use crate::signing::SignerKey;
use crate::spec;

/// Contents that are read ahead of the disk, at most.
const AHEAD: usize = 2;
/// What a person asks for by which a job comes to be, as the audit log has it, and what is answered where one does. The answer to a
/// plan is 200: by it nothing comes to be.
const SCAN: Ask = ("POST /api/v1/scans", 202);
const SCHEDULE: Ask = ("POST /api/v1/schedules", 201);
const KEEP: Ask = ("POST /api/v1/keeps", 201);

type Ask = (&'static str, u16);
/// How long before it came to be something was asked for at most, in milliseconds. Ours: a large body and a while without a majority.
const ASKED_WITHIN_MS: u64 = 600_000;

/// Why a job has no record.
#[derive(Debug, thiserror::Error)]
pub enum NoRecord {
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(JobId),
    /// It may still change.
    #[error("{0} has not ended: what is not over cannot be verified")]
    Open(JobId),
    /// It is too large.
    #[error("{job} has {units} counted units, and a bundle holds {COUNTED_UNITS_MAX} at most")]
    TooLarge {
        /// Which.
        job: JobId,
        /// How many it has.
        units: usize,
    },
    /// It was not written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Writes the record of a job to `file`, which must be private to this process.
///
/// # Errors
/// [`NoRecord`]; chunks that no holder gives are among them.
pub async fn write(
    raft: &Raft,
    exchange: &Exchange,
    key: &Identity,
    (cluster, now_ms): (ClusterId, u64),
    job: JobId,
    file: &Path,
) -> Result<(), NoRecord> {
    let (record, kept, mut places) = raft.read(|state| record_of(state, job))?;
    let spec = match kept {
        SpecRef::Inline(bytes) => Bytes::from(bytes),
        SpecRef::Chunk { digest, holders } => fetched(exchange, digest, &holders).await?,
    };
    let mut contents = vec![Content { digest: record.spec, bytes: spec.len() as u64 }];
    contents.extend(record.units.iter().map(|unit| unit.chunk));
    let manifest = Manifest::new(cluster.to_string(), rfc3339(now_ms), contents, Body::Job(Box::new(record)));
    let (to_disk, mut from_holders) = mpsc::channel::<(Digest, Bytes)>(AHEAD);
    let (path, key) = (file.to_owned(), key.clone());
    let first = Digest::of(&spec);
    let writing = tokio::task::spawn_blocking(move || {
        let out = File::options().create_new(true).write(true).open(&path).map_err(at(&path))?;
        let mut out = ArchiveWriter::new(BufWriter::new(out), &key, &manifest.to_bytes()).map_err(at(&path))?;
        while let Some((digest, bytes)) = from_holders.blocking_recv() {
            out.content(digest, &bytes).map_err(at(&path))?;
        }
        out.finish().and_then(|mut out| out.flush()).map_err(at(&path))
    });
    let mut next = Some((first, spec));
    let mut rest = places.drain(..);
    while let Some(content) = next {
        if to_disk.send(content).await.is_err() {
            // The disk has failed, and says why below.
            break;
        }
        next = match rest.next() {
            Some((digest, holders)) => Some((digest, fetched(exchange, digest, &holders).await?)),
            None => None,
        };
    }
    drop(to_disk);
    writing.await.map_err(|error| BundleError::Contents(error.to_string()))??;
    Ok(())
}

async fn fetched(exchange: &Exchange, digest: Digest, holders: &[NodeId]) -> Result<Bytes, BundleError> {
    let bytes = exchange.fetch(digest, holders).await.map_err(|error| BundleError::Contents(error.to_string()))?;
    if bytes.len() > CHUNK_BYTES_MAX {
        return Err(BundleError::Contents(format!("content {digest} is too large to be carried")));
    }
    Ok(bytes)
}

/// The record, where the spec is, and where the chunks are, in the manifest's order.
type Kept = (JobRecord, SpecRef, Vec<(Digest, Vec<NodeId>)>);

fn record_of(state: &State, id: JobId) -> Result<Kept, NoRecord> {
    let (job, kept) = state.job(id).zip(state.spec(id)).ok_or(NoRecord::Unknown(id))?;
    if job.is_open() {
        return Err(NoRecord::Open(id));
    }
    let mut units = Vec::new();
    let mut places = Vec::new();
    for (unit, chunk) in state.job_chunks(id) {
        let content = Content { digest: chunk.stored.digest, bytes: chunk.stored.bytes };
        let unit = unit.until(chunk.end);
        units.push(CountedUnit { unit, epoch: chunk.epoch, counts: chunk.counts, chunk: content });
        places.push((chunk.stored.digest, chunk.stored.holders.clone()));
    }
    if units.len() > COUNTED_UNITS_MAX {
        return Err(NoRecord::TooLarge { job: id, units: units.len() });
    }
    let record = JobRecord {
        job: id,
        title: job.title.clone(),
        status: job.status.name().to_owned(),
        author: state.author(id).cloned().unwrap_or_default(),
        submitted_at_ms: job.submitted_at_ms,
        partitions: job.partitions.clone(),
        spec: spec::digest(kept),
        done: job.done,
        counts: job.counts,
        units,
        audit: audit_of(state, id, job),
    };
    Ok((record, kept.clone(), places))
}

/// What a job came to be by, and when: itself, or the schedule or standing scan whose run it is. What those did before the last runs
/// that are kept of them is not known any more, and then the job counts as asked for itself.
fn made_by(state: &State, id: JobId, job: &Job) -> (Ask, u64) {
    let is_run = |run: &Run| run.outcome == RunOutcome::Started { job: id };
    let of_schedule =
        state.schedules().find(|(_, it)| it.last_job == Some(id) || it.runs.iter().any(is_run)).map(|(_, it)| it);
    let of_keep = state.keeps().find(|(_, it)| it.running.is_some_and(|(_, running)| running == id)).map(|(_, it)| it);
    match (of_schedule, of_keep) {
        (Some(schedule), _) => (SCHEDULE, schedule.made_at_ms),
        (None, Some(keep)) => (KEEP, keep.made_at_ms),
        (None, None) => (SCAN, job.submitted_at_ms),
    }
}

/// An entry of the audit log, with the digest before it.
type Linked<'a> = (u64, &'a AuditRecord, Digest);

/// Looks for the entry by which something was asked for that came to be at a time: the last of its author that was not answered
/// before that, nor with something else. Where it is `about` that time, what was asked for long before is none. The log links the two by
/// nothing but that: of requests of one token that overlap in time, the last is taken.
struct Asking<'a> {
    who: &'a str,
    ask: Ask,
    made_at_ms: u64,
    about: bool,
    /// What may be it, each with what was answered.
    open: BTreeMap<u64, Vec<Linked<'a>>>,
}

impl<'a> Asking<'a> {
    fn new(who: &'a str, ask: Ask, made_at_ms: u64, about: bool) -> Self {
        Self { who, ask, made_at_ms, about, open: BTreeMap::new() }
    }

    fn see(&mut self, linked: Linked<'a>) {
        let (number, AuditRecord { at_ms, entry, .. }, _) = linked;
        let ((action, answer), made_at_ms) = (self.ask, self.made_at_ms);
        let since_ms = if self.about { made_at_ms.saturating_sub(ASKED_WITHIN_MS) } else { 0 };
        match entry.outcome {
            Outcome::Asked
                if (since_ms..=made_at_ms).contains(at_ms)
                    && entry.author.who == self.who
                    && entry.action == action =>
            {
                self.open.insert(number, vec![linked]);
            }
            Outcome::Answered { asked, status } if status != answer || (self.about && *at_ms < made_at_ms) => {
                self.open.remove(&asked);
            }
            Outcome::Answered { asked, .. } => {
                if let Some(entries) = self.open.get_mut(&asked) {
                    entries.push(linked);
                }
            }
            Outcome::Refused { .. } | Outcome::Asked => {}
        }
    }

    /// It, and what was answered.
    fn found(mut self) -> Option<Vec<Linked<'a>>> {
        self.open.pop_last().map(|(_, entries)| entries)
    }
}

/// The entries of the audit log that are about a job: by which it was asked for, what came of that, and those that name it. The
/// log is gone through once.
fn audit_of(state: &State, id: JobId, job: &Job) -> Vec<AuditLink> {
    let who = state.author(id).map(|author| author.who.as_str()).unwrap_or_default();
    let (ask, made_at_ms) = made_by(state, id, job);
    let mut asked = Asking::new(who, ask, made_at_ms, true);
    // A run of what is gone, or has forgotten it: what its author made last before it, which may be another.
    let mut before_it = [SCHEDULE, KEEP].map(|ask| Asking::new(who, ask, job.submitted_at_ms, false));
    let named = id.to_string();
    let is_named = |AuditEntry { action, object, .. }: &AuditEntry| {
        let made = object.split(' ').any(|part| part.strip_prefix("job_id=") == Some(&named));
        made || action.split('/').any(|part| part == named)
    };
    let mut links = BTreeMap::new();
    let mut before = state.audit_ends().gone_digest;
    for (number, record) in state.audit(0) {
        let linked = (number, record, before);
        asked.see(linked);
        before_it.iter_mut().for_each(|asking| asking.see(linked));
        if links.len() < AUDIT_LINKS_MAX && is_named(&record.entry) {
            links.insert(number, linked);
        }
        before = record.digest;
    }
    let last_before =
        || before_it.into_iter().filter_map(Asking::found).max_by_key(|entries| entries.first().map(|it| it.0));
    let asked = asked.found().or_else(last_before).unwrap_or_default();
    links.extend(asked.into_iter().map(|linked| (linked.0, linked)));
    let links = links.into_values().take(AUDIT_LINKS_MAX);
    links.map(|(number, record, before)| AuditLink { before, entry: AuditDocument::of(number, record) }).collect()
}

/// A job whose bundle was verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedJob {
    /// `job-...`.
    pub job_id: String,
    /// How it ended.
    pub status: String,
    /// One line: what was scanned.
    pub title: String,
    /// The key of whoever signed the order; absent where nobody did.
    pub signed_by: Option<String>,
    /// When the order was signed, and until when it held, RFC 3339.
    pub signed_at: Option<String>,
    /// Until when it held.
    pub expires_at: Option<String>,
    /// The name of the token that was shown when it was asked for.
    pub asked_by: String,
    /// Entries of the audit log about it, each bound to the one before.
    pub audit_entries: usize,
    /// Chunks, each of its unit and unchanged.
    pub chunks: usize,
    /// Targets that they count.
    pub targets: u64,
    /// The cluster.
    pub cluster: String,
    /// The key of the node that wrote the bundle.
    pub bundle_signed_by: String,
}

/// What is asked of a bundle beside being whole.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which job it is of.
    pub job: Option<JobId>,
    /// Whose signature the order must carry; anybody's where there is none.
    pub signers: Vec<SignerKey>,
    /// Which node must have written it: anybody can sign a file, and what it says beside the order is its signer's word.
    pub node: Option<PeerId>,
    /// Whether any will do where none is named, as of a bundle that a node of the cluster has just handed over.
    pub any_node: bool,
    /// Whether an order that nobody signed will do.
    pub unsigned: bool,
}

/// Verifies the bundle of a job, with nothing but the file.
///
/// # Errors
/// [`BundleError`]: the first thing that does not hold.
pub fn verify(file: &Path, wanted: &Wanted) -> Result<VerifiedJob, BundleError> {
    let trusted = |signer: PeerId| match wanted.node {
        Some(named) if named != signer => Err(BundleError::OtherSigner { signer, named }),
        None if !wanted.any_node => Err(BundleError::UnknownSigner { signer }),
        _ => Ok(()),
    };
    let (reader, manifest) = open(file, None, trusted)?;
    let signer = reader.signer();
    let Body::Job(record) = &manifest.body else {
        return Err(BundleError::Direction(
            "it is a bundle of an air gap, and holds no finished job: `pentora job export ID`",
        ));
    };
    if let Some(job) = wanted.job
        && job != record.job
    {
        return wrong(format!("it holds {}, not {job}", record.job));
    }
    if let Err(error) = manifest.cluster.parse::<ClusterId>() {
        return wrong(error.to_string());
    }
    check_counts(record)?;
    check_status(record)?;
    check_audit(record)?;
    let mut verified = VerifiedJob {
        job_id: record.job.to_string(),
        status: record.status.clone(),
        title: record.title.clone(),
        signed_by: None,
        signed_at: None,
        expires_at: None,
        asked_by: record.author.who.clone(),
        audit_entries: record.audit.len(),
        chunks: record.units.len(),
        targets: record.done,
        cluster: manifest.cluster.clone(),
        bundle_signed_by: signer.to_string(),
    };
    let mut units = record.units.iter();
    let mut is_spec = true;
    reader.contents(&manifest.contents, |digest, bytes| {
        if std::mem::take(&mut is_spec) {
            return check_spec(record, digest, &bytes, wanted, &mut verified);
        }
        let unit = units.next().filter(|unit| unit.chunk.digest == digest);
        unit.map_or_else(
            || wrong(format!("content {digest} is not where its unit is")),
            |unit| check_chunk(record, unit, bytes),
        )
    })?;
    Ok(verified)
}

fn wrong<T>(what: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::Contents(what.into()))
}

/// Each target is counted once, and the sums are those of the units.
fn check_counts(record: &JobRecord) -> Result<(), BundleError> {
    let (mut counts, mut done) = (Counts::default(), 0u64);
    for unit in &record.units {
        let part = usize::try_from(unit.unit.partition).ok().and_then(|at| record.partitions.get(at));
        if unit.unit.start >= unit.unit.end || part.is_none_or(|part| unit.unit.end > part.target_count) {
            return wrong(format!("unit {} is not in the job", unit.unit));
        }
        counts.add(&unit.counts);
        done = done.saturating_add(unit.unit.targets());
    }
    let follows = |pair: &[CountedUnit]| match pair {
        [a, b] => (a.unit.partition, a.unit.end) <= (b.unit.partition, b.unit.start),
        _ => true,
    };
    if !record.units.windows(2).all(follows) {
        return wrong("its units overlap, or are out of order");
    }
    if done != record.done || (counts.hosts_up, counts.open_ports) != (record.counts.hosts_up, record.counts.open_ports)
    {
        return wrong("its units do not count what the job does");
    }
    Ok(())
}

/// It ended as one does of which so much is counted.
fn check_status(record: &JobRecord) -> Result<(), BundleError> {
    let all = record.partitions.iter().fold(0u64, |all, part| all.saturating_add(part.target_count));
    let (done, status) = (record.done, record.status.as_str());
    let ends = [JobStatus::Completed, JobStatus::Partial, JobStatus::Failed, JobStatus::Cancelled];
    match ends.into_iter().find(|end| end.name() == status) {
        Some(JobStatus::Completed) if done != all => {
            wrong(format!("it is said to be completed, and {done} of its {all} targets are counted"))
        }
        Some(JobStatus::Failed) if done > 0 => {
            wrong(format!("it is said to have failed, and {done} targets are counted"))
        }
        Some(_) => Ok(()),
        None => wrong("it has not ended as a job does"),
    }
}

/// Each entry is bound to the digest before it, they are in order, and one of them is whoever asked, for what became a job.
fn check_audit(record: &JobRecord) -> Result<(), BundleError> {
    let mut last = 0;
    for AuditLink { before, entry } in &record.audit {
        let content = entry.entry().filter(|_| entry.number > last);
        let made = content.map(|content| chained(before, entry.number, entry.at_ms, &content));
        if made.map(|made| hex::encode(made.0)) != Some(entry.digest.clone()) || entry.at != rfc3339(entry.at_ms) {
            return wrong(format!("entry {} of the audit log was changed, or is out of order", entry.number));
        }
        last = entry.number;
    }
    let asks = |link: &&AuditLink| {
        let entry = &link.entry;
        let Some((_, made)) = [SCAN, SCHEDULE, KEEP].into_iter().find(|(action, _)| *action == entry.action) else {
            return false;
        };
        let other = |answer: &AuditDocument| answer.asked == Some(entry.number) && answer.status != Some(made);
        entry.who == record.author.who
            && entry.outcome == "asked"
            && entry.at_ms <= record.submitted_at_ms
            && !record.audit.iter().any(|link| other(&link.entry))
    };
    match record.audit.iter().find(asks) {
        Some(_) => Ok(()),
        None => wrong("the audit log has no entry by which it was asked for"),
    }
}

/// The spec is the one that is listed, and within an order that whoever is wanted signed.
fn check_spec(
    record: &JobRecord,
    digest: Digest,
    bytes: &[u8],
    wanted: &Wanted,
    verified: &mut VerifiedJob,
) -> Result<(), BundleError> {
    if digest != record.spec {
        return wrong("its first content is not the job's spec");
    }
    let spec = spec::decode(bytes).map_err(|error| BundleError::Contents(error.to_string()))?;
    let counts: Vec<u64> = spec.partitions.iter().map(pentora_scanner::target::TargetSet::count).collect();
    if counts != record.partitions.iter().map(|part| part.target_count).collect::<Vec<_>>() {
        return wrong("the job's parts are not those of its spec");
    }
    let Some(signed) = orders::carried(spec.order.as_deref()) else {
        let is_enough = wanted.unsigned && wanted.signers.is_empty();
        return if is_enough { Ok(()) } else { wrong("nobody signed the order (--unsigned verifies the rest)") };
    };
    let told = |error: &dyn std::fmt::Display| BundleError::Contents(error.to_string());
    let order = orders::verify(&signed).map_err(|error| told(&error))?;
    if !wanted.signers.is_empty() && !wanted.signers.contains(&order.signer) {
        return wrong(format!("the order is signed by {}, not by whom you named", order.signer));
    }
    order.order.holds_at(record.submitted_at_ms).map_err(|error| told(&error))?;
    covers(&order.order, &spec).map_err(|error| told(&error))?;
    check_title(record, &order.order, &spec)?;
    verified.signed_by = Some(order.signer.to_string());
    verified.signed_at = Some(rfc3339(order.order.issued_at_ms));
    verified.expires_at = Some(rfc3339(order.order.expires_at_ms));
    Ok(())
}

/// It is called what was signed, or what of that was asked for; a schedule's run with the schedule's name behind it.
fn check_title(record: &JobRecord, order: &Order, spec: &ScanSpec) -> Result<(), BundleError> {
    let asked = title(&order.request);
    let parts = spec.partitions.iter().map(ToString::to_string).collect();
    let scanned = title(&ScanRequest { targets: parts, ..ScanRequest::default() });
    let is_run = |rest: &str| order.repeats.is_some() && rest.starts_with(" [") && rest.ends_with(']');
    let is_so =
        |named: &String| record.title.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || is_run(rest));
    if [asked, scanned].iter().any(is_so) {
        return Ok(());
    }
    wrong(format!("it is called {}, and the order is for something else", record.title))
}

/// A chunk is of the unit that it is listed for, and reads to its end.
fn check_chunk(record: &JobRecord, unit: &CountedUnit, bytes: Vec<u8>) -> Result<(), BundleError> {
    let unreadable =
        |error: &dyn std::fmt::Display| BundleError::Contents(format!("the results of unit {}: {error}", unit.unit));
    let mut chunk = ChunkReader::open(bytes.into()).map_err(|error| unreadable(&error))?;
    let heading = chunk.heading();
    // What an interrupted run had found before the job was made stands under no job.
    let is_of_job = [record.job, crate::results::EARLIER_RUN].contains(&heading.unit.job);
    if !is_of_job || heading.unit.until(heading.end) != unit.unit {
        return wrong(format!("the results of unit {} are of another unit", unit.unit));
    }
    let mut hosts = 0;
    while let Some(block) = chunk.next_block().map_err(|error| unreadable(&error))? {
        hosts += block.len() as u64;
    }
    if hosts < unit.counts.hosts_up {
        return wrong(format!("the results of unit {} hold fewer hosts than were counted", unit.unit));
    }
    Ok(())
}

#[cfg(test)]
#[path = "job_record_test.rs"]
mod tests;
