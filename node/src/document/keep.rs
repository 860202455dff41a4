//! Standing scans: `/api/v1/keeps`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScanRequest;

/// `POST /api/v1/keeps`: addresses that are to be seen at least once in a time, within a budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepRequest {
    /// What it is called, 1 to 64 letters, digits, `-`, `_` and `.`; absent lets the node choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Within how many seconds every address is to be seen.
    pub fresh_seconds: u64,
    /// What to scan. Its `rate` is the budget: packets per second over all nodes together.
    pub scan: ScanRequest,
}

/// A standing scan, and how well its promise is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeepDocument {
    /// What it is called.
    pub name: String,
    /// `active`, `paused`, `held` while the pass that is on is, or `refused` where its last pass could not begin.
    pub status: String,
    /// One line: what is scanned.
    pub title: String,
    /// Within how many seconds every address is to be seen.
    pub fresh_seconds: u64,
    /// The budget, in packets per second.
    pub rate_pps: u64,
    /// Addresses.
    pub targets: u64,
    /// Of these, left out: rules exclude them, or do not allow them, as they are now. The rest may be scanned.
    #[serde(default)]
    pub targets_excluded: u64,
    /// Of these, seen within the promised time.
    pub targets_fresh: u64,
    /// Of these, not seen at all yet.
    pub targets_never_seen: u64,
    /// `targets_fresh` as a share of those that may be scanned, 0 to 1; 0 where none may.
    pub fresh_share: f64,
    /// What was seen longest ago of what was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<KeepOldest>,
    /// Seconds of a pass over everything, by what was measured, without the time for which passes are held; absent before there is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_seconds: Option<f64>,
    /// The budget at which a pass takes as long as is promised; absent before anything is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_pps: Option<u64>,
    /// Whether the budget is enough; absent before anything is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_be_held: Option<bool>,
    /// How many parts the addresses are looked at in.
    pub slices: u64,
    /// Of these, with answers.
    pub slices_answering: u64,
    /// Of these, that changed within the promised time.
    pub slices_changed: u64,
    /// Hosts that answered, as they were seen last.
    pub hosts_up: u64,
    /// Ports that were open, as they were seen last.
    pub open_ports: u64,
    /// The job of the pass that is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Why that pass is held, as by a window or because somebody paused its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The jobs whose results are those of the addresses, the latest pass of each slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latest_jobs: Vec<String>,
    /// Why the last pass could not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

/// What was seen longest ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeepOldest {
    /// The addresses.
    pub addresses: String,
    /// When, RFC 3339.
    pub seen_at: String,
    /// How many seconds that is ago.
    pub age_seconds: u64,
}
