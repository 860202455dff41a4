//! What a unit has found so far, kept by parts of its index range, so that a finished front of it can be counted while the
//! rest is still being scanned.
//!
//! A checkpoint costs a chunk on two disks and an entry of the log, and saves its targets from being probed again should
//! this node die. So it is made only after a while, and only where the front is a fair part of the unit. Pure: told the
//! findings, the figures and the time.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use pentora_raft::state::Counts;
use pentora_scanner::engine::UnitProgress;
use pentora_scanner::finding::{Finding, HostRecord};
use pentora_scanner::report::{Fold, Summary};

use crate::coordinator::Figures;
use crate::feeds::rematch::Rematch;

/// Parts of a unit: a checkpoint ends at the end of one. More would cost a map each and hardly save a probe.
const PARTS: u64 = 64;
/// A front smaller than this part of the unit is not worth a chunk of its own.
const WORTH: u64 = 8;
/// No checkpoint comes sooner after the unit's begin or the checkpoint before.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A unit's findings, and which of its figures are counted already.
#[derive(Debug)]
pub(super) struct Harvest {
    whole: Range<u64>,
    part_targets: u64,
    /// Where the parts begin that are not taken yet.
    taken_until: u64,
    parts: VecDeque<Fold>,
    counted: Counts,
}

impl Harvest {
    /// Nothing found yet of `range`.
    pub(super) fn new(range: Range<u64>) -> Self {
        let targets = range.end.saturating_sub(range.start);
        let part_targets = targets.div_ceil(PARTS).max(1);
        let parts = (0..targets.div_ceil(part_targets)).map(|_| Fold::new()).collect();
        Self { taken_until: range.start, whole: range, part_targets, parts, counted: Counts::default() }
    }

    /// Takes a finding in. One of a part that was taken already would be counted twice, and is dropped.
    pub(super) fn add(&mut self, finding: Finding) {
        let behind = finding.target_index.checked_sub(self.taken_until);
        let at = behind.and_then(|behind| usize::try_from(behind / self.part_targets).ok());
        if let Some(part) = at.and_then(|at| self.parts.get_mut(at)) {
            part.add(finding);
        }
    }

    /// The first index that is not taken yet.
    pub(super) fn taken_until(&self) -> u64 {
        self.taken_until
    }

    /// The running figures without what is counted already, for people; `targets` are those done and not counted.
    pub(super) fn uncounted(&self, figures: &UnitProgress, targets: u64) -> Figures {
        let counts = counts_of(figures).since(&self.counted).with_estimates(figures.loss_estimate, 1.0);
        Figures { targets, counts }
    }

    /// The end of the last part that is wholly below `settled`, or where the untaken parts begin.
    pub(super) fn front(&self, settled: u64) -> u64 {
        if settled >= self.whole.end {
            return self.whole.end;
        }
        let whole_parts = settled.saturating_sub(self.whole.start) / self.part_targets;
        (self.whole.start + whole_parts * self.part_targets).max(self.taken_until)
    }

    /// Where a checkpoint that is made now would end, if it is worth one; `since` the unit's begin or the one before.
    pub(super) fn checkpoint(&self, settled: u64, since: Duration) -> Option<u64> {
        let front = self.front(settled);
        let targets = self.whole.end - self.whole.start;
        let is_worth = since >= CHECKPOINT_EVERY && front < self.whole.end;
        (is_worth && (front - self.taken_until).saturating_mul(WORTH) >= targets).then_some(front)
    }

    /// Takes every part below `until` out, with what was counted of the unit's `figures` since the parts taken before.
    pub(super) fn take(&mut self, until: u64, figures: &UnitProgress) -> Taken {
        let mut parts = Vec::new();
        while self.taken_until < until
            && let Some(part) = self.parts.pop_front()
        {
            parts.push(part);
            self.taken_until = (self.taken_until + self.part_targets).min(self.whole.end);
        }
        let now = counts_of(figures);
        let before = std::mem::replace(&mut self.counted, now);
        // What was found is counted by the records.
        let Counts { probes_sent, retransmitted, replies, .. } = now.since(&before);
        let counts = Counts { probes_sent, retransmitted, replies, ..Counts::default() };
        Taken { parts, counts: counts.with_estimates(figures.loss_estimate, figures.recall_estimate) }
    }
}

/// The engine's figures as the state counts them, without its estimates.
fn counts_of(figures: &UnitProgress) -> Counts {
    let UnitProgress { hosts_up, open_ports, probes_sent, retransmitted, replies, .. } = *figures;
    Counts { hosts_up, open_ports, probes_sent, retransmitted, replies, ..Counts::default() }
}

/// Parts that were taken out of a harvest.
#[derive(Debug)]
pub(super) struct Taken {
    parts: Vec<Fold>,
    counts: Counts,
}

impl Taken {
    /// Hands every record to `each`, those of a part by address, and returns what all of them count. Records are made a
    /// part at a time: those of a whole unit would take several times what its findings do.
    pub(super) fn records(
        self,
        rematch: &mut Rematch,
        (started_at_ms, worker): (u64, &str),
        mut each: impl FnMut(HostRecord),
    ) -> Counts {
        let mut summary = Summary::default();
        for part in self.parts {
            for mut record in part.finish(started_at_ms, worker) {
                rematch.record(&mut record);
                summary.count(&record);
                each(record);
            }
        }
        Counts {
            hosts_up: summary.hosts_up,
            open_ports: summary.open_ports,
            services_detected: summary.services_detected,
            vulnerabilities: summary.vulnerabilities,
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_scanner::finding::{HostState, Observation, Reason};
    use proptest::prelude::*;

    fn up(target_index: u64) -> Finding {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(target_index).unwrap()).into();
        let observation = Observation::Host { state: HostState::Up, reason: Reason::SynAck };
        Finding { target_index, address, name: None, observation }
    }

    fn records(taken: Taken) -> (Vec<HostRecord>, Counts) {
        let mut records = Vec::new();
        let counts = taken.records(&mut Rematch::new(None), (7, "wrk_a"), |record| records.push(record));
        (records, counts)
    }

    fn figures(probes_sent: u64) -> UnitProgress {
        UnitProgress { probes_sent, loss_estimate: 0.5, recall_estimate: 0.9, ..UnitProgress::default() }
    }

    #[test]
    fn a_checkpoint_is_made_after_a_while_of_a_fair_front_and_never_of_the_whole() {
        let mut harvest = Harvest::new(1_000..2_000);
        let (soon, late) = (CHECKPOINT_EVERY - Duration::from_millis(1), CHECKPOINT_EVERY);
        assert_eq!(harvest.checkpoint(1_500, soon), None);
        assert_eq!(harvest.checkpoint(1_500, late), Some(1_496), "parts of 16 targets");
        assert_eq!(harvest.checkpoint(1_100, late), None, "a tenth is not worth a chunk");
        assert_eq!(harvest.checkpoint(2_000, late), None, "the unit is about to end");
        harvest.take(1_496, &figures(1));
        assert_eq!(harvest.checkpoint(1_500, late), None);
        assert_eq!(harvest.checkpoint(1_700, late), Some(1_688));
    }

    #[test]
    fn what_is_counted_with_a_front_is_not_counted_again_with_the_rest() {
        let mut harvest = Harvest::new(0..128);
        (0..128).for_each(|index| harvest.add(up(index)));
        let (front, first) = records(harvest.take(64, &figures(1_000)));
        harvest.add(up(3));
        let (rest, second) = records(harvest.take(128, &figures(1_600)));
        assert_eq!((front.len(), rest.len()), (64, 64), "a late finding of a counted target is dropped");
        assert_eq!((first.hosts_up, second.hosts_up, first.probes_sent, second.probes_sent), (64, 64, 1_000, 600));
        assert!((second.loss_estimate() - 0.5).abs() < 1e-6);
        assert_eq!((front[0].started_at_ms, front[0].worker.as_str()), (7, "wrk_a"));
    }

    proptest! {
        #[test]
        fn fronts_and_rest_hold_every_host_once(
            start in 0u64..1_000, length in 1u64..3_000, cuts in proptest::collection::vec(0u64..4_000, 0..6),
        ) {
            let mut harvest = Harvest::new(start..start + length);
            (start..start + length).for_each(|index| harvest.add(up(index)));
            let mut hosts = 0;
            for cut in cuts {
                let front = harvest.front(start + cut);
                prop_assert!(front >= harvest.taken_until() && front <= (start + cut).max(harvest.taken_until()));
                let before = harvest.taken_until();
                let (records, _) = records(harvest.take(front, &figures(0)));
                prop_assert_eq!(records.len() as u64, front - before);
                prop_assert_eq!(harvest.taken_until(), front);
                hosts += records.len() as u64;
            }
            hosts += records(harvest.take(start + length, &figures(0))).0.len() as u64;
            prop_assert_eq!(hosts, length);
        }
    }
}
