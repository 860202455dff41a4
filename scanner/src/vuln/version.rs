//! The order of versions, by the scheme that their makers keep.
//!
//! There is no order of all versions: `1.0.2z` is older than `1.0.2za` to OpenSSL, `1.0~rc1` older than `1.0` to
//! Debian, and `1.0a` may be before or after `1.0`. So each comparison names its [`Scheme`], and where the scheme does
//! not say, the answer is `None`, from which nobody concludes anything. Within a scheme the answers are an order: what
//! is known is antisymmetric and transitive.

mod apk;
mod dotted;
mod dpkg;
mod number;
mod openssh;
mod openssl;
mod plain;
mod range;
mod rpm;
mod semver;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::plain::{Plain, PlainRange};
pub use self::range::{Bound, Range, Verdict, unread};

/// Longest version that is looked at, in bytes. The longest of real packages are about 60.
pub const VERSION_BYTES_MAX: usize = 256;

/// Before an end of a range that was stated in words that nobody understood: no version has an order with it.
pub const UNREAD: char = '?';

/// How the maker of a product orders its versions.
///
/// Serialised by position: variants are only ever added at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Numbers and words with dots between them, as most products do.
    #[default]
    Dotted,
    /// Semantic versioning 2.0.0.
    Semver,
    /// Debian's and Ubuntu's packages (deb-version(7)).
    Dpkg,
    /// Red Hat's, SUSE's, Rocky's, Alma's packages (rpm-version(7)).
    Rpm,
    /// Alpine's packages (apk-package(5)).
    Apk,
    /// OpenSSL: letters up to 1.1.1 (`1.0.2zf`), numbers since 3.0.
    OpenSsl,
    /// OpenSSH with the number of its portable release (`9.2p1`).
    OpenSsh,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 7] =
        [Self::Dotted, Self::Semver, Self::Dpkg, Self::Rpm, Self::Apk, Self::OpenSsl, Self::OpenSsh];

    /// Its stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dotted => "dotted",
            Self::Semver => "semver",
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
            Self::OpenSsl => "openssl",
            Self::OpenSsh => "openssh",
        }
    }

    /// Whether it orders a distribution's packages rather than what a product's makers release.
    #[must_use]
    pub fn is_of_packages(self) -> bool {
        matches!(self, Self::Dpkg | Self::Rpm | Self::Apk)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which of two versions is older; `None` where the scheme does not tell, or one of them is no version of it.
///
/// ```
/// use std::cmp::Ordering;
/// use pentora_scanner::vuln::version::{Scheme, compare};
/// assert_eq!(compare(Scheme::OpenSsl, "1.0.2z", "1.0.2za"), Some(Ordering::Less));
/// assert_eq!(compare(Scheme::Dotted, "1.0a", "1.0"), None);
/// ```
#[must_use]
pub fn compare(scheme: Scheme, a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (a.trim(), b.trim());
    let is_none = |version: &&str| {
        version.is_empty() || version.len() > VERSION_BYTES_MAX || !version.is_ascii() || version.starts_with(UNREAD)
    };
    if [a, b].iter().any(is_none) || (!scheme.is_of_packages() && is_day(a) != is_day(b)) {
        return None;
    }
    match scheme {
        Scheme::Dotted => dotted::compare(a, b),
        Scheme::Semver => semver::compare(a, b),
        Scheme::Dpkg => dpkg::compare(a, b),
        Scheme::Rpm => rpm::compare(a, b),
        Scheme::Apk => apk::compare(a, b),
        Scheme::OpenSsl => openssl::compare(a, b),
        Scheme::OpenSsh => openssh::compare(a, b),
    }
}

/// Whether this word behind the numbers of a version, such as `rc` or `Final`, is one whose meaning everybody shares.
#[must_use]
pub fn is_known_word(word: &str) -> bool {
    dotted::is_known_word(word)
}

/// Whether a version is a day, `20240131` or `2024-01-31`: such ones and numbers that count releases have no order, though some
/// records state the one for the other.
fn is_day(version: &str) -> bool {
    let version = version.strip_prefix(['v', 'V', 'r', 'R']).unwrap_or(version);
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let is_century = digits.starts_with("19") || digits.starts_with("20");
    let rest = version.get(digits.len()..).unwrap_or_default();
    let mut month_and_day = rest.strip_prefix('-').unwrap_or_default().splitn(2, '-');
    let is_pair = |part: Option<&str>| {
        part.is_some_and(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_digit()))
    };
    let is_short_pair = |part: Option<&str>| part.is_some_and(|part| part.len() == 2) && is_pair(part);
    is_century
        && match digits.len() {
            8 => true,
            4 => is_short_pair(month_and_day.next()) && is_pair(month_and_day.next()),
            _ => false,
        }
}

#[cfg(test)]
#[path = "version/version_test.rs"]
mod tests;
