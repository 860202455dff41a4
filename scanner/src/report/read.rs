//! Host records read back from JSON lines, so that any writer can render a report that was kept.
//!
//! A reader for what [`JsonLines`](super::JsonLines) writes. The lines may come from anywhere: their length is bounded,
//! and what is no host is an error that says which line it was.

use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use serde::Deserialize;

use crate::finding::{HostRecord, HostState, NotShown, PortRecord, Reason};

/// Longest line that is read: 65,535 open ports with everything known of each fit.
pub const LINE_BYTES_MAX: u64 = 256 << 20;

/// A host as it is written; fields of newer versions are passed over.
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

/// Reads one line of a `jsonl` report.
///
/// # Errors
/// Why it is no host record.
pub fn read_json_line(line: &[u8]) -> Result<HostRecord, serde_json::Error> {
    let line: HostLine = serde_json::from_slice(line)?;
    let started: jiff::Timestamp = line.started_at.parse().map_err(serde::de::Error::custom)?;
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

/// The hosts of a `jsonl` report, one after the other; empty lines are passed over.
///
/// Ends after the first error: the input's own, or `InvalidData` with the number of the line that is no host record.
pub fn read_json_lines<R: BufRead>(input: R) -> impl Iterator<Item = io::Result<HostRecord>> {
    let mut lines = Lines { input, number: 0, line: Vec::new(), is_over: false };
    std::iter::from_fn(move || lines.next())
}

struct Lines<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
    is_over: bool,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Option<io::Result<HostRecord>> {
        while !self.is_over {
            self.line.clear();
            self.number += 1;
            let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
            let line = self.line.trim_ascii();
            let host = match read {
                Ok(0) => return None,
                Ok(_) if line.is_empty() => continue,
                Ok(_) => read_json_line(line).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("line {} is no host: {error}", self.number))
                }),
                Err(error) => Err(error),
            };
            self.is_over = host.is_err();
            return Some(host);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{json_line, sample};

    #[test]
    fn a_line_read_and_written_again_is_the_same_line() {
        for host in [sample::host(), sample::rich_host()] {
            let line = json_line(&host);
            assert_eq!(json_line(&read_json_line(line.as_bytes()).unwrap()), line);
        }
    }

    #[test]
    fn hosts_come_one_by_one_up_to_the_line_that_is_none() {
        let line = json_line(&sample::host());
        let whole = format!("{line}\n\n{line}");
        assert_eq!(read_json_lines(whole.as_bytes()).filter_map(Result::ok).count(), 2);
        let broken = format!("{line}\n{}\n{line}\n", line.replace("2023-11-14T22", "yesterday"));
        let read: Vec<_> = read_json_lines(broken.as_bytes()).collect();
        assert_eq!(read.len(), 2);
        assert!(read[1].as_ref().unwrap_err().to_string().starts_with("line 2 is no host: "));
    }
}
