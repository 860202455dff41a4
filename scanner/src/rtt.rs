//! Round-trip times and what to wait for an answer: RFC 6298, with sanity rules for samples.
//!
//! One estimate serves a whole unit. A network that is much slower than the rest gets one of its own as soon as a
//! late answer shows it, so that near hosts are not waited for as if they were far.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::network::Network;

/// The wait before anything has answered: RFC 6298 section 2.1.
pub const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Samples beyond this are answers to something else, or a machine that slept.
const SAMPLE_MAX: Duration = Duration::from_secs(8);
/// From here on a sample has to fit the estimate, or it is left out: one stray must not slow a whole scan.
const SAMPLE_DOUBTFUL: Duration = Duration::from_millis(1500);
/// The first variation is at least this, so that a lucky first sample does not make the wait too short.
const FIRST_VARIATION_MIN: Duration = Duration::from_millis(5);
/// Most slow networks kept apart: 4096 times 48 bytes, more than the sites of any mesh.
const SLOW_NETWORKS_MAX: usize = 4096;

/// Smoothed round-trip time and its variation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rtt {
    /// SRTT and RTTVAR of RFC 6298, once there was a sample.
    estimate: Option<(Duration, Duration)>,
}

impl Rtt {
    /// Takes in the time from a probe to its own answer (RFC 6298 section 2). Implausible samples are ignored.
    pub fn sample(&mut self, rtt: Duration) {
        if rtt > SAMPLE_MAX {
            return;
        }
        self.estimate = Some(match self.estimate {
            None => (rtt, (rtt / 2).max(FIRST_VARIATION_MIN)),
            Some((srtt, rttvar)) if rtt > SAMPLE_DOUBTFUL && rtt > 3 * srtt + 2 * rttvar => (srtt, rttvar),
            Some((srtt, rttvar)) => ((7 * srtt + rtt) / 8, (3 * rttvar + srtt.abs_diff(rtt)) / 4),
        });
    }

    /// The smoothed round-trip time, once there was a sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|(srtt, _)| srtt)
    }

    /// How long to wait for an answer, at least `floor`; [`INITIAL_TIMEOUT`] while nothing is known.
    #[must_use]
    pub fn timeout(&self, floor: Duration) -> Duration {
        self.estimate.map_or(INITIAL_TIMEOUT, |(srtt, rttvar)| srtt + 4 * rttvar).max(floor)
    }
}

/// The estimate of a unit, and those of networks in it that are slower.
#[derive(Debug, Clone)]
pub struct RttTable {
    floor: Duration,
    all: Rtt,
    slow: HashMap<Network, Rtt>,
}

impl RttTable {
    /// A table that knows nothing yet; no wait will be shorter than `floor`.
    #[must_use]
    pub fn new(floor: Duration) -> Self {
        Self { floor, all: Rtt::default(), slow: HashMap::new() }
    }

    /// Takes in a sample of a host.
    pub fn sample(&mut self, address: IpAddr, rtt: Duration) {
        let network = Network::of(address);
        if let Some(slow) = self.slow.get_mut(&network) {
            slow.sample(rtt);
        } else if self.all.smoothed().is_some()
            && 2 * rtt > self.timeout_of_all()
            && self.slow.len() < SLOW_NETWORKS_MAX
        {
            let mut slow = Rtt::default();
            slow.sample(rtt);
            self.slow.insert(network, slow);
        }
        self.all.sample(rtt);
    }

    /// How long to wait for an answer of a host.
    #[must_use]
    pub fn timeout(&self, address: IpAddr) -> Duration {
        let all = self.timeout_of_all();
        match self.slow.is_empty() {
            true => all,
            false => self.slow.get(&Network::of(address)).map_or(all, |slow| slow.timeout(self.floor).max(all)),
        }
    }

    /// The smoothed round-trip time over all hosts, once there was a sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.all.smoothed()
    }

    fn timeout_of_all(&self) -> Duration {
        self.all.timeout(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLOOR: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_estimate_follows_rfc_6298() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(ms(1)), ms(1000));
        rtt.sample(ms(100));
        assert_eq!(rtt.timeout(ms(1)), ms(100 + 4 * 50), "SRTT = R, RTTVAR = R/2");
        rtt.sample(ms(180));
        // RTTVAR = 3/4 * 50 + 1/4 * 80, SRTT = 7/8 * 100 + 1/8 * 180.
        assert_eq!(rtt.timeout(ms(1)), Duration::from_micros(110_000 + 4 * 57_500));
    }

    #[test]
    fn strays_change_nothing() {
        let mut rtt = Rtt::default();
        (0..20).for_each(|_| rtt.sample(ms(20)));
        let before = rtt;
        rtt.sample(ms(9000));
        rtt.sample(ms(1600));
        assert_eq!(rtt, before);
    }

    #[test]
    fn a_slow_network_is_waited_for_without_slowing_the_rest() {
        let mut table = RttTable::new(FLOOR);
        let (near, far) = ("10.0.0.1".parse().unwrap(), "10.9.9.1".parse().unwrap());
        (0..100).for_each(|_| table.sample(near, ms(1)));
        table.sample(far, ms(300));
        (0..50).for_each(|_| table.sample(near, ms(1)));
        assert!(table.timeout("10.9.9.200".parse().unwrap()) >= ms(300));
        assert_eq!(table.timeout(near), FLOOR);
        assert_eq!(table.timeout("10.8.0.1".parse().unwrap()), FLOOR);
    }

    proptest! {
        #[test]
        fn the_wait_covers_a_steady_path_and_stays_bounded(
            base in 1_u64..900, jitter in proptest::collection::vec(0_u64..20, 20..60)
        ) {
            let mut rtt = Rtt::default();
            for extra in jitter {
                rtt.sample(ms(base + extra));
            }
            let timeout = rtt.timeout(FLOOR);
            prop_assert!(timeout >= ms(base).max(FLOOR));
            prop_assert!(timeout <= ms(3 * base + 200).max(FLOOR));
        }
    }
}
