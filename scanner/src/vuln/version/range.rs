//! Ranges of versions, and whether a version is in one: yes, no, or not to be told.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Scheme, compare, openssh};

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

    fn compare_to(&self, version: &str, bound: &str) -> Option<Ordering> {
        match self.scheme {
            Scheme::Dpkg | Scheme::Rpm if !version.contains(':') => {
                let without_epoch = bound.split_once(':').map_or(bound, |(_, rest)| rest);
                compare(self.scheme, version, without_epoch)
            }
            Scheme::OpenSsh if openssh::release(bound) == Some(bound.trim()) => {
                compare(self.scheme, openssh::release(version)?, bound)
            }
            scheme => compare(scheme, version, bound),
        }
    }
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
