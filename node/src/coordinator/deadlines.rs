//! How long each try of a unit takes, on the leader's monotonic clock: a lease that runs too long is taken back.
//!
//! Soft, like all that is measured: a new leader, and one that stood still, gives every lease a fresh full term. A unit that
//! its own job's limits make longer than a try may take is not late for that: no worker could be sooner.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::state::Lease;
use pentora_raft::{JobId, NodeId};

/// Since when each lease is known to be out, and the longest term that it had meanwhile: what its worker had to do beside it has
/// taken its time, also once that is done.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeMap<LeaseRef, (Instant, Duration)>);

impl Deadlines {
    /// Those of the leases, each with its term, that are out for longer than that at `now`, by their terms in whole seconds.
    pub(super) fn overdue(
        &mut self,
        standing: impl Iterator<Item = (LeaseRef, Duration)>,
        now: Instant,
    ) -> BTreeMap<u64, Vec<LeaseRef>> {
        let mut known = std::mem::take(&mut self.0);
        let mut late: BTreeMap<u64, Vec<LeaseRef>> = BTreeMap::new();
        for (lease, term) in standing {
            let (since, before) = known.remove(&lease).unwrap_or((now, term));
            let term = term.max(before);
            self.0.insert(lease, (since, term));
            if now.saturating_duration_since(since) >= term {
                late.entry(term.as_secs()).or_default().push(lease);
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

/// How long each lease may be out: as long as a try may take, or twice what its job's limits make it take, whichever is more. A
/// worker has one pace for all its units of a job, so each takes as long as all of them.
pub(super) fn terms_of<'a>(
    leases: impl Iterator<Item = (UnitKey, &'a Lease)>,
    limits_of: impl Fn(JobId) -> Limits,
    attempt_ms: u64,
) -> Vec<(LeaseRef, Duration)> {
    let mut together: BTreeMap<(JobId, NodeId), u64> = BTreeMap::new();
    let leases: Vec<(UnitKey, &Lease)> = leases.collect();
    for (unit, lease) in &leases {
        let targets = together.entry((unit.job, lease.node)).or_default();
        *targets = targets.saturating_add(lease.end.saturating_sub(lease.start));
    }
    let term = |(unit, lease): (UnitKey, &Lease)| {
        let all = together.get(&(unit.job, lease.node)).copied().unwrap_or_default();
        (LeaseRef { unit, epoch: lease.epoch }, term_of(lease, all, limits_of(unit.job), attempt_ms))
    };
    leases.into_iter().map(term).collect()
}

/// The term of a lease whose worker has so many targets of the job in all.
fn term_of(lease: &Lease, all_targets: u64, limits: Limits, attempt_ms: u64) -> Duration {
    let packets = limits.ports.saturating_mul(lease.end.saturating_sub(lease.start));
    let paced_ms = |packets: u64, pps: Option<u64>| pps.map_or(0, |pps| packets.saturating_mul(1_000) / pps.max(1));
    let slowest_ms = paced_ms(limits.ports.saturating_mul(all_targets), lease.share.rate_pps)
        .max(paced_ms(packets, lease.share.network_pps))
        .max(paced_ms(limits.ports, limits.host_pps));
    Duration::from_millis(attempt_ms.max(slowest_ms.saturating_mul(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_overdue_after_its_term_and_a_new_epoch_or_a_new_leader_begins_another() {
        let lease = |epoch| LeaseRef { unit: UnitKey { job: JobId(1), partition: 0, start: 0 }, epoch };
        let (begun, term) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let mut late = |epoch, seconds| deadlines.overdue([(lease(epoch), term)].into_iter(), at(seconds));
        assert!(late(5, 0).is_empty() && late(5, 9).is_empty());
        assert_eq!(late(5, 10), BTreeMap::from([(10, vec![lease(5)])]));
        assert!(late(7, 11).is_empty() && late(7, 20).is_empty());
        assert_eq!(late(7, 21), BTreeMap::from([(10, vec![lease(7)])]));
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
        let seconds = |lease: &Lease, limits| term_of(lease, 10, limits, 60_000).as_secs();
        assert_eq!(seconds(&lease(None, None), limits), 60);
        assert_eq!(seconds(&lease(Some(1_000), None), limits), 60);
        assert_eq!(seconds(&lease(Some(100), None), limits), 200);
        assert_eq!(seconds(&lease(None, Some(10)), limits), 2_000);
        assert_eq!(seconds(&lease(None, None), Limits { host_pps: Some(10), ..limits }), 200);
        assert!(seconds(&lease(Some(0), None), Limits { ports: u64::MAX, ..limits }) > 60, "nothing overflows");
    }

    #[test]
    fn a_unit_behind_another_of_one_pace_has_the_time_of_both_also_once_that_one_is_done() {
        let unit = |start| UnitKey { job: JobId(1), partition: 0, start };
        let lease = |start: u64, end, node| Lease {
            start,
            end,
            node,
            epoch: 5,
            attempts: 0,
            share: pentora_raft::state::Share { rate_pps: Some(100), network_pps: None },
            granted_at_ms: 0,
        };
        let (first, second, elsewhere) = (lease(0, 30, 1), lease(30, 40, 1), lease(40, 50, 2));
        let limits = |_: JobId| Limits { ports: 100, host_pps: None };
        let of = |leases: &[&Lease]| terms_of(leases.iter().map(|lease| (unit(lease.start), *lease)), limits, 1_000);
        let seconds: Vec<u64> = of(&[&first, &second, &elsewhere]).iter().map(|(_, term)| term.as_secs()).collect();
        assert_eq!(seconds, [80, 80, 20]);
        let (mut deadlines, begun) = (Deadlines::default(), Instant::now());
        let mut late = |leases: &[&Lease], seconds| {
            deadlines.overdue(of(leases).into_iter(), begun + Duration::from_secs(seconds)).len()
        };
        assert_eq!([late(&[&first, &second], 0), late(&[&second], 40), late(&[&second], 79)], [0, 0, 0]);
        assert_eq!(late(&[&second], 80), 1);
    }
}
