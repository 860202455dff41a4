//! What past jobs say of how long targets take: `/api/v1/capacity`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/capacity`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct CapacityDocument {
    /// Ended jobs that say something.
    pub jobs: u64,
    /// Their targets.
    pub targets: u64,
    /// Seconds that workers spent on them, added up over workers.
    pub worker_seconds: f64,
    /// Seconds of one worker for a target, with as many at once as it scans; absent where no job says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_per_target: Option<f64>,
    /// The same by how many workers a job had, the fewest first.
    pub by_workers: Vec<CapacityOf>,
}

/// What jobs with as many workers took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityOf {
    /// How many workers.
    pub workers: u32,
    /// How many jobs.
    pub jobs: u64,
    /// Targets that one of the workers scanned in a second.
    pub targets_per_worker_second: f64,
    /// That as a share of what it is with the fewest workers.
    pub efficiency: f64,
}
