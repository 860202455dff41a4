//! The keys of the state's tables, and whose rows they name.
//!
//! A key says itself whether its row belongs to a job, so that forgetting a job, and the law that no row outlives its
//! job, reach every table by themselves.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::RuleKey;
use super::table::Cell;
use crate::command::UnitKey;
use crate::id::{Digest, JobId, NodeId, TokenId};

/// What may be the key of a table.
pub trait Key: Cell + Ord {
    /// Whose the row is; `None` where it is no job's.
    fn owner(&self) -> Option<Owner>;

    /// The keys that rows of `job` may have; `None` where no row is a job's.
    fn of_job(job: JobId) -> Option<RangeInclusive<Self>>;
}

/// The job that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which.
    pub job: JobId,
    /// The partition of it, where the row is of one.
    pub partition: Option<u32>,
}

/// Names a line of a job's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventKey {
    /// Of which job.
    pub job: JobId,
    /// The log index of the entry that brought it.
    pub index: u64,
    /// Which line of the history it is, from 1 on.
    pub sequence: u32,
}

/// Keys of rows that are no job's.
macro_rules! no_jobs {
    ($($key:ty),+) => {
        $(impl Key for $key {
            fn owner(&self) -> Option<Owner> {
                None
            }

            fn of_job(_: JobId) -> Option<RangeInclusive<Self>> {
                None
            }
        })+
    };
}

no_jobs!(u8, NodeId, TokenId, Digest, String, RuleKey);

impl Key for JobId {
    fn owner(&self) -> Option<Owner> {
        Some(Owner { job: *self, partition: None })
    }

    fn of_job(job: JobId) -> Option<RangeInclusive<Self>> {
        Some(job..=job)
    }
}

/// A partition of a job.
impl Key for (JobId, u32) {
    fn owner(&self) -> Option<Owner> {
        Some(Owner { job: self.0, partition: Some(self.1) })
    }

    fn of_job(job: JobId) -> Option<RangeInclusive<Self>> {
        Some((job, 0)..=(job, u32::MAX))
    }
}

/// A worker of a job.
impl Key for (JobId, NodeId) {
    fn owner(&self) -> Option<Owner> {
        Some(Owner { job: self.0, partition: None })
    }

    fn of_job(job: JobId) -> Option<RangeInclusive<Self>> {
        Some((job, 0)..=(job, NodeId::MAX))
    }
}

impl Key for UnitKey {
    fn owner(&self) -> Option<Owner> {
        Some(Owner { job: self.job, partition: Some(self.partition) })
    }

    fn of_job(job: JobId) -> Option<RangeInclusive<Self>> {
        Some(Self { job, partition: 0, start: 0 }..=Self { job, partition: u32::MAX, start: u64::MAX })
    }
}

impl Key for EventKey {
    fn owner(&self) -> Option<Owner> {
        Some(Owner { job: self.job, partition: None })
    }

    fn of_job(job: JobId) -> Option<RangeInclusive<Self>> {
        Some(Self { job, index: 0, sequence: 0 }..=Self { job, index: u64::MAX, sequence: u32::MAX })
    }
}
