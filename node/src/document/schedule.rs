//! Schedules: `/api/v1/schedules`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScanRequest;

/// `POST /api/v1/schedules`: a scan, and when it is to begin by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// What it is called, 1 to 64 letters, digits, `-`, `_` and `.`; absent lets the node choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its times: five fields of cron, or `@daily` and the like.
    pub cron: String,
    /// The IANA name of the zone that they are meant in; absent means UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What becomes of times at which nothing could be started: `skip` (absent means this) or `run-once`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// What becomes of a time at which the run before is not over: `skip` (absent means this), `queue` or `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// What to scan.
    pub scan: ScanRequest,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleDocument {
    /// What it is called.
    pub name: String,
    /// `active`, `paused`, or `waiting` for the run before to end.
    pub status: String,
    /// Its times.
    pub cron: String,
    /// The zone that they are meant in.
    pub timezone: String,
    /// `skip` or `run-once`.
    pub missed: String,
    /// `skip`, `queue` or `allow`.
    pub overlap: String,
    /// One line: what is scanned.
    pub title: String,
    /// RFC 3339.
    pub created_at: String,
    /// Its next times; none while it is paused.
    pub next: Vec<ScheduleTime>,
    /// What came of its last times, the latest first.
    pub runs: Vec<ScheduleRun>,
    /// What is scanned; absent where this release does not understand it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanRequest>,
    /// What there is to know of it, such as why it never runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleTime {
    /// In the schedule's zone, RFC 3339 with its offset.
    pub at: String,
    /// The same in UTC, RFC 3339.
    pub utc: String,
    /// What the zone is called then, such as `CET`.
    pub zone: String,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// What came of a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRun {
    /// Which.
    pub due: ScheduleTime,
    /// When that was decided, RFC 3339.
    pub decided_at: String,
    /// `started`, `overlapped`, `missed` or `refused`.
    pub outcome: String,
    /// The job that it began, or that it would have overlapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many earlier times passed with it.
    #[serde(default)]
    pub passed_over: u32,
}

/// `GET /schedules/{name}/next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleTimes {
    /// Which schedule.
    pub name: String,
    /// Its times.
    pub cron: String,
    /// The zone that they are meant in.
    pub timezone: String,
    /// The next ones, also of a schedule that is paused.
    pub next: Vec<ScheduleTime>,
}
