//! Feeds: vulnerability and fingerprint data that a user brought, the same on every node.
//!
//! A feed is one bundle of sorted entries ([`bundle`]). The node that takes it in signs it, keeps it as a chunk on two
//! nodes and puts its digest into the log; every node follows the log ([`follow`]), fetches the bundle, checks digest and
//! signature, and replaces its own copy in one RocksDB ([`store`]) in one step. A bundle that does not hold what it
//! promises changes nothing. What the entries mean is the scanner's business: it makes them ([`compile`]) and reads them.

pub mod bundle;
pub mod compile;
pub mod explain;
pub mod follow;
pub mod rematch;
pub mod rules;
mod sorted;
pub mod store;

use std::fmt;
use std::str::FromStr;

use pentora_scanner::vuln::feed;

pub use self::store::FeedStore;

/// What a feed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeedKind {
    /// CVE records, version 5.
    Cve,
    /// Open Source Vulnerability records.
    Osv,
    /// CVE records of the National Vulnerability Database, API 2.0.
    Nvd,
    /// CISA's catalogue of known exploited vulnerabilities.
    Kev,
    /// FIRST's exploit prediction scores.
    Epss,
    /// Recog fingerprints.
    Recog,
    /// A user's own service probes.
    Probes,
    /// A user's own rules of exposure.
    Exposures,
}

impl FeedKind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Cve, Self::Osv, Self::Nvd, Self::Kev, Self::Epss, Self::Recog, Self::Probes, Self::Exposures];

    /// The scanner's name for it, where it speaks of weaknesses.
    #[must_use]
    pub fn of_advisories(self) -> Option<feed::FeedKind> {
        Some(match self {
            Self::Cve => feed::FeedKind::Cve,
            Self::Osv => feed::FeedKind::Osv,
            Self::Nvd => feed::FeedKind::Nvd,
            Self::Kev => feed::FeedKind::Kev,
            Self::Epss => feed::FeedKind::Epss,
            Self::Recog | Self::Probes | Self::Exposures => return None,
        })
    }

    /// The word for it on the command line, in documents and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cve => "cve",
            Self::Osv => "osv",
            Self::Nvd => "nvd",
            Self::Kev => "kev",
            Self::Epss => "epss",
            Self::Recog => "recog",
            Self::Probes => "probes",
            Self::Exposures => "exposures",
        }
    }
}

impl fmt::Display for FeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FeedKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As the flag of a scan calls them.
        let text = if text == "fingerprints" { "recog" } else { text };
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            format!("`{text}` is not a kind of feed: cve, osv, nvd, kev, epss, recog, probes or exposures")
        })
    }
}

/// What a node signs when it takes a bundle in: kind, digest, size and number of records, so that none can be swapped.
#[must_use]
pub fn signed_words(kind: &str, digest: &pentora_raft::Digest, bytes: u64, records: u64) -> Vec<u8> {
    format!("pentora feed 1\n{kind}\n{digest}\n{bytes}\n{records}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_what_they_print() {
        for kind in FeedKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("CVE".parse::<FeedKind>().is_err());
        assert_eq!("fingerprints".parse(), Ok(FeedKind::Recog));
    }
}
