//! Products whose makers no longer correct them: a table of our own, of dates that the makers published.

use std::cmp::Ordering;

use serde::Deserialize;

use super::{METHOD_ENDED, RuleError, Seen};
use crate::finding::{Severity, Weakness, plain_text};
use crate::vuln::matching::Subject;
use crate::vuln::version::{Range, Scheme, Verdict, compare};

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
    /// The last version of it that everybody got, where its makers go on correcting it for those who pay.
    #[serde(default)]
    last: Option<String>,
}

/// Words behind a version that its makers themselves put there, in lower case and without numbers: kinds of builds and stages
/// on the way to a release.
const OF_MAKERS: [&str; 23] = [
    "a",
    "advanced",
    "alpha",
    "b",
    "beta",
    "classic",
    "commercial",
    "community",
    "debug",
    "dev",
    "embedded",
    "enterprise",
    "final",
    "ga",
    "log",
    "mariadb",
    "max",
    "nt",
    "p",
    "pre",
    "rc",
    "snapshot",
    "standard",
];
/// Of these the ones that stand right behind the numbers: `9.8.2rc1`, and not `5.3.3p1`.
const GLUED: [&str; 6] = ["a", "alpha", "b", "beta", "pre", "rc"];

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

    /// What its products are called, each by all of its names.
    pub fn names(&self) -> impl Iterator<Item = Vec<&str>> {
        self.product.iter().map(|product| product.names.iter().map(String::as_str).collect())
    }

    /// The weakness of a product that has ended by now: of the server itself, or else of what it names in itself.
    pub(super) fn weakness(&self, seen: &Seen<'_>) -> Option<Weakness> {
        Subject::all_of(seen.service).iter().find_map(|subject| self.of_subject(subject, seen.now_s))
    }

    fn of_subject(&self, subject: &Subject, now_s: i64) -> Option<Weakness> {
        let name = subject.name().to_lowercase();
        let version = subject.version()?;
        let version = version.split(['-', '+', '~', '_']).next()?;
        let product = self.product.iter().find(|product| product.names.contains(&name))?;
        // A shortened version is of a line where all versions that begin so are before the line's end; of the lines up to
        // there, some of them may be.
        let holds = |line: &Line| {
            let up_to = Range::all(product.scheme).before(line.below.as_str());
            up_to.holds_shortened(version, subject.is_cut())
        };
        let at = product.line.iter().position(|line| holds(line) == Verdict::Inside)?;
        let may_be = product.line.get(..=at)?.iter().filter(|line| holds(line) != Verdict::Outside);
        let today = now_s.div_euclid(86_400);
        let line = product.line.get(at)?;
        let has_ended = may_be.map(|line| day(&line.ended)).all(|ended| ended.is_some_and(|ended| ended <= today));
        // Others go on correcting what its makers have left, and some makers do for those who pay.
        let is_of_few =
            line.last.as_ref().is_some_and(|last| compare(product.scheme, version, last) == Some(Ordering::Greater));
        let (severity, confidence, more) = match subject.distribution() {
            Some(_) => (Severity::Low, 30, " A distribution ships it and may still correct it."),
            None if !subject.whole_version().is_some_and(|whole| is_of_makers(whole, product.scheme)) => {
                (Severity::Low, 30, " It is a build of somebody else's, who may still correct it.")
            }
            None if is_of_few => (Severity::Low, 30, " Its makers correct it for those who pay for that."),
            None => (Severity::High, 80, ""),
        };
        let product_name = plain_text(subject.name());
        has_ended.then(|| Weakness {
            id: "PEN-EOL".to_owned(),
            title: format!("{product_name} {} is no longer corrected by its makers", plain_text(version)),
            severity,
            confidence,
            method: METHOD_ENDED.to_owned(),
            evidence: format!(
                "{product_name} says version {}; versions before {} ended on {}.{more}",
                plain_text(version),
                line.below,
                line.ended
            ),
            remedy: format!("Move to {} or later, and to a line that is still corrected.", line.below),
            references: vec![product.source.clone()],
        })
    }
}

/// Whether nothing stands behind the version but what its makers put there.
fn is_of_makers(version: &str, scheme: Scheme) -> bool {
    let rest = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (glued, suffix) = rest.split_at(rest.find(['-', '+', '~', '_']).unwrap_or(rest.len()));
    let word = |text: &str| text.to_ascii_lowercase().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    // OpenSSL counts by letters.
    let is_release = glued.is_empty() || scheme == Scheme::OpenSsl || GLUED.contains(&word(glued).as_str());
    // The packages of MariaDB's own makers: `10.6.5-MariaDB-1:10.6.5+maria~focal`.
    let is_of_package = suffix.to_ascii_lowercase().contains("+maria~");
    let mut words = suffix.split(['-', '+', '~', '_', '.']).filter(|word| !word.is_empty()).map(word);
    is_release && (is_of_package || words.all(|word| OF_MAKERS.contains(&word.as_str())))
}

/// Days since 1970-01-01 of a day written `2024-11-26`.
fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).ok()?;
    Some(i64::from(since.get_days()))
}
