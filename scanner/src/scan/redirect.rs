//! Ranges of a host's ports that are redirected to one listener, and how far they go.
//!
//! A range shows by a part of it. Whether other open ports belong to it is tested as the stretch between it and them
//! ([`super::stretch`]): all of it open, or not. The farthest is tested first, since mostly all do or none does, and from there on
//! half of what is left. Open ports right next to a range are taken for a part of it.

use std::ops::RangeInclusive;

/// A narrower stretch has not enough ports for a test.
const TESTED_MIN: u16 = 8;
/// Tests of one range: enough to halve all ports away on both sides.
const TESTS_MAX: u8 = 32;
/// Ranges of a host; with more of them nobody tells them apart.
const RANGES_MAX: usize = 8;

/// The redirected ranges of a host.
#[derive(Debug, Default)]
pub(super) struct Redirects(Vec<Range>);

/// One of them, as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u16,
    last: u16,
    below: Bound,
    above: Bound,
    tests: u8,
}

/// How far a range goes to one side.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    /// The nearest open port that is known not to belong to it.
    known: Option<u16>,
    /// The one that is being tested.
    tried: Option<u16>,
}

impl Range {
    /// Takes in what the last tests have shown: what was tried and is still outside does not belong to it.
    fn settle(&mut self) {
        let (first, last) = (self.first, self.last);
        self.above.settle(|port| port > last);
        self.below.settle(|port| port < first);
    }

    /// The next stretch beside it that may be a part of it.
    fn next_test(&mut self, opened: &[u16]) -> Option<RangeInclusive<u16>> {
        self.settle();
        let (first, last) = (self.first, self.last);
        let is_above = |port: u16| port > last && port - last >= TESTED_MIN;
        let above: Vec<u16> = opened
            .iter()
            .copied()
            .filter(|port| is_above(*port) && self.above.known.is_none_or(|known| *port < known))
            .collect();
        if let Some(port) = self.above.choose(above.into_iter()) {
            return Some(last + 1..=port);
        }
        let is_below = |port: u16| port < first && first - port >= TESTED_MIN;
        let below: Vec<u16> = opened
            .iter()
            .rev()
            .copied()
            .filter(|port| is_below(*port) && self.below.known.is_none_or(|known| *port > known))
            .collect();
        self.below.choose(below.into_iter()).map(|port| port..=first - 1)
    }
}

impl Bound {
    fn settle(&mut self, is_outside: impl Fn(u16) -> bool) {
        self.known = self.tried.take().filter(|port| is_outside(*port)).or(self.known);
    }

    /// What to try of the open ports on its side, the nearest first: the farthest, or once that is known, the one in the middle.
    fn choose(&mut self, mut ports: impl ExactSizeIterator<Item = u16>) -> Option<u16> {
        let at = if self.known.is_none() { ports.len().checked_sub(1)? } else { ports.len() / 2 };
        self.tried = ports.nth(at);
        self.tried
    }
}

impl Redirects {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next stretch between a range and an open port beside it that is to be tested; none where each belongs to one or does
    /// not. `opened` are the open ones that are in no range, ascending. What turns out to be open is added.
    pub(super) fn next_test(&mut self, opened: &[u16]) -> Option<RangeInclusive<u16>> {
        self.0.iter_mut().filter(|range| range.tests < TESTS_MAX).find_map(|range| {
            let stretch = range.next_test(opened)?;
            range.tests += 1;
            Some(stretch)
        })
    }

    /// A range right beside which there is an open port.
    pub(super) fn grown(&self, opened: &[u16]) -> Option<RangeInclusive<u16>> {
        let has = |port: Option<u16>| port.is_some_and(|port| opened.binary_search(&port).is_ok());
        let grown = self.0.iter().find(|range| has(range.first.checked_sub(1)) || has(range.last.checked_add(1)));
        grown.map(|range| range.first..=range.last)
    }

    /// Adds a range, or what one goes further than was known, and the open ports right next to it. Returns all of it.
    pub(super) fn add(&mut self, range: RangeInclusive<u16>, opened: &[u16]) -> RangeInclusive<u16> {
        let (first, last) = range.into_inner();
        let mut all = Range { first, last, below: Bound::default(), above: Bound::default(), tests: 0 };
        self.0.retain_mut(|range| {
            let meets = range.first <= last.saturating_add(1) && range.last.saturating_add(1) >= first;
            if meets {
                (all.first, all.last) = (all.first.min(range.first), all.last.max(range.last));
                (all.below, all.above, all.tests) = (range.below, range.above, range.tests);
            }
            !meets
        });
        let above = opened.partition_point(|port| *port <= all.last);
        for port in opened.get(above..).unwrap_or_default() {
            all.last = if port - all.last == 1 { *port } else { break };
        }
        let below = opened.partition_point(|port| *port < all.first);
        for port in opened.get(..below).unwrap_or_default().iter().rev() {
            all.first = if all.first - port == 1 { *port } else { break };
        }
        let found = all.first..=all.last;
        if self.0.len() < RANGES_MAX {
            self.0.push(all);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a range goes that is known by a part of it, and how many tests that took; `open` are the open ports of the host.
    fn found(part: RangeInclusive<u16>, whole: RangeInclusive<u16>, open: &[u16]) -> (RangeInclusive<u16>, u32) {
        let mut redirects = Redirects::default();
        let outside = |range: &RangeInclusive<u16>| -> Vec<u16> {
            open.iter().copied().filter(|port| !range.contains(port)).collect()
        };
        let mut range = redirects.add(part, open);
        let mut tests = 0;
        while let Some(stretch) = redirects.next_test(&outside(&range)) {
            tests += 1;
            assert!(stretch.end() - stretch.start() >= TESTED_MIN - 1 && tests <= u32::from(TESTS_MAX));
            if whole.contains(stretch.start()) && whole.contains(stretch.end()) {
                range = redirects.add(stretch, &outside(&range));
            }
        }
        (range, tests)
    }

    #[test]
    fn a_range_goes_as_far_as_all_between_it_and_an_open_port_is_open() {
        let own = [22, 80, 3306, 8080];
        assert_eq!(found(100..=900, 1..=1023, &[&own[..], &[1000, 1005]].concat()), (22..=1005, 4));
        assert_eq!(found(2000..=40_000, 1024..=65_535, &[22, 80, 1024, 1500, 50_000, 65_535]).0, 1024..=65_535);
        let (range, tests) = found(2000..=2100, 2000..=9999, &(2200..=60_000).step_by(9).collect::<Vec<_>>());
        assert_eq!(range, 2000..=9994);
        assert!(tests <= 15, "half of what is left is tested each time: {tests}");
        assert_eq!(found(1..=1022, 1..=1023, &[1023, 1024, 1026]), (1..=1024, 0), "what is right beside it");
    }

    #[test]
    fn ranges_that_meet_are_one_and_there_are_no_more_than_a_few() {
        let mut redirects = Redirects::default();
        assert_eq!(redirects.add(10..=20, &[]), 10..=20);
        assert_eq!(redirects.add(30..=40, &[]), 30..=40);
        assert_eq!(redirects.add(21..=29, &[]), 10..=40);
        (1..100).for_each(|at| _ = redirects.add(at * 100..=at * 100 + 10, &[]));
        assert_eq!(redirects.0.len(), RANGES_MAX);
        assert_eq!(redirects.add(u16::MAX - 1..=u16::MAX, &[1, 2]), u16::MAX - 1..=u16::MAX);
    }
}
