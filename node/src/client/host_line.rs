//! A line of results back into a host record, so that any report writer can print it.

use pentora_scanner::finding::HostRecord;
use pentora_scanner::report::read_json_line;

use super::ClientError;

/// Reads one line of a job's results.
///
/// # Errors
/// `NotUnderstood` where the line is no host record.
pub fn parse_host_line(line: &[u8]) -> Result<HostRecord, ClientError> {
    read_json_line(line).map_err(|source| ClientError::NotUnderstood { what: "line of results", source })
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
