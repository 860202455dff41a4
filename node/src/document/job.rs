//! What a node tells about a job: its state and counters, and its history of events.

use pentora_raft::state::Priority;
use pentora_scanner::finding::NotProbedCounts;
use pentora_scanner::recall::MeasuredRecall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::foreign;

/// A job and its counters. The fields of the original description's result document keep their names and order;
/// the others were added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobDocument {
    /// `job-...`.
    pub job_id: String,
    /// `queued`, `running`, `paused`, `completed`, `partial`, `failed` or `cancelled`.
    pub status: String,
    /// Where the job is not over and no leader is known: how old what is said of it is, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_age_ms: Option<u64>,
    /// How many workers had an accepted or running share.
    pub workers: u32,
    /// Targets whose results are accepted.
    pub targets_scanned: u64,
    /// From the first grant to the end (or to now) as `45m 12s`.
    pub duration: String,
    /// Totals over accepted results.
    pub results: JobResults,
    /// One row per worker, largest share first.
    pub worker_stats: Vec<WorkerStat>,
    /// Targets in scope.
    #[serde(default)]
    pub targets_total: u64,
    /// Targets done in units that are still out; not counted in `targets_scanned` before their unit is accepted.
    #[serde(default)]
    pub targets_in_progress: u64,
    /// Priority class.
    #[serde(default)]
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
    /// RFC 3339.
    #[serde(default)]
    pub submitted_at: String,
    /// RFC 3339; absent before the first grant.
    #[serde(default)]
    pub started_at: Option<String>,
    /// RFC 3339; absent until the job ended.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Seconds from the first grant to the end, or to now.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// Seconds left at the present rate; absent before there is a rate.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    /// Workers holding a lease of the job now.
    #[serde(default)]
    pub active_workers: u32,
    /// Probes sent for accepted results.
    #[serde(default)]
    pub probes_sent: u64,
    /// Share of round trips that were lost, over accepted results, each weighted by its probes. Absent where nothing has answered that
    /// it could be told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_estimate: Option<f64>,
    /// Probability that an open port of any of the targets was found, each accepted result weighted by its open ports: what was not
    /// probed, or not yet, counts as missed. Absent before there is a result.
    #[serde(default)]
    pub recall_estimate: Option<f64>,
    /// Between which ends that lies, as measured by asking again a sample of what stayed silent; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = foreign::recall)]
    pub recall_measured: Option<MeasuredRecall>,
    /// What units that are still out have done; none of it is in the other figures.
    #[serde(default)]
    pub in_progress: JobProgress,
    /// Why the job is queued, partial or failed, as a sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// While the job is open: why workers take none of its work, a line each.
    #[serde(default)]
    pub waits: Vec<String>,
    /// Targets that no probe reached, by reason; in `targets_scanned` they are not.
    #[serde(default, skip_serializing_if = "NotProbedCounts::is_empty")]
    #[schema(schema_with = foreign::not_probed)]
    pub not_probed: NotProbedCounts,
    /// What there is to say of accepted results beside the figures, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The ports that are asked, as `22,80-90,U:53`; absent in lists of jobs, and where the spec is not at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// One line: what is scanned, or the schedule or standing scan that began it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The site that its hosts are at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The key of whoever signed the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// That ports of controllers and medical devices are asked like any other, as the request wanted; told where `ports` is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_fragile: bool,
}

impl JobDocument {
    /// Whether the job will not change any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "partial" | "failed" | "cancelled")
    }
}

/// How far the units are that are still out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct JobProgress {
    /// Targets done.
    pub targets: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent.
    pub probes_sent: u64,
    /// Share of their round trips that were lost; absent where nothing has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_estimate: Option<f64>,
}

/// Totals of a job, from accepted results only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct JobResults {
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports over all hosts.
    pub open_ports: u64,
    /// Open ports whose service was recognised.
    pub services_detected: u64,
    /// Weaknesses reported.
    pub vulnerabilities: u64,
}

/// One worker's share of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStat {
    /// `wrk_...`.
    pub worker_id: String,
    /// Targets this worker scanned.
    pub targets: u64,
    /// Time it worked on the job, as `40m 5s`.
    pub duration: String,
    /// `Running`, `Done`, `Failed`, ... as shown in the worker breakdown.
    #[serde(default)]
    pub state: String,
}

/// `POST /api/v1/jobs/{id}/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CancelRequest {
    /// Why.
    pub reason: Option<String>,
}

/// `POST /api/v1/jobs/{id}/pause`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// Why.
    pub reason: Option<String>,
}

/// `POST /api/v1/jobs/{id}/reprioritize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprioritizeRequest {
    /// Its class from now on.
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
}

/// One line of a job's history, or of the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobEvent {
    /// Its job; empty for what happened to a node or to the policy.
    #[serde(default)]
    pub job_id: String,
    /// Log index of the entry that caused it; as the cursor for `?after=` it stands for all that the entry caused.
    pub index: u64,
    /// RFC 3339 with milliseconds.
    pub at: String,
    /// `submitted`, `assigned`, `unit_done`, `worker_failed`, ...; of the cluster `node_joined`, `node_back`, `node_failed`,
    /// `node_left`, `node_removed`, `node_role`, `node_policy`, `rule_set`, `rule_removed`.
    pub kind: String,
    /// What happened, as a sentence.
    pub message: String,
    /// The worker concerned.
    #[serde(default)]
    pub worker: Option<String>,
    /// The unit concerned, as `partition:start-end`.
    #[serde(default)]
    pub unit: Option<String>,
    /// The node concerned, of an event of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document printed in the original description.
    const ORIGINAL: &str = r#"{
        "job_id": "job-abc123", "status": "completed", "workers": 3, "targets_scanned": 10000,
        "duration": "45m 12s",
        "results": {"hosts_up": 7234, "open_ports": 12456, "services_detected": 8901, "vulnerabilities": 234},
        "worker_stats": [{"worker_id": "wrk_us_east_1", "targets": 3500, "duration": "40m 5s"}]
    }"#;

    #[test]
    fn the_original_result_document_is_read_and_its_fields_are_written_back_first_and_unchanged() {
        let document: JobDocument = serde_json::from_str(ORIGINAL).unwrap();
        assert!(document.has_ended());
        let written = serde_json::to_string(&document).unwrap();
        let start = r#"{"job_id":"job-abc123","status":"completed","workers":3,"targets_scanned":10000,"duration":"45m 12s","results":{"hosts_up":7234,"open_ports":12456,"services_detected":8901,"vulnerabilities":234},"worker_stats":[{"worker_id":"wrk_us_east_1","targets":3500,"duration":"40m 5s""#;
        assert!(written.starts_with(start), "{written}");
    }
}
