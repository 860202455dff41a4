//! What a job's history says: one line per thing that happened to it, with the log's time. `of_cluster` has what the cluster's
//! own history says.

mod of_cluster;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::of_cluster::{ClusterEvent, ClusterEventKind, EventNode};
use crate::command::UnitRange;
use crate::id::NodeId;
use crate::names::names;

/// One line of a job's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unix milliseconds of the log's clock.
    pub at_ms: u64,
    /// What happened.
    pub what: EventKind,
    /// The worker it happened to.
    pub worker: Option<EventWorker>,
    /// The unit it happened to.
    pub unit: Option<UnitRange>,
}

/// The worker of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventWorker {
    /// Its node.
    pub node: NodeId,
    /// Its worker id at that time.
    pub worker_id: String,
}

/// What can happen to a job. Append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// It was accepted.
    Submitted {
        /// How many targets it has.
        targets: u64,
    },
    /// A worker got its first unit of this job.
    Assigned,
    /// A unit that was taken back went to another worker.
    Reassigned {
        /// How often it was tried before.
        attempts: u32,
    },
    /// A unit was counted.
    UnitDone {
        /// How many targets of it.
        targets: u64,
        /// How many hosts answered.
        hosts_up: u64,
    },
    /// A worker missed its heartbeats.
    HeartbeatMissed,
    /// A worker was marked as failed.
    WorkerFailed,
    /// A worker was heard again.
    WorkerBack,
    /// A unit was taken back.
    Expired {
        /// Why.
        reason: String,
    },
    /// A worker handed a unit back.
    Released,
    /// A unit was given up after too many tries.
    GivenUp {
        /// How often it was tried.
        attempts: u32,
    },
    /// It ended.
    Finished {
        /// How.
        status: String,
    },
    /// It was cancelled.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It was held.
    Paused {
        /// Why.
        reason: String,
    },
    /// It was let go on.
    Resumed,
    /// It got another priority.
    Reprioritized {
        /// Which.
        priority: String,
    },
}

names! { EventKind, name, NAMES:
    Submitted => "submitted",
    Assigned => "assigned",
    Reassigned => "reassigned",
    UnitDone => "unit_done",
    HeartbeatMissed => "heartbeat_missed",
    WorkerFailed => "worker_failed",
    WorkerBack => "worker_back",
    Expired => "expired",
    Released => "released",
    GivenUp => "given_up",
    Finished => "finished",
    Cancelled => "cancelled",
    Paused => "paused",
    Resumed => "resumed",
    Reprioritized => "reprioritized",
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = self.worker.as_ref().map_or("?", |worker| worker.worker_id.as_str());
        let unit = self.unit.unwrap_or(UnitRange { partition: 0, start: 0, end: 0 });
        let unit = format_args!("unit {unit}");
        match &self.what {
            EventKind::Submitted { targets } => write!(f, "accepted with {}", counted(*targets, "target")),
            EventKind::Assigned => write!(f, "worker {worker} assigned"),
            EventKind::Reassigned { attempts } => write!(f, "reassigning {unit} to {worker} (try {})", attempts + 1),
            EventKind::UnitDone { targets, hosts_up } => {
                let (targets, hosts) = (counted(*targets, "target"), counted(*hosts_up, "host"));
                write!(f, "{unit} done by {worker}: {targets}, {hosts} up")
            }
            EventKind::HeartbeatMissed => write!(f, "worker {worker} heartbeat missed"),
            EventKind::WorkerFailed => write!(f, "worker {worker} marked as failed"),
            EventKind::WorkerBack => write!(f, "worker {worker} is back"),
            EventKind::Expired { reason } => write!(f, "{unit} taken back from {worker}: {reason}"),
            EventKind::Released => write!(f, "{unit} handed back by {worker}"),
            EventKind::GivenUp { attempts } => {
                let tries = if *attempts == 1 { "try" } else { "tries" };
                write!(f, "{unit} given up after {attempts} {tries}")
            }
            EventKind::Finished { status } => write!(f, "{status}"),
            EventKind::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            EventKind::Paused { reason } => write!(f, "paused: {reason}"),
            EventKind::Resumed => write!(f, "resumed"),
            EventKind::Reprioritized { priority } => write!(f, "priority is {priority} now"),
        }
    }
}

fn counted(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
