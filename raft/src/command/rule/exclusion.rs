//! Exclusions: addresses that no job of anybody may send to.

use serde::{Deserialize, Serialize};

use super::When;

/// Addresses that are left out of every job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionRule {
    /// Addresses, prefixes, ranges and host names, as typed.
    pub targets: Vec<String>,
    /// When they are; always, where nothing is said.
    pub when: Option<When>,
}

/// Most targets of one exclusion, and their bytes together. Ours: they fit an entry with room to spare.
const TARGETS_MAX: usize = 4_096;
const TARGETS_BYTES_MAX: usize = 64 << 10;

impl ExclusionRule {
    /// What is wrong with it, or `None`.
    pub(super) fn problem(&self) -> Option<String> {
        let bytes: usize = self.targets.iter().map(String::len).sum();
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX || bytes > TARGETS_BYTES_MAX {
            return Some(format!(
                "an exclusion names 1 to {TARGETS_MAX} targets, of {TARGETS_BYTES_MAX} bytes together"
            ));
        }
        self.when.as_ref().and_then(When::problem)
    }
}
