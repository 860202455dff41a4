//! Products whose makers no longer correct them: a table of our own, of dates that the makers published.

use std::cmp::Ordering;

use serde::Deserialize;

use super::{METHOD_ENDED, RuleError, Seen};
use crate::finding::{Printable, Severity, Weakness};
use crate::vuln::matching::Distribution;
use crate::vuln::version::{Scheme, compare};

/// The table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndOfLife {
    #[serde(default)]
    product: Vec<Product>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    /// What detection calls it.
    names: Vec<String>,
    /// Where the dates are from.
    source: String,
    /// How its versions are ordered.
    #[serde(default)]
    scheme: Scheme,
    /// Its lines, oldest first.
    line: Vec<Line>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The first version that is no longer of this line.
    below: String,
    /// The day on which it ended, as `2024-11-26`.
    ended: String,
}

impl EndOfLife {
    /// Reads the table and checks that lines are in order and days are days.
    pub(super) fn parse(text: &str) -> Result<Self, RuleError> {
        let file = "end-of-life.toml".to_owned();
        let table: Self = toml::from_str(text).map_err(|source| RuleError::Shape { file: file.clone(), source })?;
        for product in &table.product {
            let is_ordered = product.line.windows(2).all(|pair| match pair {
                [a, b] => compare(product.scheme, &a.below, &b.below) == Some(Ordering::Less),
                _ => true,
            });
            let are_days = product.line.iter().all(|line| day(&line.ended).is_some());
            if !is_ordered || !are_days || !product.source.starts_with("https://") {
                let id = product.names.join(", ");
                return Err(RuleError::Content {
                    file,
                    id,
                    why: "lines are oldest first, days are `2024-11-26`, the source is a URL".to_owned(),
                });
            }
        }
        Ok(table)
    }

    /// How many products are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.product.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.product.is_empty()
    }

    /// The weakness of a product that has ended by now.
    pub(super) fn weakness(&self, seen: &Seen<'_>) -> Option<Weakness> {
        let service = seen.service;
        let name = service.product.as_deref()?.to_lowercase();
        let told = service.version.as_deref()?;
        let version = told.split_whitespace().next()?.split('-').next()?;
        let product = self.product.iter().find(|product| product.names.contains(&name))?;
        let line =
            product.line.iter().find(|line| compare(product.scheme, version, &line.below) == Some(Ordering::Less))?;
        let has_ended = day(&line.ended)? <= seen.now_s.div_euclid(86_400);
        // Distributions go on correcting what its makers have left.
        let distribution = Distribution::of(
            told,
            &[service.info.as_deref().unwrap_or_default(), service.os.as_deref().unwrap_or_default()],
        );
        let (severity, confidence, more) = match distribution {
            None => (Severity::High, 80, ""),
            Some(_) => (Severity::Low, 30, " A distribution ships it and may still correct it."),
        };
        let product_name = Printable(service.product.as_deref().unwrap_or_default());
        has_ended.then(|| Weakness {
            id: "PEN-EOL".to_owned(),
            title: format!("{product_name} {} is no longer corrected by its makers", Printable(version)),
            severity,
            confidence,
            method: METHOD_ENDED.to_owned(),
            evidence: format!(
                "Says version {}; versions before {} ended on {}.{more}",
                Printable(told),
                line.below,
                line.ended
            ),
            remedy: format!("Move to {} or later, and to a line that is still corrected.", line.below),
            references: vec![product.source.clone()],
        })
    }
}

/// Days since 1970-01-01 of a day written `2024-11-26`.
fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).ok()?;
    Some(i64::from(since.get_days()))
}
