//! How far the cluster's time is ahead of the clocks of most nodes, where it is: they were ahead, and were set right. Pure.
//!
//! The log's time never runs backwards, so that it goes slower until it has been caught up with (`raft/src/clock.rs`).

use std::collections::BTreeMap;

use pentora_raft::NodeId;

/// Less than that is told to nobody, in milliseconds: clocks differ, and what is shown is carried forward between entries.
const AHEAD_MS_MIN: u64 = 5_000;
/// The time that is ahead goes at half the pace of the clocks, so that it takes as often the lead until both are the same.
const CAUGHT_UP_IN: u64 = 2;

/// What the answering node's clock shows, and how far others are from the leader's.
pub(super) struct Clocks<'a> {
    /// This node.
    pub(super) own: NodeId,
    /// Who leads.
    pub(super) leader: Option<NodeId>,
    /// What this node's clock shows, Unix milliseconds.
    pub(super) wall_ms: u64,
    /// How many milliseconds each node's clock is ahead of the leader's, as far as known.
    pub(super) skew_ms: &'a BTreeMap<NodeId, i64>,
}

/// That the cluster's time is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// By how many milliseconds.
    pub(super) ms: u64,
    /// Until when it goes slower, Unix milliseconds.
    pub(super) until_ms: u64,
}

/// Whether the cluster's time, `time_ms`, is ahead of the clocks of most nodes, as far as can be told.
pub(super) fn ahead(time_ms: u64, clocks: &Clocks<'_>) -> Option<Ahead> {
    let leader = clocks.leader?;
    // The leader's clock by this node's, which may itself be the odd one.
    let own_ms = if leader == clocks.own { 0 } else { *clocks.skew_ms.get(&clocks.own)? };
    let leaders_ms = clocks.wall_ms.saturating_add_signed(own_ms.saturating_neg());
    let others = clocks.skew_ms.iter().filter(|(node, _)| **node != leader).map(|(_, ahead)| *ahead);
    let mut all: Vec<i64> = others.chain([0]).collect();
    all.sort_unstable();
    // Of two that differ, the one that has the cluster's time less ahead.
    let most_ms = leaders_ms.saturating_add_signed(all.get(all.len() / 2).copied().unwrap_or(0));
    let ms = time_ms.checked_sub(most_ms).filter(|ms| *ms >= AHEAD_MS_MIN)?;
    Some(Ahead { ms, until_ms: most_ms.saturating_add(ms.saturating_mul(CAUGHT_UP_IN)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_000 * HOUR_MS;

    fn told(own: NodeId, wall_ms: u64, skew_ms: &[(NodeId, i64)], time_ms: u64) -> Option<Ahead> {
        let skew_ms = skew_ms.iter().copied().collect();
        ahead(time_ms, &Clocks { own, leader: Some(1), wall_ms, skew_ms: &skew_ms })
    }

    #[test]
    fn a_time_that_is_ahead_of_most_clocks_is_told_alike_by_every_node_with_its_end() {
        let expected = Some(Ahead { ms: 2 * HOUR_MS, until_ms: NOW_MS + 4 * HOUR_MS });
        let skew = [(2, -100), (3, 7_200_000)];
        let time_ms = NOW_MS + 2 * HOUR_MS;
        assert_eq!(told(1, NOW_MS, &skew, time_ms), expected, "the leader");
        assert_eq!(told(2, NOW_MS - 100, &skew, time_ms), expected);
        assert_eq!(told(3, NOW_MS + 2 * HOUR_MS, &skew, time_ms), expected, "one whose own clock is still ahead");
        assert_eq!(told(1, NOW_MS, &[], time_ms), expected, "a leader by itself");
    }

    #[test]
    fn nothing_is_told_of_a_time_that_goes_with_most_clocks_or_of_what_is_not_known() {
        assert_eq!(told(1, NOW_MS, &[(2, 0), (3, 0)], NOW_MS + 2_000), None);
        assert_eq!(
            told(1, NOW_MS, &[(2, 7_200_000), (3, 7_200_000)], NOW_MS + 2 * HOUR_MS),
            None,
            "the leader is behind"
        );
        assert_eq!(told(4, NOW_MS, &[(2, 0), (3, 0)], NOW_MS + HOUR_MS), None, "its own clock was not compared yet");
        let nobody = Clocks { own: 1, leader: None, wall_ms: NOW_MS, skew_ms: &BTreeMap::new() };
        assert_eq!(ahead(NOW_MS + HOUR_MS, &nobody), None);
    }
}
