//! Units that came back with blame: who failed them, and when they may be tried again.
//!
//! A row covers a range of a partition that is neither counted nor given up; it stays while the range is out again, so
//! that a second failure adds to the first. When a range may be tried again is not decided here but proposed by the
//! leader, which draws the pause: until then the row says nothing, and the range rests. A range that came back without blame,
//! because its node's own file does not allow it, has a row as well: that node gets it last.

use serde::{Deserialize, Serialize};

use super::State;
use crate::command::{Response, UnitKey, UnitRange};
use crate::id::{JobId, NodeId};

/// How many nodes that failed a range are remembered. Ours: more tries than that are rare, and the last ones count.
const FAILED_BY_MAX: usize = 8;

/// A range that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retry {
    /// The index after its last.
    pub end: u64,
    /// Who failed it, the last one last: they get it again when nobody else can.
    pub failed_by: Vec<NodeId>,
    /// When it may be tried again, unix milliseconds; `None` until the leader has said so.
    pub not_before_ms: Option<u64>,
    /// The only node that gets it, until that node is gone for good.
    pub only: Option<NodeId>,
    /// How often it was declined by a node that had it before, because nobody else could have it.
    pub declined: u32,
}

impl State {
    /// What is known of the ranges of a job that were tried in vain, in their order.
    pub fn job_retries(&self, job: JobId) -> impl Iterator<Item = (UnitKey, &Retry)> {
        self.retries.of_job(job).map(|(unit, retry)| (*unit, retry))
    }

    /// All ranges that were tried in vain.
    pub fn retries(&self) -> impl Iterator<Item = (UnitKey, &Retry)> {
        self.retries.iter().map(|(unit, retry)| (*unit, retry))
    }

    /// Notes that `node` had `range` of `job` in vain; `only` holds it for that node alone.
    pub(crate) fn note_retry(&mut self, job: JobId, range: UnitRange, node: NodeId, only: bool) {
        let (mut failed_by, mut declined): (Vec<NodeId>, u32) = (Vec::new(), 0);
        for before in self.cut_retries(job, range) {
            failed_by.extend(before.failed_by);
            declined = declined.max(before.declined);
        }
        failed_by.retain(|before| *before != node);
        if !only {
            failed_by.push(node);
        }
        let over = failed_by.len().saturating_sub(FAILED_BY_MAX);
        failed_by.drain(..over);
        let (not_before_ms, only) = (only.then_some(0), only.then_some(node));
        self.retries.insert(range.of(job), Retry { end: range.end, failed_by, not_before_ms, only, declined });
    }

    /// Notes that `node` declined `range` of `job`, and answers how often it was declined by nodes that had had it.
    pub(super) fn note_declined(&mut self, job: JobId, range: UnitRange, node: NodeId) -> u32 {
        let (start, end) = (range.of(job), UnitKey { start: range.end, ..range.of(job) });
        let had_it = |retry: &Retry| retry.failed_by.contains(&node) || retry.failed_by.len() >= FAILED_BY_MAX;
        // What is known of a range begins at or before it.
        let first = self.retries.range(..=start).next_back();
        let known = first.into_iter().chain(self.retries.range(start..end));
        let of_it = known
            .filter(|(unit, retry)| (unit.job, unit.partition) == (job, range.partition) && retry.end > range.start);
        let again = of_it.map(|(_, retry)| retry).any(had_it);
        self.note_retry(job, range, node, false);
        let Some(retry) = self.retries.get_mut(&start) else { return 0 };
        if again {
            retry.declined = retry.declined.saturating_add(1);
        } else {
            // Somebody else may have it at once.
            retry.not_before_ms = Some(0);
        }
        retry.declined
    }

    /// Forgets what is known of `range` of `job`, and answers it.
    pub(super) fn cut_retries(&mut self, job: JobId, range: UnitRange) -> Vec<Retry> {
        let UnitRange { partition, start, end } = range;
        let all = UnitKey { job, partition, start: 0 }..UnitKey { job, partition, start: end };
        let met: Vec<(UnitKey, Retry)> = self
            .retries
            .range(all)
            .filter(|(_, retry)| retry.end > start)
            .map(|(unit, retry)| (*unit, retry.clone()))
            .collect();
        for (unit, retry) in &met {
            self.retries.remove(unit);
            if unit.start < start {
                self.retries.insert(*unit, Retry { end: start, ..retry.clone() });
            }
            if retry.end > end {
                self.retries.insert(UnitKey { start: end, ..*unit }, retry.clone());
            }
        }
        met.into_iter().map(|(_, retry)| retry).collect()
    }

    /// Says when ranges that were tried in vain may be tried again.
    pub(crate) fn set_backoff(&mut self, updates: &[(UnitKey, u64)]) -> Response {
        for (unit, not_before_ms) in updates {
            if self.retries.get(unit).is_some_and(|retry| retry.not_before_ms.is_none())
                && let Some(retry) = self.retries.get_mut(unit)
            {
                retry.not_before_ms = Some(*not_before_ms);
            }
        }
        Response::Done
    }

    /// Lets everybody have what waited for a node that is gone for good.
    pub(super) fn free_retries_of(&mut self, node: NodeId) {
        let waiting: Vec<UnitKey> =
            self.retries().filter(|(_, retry)| retry.only == Some(node)).map(|(unit, _)| unit).collect();
        for unit in waiting {
            if let Some(retry) = self.retries.get_mut(&unit) {
                retry.only = None;
            }
        }
    }
}
