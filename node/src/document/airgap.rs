//! Bundles that were carried in or are to be carried out, and the workers without a network.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `POST /api/v1/imports`: what came of a bundle of results, or with `dry_run` would come of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ImportDocument {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whose results they are.
    pub worker_id: String,
    /// The key that signed them.
    pub signer: String,
    /// Whether the worker was let in with this bundle.
    pub let_in: bool,
    /// The numbers of the bundles that it stands for, such as `3` or `1-3`; `None` where it holds nothing new.
    pub bundles: Option<String>,
    /// Units that were counted.
    pub units_counted: u64,
    /// Targets in them.
    pub targets_counted: u64,
    /// Units that were counted before.
    pub units_known: u64,
    /// What was counted, by job.
    pub jobs: Vec<ImportedJob>,
    /// Units that were not counted, and why.
    pub left_out: Vec<LeftOut>,
    /// Numbers of bundles that the worker wrote and nobody carried in.
    pub missing_bundles: Vec<String>,
}

/// What was counted of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedJob {
    /// Which.
    pub job_id: String,
    /// How many targets.
    pub targets: u64,
    /// How many hosts of them answered.
    pub hosts_up: u64,
}

/// Units that were not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    /// Of which job.
    pub job_id: String,
    /// How many.
    pub units: u64,
    /// Why.
    pub reason: String,
}

/// A worker without a network (`GET /api/v1/offline-workers`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfflineWorkerDocument {
    /// The id under which it scans.
    pub worker_id: String,
    /// What people call it.
    pub name: String,
    /// The key that it signs with.
    pub key: String,
    /// RFC 3339.
    pub since: String,
    /// When results of it were taken in last, RFC 3339; `None` for never.
    pub last_import: Option<String>,
    /// The highest number of a bundle that is known of; 0 for none.
    pub last_bundle: u64,
    /// Numbers of bundles that it wrote and nobody carried in.
    pub missing_bundles: Vec<String>,
}
