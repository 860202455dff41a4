//! A product of a CVE record: its names, the systems it is meant on, and its versions as ranges.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::lenient::{list, text, text_or_empty};
use super::products::PLATFORMS_MAX;
use super::range_end::{End, is_nothing};
use super::range_words::ranges_of;
use crate::vuln::advisory::{Affected, RANGES_MAX, bounded, product_key};
use crate::vuln::cpe::Cpe;
use crate::vuln::product;
use crate::vuln::version::{Range, Scheme, compare};

/// Most names that one product is looked up by: its versions are kept for each of them.
const NAMES_MAX: usize = 16;
/// Words for any system.
const ANY_PLATFORM: [&str; 5] = ["all", "any", "*", "multiple", "all platforms"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Product {
    #[serde(deserialize_with = "text")]
    vendor: Option<String>,
    #[serde(deserialize_with = "text")]
    product: Option<String>,
    #[serde(deserialize_with = "text")]
    package_name: Option<String>,
    #[serde(rename = "collectionURL", deserialize_with = "text")]
    collection_url: Option<String>,
    #[serde(deserialize_with = "list")]
    cpes: Vec<String>,
    #[serde(deserialize_with = "text")]
    default_status: Option<String>,
    #[serde(deserialize_with = "list")]
    platforms: Vec<String>,
    #[serde(deserialize_with = "list")]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Version {
    #[serde(deserialize_with = "text_or_empty")]
    version: String,
    #[serde(deserialize_with = "text_or_empty")]
    status: String,
    #[serde(deserialize_with = "text")]
    version_type: Option<String>,
    #[serde(deserialize_with = "text")]
    less_than: Option<String>,
    #[serde(deserialize_with = "text")]
    less_than_or_equal: Option<String>,
    #[serde(deserialize_with = "list")]
    changes: Vec<Change>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Change {
    #[serde(deserialize_with = "text_or_empty")]
    at: String,
    #[serde(deserialize_with = "text_or_empty")]
    status: String,
}

/// What a product of a record says, under the key of its names and those of its CPE names.
pub(super) fn of_product(product: &Product) -> Vec<Affected> {
    let said = |text: &Option<String>| text.clone().filter(|text| !is_nothing(text));
    let named = said(&product.product).or_else(|| said(&product.package_name));
    let name = named.unwrap_or_default();
    let vendor = said(&product.vendor);
    // The name of a package in a collection is not that of a product: `openssl` of a registry is a wrapper of it.
    let is_of_collection = vendor.is_none() && said(&product.collection_url).is_some();
    let own_key =
        (!name.is_empty() && !is_of_collection).then(|| product_key(vendor.as_deref().unwrap_or(&name), &name));
    let mut keys: BTreeSet<String> = own_key.into_iter().collect();
    for key in product.cpes.iter().filter_map(|cpe| cpe.parse::<Cpe>().ok()?.product_key()) {
        if keys.len() < NAMES_MAX {
            keys.insert(key);
        }
    }
    let names = [name.to_lowercase(), vendor.unwrap_or_default().to_lowercase()];
    let names = names.each_ref().map(String::as_str);
    let platforms = platforms_of(&product.platforms);
    let of_key = |key: String| {
        let is_default_affected =
            product.default_status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("affected"));
        let mut affected = Affected { is_default_affected, platforms: platforms.clone(), ..Affected::default() };
        for version in &product.versions {
            let Some(scheme) = scheme_of(version.version_type.as_deref(), &key) else { continue };
            for StatedRange { range, is_affected } in ranges(version, scheme, &names) {
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

/// The systems that are meant; none for any.
fn platforms_of(platforms: &[String]) -> Vec<String> {
    let words = || platforms.iter().map(|platform| platform.trim()).filter(|platform| !is_nothing(platform));
    let is_any = |platform: &str| ANY_PLATFORM.iter().any(|any| platform.eq_ignore_ascii_case(any));
    if words().any(is_any) || words().count() > PLATFORMS_MAX {
        return Vec::new();
    }
    words().map(bounded).collect()
}

/// How the versions of this type are ordered; `None` for commits, which nobody can tell from outside.
fn scheme_of(version_type: Option<&str>, key: &str) -> Option<Scheme> {
    match version_type.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
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
        let is_affected = match status.trim().to_ascii_lowercase().as_str() {
            "affected" => true,
            "unaffected" => false,
            _ => return None,
        };
        Some(Self { range, is_affected })
    }
}

/// The ranges of one entry.
fn ranges(entry: &Version, scheme: Scheme, names: &[&str]) -> Vec<StatedRange> {
    let stated = |ranges: Vec<Range>| ranges.into_iter().filter_map(|range| StatedRange::of(range, &entry.status));
    let (end, is_in) = match (&entry.less_than, &entry.less_than_or_equal) {
        (Some(end), _) => (end, false),
        (None, Some(end)) => (end, true),
        (None, None) if entry.changes.is_empty() => return stated(ranges_of(&entry.version, scheme, names)).collect(),
        // It goes on for ever, with changes on the way.
        (None, None) => return changed(entry, start_of(entry, scheme, names).unwrap_or_else(|| Range::all(scheme))),
    };
    let Some(range) = start_of(entry, scheme, names) else {
        return stated(vec![Range::unread(scheme, &bounded(&entry.version))]).collect();
    };
    changed(entry, up_to(range, end, is_in))
}

/// The range from the entry's own version on; `None` where that is no single start.
fn start_of(entry: &Version, scheme: Scheme, names: &[&str]) -> Option<Range> {
    match End::of(&entry.version) {
        End::Unread(words) => match ranges_of(&words, scheme, names).as_slice() {
            // `>= 1.0` and `1.0 and later` are starts too, and so is a version behind its product's name.
            [Range { from: Some(from), to, .. }] if to.is_none() || to.as_ref() == Some(from) => {
                Some(Range { scheme, from: Some(from.clone()), to: None })
            }
            [range] if range.from.is_none() => Some(Range::all(scheme)),
            _ => None,
        },
        start => Some(start.limit_from(Range::all(scheme), true)),
    }
}

/// `range` up to the end that the format's `lessThan` or, with `is_in`, its `lessThanOrEqual` states.
fn up_to(range: Range, end: &str, is_in: bool) -> Range {
    let end = end.trim().trim_start_matches(['<', '=']);
    match End::of(end) {
        // The format: an asterisk is the largest version of its branch.
        branch @ End::Branch { is_asterisk: true, .. } => branch.limit_to(range, true),
        end => end.limit_to(range, is_in),
    }
}

/// The parts of a range between which the status changes.
fn changed(entry: &Version, mut range: Range) -> Vec<StatedRange> {
    let scheme = range.scheme;
    let order = |a: &str, b: &str| compare(scheme, a, b).or_else(|| compare(Scheme::Dotted, a, b));
    let mut changes: Vec<(String, &str)> =
        entry.changes.iter().take(RANGES_MAX).map(|change| (bounded(change.at.trim()), &*change.status)).collect();
    let is_ordered = changes.iter().zip(changes.iter().skip(1)).all(|(a, b)| order(&a.0, &b.0).is_some());
    if !is_ordered {
        let words = changes.iter().map(|(at, _)| at.as_str()).take(8).collect::<Vec<_>>().join(", ");
        return vec![StatedRange { range: Range::unread(scheme, &words), is_affected: true }];
    }
    changes.sort_by(|a, b| order(&a.0, &b.0).unwrap_or(Ordering::Equal));
    let mut parts = Vec::new();
    let mut status = entry.status.as_str();
    for (at, next) in changes {
        let is_before = |bound: &Option<crate::vuln::version::Bound>| {
            bound.as_ref().and_then(|bound| order(&at, &bound.version)).unwrap_or(Ordering::Greater)
        };
        if range.from.is_some() && is_before(&range.from).is_le() {
            // At the start or before it: so it is from the start on.
            status = next;
            continue;
        }
        if range.to.is_some() && is_before(&range.to).is_ge() {
            break;
        }
        let rest = range.clone().since(at.clone());
        parts.extend(StatedRange::of(range.before(at), status));
        (range, status) = (rest, next);
    }
    parts.extend(StatedRange::of(range, status));
    parts
}
