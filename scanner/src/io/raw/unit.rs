//! A unit in the raw engine: its scan, the links its packets leave by, and the channels to whoever asked for it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::routes::{Link, Network};
use crate::io::delivery::Delivery;
use crate::pace::RateCap;
use crate::plan::Plan;
use crate::scan::Scan;
use crate::syn_scan::{Path, Start, SynScan};
use crate::unit::{ScanError, UnitScan, UnitTask};

/// A unit that waits to be begun.
#[derive(Debug)]
pub(super) struct Waiting {
    plan: Plan,
    task: UnitTask,
    network: Network,
    delivery: Delivery,
}

/// A unit in work.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) scan: SynScan,
    pub(super) links: Vec<Link>,
    pub(super) delivery: Delivery,
    pub(super) cancel: CancellationToken,
    /// The part of the source port that is this unit's.
    pub(super) slot: u8,
    /// The number of the path that it shares with others of its job.
    pub(super) path: u64,
}

impl Waiting {
    pub(super) fn new(plan: Plan, task: UnitTask, network: Network) -> (Self, UnitScan) {
        let (delivery, scan) = Delivery::new(task.cancel.clone(), task.range.end - task.range.start);
        (Self { plan, task, network, delivery }, scan)
    }

    /// Begins the unit, which gives its memory to it.
    pub(super) fn begin(self, paths: &mut Paths, now: Duration, slot: u8) -> Unit {
        let Self { plan, task, network, delivery } = self;
        let Known { number: path, path: shared, .. } = paths.of(&plan, &task, now);
        let (path, shared) = (*path, shared.clone());
        let mut scan = SynScan::new(plan, task.range, task.permit, task.pace, Box::new(network.table), shared);
        for (number, _) in (0..).zip(&network.links).filter(|(_, link)| !link.carries) {
            scan.on_new_link(now, number);
        }
        Unit { scan, links: network.links, delivery, cancel: task.cancel, slot, path }
    }

    /// Ends a unit that was never begun.
    pub(super) fn refuse(mut self, why: ScanError) {
        self.delivery.end(Err(why));
        self.delivery.finish();
    }

    /// Whether it was cancelled before it began.
    pub(super) fn is_cancelled(&self) -> bool {
        self.task.cancel.is_cancelled()
    }
}

/// The paths of the jobs that have units here: those of a partition go the same one, as far as anyone knows before.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Vec<Known>,
    numbers: u64,
}

#[derive(Debug)]
struct Known {
    number: u64,
    /// The job's budget, which is its own.
    pace: Arc<RateCap>,
    partition: u32,
    path: Path,
}

impl Paths {
    /// The path of a unit.
    fn of(&mut self, plan: &Plan, task: &UnitTask, now: Duration) -> &Known {
        // A job that has left this node takes its budget with it.
        self.known.retain(|known| !known.path.is_alone() || Arc::strong_count(&known.pace) > 1);
        let is_same = |known: &Known| Arc::ptr_eq(&known.pace, &task.pace) && known.partition == task.partition;
        let at = self.known.iter().position(is_same).unwrap_or(self.known.len());
        if at == self.known.len() {
            self.numbers += 1;
            let (pace, path) = (Arc::clone(&task.pace), Path::new(Start::of_plan(plan), now));
            self.known.push(Known { number: self.numbers, pace, partition: task.partition, path });
        }
        self.known.get(at).expect("found, or just put in")
    }
}

impl Unit {
    /// Looks at what comes from outside; true when nothing more is to be sent for the unit.
    pub(super) fn begin_turn(&mut self, now: Duration) -> bool {
        self.delivery.begin_turn(now, self.scan.is_cooling_down())
    }

    /// Hands over findings and figures that are due; true when the unit is over.
    pub(super) fn end_turn(&mut self, now: Duration) -> bool {
        self.delivery.deliver(now, &mut self.scan);
        self.delivery.is_over(self.scan.results().findings.len())
    }

    /// Everything is settled.
    pub(super) fn done(&mut self, now: Duration) {
        let results = self.scan.results();
        self.delivery.done(now, results.tally(), self.scan.estimates(), results.left_out().clone());
    }
}
