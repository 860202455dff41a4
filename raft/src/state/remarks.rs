//! What is said of a job's units beside what they count: targets that nothing reached, and notes for people.
//!
//! Reasons are codes here, whose words belong to whoever scans: no change of words makes two replicas differ. Bounded,
//! whatever workers send.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::State;
use crate::id::JobId;

/// Reasons that are told apart; more are counted under the last one that was known. Ours: scanners have eight.
const REASONS_MAX: usize = 32;
/// Notes that are kept of a job, and the longest of them in bytes.
const NOTES_MAX: usize = 16;
const NOTE_BYTES_MAX: usize = 240;

/// Remarks on units: sums over those that were accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remarks {
    /// Targets that no probe reached, by the code of the reason.
    pub not_probed: BTreeMap<u8, u64>,
    /// Lines for people, such as why a unit was not scanned as it was asked for.
    pub notes: BTreeSet<String>,
}

impl Remarks {
    /// Whether nothing is remarked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.not_probed.is_empty() && self.notes.is_empty()
    }

    /// How many targets no probe reached.
    #[must_use]
    pub fn not_probed_total(&self) -> u64 {
        self.not_probed.values().fold(0, |sum, targets| sum.saturating_add(*targets))
    }

    /// Adds `other`, as far as there is room.
    pub fn add(&mut self, other: &Self) {
        for (code, targets) in &other.not_probed {
            let has_room = self.not_probed.len() < REASONS_MAX || self.not_probed.contains_key(code);
            let last = self.not_probed.keys().next_back().copied();
            let code = if has_room { *code } else { last.unwrap_or(*code) };
            let count = self.not_probed.entry(code).or_default();
            *count = count.saturating_add(*targets);
        }
        for note in other.notes.iter().filter(|note| note.len() <= NOTE_BYTES_MAX) {
            if self.notes.len() < NOTES_MAX {
                self.notes.insert(note.clone());
            }
        }
    }
}

impl State {
    /// What was remarked on the accepted units of a job.
    #[must_use]
    pub fn job_remarks(&self, job: JobId) -> Option<&Remarks> {
        self.remarks.get(&job)
    }

    /// Adds remarks on a unit that is being accepted.
    pub(super) fn remark(&mut self, job: JobId, remarks: &Remarks) {
        if remarks.is_empty() {
            return;
        }
        let mut sum = self.remarks.get(&job).cloned().unwrap_or_default();
        sum.add(remarks);
        self.remarks.insert(job, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_add_up_and_stay_small() {
        let mut sum = Remarks::default();
        assert!(sum.is_empty());
        for code in 0..u8::MAX {
            let note = format!("note {code}");
            let one = Remarks { not_probed: [(code, u64::MAX / 4)].into(), notes: [note, "n".repeat(500)].into() };
            sum.add(&one);
        }
        assert_eq!((sum.not_probed.len(), sum.notes.len()), (REASONS_MAX, NOTES_MAX));
        assert_eq!(sum.not_probed_total(), u64::MAX, "never less than it was for want of room");
        assert!(sum.notes.iter().all(|note| note.len() < 10));
    }
}
