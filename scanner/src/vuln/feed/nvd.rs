//! Feeds of the National Vulnerability Database, version 2.0: CPE patterns with ranges, in configurations.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use serde::Deserialize;

use super::products::{PLATFORMS_MAX, Products};
use super::rating::{Rating, Score};
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::vuln::advisory::{Advisory, Affected, Source, bounded, is_cve_id};
use crate::vuln::cpe::{Cpe, Value};
use crate::vuln::product;
use crate::vuln::version::Range;

#[derive(Deserialize)]
struct Element {
    cve: Option<Cve>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cve {
    id: String,
    published: Option<String>,
    vuln_status: Option<String>,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    configurations: Vec<Configuration>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metrics {
    #[serde(rename = "cvssMetricV40")]
    v4_0: Vec<Metric>,
    #[serde(rename = "cvssMetricV31")]
    v3_1: Vec<Metric>,
    #[serde(rename = "cvssMetricV30")]
    v3_0: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    cvss_data: Option<Score>,
}

/// Which products together are affected. CVE records of format 5.1 have the same under `cpeApplicability`.
#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    #[serde(default)]
    operator: Option<String>,
    #[serde(default)]
    negate: bool,
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default)]
    negate: bool,
    #[serde(default)]
    cpe_match: Vec<CpeMatch>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CpeMatch {
    #[serde(default)]
    vulnerable: bool,
    #[serde(default)]
    criteria: String,
    version_start_including: Option<String>,
    version_start_excluding: Option<String>,
    version_end_including: Option<String>,
    version_end_excluding: Option<String>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.elements("vulnerabilities", entry)
}

fn entry(element: Element) -> Result<Entry, String> {
    let cve = element.cve.ok_or("a record has no `cve`")?;
    if !is_cve_id(&cve.id) {
        return Err(format!("`{}` is no CVE id", bounded(&cve.id)));
    }
    if cve.vuln_status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("Rejected")) {
        return Ok(Entry::Withdrawn);
    }
    let metrics = [&cve.metrics.v4_0, &cve.metrics.v3_1, &cve.metrics.v3_0];
    let scores = metrics.iter().flat_map(|metrics| metrics.iter()).filter_map(|metric| metric.cvss_data.as_ref());
    let Rating { cvss, severity } = Rating::of(scores);
    Ok(Entry::Advisory(Box::new(Advisory {
        id: cve.id,
        aliases: Vec::new(),
        source: Source::Nvd,
        provider: "nvd".to_owned(),
        published: cve.published.and_then(|date| date.get(..10).map(str::to_owned)),
        title: None,
        severity,
        cvss,
        references: urls(&cve.references),
        affected: affected_of(&cve.configurations),
        kev: None,
        epss: None,
    })))
}

/// The products that configurations call vulnerable, those of one pattern and platform together.
pub(super) fn affected_of(configurations: &[Configuration]) -> Vec<Affected> {
    let mut products = Products::default();
    // Lists of platforms by their number, and products by key, pattern and number of their platforms.
    let mut lists: HashMap<Vec<String>, usize> = HashMap::new();
    let mut places: HashMap<(String, Option<String>, usize), usize> = HashMap::new();
    for configuration in configurations.iter().filter(|configuration| !configuration.negate) {
        let platforms = platforms_of(configuration);
        let next = lists.len();
        let list = *lists.entry(platforms.clone()).or_insert(next);
        let vulnerable = matches(configuration).filter(|found| found.vulnerable);
        for Match { key, cpe, range } in vulnerable.filter_map(Match::of) {
            if products.is_full() {
                return products.into_all();
            }
            match places.entry((key.clone(), cpe.clone(), list)) {
                Slot::Occupied(place) => products.add_range(*place.get(), range),
                Slot::Vacant(slot) => {
                    let (affected, platforms) = (vec![range], platforms.clone());
                    let affected = Affected { key, cpe, affected, platforms, ..Affected::default() };
                    if let Some(place) = products.add(affected) {
                        slot.insert(place);
                    }
                }
            }
        }
    }
    products.into_all()
}

fn matches(configuration: &Configuration) -> impl Iterator<Item = &CpeMatch> {
    configuration.nodes.iter().filter(|node| !node.negate).flat_map(|node| &node.cpe_match)
}

/// The systems that a configuration is about; none for any, also where they are too many to be kept.
fn platforms_of(configuration: &Configuration) -> Vec<String> {
    if !configuration.operator.as_deref().is_some_and(|operator| operator.eq_ignore_ascii_case("AND")) {
        return Vec::new();
    }
    let platforms = || matches(configuration).filter(|found| !found.vulnerable);
    if platforms().nth(PLATFORMS_MAX).is_some() {
        return Vec::new();
    }
    platforms().map(|found| bounded(&found.criteria)).collect()
}

/// What a pattern says is vulnerable.
struct Match {
    key: String,
    /// The pattern, where it says more than key and range.
    cpe: Option<String>,
    range: Range,
}

impl Match {
    fn of(found: &CpeMatch) -> Option<Self> {
        let pattern: Cpe = found.criteria.parse().ok()?;
        let key = pattern.product_key()?;
        let scheme = product::scheme_of(&key);
        let range = match pattern.version() {
            Value::Any => Range::all(scheme),
            // `-` means a product without versions, which no version is.
            Value::NotApplicable => return None,
            // A version with a wildcard is matched by its name, not by a range.
            Value::Text { .. } => {
                pattern.full_version().map_or(Range::all(scheme), |version| Range::exactly(scheme, version))
            }
        };
        let range = [
            (&found.version_start_including, Range::since as fn(Range, String) -> Range),
            (&found.version_start_excluding, Range::after),
            (&found.version_end_including, Range::through),
            (&found.version_end_excluding, Range::before),
        ]
        .into_iter()
        .fold(range, |range, (bound, limit)| {
            bound.as_deref().map_or(range.clone(), |bound| limit(range, bounded(bound)))
        });
        let cpe = (!pattern.says_only_versions()).then(|| bounded(&found.criteria));
        Some(Self { key, cpe, range })
    }
}
