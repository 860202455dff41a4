//! How the cluster shares out work, times it and tries it again: one row for all nodes, so that a new leader goes on as
//! the one before did, whatever its own file says.
//!
//! The first leader writes it from its configuration, an operator changes it. A log without the row is one of an older
//! release, or of a cluster that begins: then each leader goes by its own configuration.

use serde::{Deserialize, Serialize};

use super::{Priority, State};
use crate::command::{Refusal, Response};
use crate::names::names;

/// The shortest interval of heartbeats, in milliseconds. Ours: below it beats cost more than they tell.
const HEARTBEAT_MS_MIN: u64 = 50;

/// What holds for the work of all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How often a worker beats, in milliseconds.
    pub heartbeat_ms: u64,
    /// Silence after which a worker is failed and its leases are taken back, in milliseconds.
    pub grace_ms: u64,
    /// How often a unit is tried before it is given up.
    pub max_attempts: u32,
    /// How long a unit rests between two tries.
    pub backoff: Backoff,
    /// How long one try of a unit may take, in milliseconds.
    pub attempt_ms: u64,
    /// What becomes of the units of a worker that failed.
    pub failure: FailureAction,
    /// Whom to prefer among workers that may take a unit.
    pub preference: Preference,
    /// How many jobs may wait before those of normal and low priority are turned away.
    pub queue_depth: u32,
    /// Share of its capacity, in thousandths, above which a worker gets urgent work only.
    pub max_load_thousandths: u32,
}

/// How long a unit rests between two tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Backoff {
    /// Not at all.
    None,
    /// Always as long.
    Fixed,
    /// Twice as long after each try.
    #[default]
    Exponential,
}

names! { Backoff, name, NAMES:
    None => "none",
    Fixed => "fixed",
    Exponential => "exponential",
}

/// What becomes of the units of a worker that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FailureAction {
    /// Others get them.
    #[default]
    Reassign,
    /// They wait until it is back.
    Wait,
    /// They are given up.
    Fail,
}

names! { FailureAction, name, NAMES:
    Reassign => "reassign",
    Wait => "wait",
    Fail => "fail",
}

/// Whom to prefer among workers that may take a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Preference {
    /// In turn.
    RoundRobin,
    /// The one with the most room.
    #[default]
    LeastLoaded,
    /// The one with most of the job's preferred tags.
    TagAffinity,
}

names! { Preference, name, NAMES:
    RoundRobin => "round_robin",
    LeastLoaded => "least_loaded",
    TagAffinity => "tag_affinity",
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 5_000,
            grace_ms: 15_000,
            max_attempts: 3,
            backoff: Backoff::default(),
            attempt_ms: 30 * 60 * 1_000,
            failure: FailureAction::default(),
            preference: Preference::default(),
            queue_depth: 100,
            max_load_thousandths: 800,
        }
    }
}

impl Settings {
    /// What is wrong with them, or `None`.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if self.heartbeat_ms < HEARTBEAT_MS_MIN {
            return Some("workers.heartbeat_interval (heartbeat_ms): a heartbeat each 50 ms is the shortest");
        }
        if self.grace_ms < self.heartbeat_ms.saturating_mul(2) {
            return Some(
                "coordinator.worker_failure.grace_period (grace_ms): a grace period below two heartbeats would fail a healthy worker",
            );
        }
        if self.attempt_ms < self.grace_ms {
            return Some("coordinator.job_retry.timeout (attempt_ms): a try must be allowed at least the grace period");
        }
        if self.max_attempts == 0 {
            return Some("coordinator.job_retry.max_attempts (max_attempts): at least one try must be allowed");
        }
        if self.queue_depth == 0 {
            return Some(
                "coordinator.load_balancing.thresholds.max_queue_depth (max_queue_depth): at least one job must be allowed to wait",
            );
        }
        (!(1..=1_000).contains(&self.max_load_thousandths)).then_some(
            "coordinator.load_balancing.thresholds.worker_max_load (worker_max_load): a worker's load is above 0 and up to 1",
        )
    }
}

/// The key of the one row.
const SETTINGS: u8 = 0;

impl State {
    /// What holds for the work of all nodes; `None` in a log of an older release.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.get(&SETTINGS)
    }

    pub(super) fn set_settings(&mut self, settings: &Settings) -> Result<Response, Refusal> {
        if let Some(what) = settings.problem() {
            return Err(Refusal::Malformed { what: what.into() });
        }
        self.settings.insert(SETTINGS, settings.clone());
        Ok(Response::Done)
    }

    /// How many jobs of this priority may wait; `None` for as many as the cluster keeps.
    pub(super) fn queue_depth(&self, priority: Priority) -> Option<usize> {
        let settings = self.settings().filter(|_| priority >= Priority::Normal)?;
        usize::try_from(settings.queue_depth).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_each_broken_relation_is_named() {
        let good = Settings::default();
        assert_eq!(good.problem(), None);
        for (broken, part) in [
            (Settings { heartbeat_ms: 1, ..good.clone() }, "heartbeat"),
            (Settings { grace_ms: 9_999, ..good.clone() }, "two heartbeats"),
            (Settings { attempt_ms: 14_999, ..good.clone() }, "a try"),
            (Settings { max_attempts: 0, ..good.clone() }, "one try"),
            (Settings { max_load_thousandths: 1_001, ..good.clone() }, "load"),
        ] {
            assert!(broken.problem().unwrap().contains(part), "{broken:?}");
        }
    }
}
