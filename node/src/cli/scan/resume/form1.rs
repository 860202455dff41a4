//! Form 1 of the file of an interrupted scan, in which every option of the request had its place.

use pentora_raft::Digest;
use pentora_raft::codec::{self, CodecError, Kind};
use serde::{Deserialize, Serialize};

use super::Resume;
use crate::embedded::SavedUnit;

/// The whole, field by field as it was written.
#[derive(Deserialize)]
struct Form1 {
    release: String,
    request: Request,
    spec: Digest,
    units: Vec<SavedUnit>,
}

/// The options that there were. Their names are those of the document, through which they become a request of today.
#[derive(Serialize, Deserialize)]
struct Request {
    targets: Vec<String>,
    target_text: Option<String>,
    exclude: Vec<String>,
    exclude_text: Option<String>,
    ports: Option<String>,
    top_ports: Option<u32>,
    top_udp_ports: Option<u32>,
    priority: Priority,
    worker_tags: Vec<String>,
    require_worker_tags: Vec<String>,
    region: Option<String>,
    workers: Option<u32>,
    rate: Option<u64>,
    max_rate: Option<u64>,
    network_rate: Option<u64>,
    host_rate: Option<u64>,
    timing: Option<String>,
    discovery: bool,
    discovery_probes: Option<String>,
    engine: Option<String>,
    profile: Option<String>,
    banners: bool,
    services: bool,
    intensity: Option<u8>,
    weaknesses: bool,
    retries: Option<u8>,
    confidence: Option<f64>,
    seed: Option<u64>,
}

/// By its place among these.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    Normal,
    High,
    Critical,
}

/// Reads what follows the digest.
pub(super) fn decode(body: &[u8]) -> Result<Resume, CodecError> {
    let Form1 { release, request, spec, units } = codec::decode(Kind::Resume, body)?;
    let malformed = |error: serde_json::Error| CodecError::Malformed { kind: Kind::Resume, reason: error.to_string() };
    let request = serde_json::to_value(request).and_then(serde_json::from_value).map_err(malformed)?;
    Ok(Resume { release, request, spec, units })
}

#[cfg(test)]
mod tests {
    use super::super::HEADING;
    use super::*;
    use crate::document::ScanRequest;

    /// Written by release 0.1.0, by Ctrl-C in a scan of loopback.
    const FILE: &[u8] = include_bytes!("form1.resume");

    #[test]
    fn a_file_of_form_1_says_what_it_said() {
        let heading = format!("{HEADING}1\n");
        let (digest, body) = FILE[heading.len()..].split_first_chunk::<32>().unwrap();
        assert!(FILE.starts_with(heading.as_bytes()) && Digest::of(body) == Digest(*digest));
        let resume = decode(body).unwrap();
        let request: ScanRequest = serde_json::from_value(serde_json::json!({
            "target_text": "127.0.0.1-127.0.0.200 # loopback\n",
            "exclude": ["127.0.0.7"],
            "exclude_text": "127.0.0.9\n",
            "ports": "9,11",
            "priority": "high",
            "rate": 15,
            "timing": "polite",
            "discovery": false,
            "engine": "connect",
            "banners": false,
            "services": false,
            "retries": 1,
            "confidence": 0.99,
            "seed": 7,
        }))
        .unwrap();
        assert_eq!((resume.release.as_str(), resume.request), ("0.1.0", request));
        assert!(resume.units.iter().map(|unit| unit.records.len()).sum::<usize>() > 10);
    }
}
