//! A node's configuration as the settings of a cluster: what its first leader writes into the log.

use std::time::Duration;

use pentora_raft::state::{Backoff, FailureAction, Preference, Settings};

use crate::config::{FailedUnits, NodeConfig, RetryPause, Strategy};

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
