//! From a request to a job in the log: parse, check against scope, split by placement, encode, submit.
//!
//! Everything that can be refused is refused here, before anything is written: malformed targets and ports with their
//! position, addresses outside the scope, needs that no node meets with the reason of each.

mod ports;

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use pentora_raft::command::{Command, Finished, SPEC_INLINE_BYTES_MAX, SpecRef, Submission};
use pentora_raft::state::{JobLimits, Needs, Partition};
use pentora_raft::{Digest, JobId, NodeId, Raft, Response};
use pentora_scanner::detect::{DEFAULT_INTENSITY, INTENSITY_MAX};
use pentora_scanner::port::PortError;
use pentora_scanner::scope::{Scope, ScopeError};
use pentora_scanner::spec::{DiscoveryError, EngineChoice, Profile, ScanSpec, SpecError};
use pentora_scanner::target::{TargetError, TargetSet};

use crate::coordinator::placement;
use crate::document::{ScanAccepted, ScanRequest};
use crate::exclusions::{self, ExclusionError};
use crate::results::Exchange;
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::spec;

/// How long a large spec may take to be on two nodes' disks before the submission is refused.
const SPEC_KEPT_WITHIN: Duration = Duration::from_secs(10);
/// Networks that a job is split by, at most; a cluster with more is served by its most specific ones.
const NETWORKS_MAX: usize = 128;
/// Longest title of a job, in characters.
const TITLE_CHARS_MAX: usize = 80;

/// A request that is ready to be submitted.
#[derive(Debug)]
pub struct Prepared {
    spec: ScanSpec,
    partitions: Vec<Partition>,
    request: ScanRequest,
    finished: Vec<Finished>,
}

impl Prepared {
    /// The name of what is scanned and in which order: an earlier run of the same spec has the same.
    #[must_use]
    pub fn spec_digest(&self) -> Digest {
        Digest::of(&spec::encode(&self.spec))
    }

    /// The same, with units that an earlier run of the same spec has finished.
    #[must_use]
    pub fn with_finished(self, finished: Vec<Finished>) -> Self {
        Self { finished, ..self }
    }
}

/// Why a request was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RefusedRequest {
    /// Targets that do not parse.
    #[error(transparent)]
    Targets(#[from] TargetError),
    /// Exclusions that cannot be held to.
    #[error(transparent)]
    Exclusions(#[from] ExclusionError),
    /// Ports that do not parse.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// Ports to leave out that do not parse.
    #[error("exclude_{0}")]
    ExcludedPorts(PortError),
    /// Discovery probes that do not parse.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Fields that do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Both ways of naming ports at once, a number of 0, and the like.
    #[error("{0}")]
    Field(&'static str),
    /// Outside the scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// No node may take a part of it.
    #[error("no node can scan {part}")]
    NoEligibleNode {
        /// Which part of the targets.
        part: String,
        /// Each node's reason.
        reasons: Vec<(String, String)>,
    },
    /// Its spec is too large for the log and could not be kept by two nodes.
    #[error("the targets could not be kept on two nodes within {} s: the disk is full or other nodes do not answer", within.as_secs())]
    NotDurable {
        /// How long it was tried.
        within: Duration,
    },
    /// It was not put into the log.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Its targets.
    pub targets: u64,
    /// Its partitions.
    pub partitions: u32,
    /// The log index at which it stands.
    pub index: u64,
}

impl From<Accepted> for ScanAccepted {
    fn from(accepted: Accepted) -> Self {
        let Accepted { job, targets, partitions, index } = accepted;
        Self { job_id: job.to_string(), targets, partitions, index }
    }
}

/// Checks a request and splits it: pure but for the names among its exclusions, which are looked up, and `raft`, whose nodes
/// decide where parts may run.
///
/// # Errors
/// [`RefusedRequest`].
pub fn prepare(request: ScanRequest, scope: &Scope, raft: &Raft) -> Result<Prepared, RefusedRequest> {
    let (targets, exclude) = sets_of(&request)?;
    let exclude = exclusions::resolved(&exclude, request.exclude_unresolved.unwrap_or_default())?;
    let targets = targets.exclude(&exclude);
    scope.check(&targets)?;
    let (ports, discovery, exclude_ports) = ports::ports_and_discovery(&request)?;
    if request.workers == Some(0) {
        return Err(RefusedRequest::Field("workers must be at least 1"));
    }
    let engine = request.engine.unwrap_or(ScanSpec::default().engine);
    let profile = request.profile.unwrap_or(ScanSpec::default().profile);
    let services = services_of(&request, profile)?;
    // What sends nothing but single SYNs needs raw packets.
    let needed = if profile == Profile::OtSafe { EngineChoice::Raw } else { engine };
    let parts = split(&targets, &request, needed, raft)?;
    let spec = ScanSpec {
        partitions: parts.iter().map(|(targets, _)| targets.clone()).collect(),
        ports,
        exclude_ports,
        exclude,
        discovery,
        rate_pps: request.rate,
        max_rate_pps: request.max_rate,
        network_rate_pps: request.network_rate,
        host_rate_pps: request.host_rate,
        timing: request.timing.unwrap_or(ScanSpec::default().timing),
        confidence: request.confidence.unwrap_or(ScanSpec::default().confidence),
        retries: request.retries,
        banners: request.banners && services.is_none(),
        engine,
        seed: request.seed.unwrap_or_else(rand::random),
        profile,
        services,
        weaknesses: request.weaknesses && services.is_some(),
        allow_fragile: request.allow_fragile,
    };
    spec.validate()?;
    let partitions =
        parts.into_iter().map(|(targets, needs)| Partition { target_count: targets.count(), needs }).collect();
    Ok(Prepared { spec, partitions, request, finished: Vec::new() })
}

/// How hard open ports are to be asked what they are; `None` for not at all. The stage that asks reads what they say
/// first as well.
fn services_of(request: &ScanRequest, profile: Profile) -> Result<Option<u8>, RefusedRequest> {
    if request.intensity.is_some_and(|intensity| intensity > INTENSITY_MAX) {
        return Err(RefusedRequest::Field("intensity must be from 0 to 9"));
    }
    let is_wanted = request.services && request.banners && profile != Profile::OtSafe;
    Ok(is_wanted.then(|| request.intensity.unwrap_or(DEFAULT_INTENSITY)))
}

/// Puts a prepared request into the log. `key` makes a repeated request the same job.
///
/// # Errors
/// [`RefusedRequest::Unavailable`] and [`RefusedRequest::NotDurable`].
pub async fn submit(
    prepared: Prepared,
    key: Option<&str>,
    proposer: &Proposer,
    exchange: &Exchange,
    via: NodeId,
    max_attempts: u32,
) -> Result<Accepted, RefusedRequest> {
    let Prepared { spec, partitions, request, finished } = prepared;
    let limits = JobLimits {
        budget_pps: spec.budget_pps(),
        network_pps: spec.network_rate_pps,
        max_workers: request.workers,
        max_attempts,
    };
    let allow_fragile = spec.allow_fragile;
    let bytes = spec::encode(&spec);
    let spec = if bytes.len() <= SPEC_INLINE_BYTES_MAX {
        SpecRef::Inline(bytes)
    } else {
        proposer.leader().await?;
        let kept = tokio::time::timeout(SPEC_KEPT_WITHIN, exchange.make_durable(bytes.into())).await;
        let kept = kept.map_err(|_elapsed| RefusedRequest::NotDurable { within: SPEC_KEPT_WITHIN })?;
        SpecRef::Chunk { digest: kept.digest, holders: kept.holders }
    };
    let targets = partitions.iter().map(|part| part.target_count).sum();
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    // A request without a key gets one of its own, so that retrying it through an election makes one job.
    let key = key.map_or_else(|| Digest(rand::random()), |key| Digest::of(format!("submit:{key}").as_bytes()));
    let submission = Submission {
        spec,
        partitions,
        priority: request.priority,
        limits,
        via,
        idempotency_key: Some(key),
        title: title(&request),
        finished,
    };
    let applied = proposer.propose(Command::SubmitJob(Box::new(submission))).await?;
    match applied.response {
        Response::Submitted { job, .. } => {
            if allow_fragile {
                tracing::warn!(%job, "a job asks controllers and medical devices like any other port");
            }
            Ok(Accepted { job, targets, partitions: count, index: applied.index })
        }
        _ => Err(Unavailable::Stopped("the log answered a submission with something else".into()).into()),
    }
}

/// What is to be scanned and what is to be left out of it. An error names where the text came from.
fn sets_of(request: &ScanRequest) -> Result<(TargetSet, TargetSet), TargetError> {
    let (mut targets, mut exclude) = (TargetSet::builder(), TargetSet::builder());
    for item in &request.targets {
        targets.add_text(item, "targets")?;
    }
    if let Some(text) = &request.target_text {
        targets.add_text(text, "file")?;
    }
    for item in &request.exclude {
        exclude.add_exclusions(item, "exclude")?;
    }
    if let Some(text) = &request.exclude_text {
        exclude.add_exclusions(text, "exclude file")?;
    }
    exclude.add_set(&targets.take_excluded()?);
    Ok((targets.build()?, exclude.build()?))
}

fn title(request: &ScanRequest) -> String {
    let named = request.targets.join(" ");
    let named = if named.is_empty() { String::from("targets from a file") } else { named };
    match named.char_indices().nth(TITLE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", named.get(..end).unwrap_or_default()),
        None => named,
    }
}

/// Splits targets by the networks that nodes are limited to, and holds each part against the nodes there are.
fn split(
    targets: &TargetSet,
    request: &ScanRequest,
    engine: EngineChoice,
    raft: &Raft,
) -> Result<Vec<(TargetSet, Needs)>, RefusedRequest> {
    let needs = |networks: Vec<IpNet>| Needs {
        networks,
        region: request.region.clone(),
        required_tags: request.require_worker_tags.clone(),
        preferred_tags: request.worker_tags.clone(),
        engine: (engine == EngineChoice::Raw).then(|| engine.to_string()),
    };
    let mut parts = Vec::new();
    let mut rest = targets.clone();
    for net in limits(raft) {
        let part = rest.intersect_nets(&[net]);
        if !part.is_empty() {
            rest = rest.subtract_nets(&[net]);
            parts.push((part, needs(vec![net])));
        }
    }
    if !rest.is_empty() {
        let v4 = rest.ranges().any(|range| range.first.is_ipv4());
        let v6 = rest.ranges().any(|range| range.first.is_ipv6());
        let everything = [(v4, "0.0.0.0/0"), (v6, "::/0")];
        let limited = raft.read(|state| state.nodes().any(|(_, node)| node.info.networks.is_some()));
        let networks = everything.iter().filter(|(there, _)| *there && limited);
        let networks = networks.filter_map(|(_, net)| net.parse().ok()).collect();
        parts.push((rest, needs(networks)));
    }
    for (part, needs) in &parts {
        check_eligible(part, needs, raft)?;
    }
    Ok(parts)
}

/// The networks that nodes are limited to, most specific first.
fn limits(raft: &Raft) -> Vec<IpNet> {
    let nets: BTreeSet<IpNet> =
        raft.read(|state| state.nodes().filter_map(|(_, node)| node.info.networks.clone()).flatten().collect());
    let mut nets: Vec<IpNet> = nets.into_iter().collect();
    nets.sort_by_key(|net| std::cmp::Reverse(net.prefix_len()));
    nets.truncate(NETWORKS_MAX);
    nets
}

fn check_eligible(part: &TargetSet, needs: &Needs, raft: &Raft) -> Result<(), RefusedRequest> {
    let reasons: Vec<(String, Option<String>)> = raft.read(|state| {
        let reason = |node| {
            let unavailable = placement::unavailable(node).map(str::to_owned);
            unavailable.or_else(|| placement::mismatch(node, needs))
        };
        state.nodes().map(|(_, node)| (node.info.name.clone(), reason(node))).collect()
    });
    if reasons.iter().any(|(_, reason)| reason.is_none()) {
        return Ok(());
    }
    let part: String = part.to_string().chars().take(TITLE_CHARS_MAX).collect();
    let reasons = reasons.into_iter().map(|(name, reason)| (name, reason.unwrap_or_default())).collect();
    Err(RefusedRequest::NoEligibleNode { part, reasons })
}

#[cfg(test)]
#[path = "jobs/jobs_test.rs"]
mod tests;
