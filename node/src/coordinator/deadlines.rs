//! How long each try of a unit takes, on the leader's monotonic clock: a lease that runs too long is taken back.
//!
//! Soft, like all that is measured: a new leader, and one that stood still, gives every lease a fresh full term. A unit that
//! its own job's limits make longer than a try may take is not late for that: no worker could be sooner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::command::LeaseRef;
use pentora_raft::state::Lease;

/// Since when each lease is known to be out.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeMap<LeaseRef, Instant>);

impl Deadlines {
    /// Those of the leases, each with its term, that are out for longer than that at `now`.
    pub(super) fn overdue(
        &mut self,
        standing: impl Iterator<Item = (LeaseRef, Duration)>,
        now: Instant,
    ) -> Vec<LeaseRef> {
        let mut known = std::mem::take(&mut self.0);
        let mut late = Vec::new();
        for (lease, term) in standing {
            let since = known.remove(&lease).unwrap_or(now);
            self.0.insert(lease, since);
            if now.saturating_duration_since(since) >= term {
                late.push(lease);
            }
        }
        late
    }

    /// Every lease begins its term anew.
    pub(super) fn begin_anew(&mut self) {
        self.0.clear();
    }
}

/// What a job's own limits mean for how long its units take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Ports asked of each target.
    pub(super) ports: u64,
    /// Most packets per second to one host.
    pub(super) host_pps: Option<u64>,
}

/// How long a lease may be out: as long as a try may take, or twice what its job's limits make it take, whichever is more.
pub(super) fn term_of(lease: &Lease, limits: Limits, attempt_ms: u64) -> Duration {
    let targets = lease.end.saturating_sub(lease.start);
    let packets = limits.ports.saturating_mul(targets);
    let paced_ms = |packets: u64, pps: Option<u64>| pps.map_or(0, |pps| packets.saturating_mul(1_000) / pps.max(1));
    let slowest_ms = paced_ms(packets, lease.share.rate_pps)
        .max(paced_ms(packets, lease.share.network_pps))
        .max(paced_ms(limits.ports, limits.host_pps));
    Duration::from_millis(attempt_ms.max(slowest_ms.saturating_mul(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::JobId;
    use pentora_raft::command::UnitKey;

    #[test]
    fn a_lease_is_overdue_after_its_term_and_a_new_epoch_or_a_new_leader_begins_another() {
        let lease = |epoch| LeaseRef { unit: UnitKey { job: JobId(1), partition: 0, start: 0 }, epoch };
        let (begun, term) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let mut late = |epoch, seconds| deadlines.overdue([(lease(epoch), term)].into_iter(), at(seconds));
        assert!(late(5, 0).is_empty() && late(5, 9).is_empty());
        assert_eq!(late(5, 10), [lease(5)]);
        assert!(late(7, 11).is_empty() && late(7, 20).is_empty());
        assert_eq!(late(7, 21), [lease(7)]);
        deadlines.begin_anew();
        assert!(deadlines.overdue([(lease(7), term)].into_iter(), at(22)).is_empty());
    }

    #[test]
    fn a_unit_that_its_own_jobs_limits_make_long_is_not_late_for_that() {
        let lease = |rate_pps, network_pps| Lease {
            start: 10,
            end: 20,
            node: 1,
            epoch: 5,
            attempts: 0,
            share: pentora_raft::state::Share { rate_pps, network_pps },
            granted_at_ms: 0,
        };
        let limits = Limits { ports: 1_000, host_pps: None };
        let seconds = |lease: &Lease, limits| term_of(lease, limits, 60_000).as_secs();
        assert_eq!(seconds(&lease(None, None), limits), 60);
        assert_eq!(seconds(&lease(Some(1_000), None), limits), 60);
        assert_eq!(seconds(&lease(Some(100), None), limits), 200);
        assert_eq!(seconds(&lease(None, Some(10)), limits), 2_000);
        assert_eq!(seconds(&lease(None, None), Limits { host_pps: Some(10), ..limits }), 200);
        assert!(seconds(&lease(Some(0), None), Limits { ports: u64::MAX, ..limits }) > 60, "nothing overflows");
    }
}
