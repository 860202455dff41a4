//! From a service to the advisories that hold for it, each with how sure that is and why.
//!
//! A banner is weak evidence: distributions correct programs without changing the version that they print. So a
//! version in a range is a finding only where nothing speaks for a distribution, or where the distribution's own data
//! and the package's revision are there; otherwise it is *potential*, with a confidence below what is counted. Where
//! a scheme does not order two versions, the answer is kept apart as indeterminate and is never a finding.
//!
//! | confidence | method | what is known |
//! |---|---|---|
//! | 95 | `package-range` | the package's revision, in a range of its distribution |
//! | 80 | `version-range` | the version, in a range of the CVE record |
//! | 70 | `cpe-range` | the version, in a range of NVD |
//! | 50 | `version-range-platform` | as before, but whether the platform or edition is the one meant is not known |
//! | 50 | `version-range-guess` | as before, but the product was looked up by its bare name |
//! | 40 | `version-range-shortened` | only the first places of the version, with affected and corrected ones behind them |
//! | 30 | `version-range-distro` | the version, of a program that a distribution ships |
//! | 20 | `product-only` | the product, all of whose versions are affected |

mod advisory_cache;
mod component;
mod distribution;
mod explain;
mod judge;
mod known;
mod platform;
mod subject;
mod wording;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use self::advisory_cache::AdvisoryCache;
pub use self::distribution::Distribution;
pub use self::explain::{Step, explain};
use self::known::{Decision, Group};
pub use self::subject::Subject;
use super::advisory::Advisory;
use super::store::{AdvisoryStore, StoreError};
use super::version::Verdict;
use crate::finding::{Service, Weakness};

/// Confidence from which on a finding is counted and reported by default; below, it is potential.
pub const CONFIDENCE_COUNTED_MIN: u8 = Weakness::POTENTIAL_BELOW;
/// Most weaknesses that one service is given.
pub const MATCHES_MAX: usize = 2_000;
/// How many kinds of services are kept with their answer: a job's services are mostly alike.
const CACHED_ANSWERS_MAX: usize = 20_000;
/// How many matches those answers may hold together, about 100 bytes each.
const CACHED_MATCHES_MAX: usize = 200_000;

/// How a match was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// All versions of the product are affected, and its version is not known.
    ProductOnly,
    /// The version is in a range, and a distribution ships the program.
    VersionRangeDistro,
    /// Some of the versions that begin like the one that was told are in the range, and some are not.
    VersionRangeShortened,
    /// The version is in a range of a product that was looked up by its bare name.
    VersionRangeGuess,
    /// The version is in a range for a platform or edition that may be another.
    VersionRangePlatform,
    /// The version is in a range of NVD.
    CpeRange,
    /// The version is in a range of the CVE record.
    VersionRange,
    /// The package's revision is in a range of its distribution.
    PackageRange,
}

impl Method {
    /// The stable word in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProductOnly => "product-only",
            Self::VersionRangeDistro => "version-range-distro",
            Self::VersionRangeShortened => "version-range-shortened",
            Self::VersionRangeGuess => "version-range-guess",
            Self::VersionRangePlatform => "version-range-platform",
            Self::CpeRange => "cpe-range",
            Self::VersionRange => "version-range",
            Self::PackageRange => "package-range",
        }
    }

    /// How sure a match by it is, 0 to 100.
    #[must_use]
    pub fn confidence(self) -> u8 {
        match self {
            Self::ProductOnly => 20,
            Self::VersionRangeDistro => 30,
            Self::VersionRangeShortened => 40,
            Self::VersionRangeGuess | Self::VersionRangePlatform => 50,
            Self::CpeRange => 70,
            Self::VersionRange => 80,
            Self::PackageRange => 95,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One weakness that holds for a service, or may.
#[derive(Debug, Clone)]
pub struct Match {
    /// The CVE id, or the advisory's own where it names none.
    pub id: String,
    /// The product of the service that it holds for, as it calls itself.
    pub product: String,
    /// The advisory that decided.
    pub advisory: Arc<Advisory>,
    /// How sure it is, 0 to 100; never surer than the service itself.
    pub confidence: u8,
    /// How it was made.
    pub method: Method,
    /// The version that was compared.
    pub version: String,
}

/// What is known of one service.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// What holds, by id.
    pub affected: Vec<Match>,
    /// What cannot be told, by id: findings of nobody.
    pub indeterminate: Vec<Match>,
}

/// Matches services against a store, and remembers what it has looked up.
#[derive(Debug)]
pub struct Matcher<S> {
    cache: AdvisoryCache<S>,
    answers: HashMap<Subject, Arc<Matches>>,
    matches_cached: usize,
}

impl<S: AdvisoryStore> Matcher<S> {
    /// A matcher over `store`, which must not change meanwhile: after an import, make a new one.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self { cache: AdvisoryCache::new(store), answers: HashMap::new(), matches_cached: 0 }
    }

    /// What holds for `service` and what cannot be told.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn matches(&mut self, service: &Service) -> Result<Arc<Matches>, StoreError> {
        let mut answers = Vec::new();
        for subject in Subject::all_of(service) {
            answers.push(self.of_subject(subject)?);
        }
        let Some(first) = answers.pop() else { return Ok(Arc::default()) };
        Ok(if answers.is_empty() { first } else { Arc::new(together(answers.iter().chain([&first]))) })
    }

    fn of_subject(&mut self, subject: Subject) -> Result<Arc<Matches>, StoreError> {
        if let Some(answer) = self.answers.get(&subject) {
            return Ok(Arc::clone(answer));
        }
        let answer = Arc::new(decide(&subject, &*self.cache.group(subject.keys())?));
        self.remember(subject, &answer);
        Ok(answer)
    }

    /// The weaknesses of `service`, in the order of their ids; those below [`CONFIDENCE_COUNTED_MIN`] are potential.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn weaknesses(&mut self, service: &Service) -> Result<Vec<Weakness>, StoreError> {
        let matches = self.matches(service)?;
        Ok(matches.affected.iter().map(Match::weakness).collect())
    }

    fn remember(&mut self, subject: Subject, answer: &Arc<Matches>) {
        let count = answer.affected.len() + answer.indeterminate.len();
        if self.answers.len() >= CACHED_ANSWERS_MAX || self.matches_cached + count > CACHED_MATCHES_MAX {
            self.answers.clear();
            self.matches_cached = 0;
        }
        self.matches_cached += count;
        self.answers.insert(subject, Arc::clone(answer));
    }
}

/// What holds for a service of several products: each id once, by the product of which it is surest.
fn together<'a>(answers: impl Iterator<Item = &'a Arc<Matches>> + Clone) -> Matches {
    let list = |of: fn(&Matches) -> &Vec<Match>| {
        let mut all: Vec<Match> = answers.clone().flat_map(|answer| of(answer)).cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| b.confidence.cmp(&a.confidence)));
        all.dedup_by(|later, earlier| later.id == earlier.id);
        all.truncate(MATCHES_MAX);
        all
    };
    let affected = list(|matches| &matches.affected);
    let mut indeterminate = list(|matches| &matches.indeterminate);
    indeterminate.retain(|found| affected.binary_search_by(|known| known.id.cmp(&found.id)).is_err());
    Matches { affected, indeterminate }
}

/// What the advisories in `group` decide of `subject`.
fn decide(subject: &Subject, group: &Group) -> Matches {
    let mut matches = Matches::default();
    for Decision { id, advisory, judgement } in group.decisions(subject) {
        let is_affected = judgement.verdict != Verdict::Indeterminate;
        let list = if is_affected { &mut matches.affected } else { &mut matches.indeterminate };
        if list.len() < MATCHES_MAX {
            list.push(Match {
                id: id.to_owned(),
                product: subject.name().to_owned(),
                advisory: Arc::clone(advisory),
                confidence: judgement.method.confidence().min(subject.confidence()),
                method: judgement.method,
                version: judgement.version(subject).to_owned(),
            });
        }
    }
    matches
}

#[cfg(test)]
#[path = "matching/component_test.rs"]
mod component_tests;
#[cfg(test)]
#[path = "matching/matching_test.rs"]
mod tests;
