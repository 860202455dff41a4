//! Scores of the Common Vulnerability Scoring System, computed from their vectors: versions 2.0 to 4.0.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TEXT_BYTES_MAX;
use crate::finding::Severity;

/// What a vector must say to have a score: CVSS 3.0 and 3.1, section 6.
const BASE_METRICS_3: &[&str] = &["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
/// The same for CVSS 4.0, section 7.
const BASE_METRICS_4: &[&str] = &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"];
/// The weights of CVSS 2.0, section 3.2.1, by metric and value.
const WEIGHTS_2: [(&str, [(&str, f64); 3]); 6] = [
    ("AV", [("L", 0.395), ("A", 0.646), ("N", 1.0)]),
    ("AC", [("H", 0.35), ("M", 0.61), ("L", 0.71)]),
    ("Au", [("M", 0.45), ("S", 0.56), ("N", 0.704)]),
    ("C", [("N", 0.0), ("P", 0.275), ("C", 0.66)]),
    ("I", [("N", 0.0), ("P", 0.275), ("C", 0.66)]),
    ("A", [("N", 0.0), ("P", 0.275), ("C", 0.66)]),
];

/// A CVSS vector and its score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cvss {
    /// The vector string, of CVSS 2.0 (which begins with no version), 3.0, 3.1 or 4.0.
    pub vector: String,
    /// Its score in tenths, 0 to 100, computed here from the vector.
    pub score_tenths: u8,
}

impl Cvss {
    /// Computes the score of a vector; `None` where it is none of CVSS 2.0, 3.0, 3.1 or 4.0.
    #[must_use]
    pub fn of_vector(vector: &str) -> Option<Self> {
        let vector = vector.trim().trim_end_matches('/');
        if vector.len() > TEXT_BYTES_MAX {
            return None;
        }
        if !vector.starts_with("CVSS:") || vector.starts_with("CVSS:2") {
            let vector = vector.trim_start_matches("CVSS:2.0/").trim_start_matches('(').trim_end_matches(')');
            let score_tenths = tenths(score_of_version_2(vector)?);
            return Some(Self { vector: vector.to_owned(), score_tenths });
        }
        let base = if vector.starts_with("CVSS:4") { BASE_METRICS_4 } else { BASE_METRICS_3 };
        let has = |metric: &&str| vector.split('/').any(|part| part.split(':').next() == Some(*metric));
        if !base.iter().all(has) {
            return None;
        }
        let score = vector.parse::<cvss::Cvss>().ok()?.score();
        Some(Self { vector: vector.to_owned(), score_tenths: tenths(score) })
    }

    /// The severity that the standard gives to this score; for version 2.0, which has no words, NVD's.
    #[must_use]
    pub fn severity(&self) -> Severity {
        severity_of_score(self.score_tenths, !self.vector.starts_with("CVSS:"))
    }
}

impl fmt::Display for Cvss {
    /// As `8.1 (CVSS:3.1/...)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.score_tenths / 10, self.score_tenths % 10, self.vector)
    }
}

/// The severity of a score in tenths. Version 2.0 knows nothing above high, and nothing below low.
#[must_use]
pub fn severity_of_score(tenths: u8, is_version_2: bool) -> Severity {
    match (tenths, is_version_2) {
        (0, false) => Severity::Info,
        (0..=39, _) => Severity::Low,
        (40..=69, _) => Severity::Medium,
        (70..=89, _) | (_, true) => Severity::High,
        _ => Severity::Critical,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
fn tenths(score: f64) -> u8 {
    (score * 10.0).round().clamp(0.0, 100.0) as u8
}

/// The base score of a vector of version 2.0 (section 3.2.1); other metrics in it do not count.
fn score_of_version_2(vector: &str) -> Option<f64> {
    let weight = |metric: &str| {
        let mut values = vector.split('/').filter_map(|part| part.split_once(':')).filter(|(name, _)| *name == metric);
        let (_, value) = values.next().filter(|_| values.next().is_none())?;
        let (_, weights) = WEIGHTS_2.iter().find(|(name, _)| *name == metric)?;
        weights.iter().find(|(name, _)| *name == value).map(|(_, weight)| *weight)
    };
    let impact = 10.41 * (1.0 - (1.0 - weight("C")?) * (1.0 - weight("I")?) * (1.0 - weight("A")?));
    let exploitability = 20.0 * weight("AV")? * weight("AC")? * weight("Au")?;
    let of_impact = if impact == 0.0 { 0.0 } else { 1.176 };
    Some((0.6 * impact + 0.4 * exploitability - 1.5) * of_impact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_published_examples() {
        for (vector, score, severity) in [
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H", 81, Severity::High),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 100, Severity::Critical),
            ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N", 33, Severity::Low),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 100, Severity::Critical),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0, Severity::Info),
            // The examples of the standard of version 2.0, section 3.3.
            ("AV:N/AC:L/Au:N/C:N/I:N/A:C", 78, Severity::High),
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 100, Severity::High),
            ("AV:L/AC:H/Au:N/C:C/I:C/A:C", 62, Severity::Medium),
            ("(AV:N/AC:M/Au:N/C:P/I:N/A:N)", 43, Severity::Medium),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P/E:F/RL:OF/RC:C", 75, Severity::High),
            ("AV:L/AC:H/Au:M/C:N/I:N/A:N", 0, Severity::Low),
        ] {
            let cvss = Cvss::of_vector(vector).unwrap();
            assert_eq!((cvss.score_tenths, cvss.severity()), (score, severity), "{vector}");
        }
        for vector in [
            "",
            "CVSS:3.1/AV:N",
            "AV:N/AC:L/Au:N/C:P/I:P",
            "AV:X/AC:L/Au:N/C:P/I:P/A:P",
            "AV:N/AV:L/AC:L/Au:N/C:P/I:P/A:P",
        ] {
            assert_eq!(Cvss::of_vector(vector), None, "{vector}");
        }
    }
}
