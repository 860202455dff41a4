//! CVE records, format 5: the numbering authority's own container, and what others (ADP) added to it.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;

use super::nvd::{Configuration, affected_of};
use super::products::Products;
use super::rating::{Rating, Score};
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::vuln::advisory::{Advisory, Affected, RANGES_MAX, Source, bounded, is_cve_id, product_key};
use crate::vuln::cpe::Cpe;
use crate::vuln::product;
use crate::vuln::version::{Range, Scheme};

/// Most names that one product is looked up by: its versions are kept for each of them.
const NAMES_MAX: usize = 16;
/// Words that stand where nothing is known.
const NOTHING: [&str; 8] = ["", "n/a", "-", "unspecified", "unknown", "none", "not specified", "[unknown]"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    data_type: Option<String>,
    cve_metadata: Option<Metadata>,
    #[serde(default)]
    containers: Containers,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    cve_id: String,
    #[serde(default)]
    state: String,
    assigner_short_name: Option<String>,
    date_published: Option<String>,
}

#[derive(Deserialize, Default)]
struct Containers {
    cna: Option<Container>,
    #[serde(default)]
    adp: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    title: Option<String>,
    affected: Vec<Product>,
    cpe_applicability: Vec<Configuration>,
    metrics: Vec<Metric>,
    references: Vec<Reference>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Product {
    vendor: Option<String>,
    product: Option<String>,
    package_name: Option<String>,
    cpes: Vec<String>,
    default_status: Option<String>,
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Version {
    version: String,
    status: String,
    version_type: Option<String>,
    less_than: Option<String>,
    less_than_or_equal: Option<String>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    at: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metric {
    #[serde(rename = "cvssV4_0")]
    v4_0: Option<Score>,
    #[serde(rename = "cvssV3_1")]
    v3_1: Option<Score>,
    #[serde(rename = "cvssV3_0")]
    v3_0: Option<Score>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.documents(entry)
}

fn entry(record: Record) -> Result<Entry, String> {
    let metadata = match (record.data_type.as_deref(), record.cve_metadata) {
        (Some("CVE_RECORD"), Some(metadata)) => metadata,
        (found, _) => {
            return Err(format!(
                "dataType is {}, not CVE_RECORD",
                found.map_or("absent".into(), |found| format!("`{}`", bounded(found)))
            ));
        }
    };
    if !is_cve_id(&metadata.cve_id) {
        return Err(format!("`{}` is no CVE id", bounded(&metadata.cve_id)));
    }
    if metadata.state.eq_ignore_ascii_case("REJECTED") {
        return Ok(Entry::Withdrawn);
    }
    let cna = record.containers.cna.unwrap_or_default();
    let all = || std::iter::once(&cna).chain(&record.containers.adp);
    let mut products = Products::default();
    let mut known: HashSet<String> = HashSet::new();
    for container in all() {
        if products.is_full() {
            break;
        }
        // What others added speaks only of products that the authority itself left out.
        let mut said = Vec::new();
        let more = container.affected.iter().flat_map(of_product).chain(affected_of(&container.cpe_applicability));
        for affected in more.filter(|more| !known.contains(&more.key)) {
            said.push(affected.key.clone());
            if products.add(affected).is_none() {
                break;
            }
        }
        known.extend(said);
    }
    let affected = products.into_all();
    let by_kind: [fn(&Metric) -> Option<&Score>; 3] =
        [|metric| metric.v4_0.as_ref(), |metric| metric.v3_1.as_ref(), |metric| metric.v3_0.as_ref()];
    let metrics: Vec<&Metric> = all().flat_map(|container| &container.metrics).collect();
    let Rating { cvss, severity } =
        Rating::of(by_kind.iter().flat_map(|kind| metrics.iter().filter_map(move |metric| kind(metric))));
    Ok(Entry::Advisory(Box::new(Advisory {
        id: metadata.cve_id,
        aliases: Vec::new(),
        source: Source::Cve,
        provider: bounded(&metadata.assigner_short_name.unwrap_or_default()),
        published: metadata.date_published.and_then(|date| date.get(..10).map(str::to_owned)),
        title: cna.title.as_deref().map(bounded),
        severity,
        cvss,
        references: urls(&cna.references),
        affected,
        kev: None,
        epss: None,
    })))
}

fn is_nothing(text: &str) -> bool {
    NOTHING.iter().any(|nothing| text.trim().eq_ignore_ascii_case(nothing))
}

/// What a product of a record says, under the key of its names and those of its CPE names.
fn of_product(product: &Product) -> Vec<Affected> {
    let name = product.product.as_deref().or(product.package_name.as_deref()).unwrap_or_default();
    let vendor = product.vendor.as_deref().filter(|vendor| !is_nothing(vendor)).unwrap_or(name);
    let mut keys: BTreeSet<String> =
        if is_nothing(name) { None } else { Some(product_key(vendor, name)) }.into_iter().collect();
    for key in product.cpes.iter().filter_map(|cpe| cpe.parse::<Cpe>().ok()?.product_key()) {
        if keys.len() < NAMES_MAX {
            keys.insert(key);
        }
    }
    let of_key = |key: String| {
        let mut affected = Affected {
            is_default_affected: product.default_status.as_deref() == Some("affected"),
            ..Affected::default()
        };
        for version in &product.versions {
            let scheme = scheme_of(version.version_type.as_deref(), &key);
            for StatedRange { range, is_affected } in scheme.into_iter().flat_map(|scheme| ranges(version, scheme)) {
                let ranges = if is_affected { &mut affected.affected } else { &mut affected.unaffected };
                if ranges.len() < RANGES_MAX {
                    ranges.push(range);
                }
            }
        }
        affected.key = key;
        affected
    };
    let says_something = |affected: &Affected| affected.is_default_affected || !affected.affected.is_empty();
    keys.into_iter().map(of_key).filter(says_something).collect()
}

/// How the versions of this type are ordered; `None` for commits, which nobody can tell from outside.
fn scheme_of(version_type: Option<&str>, key: &str) -> Option<Scheme> {
    match version_type.unwrap_or_default().to_ascii_lowercase().as_str() {
        "git" => None,
        "semver" => Some(Scheme::Semver),
        "rpm" => Some(Scheme::Rpm),
        "deb" | "dpkg" | "debian" => Some(Scheme::Dpkg),
        "apk" | "alpine" => Some(Scheme::Apk),
        _ => Some(product::scheme_of(key)),
    }
    // OpenSSL's and OpenSSH's makers call their versions `custom` and `semver` alike.
    .map(|scheme| if scheme.is_of_packages() { scheme } else { product::own_scheme_of(key).unwrap_or(scheme) })
}

/// A range, and what an entry says of it.
struct StatedRange {
    range: Range,
    is_affected: bool,
}

impl StatedRange {
    /// Nothing where the status is not known.
    fn of(range: Range, status: &str) -> Option<Self> {
        let is_affected = match status {
            "affected" => true,
            "unaffected" => false,
            _ => return None,
        };
        Some(Self { range, is_affected })
    }
}

/// The ranges of one entry.
fn ranges(entry: &Version, scheme: Scheme) -> Vec<StatedRange> {
    let start = entry.version.trim();
    let is_open = |version: &str| version == "*" || is_nothing(version);
    let mut range = Range::all(scheme);
    match (&entry.less_than, &entry.less_than_or_equal) {
        (None, None) => {
            let ranges = in_words(start, scheme).unwrap_or_default();
            return ranges.into_iter().filter_map(|range| StatedRange::of(range, &entry.status)).collect();
        }
        (Some(end), _) if !is_open(end) => range = range.before(bounded(end.trim())),
        (None, Some(end)) if !is_open(end) => range = range.through(bounded(end.trim())),
        _ => {}
    }
    if !is_open(start) && start != "0" {
        range = range.since(bounded(start));
    }
    // A change of status parts the range.
    let mut parts = Vec::new();
    let mut status = entry.status.as_str();
    for change in entry.changes.iter().take(RANGES_MAX) {
        let at = bounded(change.at.trim());
        let rest = range.clone().since(at.clone());
        parts.extend(StatedRange::of(range.before(at), status));
        (range, status) = (rest, change.status.as_str());
    }
    parts.extend(StatedRange::of(range, status));
    parts
}

/// One version without an end: exactly that one, all of them, or a range in words such as `>= 1.0, < 1.5`.
fn in_words(text: &str, scheme: Scheme) -> Option<Vec<Range>> {
    if is_nothing(text) {
        return None;
    }
    if text == "*" || text.eq_ignore_ascii_case("all") || text.eq_ignore_ascii_case("all versions") {
        return Some(vec![Range::all(scheme)]);
    }
    if !text.starts_with(['<', '>', '=']) {
        return Some(vec![Range::exactly(scheme, bounded(text))]);
    }
    let mut range = Range::all(scheme);
    for part in text.split(',').map(str::trim) {
        let version = part.trim_start_matches(['<', '>', '=']);
        let sign = part.get(..part.len() - version.len())?;
        let version = bounded(version.trim());
        range = match sign {
            "<" => range.before(version),
            "<=" => range.through(version),
            ">" => range.after(version),
            ">=" => range.since(version),
            "=" | "==" => Range::exactly(scheme, version),
            _ => return None,
        };
    }
    Some(vec![range])
}
