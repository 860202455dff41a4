//! A weakness: something about a service that its owner should change, and why we think so.
//!
//! Serialised by position in chunks and by name in documents: fields are only ever added at the end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One weakness of one port of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Weakness {
    /// The rule's id (`PEN-REDIS-NOAUTH`) or the advisory's (`CVE-2024-6387`).
    pub id: String,
    /// One line that names it.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// How sure this is, 0 to 100.
    pub confidence: u8,
    /// How it was found, in a stable word: `exposure`, `version-range`, `version-range-distro`, ...
    pub method: String,
    /// What was seen, word for word and printable.
    pub evidence: String,
    /// What to do about it.
    pub remedy: String,
    /// Where to read more: URLs.
    pub references: Vec<String>,
}

impl Weakness {
    /// Below this confidence a weakness is only potential: a version fits, but nothing shows that the fix is missing.
    pub const POTENTIAL_BELOW: u8 = 70;

    /// Whether this is too unsure to count: shown to people as potential, and in no default count.
    #[must_use]
    pub fn is_potential(&self) -> bool {
        self.confidence < Self::POTENTIAL_BELOW
    }
}

/// How bad a weakness is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be mended some day.
    Low,
    /// To be mended.
    Medium,
    /// To be mended soon.
    High,
    /// To be mended now.
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word used in documents and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a severity: info, low, medium, high or critical"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_read_back_what_they_print_and_are_in_order() {
        for severity in Severity::ALL {
            assert_eq!(severity.to_string().parse(), Ok(severity));
            assert_eq!(serde_json::to_string(&severity).unwrap(), format!("\"{severity}\""));
        }
        assert!(Severity::Critical > Severity::High && "bad".parse::<Severity>().is_err());
    }
}
