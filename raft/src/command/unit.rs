//! Units as commands name them: a range of a partition's index space.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::JobId;

/// Names a unit: the part of a partition that begins at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// Of which job.
    pub job: JobId,
    /// Of which of its partitions.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
}

impl UnitKey {
    /// The unit up to before `end`.
    #[must_use]
    pub fn until(self, end: u64) -> UnitRange {
        UnitRange { partition: self.partition, start: self.start, end }
    }
}

/// A unit of a job that is known: the part of a partition from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitRange {
    /// Of which of the job's partitions.
    pub partition: u32,
    /// Its first index.
    pub start: u64,
    /// The index after its last.
    pub end: u64,
}

impl UnitRange {
    /// Its name among the units of all jobs.
    #[must_use]
    pub fn of(self, job: JobId) -> UnitKey {
        UnitKey { job, partition: self.partition, start: self.start }
    }

    /// How many targets it has.
    #[must_use]
    pub fn targets(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// `partition:start-end`, as events name it.
impl fmt::Display for UnitRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.partition, self.start, self.end)
    }
}
