//! What scanners have measured of how much they found: sums over accepted units.
//!
//! Figures are codes here, whose meaning belongs to whoever scans: no change of an estimate makes two replicas differ. They
//! are sums, added up in any order, and bounded, whatever workers send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::State;
use crate::id::JobId;

/// Figures that are kept of a job; those of more codes are dropped. Ours: scanners have 27.
const FIGURES_MAX: usize = 64;

/// Figures of units, by code: sums over those that were accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measures {
    /// By code.
    pub sums: BTreeMap<u8, u64>,
}

impl Measures {
    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Adds `other`, as far as there is room.
    pub fn add(&mut self, other: &Self) {
        for (code, more) in &other.sums {
            if self.sums.len() < FIGURES_MAX || self.sums.contains_key(code) {
                let sum = self.sums.entry(*code).or_default();
                *sum = sum.saturating_add(*more);
            }
        }
    }
}

impl State {
    /// What was measured of the accepted units of a job.
    #[must_use]
    pub fn job_measures(&self, job: JobId) -> Option<&Measures> {
        self.measures.get(&job)
    }

    /// Adds what was measured of a unit that is being accepted.
    pub(super) fn measured(&mut self, job: JobId, measures: &Measures) {
        if measures.is_empty() {
            return;
        }
        let mut sum = self.measures.get(&job).cloned().unwrap_or_default();
        sum.add(measures);
        self.measures.insert(job, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_add_up_and_stay_small() {
        let mut sum = Measures::default();
        assert!(sum.is_empty());
        for code in 0..u8::MAX {
            sum.add(&Measures { sums: [(code, u64::MAX / 2), (0, 3)].into() });
        }
        assert_eq!((sum.sums.len(), sum.sums[&0]), (FIGURES_MAX, 3 * u64::from(u8::MAX)));
        sum.add(&Measures { sums: [(1, u64::MAX)].into() });
        assert_eq!(sum.sums[&1], u64::MAX);
    }
}
