//! What every scan counts while it runs.

use std::sync::Arc;

use crate::finding::NotProbedCounts;

/// Running figures of a scan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Targets that are settled.
    pub targets_done: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Probes that were sent again.
    pub retransmitted: u64,
    /// Answers of hosts.
    pub replies: u64,
    /// Targets that scope or exclusions forbid, found out at the last check.
    pub refused: u64,
    /// Targets that no probe reached; they are settled as well.
    pub not_probed: NotProbedCounts,
    /// Names that have no address, with the reason; the first hundred.
    pub unresolved: Vec<(Arc<str>, String)>,
    /// How many names have no address.
    pub unresolved_count: u64,
}
