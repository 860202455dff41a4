//! Whether one advisory holds for one subject, and by which method.

use super::{Method, Subject};
use crate::vuln::advisory::{Advisory, Affected, Source};
use crate::vuln::cpe::{Cpe, Relation};
use crate::vuln::version::{Bound, Range, Verdict, by_branch, without_repack};

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
            is_affected: matches!(self.verdict, Verdict::Inside | Verdict::Possible),
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
    let judgements = affected.filter_map(|affected| judge_product(subject, advisory, affected));
    // Several entries of one source do not contradict each other: in one of them is in, as for ranges.
    judgements.max_by_key(|judgement| match judgement.verdict {
        Verdict::Inside => (3, judgement.method),
        Verdict::Possible => (2, judgement.method),
        Verdict::Indeterminate => (1, judgement.method),
        Verdict::Outside => (0, judgement.method),
    })
}

/// A package of a distribution: its revision decides, in the ranges of its release.
fn judge_package(subject: &Subject, advisory: &Advisory) -> Option<Judgement> {
    let distribution = subject.distribution()?;
    let version = distribution.package_version.as_deref()?;
    let keys = subject.keys();
    let known =
        advisory.affected.iter().filter(|affected| keys.contains(&affected.key) && is_of_line(&affected.key, version));
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
        any(of_release.into_iter().map(|affected| holds(affected, version, Told::Whole)))
    };
    Some(Judgement { verdict, method: Method::PackageRange, rank: advisory.source.rank() })
}

/// Whether the package behind `key` can have this version, where its name tells its line: `debian/php8.2` has no 7.4.
fn is_of_line(key: &str, version: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let line = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let is_line = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let rest = version.split_once(':').map_or(version, |(_, rest)| rest).strip_prefix(line);
    !is_line || rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Without a release, the one is taken whose correction is of the same upstream version; failing that, only what is
/// corrected everywhere is known: another release may have corrected the older version.
fn of_unknown_release(candidates: &[&Affected], version: &str) -> Option<Verdict> {
    let upstream = |version: &str| {
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        let version = without_repack(version);
        version.rsplit_once('-').map_or(&*version, |(upstream, _)| upstream).to_owned()
    };
    let own = upstream(version);
    let same = candidates.iter().filter(|affected| affected.fixed().iter().any(|fixed| upstream(fixed) == own));
    let same: Vec<Verdict> = same.map(|affected| holds(affected, version, Told::Whole)).collect();
    if candidates.is_empty() {
        return None;
    }
    let Some((first, rest)) = same.split_first() else {
        let is_corrected = candidates.iter().all(|affected| holds(affected, version, Told::Whole) == Verdict::Outside);
        return Some(if is_corrected { Verdict::Outside } else { Verdict::Indeterminate });
    };
    Some(if rest.iter().all(|verdict| verdict == first) { *first } else { Verdict::Indeterminate })
}

/// A product by the version of its makers.
fn judge_product(subject: &Subject, advisory: &Advisory, affected: &Affected) -> Option<Judgement> {
    let (source, rank) = (advisory.source, advisory.source.rank());
    let judgement = |verdict, method| Some(Judgement { verdict, method, rank });
    let platform = platform_of(subject, affected);
    let Some(version) = subject.version() else {
        let is_all = affected.affected.iter().any(Range::is_all)
            || (affected.is_default_affected && affected.affected.is_empty());
        let is_whole = is_all && affected.unaffected.is_empty() && platform == Some(true);
        return if is_whole { judgement(Verdict::Inside, Method::ProductOnly) } else { None };
    };
    if platform == Some(false) {
        return judgement(Verdict::Outside, Method::VersionRangePlatform);
    }
    let method = method_of(subject, source, platform.is_some());
    match holds_among(subject, advisory, affected, version) {
        // A major version alone says nothing of a weakness.
        Verdict::Possible if !version.contains('.') => judgement(Verdict::Indeterminate, method),
        Verdict::Possible => judgement(Verdict::Possible, method.min(Method::VersionRangeShortened)),
        verdict => judgement(verdict, method),
    }
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
        let name = subject.cpe(&affected.key, pattern.part())?;
        // A wildcard in the version is matched here, since no range can say it.
        let has_version = pattern.version().literal().is_some() || *pattern.version() == crate::vuln::cpe::Value::Any;
        let relation = if has_version { pattern.product_relation(&name) } else { pattern.relation(&name) };
        match relation {
            Some(Relation::Equal | Relation::Superset) => Some(true),
            Some(Relation::Disjoint) => Some(false),
            Some(Relation::Subset) | None => None,
        }
    });
    match (edition, subject.runs_on(&affected.platforms)) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// How much of a version was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All of it.
    Whole,
    /// All of it, or its first places.
    Front,
    /// Its first places.
    Cut,
}

impl Told {
    pub(super) fn of(subject: &Subject) -> Self {
        match (subject.is_whole(), subject.is_cut()) {
            (_, true) => Self::Cut,
            (true, false) => Self::Whole,
            (false, false) => Self::Front,
        }
    }

    /// Whether `version` is in `range`.
    pub(super) fn in_range(self, range: &Range, version: &str) -> Verdict {
        match self {
            Self::Whole => range.holds(version),
            Self::Front | Self::Cut => range.holds_shortened(version, self == Self::Cut),
        }
    }
}

/// Whether `version`, of which so much is `told`, is affected by what is said of the product.
pub(super) fn holds(affected: &Affected, version: &str, told: Told) -> Verdict {
    let in_any = |ranges: &[Range]| any(ranges.iter().map(|range| told.in_range(range, version)));
    let is_affected = match in_any(&affected.affected) {
        Verdict::Outside if affected.is_default_affected => by_default(affected, version),
        verdict => verdict,
    };
    match (is_affected, in_any(&affected.unaffected)) {
        (Verdict::Outside, _) | (_, Verdict::Inside) => Verdict::Outside,
        (Verdict::Indeterminate, _) | (_, Verdict::Indeterminate) => Verdict::Indeterminate,
        (Verdict::Possible, _) | (_, Verdict::Possible) => Verdict::Possible,
        (Verdict::Inside, Verdict::Outside) => Verdict::Inside,
    }
}

/// Whether `version` is affected by what is said of the product, and by what else the advisory says of it on the same
/// systems: one entry for each branch is one list of ends.
pub(super) fn holds_among(subject: &Subject, advisory: &Advisory, affected: &Affected, version: &str) -> Verdict {
    let told = Told::of(subject);
    let verdict = holds(affected, version, told);
    if verdict != Verdict::Inside || (affected.affected.is_empty() && affected.is_default_affected) {
        return verdict;
    }
    let is_same = |other: &&Affected| {
        let is_of_product = other.key == affected.key || subject.keys().contains(&other.key);
        is_of_product && other.cpe == affected.cpe && other.platforms == affected.platforms
    };
    let ranges = advisory.affected.iter().filter(is_same).flat_map(|other| &other.affected);
    by_branch(ranges, version, |range| told.in_range(range, version)).unwrap_or(verdict)
}

/// What a product that is affected by default says of a version that is in none of its ranges.
///
/// Records that list what is affected, and leave the default at `affected`, mean their list: a version behind a range
/// is corrected. What is older than all of it, or lies between it and what is listed as unaffected, cannot be told.
fn by_default(affected: &Affected, version: &str) -> Verdict {
    if affected.affected.is_empty() {
        return beside_the_unaffected(&affected.unaffected, version);
    }
    let is_older = |range: &Range| {
        let before = |from: &Bound| Range {
            from: None,
            to: Some(Bound { is_inclusive: !from.is_inclusive, ..from.clone() }),
            ..range.clone()
        };
        range.from.as_ref().is_some_and(|from| before(from).holds(version) != Verdict::Outside)
    };
    let is_doubtful = !affected.unaffected.is_empty() || affected.affected.iter().all(is_older);
    if is_doubtful { Verdict::Indeterminate } else { Verdict::Outside }
}

/// What a product that is affected but for some versions says of one that is in none of them.
///
/// Records name single versions as unaffected where they mean that the correction begins there, and end at the branches
/// that there were when they were written: a version behind one or the other cannot be told.
fn beside_the_unaffected(unaffected: &[Range], version: &str) -> Verdict {
    let is_past = |range: &&Range| {
        range.from.is_some() && Range { to: None, ..(*range).clone() }.holds(version) != Verdict::Outside
    };
    let is_past_all = unaffected.iter().all(|range| is_past(&range));
    let is_single = |range: &Range| range.from == range.to;
    let is_doubtful = unaffected.iter().filter(is_past).any(|range| is_past_all || is_single(range));
    if is_doubtful { Verdict::Indeterminate } else { Verdict::Inside }
}

/// In one of them is in; otherwise what may be stays so, and then what cannot be told.
fn any(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut found = Verdict::Outside;
    for verdict in verdicts {
        match verdict {
            Verdict::Inside => return Verdict::Inside,
            Verdict::Possible => found = Verdict::Possible,
            Verdict::Indeterminate if found == Verdict::Outside => found = Verdict::Indeterminate,
            Verdict::Indeterminate | Verdict::Outside => {}
        }
    }
    found
}
