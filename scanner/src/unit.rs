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
use crate::finding::Finding;
use crate::pace::RateCap;
use crate::scope::Scope;
use crate::spec::ScanSpec;

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
    /// Where packets may go; checked for the whole partition at once and before each send.
    pub scope: Arc<Scope>,
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
    /// How it ended.
    pub outcome: oneshot::Receiver<Result<UnitOutcome, ScanError>>,
}

/// Running figures of a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitProgress {
    /// Targets that are settled.
    pub targets_done: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Answers of hosts.
    pub replies: u64,
    /// Probes that were sent again.
    pub retransmitted: u64,
    /// Share of round trips that are lost, as far as answers have shown.
    pub loss_estimate: f64,
    /// The part of it that a slower scan would lose as well, 0 to 1; where that was not found out, all of it.
    pub chance_loss: f64,
    /// How likely an open port of the targets settled so far was found, from the loss that each was asked under and how
    /// often it was asked; 1 while nothing is settled.
    pub recall_estimate: f64,
    /// Every target of the unit below this index is settled, and its findings are in the channel: whoever has read this
    /// and then everything that the channel holds has all of them.
    pub settled_until: u64,
}

impl Default for UnitProgress {
    /// Nothing done, so nothing missed.
    fn default() -> Self {
        Self {
            targets_done: 0,
            hosts_up: 0,
            open_ports: 0,
            probes_sent: 0,
            replies: 0,
            retransmitted: 0,
            loss_estimate: 0.0,
            chance_loss: 0.0,
            recall_estimate: 1.0,
            settled_until: 0,
        }
    }
}

/// Final figures of a unit that was done to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitOutcome {
    /// The running figures at the end; `targets_done` is the whole range.
    pub progress: UnitProgress,
    /// From the first look at the unit to its last answer or time-out.
    pub duration: Duration,
    /// How much of `duration` went into sending, the rest being the wait for late answers.
    pub sending: Duration,
    /// Targets per second of sending: what a next unit of this job can be sized by, since its sending overlaps this
    /// one's waiting.
    pub targets_per_second: f64,
    /// Targets that the last check before sending refused.
    pub refused: u64,
    /// Host names without a usable address, with the reason; the first hundred.
    pub unresolved: Vec<(Arc<str>, String)>,
    /// How many host names that were.
    pub unresolved_count: u64,
}
