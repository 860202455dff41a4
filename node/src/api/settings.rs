//! `/cluster/settings`: how the cluster shares out work, times it and tries it again.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use pentora_raft::command::Command;
use pentora_raft::state::{Backoff, FailureAction, Preference, Settings};

use super::{ApiError, Node};
use crate::document::{SettingsChange, SettingsDocument};

pub(super) async fn get(State(node): State<Node>) -> Json<SettingsDocument> {
    let in_log = node.raft.read(|state| state.settings().is_some());
    Json(document_of(&node.settings(), in_log))
}

/// Changes some of them for all nodes: each goes by them from the next round on.
pub(super) async fn change(State(node): State<Node>, body: Bytes) -> Result<Json<SettingsDocument>, ApiError> {
    let change: SettingsChange = super::scans::read_json(&body)?;
    let refused = |what: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_request", what);
    let settings = changed(node.settings(), change).map_err(refused)?;
    let applied = node.proposer.propose(Command::SetSettings { settings: Box::new(settings) }).await?;
    node.raft.wait_applied(applied.index, super::MIN_INDEX_WITHIN).await;
    Ok(get(State(node)).await)
}

fn document_of(settings: &Settings, in_log: bool) -> SettingsDocument {
    SettingsDocument {
        heartbeat_ms: settings.heartbeat_ms,
        grace_ms: settings.grace_ms,
        failure_action: settings.failure.name().into(),
        max_attempts: settings.max_attempts,
        backoff: settings.backoff.name().into(),
        attempt_ms: settings.attempt_ms,
        strategy: settings.preference.name().into(),
        max_queue_depth: settings.queue_depth,
        worker_max_load: f64::from(settings.max_load_thousandths) / 1_000.0,
        in_log,
    }
}

/// The settings with what is to change, or what is wrong with that.
fn changed(before: Settings, change: SettingsChange) -> Result<Settings, String> {
    let settings = Settings {
        heartbeat_ms: change.heartbeat_ms.unwrap_or(before.heartbeat_ms),
        grace_ms: change.grace_ms.unwrap_or(before.grace_ms),
        failure: word(
            "coordinator.worker_failure.action (failure_action)",
            change.failure_action,
            before.failure,
            &FAILURES,
            FailureAction::name,
        )?,
        max_attempts: change.max_attempts.unwrap_or(before.max_attempts),
        backoff: word(
            "coordinator.job_retry.backoff (backoff)",
            change.backoff,
            before.backoff,
            &BACKOFFS,
            Backoff::name,
        )?,
        attempt_ms: change.attempt_ms.unwrap_or(before.attempt_ms),
        preference: word(
            "coordinator.load_balancing.strategy (strategy)",
            change.strategy,
            before.preference,
            &PREFERENCES,
            Preference::name,
        )?,
        queue_depth: change.max_queue_depth.unwrap_or(before.queue_depth),
        max_load_thousandths: change.worker_max_load.map_or(before.max_load_thousandths, thousandths),
    };
    settings.problem().map_or(Ok(settings), |problem| Err(problem.to_owned()))
}

const FAILURES: [FailureAction; 3] = [FailureAction::Reassign, FailureAction::Wait, FailureAction::Fail];
const BACKOFFS: [Backoff; 3] = [Backoff::None, Backoff::Fixed, Backoff::Exponential];
const PREFERENCES: [Preference; 3] = [Preference::RoundRobin, Preference::LeastLoaded, Preference::TagAffinity];

/// The one of `all` that `said` names, or what was before where nothing is said.
fn word<T: Copy>(
    field: &str,
    said: Option<String>,
    before: T,
    all: &[T],
    name: fn(&T) -> &'static str,
) -> Result<T, String> {
    let Some(said) = said else { return Ok(before) };
    let named = all.iter().copied().find(|one| name(one) == said);
    named.ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(name).collect();
        format!("{field}: `{}` is not one of {}", said.chars().take(64).collect::<String>(), words.join(", "))
    })
}

/// A share in thousandths; one that is none comes out as none that is allowed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped, and held against its bounds after"
)]
fn thousandths(share: f64) -> u32 {
    (share * 1_000.0).round().clamp(0.0, 10_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_changes_the_rest_stays_and_nonsense_is_named() {
        let before = Settings::default();
        let change = SettingsChange { backoff: Some("fixed".into()), worker_max_load: Some(0.5), ..Default::default() };
        let after = changed(before.clone(), change).unwrap();
        let expected = Settings { backoff: Backoff::Fixed, max_load_thousandths: 500, ..before.clone() };
        assert_eq!(after, expected);
        let document = document_of(&after, true);
        assert_eq!((document.backoff.as_str(), document.worker_max_load), ("fixed", 0.5));
        for (change, key) in [
            (
                SettingsChange { failure_action: Some("x".into()), ..Default::default() },
                "coordinator.worker_failure.action ",
            ),
            (SettingsChange { backoff: Some("x".into()), ..Default::default() }, "coordinator.job_retry.backoff "),
            (SettingsChange { max_attempts: Some(0), ..Default::default() }, "coordinator.job_retry.max_attempts "),
            (SettingsChange { max_queue_depth: Some(0), ..Default::default() }, "thresholds.max_queue_depth "),
            (SettingsChange { worker_max_load: Some(f64::INFINITY), ..Default::default() }, "worker_max_load "),
        ] {
            let error = changed(before.clone(), change).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        for (change, part) in [
            (SettingsChange { strategy: Some("best".into()), ..Default::default() }, "round_robin, least_loaded"),
            (SettingsChange { grace_ms: Some(1), ..Default::default() }, "two heartbeats"),
            (SettingsChange { worker_max_load: Some(f64::NAN), ..Default::default() }, "load"),
        ] {
            let error = changed(before.clone(), change).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
