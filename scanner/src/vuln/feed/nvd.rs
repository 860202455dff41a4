//! Feeds of the National Vulnerability Database, version 2.0: CPE patterns with ranges, in configurations.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use serde::Deserialize;

use super::lenient::{list, or_default, text, text_or_empty};
use super::products::{PLATFORMS_MAX, Products};
use super::range_end::End;
use super::rating::{Rating, Score};
use super::records::Records;
use super::reference::{Reference, urls};
use super::{Entry, Problem};
use crate::vuln::advisory::{AND, Advisory, Affected, Source, bounded, is_cve_id};
use crate::vuln::cpe::{Cpe, Part, Value};
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
    #[serde(default, deserialize_with = "text")]
    published: Option<String>,
    #[serde(default, deserialize_with = "text")]
    vuln_status: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    metrics: Metrics,
    #[serde(default, deserialize_with = "list")]
    configurations: Vec<Configuration>,
    #[serde(default, deserialize_with = "list")]
    references: Vec<Reference>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metrics {
    #[serde(rename = "cvssMetricV40", deserialize_with = "list")]
    v4_0: Vec<Metric>,
    #[serde(rename = "cvssMetricV31", deserialize_with = "list")]
    v3_1: Vec<Metric>,
    #[serde(rename = "cvssMetricV30", deserialize_with = "list")]
    v3_0: Vec<Metric>,
    #[serde(rename = "cvssMetricV2", deserialize_with = "list")]
    v2: Vec<Metric>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metric {
    /// `Primary` or `Secondary`.
    #[serde(rename = "type", deserialize_with = "text_or_empty")]
    kind: String,
    cvss_data: Option<Score>,
    /// Of version 2, whose scores have no word of their own.
    #[serde(deserialize_with = "text")]
    base_severity: Option<String>,
}

/// Most patterns that nodes in nodes come to once they are laid flat: real records have none at all.
const NESTED_PATTERNS_MAX: usize = 100_000;

/// Which products together are affected. CVE records of format 5.1 have the same under `cpeApplicability`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Configuration {
    #[serde(default, deserialize_with = "text")]
    operator: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    negate: bool,
    #[serde(default, deserialize_with = "list")]
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(default, deserialize_with = "text")]
    operator: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    negate: bool,
    #[serde(default, deserialize_with = "list")]
    cpe_match: Vec<CpeMatch>,
    /// Nodes within this one.
    #[serde(default, alias = "nodes", deserialize_with = "list")]
    children: Vec<Self>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CpeMatch {
    #[serde(default, deserialize_with = "or_default")]
    vulnerable: bool,
    #[serde(default, deserialize_with = "text_or_empty")]
    criteria: String,
    #[serde(default, deserialize_with = "text")]
    version_start_including: Option<String>,
    #[serde(default, deserialize_with = "text")]
    version_start_excluding: Option<String>,
    #[serde(default, deserialize_with = "text")]
    version_end_including: Option<String>,
    #[serde(default, deserialize_with = "text")]
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
    let scores = scores_of(cve.metrics);
    let Rating { cvss, severity } = Rating::of(scores.iter());
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

/// The scores, NVD's own before those that it was sent, and of each the newest kind first; those of version 2 behind all others.
fn scores_of(metrics: Metrics) -> Vec<Score> {
    let newer = [metrics.v4_0, metrics.v3_1, metrics.v3_0].into_iter().flatten().map(|metric| (false, metric));
    let mut all: Vec<(bool, Metric)> = newer.chain(metrics.v2.into_iter().map(|metric| (true, metric))).collect();
    all.sort_by_key(|(is_second, metric)| (*is_second, !metric.kind.eq_ignore_ascii_case("Primary")));
    let score = |(is_second, metric): (bool, Metric)| {
        let score = metric.cvss_data?;
        // Those of the second version have no word for more than high.
        let version = score.version.clone().or(is_second.then(|| "2.0".to_owned()));
        Some(Score { base_severity: score.base_severity.clone().or(metric.base_severity), version, ..score })
    };
    all.into_iter().filter_map(score).collect()
}

/// The products that configurations call vulnerable, those of one pattern and platform together.
pub(super) fn affected_of(configurations: &[Configuration]) -> Vec<Affected> {
    let mut products = Products::default();
    // Lists of platforms by their number, and products by key, pattern and number of their platforms.
    let mut lists: HashMap<Vec<String>, usize> = HashMap::new();
    let mut places: HashMap<(String, Option<String>, usize), usize> = HashMap::new();
    // What must be there beside the patterns of a node, or beside one of them.
    let mut of_node: HashMap<(usize, Option<usize>), Vec<String>> = HashMap::new();
    let flat = configurations.iter().filter(|configuration| !configuration.negate).flat_map(Configuration::flat);
    for configuration in flat {
        let configuration = configuration.as_ref();
        let nodes: Vec<&Node> =
            configuration.nodes.iter().filter(|node| !node.negate && !node.cpe_match.is_empty()).collect();
        for (at, node) in nodes.iter().enumerate() {
            for (place, found) in node.cpe_match.iter().enumerate().filter(|(_, found)| found.vulnerable) {
                let Some(Match { key, cpe, range }) = Match::of(found) else { continue };
                let with = if node.is_and() { Some(place) } else { None };
                let platforms =
                    of_node.entry((at, with)).or_insert_with(|| needed_with(configuration, &nodes, at, with));
                let next = lists.len();
                let list = *lists.entry(platforms.clone()).or_insert(next);
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
        of_node.clear();
    }
    products.into_all()
}

impl Configuration {
    /// The same without nodes in nodes: one configuration for each way in which it can hold.
    fn flat(&self) -> Vec<Cow<'_, Self>> {
        if self.nodes.iter().all(|node| node.children.is_empty()) {
            return vec![Cow::Borrowed(self)];
        }
        // Each way holds all that is needed beside it: a record must not multiply itself. Whatever has no patterns is in none of
        // them, so that these bound the nodes as well.
        let sizes = self.nodes.iter().map(Node::size);
        let (leaves, patterns) = sizes.fold((0_usize, 0_usize), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        if leaves.saturating_mul(patterns) > NESTED_PATTERNS_MAX {
            return Vec::new();
        }
        let all = Node {
            operator: self.operator.clone(),
            negate: false,
            cpe_match: Vec::new(),
            children: self.nodes.clone(),
        };
        let flat = |nodes| Cow::Owned(Self { operator: Some("AND".to_owned()), negate: false, nodes });
        all.ways().into_iter().map(flat).collect()
    }
}

impl Node {
    /// How many nodes in it have patterns of their own, and how many patterns those have.
    fn size(&self) -> (usize, usize) {
        if self.negate {
            return (0, 0);
        }
        let own = (usize::from(!self.cpe_match.is_empty()), self.cpe_match.len());
        self.children.iter().map(Self::size).fold(own, |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }

    /// What it speaks of: its own patterns, and the nodes within it that have some.
    fn parts(&self) -> Vec<Cow<'_, Self>> {
        let own = (!self.cpe_match.is_empty()).then(|| {
            Cow::Owned(Self {
                operator: self.operator.clone(),
                negate: false,
                cpe_match: self.cpe_match.clone(),
                children: Vec::new(),
            })
        });
        let within = self.children.iter().filter(|child| child.size().0 > 0).map(Cow::Borrowed);
        own.into_iter().chain(within).collect()
    }

    /// The ways in which it can hold: of each the patterns that are spoken of, and what is needed beside them.
    fn ways(&self) -> Vec<Vec<Self>> {
        let parts = self.parts();
        let is_and = is_and(self.operator.as_deref());
        let needed: Vec<Vec<Self>> = if is_and { parts.iter().map(|part| part.needed()).collect() } else { Vec::new() };
        let mut all = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let ways = if part.children.is_empty() { vec![vec![part.as_ref().clone()]] } else { part.ways() };
            all.extend(ways.into_iter().map(|mut way| {
                let beside = needed.iter().enumerate().filter(|(other, _)| *other != at);
                way.extend(beside.flat_map(|(_, groups)| groups.iter().cloned()));
                way
            }));
        }
        all
    }

    /// What is there where it holds: one pattern of each of these. Where one of its parts is enough, theirs are one group.
    fn needed(&self) -> Vec<Self> {
        if self.children.is_empty() {
            return vec![self.clone().made_needed()];
        }
        let parts = self.parts();
        let groups: Vec<Self> = parts.iter().flat_map(|part| part.needed()).collect();
        if is_and(self.operator.as_deref()) || parts.len() < 2 {
            return groups;
        }
        let cpe_match = groups.into_iter().flat_map(|group| group.cpe_match).collect();
        vec![Self { operator: Some("OR".to_owned()), negate: false, cpe_match, children: Vec::new() }]
    }

    /// The same, of which nothing is said to be vulnerable.
    fn made_needed(mut self) -> Self {
        self.cpe_match.iter_mut().for_each(|found| found.vulnerable = false);
        self
    }

    /// Whether all of its patterns must hold at once.
    fn is_and(&self) -> bool {
        is_and(self.operator.as_deref()) && self.cpe_match.len() > 1
    }
}

fn is_and(operator: Option<&str>) -> bool {
    operator.is_some_and(|operator| operator.eq_ignore_ascii_case("AND"))
}

/// What must be there beside a pattern of the node at `at`: the systems that a configuration is about, and the other
/// products where it speaks of several together; of each node one, with [`AND`] between them. None for any, also where they
/// are too many to be kept.
fn needed_with(configuration: &Configuration, nodes: &[&Node], at: usize, place: Option<usize>) -> Vec<String> {
    let is_of_all = is_and(configuration.operator.as_deref());
    // Where one of the nodes is enough the others are not looked at, each for each.
    let (first, among) = if is_of_all { (0, nodes) } else { (at, nodes.get(at..=at).unwrap_or_default()) };
    let mut needed: Vec<String> = Vec::new();
    for (other, node) in (first..).zip(among) {
        let mut is_first = true;
        for (of_match, found) in node.cpe_match.iter().enumerate() {
            let is_other_node = is_of_all && (other != at || !found.vulnerable);
            let is_other_match = other == at && place.is_some_and(|place| place != of_match);
            if !is_other_node && !is_other_match {
                continue;
            }
            if needed.len() >= PLATFORMS_MAX {
                return Vec::new();
            }
            if (is_first || node.is_and()) && !needed.is_empty() {
                needed.push(AND.to_owned());
            }
            is_first = false;
            needed.push(bounded(&found.criteria));
        }
    }
    needed
}

/// `range` from this end on, or up to it; a branch, `2.4.*`, as it is meant, and anything else as it is written.
fn limited(range: Range, bound: &str, is_start: bool, is_in: bool) -> Range {
    let bound = bound.trim();
    match (End::of(bound), is_start, is_in) {
        (End::Open, ..) => range,
        (branch @ End::Branch { .. }, true, _) => branch.limit_from(range, is_in),
        (branch @ End::Branch { .. }, false, _) => branch.limit_to(range, is_in),
        (_, true, true) => range.since(bounded(bound)),
        (_, true, false) => range.after(bounded(bound)),
        (_, false, true) => range.through(bounded(bound)),
        (_, false, false) => range.before(bounded(bound)),
    }
}

/// What a pattern says is vulnerable.
struct Match {
    key: String,
    /// The pattern, where it says more than the range and the key of a program.
    cpe: Option<String>,
    range: Range,
}

impl Match {
    fn of(found: &CpeMatch) -> Option<Self> {
        let pattern: Cpe = found.criteria.parse().ok()?;
        let key = pattern.product_key()?;
        let scheme = product::scheme_of(&key);
        // `-` means a product without versions, which no version is.
        if *pattern.version() == Value::NotApplicable {
            return None;
        }
        let bounds = [
            (&found.version_start_including, true, true),
            (&found.version_start_excluding, true, false),
            (&found.version_end_including, false, true),
            (&found.version_end_excluding, false, false),
        ];
        let range = match pattern.full_version() {
            // Bounds beside one version make it no more than that one.
            Some(version) => Range::exactly(scheme, version),
            // A version with a wildcard is matched by its name, not by a range.
            None => bounds.into_iter().fold(Range::all(scheme), |range, (bound, is_start, is_in)| {
                limited(range, bound.as_deref().unwrap_or_default(), is_start, is_in)
            }),
        };
        let cpe = match pattern.part() {
            _ if !pattern.says_only_versions() => Some(bounded(&found.criteria)),
            // What is known by its key alone is a program.
            Part::Application | Part::Any => None,
            // One name for all versions: records of systems list hundreds of them.
            Part::System | Part::Hardware => Some(pattern.without_version().to_string()),
        };
        Some(Self { key, cpe, range })
    }
}
