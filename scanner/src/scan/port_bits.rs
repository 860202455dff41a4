//! A set of ports by their places in the port set, as each scan keeps it for each host.

/// A set of small numbers that costs nothing while it is empty: one bit per port of the set, once one is in.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortBits {
    words: Vec<u64>,
}

impl PortBits {
    pub(crate) fn set(&mut self, number: u32) {
        let word = number as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= 1 << (number % 64);
        }
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_hold_what_was_set_and_nothing_else() {
        let mut bits = PortBits::default();
        assert!(!bits.has(0) && !bits.has(70_000));
        for number in [0, 63, 64, 65_534] {
            bits.set(number);
        }
        let set: Vec<u32> = (0..70_000).filter(|number| bits.has(*number)).collect();
        assert_eq!(set, [0, 63, 64, 65_534]);
    }
}
