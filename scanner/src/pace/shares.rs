//! A pace for each of many: networks or hosts, none of which may get more than its share.
//!
//! Each has a schedule of its own ([`Pacer`]), kept only while it says anything: one whose next slot has passed is as good
//! as new and forgotten. So memory follows what was sent to in the last second, and is bounded whatever that is: when the
//! table is full, a newcomer waits until another can be forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use super::{Pacer, SLACK};

/// Schedules kept at once: 48 bytes each, 6 MiB.
const SCHEDULES_MAX: usize = 1 << 17;
/// How soon a newcomer may look again whether there is room.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// The schedules of all that have one.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    schedules: HashMap<K, Pacer>,
    /// The table is swept when it has this many.
    clean_at: usize,
    /// Before this no newcomer has room.
    full_until: Duration,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { schedules: HashMap::new(), clean_at: 1024, full_until: Duration::ZERO }
    }
}

impl<K: Eq + Hash + Copy> Shares<K> {
    /// When `key` may be sent to at `pps` probes per second: `now`, or later.
    pub(crate) fn next(&self, now: Duration, key: K, pps: u64) -> Duration {
        self.schedules.get(&key).map_or(now, |schedule| schedule.next_at(now, pps).max(now))
    }

    /// Takes a slot of `key`.
    ///
    /// # Errors
    /// The moment before which nothing may be sent to it.
    pub(crate) fn admit(&mut self, now: Duration, key: K, pps: u64) -> Result<(), Duration> {
        if self.schedules.len() >= self.clean_at && !self.schedules.contains_key(&key) {
            if now < self.full_until {
                return Err(self.full_until);
            }
            // Below the slack a schedule still holds back a burst.
            self.schedules.retain(|_, schedule| schedule.next + SLACK > now);
            self.clean_at = (2 * self.schedules.len()).clamp(1024, SCHEDULES_MAX);
            if self.schedules.len() >= SCHEDULES_MAX {
                self.full_until = now + FULL_WAIT;
                return Err(self.full_until);
            }
        }
        self.schedules.entry(key).or_default().admit(now, pps, 1).map(drop)
    }

    /// Takes a slot of `key` whether there is one or not: whoever asks is held to the same rate in another way. Where the
    /// table has no room, nothing is noted.
    pub(crate) fn charge(&mut self, now: Duration, key: K, pps: u64) {
        if self.admit(now, key, pps).is_err()
            && let Some(schedule) = self.schedules.get_mut(&key)
        {
            schedule.charge(now, pps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    #[test]
    fn each_network_has_its_own_share_and_none_waits_for_another() {
        let mut shares = Shares::default();
        let now = Duration::from_secs(1);
        let net = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(shares.admit(now, net("10.0.0.1"), 10), Ok(()));
        assert_eq!(shares.admit(now, net("10.0.0.200"), 10), Err(now + Duration::from_millis(100)));
        assert_eq!(shares.next(now, net("10.0.0.7"), 10), now + Duration::from_millis(100));
        assert_eq!(shares.admit(now, net("10.0.1.1"), 10), Ok(()));
        assert_eq!(shares.admit(now, net("2001:db8::1"), 10), Ok(()));
        assert!(shares.admit(now, net("2001:db8::ffff:0:0:1"), 10).is_err());
        assert_eq!(shares.admit(now, net("2001:db8:0:1::1"), 10), Ok(()));
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_networks_and_the_cap_holds_all_the_same() {
        let mut shares = Shares::default();
        let mut now = Duration::from_secs(1);
        let mut refused = 0;
        for number in 0..400_000_u32 {
            now += Duration::from_micros(2);
            refused += u32::from(shares.admit(now, number, 1).is_err());
            assert!(shares.schedules.len() <= SCHEDULES_MAX);
        }
        assert!(refused > 0, "all of them were sent to within a second");
        assert!(shares.admit(now, 0, 1).is_err(), "the first is not forgotten before its time");
        now += Duration::from_secs(2);
        assert_eq!(shares.admit(now, u32::MAX, 1), Ok(()));
        assert_eq!(shares.schedules.len(), 1, "what says nothing any more is forgotten");
    }

    #[test]
    fn no_hundred_milliseconds_see_more_than_a_share_and_a_twentieth() {
        for pps in [7, 100, 1000, 25_000] {
            let mut shares = Shares::default();
            let (mut now, mut sent) = (Duration::from_secs(1), Vec::new());
            let mut late = 0;
            while now < Duration::from_secs(3) {
                match shares.admit(now, 0_u8, pps) {
                    Ok(()) => sent.push(now),
                    Err(next) => {
                        late = (late + 777) % 9000;
                        now = next + Duration::from_micros(late);
                    }
                }
            }
            let mut from = 0;
            for (at, time) in sent.iter().enumerate() {
                while *time - sent[from] >= Duration::from_millis(100) {
                    from += 1;
                }
                let most = usize::try_from((pps * 105).div_ceil(1000)).unwrap() + 1;
                assert!(at - from < most, "{} in 100 ms at {pps} per second", at - from + 1);
            }
        }
    }
}
