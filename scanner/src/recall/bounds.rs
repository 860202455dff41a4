//! Between which bounds the number of missed lies, when a sample of the silent has been asked again.

use super::distribution::{Draw, beta_below, beta_quantile};

/// The chance that each end is on the wrong side, of every part that an interval is added up from. With the few parts that
/// a unit has, and bounds that are exact or wider, that leaves more than 95 in 100 inside.
pub(super) const TAIL: f64 = 0.01;

/// Who hears fewer than one in a thousand hears nothing.
const CHANCE_MIN: f64 = 1e-3;
/// A bisection of counts that leaves nothing to be found.
const HALVINGS: u32 = 48;

/// Samples up to this size are judged exactly: more than is ever asked of one unit.
const EXACT_MAX: u64 = 1 << 20;

/// A number with the ends that it lies between.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Bounded {
    pub(super) low: f64,
    pub(super) point: f64,
    pub(super) high: f64,
}

impl Bounded {
    /// Each of its figures times that of `factors`, ends and point.
    pub(super) fn times(self, low: f64, point: f64, high: f64) -> Self {
        Self { low: self.low * low, point: self.point * point, high: self.high * high }
    }

    /// No figure below `least` or above `most`.
    fn within(self, least: f64, most: f64) -> Self {
        let Self { low, point, high } = self;
        Self { low: low.clamp(least, most), point: point.clamp(least, most), high: high.clamp(least, most) }
    }

    /// No figure above `most`.
    pub(super) fn at_most(self, most: f64) -> Self {
        Self { low: self.low.min(most), point: self.point.min(most), high: self.high.min(most) }
    }
}

/// How many of `all` are marked, when of `drawn` of them `found` were: exact, by inverting the hypergeometric test (as
/// Clopper and Pearson 1934 do the binomial one).
pub(super) fn of_all(all: u64, drawn: u64, found: u64) -> Bounded {
    let drawn = drawn.min(all);
    let found = found.min(drawn);
    if drawn == 0 {
        return Bounded { low: 0.0, point: 0.0, high: all as f64 };
    }
    if drawn > EXACT_MAX {
        // So many that with and without replacement are the same, the latter narrower.
        let part = share(drawn as f64, found as f64);
        return part.times(all as f64, all as f64, all as f64).within(found as f64, all as f64);
    }
    // As many as were found are marked, and as many as were drawn in vain are not.
    let (least, most) = (found, all - (drawn - found));
    let low = first(least, most, |marked| Draw { all, marked, drawn }.at_least(found) > TAIL);
    let beyond = first(least, most + 1, |marked| marked > most || Draw { all, marked, drawn }.at_most(found) <= TAIL);
    let (low, high) = (low as f64, beyond.saturating_sub(1).max(least) as f64);
    // Of a few that were not drawn, the likeliest number may be none that there can be.
    let point = (all as f64 * (found as f64 / drawn as f64)).clamp(low, high.max(low));
    Bounded { low, point, high }
}

/// The share of what is marked, when `found` of `drawn` were, which need be no whole numbers (Clopper and Pearson 1934).
pub(super) fn share(drawn: f64, found: f64) -> Bounded {
    let found = found.clamp(0.0, drawn);
    if drawn <= 0.0 {
        return Bounded { low: 0.0, point: 0.0, high: 1.0 };
    }
    let low = if found <= 0.0 { 0.0 } else { beta_quantile(TAIL, found, drawn - found + 1.0) };
    let high = if found >= drawn { 1.0 } else { beta_quantile(1.0 - TAIL, found + 1.0, drawn - found) };
    Bounded { low, point: found / drawn, high }
}

/// The most that there can be, when no more than `heard` of them were, each with this chance.
pub(super) fn behind(heard: f64, chance: f64) -> f64 {
    let chance = chance.max(CHANCE_MIN);
    if chance >= 1.0 {
        return heard;
    }
    // P(at most `heard` of `all`) falls with `all`; twice the mean and a few more are beyond any doubt.
    let (mut low, mut high) = (heard, 2.0 * heard / chance + 8.0 / chance);
    for _ in 0..HALVINGS {
        let all = f64::midpoint(low, high);
        if beta_below(1.0 - chance, all - heard, heard + 1.0) > TAIL { low = all } else { high = all }
    }
    high
}

/// The first number from `from` to `to` that holds, where all behind one that holds do as well; `to` where none does.
fn first(from: u64, to: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_asks_all_knows_and_who_asks_none_does_not() {
        assert_eq!(of_all(1000, 1000, 7), Bounded { low: 7.0, point: 7.0, high: 7.0 });
        assert_eq!(of_all(1000, 0, 0), Bounded { low: 0.0, point: 0.0, high: 1000.0 });
        assert_eq!(of_all(0, 0, 0), Bounded::default());
        assert_eq!(of_all(10, 99, 99), Bounded { low: 10.0, point: 10.0, high: 10.0 }, "no sample is larger than all");
    }

    #[test]
    fn nothing_in_a_sample_leaves_what_the_rule_of_three_leaves() {
        // -ln(0.01) / n of a large number.
        let none = of_all(1_000_000, 1_000, 0);
        assert_eq!((none.low, none.point), (0.0, 0.0));
        assert!((none.high / 1e6 - 4.6e-3).abs() < 1e-4, "{none:?}");
        assert!((share(1000.0, 0.0).high - 4.6e-3).abs() < 1e-4);
        // Half of a small number is drawn: (1/2)^m <= 0.01 for m = 7, a little sooner without replacement.
        assert!((5.0..=6.0).contains(&of_all(100, 50, 0).high), "{:?}", of_all(100, 50, 0));
    }

    #[test]
    fn what_is_heard_in_part_leaves_what_the_binomial_leaves() {
        assert_eq!(behind(7.0, 1.0), 7.0);
        // 0.5^6.64 = 0.01.
        assert!((behind(0.0, 0.5) - 6.64).abs() < 0.01, "{}", behind(0.0, 0.5));
        // P(Bin(53, 0.9) <= 42) = 0.016, P(Bin(54, 0.9) <= 42) = 0.007.
        assert!((53.0..54.0).contains(&behind(42.0, 0.9)), "{}", behind(42.0, 0.9));
        assert!(behind(0.0, 0.0).is_finite());
    }

    #[test]
    fn large_samples_are_judged_like_small_ones() {
        // Half of 100,000 are drawn and 20,000 found: 40,000, give or take 2.33 standard deviations of about 155.
        let half = of_all(100_000, 50_000, 20_000);
        assert!((39_600.0..39_680.0).contains(&half.low) && (40_320.0..40_400.0).contains(&half.high), "{half:?}");
        let more = of_all(100 << 20, 2 << 20, 1 << 20);
        assert!(
            (more.low / more.point - 1.0).abs() < 0.003 && (more.high / more.point - 1.0).abs() < 0.003,
            "{more:?}"
        );
    }

    #[test]
    fn known_cases_of_the_hypergeometric_hold() {
        // 3 of 20 drawn from 100 are marked. At least 4 are, as P(X >= 3 | 3) = 0.007 <= 0.01 < P(X >= 3 | 4) = 0.026.
        let some = of_all(100, 20, 3);
        assert_eq!(some.low, 4.0, "{some:?}");
        assert_eq!(some.point, 15.0);
        let at = |marked| Draw { all: 100, marked, drawn: 20 }.at_most(3);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count below a hundred")]
        let high = some.high as u64;
        assert!(at(high) > TAIL && at(high + 1) <= TAIL, "{some:?}");
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_point(all in 1_u64..5_000, part in 0.0_f64..1.0, rate in 0.0_f64..1.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are shares of counts")]
            let of = |share: f64, whole: u64| (whole as f64 * share) as u64;
            let drawn = of(part, all);
            let bounds = of_all(all, drawn, of(rate, drawn));
            prop_assert!(bounds.low <= bounds.point + 1e-9 && bounds.point <= bounds.high + 1e-9, "{bounds:?}");
            prop_assert!(bounds.high <= all as f64);
        }
    }
}
