//! Host records read back from JSON lines, so that any writer can render a report that was kept.
//!
//! A reader for what [`JsonLines`](super::JsonLines) writes. The lines may come from anywhere: their length is bounded,
//! and what is no host is an error that says which line it was.

use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use serde::Deserialize;

use super::time;
use crate::finding::{
    HostRecord, HostState, Identity, Mac, NameSource, NotShown, PortRecord, Reason, TcpScan, plain_text,
};

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
    zone: Option<String>,
    ended_at: Option<String>,
    tcp_scan: Option<TcpScan>,
    ttl: Option<u8>,
    mac: Option<Mac>,
    vendor: Option<String>,
    #[serde(default)]
    names: Vec<NameLine>,
    recall_estimate: Option<f64>,
    #[serde(default)]
    redirected_ports: Vec<String>,
    stopped_after_probes: Option<u32>,
}

/// A name; those of sources that this release does not know are passed over.
#[derive(Deserialize)]
struct NameLine {
    name: String,
    source: String,
}

/// The last line of a report that is not whole.
#[derive(Deserialize)]
struct SummaryLine {
    #[serde(rename = "summary")]
    _summary: serde::de::IgnoredAny,
}

/// Reads one line of a `jsonl` report.
///
/// # Errors
/// Why it is no host record.
pub fn read_json_line(line: &[u8]) -> Result<HostRecord, serde_json::Error> {
    let line: HostLine = serde_json::from_slice(line)?;
    let time_ms = |text: &str| time::unix_ms(text).map_err(<serde_json::Error as serde::de::Error>::custom);
    let started_at_ms = time_ms(&line.started_at)?;
    let ended_at_ms = line.ended_at.as_deref().map(time_ms).transpose()?.unwrap_or_default();
    let redirected = line.redirected_ports.iter().map(|range| ports_of(range)).collect::<Result<_, _>>()?;
    // Those of other sources are read from the services again.
    let reverse_dns = line.names.into_iter().find(|one| one.source == NameSource::ReverseDns.as_str());
    Ok(HostRecord {
        address: line.address,
        name: line.name,
        state: line.state,
        reason: line.reason,
        ports: line.ports,
        not_shown: line.not_shown,
        started_at_ms,
        worker: line.worker,
        is_middlebox: line.is_middlebox,
        ended_at_ms,
        tcp: line.tcp_scan,
        identity: Identity {
            ttl: line.ttl,
            mac: line.mac,
            vendor: line.vendor,
            reverse_dns: reverse_dns.map(|one| one.name),
            zone: line.zone,
        },
        likely_found_permille: line.recall_estimate.map(permille),
        is_target_itself: false,
        redirected,
        stopped_after_probes: line.stopped_after_probes,
    })
}

/// The first and the last port of a range such as `1-1023`.
fn ports_of(range: &str) -> Result<(u16, u16), serde_json::Error> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let ends = first.parse().ok().zip(last.parse().ok());
    ends.ok_or_else(|| <serde_json::Error as serde::de::Error>::custom(format!("{range:?} is no range of ports")))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 1000")]
fn permille(share: f64) -> u16 {
    (1000.0 * share).round().clamp(0.0, 1000.0) as u16
}

/// Whether this is the line with which a report ends that is not whole.
fn is_summary(line: &[u8]) -> bool {
    line.starts_with(b"{\"summary\":") && serde_json::from_slice::<SummaryLine>(line).is_ok()
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
                Ok(_) if line.is_empty() || is_summary(line) => continue,
                Ok(_) => read_json_line(line).map_err(|error| {
                    // It quotes the line.
                    let text = format!("line {} is no host: {error}", self.number);
                    io::Error::new(io::ErrorKind::InvalidData, plain_text(&text).into_owned())
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
        let mut known = sample::rich_host();
        known.ended_at_ms = 1_700_000_001_000;
        known.tcp = Some(TcpScan::Syn);
        known.identity = Identity {
            ttl: Some(64),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            vendor: Some("Example Corp".to_owned()),
            reverse_dns: Some("r.example".to_owned()),
            zone: Some("eth0".to_owned()),
        };
        let read = read_json_line(json_line(&known).as_bytes()).unwrap();
        assert_eq!((read.ended_at_ms, read.tcp, &read.identity), (known.ended_at_ms, known.tcp, &known.identity));
        // As a peer may have written it: no calendar holds its end.
        let endless = HostRecord { ended_at_ms: u64::MAX, ..known.clone() };
        for host in [sample::host(), sample::rich_host(), known, endless] {
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
        let hostile = line.replacen(r#""state":"up""#, r#""state":"a\nb\u001b[2J""#, 1);
        assert_ne!(hostile, line);
        let error = read_json_lines(hostile.as_bytes()).next().unwrap().unwrap_err().to_string();
        assert!(error.contains("unknown variant `a b\u{fffd}[2J`"), "{error}");
    }
}
