//! Choices that a seed repeats, whatever a package of random numbers changes.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to below `limit`, which is above 0. The bias of the remainder is far below what is tested here.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    /// One of `choices`; nothing of nothing.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let index = self.below(u64::try_from(choices.len()).ok()?.max(1));
        choices.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_on_every_machine_and_version() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!(
            [(); 3].map(|()| dice.below(u64::MAX)),
            [6457827717110365317, 3203168211198807973, 9817491932198370423]
        );
    }

    #[test]
    fn every_choice_comes_up() {
        let mut dice = Dice::new(7);
        let mut seen: Vec<u8> = (0..100).filter_map(|_| dice.one_of(&[1, 2, 3])).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!(dice.one_of::<u8>(&[]), None);
    }
}
