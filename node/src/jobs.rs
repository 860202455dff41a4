//! From a request to a job in the log: parse, check against scope, split by placement, encode, submit.
//!
//! Everything that can be refused is refused here, before anything is written: malformed targets and ports with their
//! position, addresses that no rule allows, needs that no node meets with the reason of each.

mod asked;
mod forecast;
mod learned;
mod links;
mod once;
mod ports;
mod profile;
mod refused;
mod sites;
mod split;

use std::collections::BTreeSet;
use std::time::Duration;

use pentora_raft::command::{
    Arrangement, Author, Command, Finished, OrderedJob, SPEC_INLINE_BYTES_MAX, SpecRef, Submission,
};
use pentora_raft::id::is_node_name;
use pentora_raft::state::{JobLimits, Needs, Partition, submission_key};
use pentora_raft::{Digest, JobId, NodeId, Raft, Refusal, Response, State};
use pentora_scanner::spec::{EngineChoice, Profile, ScanSpec};
use pentora_scanner::target::{AddressRange, TargetError, TargetSet};

use crate::coordinator::{VERSION, placement};
use crate::document::{SAMPLE_MAX, ScanAccepted, ScanRequest};
use crate::exclusions::{self, ExclusionError};
use crate::masked::masked;
use crate::orders;
use crate::policy::{Closed, Policy};
use crate::results::Exchange;
use crate::rpc::proposer::{Proposer, Unavailable};
use crate::spec;

/// How long a large spec may take to be on two nodes' disks before the submission is refused.
const SPEC_KEPT_WITHIN: Duration = Duration::from_secs(10);
/// Longest title of a job, in characters.
const TITLE_CHARS_MAX: usize = 80;

pub use asked::{NotAsked, covers};
pub use forecast::forecast;
pub(crate) use forecast::needs_words;
pub use learned::learn;
pub use links::with_link_hosts;
pub use once::{Looked, OrdersRead, schedule_of_order};
pub use refused::RefusedRequest;

/// A request that is ready to be submitted.
#[derive(Debug)]
pub struct Prepared {
    spec: ScanSpec,
    partitions: Vec<Partition>,
    request: ScanRequest,
    finished: Vec<Finished>,
    author: Author,
    order: Option<OfOrder>,
}

/// The order that a request is of.
#[derive(Debug)]
struct OfOrder {
    id: String,
    repeats: bool,
    expires_at_ms: u64,
    /// The job that was made of it, and the digest of its spec where that is still known.
    earlier: Option<(JobId, Option<Digest>)>,
}

impl Prepared {
    /// The name of what is scanned and in which order: an earlier run of the same spec has the same.
    #[must_use]
    pub fn spec_digest(&self) -> Digest {
        Digest::of(&spec::encode(&self.spec))
    }

    /// Whether its order is for a scan and was not carried out yet; what nobody signed may be asked for at any time.
    ///
    /// # Errors
    /// [`RefusedRequest::OrderRepeats`] and [`RefusedRequest::OrderUsed`].
    pub fn is_unused(&self, state: &State) -> Result<(), RefusedRequest> {
        match &self.order {
            Some(OfOrder { repeats: true, .. }) => Err(RefusedRequest::OrderRepeats),
            Some(OfOrder { id, .. }) => match once::job_of_order(state, id) {
                Some((job, _)) => Err(RefusedRequest::OrderUsed { job }),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// The same, with something more that readers have to know.
    #[must_use]
    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.spec.notes.extend(note);
        self
    }

    /// The same, with units that an earlier run of the same spec has finished.
    #[must_use]
    pub fn with_finished(self, finished: Vec<Finished>) -> Self {
        Self { finished, ..self }
    }
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Its targets.
    pub targets: u64,
    /// Its partitions.
    pub partitions: u32,
    /// The log index at which it stands.
    pub index: u64,
    /// What whoever asked for it has to know.
    pub notes: Vec<String>,
}

impl From<Accepted> for ScanAccepted {
    fn from(accepted: Accepted) -> Self {
        let Accepted { job, targets, partitions, index, notes } = accepted;
        Self { job_id: job.to_string(), targets, partitions, index, notes }
    }
}

/// Checks a request and splits it, and holds each part against the nodes there are unless it may wait for one.
///
/// # Errors
/// [`RefusedRequest`].
pub fn prepare(request: ScanRequest, author: Author, raft: &Raft) -> Result<Prepared, RefusedRequest> {
    // Whoever is to scan a carried job is not in the cluster.
    let waits = request.wait_for_worker || request.carry;
    let mut prepared = prepare_for_any(request, author, raft)?;
    if let Some(order) = prepared.order.as_mut().filter(|order| !order.repeats) {
        order.earlier = raft.read(|state| once::job_of_order(state, &order.id));
    }
    if !waits {
        for (targets, partition) in prepared.spec.partitions.iter().zip(&prepared.partitions) {
            check_eligible(targets, &partition.needs, raft)?;
        }
    }
    Ok(prepared)
}

/// Checks a request and splits it: pure but for the names among its exclusions, which are looked up, and `raft`, whose nodes
/// decide what the parts are.
///
/// # Errors
/// [`RefusedRequest`], but for a part that no node may take.
pub fn prepare_for_any(request: ScanRequest, author: Author, raft: &Raft) -> Result<Prepared, RefusedRequest> {
    let signed = asked::order_of(&request)?;
    let (request, profile) = profile::complete(request, raft)?;
    let seed = request.seed.unwrap_or_else(rand::random);
    if request.sample.is_some_and(|sample| !(1..=SAMPLE_MAX).contains(&sample)) {
        return Err(RefusedRequest::Field("sample must be from 1 to 1048576"));
    }
    let (targets, exclude, sampled) = sets_of(&request, seed)?;
    let resolved = exclusions::resolved(&exclude, request.exclude_unresolved.unwrap_or_default())?;
    let mut notes = resolved.notes();
    notes.extend(links::notes(&request)?);
    notes.extend(request.sample.and_then(|sample| links::sample_note(sample, &sampled)));
    let policy = raft.read(|state| Policy::of(state, &author.who));
    let targets = targets.exclude(&resolved.exclude);
    let (targets, exclude) = without_excluded(targets, resolved.exclude, &policy, &mut notes)?;
    policy.check(&targets)?;
    let mut names = addresses_of_names(&targets, &request, &policy, raft.now_ms());
    names.iter_mut().for_each(|(_, addresses)| *addresses = addresses.exclude(&exclude));
    let addresses = exclusions::joined(&names);
    if !request.wait_for_window
        && !request.carry
        && let Some(closed) = closed_now(&policy, [&targets, &addresses], raft.now_ms())
    {
        return Err(RefusedRequest::Closed(closed));
    }
    if targets.has_zones() && (request.carry || raft.read(|state| state.nodes().count()) > 1) {
        return Err(RefusedRequest::Field(
            "link-local addresses are on the links of one machine: scan them there, with `pentora scan --local`",
        ));
    }
    if request.workers == Some(0) {
        return Err(RefusedRequest::Field("workers must be at least 1"));
    }
    check_residency(&request)?;
    let asked = asked::spec_of(&request, profile, seed)?;
    // What sends nothing but single SYNs needs raw packets.
    let needed = if profile == Profile::OtSafe { EngineChoice::Raw } else { asked.engine };
    let reach = if request.carry { split::Reach::default() } else { raft.read(split::Reach::of) };
    let mut parts = Vec::new();
    let of_nodes = if request.site.is_some() { raft.read(sites::of_nodes) } else { BTreeSet::new() };
    for (site, targets) in sites::by_site(&targets, &names, request.site.as_deref(), &policy, of_nodes)? {
        parts.extend(split::split(&targets, &request, site.as_deref(), needed, &reach)?);
    }
    let spec = ScanSpec {
        partitions: parts.iter().map(|(targets, _)| targets.clone()).collect(),
        exclude,
        notes,
        order: request.order.as_ref().and_then(orders::to_carry),
        ..asked
    };
    spec.validate()?;
    if let Some(signed) = &signed {
        covers(&signed.order, &spec)?;
    }
    let partitions =
        parts.into_iter().map(|(targets, needs)| Partition { target_count: targets.count(), needs }).collect();
    let order = signed.map(|signed| OfOrder {
        id: signed.order.id,
        repeats: signed.order.repeats.is_some(),
        expires_at_ms: signed.order.expires_at_ms,
        earlier: None,
    });
    Ok(Prepared { spec, partitions, request, finished: Vec::new(), author, order })
}

/// The addresses of the names among the targets, where a rule may be about them: names are resolved where they are scanned, and
/// what that comes to is told before anything is sent, as far as it can be known here.
fn addresses_of_names(
    targets: &TargetSet,
    request: &ScanRequest,
    policy: &Policy,
    now_ms: u64,
) -> Vec<(String, TargetSet)> {
    let may_be_closed = !request.carry && !policy.hold_at(now_ms).is_empty();
    if targets.names().len() == 0 || !may_be_closed && policy.sites().next().is_none() {
        return Vec::new();
    }
    exclusions::addresses_of_each(targets)
}

/// The first rule that closes any of these now.
fn closed_now(policy: &Policy, targets: [&TargetSet; 2], now_ms: u64) -> Option<Closed> {
    targets.into_iter().find_map(|targets| policy.closed(targets, now_ms))
}

/// What is said of where results stay, against what is said of where the work is done.
fn check_residency(request: &ScanRequest) -> Result<(), RefusedRequest> {
    let Some(region) = &request.residency else { return Ok(()) };
    if !is_node_name(region) {
        return Err(RefusedRequest::Field("residency is the name of a region: 1 to 63 letters, digits or ._:/@+=-"));
    }
    if request.carry {
        return Err(RefusedRequest::Field(
            "residency and carry exclude each other: a medium with results is carried wherever somebody takes it",
        ));
    }
    match &request.region {
        Some(other) if other != region => Err(RefusedRequest::Field(
            "region and residency are different: results that do not leave a region are made there",
        )),
        _ => Ok(()),
    }
}

/// The targets without what the cluster's rules leave out at any time, which joins what the request leaves out; a note for
/// each rule that takes some away.
fn without_excluded(
    mut targets: TargetSet,
    exclude: TargetSet,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<(TargetSet, TargetSet), RefusedRequest> {
    let mut all = TargetSet::builder();
    all.add_set(&exclude);
    let mut taken = Vec::new();
    for (rule, excluded) in policy.always_excluded() {
        let unheld = |error: ExclusionError| RefusedRequest::Rule { rule: rule.to_owned(), error: Box::new(error) };
        // Names in a rule are not for a request to pass over.
        let excluded = excluded.map_err(|error| unheld(error.into()))?;
        let excluded = exclusions::resolved(&excluded, exclusions::Unresolved::Refuse).map_err(unheld)?.exclude;
        let left = targets.exclude(&excluded);
        let gone = targets.count().saturating_sub(left.count());
        if gone > 0 {
            let gone = if gone == 1 { "1 target".to_owned() } else { format!("{gone} targets") };
            notes.push(format!("exclusion `{rule}` leaves {gone} out"));
            taken.push(format!("`{rule}`"));
        }
        targets = left;
        all.add_set(&excluded);
    }
    if targets.is_empty() && !taken.is_empty() {
        return Err(RefusedRequest::AllExcluded { rules: taken.join(", ") });
    }
    Ok((targets, all.build_uncounted()?))
}

/// Puts a prepared request into the log. `key` makes a repeated request the same job; where somebody signed the request, its order does.
///
/// # Errors
/// [`RefusedRequest::Unavailable`], [`RefusedRequest::NotDurable`], and of an order [`RefusedRequest::OrderUsed`] and
/// [`RefusedRequest::OrderRepeats`].
///
/// # Panics
/// Never: a request has only strings and numbers.
pub async fn submit(
    prepared: Prepared,
    key: Option<&str>,
    proposer: &Proposer,
    exchange: &Exchange,
    via: NodeId,
    max_attempts: u32,
) -> Result<Accepted, RefusedRequest> {
    let author = prepared.author.clone();
    let carry = prepared.request.carry;
    let (allow_fragile, notes) = (prepared.spec.allow_fragile, prepared.spec.notes.clone());
    let order = prepared.order.as_ref().map(|order| (once::key_of(&order.id), order.expires_at_ms));
    let key = match &prepared.order {
        Some(OfOrder { repeats: true, .. }) => return Err(RefusedRequest::OrderRepeats),
        Some(OfOrder { earlier: Some((job, spec)), .. }) => {
            // The same request under its key is answered as the first time; anybody else has found the order somewhere.
            if key.is_none() || *spec != Some(prepared.spec_digest()) {
                return Err(RefusedRequest::OrderUsed { job: *job });
            }
            let targets = prepared.partitions.iter().map(|part| part.target_count).sum();
            let partitions = u32::try_from(prepared.partitions.len()).unwrap_or(u32::MAX);
            return Ok(Accepted { job: *job, targets, partitions, index: job.0, notes });
        }
        Some(OfOrder { id, .. }) => once::key_of(id),
        // A request without a key gets one of its own, so that retrying it through an election makes one job.
        None => key.map_or_else(
            || Digest(rand::random()),
            |key| {
                let asked = serde_json::to_vec(&prepared.request).expect("a request has only strings and numbers");
                submission_key(format!("submit:{}:{key}", author.who).as_bytes(), &asked)
            },
        ),
    };
    let submission = submission(prepared, Some(key), proposer, exchange, via, max_attempts).await?;
    let targets = submission.partitions.iter().map(|part| part.target_count).sum();
    let count = u32::try_from(submission.partitions.len()).unwrap_or(u32::MAX);
    let command = match order {
        Some((order, expires_at_ms)) => {
            Command::SubmitOrdered(Box::new(OrderedJob { order, expires_at_ms, author, submission, is_carried: carry }))
        }
        None if carry => Command::ArrangeAs { author, arrangement: Box::new(Arrangement::Carried(submission)) },
        None => Command::SubmitAs { submission: Box::new(submission), author },
    };
    let applied = match proposer.propose(command).await {
        Err(Unavailable::Refused(Refusal::KeyReused { job })) if order.is_some() => {
            return Err(RefusedRequest::OrderUsed { job });
        }
        applied => applied?,
    };
    match applied.response {
        Response::Submitted { job, .. } => {
            if allow_fragile {
                tracing::warn!(%job, "a job asks controllers and medical devices like any other port");
            }
            Ok(Accepted { job, targets, partitions: count, index: applied.index, notes })
        }
        _ => Err(Unavailable::Stopped("the log answered a submission with something else".into()).into()),
    }
}

/// What the log takes of a prepared request; a spec that is too large for it is kept as a chunk first.
///
/// # Errors
/// [`RefusedRequest::Unavailable`] and [`RefusedRequest::NotDurable`].
pub async fn submission(
    prepared: Prepared,
    key: Option<Digest>,
    proposer: &Proposer,
    exchange: &Exchange,
    via: NodeId,
    max_attempts: u32,
) -> Result<Submission, RefusedRequest> {
    let Prepared { spec, partitions, request, finished, author: _, order: _ } = prepared;
    let limits = JobLimits {
        budget_pps: spec.budget_pps(),
        network_pps: spec.network_rate_pps,
        max_workers: request.workers,
        max_attempts,
    };
    let bytes = spec::encode(&spec);
    let spec = if bytes.len() <= SPEC_INLINE_BYTES_MAX {
        SpecRef::Inline(bytes)
    } else {
        proposer.leader().await?;
        let kept = tokio::time::timeout(SPEC_KEPT_WITHIN, exchange.make_durable(bytes.into())).await;
        let kept = kept.map_err(|_elapsed| RefusedRequest::NotDurable { within: SPEC_KEPT_WITHIN })?;
        SpecRef::Chunk { digest: kept.digest, holders: kept.holders }
    };
    let priority = request.priority;
    let title = title(&request);
    Ok(Submission { spec, partitions, priority, limits, via, idempotency_key: key, title, finished })
}

/// The addresses that a request names, without those that it leaves out by address.
///
/// # Errors
/// [`RefusedRequest::Targets`].
pub fn addresses(request: &ScanRequest) -> Result<TargetSet, RefusedRequest> {
    let (targets, exclude, _sampled) = sets_of(request, request.seed.unwrap_or_default())?;
    Ok(targets.exclude(&exclude))
}

/// What is to be scanned and what is to be left out of it. An error names where the text came from.
/// Last, the networks that are scanned in part.
fn sets_of(request: &ScanRequest, seed: u64) -> Result<(TargetSet, TargetSet, Vec<AddressRange>), TargetError> {
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
    let sampled = request.sample.map(|count| targets.sample(count, seed)).unwrap_or_default();
    Ok((targets.build()?, exclude.build_uncounted()?, sampled))
}

/// What a request is called in lists: its targets, cut to a length that suits one.
#[must_use]
pub fn title(request: &ScanRequest) -> String {
    // Others read it: whoever gives a token for a target shows it to nobody.
    let named = request.targets.join(" ");
    let named = masked(&named).into_owned();
    let named = if named.is_empty() { String::from("targets from a file") } else { named };
    match named.char_indices().nth(TITLE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", named.get(..end).unwrap_or_default()),
        None => named,
    }
}

fn check_eligible(part: &TargetSet, needs: &Needs, raft: &Raft) -> Result<(), RefusedRequest> {
    let reasons: Vec<(String, Option<String>)> = raft.read(|state| {
        let unkept = placement::unkept(state, needs);
        let asked = split::as_asked(part, needs);
        // The networks that a part is made by are wider than what is asked for: what a node does not reach of that is told.
        let refused = |id, node| {
            let refused = placement::refused(state, id, node, needs, VERSION)?;
            Some(placement::refused(state, id, node, &asked, VERSION).unwrap_or(refused))
        };
        let reason = |id, node| refused(id, node).or_else(|| unkept.clone());
        state.nodes().map(|(id, node)| (node.info.name.clone(), reason(id, node))).collect()
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
