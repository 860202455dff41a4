//! How severe a weakness is, as CVE records and the NVD's feeds have it: scores of several kinds, in one shape.

use serde::Deserialize;

use crate::finding::Severity;
use crate::vuln::advisory::Cvss;

/// One score.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Score {
    vector_string: String,
    base_severity: Option<String>,
}

/// What a record's scores say together.
#[derive(Debug, PartialEq)]
pub(super) struct Rating {
    pub(super) cvss: Option<Cvss>,
    pub(super) severity: Option<Severity>,
}

impl Rating {
    /// The first of `scores` that can be read, which come newest kind first; where none can, the author's word.
    pub(super) fn of<'a>(scores: impl Iterator<Item = &'a Score> + Clone) -> Self {
        let cvss = scores.clone().find_map(|score| Cvss::of_vector(&score.vector_string));
        let word = || scores.clone().find_map(|score| severity_of(score.base_severity.as_deref()?));
        let severity = cvss.as_ref().map(Cvss::severity).or_else(word);
        Self { cvss, severity }
    }
}

/// The severity behind the word that advisories use.
pub(super) fn severity_of(word: &str) -> Option<Severity> {
    match word.to_ascii_lowercase().as_str() {
        "none" => Some(Severity::Info),
        "moderate" => Some(Severity::Medium),
        "important" => Some(Severity::High),
        word => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_counts_before_the_authors_word_and_a_newer_kind_before_an_older_one() {
        let score =
            |vector: &str, word: &str| Score { vector_string: vector.to_owned(), base_severity: Some(word.to_owned()) };
        let (high, low) =
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N");
        let rating = Rating::of([score("nonsense", "LOW"), score(high, "MODERATE"), score(low, "LOW")].iter());
        assert_eq!(rating.severity, Some(Severity::Critical));
        assert_eq!(rating.cvss, Cvss::of_vector(high));
        let words = Rating::of([score("", "unheard of"), score("", "Important")].iter());
        assert_eq!(words, Rating { cvss: None, severity: Some(Severity::High) });
    }
}
