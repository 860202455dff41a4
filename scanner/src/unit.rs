//! A unit of work as everything above and below an engine knows it: what is asked for, what comes back while it runs and
//! how it ends.
//!
//! Types alone. `engine` takes units in, `io` does them, `detect` puts the service scan behind them; none of these has to
//! know the others for it.

mod error;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::error::ScanError;
use crate::finding::{Finding, TcpScan};
use crate::pace::RateCap;
use crate::recall::Recapture;
use crate::scope::Permit;
use crate::spec::ScanSpec;
use crate::tally::{Estimates, LeftOut, Tally};

/// Batches of findings a reader may be behind before the unit stops sending: a few megabytes.
pub const FINDINGS_QUEUE: usize = 64;
/// Units one thread of an engine holds at once; a node that keeps its engine busy needs a handful.
pub const UNITS_MAX: usize = 256;
/// A unit of work: which part of which spec, and under which limits.
#[derive(Debug, Clone)]
pub struct UnitTask {
    /// The job's spec.
    pub spec: Arc<ScanSpec>,
    /// Which of its partitions.
    pub partition: u32,
    /// Which indexes of the partition.
    pub range: Range<u64>,
    /// What may be sent to, changed live by its owner; its scope is checked for the whole partition at once, and all of it
    /// before each send.
    pub permit: Arc<Permit>,
    /// The budget that this unit shares with others of its job on this node, changed live by its owner. The spec's
    /// own `rate_pps` holds beside it.
    pub pace: Arc<RateCap>,
    /// Ends the unit: sending stops within 100 ms.
    pub cancel: CancellationToken,
}

/// A unit in work.
#[derive(Debug)]
pub struct UnitScan {
    /// Findings as they are known, in batches; closed before the outcome is told. The unit stops sending while
    /// nobody reads, and ends as cancelled when the receiver is dropped.
    pub findings: mpsc::Receiver<Vec<Finding>>,
    /// Running figures, at most ten times a second.
    pub progress: watch::Receiver<UnitProgress>,
    /// What raw packets do not reach: why it is scanned with connections though they were to be had, or with raw packets alone why some
    /// targets are not probed.
    pub note: Option<&'static str>,
    /// How TCP ports are asked.
    pub tcp: TcpScan,
    /// How it ended.
    pub outcome: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
}

/// Running figures of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UnitProgress {
    /// What was counted.
    pub tally: Tally,
    /// What is estimated.
    pub estimates: Estimates,
    /// Every target of the unit below this index is settled, and its findings are in the channel: whoever has read this
    /// and then everything that the channel holds has all of them.
    pub settled_until: u64,
    /// Once the scan itself is over, with what it asks again: of how many open ports it is still asked what they are. Nothing else
    /// is sent from then on; `None` before.
    pub still_asked: Option<u64>,
}

/// Final figures of a unit that was done to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitOutcome {
    /// The running figures at the end; `tally.targets_done` is the whole range.
    pub progress: UnitProgress,
    /// From the first look at the unit to its last answer or time-out.
    pub duration: Duration,
    /// How much of `duration` went into sending, the rest being the wait for late answers.
    pub sending: Duration,
    /// Targets per second of sending: what a next unit of this job can be sized by, since its sending overlaps this
    /// one's waiting.
    pub targets_per_second: f64,
    /// Targets that could not be asked.
    pub left_out: LeftOut,
    /// What asking a sample of the silent again has shown; `None` where that was not done.
    pub recapture: Option<Recapture>,
}
