//! `POST /workers/register`, as the original description writes it, and a worker's heartbeat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A worker that registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationRequest {
    /// What it is called; empty or absent for the name that its join token was made with.
    #[serde(default)]
    pub name: String,
    /// Its release.
    pub version: String,
    /// How much it takes.
    pub capacity: RegistrationCapacity,
    /// Labels that jobs may prefer or require.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Prefixes that it reaches, or the word `auto`.
    #[serde(default)]
    pub network_access: Vec<String>,
}

/// How much a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationCapacity {
    /// Leases at once.
    pub max_concurrent_scans: u32,
    /// Targets in one.
    pub max_targets_per_scan: u64,
}

/// The answer: how it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrationDocument {
    /// The id under which it scans.
    pub worker_id: String,
    /// What it shows from now on: its credential; to an administrator, a join token for the worker.
    pub token: String,
    /// Seconds between two of its reports.
    pub heartbeat_interval: u64,
    /// What it is called.
    pub name: String,
    /// Where members of the mesh are.
    pub mesh: Vec<String>,
}

/// The answer to `POST /workers/{id}/heartbeat`: what the cluster hears of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatDocument {
    /// Which.
    pub worker_id: String,
    /// Whether its reports arrive.
    pub heard: bool,
    /// As in lists.
    pub status: String,
    /// When it was heard last, RFC 3339.
    pub last_seen: Option<String>,
    /// Seconds between two of its reports.
    pub heartbeat_interval: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_request_is_read_to_the_letter_and_its_answer_has_its_fields() {
        let request = r#"{
  "name": "worker-us-east-1",
  "version": "1.0.0",
  "capacity": {
    "max_concurrent_scans": 10,
    "max_targets_per_scan": 1000
  },
  "tags": ["aws", "us-east-1", "production"],
  "network_access": [
    "172.31.0.0/16",
    "10.0.0.0/24"
  ]
}"#;
        let request: RegistrationRequest = serde_json::from_str(request).unwrap();
        assert_eq!((request.name.as_str(), request.capacity.max_targets_per_scan), ("worker-us-east-1", 1_000));
        let answer = RegistrationDocument {
            worker_id: "wrk_a1b2c3d4".into(),
            token: "jwt_token_here".into(),
            heartbeat_interval: 30,
            name: "a1b2c3d4".into(),
            mesh: Vec::new(),
        };
        let json = serde_json::to_value(answer).unwrap();
        assert_eq!((&json["worker_id"], &json["heartbeat_interval"]), (&"wrk_a1b2c3d4".into(), &30.into()));
        assert!(
            serde_json::from_str::<RegistrationRequest>(r#"{"name":"x","version":"1","capacity":{},"x":1}"#).is_err()
        );
    }
}
