//! Exposure: what is weak about a service without any advisory, by rules of our own.
//!
//! The rules are text beside the code (`scanner/exposures/*.toml`, explained in `FORMAT.md` there), built in and read
//! once. They look at a finished service: its names, TLS, HTTP and facts, and at what read-only checks
//! ([`check`](super::check)) found out. Evaluating them is pure and needs no feed.

mod condition;
mod end_of_life;
mod fields;
mod file;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use thiserror::Error;

pub use self::condition::Condition;
pub use self::end_of_life::EndOfLife;
pub use self::fields::Seen;
pub use self::file::{Applies, Example, Rule};
use super::check::Check;
use crate::finding::{Weakness, plain_text_of};
use crate::packed::{Packed, packed, unpack};

/// Method of weaknesses that a rule found in what the service told by itself.
pub const METHOD_SEEN: &str = "exposure";
/// Method of weaknesses that a read-only check confirmed.
pub const METHOD_CHECKED: &str = "exposure-checked";
/// Method of weaknesses from the table of products that have ended.
pub const METHOD_ENDED: &str = "end-of-life";

/// The files of rules that are built in.
const FILES: [Packed; 7] = [
    packed!("exposures", "databases.toml"),
    packed!("exposures", "platforms.toml"),
    packed!("exposures", "messaging.toml"),
    packed!("exposures", "remote.toml"),
    packed!("exposures", "files.toml"),
    packed!("exposures", "tls.toml"),
    packed!("exposures", "web.toml"),
];
const END_OF_LIFE: Packed = packed!("exposures", "end-of-life.toml");

/// Why a file of rules was not taken.
#[derive(Debug, Error)]
pub enum RuleError {
    /// It is no TOML of this shape; the message has line and column.
    #[error("{file}: {source}")]
    Shape {
        /// The file.
        file: String,
        /// What is wrong where.
        source: toml::de::Error,
    },
    /// Something in a rule or check is wrong.
    #[error("{file}: {id}: {why}")]
    Content {
        /// The file.
        file: String,
        /// The rule or check.
        id: String,
        /// What is wrong.
        why: String,
    },
}

/// Rules, checks, and the products that have ended.
#[derive(Debug, Default)]
pub struct Exposures {
    rules: Vec<Rule>,
    checks: Vec<Check>,
    end_of_life: EndOfLife,
    /// How many of the rules, from the first, have their checks sent; all where none.
    asking: Option<usize>,
}

impl Exposures {
    /// The rules that are built in.
    ///
    /// # Panics
    /// Never: a test reads every file.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<Exposures> =
            LazyLock::new(|| Exposures::with_files(&[]).expect("the built-in rules are read by a test"));
        &BUILT_IN
    }

    /// The rules that are built in, and those of a user's files, each a name and its text.
    ///
    /// # Errors
    /// Where a file is not in the format, says something that does not hold together, or has a rule or check by the name of
    /// another.
    ///
    /// # Panics
    /// Never: what was packed is unpacked by a test.
    pub fn with_files(files: &[(&str, &str)]) -> Result<Self, RuleError> {
        let unpacked = |files: &[Packed]| unpack(files).expect("they are as the build packed them");
        let (built_in, end_of_life) = (unpacked(&FILES), unpacked(&[END_OF_LIFE]));
        let built_in = built_in.iter().map(|(name, text)| (*name, text.as_str()));
        let end_of_life = end_of_life.first().map_or("", |(_, text)| text);
        Self::parse(&built_in.chain(files.iter().copied()).collect::<Vec<_>>(), end_of_life)
    }

    /// The same, where no packet is sent for a rule that is not built in: those see what was seen anyway, and what the built-in
    /// rules had asked.
    #[must_use]
    pub fn asking_for_built_in_alone(self) -> Self {
        // The built-in files are read first.
        Self { asking: Some(Self::built_in().rules.len()), ..self }
    }

    /// Reads files of rules and the table of products that have ended.
    ///
    /// # Errors
    /// Where a file is not in the format, or a rule says something that does not hold together.
    pub fn parse(files: &[(&str, &str)], end_of_life: &str) -> Result<Self, RuleError> {
        let mut exposures = Self { end_of_life: EndOfLife::parse(end_of_life)?, ..Self::default() };
        for (file, text) in files {
            let parsed = file::parse(file, text)?;
            exposures.rules.extend(parsed.rules);
            exposures.checks.extend(parsed.checks);
        }
        let last = files.last().map_or("rules", |(file, _)| file);
        let wrong = |id: &str, why: String| RuleError::Content { file: last.to_owned(), id: id.to_owned(), why };
        let mut ids = std::collections::BTreeSet::new();
        for id in exposures.rules.iter().map(|rule| &rule.id).chain(exposures.checks.iter().map(|check| &check.id)) {
            if !ids.insert(id) {
                return Err(wrong(id, "is there twice".to_owned()));
            }
        }
        let missing = exposures
            .rules
            .iter()
            .find_map(|rule| Some((rule, rule.check.as_deref().filter(|id| exposures.check(id).is_none())?)));
        match missing {
            Some((rule, check)) => Err(wrong(&rule.id, format!("needs the check `{check}`, which is not there"))),
            None => Ok(exposures),
        }
    }

    /// Every rule.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every check.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The products that have ended.
    #[must_use]
    pub fn end_of_life(&self) -> &EndOfLife {
        &self.end_of_life
    }

    /// The check with this id.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// The weaknesses of what was seen, in the order of the rules.
    #[must_use]
    pub fn evaluate(&self, seen: &Seen<'_>) -> Vec<Weakness> {
        let found = self.rules.iter().filter(|rule| rule.holds(seen)).map(|rule| rule.weakness(seen));
        found.chain(self.end_of_life.weakness(seen)).collect()
    }

    /// The checks whose answer some rule waits for that would hold with it, each once.
    #[must_use]
    pub fn checks_wanted(&self, seen: &Seen<'_>) -> Vec<&Check> {
        let asking = self.rules.iter().take(self.asking.unwrap_or(usize::MAX));
        let waiting = asking.filter(|rule| !rule.holds(seen) && rule.may_hold_with_its_check(seen));
        let mut wanted: Vec<&Check> = waiting.filter_map(|rule| self.check(rule.check.as_deref()?)).collect();
        wanted.sort_by(|a, b| a.id.cmp(&b.id));
        wanted.dedup_by(|a, b| a.id == b.id);
        wanted
    }
}

/// What checks found out: for each that said yes, what it captured by name.
pub type Answers = BTreeMap<String, BTreeMap<String, String>>;

/// Longest value that evidence repeats, in bytes.
const EVIDENCE_VALUE_BYTES_MAX: usize = 200;

/// A template with its `{field}`s filled in, printable; a part in brackets only where all of its fields are known.
fn fill(template: &str, seen: &Seen<'_>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((part, after)) = after.split_once(']') else { break };
        text.push_str(&fill_fields(before, seen).0);
        let (part, is_known) = fill_fields(part, seen);
        text.push_str(if is_known { &part } else { "" });
        rest = after;
    }
    text + &fill_fields(rest, seen).0
}

/// The same without brackets, and whether all of its fields are known.
fn fill_fields(template: &str, seen: &Seen<'_>) -> (String, bool) {
    let mut is_known = true;
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((field, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        let value = seen.values(field).join(", ");
        is_known &= !value.is_empty();
        text.push_str(&plain_text_of(if value.is_empty() { "?" } else { &value }, EVIDENCE_VALUE_BYTES_MAX));
        rest = after;
    }
    (text + rest, is_known)
}

#[cfg(test)]
#[path = "exposure/exposure_test.rs"]
mod tests;
