//! The chain of reasons behind a match or its absence, for whoever doubts it.

use super::judge::{Told, holds, holds_among, judge};
use super::wording::source_of;
use super::{CONFIDENCE_COUNTED_MIN, Subject};
use crate::finding::{Service, plain_text};
use crate::vuln::advisory::Advisory;
use crate::vuln::version::Verdict;

/// Most ranges that are gone through one by one.
const RANGES_SHOWN_MAX: usize = 50;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// What was looked at, in a stable word: `identified`, `looked-up`, `distribution`, `source`, `range`, `verdict`,
    /// `confidence`, `exploited`, `likelihood`.
    pub about: &'static str,
    /// What was found, as a sentence.
    pub what: String,
}

/// Why `advisory` holds for `service`, or does not, or cannot be told: the steps in their order.
#[must_use]
pub fn explain(service: &Service, advisory: &Advisory) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |about, what: String| steps.push(Step { about, what: plain_text(&what).to_string() });
    let subjects = Subject::all_of(service);
    let speaks_of =
        |subject: &&Subject| advisory.affected.iter().any(|affected| subject.keys().contains(&affected.key));
    // The part that is affected, failing that one that the advisory speaks of, failing that the server itself.
    let is_affected =
        |subject: &&Subject| judge(subject, advisory).is_some_and(|judgement| judgement.verdict != Verdict::Outside);
    let found = subjects.iter().find(|subject| speaks_of(subject) && is_affected(subject));
    let Some(subject) = found.or_else(|| subjects.iter().find(speaks_of)).or(subjects.first()) else {
        step("identified", "The product is not known, so no advisory can be looked up.".to_owned());
        return steps;
    };
    let version = subject.version().map_or("without a version".to_owned(), |version| format!("version {version}"));
    let product = subject.name();
    step(
        "identified",
        format!(
            "{product} {version}, by rule {}, confidence {}.",
            service.rule.as_deref().unwrap_or("-"),
            subject.confidence()
        ),
    );
    let kind = if subject.is_guess() { "its bare name, a guess" } else { "its names in advisories" };
    step("looked-up", format!("By {kind}: {}.", subject.keys().join(", ")));
    step("distribution", distribution_of(subject));
    step("source", format!("{}, {}.", advisory.id, source_of(advisory)));
    explain_ranges(subject, advisory, &mut step);
    match judge(subject, advisory) {
        None => step("verdict", "Not a finding: the advisory says nothing of this product or package.".to_owned()),
        Some(judgement) => {
            let verdict = match judgement.verdict {
                Verdict::Inside => "Affected",
                Verdict::Possible => "Possibly affected, as only the first places of the version are told",
                Verdict::Outside => "Not affected",
                Verdict::Indeterminate => "Indeterminate, so not a finding",
            };
            step("verdict", format!("{verdict}, by {} of {}.", judgement.method, judgement.version(subject)));
            let confidence = judgement.method.confidence().min(subject.confidence());
            if matches!(judgement.verdict, Verdict::Inside | Verdict::Possible) {
                let counted = if confidence < CONFIDENCE_COUNTED_MIN { "potential, not counted" } else { "counted" };
                step("confidence", format!("{confidence} of 100, {counted} (from {CONFIDENCE_COUNTED_MIN} on)."));
            }
        }
    }
    if let Some(kev) = &advisory.kev {
        step("exploited", format!("In CISA's catalog since {}, ransomware: {}.", kev.added, kev.is_ransomware));
    }
    if let Some(epss) = &advisory.epss {
        step("likelihood", format!("EPSS {} millionths on {}.", epss.probability_millionths, epss.day));
    }
    steps
}

fn distribution_of(subject: &Subject) -> String {
    match subject.distribution() {
        None => "Nothing speaks for a distribution, so the version is taken as its makers' own.".to_owned(),
        Some(distribution) => {
            let release = distribution.release.as_deref().unwrap_or("of unknown release");
            match &distribution.package_version {
                Some(version) => format!("Shipped by {} {release} as package version {version}.", distribution.name),
                None => format!("Shipped by {} {release}; the package's revision is not shown.", distribution.name),
            }
        }
    }
}

fn explain_ranges(subject: &Subject, advisory: &Advisory, step: &mut impl FnMut(&'static str, String)) {
    let keys = subject.keys();
    let mut shown = 0;
    for affected in advisory.affected.iter().filter(|affected| keys.contains(&affected.key)) {
        let is_package = affected.key.contains('/');
        let version = if is_package {
            subject.distribution().and_then(|distribution| distribution.package_version.as_deref())
        } else {
            subject.version()
        };
        let told = if is_package { Told::Whole } else { Told::of(subject) };
        let name = affected
            .ecosystem
            .as_ref()
            .map_or_else(|| affected.key.clone(), |ecosystem| format!("{} in {ecosystem}", affected.key));
        let Some(version) = version else {
            step("range", format!("{name}: no version to compare."));
            continue;
        };
        if affected.is_default_affected {
            step("range", format!("{name}: affected unless a range says otherwise."));
        }
        let ranges = affected
            .affected
            .iter()
            .map(|range| (range, "affected"))
            .chain(affected.unaffected.iter().map(|range| (range, "unaffected")));
        for (range, status) in ranges {
            shown += 1;
            if shown > RANGES_SHOWN_MAX {
                step("range", format!("{name}: further ranges are left out here."));
                break;
            }
            let verdict = match told.in_range(range, version) {
                Verdict::Inside => "in it",
                Verdict::Possible => "short for some that are in it and some that are not",
                Verdict::Outside => "not in it",
                Verdict::Indeterminate => "no order between them",
            };
            step("range", format!("{name}, {status} {range} ({}): {version} is {verdict}.", range.scheme));
        }
        let alone = holds(affected, version, told);
        let together = if is_package { alone } else { holds_among(subject, advisory, affected, version) };
        if together != alone {
            let of_branch = match together {
                Verdict::Inside | Verdict::Possible => "not past the end of its own",
                Verdict::Outside => "past the end of its own",
                Verdict::Indeterminate => "of none of them, or of several",
            };
            step(
                "range",
                format!("{name}: several ranges end in one another, each for a branch; {version} is {of_branch}."),
            );
        }
        step("range", format!("{name} taken together: {together:?}.").to_lowercase());
    }
}
