//! Versions of a few short numbers as one number, so that a range is held against them in two comparisons.
//!
//! Nearly all versions are such. A feed has millions of ends of ranges, and reading them anew for each service is what
//! matching a large job would spend its time on. Whatever is not plain is left to [`compare`](super::compare), which
//! both agree with.

use super::{Range, Scheme};

/// Most numbers of a plain version.
const NUMBERS_MAX: usize = 4;

/// A plain version of the dotted scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plain(u128);

/// A range with plain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainRange {
    from: u128,
    /// The first that is no longer in it.
    end: u128,
}

impl Plain {
    /// Reads up to four numbers below 2^32 - 1 with dots between them, as in `1.18.0`; `None` for any other version.
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        if super::is_day(version.trim()) {
            return None;
        }
        let mut numbers = [0_u32; NUMBERS_MAX];
        let mut places = numbers.iter_mut();
        for part in version.trim().split('.') {
            let is_number = !part.is_empty() && part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
            // The largest number is left out, so that one more than a version is always a number too.
            let number = part.parse().ok().filter(|number| is_number && *number != u32::MAX)?;
            *places.next()? = number;
        }
        Some(Self(numbers.iter().fold(0, |whole, number| whole << 32 | u128::from(*number))))
    }
}

impl PlainRange {
    /// The range, where it is of the dotted scheme and its ends are plain.
    #[must_use]
    pub fn of(range: &Range) -> Option<Self> {
        if range.scheme != Scheme::Dotted {
            return None;
        }
        let from = range.from.as_ref().map(|bound| Some((Plain::of(&bound.version)?.0, !bound.is_inclusive)));
        let to = range.to.as_ref().map(|bound| Some((Plain::of(&bound.version)?.0, bound.is_inclusive)));
        let behind = |(version, is_one_more): (u128, bool)| version + u128::from(is_one_more);
        Some(Self {
            from: from.map_or(Some(0), |at| at.map(behind))?,
            end: to.map_or(Some(u128::MAX), |at| at.map(behind))?,
        })
    }

    /// Whether `version` is in it: [`Range::holds`] says the same.
    #[must_use]
    pub fn holds(self, version: Plain) -> bool {
        self.from <= version.0 && version.0 < self.end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vuln::version::{Bound, Verdict, compare};

    /// Versions near to each other, plain and not.
    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[0-3](\\.[0-3]){0,3}",
            1 => "0?[0-2]\\.(4294967295|4294967294|99999999999|[0-9]{1,3})(\\.0){0,4}",
            1 => " ?v?[0-2]\\.{0,2}[0-2](rc1|a|p1|-1)? ?",
        ]
    }

    fn bound() -> impl Strategy<Value = Option<Bound>> {
        proptest::option::of(
            (version(), any::<bool>()).prop_map(|(version, is_inclusive)| Bound { version, is_inclusive }),
        )
    }

    proptest! {
        #[test]
        fn plain_versions_have_the_order_of_their_scheme(a in version(), b in version()) {
            if let (Some(left), Some(right)) = (Plain::of(&a), Plain::of(&b)) {
                prop_assert_eq!(Some(left.cmp(&right)), compare(Scheme::Dotted, &a, &b));
            }
        }

        #[test]
        fn a_plain_range_holds_what_its_range_holds(from in bound(), to in bound(), version in version()) {
            let range = Range { scheme: Scheme::Dotted, from, to };
            if let (Some(plain), Some(number)) = (PlainRange::of(&range), Plain::of(&version)) {
                let expected = if plain.holds(number) { Verdict::Inside } else { Verdict::Outside };
                prop_assert_eq!(range.holds(&version), expected, "{} in {}", version, range);
            }
        }
    }

    #[test]
    fn what_is_not_a_few_short_numbers_is_not_plain() {
        for version in ["", ".", "1.", "1..2", "1.2.3.4.5", "1.2a", "v1.2", "-1", "+1", "1.4294967295", "1.2-3"] {
            assert_eq!(Plain::of(version), None, "{version}");
        }
        assert_eq!(Plain::of(" 01.2 "), Plain::of("1.2.0.0"));
        let semver = Range::all(Scheme::Semver).before("2.0.0");
        assert_eq!(PlainRange::of(&semver), None);
    }
}
