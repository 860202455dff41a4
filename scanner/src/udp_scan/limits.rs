//! The numbers behind `--timing` and the profiles, for UDP.

use std::time::Duration;

use crate::spec::{Profile, ScanSpec, Timing};

/// How hard a UDP scan may push.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limits {
    /// Probes in flight before anything is known of the network.
    pub(super) window_start: usize,
    /// Probes in flight at most.
    pub(super) window_max: usize,
    /// No wait for an answer is shorter.
    pub(super) timeout_min: Duration,
    /// The wait after the last try is at least this: services think before they answer.
    pub(super) last_wait_min: Duration,
    /// Probes per second at most, beside the job's budget.
    pub(super) rate_max_pps: Option<u64>,
    /// Least time between two probes to one host, before anything is known of its own limit.
    pub(super) host_gap: Duration,
    /// How long a host that limits its answers is waited for; ports not asked by then are as if silent.
    pub(super) paced_max: Duration,
    /// Tries per port, or `None` for as many as the measured loss asks for.
    pub(super) tries: Option<u8>,
    /// Whether a port is asked in the protocol that is usual there.
    pub(super) payloads: bool,
    /// Whether answers that are text are handed on.
    pub(super) banners: bool,
}

impl Limits {
    pub(super) fn of(spec: &ScanSpec) -> Self {
        let (millis, minutes) = (Duration::from_millis, |minutes: u64| Duration::from_secs(60 * minutes));
        // A thousand ports of a host that says one per second take 17 minutes; fast is for those who will not wait.
        let (window_start, window_max, timeout_min, last_wait_min, rate, host_gap, paced_max) = match spec.timing {
            Timing::Polite => (16, 256, millis(250), millis(2000), Some(500), millis(10), minutes(40)),
            Timing::Normal => (512, 16_384, millis(100), millis(1000), None, millis(2), minutes(20)),
            Timing::Fast => (2048, 32_768, millis(50), millis(500), None, millis(1), minutes(2)),
        };
        let rate_max_pps = [rate, spec.budget_pps()].into_iter().flatten().min();
        let limits = Self {
            // A rate that was given is begun with, so the first second's probes have to fit.
            window_start: spec
                .rate_pps
                .map_or(window_start, |pps| usize::try_from(pps).unwrap_or(usize::MAX).clamp(window_start, window_max)),
            window_max,
            timeout_min,
            last_wait_min,
            rate_max_pps,
            host_gap,
            paced_max,
            tries: spec.retries.map(|retries| retries.saturating_add(1)),
            payloads: true,
            banners: spec.banners,
        };
        match spec.profile {
            Profile::Default => limits,
            Profile::OtSafe => Self {
                window_start: 1,
                window_max: 1,
                rate_max_pps: Some(limits.rate_max_pps.unwrap_or(u64::MAX).min(20)),
                tries: Some(1),
                payloads: false,
                banners: false,
                ..limits
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragile_device_gets_one_empty_datagram_at_a_time() {
        let limits = Limits::of(&ScanSpec { profile: Profile::OtSafe, rate_pps: Some(900), ..ScanSpec::default() });
        assert_eq!((limits.window_max, limits.tries, limits.rate_max_pps), (1, Some(1), Some(20)));
        assert!(!limits.payloads && !limits.banners);
    }

    #[test]
    fn a_rate_that_is_given_is_begun_with() {
        let start = |rate_pps| Limits::of(&ScanSpec { rate_pps, ..ScanSpec::default() }).window_start;
        assert_eq!((start(None), start(Some(9000)), start(Some(10))), (512, 9000, 512));
    }
}
