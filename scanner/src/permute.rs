//! A seeded shuffle of `0..n` that needs no memory: `apply(i)` and `invert(j)` are pure arithmetic.
//!
//! Targets are walked in this order, so that neighbours in a unit fall on far-apart hosts and any range of indexes
//! can be handed to any node. An unbalanced Feistel network permutes the smallest power of two that holds `n`
//! (Luby and Rackoff 1988 for the construction); a result outside `0..n` is put through again until it falls inside
//! (cycle walking, Black and Rogaway 2002), which takes fewer than two rounds on average because that power of two is
//! less than `2n`. It spreads load and is no cipher.
//!
//! The order is part of the meaning of a job's log: the golden vectors below never change.

/// Rounds of the network: neighbouring inputs are unrelated after four, eight leave a margin for tiny sets.
const ROUNDS: usize = 8;

/// A bijection on `0..count`, chosen by a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    count: u64,
    network: Feistel,
}

impl Permutation {
    /// The shuffle of `0..count` that belongs to `seed`.
    #[must_use]
    pub fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, network: Feistel::new(bits, seed) }
    }

    /// How many numbers are shuffled.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Where `index` goes, or `None` from `count` on.
    #[must_use]
    pub fn apply(&self, index: u64) -> Option<u64> {
        self.walk(index, Feistel::forward)
    }

    /// The index that goes to `image`, or `None` from `count` on.
    #[must_use]
    pub fn invert(&self, image: u64) -> Option<u64> {
        self.walk(image, Feistel::backward)
    }

    fn walk(&self, start: u64, step: impl Fn(&Feistel, u64, u64) -> (u64, u64)) -> Option<u64> {
        if start >= self.count {
            return None;
        }
        let network = &self.network;
        let mut at = start;
        loop {
            let (left, right) = step(network, at >> network.right_bits, at & mask(network.right_bits));
            at = left << network.right_bits | right;
            if at < self.count {
                return Some(at);
            }
        }
    }
}

/// A bijection on `0..count` for spaces beyond 64 bits, such as an IPv6 network times its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation128 {
    count: u128,
    network: Feistel,
}

impl Permutation128 {
    /// The shuffle of `0..count` that belongs to `seed`. Below `2^64` it is [`Permutation`]'s.
    #[must_use]
    pub fn new(count: u128, seed: u64) -> Self {
        let bits = u128::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, network: Feistel::new(bits, seed) }
    }

    /// How many numbers are shuffled.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.count
    }

    /// Where `index` goes, or `None` from `count` on.
    #[must_use]
    pub fn apply(&self, index: u128) -> Option<u128> {
        self.walk(index, Feistel::forward)
    }

    /// The index that goes to `image`, or `None` from `count` on.
    #[must_use]
    pub fn invert(&self, image: u128) -> Option<u128> {
        self.walk(image, Feistel::backward)
    }

    fn walk(&self, start: u128, step: impl Fn(&Feistel, u64, u64) -> (u64, u64)) -> Option<u128> {
        if start >= self.count {
            return None;
        }
        let network = &self.network;
        let half = |value: u128| u64::try_from(value).expect("a half has at most 64 bits");
        let mut at = start;
        loop {
            let right = half(at & u128::from(mask(network.right_bits)));
            let (left, right) = step(network, half(at >> network.right_bits), right);
            at = u128::from(left) << network.right_bits | u128::from(right);
            if at < self.count {
                return Some(at);
            }
        }
    }
}

/// The network: a number is two halves of fixed widths, and each round adds a keyed mix of one half to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Feistel {
    left_bits: u32,
    right_bits: u32,
    keys: [u64; ROUNDS],
}

impl Feistel {
    /// A network over `bits` bits; at least two, since each half needs one.
    fn new(bits: u32, seed: u64) -> Self {
        let bits = bits.max(2);
        let mut state = seed ^ u64::from(bits).wrapping_mul(GOLDEN);
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(GOLDEN);
            mix(state)
        });
        Self { left_bits: bits / 2, right_bits: bits - bits / 2, keys }
    }

    fn forward(&self, mut left: u64, mut right: u64) -> (u64, u64) {
        for (round, key) in self.keys.iter().enumerate() {
            self.round(round, *key, &mut left, &mut right);
        }
        (left, right)
    }

    fn backward(&self, mut left: u64, mut right: u64) -> (u64, u64) {
        for (round, key) in self.keys.iter().enumerate().rev() {
            self.round(round, *key, &mut left, &mut right);
        }
        (left, right)
    }

    /// Each round undoes itself, since the half that is mixed in stays as it is.
    fn round(&self, round: usize, key: u64, left: &mut u64, right: &mut u64) {
        if round.is_multiple_of(2) {
            *left ^= fold(*right ^ key) >> (64 - self.left_bits);
        } else {
            *right ^= fold(*left ^ key) >> (64 - self.right_bits);
        }
    }
}

/// 2^64 divided by the golden ratio: an odd number whose multiples are spread evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of the product with an odd constant, added without carry: one multiplication, after which the high
/// bits depend on every bit of the input.
fn fold(value: u64) -> u64 {
    let product = u128::from(value) * u128::from(GOLDEN);
    #[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// A 64-bit mix in which every input bit reaches every output bit (the output function of SplitMix64, Steele, Lea
/// and Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A number with the lowest `bits` bits set.
fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(64 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    /// Computed by an independent program from this file's description.
    const GOLDEN_VECTORS: [(u64, u64, [u64; 4]); 6] = [
        (4, 0, [2, 1, 0, 3]),
        (10, 1, [5, 0, 6, 7]),
        (254, 42, [173, 106, 243, 29]),
        (65_536, 7, [49_174, 29_816, 24_416, 50_767]),
        (16_711_680, 3_735_928_559, [6_133_225, 14_414_770, 3_056_054, 2_010_382]),
        (
            18_446_744_073_709_551_615,
            18_446_744_073_709_551_615,
            [
                8_192_994_639_857_642_880,
                8_144_477_035_894_023_112,
                9_014_281_998_542_742_341,
                10_038_752_216_562_509_960,
            ],
        ),
    ];

    #[test]
    fn golden_vectors_never_change() {
        for (count, seed, images) in GOLDEN_VECTORS {
            let permutation = Permutation::new(count, seed);
            for (index, image) in (0..).zip(images) {
                assert_eq!(permutation.apply(index), Some(image), "count {count} seed {seed} index {index}");
            }
        }
        let wide = Permutation128::new(1 << 100, 7);
        assert_eq!(wide.apply(0), Some(198_365_101_135_782_618_840_018_353_022));
    }

    #[test]
    fn small_sets_are_permuted_completely() {
        for count in 0..300 {
            let permutation = Permutation::new(count, count ^ 0xabc);
            let mut images: Vec<u64> = (0..count).map(|index| permutation.apply(index).unwrap()).collect();
            images.sort_unstable();
            assert!(images.into_iter().eq(0..count), "{count}");
            assert_eq!(permutation.apply(count), None);
        }
    }

    #[test]
    fn neighbours_fall_far_apart() {
        let permutation = Permutation::new(65_536, 1);
        let close = (0..65_535).filter(|index| {
            let (a, b) = (permutation.apply(*index).unwrap(), permutation.apply(index + 1).unwrap());
            a >> 8 == b >> 8
        });
        // A random order puts 1 neighbour in 256 into the same /24: 256 of 65,535, give or take 16.
        let close = close.count();
        assert!((176..336).contains(&close), "{close}");
    }

    #[test]
    fn one_call_takes_well_under_a_microsecond() {
        let permutation = Permutation::new((1 << 32) + 1, 9);
        let start = Instant::now();
        let sum = (0..1_000_000).fold(0_u64, |sum, index| sum.wrapping_add(permutation.apply(index).unwrap()));
        println!("{:?} per call (checksum {sum:x})", start.elapsed() / 1_000_000);
    }

    proptest! {
        #[test]
        fn inverse_undoes_apply(count in 1_u64.., seed: u64, index: u64) {
            let permutation = Permutation::new(count, seed);
            let image = permutation.apply(index % count).unwrap();
            prop_assert!(image < count);
            prop_assert_eq!(permutation.invert(image), Some(index % count));
        }

        #[test]
        fn inverse_undoes_apply_in_128_bits(count in 1_u128.., shift in 0_u32..128, seed: u64, index: u128) {
            let count = (count >> shift).max(1);
            let permutation = Permutation128::new(count, seed);
            let image = permutation.apply(index % count).unwrap();
            prop_assert!(image < count);
            prop_assert_eq!(permutation.invert(image), Some(index % count));
        }

        #[test]
        fn both_widths_agree(count in 1_u64.., seed: u64, index: u64) {
            let wide = Permutation128::new(count.into(), seed).apply((index % count).into());
            prop_assert_eq!(wide, Permutation::new(count, seed).apply(index % count).map(u128::from));
        }
    }
}
