//! What units may send to, as this node's own copy of the log and its own file have it: checked before each send, and
//! changed as soon as a rule that changes is applied here, whatever the leader says.
//!
//! A unit of whose own targets a change touches any is ended as well, and begins anew under the rules as they are then: what it
//! would have found of addresses that it was kept from in the middle would be taken for silence. Other units go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pentora_raft::command::LeaseRef;
use pentora_raft::{JobId, State};
use pentora_scanner::plan::Plan;
use pentora_scanner::scope::{Permit, Permitted};
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::target::{Target, TargetError, TargetSet};
use pentora_scanner::unit::ScanError;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::signed::{self, NotTaken, Seen};
use crate::clock::wall_ms;
use crate::exclusions::{self, ExclusionError, Unresolved};
use crate::jobs::OrdersRead;
use crate::policy::own::{OwnFile, OwnRules};
use crate::policy::{Closed, OutsidePolicy, Policy};
use crate::signing::SignerKey;

/// What the units of this node may send to.
#[derive(Debug, Default)]
pub struct Permits {
    /// What this node's own file allows.
    own: OwnFile,
    units: Mutex<BTreeMap<LeaseRef, Unit>>,
    seen: Seen,
    orders: OrdersRead,
}

#[derive(Debug, Clone)]
struct Unit {
    permit: Arc<Permit>,
    spec: Arc<ScanSpec>,
    /// Behind the last index of it.
    end: u64,
    /// Who signed the order, where this node's own file asked for that.
    signer: Option<SignerKey>,
    /// Until when that order holds, by this machine's own clock.
    expires_at_ms: Option<u64>,
    /// Why its time is over.
    closed: Option<String>,
}

/// What a change of the rules, or of the hour, comes to for units.
#[derive(Debug, Default, PartialEq, Eq)]
struct Renewed {
    /// Those of which other targets may be scanned now.
    touched: Vec<LeaseRef>,
    /// Those whose time is over.
    closed: Vec<LeaseRef>,
    /// Those whose orders nobody signed whom this node trusts now.
    distrusted: Vec<LeaseRef>,
}

/// Why a unit may not be begun here. Nothing was sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum NotPermitted {
    /// The cluster's rules do not allow it.
    #[error(transparent)]
    ByPolicy(#[from] OutsidePolicy),
    /// What the cluster leaves out is not known here.
    #[error("what the cluster excludes cannot be held to: {0}")]
    Exclusions(#[from] ExclusionError),
    /// The same, because the look-up broke off.
    #[error("what the cluster excludes cannot be held to: {0}")]
    Lookup(String),
    /// This node's own file has other hours.
    #[error(transparent)]
    Closed(Closed),
    /// This node's own file asks for another order.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// This node's own file does not.
    #[error("{outside} is outside worker.scope in this node's own file, which allows {scope}")]
    ByOwnFile {
        /// The first range that is not allowed.
        outside: String,
        /// What it allows.
        scope: String,
    },
}

impl NotPermitted {
    /// Whether it is this node's own file that does not allow it.
    pub(super) fn is_by_own_file(&self) -> bool {
        match self {
            Self::Closed(_) | Self::NotTaken(_) | Self::ByOwnFile { .. } => true,
            Self::ByPolicy(_) | Self::Exclusions(_) | Self::Lookup(_) => false,
        }
    }
}

impl Permits {
    /// For a node with this file of its own.
    #[must_use]
    pub fn new(own: OwnFile) -> Self {
        Self { own, units: Mutex::default(), seen: Seen::default(), orders: OrdersRead::default() }
    }

    /// What a unit may send to that ends before an index, kept up to date until [`Self::end`].
    ///
    /// # Errors
    /// Its partition reaches outside of what may be scanned.
    pub(super) fn begin(
        &self,
        (reference, end): (LeaseRef, u64),
        spec: &Arc<ScanSpec>,
        policy: &Policy,
        exclude: TargetSet,
    ) -> Result<Arc<Permit>, NotPermitted> {
        let targets = targets_of(spec, reference);
        policy.check(targets)?;
        let own = self.own.now();
        if let Some(scope) = own.scope()
            && let Err(error) = scope.check(targets)
        {
            return Err(NotPermitted::ByOwnFile { outside: error.outside.to_string(), scope: error.scope });
        }
        let order = signed::order_of(&own, spec, wall_ms())?;
        order.iter().try_for_each(|order| self.seen.note(order, reference.unit.job))?;
        let permit = Arc::new(Permit::new(policy.permitted(own.scope(), exclude)));
        let expires_at_ms = order.as_ref().map(|order| order.order.expires_at_ms);
        let signer = order.map(|order| order.signer);
        let (permit_of_it, spec) = (Arc::clone(&permit), Arc::clone(spec));
        let unit = Unit { permit: permit_of_it, spec, end, signer, expires_at_ms, closed: None };
        self.lock().insert(reference, unit);
        Ok(permit)
    }

    /// The units that are known here.
    fn all(&self) -> Vec<LeaseRef> {
        self.lock().keys().copied().collect()
    }

    /// The units whose orders have expired at an instant of this machine's own clock.
    fn expired(&self, now_ms: u64) -> Vec<LeaseRef> {
        let is_over = |unit: &Unit| unit.expires_at_ms.is_some_and(|ends| now_ms >= ends);
        self.lock().iter().filter(|(_, unit)| is_over(unit)).map(|(reference, _)| *reference).collect()
    }

    /// A unit is over.
    pub(super) fn end(&self, reference: &LeaseRef) {
        self.lock().remove(reference);
    }

    /// Why the time of a unit is over; `None` where it is not.
    pub(super) fn closed(&self, reference: &LeaseRef) -> Option<String> {
        self.lock().get(reference)?.closed.clone()
    }

    /// Has every unit go by the rules as they are at an instant, without the addresses in `exclude`. While names among the exclusions
    /// are being looked up that is not all: then nothing is allowed that was not before.
    fn renew(&self, policy: impl Fn(JobId) -> Policy, (exclude, is_all): (&TargetSet, bool), at_ms: u64) -> Renewed {
        let own = self.own.now();
        let mut policies: BTreeMap<JobId, (Policy, Permitted)> = BTreeMap::new();
        let mut renewed = Renewed::default();
        for (reference, unit) in self.lock().iter_mut() {
            let (policy, now) = policies.entry(reference.unit.job).or_insert_with_key(|job| {
                let policy = policy(*job);
                let permitted = policy.permitted(own.scope(), exclude.clone());
                (policy, permitted)
            });
            let targets = targets_of(&unit.spec, *reference);
            if let Some(closed) = policy.closed(targets, at_ms).or_else(|| own.closed(targets, at_ms)) {
                // What it may send to stays: a target that is kept from its last probes would be taken for silent.
                unit.closed = Some(closed.to_string());
                renewed.closed.push(*reference);
                continue;
            }
            if let Some(trusted) = own.signers()
                && !trusted.iter().any(|trusted| Some(trusted.key) == unit.signer)
            {
                renewed.distrusted.push(*reference);
                continue;
            }
            let before = unit.permit.get();
            let now = match is_all {
                true => now.clone(),
                false => match besides(&before, now) {
                    Ok(now) => now,
                    // Too many to be held together: it goes by what it had until all is known.
                    Err(_) => continue,
                },
            };
            if before != now {
                unit.permit.set(now.clone());
                if touches(unit, *reference, &before, &now) {
                    renewed.touched.push(*reference);
                }
            }
        }
        renewed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<LeaseRef, Unit>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn targets_of(spec: &ScanSpec, reference: LeaseRef) -> &TargetSet {
    static NOTHING: std::sync::LazyLock<TargetSet> = std::sync::LazyLock::new(TargetSet::default);
    let at = usize::try_from(reference.unit.partition).ok();
    at.and_then(|at| spec.partitions.get(at)).unwrap_or(&NOTHING)
}

/// What is allowed now, and was not left out before.
fn besides(before: &Permitted, now: &Permitted) -> Result<Permitted, TargetError> {
    let mut exclude = TargetSet::builder();
    exclude.add_set(&before.exclude);
    exclude.add_set(&now.exclude);
    Ok(Permitted { exclude: exclude.build_uncounted()?, ..now.clone() })
}

/// Whether of a unit's targets others are allowed now than before. Addresses of names are known to the unit alone.
fn touches(unit: &Unit, reference: LeaseRef, before: &Permitted, now: &Permitted) -> bool {
    let targets = targets_of(&unit.spec, reference);
    let allowed = |permitted: &Permitted| targets.intersect_nets(permitted.scope.nets()).exclude(&permitted.exclude);
    let (before, now) = (allowed(before), allowed(now));
    if targets.name_count() > 0 || before == now {
        return targets.name_count() > 0;
    }
    let Some(plan) = Plan::new(Arc::clone(&unit.spec), reference.unit.partition) else { return true };
    let range = reference.unit.start..unit.end;
    // Whatever is less is gone through: what changed, or what the unit has.
    [before.exclude(&now), now.exclude(&before)].iter().any(|changed| {
        let is_changed = |index| match plan.target(index) {
            Some(Target::Address(address)) => changed.contains(address),
            Some(Target::Name(_)) | None => false,
        };
        let is_own = |place| match changed.get(place) {
            Some(Target::Address(address)) => plan.index_of(address).is_none_or(|index| range.contains(&index)),
            Some(Target::Name(_)) | None => false,
        };
        if changed.count() < range.end.saturating_sub(range.start) {
            (0..changed.count()).any(is_own)
        } else {
            range.clone().any(is_changed)
        }
    })
}

/// How often it is looked whether the hours of a rule have come or are over: the second within which rules hold.
const LOOK: Duration = Duration::from_millis(500);

/// What units of this node may send to, for a lease that ends before an index, from its log and its own file.
///
/// # Errors
/// It may not be scanned, or exclusions cannot be held to.
pub(super) async fn begin(
    context: &Context,
    (reference, end): (LeaseRef, u64),
    spec: &Arc<ScanSpec>,
) -> Result<Arc<Permit>, NotPermitted> {
    loop {
        let now_ms = context.raft.now_ms();
        let looked = |state: &State| (state.rules_mark(), Policy::of_job(state, reference.unit.job));
        let (mark, policy) = context.raft.read(looked);
        if policy.closed(targets_of(spec, reference), now_ms).is_some() {
            // The leader takes the lease back soon, or the time comes again.
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let own = context.permits.own.now();
        if let Some(closed) = own.closed(targets_of(spec, reference), now_ms) {
            return Err(NotPermitted::Closed(closed));
        }
        let exclude = resolved(excluded_by(&policy, &own, now_ms)).await?;
        let (orders, job) = (&context.permits.orders, reference.unit.job);
        if let Some(order) = context.permits.seen.first_of(&own, spec, job) {
            let looked = context.raft.read(|state| orders.look(state, &order, job));
            if let Some(job) = orders.earlier(looked, &order, job) {
                return Err(NotTaken::Again { job }.into());
            }
        }
        let permit = context.permits.begin((reference, end), spec, &policy, exclude)?;
        // A rule that was applied while names were looked up did not find this unit.
        let is_now = context.raft.read(State::rules_mark) == mark && *context.permits.own.now() == *own;
        let (then, now) = (now_ms, context.raft.now_ms());
        if is_now && policy.hold_at(then) == policy.hold_at(now) && own.hold_at(then) == own.hold_at(now) {
            return Ok(permit);
        }
    }
}

/// Has units go by the rules as they are applied here and as their hours come and go, until `stop`.
pub(super) async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let mut applied = context.raft.watch_applied();
    let look = || context.raft.read(|state| (state.rules_mark(), Policy::of(state, "")));
    let (mut mark, mut rules) = look();
    let own = &context.permits.own;
    let (mut read, mut known) = (own.watch(), own.now());
    let holds = |rules: &Policy, at_ms| (rules.hold_at(at_ms), own.now().hold_at(at_ms));
    let mut held = holds(&rules, context.raft.now_ms());
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            Ok(()) = read.changed() => {}
            _ = looks.tick() => {}
        }
        let expired = context.permits.expired(wall_ms());
        if !expired.is_empty() {
            // They begin anew, and are refused.
            context.units.revoke(&expired);
        }
        let file = own.now();
        let is_read_again = !Arc::ptr_eq(&file, &known);
        known = file;
        let is_other = context.raft.read(State::rules_mark) != mark;
        if is_other {
            (mark, rules) = look();
        }
        let now = holds(&rules, context.raft.now_ms());
        if std::mem::replace(&mut held, now.clone()) != now || is_other || is_read_again {
            renew(&context).await;
        }
    }
}

/// What addresses alone forbid is forbidden at once, and what names do as soon as they are looked up.
async fn renew(context: &Context) {
    let policy = |job| context.raft.read(|state| Policy::of_job(state, job));
    let at_ms = context.raft.now_ms();
    let rules = context.raft.read(|state| Policy::of(state, ""));
    let excluded = excluded_by(&rules, &context.permits.own.now(), at_ms);
    let addresses = excluded.as_ref().ok().cloned().unwrap_or_default();
    let is_all = matches!(&excluded, Ok(set) if set.name_count() == 0);
    let Renewed { mut touched, closed, mut distrusted } = context.permits.renew(policy, (&addresses, is_all), at_ms);
    if !closed.is_empty() {
        tracing::info!(units = closed.len(), "a window is over: units end early");
        context.units.end_early(&closed);
    }
    if !is_all {
        match resolved(excluded).await {
            Ok(exclude) => touched.extend(context.permits.renew(policy, (&exclude, true), at_ms).touched),
            Err(error) => {
                tracing::warn!(%error, "units are ended: an exclusion cannot be held to");
                distrusted.extend(context.permits.all());
            }
        }
    }
    if !distrusted.is_empty() {
        // At once, and with nothing counted any more.
        context.units.revoke(&distrusted);
    }
    if !touched.is_empty() {
        // Handed back at once: a lease that is held and not worked on would rest until the leader notices.
        tracing::info!(units = touched.len(), "the cluster's rules changed: units end, and begin anew under them");
        context.units.end_early(&touched);
    }
}

/// What the cluster's rules and this node's own file leave out at an instant.
fn excluded_by(policy: &Policy, own: &OwnRules, at_ms: u64) -> Result<TargetSet, TargetError> {
    let mut all = TargetSet::builder();
    all.add_set(&policy.excluded_at(at_ms)?);
    all.add_set(&own.excluded_at(at_ms)?);
    all.build_uncounted()
}

/// The spec with the addresses that names among its exclusions have for this node.
///
/// # Errors
/// A name without an address: what it protects is not known here.
pub(super) async fn within_exclusions(spec: Arc<ScanSpec>) -> Result<Arc<ScanSpec>, ScanError> {
    if spec.exclude.name_count() == 0 {
        return Ok(spec);
    }
    let resolving = tokio::task::spawn_blocking(move || {
        let exclude = exclusions::resolved(&spec.exclude, Unresolved::Refuse);
        exclude.map(|found| Arc::new(ScanSpec { exclude: found.exclude, ..ScanSpec::clone(&spec) }))
    });
    match resolving.await {
        Ok(resolved) => resolved.map_err(|error| ScanError::Exclusions { why: error.to_string() }),
        Err(error) => Err(ScanError::Exclusions { why: error.to_string() }),
    }
}

/// Exclusions with the addresses that their names have for this node.
async fn resolved(excluded: Result<TargetSet, TargetError>) -> Result<TargetSet, NotPermitted> {
    let excluded = excluded.map_err(ExclusionError::from)?;
    if excluded.name_count() == 0 {
        return Ok(excluded);
    }
    let looked_up = tokio::task::spawn_blocking(move || exclusions::resolved(&excluded, Unresolved::Refuse)).await;
    let looked_up = looked_up.map_err(|error| NotPermitted::Lookup(error.to_string()))?;
    Ok(looked_up.map(|found| found.exclude)?)
}

#[cfg(test)]
mod tests {
    use pentora_scanner::scope::Scope;

    use pentora_raft::command::{
        Author, Command, NewRule, Proposal, Rule, ScopeEffect, ScopeRule, UnitKey, When, WindowEffect, WindowRule,
    };

    use super::*;
    use crate::document::ScanRequest;
    use crate::orders;
    use crate::signing::{PersonKey, TrustedKey};

    const LEASE: LeaseRef = LeaseRef { unit: UnitKey { job: JobId(3), partition: 0, start: 0 }, epoch: 9 };

    fn spec(targets: &str) -> Arc<ScanSpec> {
        Arc::new(ScanSpec { partitions: vec![targets.parse().unwrap()], ..ScanSpec::default() })
    }

    fn policy(networks: &[&str], effect: ScopeEffect) -> Policy {
        let mut state = State::default();
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        let rule = Rule::Scope(ScopeRule { networks, tokens: Vec::new(), effect });
        let new = NewRule { name: "lab".into(), rule, reason: "r".into(), author: Author::default() };
        state.apply(1, &Proposal { at_ms: 1, command: Command::SetRule(Box::new(new)) });
        Policy::of(&state, "")
    }

    #[test]
    fn a_running_unit_is_kept_from_what_a_new_rule_forbids_and_begins_anew_only_where_that_touches_it() {
        let permits = Permits::default();
        let permit =
            permits.begin((LEASE, 256), &spec("10.0.0.0/24"), &Policy::default(), TargetSet::default()).unwrap();
        let elsewhere = policy(&["10.0.0.0/16"], ScopeEffect::Only);
        assert_eq!(
            permits.renew(|_| elsewhere.clone(), (&TargetSet::default(), true), 0).touched,
            [],
            "all of its targets stay"
        );
        assert!(!permit.get().scope.contains("10.1.0.1".parse().unwrap()));
        let half = policy(&["10.0.0.0/25"], ScopeEffect::Only);
        assert_eq!(permits.renew(|_| half.clone(), (&TargetSet::default(), true), 0).touched, [LEASE]);
        assert!(!permit.get().scope.contains("10.0.0.200".parse().unwrap()));
        let refused =
            permits.begin((LEASE, 256), &spec("10.0.0.0/24"), &half, TargetSet::default()).unwrap_err().to_string();
        assert!(refused.contains("scope `lab` lets everybody scan 10.0.0.0/25 alone"), "{refused}");
        permits.end(&LEASE);
        assert_eq!(permits.renew(|_| Policy::default(), (&TargetSet::default(), true), 0), Renewed::default());
    }

    #[test]
    fn a_new_exclusion_ends_the_units_that_have_it_among_their_targets() {
        let permits = Permits::default();
        let permit =
            permits.begin((LEASE, 256), &spec("10.0.0.0/24"), &Policy::default(), TargetSet::default()).unwrap();
        let exclude = |text: &str| text.parse::<TargetSet>().unwrap();
        assert_eq!(permits.renew(|_| Policy::default(), (&exclude("10.0.1.7"), true), 0).touched, []);
        assert_eq!(permits.renew(|_| Policy::default(), (&exclude("10.0.0.7"), true), 0).touched, [LEASE]);
        assert_eq!(permit.get().exclude, exclude("10.0.0.7"));
        // While a name is looked up again, what it stood for stays left out.
        permits.renew(|_| Policy::default(), (&exclude("10.0.0.9"), false), 0);
        assert_eq!(permit.get().exclude, exclude("10.0.0.7,10.0.0.9"));
        permits.renew(|_| Policy::default(), (&exclude("10.0.0.9"), true), 0);
        assert_eq!(permit.get().exclude, exclude("10.0.0.9"));
    }

    #[test]
    fn a_change_ends_those_units_alone_that_have_what_it_is_about() {
        let spec = Arc::new(ScanSpec { seed: 7, ..ScanSpec::clone(&spec("10.0.0.0/22")) });
        let plan = Plan::new(Arc::clone(&spec), 0).unwrap();
        let leases: Vec<LeaseRef> = (0..4)
            .map(|part| LeaseRef { unit: UnitKey { start: part * 256, ..LEASE.unit }, epoch: 10 + part })
            .collect();
        let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
        let holder = |text: &str| usize::try_from(plan.index_of(address(text)).unwrap() / 256).unwrap();
        // One address, and more than any unit has.
        for (excluded, only) in [("10.0.1.7", Some("10.0.1.7")), ("10.0.0.0-10.0.3.6,10.0.3.8-10.0.3.255", None)] {
            let permits = Permits::default();
            for lease in &leases {
                let end = lease.unit.start + 256;
                permits.begin((*lease, end), &spec, &Policy::default(), TargetSet::default()).unwrap();
            }
            let exclude = excluded.parse::<TargetSet>().unwrap();
            let touched = permits.renew(|_| Policy::default(), (&exclude, true), 0).touched;
            assert_eq!(touched, only.map_or_else(|| leases.clone(), |only| vec![leases[holder(only)]]), "{excluded}");
            // What comes back is begun anew as well, by whoever has it.
            let back = "10.0.0.0-10.0.3.6,10.0.3.8-10.0.3.254".parse::<TargetSet>().unwrap();
            let touched = permits.renew(|_| Policy::default(), (&back, true), 0).touched;
            assert_eq!(touched.len(), if only.is_some() { 4 } else { 1 });
            if only.is_none() {
                assert_eq!(touched, [leases[holder("10.0.3.255")]]);
            }
        }
    }

    #[test]
    fn a_unit_whose_window_is_over_is_told_so_and_the_others_go_on() {
        let mut state = State::default();
        let when = When::Once { from_ms: 10, until_ms: 20 };
        let networks = vec!["10.0.0.0/25".parse().unwrap()];
        let rule = Rule::Window(WindowRule { networks, when, effect: WindowEffect::Window });
        let new = NewRule { name: "nights".into(), rule, reason: String::new(), author: Author::default() };
        state.apply(1, &Proposal { at_ms: 1, command: Command::SetRule(Box::new(new)) });
        let (policy, permits) = (Policy::of(&state, ""), Permits::default());
        let other = LeaseRef { epoch: 10, ..LEASE };
        permits.begin((LEASE, 256), &spec("10.0.0.0/24"), &policy, TargetSet::default()).unwrap();
        permits.begin((other, 256), &spec("10.0.1.0/24"), &policy, TargetSet::default()).unwrap();
        assert_eq!(permits.renew(|_| policy.clone(), (&TargetSet::default(), true), 15), Renewed::default());
        assert_eq!(permits.renew(|_| policy.clone(), (&TargetSet::default(), true), 20).closed, [LEASE]);
        assert!(permits.closed(&LEASE).unwrap().starts_with("window `nights`") && permits.closed(&other).is_none());
    }

    #[test]
    fn a_unit_is_over_when_the_order_that_it_is_of_expires() {
        let (alice, now_ms) = (PersonKey::generate(), wall_ms());
        let trusted = TrustedKey { key: alice.public(), name: None };
        let permits = Permits::new(OwnFile::new(OwnRules::default().signed_by(vec![trusted])));
        let request = ScanRequest { targets: vec!["10.0.0.0/24".into()], services: false, ..ScanRequest::default() };
        let order = orders::to_carry(&orders::sign(&request, None, (now_ms, 60_000), &alice).unwrap());
        let partitions = vec!["10.0.0.0/24".parse().unwrap()];
        let spec = Arc::new(ScanSpec { partitions, order, reverse_dns: true, ..ScanSpec::default() });
        permits.begin((LEASE, 256), &spec, &Policy::default(), TargetSet::default()).unwrap();
        assert_eq!(permits.expired(now_ms + 59_999), []);
        assert_eq!(permits.expired(now_ms + 60_000), [LEASE]);
    }

    #[test]
    fn a_nodes_own_file_holds_against_what_the_cluster_allows() {
        let scope = Some(Scope::new(&["203.0.113.0/25".parse().unwrap()]));
        let permits = Permits::new(OwnFile::new(OwnRules::read(scope, &[], &[], &[]).unwrap()));
        let policy = policy(&["203.0.113.0/24"], ScopeEffect::Allow);
        permits.begin((LEASE, 256), &spec("203.0.113.7"), &policy, TargetSet::default()).unwrap();
        for outside in ["203.0.113.200", "10.0.0.1"] {
            let refused =
                permits.begin((LEASE, 256), &spec(outside), &policy, TargetSet::default()).unwrap_err().to_string();
            assert!(refused.contains(outside) && refused.contains("worker.scope in this node's own file"), "{refused}");
        }
        let refused =
            permits.begin((LEASE, 256), &spec("203.0.113.7"), &Policy::default(), TargetSet::default()).unwrap_err();
        assert!(matches!(refused, NotPermitted::ByPolicy(_)), "its own file does not widen");
    }
}
