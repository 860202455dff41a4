//! CVE records, format 5: the numbering authority's own container, and what others (ADP) added to it.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::cve_product::{Product, of_product};
use super::lenient::{list, or_default, text, text_or_empty};
use super::nvd::{Configuration, affected_of};
use super::products::Products;
use super::rating::{Rating, Score, severity_of};
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::finding::Severity;
use crate::vuln::advisory::{Advisory, Affected, Source, bounded, is_cve_id};
use crate::vuln::product;
use crate::vuln::version::Range;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    data_type: Option<String>,
    cve_metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "or_default")]
    containers: Containers,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    cve_id: String,
    #[serde(default, deserialize_with = "text_or_empty")]
    state: String,
    #[serde(default, deserialize_with = "text")]
    assigner_short_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    date_published: Option<String>,
}

#[derive(Deserialize, Default)]
struct Containers {
    cna: Option<Container>,
    #[serde(default, deserialize_with = "list")]
    adp: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    #[serde(deserialize_with = "text")]
    title: Option<String>,
    #[serde(deserialize_with = "list")]
    affected: Vec<Product>,
    #[serde(deserialize_with = "list")]
    cpe_applicability: Vec<Configuration>,
    #[serde(deserialize_with = "list")]
    metrics: Vec<Metric>,
    #[serde(deserialize_with = "list")]
    references: Vec<Reference>,
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
    #[serde(rename = "cvssV2_0")]
    v2_0: Option<Score>,
    other: Option<Other>,
}

/// A severity in an author's own words.
#[derive(Deserialize)]
struct Other {
    content: Option<Value>,
}

pub(super) fn read(records: &mut Records<'_>) -> Result<(), Problem> {
    records.documents(entry)
}

fn entry(record: Record) -> Result<Entry, String> {
    let metadata = match (record.data_type.as_deref(), record.cve_metadata) {
        (Some("CVE_RECORD"), Some(metadata)) => metadata,
        (Some("CVE_RECORD"), None) => return Err("it has no `cveMetadata`".to_owned()),
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
    let affected = products_of(all());
    let by_kind: [fn(&Metric) -> Option<&Score>; 4] = [
        |metric| metric.v4_0.as_ref(),
        |metric| metric.v3_1.as_ref(),
        |metric| metric.v3_0.as_ref(),
        |metric| metric.v2_0.as_ref(),
    ];
    let metrics: Vec<&Metric> = all().flat_map(|container| &container.metrics).collect();
    let Rating { cvss, severity } =
        Rating::of(by_kind.iter().flat_map(|kind| metrics.iter().filter_map(move |metric| kind(metric))));
    let severity = severity.or_else(|| metrics.iter().find_map(|metric| in_own_words(metric)));
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

/// The products that a record speaks of.
///
/// The versions of the authority's own list count first, then its CPE names, then what others added: whoever comes later
/// speaks only of products that those before left out or did not say in a way that can be read. A product is the same by
/// whichever of its names, so that `php:php` of another does not overrule what the record says of `PHP Group` `PHP`.
fn products_of<'a>(containers: impl Iterator<Item = &'a Container>) -> Vec<Affected> {
    let mut products = Products::default();
    let mut known: HashSet<String> = HashSet::new();
    for container in containers {
        let own: Vec<Affected> = container.affected.iter().flat_map(of_product).collect();
        for source in [own, affected_of(&container.cpe_applicability)] {
            let mut said: Vec<String> = Vec::new();
            for affected in source {
                if known.contains(&affected.key) {
                    continue;
                }
                let is_read = !affected.affected.iter().chain(&affected.unaffected).any(Range::is_unread);
                if is_read {
                    let names = product::find(None, Some(&affected.key)).map_or(&[][..], |product| product.keys);
                    said.extend(names.iter().map(|name| (*name).to_owned()).chain([affected.key.clone()]));
                }
                if products.add(affected).is_none() {
                    return products.into_all();
                }
            }
            known.extend(said);
        }
    }
    products.into_all()
}

/// What some authorities write in place of a score: `{"text": "important"}`.
fn in_own_words(metric: &Metric) -> Option<Severity> {
    let content = metric.other.as_ref()?.content.as_ref()?;
    ["text", "value", "severity"].into_iter().find_map(|name| severity_of(content.get(name)?.as_str()?.trim()))
}
