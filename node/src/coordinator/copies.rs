//! Finds two live processes that run as one node: from a copy of its data directory, a cloned machine. Pure.
//!
//! Each process says which one it is. A restart brings a new one after the last word of the old; where the old one speaks
//! again after the new one did, both live.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::NodeId;

/// Processes remembered per node; more than two at once are no better known than two.
const PROCESSES_MAX: usize = 4;

/// When a process was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    instance: u128,
    first: Instant,
    last: Instant,
}

/// Who spoke as which node.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<NodeId, Vec<Heard>>);

impl Copies {
    /// A process spoke as `node`.
    pub(super) fn note(&mut self, node: NodeId, instance: u128, now: Instant) {
        let heard = self.0.entry(node).or_default();
        match heard.iter_mut().find(|known| known.instance == instance) {
            Some(known) => known.last = now,
            None => {
                if heard.len() >= PROCESSES_MAX {
                    heard.sort_by_key(|known| known.last);
                    heard.remove(0);
                }
                heard.push(Heard { instance, first: now, last: now });
            }
        }
    }

    /// Whether two processes live as `node`: both spoke within `within`, and neither began after the other's last word.
    pub(super) fn is_copied(&self, node: NodeId, now: Instant, within: Duration) -> bool {
        if self.0.get(&node).is_none_or(|heard| heard.len() < 2) {
            return false;
        }
        let is_recent = |heard: &&Heard| now.saturating_duration_since(heard.last) <= within;
        let recent: Vec<&Heard> = self.0.get(&node).into_iter().flatten().filter(is_recent).collect();
        let overlap = |one: &Heard, other: &Heard| one.instance != other.instance && one.last > other.first;
        recent.iter().any(|one| recent.iter().any(|other| overlap(one, other) && overlap(other, one)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(15);

    fn after(heard: &[(u128, u64)], now: u64) -> bool {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut copies = Copies::default();
        heard.iter().for_each(|(instance, second)| copies.note(2, *instance, at(*second)));
        copies.is_copied(2, at(now), WITHIN)
    }

    #[test]
    fn a_restart_is_no_copy_however_often() {
        assert!(!after(&[(1, 0), (1, 5), (2, 6), (2, 11), (3, 12)], 12));
    }

    #[test]
    fn a_process_that_speaks_again_after_another_did_shows_that_both_live() {
        assert!(after(&[(1, 0), (2, 3), (1, 5), (2, 8)], 8));
        assert!(!after(&[(1, 0), (2, 3)], 4), "the first may have ended");
    }

    #[test]
    fn when_one_of_two_has_ended_the_other_is_the_node_again() {
        let two = [(1, 0), (2, 3), (1, 5), (2, 8), (1, 10)];
        assert!(after(&two, 23));
        assert!(!after(&[&two[..], &[(1, 15), (1, 20), (1, 25)]].concat(), 25));
    }

    #[test]
    fn no_number_of_processes_makes_it_grow_without_bound() {
        let mut copies = Copies::default();
        let begun = Instant::now();
        (0..100u64).for_each(|second| copies.note(2, second.into(), begun + Duration::from_secs(second)));
        assert_eq!(copies.0[&2].len(), PROCESSES_MAX);
    }
}
