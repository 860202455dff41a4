//! What the silence of a worker means: a pure function, and the moment from which silence counts.

use std::time::{Duration, Instant};

use pentora_raft::NodeId;
use pentora_raft::command::Command;
use pentora_raft::state::{NodeStatus, Settings};

/// A worker is suspected after so many of its beats are missing.
const BEATS_MISSED: u32 = 2;

/// From when on this node may blame others for silence: since it leads, and since it was itself at work without a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    since: Instant,
    looked: Instant,
}

impl Watch {
    /// Leads from `now` on.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, looked: now }
    }

    /// Looks at `now`, and answers whether this node stood still for longer than `stall` before: then nobody is blamed for
    /// what came meanwhile, and everybody begins a fresh term.
    pub(super) fn look(&mut self, now: Instant, stall: Duration) -> bool {
        let stood_still = now.saturating_duration_since(self.looked) > stall;
        self.looked = now;
        if stood_still {
            self.since = now;
        }
        stood_still
    }

    /// A round of work ends at `now`. What it proposed may have waited for slow disks, which is no stall; a stall within a
    /// round is one that is longer than the grace period.
    pub(super) fn rest(&mut self, now: Instant, grace: Duration) {
        if now.saturating_duration_since(self.looked) > grace {
            self.since = now;
        }
        self.looked = now;
    }

    /// For how long others may be blamed for silence.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// What is to be proposed of a worker with this status. It was `heard` last then; and where it led before this node,
    /// its last `word` was then. Nobody is blamed for silence before this node led, but for the leader before it, whose
    /// word it heard itself: a leader that died is found out as soon as others.
    pub(super) fn verdict(
        &self,
        node: NodeId,
        status: NodeStatus,
        (heard, word): (Option<Instant>, Option<Instant>),
        now: Instant,
        settings: &Settings,
    ) -> Option<Command> {
        let (heartbeat, grace) = terms(settings);
        let is_heard = heard.is_some_and(|at| now.saturating_duration_since(at) < heartbeat * BEATS_MISSED);
        let from = heard.map_or_else(|| word.unwrap_or(self.since).min(self.since), |at| at.max(self.since));
        let silent = now.saturating_duration_since(from);
        match status {
            NodeStatus::Joining | NodeStatus::Stale | NodeStatus::Failed if is_heard => {
                Some(Command::WorkerBack { node })
            }
            NodeStatus::Stale | NodeStatus::Draining if silent >= grace => Some(Command::WorkerFailed { node }),
            NodeStatus::Active if silent >= heartbeat * BEATS_MISSED => Some(Command::WorkerSuspect { node }),
            _ => None,
        }
    }
}

/// The interval of beats, and the grace period.
pub(super) fn terms(settings: &Settings) -> (Duration, Duration) {
    (Duration::from_millis(settings.heartbeat_ms), Duration::from_millis(settings.grace_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn word(watch: &Watch, status: NodeStatus, heard: Option<Instant>, now: Instant) -> &'static str {
        let settings = Settings { heartbeat_ms: 1_000, grace_ms: 5_000, ..Settings::default() };
        watch.verdict(1, status, (heard, None), now, &settings).map_or("", |command| command.name())
    }

    #[test]
    fn a_silent_worker_is_suspected_then_failed_and_back_when_it_is_heard() {
        let begun = Instant::now();
        let (watch, heard) = (Watch::new(begun), begun + SECOND);
        let at = |seconds: u32| heard + SECOND * seconds;
        assert_eq!(word(&watch, NodeStatus::Active, Some(heard), at(1)), "");
        assert_eq!(word(&watch, NodeStatus::Active, Some(heard), at(2)), "worker-suspect");
        assert_eq!(word(&watch, NodeStatus::Stale, Some(heard), at(4)), "");
        assert_eq!(word(&watch, NodeStatus::Stale, Some(heard), at(5)), "worker-failed");
        assert_eq!(word(&watch, NodeStatus::Failed, Some(heard), at(6)), "");
        assert_eq!(word(&watch, NodeStatus::Failed, Some(at(6)), at(7)), "worker-back");
    }

    #[test]
    fn a_leader_that_stood_still_blames_nobody_and_takes_nobody_for_back_that_it_has_not_heard() {
        let begun = Instant::now();
        let mut watch = Watch::new(begun);
        assert!(!watch.look(begun + SECOND / 10, SECOND));
        let woken = begun + SECOND * 60;
        assert!(watch.look(woken, SECOND), "it stood still for a minute");
        for status in [NodeStatus::Active, NodeStatus::Stale, NodeStatus::Failed, NodeStatus::Joining] {
            assert_eq!(word(&watch, status, Some(begun), woken), "", "{status:?}");
        }
        assert_eq!(
            word(&watch, NodeStatus::Stale, Some(begun), woken + SECOND * 5),
            "worker-failed",
            "a full term later"
        );
        assert!(!watch.look(woken + SECOND / 10, SECOND));
        watch.rest(woken + SECOND * 3, SECOND * 5);
        assert_eq!(
            word(&watch, NodeStatus::Stale, Some(begun), woken + SECOND * 5),
            "worker-failed",
            "slow, not still"
        );
        watch.rest(woken + SECOND * 9, SECOND * 5);
        assert_eq!(word(&watch, NodeStatus::Stale, Some(begun), woken + SECOND * 9), "", "still within a round");
    }

    #[test]
    fn a_new_leader_gives_everybody_a_full_term_from_when_it_led() {
        let begun = Instant::now();
        let watch = Watch::new(begun);
        assert_eq!(word(&watch, NodeStatus::Stale, None, begun + SECOND * 4), "");
        assert_eq!(word(&watch, NodeStatus::Stale, None, begun + SECOND * 5), "worker-failed");
    }

    #[test]
    fn the_leader_before_is_found_out_from_its_last_word_and_others_from_the_change_of_leaders() {
        let begun = Instant::now();
        let (watch, now) = (Watch::new(begun), begun + SECOND);
        let settings = Settings { heartbeat_ms: 1_000, grace_ms: 5_000, ..Settings::default() };
        let of = |status, word| watch.verdict(1, status, (None, word), now, &settings).map(|command| command.name());
        assert_eq!(of(NodeStatus::Active, None), None, "silent before: nobody knows");
        assert_eq!(of(NodeStatus::Active, begun.checked_sub(SECOND)), Some("worker-suspect"));
        assert_eq!(of(NodeStatus::Stale, begun.checked_sub(SECOND * 4)), Some("worker-failed"));
    }
}
