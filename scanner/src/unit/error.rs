//! Why a unit was not done to its end.

use super::UNITS_MAX;
use crate::scope::ScopeError;
use crate::spec::SpecError;

/// Why a unit was not done to its end. Findings up to then were delivered and are true.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScanError {
    /// The spec contradicts itself; nothing was sent.
    #[error("the scan cannot be carried out: {0}")]
    Spec(#[from] SpecError),
    /// The unit is no part of the spec; nothing was sent.
    #[error("unit {start}..{end} is not in partition {partition} of {targets} targets")]
    NoSuchUnit {
        /// The partition asked for.
        partition: u32,
        /// First index of the unit.
        start: u64,
        /// Index after its last.
        end: u64,
        /// How many indexes there are, 0 when there is no such partition.
        targets: u64,
    },
    /// The unit's partition reaches outside the scope; nothing was sent.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// This node's engine cannot do what the spec asks; another node's may. Nothing was sent.
    #[error("this node's engine cannot scan {what}")]
    Unsupported {
        /// What it cannot do.
        what: &'static str,
    },
    /// The spec asks for raw packets, or its profile does, and this unit cannot be scanned with them. Nothing was sent.
    #[error("raw packets do not reach {what}: without engine raw or profile ot-safe it is scanned with connections")]
    NotRaw {
        /// What the unit has that cannot be scanned raw.
        what: &'static str,
    },
    /// This node cannot hold to the spec's exclusions. Nothing was sent.
    #[error("{why}")]
    Exclusions {
        /// What it lacks.
        why: String,
    },
    /// The engine has as many units as it takes; try again when one is done. Nothing was sent.
    #[error("the engine is busy with {UNITS_MAX} units per thread")]
    Busy,
    /// It was cancelled, or nobody reads its findings any more.
    #[error("the unit was cancelled")]
    Cancelled,
    /// This machine had no socket or local port left for half a minute.
    #[error("no local resources for connections: {why}")]
    Starved {
        /// What the kernel said last.
        why: String,
    },
    /// The engine has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl ScanError {
    /// Whether the same unit may succeed on this node later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Starved { .. })
    }
}
