//! What a request asks for wherever it is read, and whether a job's spec is within what somebody signed.
//!
//! A cluster narrows what it is asked for: it parts the targets by who reaches them, leaves out what its rules exclude, and
//! takes lower rates. So a spec is never what was signed to the byte; it must lie within it, and be the same in everything that
//! has no less and more.

use pentora_scanner::detect::{DEFAULT_INTENSITY, INTENSITY_MAX};
use pentora_scanner::spec::{Profile, ScanSpec};
use pentora_scanner::target::TargetSet;

use super::{RefusedRequest, ports, profile, sets_of};
use crate::clock::wall_ms;
use crate::document::{Resolve, ScanRequest};
use crate::orders::{self, Order, Verified};

/// How a job goes beyond what was signed, or differs from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// The request beside the order is another.
    #[error("the order was signed for another request: sign what is asked for")]
    AnotherRequest,
    /// A target that was not signed.
    #[error("the order does not ask for {range} to be scanned")]
    Target {
        /// The first of them.
        range: String,
    },
    /// Something that was to be left out.
    #[error("the order leaves {range} out, and the job does not")]
    Exclusion {
        /// The first of them.
        range: String,
    },
    /// Faster than was signed.
    #[error("the order allows {what} of {signed} probes per second at most, and the job says {found}")]
    Rate {
        /// Which rate.
        what: &'static str,
        /// What was signed.
        signed: u64,
        /// What the job says.
        found: String,
    },
    /// Another choice.
    #[error("the job's {what} is not what the order asks for")]
    Choice {
        /// Of what.
        what: &'static str,
    },
    /// What was signed cannot be read without the cluster.
    #[error(
        "an order that is signed names a built-in profile or none: what a cluster's own says, the cluster may change"
    )]
    Profile,
    /// What was signed is no request.
    #[error("what the order asks for makes no sense: {0}")]
    Request(String),
    /// Somebody may have signed it, but not a part of this request.
    #[error("no worker tag begins with `signed-by:`")]
    Tag,
}

/// The order of a request, verified, in force, and of this request; `None` for one that nobody signed.
///
/// # Errors
/// [`RefusedRequest::Order`] and [`RefusedRequest::NotAsked`].
pub(super) fn order_of(request: &ScanRequest) -> Result<Option<Verified>, RefusedRequest> {
    let mut tags = request.require_worker_tags.iter().chain(&request.worker_tags);
    if tags.any(|tag| pentora_raft::state::signer_in(tag).is_some()) {
        return Err(NotAsked::Tag.into());
    }
    let Some(signed) = &request.order else { return Ok(None) };
    let verified = orders::verify(signed)?;
    verified.order.holds_at(wall_ms())?;
    if !verified.order.asks_for(request) {
        return Err(NotAsked::AnotherRequest.into());
    }
    Ok(Some(verified))
}

/// What a request that its profile has completed asks for, without its targets and what is left out of them.
///
/// # Errors
/// Fields that do not read, or do not go together.
pub(super) fn spec_of(request: &ScanRequest, profile: Profile, seed: u64) -> Result<ScanSpec, RefusedRequest> {
    let (ports, discovery, exclude_ports) = ports::ports_and_discovery(request)?;
    let default = ScanSpec::default();
    let services = services_of(request, profile)?;
    Ok(ScanSpec {
        partitions: Vec::new(),
        ports,
        exclude_ports,
        exclude: TargetSet::default(),
        discovery,
        rate_pps: request.rate,
        max_rate_pps: request.max_rate,
        network_rate_pps: request.network_rate,
        host_rate_pps: request.host_rate,
        timing: request.timing.unwrap_or(default.timing),
        confidence: request.confidence.unwrap_or(default.confidence),
        retries: request.retries,
        banners: request.banners && services.is_none(),
        engine: request.engine.unwrap_or(default.engine),
        seed,
        profile,
        services,
        weaknesses: request.weaknesses && services.is_some(),
        // Single SYNs are all that this profile sends, to fragile ports as well.
        allow_fragile: request.allow_fragile && profile != Profile::OtSafe,
        notes: Vec::new(),
        first_address: request.resolve == Some(Resolve::First),
        reverse_dns: request.reverse_dns != Some(false),
        order: None,
    })
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

/// Whether a spec is within what was signed, whoever made it.
///
/// # Errors
/// [`NotAsked`]: the first thing that is not.
pub fn covers(order: &Order, spec: &ScanSpec) -> Result<(), NotAsked> {
    let nonsense = |error: &dyn std::fmt::Display| NotAsked::Request(error.to_string());
    let (request, profile) = profile::complete_built_in(order.request.clone()).ok_or(NotAsked::Profile)?;
    if request.seed.is_some_and(|seed| seed != spec.seed) {
        return Err(NotAsked::Choice { what: "seed" });
    }
    let asked = spec_of(&request, profile, spec.seed).map_err(|error| nonsense(&error))?;
    let (targets, exclude, _sampled) = sets_of(&request, spec.seed).map_err(|error| nonsense(&error))?;
    let allowed = targets.exclude(&exclude);
    for part in &spec.partitions {
        if let Some(range) = first_of(&part.exclude(&allowed)) {
            return Err(NotAsked::Target { range });
        }
    }
    if let Some(range) = first_of(&exclude.exclude(&spec.exclude)) {
        return Err(NotAsked::Exclusion { range });
    }
    within_rates(&asked, spec)?;
    same_choices(&asked, spec)
}

/// The first range or name of a set, for people; `None` where it is empty.
fn first_of(set: &TargetSet) -> Option<String> {
    let range = set.ranges().next().map(|range| range.to_string());
    range.or_else(|| set.names().next().map(str::to_owned))
}

fn within_rates(asked: &ScanSpec, spec: &ScanSpec) -> Result<(), NotAsked> {
    for (what, signed, found) in [
        ("a rate", asked.rate_pps, spec.rate_pps),
        ("a highest rate", asked.max_rate_pps, spec.max_rate_pps),
        ("a rate into one network", asked.network_rate_pps, spec.network_rate_pps),
        ("a rate to one host", asked.host_rate_pps, spec.host_rate_pps),
    ] {
        let Some(signed) = signed else { continue };
        if found.is_none_or(|found| found > signed) {
            let found = found.map_or_else(|| "nothing of it".to_owned(), |found| found.to_string());
            return Err(NotAsked::Rate { what, signed, found });
        }
    }
    Ok(())
}

fn same_choices(asked: &ScanSpec, spec: &ScanSpec) -> Result<(), NotAsked> {
    let choices = [
        // A rate that is set is begun with at once, and not come to.
        ("whether there is a rate", asked.rate_pps.is_some() == spec.rate_pps.is_some()),
        ("ports", asked.ports == spec.ports),
        ("excluded ports", asked.exclude_ports == spec.exclude_ports),
        ("discovery", asked.discovery == spec.discovery),
        ("profile", asked.profile == spec.profile),
        ("engine", asked.engine == spec.engine),
        ("timing", asked.timing == spec.timing),
        ("confidence", asked.confidence.to_bits() == spec.confidence.to_bits()),
        ("retries", asked.retries == spec.retries),
        ("banners", asked.banners == spec.banners),
        ("services", asked.services == spec.services),
        ("weaknesses", asked.weaknesses == spec.weaknesses),
        ("allow_fragile", asked.allow_fragile == spec.allow_fragile),
        ("resolve", asked.first_address == spec.first_address),
        ("reverse_dns", asked.reverse_dns == spec.reverse_dns),
    ];
    match choices.into_iter().find(|(_, is_same)| !is_same) {
        None => Ok(()),
        Some((what, _)) => Err(NotAsked::Choice { what }),
    }
}

#[cfg(test)]
mod tests {
    use pentora_scanner::spec::EngineChoice;

    use super::*;
    use crate::signing::PersonKey;

    fn order(request: ScanRequest) -> Order {
        let signed = orders::sign(&request, None, (1, 1_000), &PersonKey::generate()).unwrap();
        orders::verify(&signed).unwrap().order
    }

    fn request() -> ScanRequest {
        ScanRequest {
            targets: vec!["10.0.0.0/24".into(), "web.lab".into()],
            exclude: vec!["10.0.0.9,printer.lab".into()],
            ports: Some("22,80".into()),
            rate: Some(100),
            network_rate: Some(10),
            ..ScanRequest::default()
        }
    }

    /// What a cluster makes of the request.
    fn spec() -> ScanSpec {
        let part = |text: &str| text.parse::<TargetSet>().unwrap();
        ScanSpec {
            partitions: vec![part("10.0.0.0-10.0.0.8,10.0.0.10-10.0.0.127"), part("10.0.0.128/25,web.lab")],
            exclude: "10.0.0.9,10.0.0.200,printer.lab".parse().unwrap(),
            notes: vec!["a note".into()],
            ..spec_of(&request(), Profile::Default, 7).unwrap()
        }
    }

    #[test]
    fn what_a_cluster_narrows_is_within_the_order_and_every_step_beyond_it_is_named() {
        let order = order(request());
        assert_eq!(covers(&order, &spec()), Ok(()));
        assert_eq!(covers(&order, &ScanSpec { rate_pps: Some(99), network_rate_pps: Some(1), ..spec() }), Ok(()));
        let with = |text: &str| ScanSpec { partitions: vec![text.parse().unwrap()], ..spec() };
        let without = |text: &str| ScanSpec { exclude: text.parse().unwrap(), ..spec() };
        for (spec, part) in [
            (with("10.0.1.0/24"), "does not ask for 10.0.1.0/24"),
            (with("10.0.0.9"), "does not ask for 10.0.0.9"),
            (with("other.lab"), "does not ask for other.lab"),
            (with("10.0.0.0-10.0.1.3"), "does not ask for 10.0.0.9"),
            (without("printer.lab"), "leaves 10.0.0.9 out"),
            (without("10.0.0.9"), "leaves printer.lab out"),
            (ScanSpec { rate_pps: Some(101), ..spec() }, "100 probes per second at most, and the job says 101"),
            (ScanSpec { rate_pps: None, ..spec() }, "says nothing of it"),
            (ScanSpec { network_rate_pps: Some(11), ..spec() }, "into one network"),
            (ScanSpec { ports: "22,80,443".parse().unwrap(), ..spec() }, "ports is not"),
            (ScanSpec { ports: "22".parse().unwrap(), ..spec() }, "ports is not"),
            (ScanSpec { engine: EngineChoice::Connect, ..spec() }, "engine is not"),
            (ScanSpec { allow_fragile: true, ..spec() }, "allow_fragile is not"),
            (ScanSpec { services: Some(9), ..spec() }, "services is not"),
            (ScanSpec { profile: Profile::OtSafe, ..spec() }, "profile is not"),
            (ScanSpec { discovery: Vec::new(), ..spec() }, "discovery is not"),
            (ScanSpec { confidence: 0.9, ..spec() }, "confidence is not"),
        ] {
            let error = covers(&order, &spec).unwrap_err().to_string();
            assert!(error.contains(part), "{error} without {part}");
        }
    }

    #[test]
    fn a_seed_that_was_signed_holds_and_a_profile_that_only_the_cluster_knows_cannot_be_signed() {
        let seeded = order(ScanRequest { seed: Some(8), ..request() });
        assert_eq!(covers(&seeded, &spec()), Err(NotAsked::Choice { what: "seed" }));
        assert_eq!(covers(&seeded, &ScanSpec { seed: 8, ..spec() }), Ok(()));
        let named = order(ScanRequest { profile: Some("ours".into()), ..request() });
        assert_eq!(covers(&named, &spec()), Err(NotAsked::Profile));
        let quick = ScanRequest { profile: Some("ot-safe".into()), targets: vec!["10.0.0.0/24".into()], ..request() };
        let (completed, profile) = profile::complete_built_in(quick.clone()).unwrap();
        let made = ScanSpec {
            partitions: vec!["10.0.0.0/28".parse().unwrap()],
            exclude: spec().exclude,
            ..spec_of(&completed, profile, 7).unwrap()
        };
        // Its name among the exclusions alone is of no address yet.
        assert_eq!(covers(&order(quick), &made), Err(NotAsked::Target { range: "10.0.0.9".into() }));
    }
}
