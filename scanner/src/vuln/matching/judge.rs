//! Whether one advisory holds for one subject, and by which method.

use super::{Method, Subject};
use crate::vuln::advisory::{Advisory, Affected, Source};
use crate::vuln::cpe::{Cpe, Relation};
use crate::vuln::version::{Range, Verdict};

/// What one source says of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Whether it is affected.
    pub verdict: Verdict,
    /// How that was found.
    pub method: Method,
    rank: u8,
}

/// What a judgement counts beside another; the first that differs decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    can_tell: bool,
    rank: u8,
    is_affected: bool,
    method: Method,
}

impl Judgement {
    /// What a source that orders the makers' versions says of a subject that is of the edition and platform meant.
    pub(super) fn of_version(verdict: Verdict, subject: &Subject, source: Source) -> Self {
        Self { verdict, method: method_of(subject, source, true), rank: source.rank() }
    }

    /// The version of `subject` that was compared.
    pub(super) fn version(self, subject: &Subject) -> &str {
        let of_package = || subject.distribution().and_then(|distribution| distribution.package_version.as_deref());
        let version = if self.method == Method::PackageRange { of_package() } else { subject.version() };
        version.unwrap_or_default()
    }

    /// What decides between two: being able to tell, then the better source, then being affected, then the method.
    pub(super) fn weight(self) -> Weight {
        Weight {
            can_tell: self.verdict != Verdict::Indeterminate,
            rank: self.rank,
            is_affected: self.verdict == Verdict::Inside,
            method: self.method,
        }
    }
}

/// What `advisory` says of `subject`; `None` where it says nothing of it.
pub(super) fn judge(subject: &Subject, advisory: &Advisory) -> Option<Judgement> {
    if advisory.source == Source::Osv {
        return judge_package(subject, advisory);
    }
    let affected = advisory.affected.iter().filter(|affected| subject.keys().contains(&affected.key));
    let judgements = affected.filter_map(|affected| judge_product(subject, advisory.source, affected));
    // Several entries of one source do not contradict each other: in one of them is in, as for ranges.
    judgements.max_by_key(|judgement| match judgement.verdict {
        Verdict::Inside => (2, judgement.method),
        Verdict::Indeterminate => (1, judgement.method),
        Verdict::Outside => (0, judgement.method),
    })
}

/// A package of a distribution: its revision decides, in the ranges of its release.
fn judge_package(subject: &Subject, advisory: &Advisory) -> Option<Judgement> {
    let distribution = subject.distribution()?;
    let version = distribution.package_version.as_deref()?;
    let keys = subject.keys();
    let known = advisory.affected.iter().filter(|affected| keys.contains(&affected.key));
    let (mut of_release, mut of_any) = (Vec::new(), Vec::new());
    for affected in known {
        match distribution.is_of(affected.ecosystem.as_deref().unwrap_or_default()) {
            Some(true) => of_release.push(affected),
            Some(false) => {}
            None => of_any.push(affected),
        }
    }
    let verdict = if of_release.is_empty() {
        of_unknown_release(&of_any, version)?
    } else {
        any(of_release.into_iter().map(|affected| holds(affected, version)))
    };
    Some(Judgement { verdict, method: Method::PackageRange, rank: advisory.source.rank() })
}

/// Without a release, the one is taken whose correction is of the same upstream version; failing that, what all agree
/// on.
fn of_unknown_release(candidates: &[&Affected], version: &str) -> Option<Verdict> {
    let upstream = |version: &str| {
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        version.rsplit_once('-').map_or(version, |(upstream, _)| upstream).to_owned()
    };
    let own = upstream(version);
    let same = candidates.iter().filter(|affected| affected.fixed().iter().any(|fixed| upstream(fixed) == own));
    let same: Vec<Verdict> = same.map(|affected| holds(affected, version)).collect();
    let verdicts =
        if same.is_empty() { candidates.iter().map(|affected| holds(affected, version)).collect() } else { same };
    let (first, rest) = verdicts.split_first()?;
    Some(if rest.iter().all(|verdict| verdict == first) { *first } else { Verdict::Indeterminate })
}

/// A product by the version of its makers.
fn judge_product(subject: &Subject, source: Source, affected: &Affected) -> Option<Judgement> {
    let rank = source.rank();
    let judgement = |verdict, method| Some(Judgement { verdict, method, rank });
    let platform = platform_of(subject, affected);
    let Some(version) = subject.version() else {
        let is_all = affected.affected.iter().any(Range::is_all)
            || (affected.is_default_affected && affected.affected.is_empty());
        let is_whole = is_all && affected.unaffected.is_empty() && affected.cpe.is_none() && platform == Some(true);
        return if is_whole { judgement(Verdict::Inside, Method::ProductOnly) } else { None };
    };
    if platform == Some(false) {
        return judgement(Verdict::Outside, Method::VersionRangePlatform);
    }
    judgement(holds(affected, version), method_of(subject, source, platform.is_some()))
}

fn method_of(subject: &Subject, source: Source, is_platform_known: bool) -> Method {
    match source {
        _ if subject.distribution().is_some() => Method::VersionRangeDistro,
        _ if subject.is_guess() => Method::VersionRangeGuess,
        _ if !is_platform_known => Method::VersionRangePlatform,
        Source::Nvd => Method::CpeRange,
        Source::Cve | Source::Osv => Method::VersionRange,
    }
}

/// Whether the subject is the edition, and on a platform, that is meant; `None` where that is not known.
fn platform_of(subject: &Subject, affected: &Affected) -> Option<bool> {
    let edition = affected.cpe.as_ref().map_or(Some(true), |pattern| {
        let pattern: Cpe = pattern.parse().ok()?;
        let name = subject.cpe(&affected.key)?;
        // A wildcard in the version is matched here, since no range can say it.
        let has_version = pattern.version().literal().is_some() || *pattern.version() == crate::vuln::cpe::Value::Any;
        let relation = if has_version { pattern.product_relation(&name) } else { pattern.relation(&name) };
        match relation {
            Some(Relation::Equal | Relation::Superset) => Some(true),
            Some(Relation::Disjoint) => Some(false),
            Some(Relation::Subset) | None => None,
        }
    });
    let mut is_known = false;
    let runs_on = affected.platforms.is_empty()
        || affected.platforms.iter().filter_map(|pattern| pattern.parse::<Cpe>().ok()).any(|pattern| {
            subject.platforms().any(|name| {
                is_known = true;
                // The version of a system is rarely known, so only its name is compared.
                matches!(pattern.product_relation(name), Some(Relation::Equal | Relation::Superset))
            })
        });
    match (edition, runs_on) {
        (Some(false), _) => Some(false),
        (_, false) if is_known => Some(false),
        (Some(true), true) => Some(true),
        _ => None,
    }
}

/// Whether `version` is affected by what is said of the product.
pub(super) fn holds(affected: &Affected, version: &str) -> Verdict {
    let in_any = |ranges: &[Range]| any(ranges.iter().map(|range| range.holds(version)));
    let is_affected = match in_any(&affected.affected) {
        Verdict::Outside if affected.is_default_affected => Verdict::Inside,
        verdict => verdict,
    };
    match (is_affected, in_any(&affected.unaffected)) {
        (Verdict::Outside, _) | (_, Verdict::Inside) => Verdict::Outside,
        (_, Verdict::Indeterminate) | (Verdict::Indeterminate, _) => Verdict::Indeterminate,
        (Verdict::Inside, Verdict::Outside) => Verdict::Inside,
    }
}

/// In one of them is in; otherwise what cannot be told stays so.
fn any(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut found = Verdict::Outside;
    for verdict in verdicts {
        match verdict {
            Verdict::Inside => return Verdict::Inside,
            Verdict::Indeterminate => found = Verdict::Indeterminate,
            Verdict::Outside => {}
        }
    }
    found
}
