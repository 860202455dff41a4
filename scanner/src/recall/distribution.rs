//! The two distributions behind the bounds: how many of a sample are found, drawn without and with replacement.
//!
//! Special functions as in Abramowitz and Stegun: 6.1.50 in Lanczos's form for the gamma function, 26.5.8 as a continued
//! fraction for the incomplete beta function.

use std::f64::consts::PI;

/// Lanczos's coefficients for g = 7: good to fifteen digits.
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];
/// Terms below this part of the sum add nothing to it.
const NEGLIGIBLE: f64 = 1e-15;
/// A bisection this long leaves nothing of sixteen digits to be found.
const HALVINGS: u32 = 60;

/// The logarithm of the gamma function of a positive number.
fn ln_gamma(x: f64) -> f64 {
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let (x, mut sum) = (x - 1.0, 0.0);
    for (at, coefficient) in LANCZOS.iter().enumerate() {
        sum += if at == 0 { *coefficient } else { coefficient / (x + at as f64) };
    }
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// A sample of `drawn` out of `all`, of which `marked` are what is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) all: u64,
    pub(super) marked: u64,
    pub(super) drawn: u64,
}

impl Draw {
    /// The chance to find exactly so many.
    fn exactly(&self, found: u64) -> f64 {
        let (all, marked, drawn, found) = (self.all as f64, self.marked as f64, self.drawn as f64, found as f64);
        (ln_choose(marked, found) + ln_choose(all - marked, drawn - found) - ln_choose(all, drawn)).exp()
    }

    /// The fewest and the most that can be found.
    fn range(&self) -> (u64, u64) {
        ((self.drawn + self.marked).saturating_sub(self.all), self.marked.min(self.drawn))
    }

    /// The chance to find at most so many.
    pub(super) fn at_most(&self, found: u64) -> f64 {
        let (least, most) = self.range();
        if found >= most {
            return 1.0;
        }
        if found < least {
            return 0.0;
        }
        // From where it is likely outwards, terms only become smaller.
        let mean = self.drawn as f64 * (self.marked as f64 / self.all as f64);
        if found as f64 >= mean { 1.0 - self.upwards(found + 1, most) } else { self.downwards(found, least) }
    }

    /// The chance to find so many or fewer, which are fewer than is likely.
    fn downwards(&self, found: u64, least: u64) -> f64 {
        let (mut term, mut sum, mut k) = (self.exactly(found), 0.0, found);
        loop {
            sum += term;
            if k == least || term <= sum * NEGLIGIBLE {
                return sum.min(1.0);
            }
            let others = (self.all + k - self.marked - self.drawn) as f64;
            term *= k as f64 * others / ((self.marked - k + 1) as f64 * (self.drawn - k + 1) as f64);
            k -= 1;
        }
    }

    /// The chance to find so many or more, which are more than is likely.
    fn upwards(&self, found: u64, most: u64) -> f64 {
        let (mut term, mut sum, mut k) = (self.exactly(found), 0.0, found);
        loop {
            sum += term;
            if k == most || term <= sum * NEGLIGIBLE {
                return sum.min(1.0);
            }
            let others = (self.all + k + 1 - self.marked - self.drawn) as f64;
            term *= (self.marked - k) as f64 * (self.drawn - k) as f64 / ((k + 1) as f64 * others);
            k += 1;
        }
    }

    /// The chance to find at least so many.
    pub(super) fn at_least(&self, found: u64) -> f64 {
        match found.checked_sub(1) {
            None => 1.0,
            Some(fewer) => 1.0 - self.at_most(fewer),
        }
    }
}

/// The regularised incomplete beta function: the chance that a share drawn from beta(a, b) is below `x`.
pub(super) fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction comes to its end soon on this side of the middle alone. Just at it, both sides may seem to be the other.
    let is_above = x > (a + 1.0) / (a + b + 2.0);
    let (x, a, b) = if is_above { (1.0 - x, b, a) } else { (x, a, b) };
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    // Of counts beyond 2^50 no digit of the front is right.
    let below = (front * beta_fraction(x, a, b)).clamp(0.0, 1.0);
    if is_above { 1.0 - below } else { below }
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let safe = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / safe(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..10_000_u32 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / safe(1.0 + term * d);
            c = safe(1.0 + term / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < NEGLIGIBLE {
            break;
        }
    }
    fraction
}

/// The share below which a draw from beta(a, b) lies with this chance.
pub(super) fn beta_quantile(chance: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if beta_below(middle, a, b) < chance { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_without_replacement_has_the_known_chances() {
        // Of 50 with 5 marked, 10 drawn: C(5,k) C(45,10-k) / C(50,10).
        let draw = Draw { all: 50, marked: 5, drawn: 10 };
        assert!((draw.at_most(0) - 0.310_562_782).abs() < 1e-8, "{}", draw.at_most(0));
        assert!((draw.exactly(1) - 0.431_337_197).abs() < 1e-8, "{}", draw.exactly(1));
        assert!((draw.exactly(4) - 0.003_964_583).abs() < 1e-8, "{}", draw.exactly(4));
        assert!((draw.at_least(4) - 0.004_083_520).abs() < 1e-8, "{}", draw.at_least(4));
        assert_eq!((draw.at_most(5), draw.at_least(0)), (1.0, 1.0));
        assert!((draw.at_most(1) - 0.741_899_979).abs() < 1e-8 && (draw.at_most(3) - 0.995_916_480).abs() < 1e-8);
        let all = Draw { all: 7, marked: 3, drawn: 7 };
        assert_eq!((all.at_most(2), all.at_least(3)), (0.0, 1.0), "who asks all finds all");
    }

    #[test]
    fn large_draws_are_as_exact_as_small_ones() {
        // One marked in a billion, found with the chance that it is drawn.
        let draw = Draw { all: 1_000_000_000, marked: 1, drawn: 250_000_000 };
        assert!((draw.at_least(1) - 0.25).abs() < 1e-4, "{}", draw.at_least(1));
        // Far from what is likely, on either side.
        let draw = Draw { all: 100_000, marked: 20_001, drawn: 50_000 };
        assert!(draw.at_most(20_000) > 0.999 && draw.at_most(5_000) < 1e-9 && draw.at_least(5_000) > 0.999);
        // As good as binomial: 1 - 0.99^300.
        let draw = Draw { all: 10_000_000, marked: 100_000, drawn: 300 };
        assert!((draw.at_least(1) - 0.950_96).abs() < 1e-4, "{}", draw.at_least(1));
    }

    #[test]
    fn at_the_middle_which_rounding_puts_on_both_sides_there_is_a_chance_too() {
        let mut on_both_sides = 0;
        for a in (0..63).map(|power| (1_u64 << power) as f64) {
            for b in (0..62).map(|power| (3_u64 << power) as f64) {
                let x = ((a + 1.0) / (a + b + 2.0)).next_up();
                on_both_sides += u32::from(x < 1.0 && 1.0 - x > (b + 1.0) / (b + a + 2.0));
                let below = beta_below(x, a, b);
                assert!((0.0..=1.0).contains(&below), "{below} at {x} of {a} and {b}");
            }
        }
        assert!(on_both_sides > 0, "such numbers are among them");
    }

    #[test]
    fn beta_quantiles_are_those_of_the_tables() {
        // Median of beta(1, 1); of beta(2, 2); the exact binomial limits of 0 and 3 in 20.
        assert!((beta_quantile(0.5, 1.0, 1.0) - 0.5).abs() < 1e-12);
        assert!((beta_quantile(0.5, 2.0, 2.0) - 0.5).abs() < 1e-12);
        assert!((beta_quantile(0.975, 1.0, 20.0) - 0.168_433).abs() < 1e-5);
        assert!((beta_quantile(0.025, 3.0, 18.0) - 0.032_071).abs() < 1e-5);
        assert!((beta_quantile(0.975, 4.0, 17.0) - 0.378_927).abs() < 1e-5);
    }
}
