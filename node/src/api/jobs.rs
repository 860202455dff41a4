//! `/jobs`: lists, states, results, cancelling, deleting.

use std::collections::BTreeSet;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use pentora_raft::command::{Command, SpecRef};
use pentora_raft::state::{Job, JobStatus};
use pentora_raft::{JobId, NodeId, Refusal, state};
use pentora_scanner::finding::{NotProbed, NotProbedCounts};
use pentora_scanner::recall::{Recall, Recapture};

use super::auth::HandedOnBy;
use super::knowledge::Knowledge;
use super::paging::{Paging, falling};
use super::residency::check_readable;
use super::{ApiError, Node};
use crate::clock::rfc3339;
use crate::coordinator::{VERSION, placement};
use crate::document::{
    CancelRequest, JobDocument, JobProgress, JobResults, Page, Tried, Unreadable, UnreadableLine, WorkerStat,
    duration_words,
};
use crate::feeds::rematch::Rematch;
use crate::results::is_gone;
use crate::results::report::{self, Missing};
use crate::rpc::SoftState;
use crate::rpc::proposer::Unavailable;
use crate::spec;
use crate::work_protocol::Figures;

pub(super) async fn list(State(node): State<Node>, paging: Paging) -> Result<Json<Page<JobDocument>>, ApiError> {
    let soft = node.soft().await;
    let now_ms = node.raft.now_ms();
    let age_ms = Knowledge::of(&node, &node.raft.status(), &soft).status_age_ms();
    let page = node.raft.read(|state| {
        let jobs = state.jobs().rev().map(|(id, job)| (falling(id.0), (id, job)));
        paging.part("jobs", jobs, |(id, job)| aged(document_of(state, id, job, &soft, now_ms), age_ms))
    });
    page.map(Json)
}

pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<JobDocument>, ApiError> {
    let id = job_id(&id)?;
    let (soft, now_ms) = (node.soft().await, node.raft.now_ms());
    let found = node.raft.read(|state| {
        let document = state.job(id).map(|job| document_of(state, id, job, &soft, now_ms))?;
        Some((document, state.spec(id).cloned()))
    });
    let Some((document, spec)) = found else { return Err(Refusal::JobUnknown { job: id }.into()) };
    let mut document = aged(document, Knowledge::of(&node, &node.raft.status(), &soft).status_age_ms());
    // A large spec is read for a report, not for every look at a job that runs.
    let is_read = |spec: &SpecRef| matches!(spec, SpecRef::Inline(_)) || document.has_ended();
    if let Some(spec) = spec.filter(is_read) {
        let spec = spec::read(&node.exchange, spec).await.ok();
        document.allow_fragile = spec.as_ref().is_some_and(|spec| spec.allow_fragile);
        document.ports = spec.map(|spec| spec.ports.to_string());
    }
    Ok(Json(document))
}

pub(super) async fn results(
    State(node): State<Node>,
    by: Option<Extension<HandedOnBy>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    if node.raft.read(|state| state.job(id).is_none()) {
        return Err(Refusal::JobUnknown { job: id }.into());
    }
    check_readable(&node, id, by.map(|Extension(by)| by))?;
    let rematch = Rematch::new(node.feeds.clone()).into_revise();
    let raft = node.raft.clone();
    let missing = move |unit: &Missing| {
        let unreadable = raft.read(|state| unreadable_of(state, unit));
        serde_json::to_string(&UnreadableLine { unreadable }).expect("a document has only strings and numbers")
    };
    let lines = report::lines(&node.raft, node.exchange.clone(), id, rematch, &node.tasks, Box::new(missing));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

pub(super) async fn cancel(
    State(node): State<Node>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<JobDocument>, ApiError> {
    let job = job_id(&id)?;
    let cancel: CancelRequest =
        if body.is_empty() { CancelRequest::default() } else { super::scans::read_json(&body)? };
    let reason: String = cancel.reason.unwrap_or_else(|| "asked for".into()).chars().take(200).collect();
    let applied = node.stop_job(job, Command::Cancel { job, reason }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    one(State(node), Path(id)).await
}

/// Forgets an ended job; its results go from their holders after their grace time.
pub(super) async fn delete(State(node): State<Node>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let job = job_id(&id)?;
    let was_known = node.raft.read(|state| state.job(job).is_some());
    match node.proposer.propose(Command::DeleteJob { job }).await {
        Ok(applied) => {
            node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
            Ok(StatusCode::NO_CONTENT)
        }
        // It was proposed again through an election, and had been applied before.
        Err(Unavailable::Refused(Refusal::JobUnknown { .. })) if was_known => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// What cannot be read, with the names of its holders.
pub(super) fn unreadable_of(state: &pentora_raft::State, missing: &Missing) -> Unreadable {
    let name =
        |node: NodeId| state.node(node).map_or_else(|| format!("node {node}"), |record| record.info.name.clone());
    let tried = |(node, why): &(NodeId, String)| Tried { node: name(*node), why: why.clone(), is_gone: is_gone(why) };
    Unreadable {
        unit: missing.unit.to_string(),
        targets: missing.unit.targets(),
        digest: missing.digest.to_string(),
        why: missing.why.clone(),
        tried: missing.tried.iter().map(tried).collect(),
    }
}

pub(super) fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|error: pentora_raft::id::IdError| ApiError::bad_request(error.to_string()))
}

fn document_of(state: &pentora_raft::State, id: JobId, job: &Job, soft: &SoftState, now_ms: u64) -> JobDocument {
    let end_ms = job.finished_at_ms.unwrap_or(now_ms);
    let elapsed_ms = job.started_at_ms.map_or(0, |started| end_ms.saturating_sub(started));
    let elapsed_seconds = elapsed_ms as f64 / 1000.0;
    let total = job.targets();
    let running = soft.in_progress.get(&id).filter(|_| job.is_open()).copied().unwrap_or_default();
    let active = state.workers_on(id);
    let worker_stats = stats_of(state, id, job, &active);
    let remarks = state.job_remarks(id);
    let unreached = remarks.map(unreached_of).unwrap_or_default();
    let mut not_probed = unreached;
    not_probed.add(NotProbed::GivenUp, job.dead);
    let targets_scanned = job.done.saturating_sub(unreached.total());
    // An open port of a target that nobody has probed was not found. What one that stopped answering hides is reckoned in already.
    let reached = targets_scanned.saturating_add(unreached.of(NotProbed::Stopped));
    let probed = if total == 0 { 0.0 } else { reached as f64 / total as f64 };
    let measured = state.job_measures(id).and_then(|measures| {
        let sums = measures.sums.iter().map(|(code, sum)| (*code, *sum));
        Recapture::from_sums(sums).measured(job.done, probed)
    });
    // Of what nothing was sent to there is no share to tell.
    let has_asked = job.counts.probes_sent > 0 || targets_scanned == 0;
    let modelled = job.counts.recall_estimate().filter(|_| has_asked).map(|recall| recall * probed);
    JobDocument {
        job_id: id.to_string(),
        status: job.status.name().into(),
        status_age_ms: None,
        workers: u32::try_from(worker_stats.len()).unwrap_or(u32::MAX),
        targets_scanned,
        targets_in_progress: running.targets,
        duration: duration_words(elapsed_ms / 1000),
        results: JobResults {
            hosts_up: job.counts.hosts_up,
            open_ports: job.counts.open_ports,
            services_detected: job.counts.services_detected,
            vulnerabilities: job.counts.vulnerabilities,
        },
        worker_stats,
        targets_total: total,
        priority: job.priority,
        submitted_at: rfc3339(job.submitted_at_ms),
        started_at: job.started_at_ms.map(rfc3339),
        finished_at: job.finished_at_ms.map(rfc3339),
        elapsed_seconds,
        eta_seconds: eta(job, job.done.saturating_add(running.targets), soft.targets_per_second.get(&id).copied()),
        active_workers: u32::try_from(active.len()).unwrap_or(u32::MAX),
        probes_sent: job.counts.probes_sent,
        loss_estimate: job.counts.loss_estimate(),
        recall_estimate: match measured {
            // What a unit expects of a host that stopped answering is in the sums alone.
            Some((Recall { low, point, high }, _)) if unreached.of(NotProbed::Stopped) > 0 => {
                Some(point.clamp(low, high))
            }
            Some((Recall { low, point, high }, _)) => Some(modelled.unwrap_or(point).clamp(low, high)),
            None => modelled,
        },
        recall_measured: measured.map(|(_, told)| told),
        in_progress: progress_of(&running),
        reason: reason_of(job, &not_probed)
            .or_else(|| waiting_for(state, id, job, now_ms))
            .or_else(|| nobody_takes(state, job, soft)),
        waits: if job.is_open() { waits_of(state, soft) } else { Vec::new() },
        notes: remarks.map(|remarks| remarks.notes.iter().cloned().collect()).unwrap_or_default(),
        not_probed,
        ports: None,
        title: job.title.clone(),
        site: site_of(job),
        signed_by: job.partitions.first().and_then(|part| part.needs.signer()).map(str::to_owned),
        allow_fragile: false,
    }
}

/// Says how old what is said of an open job is, where no leader is known: what becomes of it meanwhile nobody here sees.
fn aged(document: JobDocument, age_ms: Option<u64>) -> JobDocument {
    let status_age_ms = age_ms.filter(|_| !document.has_ended());
    JobDocument { status_age_ms, ..document }
}

/// The site that a job's hosts are at; `None` for more than one, and where none was named.
fn site_of(job: &Job) -> Option<String> {
    let of_part = |part: &state::Partition| {
        part.needs.required_tags.iter().find_map(|tag| placement::site_in(tag)).map(str::to_owned)
    };
    let first = job.partitions.first().and_then(of_part)?;
    job.partitions.iter().all(|part| of_part(part).as_ref() == Some(&first)).then_some(first)
}

/// Targets that no probe reached, by the reasons that this release knows.
fn unreached_of(remarks: &state::Remarks) -> NotProbedCounts {
    let mut counts = NotProbedCounts::default();
    for (code, targets) in &remarks.not_probed {
        counts.add(NotProbed::from_code(*code).unwrap_or(NotProbed::SendRefused), *targets);
    }
    counts
}

/// Why a job is as it is, in a line.
fn reason_of(job: &Job, not_probed: &NotProbedCounts) -> Option<String> {
    if not_probed.is_empty() || job.dead == not_probed.total() {
        return job.reason.clone();
    }
    let told = not_probed.sentence(job.targets(), &job.targets().to_string());
    let given_up = job.reason.as_ref().filter(|_| job.dead > 0);
    Some(given_up.map_or(told.clone(), |reason| format!("{told}; {reason}")))
}

/// What holds a job up that is not over: policy, a user's word, workers that are set aside, or that there is none for a part of it.
fn waiting_for(state: &pentora_raft::State, id: JobId, job: &Job, now_ms: u64) -> Option<String> {
    if let Some(why) = state.hold(id) {
        return Some(format!("held by policy, goes on by itself: {why}"));
    }
    if job.status == JobStatus::Paused {
        let paused = state.job_events(id, 0).filter(|(_, event)| event.what.name() == "paused").last();
        return Some(paused.map_or_else(|| "paused".to_owned(), |(_, event)| event.to_string()));
    }
    if job.status == JobStatus::Carried {
        return Some("its work is carried to workers without a network: pentora coordinator export".to_owned());
    }
    if !job.wants_work() {
        return None;
    }
    let nobody = job.partitions.iter().find(|part| {
        let refused = |(id, node)| placement::refused(state, id, node, &part.needs, VERSION).is_some();
        state.nodes().all(refused)
    });
    if nobody.is_some() {
        return Some(format!("a part waits for a node that may take it; `pentora job explain {id}` says why none may"));
    }
    let aside = state.nodes().filter_map(|(node, record)| {
        placement::set_aside(state.health(node), now_ms).map(|why| format!("{}: {why}", record.worker_id()))
    });
    let aside: Vec<String> = aside.collect();
    (!aside.is_empty()).then(|| aside.join("; "))
}

/// That no worker which is there takes work, with the reason of one, where a job could otherwise go on.
pub(super) fn nobody_takes(state: &pentora_raft::State, job: &Job, soft: &SoftState) -> Option<String> {
    let takers = || state.nodes().filter(|(_, node)| node.takes_leases()).map(|(id, _)| id);
    let is_stuck = job.wants_work() && takers().count() > 0 && takers().all(|id| soft.rests.contains_key(&id));
    let why = takers().find_map(|id| soft.rests.get(&id))?;
    is_stuck.then(|| format!("no node takes work now; {why}"))
}

/// Which workers take none of an open job's work now, and why, a line each.
fn waits_of(state: &pentora_raft::State, soft: &SoftState) -> Vec<String> {
    let name = |id: &NodeId| state.node(*id).map_or_else(|| format!("node {id}"), |record| record.info.name.clone());
    soft.rests.iter().map(|(id, why)| format!("{} takes no work: {why}", name(id))).collect()
}

/// What units that are out have done so far, for people who follow the job.
fn progress_of(running: &Figures) -> JobProgress {
    JobProgress {
        targets: running.targets,
        hosts_up: running.counts.hosts_up,
        open_ports: running.counts.open_ports,
        probes_sent: running.counts.probes_sent,
        loss_estimate: running.counts.loss_estimate(),
    }
}

/// From the rate of the last half minute; `None` before there is one, while the job is held, and after its end.
fn eta(job: &Job, done: u64, targets_per_second: Option<f64>) -> Option<f64> {
    let rate = targets_per_second.filter(|rate| job.wants_work() && *rate > 0.0)?;
    let left = job.targets().saturating_sub(done).saturating_sub(job.dead);
    Some(left as f64 / rate)
}

/// One row per worker, the largest share first; equal ones by their names.
fn stats_of(state: &pentora_raft::State, id: JobId, job: &Job, active: &BTreeSet<NodeId>) -> Vec<WorkerStat> {
    let stats = state.job_workers(id).map(|(node, stat)| stat_of(state, (id, job), node, stat, active.contains(&node)));
    let mut stats: Vec<WorkerStat> = stats.collect();
    stats.sort_by(|a, b| b.targets.cmp(&a.targets).then_with(|| a.worker_id.cmp(&b.worker_id)));
    stats
}

fn stat_of(
    state: &pentora_raft::State,
    (id, job): (JobId, &Job),
    node: NodeId,
    stat: &state::WorkerStat,
    active: bool,
) -> WorkerStat {
    let told = |worker_id: String, word: &str| WorkerStat {
        worker_id,
        targets: stat.targets,
        duration: duration_words(stat.last_at_ms.saturating_sub(stat.first_at_ms) / 1000),
        state: word.into(),
    };
    // What became of a worker after the job's end is not the job's affair.
    if let Some(end) = state.worker_end(id, node) {
        return told(end.worker_id.clone(), end.state.name());
    }
    let record = state.node(node);
    let word = match (active, record.map(|record| record.status)) {
        (_, None) if state.offline_workers().any(|(id, _)| id == node) => "Offline",
        (_, None | Some(state::NodeStatus::Left)) => "Left",
        (_, Some(state::NodeStatus::Failed)) => "Failed",
        (true, Some(state::NodeStatus::Stale)) => "Stale",
        (true, _) => "Running",
        (false, _) if job.is_open() => "Idle",
        (false, _) => "Done",
    };
    told(state.worker_id(node), word)
}

/// Whether nothing of a job was granted yet, for metrics.
pub(super) fn is_waiting(job: &Job) -> bool {
    job.status == JobStatus::Queued
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::command::{
        Completion, LeaseRef, NewLease, NewToken, NodeInfo, NodeRole, Proposal, StoredChunk, Submission, UnitKey,
    };
    use pentora_raft::state::{Counts, JobLimits, Measures, Partition, Priority, Share};
    use pentora_raft::{ClusterId, Digest, State, TokenId};
    use pentora_scanner::recall::{Found, Sample, StoppedHost};

    fn node_info(name: &str) -> NodeInfo {
        NodeInfo { name: name.into(), peer: name.into(), ..NodeInfo::default() }
    }

    /// Three workers that did these parts of one job, in the order of their admission.
    fn worked(job: JobId, shares: [u64; 3]) -> State {
        measured(job, shares, None)
    }

    /// The same, each of whose parts has measured this.
    fn measured(job: JobId, shares: [u64; 3], measures: Option<(&Measures, &state::Remarks)>) -> State {
        let secret = Digest::of(b"s");
        let token = NewToken {
            token: TokenId([1; 8]),
            secret,
            name: String::new(),
            ttl_ms: 1_000,
            uses: 2,
            role: NodeRole::Auto,
            region: None,
            networks: None,
        };
        let join = |name| Command::Join { token: TokenId([1; 8]), secret, info: node_info(name) };
        let submission = Submission {
            spec: SpecRef::Inline(Vec::new()),
            partitions: vec![Partition { target_count: shares.iter().sum(), ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 1, ..JobLimits::default() },
            via: 1,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        };
        let (mut grants, mut completions, mut start) = (Vec::new(), Vec::new(), 0);
        for (node, targets) in [1, 3, 4].into_iter().zip(shares) {
            let (unit, end) = (UnitKey { job, partition: 0, start }, start + targets);
            grants.push(NewLease { unit, end, node, share: Share::default() });
            let lease = LeaseRef { unit, epoch: 9 };
            let stored = StoredChunk { digest: secret, bytes: 1, holders: vec![1] };
            let counts =
                Counts { probes_sent: measures.map_or(0, |_| 9), ..Counts::default().with_estimates(0.0, 1.0) };
            completions.push(Completion { lease, start, end, goes_on: false, node, stored, counts });
            start = end;
        }
        let begin = Command::Begin { cluster: ClusterId([1; 16]), info: node_info("b"), admin_token: secret };
        let working = [1, 3, 4].map(|node| Command::WorkerBack { node });
        let commands = [begin, Command::CreateToken(token), join("c"), join("a")].into_iter().chain(working);
        let mut rest = vec![Command::SubmitJob(Box::new(submission)), Command::Grant { grants }];
        match measures {
            None => rest.push(Command::Complete { completions }),
            Some((sums, said)) => rest.extend(completions.into_iter().map(|completion| Command::CompleteMeasured {
                completion: Box::new(completion),
                remarks: said.clone(),
                measures: sums.clone(),
            })),
        }
        let mut state = State::default();
        for (index, command) in (1..).zip(commands.chain(rest)) {
            let response = state.apply(index, &Proposal { at_ms: index, command });
            assert!(!matches!(response, pentora_raft::Response::Refused(_)), "{response:?}");
        }
        state
    }

    #[test]
    fn what_was_measured_is_told_where_it_covers_the_job_and_the_estimate_lies_within() {
        let job = JobId(8);
        // A tenth of the silent was asked again and 20 ports turned up: 200 of 1,200 are missing, but for these 20.
        let [sample, none] = [[2_000, 200, 20], [0; 3]].map(|[silent, asked, open]| Sample {
            silent,
            asked,
            answered: open,
            open,
            first: [asked, open, open],
            controls: [0, 0],
        });
        let told = |targets| {
            let unit = Recapture::of_unit(Found { targets, open: 1_000, hosts: 100 }, &[sample, none, none], 20);
            let state = measured(job, [5; 3], Some((&Measures { sums: unit.sums().collect() }, &Default::default())));
            document_of(&state, job, state.job(job).unwrap(), &SoftState::default(), 99)
        };
        let document = told(5);
        let measured = document.recall_measured.unwrap();
        assert_eq!((measured.silent, measured.asked_again, measured.turned_up), (6_000, 600, 60));
        assert!(
            measured.low < 0.85 && measured.high > 0.85 && measured.low > 0.7 && measured.high < 0.95,
            "{measured:?}"
        );
        let recall = document.recall_estimate.unwrap();
        assert!((measured.low..=measured.high).contains(&recall), "the model said nothing was missed: {recall}");
        assert_eq!(told(4).recall_measured, None, "a fifth was not measured");
        // A job of twice as many targets that ended there: half of them were not probed.
        let unit = Recapture::of_unit(Found { targets: 5, open: 1_000, hosts: 100 }, &[sample, none, none], 20);
        let state =
            self::measured(job, [5, 5, 5], Some((&Measures { sums: unit.sums().collect() }, &Default::default())));
        let mut twice = state.job(job).unwrap().clone();
        twice.partitions[0].target_count *= 2;
        let half = document_of(&state, job, &twice, &SoftState::default(), 99);
        assert_eq!((half.targets_scanned, half.targets_total), (15, 30));
        assert!((half.recall_estimate.unwrap() - recall / 2.0).abs() < 1e-9, "{half:?}");
        assert!((half.recall_measured.unwrap().high - measured.high / 2.0).abs() < 1e-9, "{half:?}");
    }

    #[test]
    fn what_targets_hide_that_stopped_answering_lowers_what_was_found_once() {
        let (job, one) = (JobId(8), Found { targets: 1, open: 50, hosts: 1 });
        let hides = StoppedHost { ports: 4_000, known: 1_000, open: 50, silent: 0, probes: 0 };
        let unit = Recapture::of_unit(one, &[Sample::default(); 3], 0).with_stopped(&[hides], 0.0);
        let remarks = state::Remarks { not_probed: [(NotProbed::Stopped.code(), 1)].into(), ..Default::default() };
        let state = measured(job, [1; 3], Some((&Measures { sums: unit.sums().collect() }, &remarks)));
        let told = document_of(&state, job, state.job(job).unwrap(), &SoftState::default(), 99);
        let why = "3 of 3 targets stopped answering in mid-scan: the rest of their ports is not known";
        assert_eq!((told.status.as_str(), told.targets_scanned, told.reason.as_deref()), ("partial", 0, Some(why)));
        let (recall, ends) = (told.recall_estimate.unwrap(), told.recall_measured.unwrap());
        assert!(ends.low < 0.25 && 0.25 < ends.high && ends.high < 0.4, "{ends:?}");
        assert!((ends.low..=ends.high).contains(&recall), "{recall}, though units said that all was found");
    }

    #[test]
    fn of_what_nothing_was_sent_to_no_share_is_told_and_one_of_several_was_not_probed() {
        let job = JobId(8);
        let state = worked(job, [5, 5, 5]);
        let of = |sent| {
            let mut job_sent = state.job(job).unwrap().clone();
            job_sent.counts.probes_sent = sent;
            document_of(&state, job, &job_sent, &SoftState::default(), 99).recall_estimate
        };
        assert_eq!((of(0), of(15)), (None, Some(1.0)));
        let reason = |missed| {
            let mut not_probed = NotProbedCounts::default();
            not_probed.add(NotProbed::NoRoute, missed);
            reason_of(state.job(job).unwrap(), &not_probed).unwrap()
        };
        assert_eq!(reason(1), "1 of 15 targets was not probed: no route 1");
        assert_eq!(reason(2), "2 of 15 targets were not probed: no route 2");
    }

    #[test]
    fn worker_stats_come_with_the_largest_share_first_and_equal_ones_by_name() {
        let job = JobId(8);
        for (shares, expected) in [
            ([5, 30, 10], [("wrk_c", 30), ("wrk_a", 10), ("wrk_b", 5)]),
            ([7, 7, 7], [("wrk_a", 7), ("wrk_b", 7), ("wrk_c", 7)]),
        ] {
            let state = worked(job, shares);
            let document = document_of(&state, job, state.job(job).unwrap(), &SoftState::default(), 99);
            let stats: Vec<_> =
                document.worker_stats.iter().map(|stat| (stat.worker_id.as_str(), stat.targets)).collect();
            assert_eq!(stats, expected);
        }
    }
}
