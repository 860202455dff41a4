//! Standing scans: the leader's part in holding a promise of freshness, and how well it is held.
//!
//! The log has the slices of each and when they were seen (`pentora_raft`, `state/keeps`). Whoever leads notes what came of a
//! pass that has ended, chooses the slice that is next (`choose`), and puts its job into the log; one pass is on at a time,
//! and has the whole budget. A pass goes through the same checks as any request.

mod choose;
mod slices;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::command::Command;
use pentora_raft::state::{JobStatus, Keep, KeepSpec, Settings};
use pentora_raft::{JobId, Raft, Response, Role, State};
use pentora_scanner::target::TargetSet;
use tokio_util::sync::CancellationToken;

pub use self::choose::Held;

use crate::document::ScanRequest;
use crate::jobs::{self, RefusedRequest};
use crate::policy::Policy;
use crate::results::Exchange;
use crate::rpc::proposer::Proposer;

/// How often the leader looks at standing scans.
const ROUND: Duration = Duration::from_millis(500);
/// How long a node leads before it begins passes, as for schedules.
const LEADS_FOR: Duration = Duration::from_secs(2);
/// How long a standing scan rests whose pass was refused. Ours: the end of a window is met within half a minute.
const REFUSED_RESTS: Duration = Duration::from_secs(30);

/// The leader's care for standing scans. Runs on every node and rests while another leads.
#[derive(Debug)]
pub struct Keeps {
    /// Consensus.
    pub raft: Raft,
    /// The way into the log.
    pub proposer: Proposer,
    /// Keeps specs that are too large for the log.
    pub exchange: Exchange,
    /// What holds for the work of all nodes where the log does not say.
    pub settings: Settings,
}

/// What is to be done about a standing scan.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Note what came of a pass.
    End(JobId),
    /// Begin a pass over this slice, from this spec.
    Start(u32, KeepSpec),
}

/// What is promised of a request's addresses.
///
/// # Errors
/// Where it names hosts, which have no place among addresses, or as [`jobs::addresses`].
pub fn spec_of(mut request: ScanRequest, fresh_ms: u64, rate_pps: u64) -> Result<KeepSpec, RefusedRequest> {
    if request.carry {
        return Err(RefusedRequest::Field("what is carried to a worker without a network cannot be kept fresh"));
    }
    if request.order.is_some() {
        return Err(RefusedRequest::Field(
            "a standing scan cannot be signed, because the cluster chooses its slices: sign a schedule",
        ));
    }
    let targets = jobs::addresses(&request)?;
    if targets.name_count() > 0 {
        return Err(RefusedRequest::Field("a standing scan is of addresses: name networks in place of host names"));
    }
    let title = jobs::title(&request);
    // The same index space in each pass, in the same order.
    request.seed = Some(request.seed.unwrap_or_else(rand::random));
    (request.targets, request.target_text, request.sample) = (vec![targets.to_string()], None, None);
    (request.rate, request.wait_for_worker) = (Some(rate_pps), false);
    let slices = slices::sizes(&targets);
    let request = serde_json::to_vec(&request).map_err(|_never| RefusedRequest::Field("the request cannot be kept"))?;
    Ok(KeepSpec { request, title, fresh_ms, rate_pps, slices })
}

/// The request of a pass over one slice.
///
/// # Errors
/// A sentence where this release does not understand what was kept.
pub fn slice_request(spec: &KeepSpec, slice: u32) -> Result<ScanRequest, String> {
    let request: ScanRequest = serde_json::from_slice(&spec.request)
        .map_err(|error| format!("this release does not understand the request: {error}"))?;
    let targets = request.targets.concat().parse::<TargetSet>();
    let targets = targets.map_err(|error| format!("this release does not understand its targets: {error}"))?;
    let targets = slices::text(&targets, &spec.slices, slice);
    if targets.is_empty() {
        return Err(format!("there is no slice {slice}"));
    }
    Ok(ScanRequest { targets: vec![targets], ..request })
}

/// A standing scan as the log has it at one moment, with the rules that hold for it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What it is called.
    pub name: String,
    /// Its row.
    pub keep: Keep,
    /// The pass that is on.
    pub pass: Option<JobId>,
    /// Why that is held, where it is.
    pub held_up: Option<String>,
    policy: Policy,
}

impl Standing {
    /// One of the log's standing scans.
    #[must_use]
    pub fn of(state: &State, name: &str, keep: &Keep) -> Self {
        let is_open = |job: &JobId| state.job(*job).is_some_and(pentora_raft::state::Job::is_open);
        let pass = keep.running.map(|(_, job)| job).filter(is_open);
        let is_held = |job: &JobId| state.job(*job).is_some_and(|job| job.status == JobStatus::Paused);
        let why = |job| state.hold(job).map_or_else(|| "somebody paused it".to_owned(), str::to_owned);
        let held_up = pass.filter(is_held).map(why);
        Self { name: name.to_owned(), keep: keep.clone(), pass, held_up, policy: policy_of(state, name) }
    }

    /// How well its promise is held at a time. It reads the whole request: not under the log's lock.
    #[must_use]
    pub fn held(&self, now_ms: u64) -> Held {
        choose::held(&self.keep, &allowed(&self.keep, &self.policy), now_ms)
    }
}

/// How many addresses of each slice of a standing scan may be scanned by its author's rules as they are now. Which addresses names
/// among exclusions have is not asked here: it is as the last pass found it.
fn allowed(keep: &Keep, policy: &Policy) -> Vec<u64> {
    let sizes = &keep.spec.slices;
    let passed = || sizes.iter().zip(&keep.slices).map(|(size, slice)| size.saturating_sub(slice.left_out));
    let request = serde_json::from_slice::<ScanRequest>(&keep.spec.request).ok();
    let Some((request, targets)) =
        request.and_then(|request| jobs::addresses(&request).ok().map(|targets| (request, targets)))
    else {
        return passed().collect();
    };
    let mut may = if targets.has_zones() { targets.clone() } else { targets.intersect_nets(policy.scope().nets()) };
    let mut has_names = !request.exclude.is_empty() || request.exclude_text.is_some();
    for (_, excluded) in policy.always_excluded() {
        match excluded {
            Ok(excluded) => {
                has_names |= excluded.name_count() > 0;
                may = may.exclude(&excluded);
            }
            Err(_) => has_names = true,
        }
    }
    let counts = slices::counts(&targets, sizes, &may);
    if has_names { counts.into_iter().zip(passed()).map(|(now, passed)| now.min(passed)).collect() } else { counts }
}

/// The rules that hold for a standing scan.
fn policy_of(state: &State, name: &str) -> Policy {
    Policy::of(state, state.keep_author(name).map_or("", |author| author.who.as_str()))
}

/// The standing scans of which a pass has ended, or for which it is time, but for those that rest.
fn due(state: &State, now_ms: u64, rests: impl Fn(&str) -> bool) -> Vec<Standing> {
    let is_due = |keep: &Keep| match keep.running {
        Some((_, job)) => !state.job(job).is_some_and(pentora_raft::state::Job::is_open),
        None => !keep.paused && choose::choose(keep, &[], now_ms).is_some(),
    };
    let due = state.keeps().filter(|(name, keep)| !rests(name) && is_due(keep));
    due.map(|(name, keep)| Standing::of(state, name, keep)).collect()
}

/// What is to be done about one that is due; a slice of which the rules leave nothing is passed over, unless there is no other. It
/// reads the whole request: not under the log's lock.
fn step(Standing { name, keep, policy, .. }: Standing, now_ms: u64) -> Option<(String, Step)> {
    let step = match keep.running {
        Some((_, job)) => Step::End(job),
        None => Step::Start(choose::choose(&keep, &allowed(&keep, &policy), now_ms)?, keep.spec),
    };
    Some((name, step))
}

impl Keeps {
    /// Works until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut leads_since: Option<Instant> = None;
        let mut refused: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
            if self.raft.status().role != Role::Leader {
                leads_since = None;
                refused.clear();
                continue;
            }
            let now = Instant::now();
            if now.duration_since(*leads_since.get_or_insert(now)) < LEADS_FOR {
                continue;
            }
            refused.retain(|_, at| now.duration_since(*at) < REFUSED_RESTS);
            let now_ms = self.raft.now_ms();
            let due = self.raft.read(|state| due(state, now_ms, |name| refused.contains_key(name)));
            if due.is_empty() {
                continue;
            }
            let steps = move || due.into_iter().filter_map(|due| step(due, now_ms)).collect::<Vec<_>>();
            let steps = tokio::task::spawn_blocking(steps).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "standing scans cannot be looked at; the next round looks again");
                Vec::new()
            });
            for (name, step) in steps {
                match step {
                    Step::End(job) => self.propose(Command::EndSlice { keep: name, job }).await,
                    Step::Start(slice, spec) => {
                        if let Err(reason) = self.start(&name, slice, &spec).await {
                            tracing::warn!(keep = name, slice, reason, "a pass of a standing scan is refused");
                            refused.insert(name.clone(), now);
                            self.propose(Command::RefuseSlice { keep: name, reason }).await;
                        }
                    }
                }
            }
        }
    }

    /// Begins a pass: its request goes through the same checks as any other.
    async fn start(&self, name: &str, slice: u32, spec: &KeepSpec) -> Result<(), String> {
        let request = slice_request(spec, slice)?;
        let raft = self.raft.clone();
        // As for a schedule: it runs as whoever asked for it.
        let author = self.raft.read(|state| state.keep_author(name).cloned()).unwrap_or_default();
        let learned = jobs::learn(request, &raft, &self.exchange).await;
        let (request, learned) = learned.map_err(|refused| refused.with_reasons())?;
        let prepared = tokio::task::spawn_blocking(move || jobs::prepare(request, author, &raft)).await;
        let prepared = prepared.map_err(|error| error.to_string())?.map_err(|refused| refused.with_reasons())?;
        let prepared = prepared.with_note(learned);
        let tries = self.raft.read(|state| state.settings().map(|settings| settings.max_attempts));
        let tries = tries.unwrap_or(self.settings.max_attempts);
        let node = self.raft.node();
        let submission = jobs::submission(prepared, None, &self.proposer, &self.exchange, node, tries).await;
        let mut submission = submission.map_err(|refused| refused.with_reasons())?;
        submission.title = format!("{} [{name}]", submission.title);
        let command = Command::StartSlice { keep: name.into(), slice, submission: Box::new(submission) };
        match self.raft.propose(command).await.map(|applied| applied.response) {
            Ok(Response::Submitted { job, .. }) => {
                tracing::debug!(keep = name, slice, %job, "a pass of a standing scan begins");
                Ok(())
            }
            // Another leader was here first, or it is gone: the next round looks again.
            Ok(Response::Refused(pentora_raft::Refusal::NotDue { .. } | pentora_raft::Refusal::KeepUnknown { .. })) => {
                Ok(())
            }
            Ok(Response::Refused(refusal)) => Err(refusal.to_string()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn propose(&self, command: Command) {
        if let Err(error) = self.raft.propose(command).await {
            tracing::debug!(%error, "not in the log yet; the next round looks again");
        }
    }
}

#[cfg(test)]
#[path = "keeps/keeps_test.rs"]
mod tests;
