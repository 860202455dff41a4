//! The numbers behind `--timing` and the profiles, for UDP.

use std::time::Duration;

use crate::scan::limits::Limits;
use crate::spec::{Profile, ScanSpec, Timing};

/// Longest wait for one try, unless the path is known to be slower.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How hard a UDP scan may push.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UdpLimits {
    /// What every scan is limited by, with the waits of UDP.
    pub(super) common: Limits,
    /// Least time between two probes to one host, before anything is known of its own limit.
    pub(super) host_gap: Duration,
    /// How long a host that limits its answers is waited for; ports not asked by then are as if silent.
    pub(super) paced_max: Duration,
    /// Whether a port is asked in the protocol that is usual there.
    pub(super) payloads: bool,
}

impl UdpLimits {
    pub(super) fn of(spec: &ScanSpec) -> Self {
        let (millis, minutes) = (Duration::from_millis, |minutes: u64| Duration::from_secs(60 * minutes));
        // The last wait: services think before they answer. The host's: a thousand ports of one that says one per second
        // take 17 minutes; fast is for those who will not wait.
        let (last_wait_min, host_gap, paced_max) = match spec.timing {
            Timing::Polite => (millis(2000), millis(10), minutes(40)),
            Timing::Normal => (millis(1000), millis(2), minutes(20)),
            Timing::Fast => (millis(500), millis(1), minutes(2)),
        };
        Self {
            common: Limits { last_wait_min, wait_max: WAIT_MAX, ..Limits::of(spec) },
            host_gap,
            paced_max,
            payloads: spec.profile != Profile::OtSafe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragile_device_gets_one_empty_datagram_at_a_time() {
        let spec = ScanSpec { profile: Profile::OtSafe, rate_pps: Some(900), ..ScanSpec::default() };
        let UdpLimits { common, payloads, .. } = UdpLimits::of(&spec);
        assert_eq!((common.window_max, common.tries, common.rate_max_pps), (1, Some(1), Some(20)));
        assert!(!payloads && !common.banners);
    }
}
