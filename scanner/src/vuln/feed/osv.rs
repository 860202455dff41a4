//! Advisories in OSV's schema: packages of distributions and ecosystems, with events that open and close ranges.

use serde::Deserialize;
use serde_json::Value;

use super::lenient::{list, text, text_or_empty};
use super::osv_events::{Event, ranges};
use super::products::Products;
use super::rating::severity_of;
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::vuln::advisory::{Advisory, Affected, Cvss, RANGES_MAX, Source, bounded, package_key};
use crate::vuln::version::{Range, Scheme, Verdict};

/// Most aliases that are kept: an advisory of a distribution may correct a hundred CVEs at once.
const ALIASES_MAX: usize = 500;
/// Longest alias that is kept, in bytes: ids are below 40, and every row of an advisory repeats them.
const ALIAS_BYTES_MAX: usize = 64;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Record {
    #[serde(deserialize_with = "text")]
    id: Option<String>,
    #[serde(deserialize_with = "text")]
    modified: Option<String>,
    #[serde(deserialize_with = "text")]
    published: Option<String>,
    #[serde(deserialize_with = "text")]
    withdrawn: Option<String>,
    #[serde(deserialize_with = "text")]
    summary: Option<String>,
    #[serde(deserialize_with = "list")]
    aliases: Vec<String>,
    #[serde(deserialize_with = "list")]
    upstream: Vec<String>,
    #[serde(deserialize_with = "list")]
    affected: Vec<Package>,
    #[serde(deserialize_with = "list")]
    severity: Vec<Score>,
    #[serde(deserialize_with = "list")]
    references: Vec<Reference>,
    database_specific: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Score {
    #[serde(deserialize_with = "text_or_empty")]
    score: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Package {
    package: Option<Name>,
    #[serde(deserialize_with = "list")]
    ranges: Vec<Events>,
    #[serde(deserialize_with = "list")]
    versions: Vec<String>,
    #[serde(deserialize_with = "list")]
    severity: Vec<Score>,
    ecosystem_specific: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Name {
    #[serde(deserialize_with = "text_or_empty")]
    ecosystem: String,
    #[serde(deserialize_with = "text_or_empty")]
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Events {
    #[serde(rename = "type", deserialize_with = "text_or_empty")]
    kind: String,
    #[serde(deserialize_with = "list")]
    events: Vec<Event>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.documents(entry)
}

fn entry(record: Record) -> Result<Entry, String> {
    let Some(id) = record.id.filter(|id| !id.trim().is_empty()) else {
        return Err("it has no `id`".to_owned());
    };
    if record.modified.is_none() && record.affected.is_empty() && record.published.is_none() {
        return Err("it has neither `modified` nor `affected`".to_owned());
    }
    if record.withdrawn.is_some_and(|day| !day.trim().is_empty()) {
        return Ok(Entry::Withdrawn);
    }
    let scores = record.severity.iter().chain(record.affected.iter().flat_map(|package| &package.severity));
    let cvss = scores.clone().filter_map(|score| Cvss::of_vector(&score.score)).max_by_key(|cvss| cvss.score_tenths);
    let word = || scores.clone().find_map(|score| severity_of(&score.score));
    let severity = cvss.as_ref().map(Cvss::severity).or_else(word);
    let severity = severity.or_else(|| severity_of(record.database_specific.get("severity")?.as_str()?));
    let mut products = Products::default();
    for affected in record.affected.iter().filter_map(of_package) {
        if products.add(affected).is_none() {
            break;
        }
    }
    let affected = products.into_all();
    let aliases = record.aliases.iter().chain(&record.upstream).filter(|alias| alias.len() <= ALIAS_BYTES_MAX);
    Ok(Entry::Advisory(Box::new(Advisory {
        id: bounded(&id),
        aliases: aliases.take(ALIASES_MAX).cloned().collect(),
        source: Source::Osv,
        provider: affected.first().and_then(|affected| affected.ecosystem.clone()).unwrap_or_default(),
        published: record.published.or(record.modified).and_then(|date| date.get(..10).map(str::to_owned)),
        title: record.summary.as_deref().map(bounded),
        severity,
        cvss,
        references: urls(&record.references),
        affected,
        kev: None,
        epss: None,
    })))
}

/// How the packages of an ecosystem are ordered.
fn scheme_of(ecosystem: &str) -> Scheme {
    match ecosystem.split(':').next().unwrap_or_default() {
        "Debian" | "Ubuntu" | "Echo" => Scheme::Dpkg,
        "Alpine" | "Wolfi" | "Chainguard" | "Alpaquita" => Scheme::Apk,
        "Red Hat" | "Rocky Linux" | "AlmaLinux" | "SUSE" | "openSUSE" | "Mageia" | "openEuler" | "Photon OS"
        | "Azure Linux" => Scheme::Rpm,
        "npm" | "crates.io" | "Go" | "Hex" | "SwiftURL" | "Pub" => Scheme::Semver,
        _ => Scheme::Dotted,
    }
}

fn of_package(package: &Package) -> Option<Affected> {
    let name = package.package.as_ref().filter(|name| !name.ecosystem.is_empty() && !name.name.is_empty())?;
    let scheme = scheme_of(&name.ecosystem);
    let mut affected: Vec<Range> = Vec::new();
    for events in package.ranges.iter().filter(|range| !range.kind.eq_ignore_ascii_case("GIT")) {
        let scheme = if events.kind.eq_ignore_ascii_case("SEMVER") { Scheme::Semver } else { scheme };
        affected.extend(ranges(&events.events, scheme));
        affected.truncate(RANGES_MAX);
    }
    // A version is affected where it is listed, too; most lists repeat what the ranges say.
    let listed = package.versions.iter().map(|version| version.trim()).filter(|version| !version.is_empty());
    let in_ranges = affected.len();
    for version in listed.take(RANGES_MAX) {
        let is_known = affected.iter().take(in_ranges).any(|range| range.holds(version) == Verdict::Inside);
        if !is_known && affected.len() < RANGES_MAX {
            affected.push(Range::exactly(scheme, bounded(version)));
        }
    }
    // Debian's word for what is no weakness of its package, such as a program that is not built.
    let urgency = package.ecosystem_specific.get("urgency").and_then(Value::as_str);
    let says_something = !affected.is_empty() && urgency != Some("unimportant");
    says_something.then(|| Affected {
        key: package_key(&name.ecosystem, &name.name),
        ecosystem: Some(bounded(&name.ecosystem)),
        affected,
        ..Affected::default()
    })
}
