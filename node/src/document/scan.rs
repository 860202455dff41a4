//! `POST /api/v1/scans`: what to scan and how, and the answer that it was accepted.
//!
//! Targets and ports travel as the user's own text: the node that takes the request parses it with the same parser
//! as the command line, so both name the same position in an error.

use pentora_raft::state::Priority;
use pentora_scanner::spec::{EngineChoice, Timing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::exclusions::Unresolved;

use super::foreign;
use super::words::{self, PriorityWord};

/// Most addresses of one network that a sample may have: there is room for as many ranges in all.
pub const SAMPLE_MAX: u32 = 1 << 20;
/// Most links of one request: more than a machine has.
pub const LINKS_MAX: usize = 64;

/// A request for a scan. Every field may be left out, but there must be targets in `targets` or `target_text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScanRequest {
    /// Addresses, prefixes, ranges and host names, each as typed by the user.
    pub targets: Vec<String>,
    /// The text of a target file: one target per line or several with blanks or commas, `#` starts a comment. Lines
    /// `range = ...` and `exclude = ...` are masscan's.
    pub target_text: Option<String>,
    /// Targets to leave out of all others, in the syntax of `targets`.
    pub exclude: Vec<String>,
    /// The text of a file of targets to leave out, in the syntax of `target_text`.
    pub exclude_text: Option<String>,
    /// Whether a host name among the exclusions that has no address stops the scan (`refuse`, the default) or is passed over
    /// (`skip`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_unresolved: Option<Unresolved>,
    /// Ports such as `22,80,8000-8100,U:53`; none means the node's default ports.
    pub ports: Option<String>,
    /// The N most common TCP ports instead of `ports`.
    pub top_ports: Option<u32>,
    /// The N most common UDP ports, beside `ports` or `top_ports`; alone where neither is given.
    pub top_udp_ports: Option<u32>,
    /// The most common ports are those that the cluster's own results have open most, the general order after them: at the time
    /// when the job is accepted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub learned: bool,
    /// Ports never to ask, in the syntax of `ports`: neither by the scan nor by its discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_ports: Option<String>,
    /// The priority class.
    #[serde(with = "PriorityWord")]
    #[schema(schema_with = foreign::priority)]
    pub priority: Priority,
    /// Prefer nodes with these tags.
    pub worker_tags: Vec<String>,
    /// Use only nodes with all of these tags.
    pub require_worker_tags: Vec<String>,
    /// Use only nodes of this region.
    pub region: Option<String>,
    /// The region that the results do not leave: only its nodes scan, keep the results and read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residency: Option<String>,
    /// The site whose hosts are meant, where several have the same addresses: only its nodes work on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Upper bound on the nodes that work on the job at once.
    pub workers: Option<u32>,
    /// Take the job where no node may scan a part of it now: that part waits for one that may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_worker: bool,
    /// Take the job for workers without a network: no node of the cluster scans any of it, its orders are carried out on a
    /// medium (`POST /exports`), and its results in (`POST /imports`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub carry: bool,
    /// Take the job where a window is closed or a blackout holds: it waits until its targets may be scanned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_window: bool,
    /// Packets per second of the whole job, over all nodes together, probes and those that answers call for: begun with at once and
    /// never exceeded.
    pub rate: Option<u64>,
    /// Most packets per second of the whole job, over all nodes together, counted as `rate`, however much the networks would take.
    pub max_rate: Option<u64>,
    /// Most probes per second into one destination network (an IPv4 /24, an IPv6 /64), over all nodes together.
    pub network_rate: Option<u64>,
    /// Most probes per second to one host.
    pub host_rate: Option<u64>,
    /// `polite`, `normal` or `fast`.
    #[serde(with = "words")]
    #[schema(schema_with = foreign::timing)]
    pub timing: Option<Timing>,
    /// Look first which hosts are up, and probe all ports only there.
    pub discovery: bool,
    /// What to look with, such as `arp,echo,timestamp,syn443,ack80`; none means all of these and `syn80`.
    pub discovery_probes: Option<String>,
    /// `auto`, `connect` or `raw`.
    #[serde(with = "words")]
    #[schema(schema_with = foreign::engine)]
    pub engine: Option<EngineChoice>,
    /// The name of a profile, which gives what the request does not say: `quick`, `standard`, `deep`, `discovery`, `udp`,
    /// `ot-safe`, or one of the cluster's own.
    pub profile: Option<String>,
    /// Ask ports of controllers and medical devices like any other; without it they are spoken to in their own protocol
    /// alone, and printers in none either way.
    pub allow_fragile: bool,
    /// Read what an open port says first; without it no open port is asked anything.
    pub banners: bool,
    /// Ask open ports what they are: service, product, version, TLS, HTTP.
    pub services: bool,
    /// How many probes for the service may be tried, 0 to 9; none means 7.
    pub intensity: Option<u8>,
    /// Look for weaknesses of the services that were found.
    pub weaknesses: bool,
    /// Retransmissions of an unanswered probe; none lets the engine decide from `confidence`.
    pub retries: Option<u8>,
    /// Wanted probability, between 0 and 1, that an open port is found in spite of loss.
    pub confidence: Option<f64>,
    /// Chooses the order of targets and ports; none lets the node choose.
    pub seed: Option<u64>,
    /// Of each IPv6 network or range with more addresses than this, so many are scanned: the lowest, and others drawn by the
    /// seed; none means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// Whole IPv6 links whose hosts were looked for and stand among the targets: the results say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkFound>,
    /// Whether of a host name with several addresses `all` (the default) are scanned or the `first` that may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Resolve>,
    /// Whether name servers are asked what hosts that are up are called; none means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_dns: Option<bool>,
    /// The signature of whoever asks, under this very request: `pentora scan --sign`. Nodes whose owners ask for it
    /// (`worker.require_signed_orders`) scan for nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<SignedOrder>,
}

/// A request as a person signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    /// What was signed, to the byte: JSON with `version`, `id`, `issued_at_ms`, `expires_at_ms`, `repeats` and `request`.
    pub order: String,
    /// Who signed it: `ed25519:` and the key in base64url.
    pub key: String,
    /// The Ed25519 signature in base64url, under `pentora order v1`, a zero byte, and the text.
    pub signature: String,
}

/// A link whose hosts were looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkFound {
    /// Its addresses, such as `fe80::%eth0/64`.
    pub link: String,
    /// How many hosts of it are among the targets.
    pub hosts: u32,
    /// Whether all nodes of the link were asked; if not, the hosts are those that the machine knew.
    pub asked: bool,
}

/// Which addresses of a host name are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Resolve {
    /// The first that scope and exclusions allow.
    First,
    /// All that they allow.
    All,
}

impl Default for ScanRequest {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            target_text: None,
            exclude: Vec::new(),
            exclude_text: None,
            exclude_unresolved: None,
            ports: None,
            top_ports: None,
            learned: false,
            top_udp_ports: None,
            exclude_ports: None,
            priority: Priority::Normal,
            worker_tags: Vec::new(),
            require_worker_tags: Vec::new(),
            region: None,
            residency: None,
            site: None,
            workers: None,
            wait_for_worker: false,
            carry: false,
            wait_for_window: false,
            rate: None,
            max_rate: None,
            network_rate: None,
            host_rate: None,
            timing: None,
            discovery: true,
            discovery_probes: None,
            engine: None,
            profile: None,
            allow_fragile: false,
            banners: true,
            services: true,
            intensity: None,
            weaknesses: true,
            retries: None,
            confidence: None,
            seed: None,
            sample: None,
            links: Vec::new(),
            resolve: None,
            reverse_dns: None,
            order: None,
        }
    }
}

/// The answer 202 to a scan request: the job is in the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanAccepted {
    /// The job's id, `job-...`.
    pub job_id: String,
    /// Targets in scope after exclusions.
    pub targets: u64,
    /// Parts with different placement needs.
    pub partitions: u32,
    /// Log index of the entry that created the job.
    pub index: u64,
    /// What whoever asked for it has to know, a line each; the job's results say it as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_only_targets_gets_every_default() {
        let request: ScanRequest = serde_json::from_str(r#"{"targets":["10.0.0.0/24"]}"#).unwrap();
        assert_eq!(request, ScanRequest { targets: vec!["10.0.0.0/24".into()], ..ScanRequest::default() });
        assert!(request.discovery && request.banners);
    }

    #[test]
    fn what_is_not_said_is_not_written_so_that_an_older_node_understands_the_rest() {
        let json = serde_json::to_string(&ScanRequest::default()).unwrap();
        for field in ["exclude_ports", "sample", "resolve", "reverse_dns", "order"] {
            assert!(!json.contains(field), "{json}");
        }
        let said = ScanRequest { exclude_ports: Some("9100".into()), ..ScanRequest::default() };
        assert_eq!(serde_json::from_str::<ScanRequest>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
    }

    #[test]
    fn a_misspelt_field_of_a_request_is_refused_by_name() {
        let error = serde_json::from_str::<ScanRequest>(r#"{"target":["10.0.0.1"]}"#).unwrap_err();
        assert!(error.to_string().contains("`target`"), "{error}");
    }

    #[test]
    fn words_are_written_as_ever_and_taken_in_any_case_and_a_wrong_one_is_named() {
        let request = ScanRequest {
            priority: Priority::High,
            timing: Some(Timing::Fast),
            engine: Some(EngineChoice::Raw),
            profile: Some("ot-safe".into()),
            ..ScanRequest::default()
        };
        let json = serde_json::to_value(&request).unwrap();
        let words = [&json["priority"], &json["timing"], &json["engine"], &json["profile"]];
        assert_eq!(words, ["high", "fast", "raw", "ot-safe"]);
        assert_eq!(serde_json::from_value::<ScanRequest>(json).unwrap(), request);
        let read = |json: &str| serde_json::from_str::<ScanRequest>(json);
        assert_eq!(read(r#"{"timing":"FAST","engine":null}"#).unwrap().timing, Some(Timing::Fast));
        for (json, part) in [
            (r#"{"timing":"insane"}"#, "unknown timing \"insane\": it is one of polite, normal, fast"),
            (r#"{"engine":"warp"}"#, "unknown engine \"warp\": it is one of auto, connect, raw"),
            (r#"{"priority":"urgent"}"#, "`urgent`, expected one of `low`, `normal`, `high`, `critical`"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
