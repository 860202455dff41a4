//! From a request to a job in the log: parse, check against scope, split by placement, encode, submit.
//!
//! Everything that can be refused is refused here, before anything is written: malformed targets and ports with their
//! position, addresses outside the scope, needs that no node meets with the reason of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use pentora_raft::codec::{self, Kind};
use pentora_raft::command::{Command, Finished, LeaseRef, SPEC_INLINE_BYTES_MAX, SpecRef, Submission};
use pentora_raft::state::{Needs, Partition, Priority};
use pentora_raft::{Digest, JobId, NodeId, Raft, Response};
use pentora_scanner::detect::{DEFAULT_INTENSITY, INTENSITY_MAX};
use pentora_scanner::port::{PortError, PortSet};
use pentora_scanner::scope::{Scope, ScopeError};
use pentora_scanner::spec::{
    DiscoveryError, DiscoveryProbe, EngineChoice, Profile, ScanSpec, SpecError, UnknownChoice, parse_discovery,
};
use pentora_scanner::target::{TargetError, TargetSet};

use crate::coordinator::placement;
use crate::document::{self, ScanRequest};
use crate::glue::proposer::{Proposer, Unavailable};
use crate::results::Exchange;

/// How long a worker waits for the entry that granted its unit before it asks another node for the spec.
const SPEC_WAIT: Duration = Duration::from_secs(5);
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
        Digest::of(&codec::encode(Kind::Spec, &self.spec))
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
    /// Ports that do not parse.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// Discovery probes that do not parse.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A word that is none of those known.
    #[error(transparent)]
    Choice(#[from] UnknownChoice),
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

/// Checks a request and splits it. Pure but for `raft`, whose nodes decide where parts may run.
///
/// # Errors
/// [`RefusedRequest`].
pub fn prepare(request: ScanRequest, scope: &Scope, raft: &Raft) -> Result<Prepared, RefusedRequest> {
    let targets = targets_of(&request)?;
    let exclude = set_of(&request.exclude, request.exclude_text.as_deref(), ("exclude", "exclude file"))?;
    let targets = targets.exclude(&exclude);
    scope.check(&targets)?;
    let ports = ports_of(&request)?;
    if request.workers == Some(0) {
        return Err(RefusedRequest::Field("workers must be at least 1"));
    }
    let engine = choice(request.engine.as_deref(), ScanSpec::default().engine)?;
    let profile = choice(request.profile.as_deref(), ScanSpec::default().profile)?;
    let services = services_of(&request, profile)?;
    // What sends nothing but single SYNs needs raw packets.
    let needed = if profile == Profile::OtSafe { EngineChoice::Raw } else { engine };
    let parts = split(&targets, &request, needed, raft)?;
    let spec = ScanSpec {
        partitions: parts.iter().map(|(targets, _)| targets.clone()).collect(),
        ports,
        exclude,
        discovery: discovery_of(&request)?,
        rate_pps: request.rate,
        max_rate_pps: request.max_rate,
        network_rate_pps: request.network_rate,
        host_rate_pps: request.host_rate,
        timing: choice(request.timing.as_deref(), ScanSpec::default().timing)?,
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
    let (budget_pps, network_pps) = (spec.budget_pps(), spec.network_rate_pps);
    let allow_fragile = spec.allow_fragile;
    let bytes = codec::encode(Kind::Spec, &spec);
    let spec = if bytes.len() <= SPEC_INLINE_BYTES_MAX {
        SpecRef::Inline(bytes)
    } else {
        let digest = Digest::of(&bytes);
        proposer.leader().await?;
        let kept = tokio::time::timeout(SPEC_KEPT_WITHIN, exchange.make_durable(digest, bytes.into())).await;
        let holders = kept.map_err(|_elapsed| RefusedRequest::NotDurable { within: SPEC_KEPT_WITHIN })?;
        SpecRef::Chunk { digest, holders }
    };
    let targets = partitions.iter().map(|part| part.target_count).sum();
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    // A request without a key gets one of its own, so that retrying it through an election makes one job.
    let key = key.map_or_else(|| Digest(rand::random()), |key| Digest::of(format!("submit:{key}").as_bytes()));
    let submission = Submission {
        spec,
        partitions,
        priority: priority(request.priority),
        budget_pps,
        network_pps,
        max_workers: request.workers,
        max_attempts,
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

/// Reads a spec back.
///
/// # Errors
/// Where the bytes are no spec of this release.
pub fn decode_spec(bytes: &[u8]) -> Result<ScanSpec, codec::CodecError> {
    codec::decode(Kind::Spec, bytes)
}

/// The spec of a leased unit, from the log or from the chunk that holds it.
///
/// # Errors
/// A sentence where it is not to be had now.
pub async fn spec_of(raft: &Raft, exchange: &Exchange, lease: LeaseRef) -> Result<Arc<ScanSpec>, String> {
    if !raft.wait_applied(lease.epoch, SPEC_WAIT).await {
        return Err("this node has not applied the grant yet".into());
    }
    let job = lease.unit.job;
    let kept = raft.read(|state| state.spec(job).cloned()).ok_or_else(|| format!("{job} is gone"))?;
    read_spec(exchange, kept).await.map(Arc::new)
}

/// A spec that the log holds, or names the chunk of.
///
/// # Errors
/// A sentence where it is not to be had now.
pub async fn read_spec(exchange: &Exchange, kept: SpecRef) -> Result<ScanSpec, String> {
    let bytes = match kept {
        SpecRef::Inline(bytes) => bytes,
        SpecRef::Chunk { digest, holders } => exchange.fetch(digest, &holders).await?.to_vec(),
    };
    decode_spec(&bytes).map_err(|error| error.to_string())
}

fn discovery_of(request: &ScanRequest) -> Result<Vec<DiscoveryProbe>, RefusedRequest> {
    match (request.discovery, &request.discovery_probes) {
        (false, Some(_)) => Err(RefusedRequest::Field("discovery is turned off and has probes")),
        (false, None) => Ok(Vec::new()),
        (true, Some(probes)) => Ok(parse_discovery(probes)?),
        (true, None) => Ok(ScanSpec::default().discovery),
    }
}

fn targets_of(request: &ScanRequest) -> Result<TargetSet, TargetError> {
    set_of(&request.targets, request.target_text.as_deref(), ("targets", "file"))
}

/// Parses targets; an error names the first of `origins` for an item, the second for the text of files.
fn set_of(items: &[String], text: Option<&str>, (origin, of_text): (&str, &str)) -> Result<TargetSet, TargetError> {
    let mut builder = TargetSet::builder();
    for item in items {
        builder.add_text(item, origin)?;
    }
    if let Some(text) = text {
        builder.add_text(text, of_text)?;
    }
    builder.build()
}

fn ports_of(request: &ScanRequest) -> Result<PortSet, RefusedRequest> {
    let tcp = match (&request.ports, request.top_ports) {
        (Some(_), Some(_)) => Err(RefusedRequest::Field("ports and top_ports exclude each other")),
        (Some(ports), None) => Ok(ports.parse::<PortSet>()?),
        (None, Some(0)) => Err(RefusedRequest::Field("top_ports must be at least 1")),
        (None, Some(count)) => Ok(PortSet::top_ports(count)),
        // Who asks for UDP ports alone has said what is to be asked.
        (None, None) if request.top_udp_ports.is_some() => Ok(PortSet::default()),
        (None, None) => Ok(ScanSpec::default().ports),
    }?;
    match request.top_udp_ports {
        None => Ok(tcp),
        Some(0) => Err(RefusedRequest::Field("top_udp_ports must be at least 1")),
        Some(count) => Ok(tcp.iter().chain(PortSet::top_udp_ports(count).iter()).collect()),
    }
}

fn choice<T: std::str::FromStr<Err = UnknownChoice>>(word: Option<&str>, default: T) -> Result<T, UnknownChoice> {
    word.map_or(Ok(default), str::parse)
}

fn priority(priority: document::Priority) -> Priority {
    match priority {
        document::Priority::Critical => Priority::Critical,
        document::Priority::High => Priority::High,
        document::Priority::Normal => Priority::Normal,
        document::Priority::Low => Priority::Low,
    }
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
        let limited = raft.read(|state| state.nodes().any(|(_, node)| node.facts.networks.is_some()));
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
        raft.read(|state| state.nodes().filter_map(|(_, node)| node.facts.networks.clone()).flatten().collect());
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
        state.nodes().map(|(_, node)| (node.facts.name.clone(), reason(node))).collect()
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
