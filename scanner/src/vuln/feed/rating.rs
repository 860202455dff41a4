//! How severe a weakness is, as CVE records and the NVD's feeds have it: scores of several kinds, in one shape.

use serde::Deserialize;

use super::lenient::{text, text_or_empty};
use crate::finding::Severity;
use crate::vuln::advisory::{Cvss, severity_of_score};

/// One score.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Score {
    #[serde(deserialize_with = "text_or_empty")]
    pub(super) vector_string: String,
    #[serde(deserialize_with = "text")]
    pub(super) base_severity: Option<String>,
    /// The number, which some give alone.
    #[serde(deserialize_with = "text")]
    pub(super) base_score: Option<String>,
    /// The standard's version, as `2.0`.
    #[serde(deserialize_with = "text")]
    pub(super) version: Option<String>,
}

/// What a record's scores say together.
#[derive(Debug, PartialEq)]
pub(super) struct Rating {
    pub(super) cvss: Option<Cvss>,
    pub(super) severity: Option<Severity>,
}

impl Rating {
    /// The first of `scores` that can be read, which come newest kind first; where none can, the author's word, and
    /// without one the author's number.
    pub(super) fn of<'a>(scores: impl Iterator<Item = &'a Score> + Clone) -> Self {
        let cvss = scores.clone().find_map(Score::cvss);
        let word = || scores.clone().find_map(|score| severity_of(score.base_severity.as_deref()?.trim()));
        let number = || scores.clone().find_map(Score::severity_of_number);
        let severity = cvss.as_ref().map(Cvss::severity).or_else(word).or_else(number);
        Self { cvss, severity }
    }
}

impl Score {
    /// Its vector. Some leave out the version in front, which is told beside it.
    fn cvss(&self) -> Option<Cvss> {
        let version = self.version.as_deref().map(str::trim).filter(|version| ["3.0", "3.1", "4.0"].contains(version));
        let bare = || Cvss::of_vector(&format!("CVSS:{}/{}", version?, self.vector_string.trim()));
        Cvss::of_vector(&self.vector_string).or_else(bare)
    }

    fn severity_of_number(&self) -> Option<Severity> {
        let score: f64 =
            self.base_score.as_deref()?.trim().parse().ok().filter(|score| (0.0..=10.0).contains(score))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
        let tenths = (score * 10.0).round() as u8;
        let is_second = self.version.as_deref().is_some_and(|version| version.trim().starts_with('2'));
        Some(severity_of_score(tenths, is_second))
    }
}

/// The severity behind the word that advisories use.
pub(super) fn severity_of(word: &str) -> Option<Severity> {
    match word.to_ascii_lowercase().as_str() {
        "none" => Some(Severity::Info),
        "moderate" => Some(Severity::Medium),
        "important" => Some(Severity::High),
        // Ubuntu's word.
        "negligible" => Some(Severity::Low),
        word => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_counts_before_the_authors_word_and_a_newer_kind_before_an_older_one() {
        let score = |vector: &str, word: &str| Score {
            vector_string: vector.to_owned(),
            base_severity: Some(word.to_owned()),
            ..Score::default()
        };
        let (high, low) =
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N");
        let rating = Rating::of([score("nonsense", "LOW"), score(high, "MODERATE"), score(low, "LOW")].iter());
        assert_eq!(rating.severity, Some(Severity::Critical));
        assert_eq!(rating.cvss, Cvss::of_vector(high));
        let second = Rating::of([score("nonsense", "LOW"), score("AV:N/AC:L/Au:N/C:P/I:P/A:P", "")].iter());
        assert_eq!((second.severity, second.cvss.unwrap().score_tenths), (Some(Severity::High), 75));
        let words = Rating::of([score("", "unheard of"), score("", "Important")].iter());
        assert_eq!(words, Rating { cvss: None, severity: Some(Severity::High) });
    }

    #[test]
    fn a_number_alone_is_as_severe_as_its_standard_says() {
        for (number, version, severity) in [
            ("9.8", "3.1", Some(Severity::Critical)),
            ("9.8", "2.0", Some(Severity::High)),
            ("7.0", "2.0", Some(Severity::High)),
            ("4.0", "2.0", Some(Severity::Medium)),
            ("3.9", "2.0", Some(Severity::Low)),
            ("0", "3.1", Some(Severity::Info)),
            ("11", "3.1", None),
            ("NaN", "3.1", None),
            ("high", "3.1", None),
        ] {
            let (base_score, version) = (Some(number.to_owned()), Some(version.to_owned()));
            let score = Score { base_score, version, ..Score::default() };
            assert_eq!(Rating::of([score].iter()).severity, severity, "{number}");
        }
    }
}
