//! What a unit has found so far, kept by slices of its index range, so that what is below its watermark can be counted, as
//! a checkpoint, while the rest is still being scanned.
//!
//! A checkpoint costs a chunk on two disks and an entry of the log, and saves its targets from being probed again should
//! this node die. So it is made only after a while, and only where it is a fair part of the unit. Pure: told the
//! findings, the figures and the time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pentora_raft::state::Counts;
use pentora_scanner::finding::{Finding, HostRecord, NotProbed, NotProbedCounts};
use pentora_scanner::report::{Fold, Origin, Summary};
use pentora_scanner::spec::ScanSpec;
use pentora_scanner::tally::{Estimates, Tally};
use pentora_scanner::unit::UnitProgress;

use crate::feeds::rematch::Rematch;
use crate::work_protocol::Figures;

/// Slices of a unit: a checkpoint ends at the end of one. More would cost a map each and hardly save a probe.
const SLICES: u64 = 64;
/// A checkpoint of less than this part of the unit is not worth a chunk of its own.
const WORTH: u64 = 8;
/// No checkpoint comes sooner after the unit's begin or the checkpoint before.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A unit's findings, and which of its figures are counted already.
#[derive(Debug)]
pub(super) struct UnitFindings {
    whole: Range<u64>,
    slice_targets: u64,
    /// Where the slices begin that are not taken yet.
    taken_until: u64,
    slices: VecDeque<Fold>,
    counted: Tally,
    /// What the unit is of, once that is known.
    spec: Option<Arc<ScanSpec>>,
}

impl UnitFindings {
    /// Nothing found yet of `range`.
    pub(super) fn new(range: Range<u64>) -> Self {
        let targets = range.end.saturating_sub(range.start);
        let slice_targets = targets.div_ceil(SLICES).max(1);
        let slices = (0..targets.div_ceil(slice_targets)).map(|_| Fold::new()).collect();
        Self { taken_until: range.start, whole: range, slice_targets, slices, counted: Tally::default(), spec: None }
    }

    /// The unit is of this spec.
    pub(super) fn of(&mut self, spec: Arc<ScanSpec>) {
        self.spec = Some(spec);
    }

    /// Takes a finding in. One of a slice that was taken already would be counted twice, and is dropped.
    pub(super) fn add(&mut self, finding: Finding) {
        let behind = finding.target_index.checked_sub(self.taken_until);
        let at = behind.and_then(|behind| usize::try_from(behind / self.slice_targets).ok());
        if let Some(slice) = at.and_then(|at| self.slices.get_mut(at)) {
            slice.add(finding);
        }
    }

    /// The first index that is not taken yet.
    pub(super) fn taken_until(&self) -> u64 {
        self.taken_until
    }

    /// The running figures without what is counted already, for people; `targets` are those done and not counted.
    pub(super) fn uncounted(&self, figures: &UnitProgress, targets: u64) -> Figures {
        let Tally { hosts_up, open_ports, probes_sent, .. } = figures.tally.since(self.counted);
        let counts = Counts { hosts_up, open_ports, probes_sent, ..Counts::default() };
        Figures { targets, counts: counts.with_estimates(figures.estimates.loss, 1.0) }
    }

    /// The watermark in whole slices: the end of the last one that is wholly below `settled`, or where the untaken ones
    /// begin.
    pub(super) fn watermark(&self, settled: u64) -> u64 {
        if settled >= self.whole.end {
            return self.whole.end;
        }
        let whole_slices = settled.saturating_sub(self.whole.start) / self.slice_targets;
        (self.whole.start + whole_slices * self.slice_targets).max(self.taken_until)
    }

    /// Where a checkpoint that is made now would end, if it is worth one; `since` the unit's begin or the one before.
    pub(super) fn checkpoint(&self, settled: u64, since: Duration) -> Option<u64> {
        let watermark = self.watermark(settled);
        let targets = self.whole.end - self.whole.start;
        let is_worth = since >= CHECKPOINT_EVERY && watermark < self.whole.end;
        (is_worth && (watermark - self.taken_until).saturating_mul(WORTH) >= targets).then_some(watermark)
    }

    /// Takes every slice below `until` out, with what was counted of the unit's `figures` since the slices taken before.
    pub(super) fn take(&mut self, until: u64, figures: &UnitProgress) -> Taken {
        let mut slices = Vec::new();
        while self.taken_until < until
            && let Some(slice) = self.slices.pop_front()
        {
            slices.push(slice);
            self.taken_until = (self.taken_until + self.slice_targets).min(self.whole.end);
        }
        let mut now = figures.tally;
        if until < self.whole.end {
            // Which of them lie below a watermark is not told: they are counted with the rest.
            now.not_probed = self.counted.not_probed;
        }
        let before = std::mem::replace(&mut self.counted, now);
        let Tally { probes_sent, retransmitted, replies, mut not_probed, .. } = now.since(before);
        // Who stopped answering is known from what was found of it.
        not_probed.add(NotProbed::Stopped, slices.iter().map(Fold::stopped).sum());
        let counts = Counts { probes_sent, retransmitted, replies, ..Counts::default() };
        Taken { slices, counts, not_probed, estimates: figures.estimates, spec: self.spec.clone() }
    }
}

/// Slices that were taken out.
#[derive(Debug)]
pub(super) struct Taken {
    slices: Vec<Fold>,
    counts: Counts,
    not_probed: NotProbedCounts,
    estimates: Estimates,
    spec: Option<Arc<ScanSpec>>,
}

impl Taken {
    /// Targets of these slices that no probe reached, or not to the end.
    pub(super) fn not_probed(&self) -> &NotProbedCounts {
        &self.not_probed
    }

    /// Whether no host of these slices is up: there is next to nothing to pack then.
    pub(super) fn found_nobody(&self) -> bool {
        self.slices.iter().all(|slice| slice.hosts_up() == 0)
    }

    /// Hands every record to `each`, those of a slice by address, and returns what all of them count. Records are made a
    /// slice at a time: those of a whole unit would take several times what its findings do.
    pub(super) fn records(self, origin: Origin<'_>, rematch: &mut Rematch, mut each: impl FnMut(HostRecord)) -> Counts {
        let mut summary = Summary::default();
        for slice in self.slices {
            for mut record in slice.finish(origin) {
                rematch.record(&mut record);
                record.is_target_itself = record.name.is_some() && is_target(self.spec.as_deref(), record.address);
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
        // Last, since recall weighs by the open ports.
        .with_estimates(self.estimates.loss, self.estimates.recall)
    }
}

/// Whether an address is a target by itself, in whatever part of a spec.
fn is_target(spec: Option<&ScanSpec>, address: IpAddr) -> bool {
    spec.is_some_and(|spec| spec.partitions.iter().any(|targets| targets.contains(address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pentora_scanner::finding::{HostState, Observation, Reason};
    use pentora_scanner::target::TargetSet;
    use proptest::prelude::*;

    fn up(target_index: u64) -> Finding {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(target_index).unwrap()).into();
        let observation = Observation::Host { state: HostState::Up, reason: Reason::SynAck };
        Finding { target_index, address, name: None, observation }
    }

    #[test]
    fn an_address_is_counted_once_however_many_names_were_asked_for() {
        let partitions =
            ["10.0.0.0/30", "a.example,b.example,c.example"].map(|targets| targets.parse::<TargetSet>().unwrap());
        let mut findings = UnitFindings::new(0..3);
        findings.of(Arc::new(ScanSpec { partitions: partitions.into(), ..ScanSpec::default() }));
        let named = [("a.example", "10.0.0.1"), ("b.example", "10.9.0.1"), ("c.example", "10.9.0.1")];
        for (index, (name, address)) in (0..).zip(named) {
            let address = address.parse().unwrap();
            findings.add(Finding { address, name: Some(name.into()), ..up(index) });
        }
        let (records, counts) = records(findings.take(3, &UnitProgress::default()));
        let told: Vec<_> = records.iter().map(|record| (record.name.as_deref(), record.is_target_itself)).collect();
        assert_eq!(told, [(Some("a.example"), true), (Some("b.example"), false), (Some("c.example"), false)]);
        assert_eq!(counts.hosts_up, 1, "one is counted with the addresses, and two are the same");
    }

    #[test]
    fn targets_that_stopped_answering_are_remarked_once_each_with_the_slice_that_they_are_in() {
        let mut findings = UnitFindings::new(0..64);
        let stopped = |index| Finding { observation: Observation::Stopped { probes: 9 }, ..up(index) };
        [1, 2, 40].into_iter().for_each(|index| findings.add(up(index)));
        [1, 40].into_iter().for_each(|index| findings.add(stopped(index)));
        // A name is one target, whatever its addresses.
        for address in ["10.9.0.1", "10.9.0.2"] {
            findings.add(Finding { address: address.parse().unwrap(), name: Some("a.example".into()), ..stopped(41) });
        }
        let early = findings.take(32, &figures(1));
        assert_eq!((early.not_probed().of(NotProbed::Stopped), early.not_probed().total()), (1, 1));
        assert_eq!(findings.take(64, &figures(2)).not_probed().of(NotProbed::Stopped), 2);
    }

    fn records(taken: Taken) -> (Vec<HostRecord>, Counts) {
        let mut records = Vec::new();
        let counts = taken.records(
            Origin { started_at_ms: 7, worker: "wrk_a", ..Origin::default() },
            &mut Rematch::new(None),
            |record| records.push(record),
        );
        (records, counts)
    }

    fn figures(probes_sent: u64) -> UnitProgress {
        let estimates = Estimates { loss: 0.5, recall: 0.9, ..Estimates::default() };
        UnitProgress { tally: Tally { probes_sent, ..Tally::default() }, estimates, ..UnitProgress::default() }
    }

    #[test]
    fn a_checkpoint_is_made_after_a_while_of_a_fair_part_and_never_of_the_whole() {
        let mut findings = UnitFindings::new(1_000..2_000);
        let (soon, late) = (CHECKPOINT_EVERY - Duration::from_millis(1), CHECKPOINT_EVERY);
        assert_eq!(findings.checkpoint(1_500, soon), None);
        assert_eq!(findings.checkpoint(1_500, late), Some(1_496), "slices of 16 targets");
        assert_eq!(findings.checkpoint(1_100, late), None, "a tenth is not worth a chunk");
        assert_eq!(findings.checkpoint(2_000, late), None, "the unit is about to end");
        findings.take(1_496, &figures(1));
        assert_eq!(findings.checkpoint(1_500, late), None);
        assert_eq!(findings.checkpoint(1_700, late), Some(1_688));
    }

    #[test]
    fn what_is_counted_with_a_checkpoint_is_not_counted_again_with_the_rest() {
        let mut findings = UnitFindings::new(0..128);
        (0..128).for_each(|index| findings.add(up(index)));
        let (early, first) = records(findings.take(64, &figures(1_000)));
        findings.add(up(3));
        let (rest, second) = records(findings.take(128, &figures(1_600)));
        assert_eq!((early.len(), rest.len()), (64, 64), "a late finding of a counted target is dropped");
        assert_eq!((first.hosts_up, second.hosts_up, first.probes_sent, second.probes_sent), (64, 64, 1_000, 600));
        assert!((second.loss_estimate().unwrap() - 0.5).abs() < 1e-6);
        assert_eq!((early[0].started_at_ms, early[0].worker.as_str()), (7, "wrk_a"));
    }

    proptest! {
        #[test]
        fn checkpoints_and_rest_hold_every_host_once(
            start in 0u64..1_000, length in 1u64..3_000, cuts in proptest::collection::vec(0u64..4_000, 0..6),
        ) {
            let mut findings = UnitFindings::new(start..start + length);
            (start..start + length).for_each(|index| findings.add(up(index)));
            let mut hosts = 0;
            for cut in cuts {
                let watermark = findings.watermark(start + cut);
                prop_assert!(watermark >= findings.taken_until());
                prop_assert!(watermark <= (start + cut).max(findings.taken_until()));
                let before = findings.taken_until();
                let (records, _) = records(findings.take(watermark, &figures(0)));
                prop_assert_eq!(records.len() as u64, watermark - before);
                prop_assert_eq!(findings.taken_until(), watermark);
                hosts += records.len() as u64;
            }
            hosts += records(findings.take(start + length, &figures(0))).0.len() as u64;
            prop_assert_eq!(hosts, length);
        }
    }
}
