//! The units this node works on, and the pace they share by job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pentora_raft::JobId;
use pentora_raft::command::{LeaseRef, UnitKey};
use pentora_raft::state::Lease;
use pentora_scanner::finding::HostRecord;
use pentora_scanner::pace::RateCap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::work_protocol::Figures;

/// How much a new measurement of a worker's rate counts against the earlier ones.
const RATE_WEIGHT: f64 = 0.5;
/// Rates are kept of so many jobs; the lowest id goes first.
const RATES_KEPT_MAX: usize = 256;

#[derive(Debug)]
struct Running {
    lease: Lease,
    cancel: CancellationToken,
    early: CancellationToken,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Inner {
    running: BTreeMap<LeaseRef, Running>,
    paces: BTreeMap<JobId, Arc<RateCap>>,
    rates: BTreeMap<JobId, f64>,
    paused: bool,
    /// Set once units are to end early; none is begun from then on.
    is_suspended: bool,
    /// While set, no unit is begun.
    is_resting: bool,
    /// Whether a leader has answered this process: whatever it holds from before came until then.
    was_answered: bool,
    /// Leases of which it has given back some of their share.
    yielded: BTreeSet<LeaseRef>,
    /// What units that ended early had found of targets that are not settled.
    left: Vec<HostRecord>,
    /// Probes that they had sent for it.
    left_probes: u64,
}

/// What this node works on. One owner; shared by reference.
#[derive(Debug, Default)]
pub struct Units {
    inner: Mutex<Inner>,
    suspend: CancellationToken,
    /// Told whenever a unit ends.
    ended: Notify,
}

/// Leases with how far they are.
pub(super) type Progress = Vec<(LeaseRef, Figures)>;
/// Targets per second, by job.
pub(super) type Rates = Vec<(JobId, f64)>;

/// A unit that was begun.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) reference: LeaseRef,
    pub(super) lease: Lease,
    pub(super) pace: Arc<RateCap>,
    pub(super) cancel: CancellationToken,
    /// Asks the unit to count what is settled and to end.
    pub(super) suspend: CancellationToken,
    /// The same, and to hand the rest back.
    pub(super) early: CancellationToken,
    /// Set once the last of its results are on their way into the log: its lease is gone from then on because it is done.
    pub(super) handed_in: Arc<AtomicBool>,
    /// Set where its share may be less by now than its lease says: it sends nothing before [`Units::assure`].
    pub(super) is_doubtful: bool,
}

impl Units {
    /// Takes a lease on, unless it is known already.
    pub(super) fn begin(&self, unit: UnitKey, lease: Lease) -> Option<Begun> {
        let reference = LeaseRef { unit, epoch: lease.epoch };
        let mut inner = self.lock();
        if inner.is_suspended || inner.is_resting || inner.running.contains_key(&reference) {
            return None;
        }
        let (cancel, early) = (CancellationToken::new(), CancellationToken::new());
        let (of_unit, figures) = ((cancel.clone(), early.clone()), Figures::default());
        let mut running = Running { lease: lease.clone(), cancel: of_unit.0, early: of_unit.1, figures };
        let may_be_less = !inner.was_answered || inner.yielded.contains(&reference);
        let is_doubtful = may_be_less && lease.share.rate_pps.is_some();
        if is_doubtful {
            running.lease.share.rate_pps = Some(0);
        }
        inner.running.insert(reference, running);
        let pace = Arc::clone(inner.paces.entry(unit.job).or_insert_with(|| Arc::new(RateCap::new(Some(0)))));
        inner.set_pace(unit.job);
        let suspend = self.suspend.clone();
        Some(Begun { reference, lease, pace, cancel, suspend, early, handed_in: Arc::default(), is_doubtful })
    }

    /// A leader has answered: what it hands out from here on is new.
    pub(super) fn was_answered(&self) {
        self.lock().was_answered = true;
    }

    /// Has a unit send no more than so much, whatever share its lease says.
    pub(super) fn limit(&self, reference: &LeaseRef, most_pps: u64) {
        self.lock().change_share(reference, |share| Some(share.map_or(most_pps, |share| share.min(most_pps))));
    }

    /// Lets a unit send that was in doubt: so much is its share.
    pub(super) fn assure(&self, reference: &LeaseRef, rate_pps: u64) {
        self.lock().change_share(reference, |_| Some(rate_pps));
    }

    /// Has a unit keep to a part of its share: the rest is about to be given back.
    pub(super) fn keep_to(&self, reference: &LeaseRef, rate_pps: u64) {
        let mut inner = self.lock();
        inner.yielded.insert(*reference);
        inner.change_share(reference, |share| share.map(|share| share.min(rate_pps)));
    }

    /// What a unit may send, where that is bounded.
    pub(super) fn share(&self, reference: &LeaseRef) -> Option<u64> {
        self.lock().running.get(reference)?.lease.share.rate_pps
    }

    /// Forgets leases that do not stand any more.
    pub(super) fn forget_all_but(&self, stands: impl Fn(&LeaseRef) -> bool) {
        self.lock().yielded.retain(stands);
    }

    /// A unit is over, one way or another.
    pub(super) fn end(&self, reference: &LeaseRef) {
        let mut inner = self.lock();
        inner.running.remove(reference);
        inner.set_pace(reference.unit.job);
        drop(inner);
        self.ended.notify_waiters();
    }

    /// Notes how far a unit is.
    pub(super) fn progress(&self, reference: &LeaseRef, figures: Figures) {
        if let Some(running) = self.lock().running.get_mut(reference) {
            running.figures = figures;
        }
    }

    /// Keeps what a unit that ended early had found of targets that are not settled.
    pub(super) fn leave(&self, records: Vec<HostRecord>, probes_sent: u64) {
        let mut inner = self.lock();
        inner.left.extend(records);
        inner.left_probes += probes_sent;
    }

    /// Asks every unit to end early, waits until all have, and answers what they found of targets that are not settled,
    /// and the probes sent for that. No unit is begun any more.
    pub(super) async fn suspend(&self) -> (Vec<HostRecord>, u64) {
        self.lock().is_suspended = true;
        self.suspend.cancel();
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Enabled before the look, so that an end between the two is not missed.
            ended.as_mut().enable();
            if let Some(left) = self.take_left() {
                return left;
            }
            ended.await;
        }
    }

    /// What units that ended early have left, once none is running.
    fn take_left(&self) -> Option<(Vec<HostRecord>, u64)> {
        let mut inner = self.lock();
        inner.running.is_empty().then(|| (std::mem::take(&mut inner.left), inner.left_probes))
    }

    /// Notes how fast a unit of `job` was.
    pub(super) fn measured(&self, job: JobId, targets_per_second: f64) {
        if !targets_per_second.is_finite() || targets_per_second <= 0.0 {
            return;
        }
        let mut inner = self.lock();
        let rate = inner.rates.entry(job).or_insert(targets_per_second);
        *rate += (targets_per_second - *rate) * RATE_WEIGHT;
        while inner.rates.len() > RATES_KEPT_MAX {
            inner.rates.pop_first();
        }
    }

    /// What a beat says: each lease with its progress, and the rates.
    pub(super) fn beat(&self) -> (Progress, Rates) {
        let inner = self.lock();
        let leases = inner.running.iter().map(|(reference, running)| (*reference, running.figures)).collect();
        (leases, inner.rates.iter().map(|(job, rate)| (*job, *rate)).collect())
    }

    /// The leases that it works on.
    pub(super) fn running(&self) -> Vec<LeaseRef> {
        self.lock().running.keys().copied().collect()
    }

    /// Stops units whose lease is gone.
    pub(super) fn revoke(&self, leases: &[LeaseRef]) {
        let inner = self.lock();
        for running in leases.iter().filter_map(|reference| inner.running.get(reference)) {
            running.cancel.cancel();
        }
    }

    /// Asks units to count what is settled of them, to hand the rest back and to end.
    pub(super) fn end_early(&self, leases: &[LeaseRef]) {
        let inner = self.lock();
        for running in leases.iter().filter_map(|reference| inner.running.get(reference)) {
            running.early.cancel();
        }
    }

    /// Stops everything and answers what was running.
    pub(super) fn stop_all(&self) -> Vec<LeaseRef> {
        let inner = self.lock();
        inner.running.values().for_each(|running| running.cancel.cancel());
        inner.running.keys().copied().collect()
    }

    /// Begins no unit any more, or does again.
    pub(super) fn rest(&self, resting: bool) {
        self.lock().is_resting = resting;
    }

    /// Holds all sending, or lets it go on.
    pub(super) fn pause(&self, paused: bool) {
        let mut inner = self.lock();
        inner.paused = paused;
        let jobs: Vec<JobId> = inner.paces.keys().copied().collect();
        jobs.into_iter().for_each(|job| inner.set_pace(job));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn change_share(&mut self, reference: &LeaseRef, change: impl FnOnce(Option<u64>) -> Option<u64>) {
        if let Some(running) = self.running.get_mut(reference) {
            let share = &mut running.lease.share.rate_pps;
            *share = change(*share);
        }
        self.set_pace(reference.unit.job);
    }

    /// A job's pace here is the largest share that any of its leases carries: the state machine counts the same.
    fn set_pace(&mut self, job: JobId) {
        let shares = self.running.iter().filter(|(reference, _)| reference.unit.job == job);
        let mut shares = shares.map(|(_, running)| running.lease.share.rate_pps).peekable();
        let Some(pace) = self.paces.get(&job) else { return };
        if shares.peek().is_none() {
            self.paces.remove(&job);
            return;
        }
        let share = shares.try_fold(0u64, |most, share| share.map(|share| most.max(share)));
        pace.set(if self.paused { Some(0) } else { share });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_raft::state::Share;

    fn unit(start: u64) -> UnitKey {
        UnitKey { job: JobId(1), partition: 0, start }
    }

    fn lease(epoch: u64, rate_pps: Option<u64>) -> Lease {
        Lease {
            start: 0,
            end: 10,
            node: 1,
            epoch,
            attempts: 0,
            share: Share { rate_pps, network_pps: None },
            granted_at_ms: 0,
        }
    }

    #[test]
    fn a_lease_that_comes_again_is_begun_once_and_a_new_epoch_is_another_unit() {
        let units = Units::default();
        assert!(units.begin(unit(0), lease(5, None)).is_some());
        assert!(units.begin(unit(0), lease(5, None)).is_none());
        assert!(units.begin(unit(0), lease(9, None)).is_some());
    }

    #[test]
    fn a_jobs_pace_is_its_largest_share_and_nothing_while_paused() {
        let units = Units::default();
        units.was_answered();
        let begun = units.begin(unit(0), lease(5, Some(100))).unwrap();
        assert_eq!(begun.pace.get(), Some(100));
        units.begin(unit(10), lease(6, Some(150))).unwrap();
        assert_eq!(begun.pace.get(), Some(150));
        units.pause(true);
        assert_eq!(begun.pace.get(), Some(0));
        units.pause(false);
        units.end(&LeaseRef { unit: unit(10), epoch: 6 });
        assert_eq!(begun.pace.get(), Some(100));
    }

    #[test]
    fn a_share_above_the_budget_of_its_job_is_cut_to_it() {
        let units = Units::default();
        units.was_answered();
        let begun = units.begin(unit(0), lease(5, None)).unwrap();
        units.limit(&begun.reference, 100);
        assert_eq!(begun.pace.get(), Some(100));
        let more = units.begin(unit(10), lease(6, Some(900))).unwrap();
        units.limit(&more.reference, 100);
        assert_eq!(begun.pace.get(), Some(100));
    }

    #[test]
    fn what_a_unit_gave_back_it_does_not_send_again_and_what_is_from_before_waits_for_the_logs_word() {
        let units = Units::default();
        let before = units.begin(unit(0), lease(5, Some(100))).unwrap();
        assert!(before.is_doubtful && before.pace.get() == Some(0), "whoever had it before may have given back some");
        units.assure(&before.reference, 30);
        assert_eq!((before.pace.get(), units.share(&before.reference)), (Some(30), Some(30)));
        units.was_answered();
        let begun = units.begin(unit(10), lease(6, Some(100))).unwrap();
        assert!(!begun.is_doubtful && begun.pace.get() == Some(100));
        units.keep_to(&begun.reference, 10);
        assert_eq!(begun.pace.get(), Some(30), "a job's pace is its largest share");
        units.keep_to(&begun.reference, 90);
        assert_eq!(units.share(&begun.reference), Some(10));
        units.end(&begun.reference);
        let again = units.begin(unit(10), lease(6, Some(100))).unwrap();
        assert!(again.is_doubtful, "its lease came again as it was before");
        units.end(&again.reference);
        units.forget_all_but(|_| false);
        assert!(!units.begin(unit(10), lease(6, Some(100))).unwrap().is_doubtful);
        assert!(!Units::default().begin(unit(0), lease(5, None)).unwrap().is_doubtful, "nothing bounds it");
    }

    #[tokio::test]
    async fn suspending_waits_for_every_unit_hands_over_what_they_left_and_begins_none_any_more() {
        let units = Units::default();
        let begun = units.begin(unit(0), lease(5, None)).unwrap();
        let unit_ends = async {
            begun.suspend.cancelled().await;
            tokio::task::yield_now().await;
            units.leave(Vec::new(), 7);
            units.end(&begun.reference);
        };
        let ((left, probes), ()) = tokio::join!(units.suspend(), unit_ends);
        assert!(left.is_empty() && probes == 7 && !begun.cancel.is_cancelled());
        assert!(units.begin(unit(10), lease(6, None)).is_none());
    }

    #[test]
    fn a_resting_node_begins_no_unit_until_it_works_again() {
        let units = Units::default();
        units.rest(true);
        assert!(units.begin(unit(0), lease(5, None)).is_none());
        units.rest(false);
        assert!(units.begin(unit(0), lease(5, None)).is_some());
    }

    #[test]
    fn stopping_cancels_every_unit_and_names_it() {
        let units = Units::default();
        let begun = units.begin(unit(0), lease(5, None)).unwrap();
        assert_eq!(units.stop_all(), [begun.reference]);
        assert!(begun.cancel.is_cancelled());
    }
}
