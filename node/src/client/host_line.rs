//! A line of results back into a host record, so that any report writer can print it.

use std::net::IpAddr;

use pentora_scanner::finding::{HostRecord, HostState, NotShown, PortRecord, Reason};
use serde::Deserialize;

use super::ClientError;

/// What the scanner's `jsonl` report writes; fields of newer versions are passed over.
#[derive(Deserialize)]
struct HostLine {
    address: IpAddr,
    name: Option<String>,
    state: HostState,
    reason: Reason,
    ports: Vec<PortRecord>,
    #[serde(default)]
    not_shown: Vec<NotShown>,
    started_at: String,
    worker: String,
    #[serde(default)]
    is_middlebox: bool,
}

/// Reads one line of a job's results.
///
/// # Errors
/// `NotUnderstood` where the line is no host record.
pub fn parse_host_line(line: &[u8]) -> Result<HostRecord, ClientError> {
    let not_understood = |source| ClientError::NotUnderstood { what: "line of results", source };
    let line: HostLine = serde_json::from_slice(line).map_err(not_understood)?;
    let started: jiff::Timestamp = line.started_at.parse().map_err(serde::de::Error::custom).map_err(not_understood)?;
    Ok(HostRecord {
        address: line.address,
        name: line.name,
        state: line.state,
        reason: line.reason,
        ports: line.ports,
        not_shown: line.not_shown,
        started_at_ms: u64::try_from(started.as_millisecond()).unwrap_or_default(),
        worker: line.worker,
        is_middlebox: line.is_middlebox,
    })
}

#[cfg(test)]
mod tests {
    use pentora_scanner::report::json_line;

    use super::*;

    const LINE: &str = concat!(
        r#"{"address":"10.0.0.1","name":null,"state":"up","reason":"syn-ack","ports":["#,
        r#"{"port":22,"protocol":"tcp","state":"open","reason":"syn-ack","banner":"SSH-2.0\\x07","service":"#,
        r#"{"name":"ssh","method":"probed","confidence":90,"product":"x","version":null,"info":null,"hostname":null,"#,
        r#""os":null,"device":null,"cpes":[],"rule":null,"tls":null,"http":null,"facts":[]}}],"#,
        r#""not_shown":[{"state":"filtered","reason":"no-response","count":1200}],"#,
        r#""started_at":"2023-11-14T22:13:20.123Z","worker":"wrk_a"}"#
    );

    #[test]
    fn a_line_read_and_written_again_is_the_same_line() {
        assert_eq!(json_line(&parse_host_line(LINE.as_bytes()).unwrap()), LINE);
    }

    #[test]
    fn what_is_no_host_is_an_error_with_its_reason() {
        for line in ["", "{}", "[]", &LINE.replace("2023-11-14T22", "yesterday")] {
            let error = parse_host_line(line.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("the line of results is not understood: "), "{error}");
        }
    }
}
