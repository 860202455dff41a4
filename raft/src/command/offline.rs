//! What commands say of work that is carried to a worker without a network, and of the results that come back.

use serde::{Deserialize, Serialize};

use super::Finished;
use crate::id::{JobId, NodeId};
use crate::state::Remarks;

/// Results of one job that were carried in from a worker without a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Who scanned them: an offline worker, not a node.
    pub worker: NodeId,
    /// Of which job.
    pub job: JobId,
    /// The units; each is counted once, however often it is carried in.
    pub units: Vec<ImportedUnit>,
}

/// A unit that was carried in. Its chunk is durable on its holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedUnit {
    /// The unit and what it counts.
    pub finished: Finished,
    /// What else there is to say of it.
    pub remarks: Remarks,
}
