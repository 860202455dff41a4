//! Advisories in one shape, whatever feed they came from: facts only, no prose.
//!
//! An advisory is stored once for each product that it speaks of, holding only what concerns that product, so that a
//! look-up by product reads one run of neighbouring rows and nothing else. Serialised by position behind a version
//! byte: fields and variants are only ever added at the end, with a new version.

mod cvss;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::cvss::{Cvss, severity_of_score};
use super::version::Range;
use crate::finding::Severity;

/// Most references that are kept of one advisory.
pub const REFERENCES_MAX: usize = 4;
/// Longest text that is kept of a feed, in bytes: titles, references, names.
pub const TEXT_BYTES_MAX: usize = 300;
/// Most ranges that are kept of one product in one advisory. Records of the Linux kernel have a few hundred.
pub const RANGES_MAX: usize = 4_000;

/// Where an advisory comes from. Later ones know better: [`Source::rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// NVD's own analysis.
    Nvd,
    /// The CVE record, as the authority that assigned it wrote it.
    Cve,
    /// A distribution or ecosystem, in OSV's format.
    Osv,
}

impl Source {
    /// The word in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvd => "NVD",
            Self::Cve => "CVE record",
            Self::Osv => "OSV",
        }
    }

    /// How well it knows: where two contradict each other on one product, the higher one decides.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Nvd => 1,
            Self::Cve => 2,
            Self::Osv => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one source says of one weakness of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// Its id in that source: `CVE-2024-6387`, `DEBIAN-CVE-2024-6387`.
    pub id: String,
    /// Other ids of the same weakness.
    pub aliases: Vec<String>,
    /// Where it comes from.
    pub source: Source,
    /// Who said it there: the numbering authority's short name, or the ecosystem.
    pub provider: String,
    /// The day on which it was published, as `2024-07-01`.
    pub published: Option<String>,
    /// One line that names it, where its authority gave one.
    pub title: Option<String>,
    /// How bad it is, by its score or its author's word.
    pub severity: Option<Severity>,
    /// The score and what it was computed from.
    pub cvss: Option<Cvss>,
    /// Where to read more: URLs.
    pub references: Vec<String>,
    /// The products it speaks of.
    pub affected: Vec<Affected>,
    /// That it is known to be exploited; filled in when it is looked up.
    pub kev: Option<Kev>,
    /// How likely it is to be exploited; filled in when it is looked up.
    pub epss: Option<Epss>,
}

/// An entry of CISA's catalog of known exploited vulnerabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kev {
    /// The day on which it was added, as `2024-07-01`.
    pub added: String,
    /// The day until which it was to be mended.
    pub due: Option<String>,
    /// Whether it is known to be used for ransom.
    pub is_ransomware: bool,
}

/// A row of FIRST's exploit prediction scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epss {
    /// Probability that it is exploited within 30 days, in millionths.
    pub probability_millionths: u32,
    /// Share of all scored vulnerabilities that have at most this probability, in millionths.
    pub percentile_millionths: u32,
    /// The day of the score.
    pub day: String,
}

/// Between the lists of systems and other products of which one each must be there.
pub const AND: &str = "&";

/// One product that an advisory speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// What it is looked up by: `vendor:product`, or `ecosystem/package` ([`product_key`], [`package_key`]).
    pub key: String,
    /// The ecosystem with its release, such as `Debian:12`.
    pub ecosystem: Option<String>,
    /// The CPE pattern, where it says more than product and version.
    pub cpe: Option<String>,
    /// Whether a version in none of the ranges is affected.
    pub is_default_affected: bool,
    /// Versions that are affected.
    pub affected: Vec<Range>,
    /// Versions that are not, though they may be in a range that is.
    pub unaffected: Vec<Range>,
    /// CPE patterns or names of what it is affected on or with: one of them, and one of each list where [`AND`] stands between
    /// lists; empty for any.
    pub platforms: Vec<String>,
}

impl Affected {
    /// The first versions with the correction, as far as the ranges tell.
    #[must_use]
    pub fn fixed(&self) -> Vec<&str> {
        let mut fixed: Vec<&str> = self.affected.iter().filter_map(Range::fixed).collect();
        if self.is_default_affected {
            let first =
                |range: &Range| range.from.as_ref().filter(|from| from.is_inclusive).map(|from| from.version.clone());
            // Where everything is affected but some, the correction is where those begin.
            fixed.extend(self.unaffected.iter().filter(|range| first(range).is_some()).filter_map(|range| {
                range.from.as_ref().filter(|_| range.to.is_none()).map(|from| from.version.as_str())
            }));
        }
        fixed.dedup();
        fixed
    }
}

impl Advisory {
    /// The CVE ids among its ids; its own id where there is none.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let ids = || std::iter::once(&self.id).chain(&self.aliases).map(String::as_str);
        let mut cves: Vec<&str> = ids().filter(|id| is_cve_id(id)).collect();
        cves.sort_unstable();
        cves.dedup();
        if cves.is_empty() { vec![self.id.as_str()] } else { cves }
    }

    /// This advisory with these of its products only.
    #[must_use]
    pub(super) fn narrowed_to(&self, affected: &[&Affected]) -> Self {
        Self {
            id: self.id.clone(),
            aliases: self.aliases.clone(),
            source: self.source,
            provider: self.provider.clone(),
            published: self.published.clone(),
            title: self.title.clone(),
            severity: self.severity,
            cvss: self.cvss.clone(),
            references: self.references.clone(),
            affected: affected.iter().map(|affected| (*affected).clone()).collect(),
            kev: None,
            epss: None,
        }
    }
}

/// Whether this looks like `CVE-2024-6387`.
#[must_use]
pub fn is_cve_id(id: &str) -> bool {
    let mut parts = id.strip_prefix("CVE-").unwrap_or_default().split('-');
    let is_number = |part: Option<&str>, min: usize| {
        part.is_some_and(|part| part.len() >= min && part.len() <= 19 && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    is_number(parts.next(), 4) && is_number(parts.next(), 4) && parts.next().is_none()
}

/// The key of a product: `OpenBSD`, `OpenSSH` are `openbsd:openssh`; spaces are underscores.
#[must_use]
pub fn product_key(vendor: &str, product: &str) -> String {
    format!("{}:{}", word(vendor), word(product))
}

/// The key of a package in an ecosystem, whatever its release: `Debian:12`, `openssh` are `debian/openssh`.
#[must_use]
pub fn package_key(ecosystem: &str, package: &str) -> String {
    let name = ecosystem.split(':').next().unwrap_or(ecosystem);
    format!("{}/{}", word(name), word(package))
}

/// Lower case, runs of spaces as one underscore, bounded; nothing that could part a key.
fn word(text: &str) -> String {
    let words: Vec<String> =
        text.split([' ', '\t', '\n', '\r', '\0']).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    bounded(&words.join("_"))
}

/// The text, cut where it is longer than [`TEXT_BYTES_MAX`].
#[must_use]
pub fn bounded(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vuln::version::Scheme;

    #[test]
    fn keys_do_not_depend_on_case_and_spaces() {
        assert_eq!(product_key("OpenBSD", "OpenSSH"), "openbsd:openssh");
        assert_eq!(
            product_key("Apache Software Foundation", "Apache  HTTP Server"),
            "apache_software_foundation:apache_http_server"
        );
        assert_eq!(package_key("Ubuntu:22.04:LTS", "openssh"), "ubuntu/openssh");
        assert_eq!(product_key("a\0b", "c"), "a_b:c");
    }

    #[test]
    fn ids_are_told_apart() {
        assert!(is_cve_id("CVE-2024-6387") && is_cve_id("CVE-1999-0001") && is_cve_id("CVE-2021-1234567"));
        assert!(
            !is_cve_id("CVE-2024-63")
                && !is_cve_id("DEBIAN-CVE-2024-6387")
                && !is_cve_id("CVE-2024-1234-1")
                && !is_cve_id("")
        );
    }

    #[test]
    fn the_correction_is_where_a_range_ends_or_exceptions_begin() {
        let range = Range::all(Scheme::Dotted);
        let ends = Affected { affected: vec![range.clone().before("2.0")], ..Affected::default() };
        assert_eq!(ends.fixed(), ["2.0"]);
        let begins =
            Affected { is_default_affected: true, unaffected: vec![range.since("3.1")], ..Affected::default() };
        assert_eq!(begins.fixed(), ["3.1"]);
    }
}
