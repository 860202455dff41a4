//! `GET` and `PATCH /cluster/settings`: how the cluster shares out work, times it and tries it again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What holds for the work of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingsDocument {
    /// How often a worker beats (`workers.heartbeat_interval`).
    pub heartbeat_ms: u64,
    /// Silence after which a worker is failed (`coordinator.worker_failure.grace_period`).
    pub grace_ms: u64,
    /// `reassign`, `wait` or `fail` (`coordinator.worker_failure.action`).
    pub failure_action: String,
    /// How often a unit is tried (`coordinator.job_retry.max_attempts`).
    pub max_attempts: u32,
    /// `none`, `fixed` or `exponential` (`coordinator.job_retry.backoff`).
    pub backoff: String,
    /// Time for one try of a unit (`coordinator.job_retry.timeout`).
    pub attempt_ms: u64,
    /// `round_robin`, `least_loaded` or `tag_affinity` (`coordinator.load_balancing.strategy`).
    pub strategy: String,
    /// Waiting jobs before those of normal and low priority are turned away
    /// (`coordinator.load_balancing.thresholds.max_queue_depth`).
    pub max_queue_depth: u32,
    /// Load above which a worker gets urgent work only (`coordinator.load_balancing.thresholds.worker_max_load`).
    pub worker_max_load: f64,
    /// Whether they stand in the log; otherwise they are the answering node's own.
    #[serde(default)]
    pub in_log: bool,
}

/// What is to change; the rest stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsChange {
    /// See [`SettingsDocument::heartbeat_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
    /// See [`SettingsDocument::grace_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// See [`SettingsDocument::failure_action`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_action: Option<String>,
    /// See [`SettingsDocument::max_attempts`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// See [`SettingsDocument::backoff`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
    /// See [`SettingsDocument::attempt_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_ms: Option<u64>,
    /// See [`SettingsDocument::strategy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// See [`SettingsDocument::max_queue_depth`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue_depth: Option<u32>,
    /// See [`SettingsDocument::worker_max_load`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_max_load: Option<f64>,
}
