//! A set of ports by their places in the port set, as each scan keeps it for each host.

/// A set of small numbers, one bit per port of the set: the first 64, which is all of most scans, cost nothing more.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortBits {
    first: u64,
    more: Box<[u64]>,
}

impl PortBits {
    pub(crate) fn set(&mut self, number: u32) {
        let word = match (number as usize / 64).checked_sub(1) {
            None => Some(&mut self.first),
            Some(at) => {
                if at >= self.more.len() {
                    let mut more = std::mem::take(&mut self.more).into_vec();
                    more.resize(at + 1, 0);
                    self.more = more.into();
                }
                self.more.get_mut(at)
            }
        };
        word.into_iter().for_each(|bits| *bits |= 1 << (number % 64));
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        let word = match (number as usize / 64).checked_sub(1) {
            None => Some(&self.first),
            Some(at) => self.more.get(at),
        };
        word.is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    /// How many are in.
    pub(crate) fn len(&self) -> u32 {
        std::iter::once(&self.first).chain(&self.more).map(|bits| bits.count_ones()).sum()
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
        assert_eq!((bits.len(), set), (4, vec![0, 63, 64, 65_534]));
    }
}
