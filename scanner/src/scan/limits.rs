//! The numbers behind `--timing` and the profiles.

use std::time::Duration;

use crate::pace::flows::POLITE_MAX;
use crate::spec::{Profile, ScanSpec, Timing};

/// Longest wait for the answer to one try, unless the path is known to be slower: just short of the second after
/// which the kernel would repeat a connection's SYN by itself, uncounted and unpaced.
const WAIT_MAX: Duration = Duration::from_millis(950);

/// How hard a scan may push.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    /// Probes in flight before anything is known of the network.
    pub(crate) window_start: usize,
    /// Probes in flight at most.
    pub(crate) window_max: usize,
    /// No wait for an answer is shorter.
    pub(crate) timeout_min: Duration,
    /// The wait after the last try is at least this, for hosts that are slower than the estimate.
    pub(crate) last_wait_min: Duration,
    /// No wait is longer, unless the path is known to be slower.
    pub(crate) wait_max: Duration,
    /// Probes per second at most, beside the job's budget.
    pub(crate) rate_max_pps: Option<u64>,
    /// Probes per second at first, which answers double; `None` to begin as fast as the rest allows.
    pub(crate) start_pps: Option<f64>,
    /// Flows that the scan may leave behind in routers at once.
    pub(crate) flows_max: Option<u32>,
    /// Whether it watches that they still have room for new ones; whoever gives a rate has said how fast to go, and whoever wants
    /// a single try gets no other question.
    pub(crate) watches_room: bool,
    /// Tries per port, or `None` for as many as the measured loss asks for.
    pub(crate) tries: Option<u8>,
    /// Whether a few probes decide whether a host is worth the rest.
    pub(crate) discovery: bool,
    /// Whether to read what open ports say.
    pub(crate) banners: bool,
}

impl Limits {
    pub(crate) fn of(spec: &ScanSpec) -> Self {
        let millis = Duration::from_millis;
        // Windows: 16 probes are what a person's own machine opens at once; 512 fill a fast network within its first
        // round trip and fit the queue of any interface; 16,384 unanswered connections are 10 MiB of kernel memory.
        let (window_start, window_max, timeout_min, last_wait_min, rate) = match spec.timing {
            Timing::Polite => (16, 256, millis(250), millis(950), Some(500)),
            Timing::Normal => (512, 16_384, millis(100), millis(400), None),
            Timing::Fast => (2048, 32_768, millis(50), millis(250), None),
        };
        // A rate that was given is begun with, so the first second's probes have to fit.
        let rated = spec.rate_pps.map(|pps| usize::try_from(pps).unwrap_or(usize::MAX));
        // A few hundred per second are what any router has room for.
        let start_pps = match spec.timing {
            Timing::Polite => Some(100.0),
            Timing::Normal => Some(400.0),
            Timing::Fast => None,
        };
        let limits = Self {
            start_pps: start_pps.filter(|_| spec.rate_pps.is_none()),
            flows_max: (spec.timing == Timing::Polite).then_some(POLITE_MAX),
            watches_room: spec.timing == Timing::Normal && spec.rate_pps.is_none() && spec.retries != Some(0),
            window_start: rated.map_or(window_start, |pps| pps.clamp(window_start, window_max)),
            window_max,
            timeout_min,
            last_wait_min,
            wait_max: WAIT_MAX,
            rate_max_pps: [rate, spec.budget_pps()].into_iter().flatten().min(),
            tries: spec.retries.map(|retries| retries.saturating_add(1)),
            discovery: !spec.discovery.is_empty(),
            banners: spec.banners,
        };
        match spec.profile {
            Profile::Default => limits,
            Profile::OtSafe => Self {
                window_start: 1,
                window_max: 1,
                start_pps: None,
                flows_max: None,
                watches_room: false,
                tries: Some(1),
                discovery: false,
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
    fn a_fragile_device_gets_one_probe_at_a_time_and_no_second_one() {
        let spec = ScanSpec { profile: Profile::OtSafe, retries: Some(5), rate_pps: Some(5000), ..ScanSpec::default() };
        let limits = Limits::of(&spec);
        assert_eq!((limits.window_start, limits.window_max, limits.tries), (1, 1, Some(1)));
        assert_eq!(limits.rate_max_pps, Some(20));
        assert!(!limits.discovery && !limits.banners);
    }

    #[test]
    fn a_rate_that_is_given_is_begun_with() {
        let start = |rate_pps| Limits::of(&ScanSpec { rate_pps, ..ScanSpec::default() }).window_start;
        assert_eq!((start(None), start(Some(9000)), start(Some(10))), (512, 9000, 512));
        let ceiling = ScanSpec { max_rate_pps: Some(9000), ..ScanSpec::default() };
        assert_eq!(Limits::of(&ceiling).window_start, 512, "a ceiling is only a ceiling");
    }

    #[test]
    fn the_lower_of_timing_and_rate_holds() {
        let rate = |timing, rate_pps| Limits::of(&ScanSpec { timing, rate_pps, ..ScanSpec::default() }).rate_max_pps;
        assert_eq!(rate(Timing::Polite, None), Some(500));
        assert_eq!(rate(Timing::Polite, Some(100)), Some(100));
        assert_eq!(rate(Timing::Normal, Some(9000)), Some(9000));
        assert_eq!(rate(Timing::Fast, None), None);
    }
}
