//! Advisories in OSV's schema: packages of distributions and ecosystems, with events that open and close ranges.

use serde::Deserialize;
use serde_json::Value;

use super::products::Products;
use super::rating::severity_of;
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::vuln::advisory::{Advisory, Affected, Cvss, RANGES_MAX, Source, bounded, package_key};
use crate::vuln::version::{Range, Scheme};

/// Most aliases that are kept: an advisory of a distribution may correct a hundred CVEs at once.
const ALIASES_MAX: usize = 500;
/// Longest alias that is kept, in bytes: ids are below 40, and every row of an advisory repeats them.
const ALIAS_BYTES_MAX: usize = 64;

#[derive(Deserialize)]
struct Record {
    id: Option<String>,
    modified: Option<String>,
    published: Option<String>,
    withdrawn: Option<String>,
    summary: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    #[serde(default)]
    affected: Vec<Package>,
    #[serde(default)]
    severity: Vec<Score>,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(default)]
    database_specific: Value,
}

#[derive(Deserialize)]
struct Score {
    #[serde(default)]
    score: String,
}

#[derive(Deserialize)]
struct Package {
    package: Option<Name>,
    #[serde(default)]
    ranges: Vec<Events>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Score>,
}

#[derive(Deserialize)]
struct Name {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Events {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.documents(entry)
}

fn entry(record: Record) -> Result<Entry, String> {
    let (Some(id), Some(modified)) = (record.id, record.modified) else {
        return Err("a record has no `id` or no `modified`".to_owned());
    };
    if record.withdrawn.is_some() {
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
        published: record.published.or(Some(modified)).and_then(|date| date.get(..10).map(str::to_owned)),
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
    let name = package.package.as_ref()?;
    let scheme = scheme_of(&name.ecosystem);
    let mut affected: Vec<Range> = Vec::new();
    for events in package.ranges.iter().filter(|range| range.kind != "GIT") {
        let scheme = if events.kind == "SEMVER" { Scheme::Semver } else { scheme };
        affected.extend(ranges(&events.events, scheme));
        affected.truncate(RANGES_MAX);
    }
    if affected.is_empty() {
        affected
            .extend(package.versions.iter().take(RANGES_MAX).map(|version| Range::exactly(scheme, bounded(version))));
    }
    let says_something = !affected.is_empty();
    says_something.then(|| Affected {
        key: package_key(&name.ecosystem, &name.name),
        ecosystem: Some(bounded(&name.ecosystem)),
        affected,
        ..Affected::default()
    })
}

/// Events in their order: `introduced` opens a range, `fixed` or `last_affected` closes it.
fn ranges(events: &[Event], scheme: Scheme) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut open: Option<Range> = None;
    for event in events {
        if let Some(introduced) = &event.introduced {
            ranges.extend(open.take());
            let range = Range::all(scheme);
            open = Some(if introduced == "0" { range } else { range.since(bounded(introduced)) });
        } else if let Some(fixed) = &event.fixed {
            ranges.extend(open.take().map(|range| range.before(bounded(fixed))));
        } else if let Some(last) = &event.last_affected {
            ranges.extend(open.take().map(|range| range.through(bounded(last))));
        }
    }
    ranges.extend(open);
    ranges
}
