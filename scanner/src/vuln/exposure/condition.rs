//! One condition of a rule: `FIELD OPERATOR VALUE`, such as `tls.problems has expired`.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::fields::{FAMILIES, FIELDS, Seen};
use crate::vuln::version::{Scheme, compare};

/// Most bytes that a regular expression may compile to.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// One condition.
#[derive(Debug, Clone)]
pub struct Condition {
    field: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// Some value is there.
    Exists,
    /// No value is there.
    Absent,
    /// Some value is one of these words, whatever its case.
    Is(Vec<String>),
    /// Some value contains this text, whatever its case.
    Has(String),
    /// Some value matches.
    Matches(Regex),
    /// Some value is an older version, or a smaller number.
    Below(String),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Says what is wrong, in a sentence's fragment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (field, rest) =
            text.trim().split_once(' ').ok_or_else(|| format!("`{text}` is not `FIELD OPERATOR VALUE`"))?;
        let is_known = FIELDS.contains(&field)
            || FAMILIES.iter().any(|family| field.len() > family.len() && field.starts_with(family));
        if !is_known {
            return Err(format!("`{field}` is no field"));
        }
        let (operator, value) =
            rest.trim().split_once(' ').map_or((rest.trim(), ""), |(operator, value)| (operator, value.trim()));
        let test = match (operator, value.is_empty()) {
            ("exists", true) => Test::Exists,
            ("absent", true) => Test::Absent,
            ("is", false) => Test::Is(value.split('|').map(|word| word.trim().to_lowercase()).collect()),
            ("has", false) => Test::Has(value.to_lowercase()),
            ("matches", false) => {
                let regex = RegexBuilder::new(value).case_insensitive(true).size_limit(REGEX_BYTES_MAX).build();
                Test::Matches(regex.map_err(|error| format!("`{value}`: {error}"))?)
            }
            ("below", false) => Test::Below(value.to_owned()),
            _ => return Err(format!("`{text}`: after the field comes exists, absent, is, has, matches or below")),
        };
        Ok(Self { field: field.to_owned(), test })
    }

    /// Whether it holds for what was seen.
    #[must_use]
    pub fn holds(&self, seen: &Seen<'_>) -> bool {
        let values = seen.values(&self.field);
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(value));
        match &self.test {
            Test::Exists => !values.is_empty(),
            Test::Absent => values.is_empty(),
            Test::Is(words) => any(&|value| words.contains(&value.to_lowercase())),
            Test::Has(text) => any(&|value| value.to_lowercase().contains(text)),
            Test::Matches(regex) => any(&|value| regex.is_match(value)),
            Test::Below(limit) => any(&|value| match (value.parse::<i64>(), limit.parse::<i64>()) {
                (Ok(value), Ok(limit)) => value < limit,
                _ => compare(Scheme::Dotted, value, limit) == Some(Ordering::Less),
            }),
        }
    }
}
