//! The text of a rule file, as `scanner/fingerprints/FORMAT.md` describes it, and what is wrong with one.
//!
//! Examples are run as tests; a running program only checks their shape.
//! Only the shape is checked here; what names mean across files is settled in `index`.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

/// What is wrong with a rule file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{line}: {problem}")]
pub struct RuleFileError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// A rule file: probes, rules, and answers that no rule of it may claim.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileText {
    #[serde(default)]
    pub(crate) probe: Vec<Spanned<ProbeText>>,
    #[serde(default)]
    pub(crate) rule: Vec<Spanned<RuleText>>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "run as a test"))]
    pub(crate) none: Vec<Spanned<NoneText>>,
}

/// `[[probe]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProbeText {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) protocol: ProtocolText,
    #[serde(default)]
    pub(crate) ports: String,
    #[serde(default)]
    pub(crate) tls_ports: String,
    #[serde(default = "common_rarity")]
    pub(crate) rarity: u8,
    #[serde(default)]
    pub(crate) hinted_only: bool,
    #[serde(default)]
    pub(crate) fallback: Vec<String>,
    pub(crate) payload: Spanned<String>,
}

fn common_rarity() -> u8 {
    5
}

/// `protocol`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProtocolText {
    #[default]
    Tcp,
    Udp,
}

/// `[[rule]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RuleText {
    pub(crate) id: String,
    pub(crate) service: String,
    #[serde(default)]
    pub(crate) from: Vec<String>,
    pub(crate) dissect: Option<String>,
    pub(crate) regex: Spanned<String>,
    #[serde(default)]
    pub(crate) soft: bool,
    #[serde(default)]
    pub(crate) adds: bool,
    #[serde(default = "usual_confidence")]
    pub(crate) confidence: u8,
    pub(crate) product: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) info: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) os: Option<String>,
    pub(crate) device: Option<String>,
    #[serde(default)]
    pub(crate) cpe: Vec<String>,
    #[serde(default)]
    pub(crate) facts: BTreeMap<String, String>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "run as a test"))]
    pub(crate) example: Vec<Spanned<ExampleText>>,
}

fn usual_confidence() -> u8 {
    90
}

/// `[[rule.example]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[cfg_attr(not(test), expect(dead_code, reason = "run as a test; a running program only checks its shape"))]
pub(crate) struct ExampleText {
    pub(crate) bytes: String,
    pub(crate) from: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) info: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) os: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) cpe: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) facts: BTreeMap<String, String>,
}

/// `[[none]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "run as a test; a running program only checks its shape"))]
pub(crate) struct NoneText {
    pub(crate) bytes: String,
    #[serde(default)]
    pub(crate) from: Option<String>,
}

/// A file's name and text, to say where in it something is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    /// An error at a position in the text.
    pub(crate) fn error(&self, at: usize, problem: impl Into<String>) -> RuleFileError {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        RuleFileError { file: self.file.to_owned(), line, problem: problem.into() }
    }
}

/// Reads a file's shape.
pub(crate) fn parse(place: Place<'_>) -> Result<FileText, RuleFileError> {
    toml::from_str(place.text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        place.error(at, error.message())
    })
}

/// Reads a list of ports and ranges, such as `80,8000-8010`.
pub(crate) fn ports(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let number = |word: &str| match word.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{:?} is no port", word.trim())),
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let ranges = parts.map(|part| match part.split_once('-') {
        Some((first, last)) => Ok((number(first)?, number(last)?)),
        None => number(part).map(|port| (port, port)),
    });
    ranges.collect()
}
