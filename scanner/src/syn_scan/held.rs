//! Targets that wait for a slot of their network: each network has a line of its own, so that none holds up another.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::network::Network;
use crate::pace::SLACK;

/// The lines, and when the first of each may go on.
#[derive(Debug, Default)]
pub(super) struct Held {
    lines: HashMap<Network, VecDeque<u64>>,
    timers: BinaryHeap<Reverse<(Duration, Network)>>,
}

impl Held {
    /// Puts a target into the line of its network, which has no slot before `until`.
    pub(super) fn hold(&mut self, address: IpAddr, index: u64, until: Duration) {
        let network = Network::of(address);
        let line = self.lines.entry(network).or_default();
        line.push_back(index);
        if line.len() == 1 {
            self.timers.push(Reverse((until, network)));
        }
    }

    /// The next target that may go on; slots of a network are `1 / pps` apart.
    pub(super) fn release(&mut self, now: Duration, pps: u64) -> Option<u64> {
        let Reverse((due, network)) = self.timers.peek().copied().filter(|Reverse((due, _))| *due <= now)?;
        self.timers.pop();
        let line = self.lines.get_mut(&network)?;
        let index = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&network);
        } else {
            let interval = Duration::from_secs(1) / u32::try_from(pps).unwrap_or(u32::MAX).max(1);
            self.timers.push(Reverse((due.max(now.saturating_sub(SLACK)) + interval, network)));
        }
        index
    }

    /// When the next target may go on.
    pub(super) fn next(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_go_on_side_by_side_each_at_its_own_pace() {
        let mut held = Held::default();
        let ms = Duration::from_millis;
        for index in 0..3 {
            held.hold("10.0.0.1".parse().unwrap(), index, ms(100));
            held.hold("10.0.1.1".parse().unwrap(), 10 + index, ms(150));
        }
        let mut released = Vec::new();
        for now in [50, 100, 150, 200, 250, 300, 350] {
            while let Some(index) = held.release(ms(now), 10) {
                released.push((now, index));
            }
        }
        assert_eq!(released, [(100, 0), (150, 10), (200, 1), (250, 11), (300, 2), (350, 12)]);
        assert!(held.is_empty() && held.next().is_none());
    }
}
