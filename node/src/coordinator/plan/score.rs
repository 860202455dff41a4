//! Whom to prefer among workers that may take a unit: the three strategies, and under each the tags that a job prefers.

use std::collections::BTreeMap;

use pentora_raft::NodeId;
use pentora_raft::state::Preference;

/// What a worker is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Units of this very job that it holds.
    pub(super) own: u32,
    /// Units that it holds.
    pub(super) leases: u32,
    /// Units that it takes.
    pub(super) capacity: u32,
    /// When it got one last, counted in units; 0 for never.
    pub(super) turn: u64,
    /// Its tags.
    pub(super) tags: &'a [String],
}

/// The place of a worker in the order of preference, the least first.
///
/// Whoever has one of the preferred tags goes before all others. Then, in turn: who got a unit longest ago. Least loaded:
/// who has nothing of this job, then whose load is least. By tags: who has most of the preferred tags and, among equals,
/// fewest others, so that a worker with many tags stays free for the jobs that ask for them.
pub(super) fn rank(preference: Preference, preferred: &[String], facts: &Facts<'_>) -> [u64; 5] {
    let matched = preferred.iter().filter(|tag| facts.tags.contains(tag)).count() as u64;
    let missed = preferred.len() as u64 - matched;
    let is_other = u64::from(!preferred.is_empty() && matched == 0);
    let own = u64::from(facts.own);
    let load = u64::from(facts.leases) * 1_000 / u64::from(facts.capacity.max(1));
    match preference {
        Preference::RoundRobin => [is_other, facts.turn, own, load, 0],
        Preference::LeastLoaded => [is_other, own.min(1), load, u64::from(facts.leases), missed],
        Preference::TagAffinity => {
            [is_other, missed, facts.tags.len() as u64 - matched.min(facts.tags.len() as u64), own, load]
        }
    }
}

/// Who got a unit when, so that each has its turn. A new leader begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    last: BTreeMap<NodeId, u64>,
    latest: u64,
}

impl Turns {
    /// Notes that `node` got a unit.
    pub fn note(&mut self, node: NodeId) {
        self.latest += 1;
        self.last.insert(node, self.latest);
    }

    /// When `node` got one last; 0 for never.
    #[must_use]
    pub fn of(&self, node: NodeId) -> u64 {
        self.last.get(&node).copied().unwrap_or(0)
    }

    /// When anybody got one last.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(preference: Preference, preferred: &[&str], workers: &[(u32, u32, u64, &[&str])]) -> usize {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let preferred = owned(preferred);
        let place = |(own, leases, turn, tags): &(u32, u32, u64, &[&str])| {
            let tags = owned(tags);
            rank(preference, &preferred, &Facts { own: *own, leases: *leases, capacity: 10, turn: *turn, tags: &tags })
        };
        (0..workers.len()).min_by_key(|at| place(&workers[*at])).unwrap()
    }

    #[test]
    fn the_three_strategies_choose_three_different_workers() {
        let workers: [(u32, u32, u64, &[&str]); 3] =
            [(0, 5, 1, &["x", "y"]), (0, 2, 9, &["x", "y"]), (0, 7, 8, &["x"])];
        let chosen = [Preference::RoundRobin, Preference::LeastLoaded, Preference::TagAffinity]
            .map(|preference| best(preference, &[], &workers));
        assert_eq!(chosen, [0, 1, 2]);
    }

    #[test]
    fn a_preferred_tag_goes_before_everything_else_under_each_strategy() {
        let workers: [(u32, u32, u64, &[&str]); 3] = [(0, 0, 0, &[]), (1, 9, 99, &["dmz"]), (0, 0, 1, &["other"])];
        for preference in [Preference::RoundRobin, Preference::LeastLoaded, Preference::TagAffinity] {
            assert_eq!(best(preference, &["dmz"], &workers), 1, "{preference:?}");
            assert_ne!(best(preference, &[], &workers), 1, "{preference:?}");
        }
    }
}
