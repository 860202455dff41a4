//! Open ports that are listened to, or wait for it: a target is only settled once all of its own were heard out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// An open port to listen to.
#[derive(Debug, Clone, Copy)]
pub(super) struct BannerGrab {
    pub(super) index: u64,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) link: u16,
}

/// Those of one unit.
#[derive(Debug, Default)]
pub(super) struct BannerGrabs {
    waiting: VecDeque<BannerGrab>,
    /// How many are out, by target: no more in all than the caller has room for.
    out: BTreeMap<u64, u32>,
}

impl BannerGrabs {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits and none is out.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.out.is_empty()
    }

    /// One more waits, behind the others.
    pub(super) fn push(&mut self, grab: BannerGrab) {
        self.waiting.push_back(grab);
    }

    /// Takes the next one.
    pub(super) fn take(&mut self) -> Option<BannerGrab> {
        self.waiting.pop_front()
    }

    /// A port of a target is being listened to.
    pub(super) fn begin(&mut self, index: u64) {
        *self.out.entry(index).or_default() += 1;
    }

    /// Listening to a port of a target has ended.
    pub(super) fn end(&mut self, index: u64) {
        let Some(left) = self.out.get_mut(&index) else { return };
        *left -= 1;
        if *left == 0 {
            self.out.remove(&index);
        }
    }

    /// Of those that wait, only these are still wanted.
    pub(super) fn retain(&mut self, is_wanted: impl FnMut(&BannerGrab) -> bool) {
        self.waiting.retain(is_wanted);
    }

    /// The first target one of whose ports is listened to, or waits for it. It looks at all that wait: for now and then.
    pub(super) fn first_index(&self) -> Option<u64> {
        let out = self.out.keys().next().copied();
        self.waiting.iter().map(|grab| grab.index).chain(out).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_target_that_is_listened_to_is_known_until_all_of_its_ports_were_heard_out() {
        let grab = |index: u64, port: u16| BannerGrab { index, address: IpAddr::from([10, 0, 0, 1]), port, link: 0 };
        let mut grabs = BannerGrabs::default();
        for (index, port) in [(7, 22), (3, 22), (3, 80), (9, 22)] {
            grabs.push(grab(index, port));
        }
        for index in [7, 3, 3] {
            assert_eq!(grabs.take().map(|grab| grab.index), Some(index));
            grabs.begin(index);
        }
        assert_eq!((grabs.first_index(), grabs.waiting()), (Some(3), 1));
        grabs.end(3);
        assert_eq!(grabs.first_index(), Some(3), "one of its ports is still listened to");
        grabs.end(3);
        assert_eq!(grabs.first_index(), Some(7));
        grabs.end(7);
        assert_eq!((grabs.first_index(), grabs.is_empty()), (Some(9), false), "it waits");
        grabs.end(9);
        grabs.retain(|grab| grab.index != 9);
        assert_eq!((grabs.first_index(), grabs.is_empty()), (None, true));
    }
}
