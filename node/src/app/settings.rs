//! A node's configuration as the settings of a cluster, which its first leader writes into the log, and as those of its rooms.

use std::time::Duration;

use pentora_raft::Profile;
use pentora_raft::state::{Backoff, FailureAction, Preference, Settings};

use crate::config::{FailedUnits, NodeConfig, ResultsSettings, RetryPause, Strategy, TimingProfile};
use crate::holders::{HoldersConfig, Retention};

/// What `config` says of how work is shared out, timed and tried again.
pub(super) fn of(config: &NodeConfig) -> Settings {
    let coordinator = &config.coordinator;
    Settings {
        heartbeat_ms: millis(config.workers.heartbeat_interval),
        grace_ms: millis(coordinator.grace_period),
        max_attempts: coordinator.max_attempts,
        backoff: match coordinator.backoff {
            RetryPause::None => Backoff::None,
            RetryPause::Fixed => Backoff::Fixed,
            RetryPause::Exponential => Backoff::Exponential,
        },
        attempt_ms: millis(coordinator.attempt_timeout),
        failure: match coordinator.failure_action {
            FailedUnits::Reassign => FailureAction::Reassign,
            FailedUnits::Wait => FailureAction::Wait,
            FailedUnits::Fail => FailureAction::Fail,
        },
        preference: match coordinator.strategy {
            Strategy::RoundRobin => Preference::RoundRobin,
            Strategy::LeastLoaded => Preference::LeastLoaded,
            Strategy::TagAffinity => Preference::TagAffinity,
        },
        queue_depth: coordinator.max_queue_depth,
        max_load_thousandths: thousandths(coordinator.worker_max_load),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A share above 0 and up to 1, in thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the key's kind is a share")]
fn thousandths(share: f64) -> u32 {
    (share * 1_000.0).round().clamp(1.0, 1_000.0) as u32
}

/// The timing of consensus that a configuration names.
pub(super) fn profile(profile: TimingProfile) -> Profile {
    match profile {
        TimingProfile::Lan => Profile::Lan,
        TimingProfile::Wan => Profile::Wan,
        TimingProfile::Fast => Profile::Fast,
    }
}

/// How results are kept, as a configuration says.
pub(super) fn holders(results: &ResultsSettings) -> HoldersConfig {
    let retention = Retention {
        max_age: results.max_age,
        max_jobs: results.max_jobs,
        max_bytes: results.max_bytes.map(|size| size.0),
    };
    HoldersConfig { grace: results.grace, scrub_interval: results.scrub_interval, retention }
}
