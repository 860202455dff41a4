//! Ranges of versions, and whether a version is in one: yes, no, or not to be told.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Scheme, UNREAD, compare, number, openssh};

/// So many places are a whole version, as far as further ones would be zero.
const WHOLE_PLACES: usize = 3;

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The version at this end.
    pub version: String,
    /// Whether that version itself is in the range.
    pub is_inclusive: bool,
}

/// The versions between two ends; an end that is not there does not limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// How its versions are ordered.
    pub scheme: Scheme,
    /// The oldest end.
    pub from: Option<Bound>,
    /// The newest end.
    pub to: Option<Bound>,
}

/// Whether a version is in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is.
    Inside,
    /// It is not.
    Outside,
    /// The scheme does not order this version against an end that decides.
    Indeterminate,
    /// Some of the versions that begin like the one that was told are in it, and some are not.
    Possible,
}

impl Range {
    /// All versions.
    #[must_use]
    pub fn all(scheme: Scheme) -> Self {
        Self { scheme, from: None, to: None }
    }

    /// One version alone.
    #[must_use]
    pub fn exactly(scheme: Scheme, version: impl Into<String>) -> Self {
        let bound = Bound { version: version.into(), is_inclusive: true };
        Self { scheme, from: Some(bound.clone()), to: Some(bound) }
    }

    /// What is said in words that nobody understood: it cannot be told of any version whether it is in it.
    #[must_use]
    pub fn unread(scheme: Scheme, words: &str) -> Self {
        Self::exactly(scheme, unread(words))
    }

    /// This range from `version` on, which is in it.
    #[must_use]
    pub fn since(mut self, version: impl Into<String>) -> Self {
        self.from = Some(Bound { version: version.into(), is_inclusive: true });
        self
    }

    /// This range from what follows `version` on.
    #[must_use]
    pub fn after(mut self, version: impl Into<String>) -> Self {
        self.from = Some(Bound { version: version.into(), is_inclusive: false });
        self
    }

    /// This range up to `version`, which is not in it: usually the one with the correction.
    #[must_use]
    pub fn before(mut self, version: impl Into<String>) -> Self {
        self.to = Some(Bound { version: version.into(), is_inclusive: false });
        self
    }

    /// This range up to `version`, which is in it.
    #[must_use]
    pub fn through(mut self, version: impl Into<String>) -> Self {
        self.to = Some(Bound { version: version.into(), is_inclusive: true });
        self
    }

    /// Whether it has no end, so that every version is in it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether one of its ends is in words that nobody understood.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.from.iter().chain(&self.to).any(|bound| bound.version.starts_with(UNREAD))
    }

    /// The version that is the first after the range: the one with the correction.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        self.to.as_ref().filter(|bound| !bound.is_inclusive).map(|bound| bound.version.as_str())
    }

    /// Whether `version` is in it.
    ///
    /// `version` is what a service told. No service tells the epoch of its package, so for packages a version without
    /// one has that of the end it is compared with. An end of OpenSSH's that names no portable release means all of
    /// them: `9.3p1` is not after `9.3`.
    #[must_use]
    pub fn holds(&self, version: &str) -> Verdict {
        let is_in = |bound: &Option<Bound>, inside: Ordering| match bound {
            None => Verdict::Inside,
            Some(bound) => match self.compare_to(version, &bound.version) {
                None => Verdict::Indeterminate,
                Some(order) if order == inside || (order.is_eq() && bound.is_inclusive) => Verdict::Inside,
                Some(_) => Verdict::Outside,
            },
        };
        let from = is_in(&self.from, Ordering::Greater);
        if from == Verdict::Outside {
            return from;
        }
        match (from, is_in(&self.to, Ordering::Less)) {
            (_, Verdict::Outside) => Verdict::Outside,
            (Verdict::Inside, Verdict::Inside) => Verdict::Inside,
            _ => Verdict::Indeterminate,
        }
    }

    /// Whether a version is in it that may be told by its first places only, such as `2.4` of `2.4.62`: it counts as in or
    /// out where all versions that begin so are. With `is_cut` it is known that there are more places.
    #[must_use]
    pub fn holds_shortened(&self, version: &str, is_cut: bool) -> Verdict {
        let verdict = self.holds(version);
        let crosses = |bound: &Option<Bound>, is_lower| {
            let is_crossed = |bound: &Bound| is_crossed(version, bound, is_lower, is_cut);
            bound.as_ref().is_some_and(|bound| !self.scheme.is_of_packages() && is_crossed(bound))
        };
        let (from, to) = (crosses(&self.from, true), crosses(&self.to, false));
        if verdict == Verdict::Indeterminate || !(from || to) {
            return verdict;
        }
        // The end that is not crossed may still say no for all of them.
        let whole = Self {
            scheme: self.scheme,
            from: self.from.clone().filter(|_| !from),
            to: self.to.clone().filter(|_| !to),
        };
        if whole.holds(version) == Verdict::Outside { Verdict::Outside } else { Verdict::Possible }
    }

    fn compare_to(&self, version: &str, bound: &str) -> Option<Ordering> {
        match self.scheme {
            Scheme::Dpkg | Scheme::Rpm if !version.contains(':') => {
                let without_epoch = bound.split_once(':').map_or(bound, |(_, rest)| rest);
                let upstream = without_epoch.rsplit_once('-').map(|(upstream, _)| upstream);
                // Whoever tells no revision has the one of the correction as likely as the one before it.
                let is_same_upstream = !version.contains('-')
                    && upstream
                        .is_some_and(|upstream| compare(self.scheme, version, upstream) == Some(Ordering::Equal));
                if is_same_upstream { None } else { compare(self.scheme, version, without_epoch) }
            }
            Scheme::OpenSsh if openssh::release(bound) == Some(bound.trim()) => {
                compare(self.scheme, openssh::release(version)?, bound)
            }
            // Many products that call their versions semantic have four numbers, or a zero in front of one.
            Scheme::Semver => {
                compare(Scheme::Semver, version, bound).or_else(|| compare(Scheme::Dotted, version, bound))
            }
            scheme => compare(scheme, version, bound),
        }
    }
}

/// An end of a range in words that nobody understood.
#[must_use]
pub fn unread(words: &str) -> String {
    format!("{UNREAD} {words}")
}

/// Whether some of the versions that begin with `version` are on one side of `bound` and some on the other.
fn is_crossed(version: &str, bound: &Bound, is_lower: bool, is_cut: bool) -> bool {
    let ((own, rest), (of_bound, _)) = (places_in(version), places_in(&bound.version));
    // With a revision behind its numbers, or a word that everybody knows, it is told in whole. Of `2.4-mod` nobody knows that.
    let word: String = rest.chars().filter(|c| !"-_+~ ".contains(*c)).take_while(char::is_ascii_alphabetic).collect();
    let is_front = (rest.is_empty() || own.len() < WHOLE_PLACES && !word.is_empty() && !super::is_known_word(&word))
        && !own.is_empty()
        && (own.len() < of_bound.len() || (is_cut && own.len() == of_bound.len()))
        && own.iter().zip(&of_bound).all(|(a, b)| number::compare(a, b).is_eq());
    // All of them are from `1.5.0` on, and none is before it. Whoever tells three places does not leave out a fourth that
    // is zero.
    let is_first = of_bound.iter().skip(own.len()).all(|place| number::compare(place, "").is_eq());
    is_front && (!is_first || (own.len() < WHOLE_PLACES && bound.is_inclusive != is_lower))
}

/// The numbers that a version begins with, and what follows: those of `v1.20.1rc1` are 1, 20 and 1.
fn places_in(version: &str) -> (Vec<&str>, &str) {
    let version = version.trim();
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let (numbers, rest) = version.split_at_checked(end).unwrap_or((version, ""));
    (numbers.split('.').filter(|place| !place.is_empty()).collect(), rest)
}

impl fmt::Display for Range {
    /// As `>= 1.0, < 2.0`; `any version` without ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (None, None) => f.write_str("any version"),
            (Some(from), Some(to)) if from == to => write!(f, "= {}", from.version),
            (from, to) => {
                let sign = |bound: &Bound| if bound.is_inclusive { "=" } else { "" };
                if let Some(from) = from {
                    write!(f, ">{} {}", sign(from), from.version)?;
                }
                if from.is_some() && to.is_some() {
                    f.write_str(", ")?;
                }
                to.as_ref().map_or(Ok(()), |to| write!(f, "<{} {}", sign(to), to.version))
            }
        }
    }
}
