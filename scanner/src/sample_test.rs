//! Specs and units for tests, and how a unit is read to its end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::finding::HostRecord;
use crate::pace::RateCap;
use crate::report::{Fold, Origin};
use crate::spec::ScanSpec;
use crate::unit::{ScanError, UnitOutcome, UnitScan, UnitTask};

/// A spec of one partition, by default in all else.
pub(crate) fn spec(targets: &str, ports: &str, seed: u64) -> ScanSpec {
    let partitions = vec![targets.parse().unwrap()];
    ScanSpec { partitions, ports: ports.parse().unwrap(), seed, ..ScanSpec::default() }
}

/// All targets of a spec as one unit, without a budget.
pub(crate) fn task(spec: ScanSpec) -> UnitTask {
    UnitTask {
        range: 0..spec.target_count(),
        spec: Arc::new(spec),
        partition: 0,
        permit: Arc::default(),
        pace: Arc::new(RateCap::new(None)),
        cancel: CancellationToken::new(),
    }
}

/// Waits for a unit's end: what it found, and how it ended.
pub(crate) fn finish(mut unit: UnitScan) -> (Vec<HostRecord>, Result<UnitOutcome, ScanError>) {
    let mut fold = Fold::new();
    while let Some(batch) = unit.findings.blocking_recv() {
        batch.into_iter().for_each(|finding| fold.add(finding));
    }
    (fold.finish(Origin { worker: "wrk_test", ..Origin::default() }).collect(), unit.outcome.blocking_recv().unwrap())
}
