//! A product of a CVE record: its names, the systems it is meant on, and its versions as ranges.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::lenient::{list, text, text_or_empty};
use super::products::PLATFORMS_MAX;
use super::range_end::{End, is_nothing};
use super::range_words::ranges_of;
use crate::vuln::advisory::{AND, Affected, RANGES_MAX, bounded, product_key};
use crate::vuln::cpe::{Cpe, Part, Relation, Value};
use crate::vuln::product;
use crate::vuln::version::{Range, Scheme, compare, unread};

/// Most names that one product is looked up by: its versions are kept for each of them.
const NAMES_MAX: usize = 16;
/// Where packages are collected that carry the names of what they wrap.
const REGISTRIES: &[&str] = &[
    "npmjs.org",
    "npmjs.com",
    "pypi.org",
    "pypi.python.org",
    "rubygems.org",
    "crates.io",
    "packagist.org",
    "nuget.org",
    "maven.org",
    "maven.apache.org",
    "mvnrepository.com",
    "pkg.go.dev",
    "wordpress.org",
    "hex.pm",
    "pub.dev",
    "cpan.org",
    "metacpan.org",
    "r-project.org",
    "clojars.org",
    "hackage.haskell.org",
    "luarocks.org",
    "cocoapods.org",
    "jsr.io",
    "jitpack.io",
    "pecl.php.net",
    "hub.docker.com",
    "docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "public.ecr.aws",
    "mcr.microsoft.com",
    "artifacthub.io",
    "anaconda.org",
    "conda-forge.org",
    "brew.sh",
    "chocolatey.org",
    "snapcraft.io",
    "flathub.org",
    "conan.io",
    "vcpkg.io",
    "unpkg.com",
    "jsdelivr.net",
    "cdnjs.com",
    "marketplace.visualstudio.com",
    "open-vsx.org",
    "galaxy.ansible.com",
    "forge.puppet.com",
    "plugins.jenkins.io",
    "debian.org",
    "ubuntu.com",
    "fedoraproject.org",
    "archlinux.org",
    "alpinelinux.org",
];
/// Where everybody keeps repositories.
const FORGES: &[&str] = &[
    "github.com",
    "gitlab.com",
    "bitbucket.org",
    "codeberg.org",
    "sourceforge.net",
    "gitee.com",
    "gitea.com",
    "sr.ht",
    "launchpad.net",
];
/// Most entries among which halves of ranges are looked for.
const HALVES_MAX: usize = 1_000;
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

#[derive(Clone, Deserialize, Default)]
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

#[derive(Clone, Deserialize, Default)]
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
    let collection = said(&product.collection_url).filter(|_| vendor.is_none());
    let is_of_collection = collection.is_some_and(|url| !is_home_of(&url, &name));
    let own_key =
        (!name.is_empty() && !is_of_collection).then(|| product_key(vendor.as_deref().unwrap_or(&name), &name));
    let cpes: Vec<Cpe> = product.cpes.iter().filter_map(|cpe| cpe.parse().ok()).collect();
    let mut keys: BTreeSet<String> = own_key.into_iter().collect();
    for key in cpes.iter().filter_map(Cpe::product_key) {
        if keys.len() < NAMES_MAX {
            keys.insert(key);
        }
    }
    let names = [name.to_lowercase(), vendor.unwrap_or_default().to_lowercase()];
    let names = names.each_ref().map(String::as_str);
    let platforms = platforms_of(&product.platforms);
    let versions = with_halves_joined(&product.versions);
    let of_key = |key: String| {
        let is_default_affected =
            product.default_status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("affected"));
        let mut affected = Affected { is_default_affected, platforms: platforms.clone(), ..Affected::default() };
        let mut unknown = Vec::new();
        for version in &versions {
            let Some(scheme) = scheme_of(version.version_type.as_deref(), &key) else { continue };
            for StatedRange { range, status } in ranges(version, scheme, &names) {
                let ranges = match status {
                    Status::Affected => &mut affected.affected,
                    Status::Unaffected => &mut affected.unaffected,
                    Status::Unknown => &mut unknown,
                };
                if ranges.len() < RANGES_MAX {
                    ranges.push(range);
                }
            }
        }
        // What is said to be unknown takes nothing from what is said to be affected: only from a default that speaks for all.
        if is_default_affected && affected.affected.is_empty() {
            let room = RANGES_MAX.saturating_sub(affected.unaffected.len());
            affected.unaffected.extend(unknown.into_iter().take(room));
        }
        let of_key: Vec<&Cpe> = cpes.iter().filter(|cpe| cpe.product_key().as_ref() == Some(&key)).collect();
        affected.cpe = limit_of(&of_key).map(|cpe| bounded(&cpe.to_string()));
        if affected.is_default_affected && affected.affected.is_empty() && affected.unaffected.is_empty() {
            // A product that has no list of versions is affected in those that its names say.
            let names: Vec<&Cpe> = if of_key.is_empty() { cpes.iter().collect() } else { of_key };
            let exact = |cpe: &&Cpe| Some(Range::exactly(product::scheme_of(&key), cpe.full_version()?));
            if let Some(exact) = names.iter().take(RANGES_MAX).map(exact).collect::<Option<Vec<Range>>>()
                && !exact.is_empty()
            {
                (affected.affected, affected.is_default_affected) = (exact, false);
            } else if !versions.is_empty() {
                // A list of which nothing was read is no word that all are affected.
                affected.affected = vec![Range::unread(product::scheme_of(&key), "the versions that are listed")];
            }
        }
        affected.key = key;
        affected
    };
    let says_something = |affected: &Affected| affected.is_default_affected || !affected.affected.is_empty();
    keys.into_iter().map(of_key).filter(says_something).collect()
}

/// The name whose edition, or what it is a part of, or being no program, limits a product with these names: all of them say the
/// same of that.
fn limit_of<'a>(names: &[&'a Cpe]) -> Option<&'a Cpe> {
    let (first, rest) = names.split_first().map(|(first, rest)| (*first, rest))?;
    // A version that is no range's to say, such as one with a wildcard, limits as well.
    let is_said_by_range = |cpe: &Cpe| cpe.version().literal().is_some() || *cpe.version() == Value::Any;
    let is_same = |cpe: &Cpe| {
        let is_of_edition = first.product_relation(cpe) == Some(Relation::Equal);
        is_of_edition && (first.version() == cpe.version() || (is_said_by_range(first) && is_said_by_range(cpe)))
    };
    let is_program = matches!(first.part(), Part::Application | Part::Any);
    let says_more = !is_program || !first.says_only_versions();
    (says_more && rest.iter().all(|cpe| is_same(cpe))).then_some(first)
}

/// The entries with those joined that are halves of one range.
///
/// Records of the format before this one were made over entry by entry: `>= 7.7` and `< 7.13.5` became one entry from 7.7 up to
/// `unspecified` and one from `unspecified` up to 7.13.5. Each alone would say that all versions are affected. A lower half goes
/// with the nearest end above it.
fn with_halves_joined(versions: &[Version]) -> Vec<Version> {
    let mut all = versions.to_vec();
    if all.len() > HALVES_MAX {
        return all;
    }
    let lower: Vec<usize> = (0..all.len()).filter(|at| all.get(*at).is_some_and(Version::is_lower_half)).collect();
    for at in lower {
        let Some(from) = all.get(at).map(|entry| entry.version.clone()) else { continue };
        let order = |a: &str, b: &str| compare(Scheme::Dotted, a, b);
        let ends = all.iter().enumerate().filter_map(|(other, entry)| Some((other, entry.upper_half()?)));
        let above = ends.filter(|(_, end)| order(&from, end) == Some(Ordering::Less));
        let nearest = above.min_by(|(_, a), (_, b)| order(a, b).unwrap_or(Ordering::Equal)).map(|(other, _)| other);
        let Some(upper) = nearest.and_then(|other| all.get_mut(other)).map(std::mem::take) else { continue };
        if let Some(entry) = all.get_mut(at) {
            (entry.less_than, entry.less_than_or_equal) = (upper.less_than, upper.less_than_or_equal);
        }
    }
    all
}

impl Version {
    fn is_affected(&self) -> bool {
        self.status.trim().eq_ignore_ascii_case("affected") && self.changes.is_empty()
    }

    /// Whether it states where a range begins, and no word of where it ends.
    fn is_lower_half(&self) -> bool {
        let end = self.less_than.as_ref().or(self.less_than_or_equal.as_ref());
        self.is_affected() && end.is_some_and(|end| is_nothing(end)) && !is_nothing(&self.version)
    }

    /// The end of a range of which it does not state where it begins.
    fn upper_half(&self) -> Option<&str> {
        let end = self.less_than.as_deref().or(self.less_than_or_equal.as_deref());
        end.filter(|end| self.is_affected() && is_nothing(&self.version) && !is_nothing(end))
    }
}

/// Whether the address of a collection is that of the product itself: its makers' site, or a repository of theirs that is called as
/// it. Where everybody keeps repositories, theirs are those whose owner is called as the product or as one of its makers.
fn is_home_of(url: &str, name: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).to_lowercase();
    let (host, path) = rest.split_once('/').unwrap_or((&rest, ""));
    let is_on = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'));
    let is_registry = ["registry.", "packages.", "repo."].iter().any(|front| host.starts_with(front))
        || REGISTRIES.iter().any(|domain| is_on(domain));
    let Some(known) = product::find(Some(name), None).filter(|_| !is_registry) else { return false };
    if !FORGES.iter().any(|domain| is_on(domain)) {
        return true;
    }
    let path = path.trim_end_matches('/');
    // SourceForge has projects without owners.
    let path = ["projects/", "p/"].iter().find_map(|front| path.strip_prefix(front)).unwrap_or(path);
    let owner = path.split('/').next().unwrap_or_default().trim_start_matches('~').replace('-', "_");
    let last = path.rsplit('/').next().unwrap_or_default();
    let makers = known.keys.iter().filter_map(|key| key.split(':').next());
    let is_theirs = makers.chain([name]).any(|maker| maker.replace('-', "_").eq_ignore_ascii_case(&owner));
    is_theirs && last.strip_suffix(".git").unwrap_or(last).eq_ignore_ascii_case(name)
}

/// The systems that are meant; none for any.
fn platforms_of(platforms: &[String]) -> Vec<String> {
    let words = || platforms.iter().map(|platform| platform.trim()).filter(|platform| !is_nothing(platform));
    let is_any = |platform: &str| ANY_PLATFORM.iter().any(|any| platform.eq_ignore_ascii_case(any));
    if words().any(is_any) || words().count() > PLATFORMS_MAX {
        return Vec::new();
    }
    words().filter(|platform| *platform != AND).map(bounded).collect()
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
    status: Status,
}

#[derive(Clone, Copy)]
enum Status {
    Affected,
    Unaffected,
    /// A default of `affected` does not reach it.
    Unknown,
}

impl StatedRange {
    /// Nothing where no status is given.
    fn of(range: Range, status: &str) -> Option<Self> {
        let status = match status.trim().to_ascii_lowercase().as_str() {
            "affected" => Status::Affected,
            "unaffected" => Status::Unaffected,
            "unknown" => Status::Unknown,
            _ => return None,
        };
        Some(Self { range, status })
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
    // Whoever does not know where it ends has not said that it does not.
    let range =
        if is_nothing(end) && entry.is_affected() { range.through(unread(end)) } else { up_to(range, end, is_in) };
    changed(entry, range)
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
        return vec![StatedRange { range: Range::unread(scheme, &words), status: Status::Affected }];
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
