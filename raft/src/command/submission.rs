//! A job to be accepted: what to scan, how much of it there is, and what an earlier run has finished; and what is asked for
//! once, to be scanned later.

use serde::{Deserialize, Serialize};

use super::{Author, UnitRange};
use crate::id::{Digest, NodeId};
use crate::state::{Counts, JobLimits, KeepSpec, Partition, Priority, ScheduleSpec};

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// What to scan, opaque here.
    pub spec: SpecRef,
    /// How much work there is and where it may run.
    pub partitions: Vec<Partition>,
    /// Before which others it is served.
    pub priority: Priority,
    /// How much it may take.
    pub limits: JobLimits,
    /// Who took the request.
    pub via: NodeId,
    /// What the request is known by if it comes again.
    pub idempotency_key: Option<Digest>,
    /// One line for lists: what the user asked for, cut to a length that suits one.
    pub title: String,
    /// Units that an earlier run of the same spec has finished: counted from the start, and not granted again.
    pub finished: Vec<Finished>,
}

impl Submission {
    /// So many targets that any node may scan, of normal priority, tried three times; the rest is to be said by whoever knows more.
    #[must_use]
    pub fn plain(spec: SpecRef, target_count: u64, via: NodeId) -> Self {
        Self {
            spec,
            partitions: vec![Partition { target_count, ..Partition::default() }],
            priority: Priority::Normal,
            limits: JobLimits { max_attempts: 3, ..JobLimits::default() },
            via,
            idempotency_key: None,
            title: String::new(),
            finished: Vec::new(),
        }
    }
}

/// A unit that an earlier run of a job has finished. Its chunk is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which.
    pub unit: UnitRange,
    /// Its results.
    pub stored: StoredChunk,
    /// What it counts.
    pub counts: Counts,
}

/// A chunk that is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who holds it.
    pub holders: Vec<NodeId>,
}

/// A scan spec, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpecRef {
    /// The bytes themselves, at most [`SPEC_INLINE_BYTES_MAX`].
    Inline(Vec<u8>),
    /// A chunk that holds them.
    Chunk {
        /// The chunk's name.
        digest: Digest,
        /// Who holds it.
        holders: Vec<NodeId>,
    },
}

/// The largest command that the log takes, encoded, in bytes. Ours: with its heading it must fit into one frame between
/// peers, of 256 KiB; a submission with an inline spec and the needs of 256 partitions does.
pub const ENTRY_BYTES_MAX: usize = 192 << 10;

/// The largest spec that an entry carries itself, in bytes; a larger one is stored as a chunk. Ours: a frame between
/// peers is at most 256 KiB and should hold an entry with room to spare.
pub const SPEC_INLINE_BYTES_MAX: usize = 64 << 10;

/// The job of an order that asks for one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedJob {
    /// The order's name: a digest that its id alone makes.
    pub order: Digest,
    /// From when on nobody begins anything of it, unix milliseconds by the clock of whoever signed.
    pub expires_at_ms: u64,
    /// Who asked.
    pub author: Author,
    /// The job.
    pub submission: Submission,
    /// Whether its work is carried to a worker without a network.
    pub is_carried: bool,
}

/// What is asked for once, and scanned later or elsewhere: who asked is asked for then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrangement {
    /// A schedule; the same once more changes nothing.
    Schedule {
        /// What it is called.
        name: String,
        /// What and when.
        spec: ScheduleSpec,
    },
    /// A standing scan; the same once more changes nothing.
    Keep {
        /// What it is called.
        name: String,
        /// What is promised.
        spec: KeepSpec,
    },
    /// A job whose work is carried to a worker without a network; its id is this entry's log index.
    Carried(Submission),
}
