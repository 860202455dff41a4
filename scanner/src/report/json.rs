//! JSON: one document, or one object per host and line.
//!
//! A host has the fields `address, name, state, reason, ports[{port, protocol, state, reason, banner, service}],
//! not_shown[{state, reason, count}], started_at, worker`, a port with weaknesses `weaknesses`, and an address for which
//! something on the way answers `is_middlebox`; `service` is [`Service`]; `started_at` is RFC 3339 in UTC. Absent names,
//! banners and services are `null`.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

use serde::Serialize;

use super::{Summary, Writer};
use crate::finding::{HostRecord, HostState, NotShown, PortState, Printable, Reason, Service, Weakness};
use crate::port::Protocol;

/// Writes `{"hosts": [...], "summary": {...}}`.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    hosts_written: u64,
}

impl<W: io::Write> Json<W> {
    /// A document on `out`.
    pub fn new(out: W) -> Self {
        Self { out, hosts_written: 0 }
    }

    fn open(&mut self) -> io::Result<()> {
        self.out.write_all(if self.hosts_written == 0 { b"{\"hosts\":[\n" } else { b",\n" })
    }
}

impl<W: io::Write> Writer for Json<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.open()?;
        self.hosts_written += 1;
        write_json(&mut self.out, &HostView::of(host))
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if self.hosts_written == 0 {
            self.open()?;
        }
        self.out.write_all(b"\n],\"summary\":")?;
        write_json(&mut self.out, &SummaryView::of(summary))?;
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

/// Writes one object per host and line.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
}

impl<W: io::Write> JsonLines<W> {
    /// Lines on `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: io::Write> Writer for JsonLines<W> {
    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        write_json(&mut self.out, &HostView::of(host))?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
        self.out.flush()
    }
}

/// A host as one line of JSON, without the line end: what [`JsonLines`] writes.
#[must_use]
pub fn json_line(host: &HostRecord) -> String {
    let mut line = Vec::new();
    // Writing strings and numbers to memory does not fail.
    let _ = write_json(&mut line, &HostView::of(host));
    String::from_utf8(line).unwrap_or_default()
}

/// Writes a value as JSON in printable ASCII: JSON alone lets C1 controls through to a terminal.
fn write_json<W: io::Write>(out: W, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii))?)
}

/// Compact JSON whose strings are printable ASCII.
#[derive(Debug)]
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !(' '..='~').contains(&c)) {
            let (plain, odd) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let Some(c) = odd.chars().next() else { break };
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = odd.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

#[derive(Serialize)]
struct HostView<'a> {
    address: IpAddr,
    name: Option<Cow<'a, str>>,
    state: HostState,
    reason: Reason,
    ports: Vec<PortView<'a>>,
    not_shown: &'a [NotShown],
    started_at: String,
    worker: Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_middlebox: bool,
}

#[derive(Serialize)]
struct PortView<'a> {
    port: u16,
    protocol: Protocol,
    state: PortState,
    reason: Reason,
    banner: Option<Cow<'a, str>>,
    service: Option<&'a Service>,
    #[serde(skip_serializing_if = "<[Weakness]>::is_empty")]
    weaknesses: &'a [Weakness],
}

#[derive(Serialize)]
struct SummaryView<'a> {
    targets_scanned: u64,
    targets_total: u64,
    hosts_up: u64,
    open_ports: u64,
    services_detected: u64,
    vulnerabilities: u64,
    probes_sent: u64,
    loss_estimate: f64,
    recall_estimate: Option<f64>,
    duration_seconds: f64,
    notes: Vec<Cow<'a, str>>,
}

impl<'a> HostView<'a> {
    fn of(host: &'a HostRecord) -> Self {
        let ports = host.ports.iter().map(|port| PortView {
            port: port.port,
            protocol: port.protocol,
            state: port.state,
            reason: port.reason,
            banner: port.banner.as_deref().map(printable),
            service: port.service.as_ref(),
            weaknesses: &port.weaknesses,
        });
        Self {
            address: host.address,
            name: host.name.as_deref().map(printable),
            state: host.state,
            reason: host.reason,
            ports: ports.collect(),
            not_shown: &host.not_shown,
            started_at: rfc3339(host.started_at_ms),
            worker: printable(&host.worker),
            is_middlebox: host.is_middlebox,
        }
    }
}

impl<'a> SummaryView<'a> {
    fn of(summary: &'a Summary) -> Self {
        Self {
            targets_scanned: summary.targets_scanned,
            targets_total: summary.targets_total,
            hosts_up: summary.hosts_up,
            open_ports: summary.open_ports,
            services_detected: summary.services_detected,
            vulnerabilities: summary.vulnerabilities,
            probes_sent: summary.probes_sent,
            loss_estimate: summary.loss_estimate,
            recall_estimate: summary.recall_estimate,
            duration_seconds: summary.duration.as_secs_f64(),
            notes: summary.notes.iter().map(|note| printable(note)).collect(),
        }
    }
}

/// Printable ASCII as it is, anything else escaped: JSON alone lets C1 controls through to a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    match text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(Printable(text).to_string()),
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds; the last moment of year 9999 for any later one.
fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample;

    #[test]
    fn a_line_has_exactly_the_promised_fields() {
        let mut out = Vec::new();
        let mut lines = JsonLines::new(&mut out);
        lines.host(&sample::host()).unwrap();
        lines.finish(&Summary::default()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"address":"10.0.0.1","name":"evil\\x1b[2J\\x9b31m.example","state":"up","reason":"syn-ack","ports":["#,
                r#"{"port":22,"protocol":"tcp","state":"open","reason":"syn-ack","banner":"SSH-2.0-x\\x1b]0;\"\\x07","service":{"name":"ssh","method":"probed","confidence":0,"product":null,"version":null,"info":null,"hostname":null,"os":null,"device":null,"cpes":[],"rule":null,"tls":null,"http":null,"facts":[]}},"#,
                r#"{"port":80,"protocol":"tcp","state":"closed","reason":"conn-refused","banner":null,"service":{"name":"http","method":"probed","confidence":0,"product":null,"version":null,"info":null,"hostname":null,"os":null,"device":null,"cpes":[],"rule":null,"tls":null,"http":null,"facts":[]}},"#,
                r#"{"port":40000,"protocol":"tcp","state":"open","reason":"syn-ack","banner":null,"service":null}],"#,
                r#""not_shown":[{"state":"filtered","reason":"no-response","count":1200}],"#,
                r#""started_at":"2023-11-14T22:13:20.123Z","worker":"wrk_a"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn words_of_strangers_stay_ascii_wherever_they_are() {
        let mut host = sample::host();
        host.ports[0].service =
            Some(Service { product: Some("a\u{9b}\u{1f600}\u{7f}b".to_owned()), ..Service::default() });
        assert!(json_line(&host).contains(r#""product":"a\u009b\ud83d\ude00\u007fb""#), "{}", json_line(&host));
    }

    #[test]
    fn a_document_is_whole_with_any_number_of_hosts() {
        for hosts in 0..3 {
            let mut out = Vec::new();
            let mut json = Json::new(&mut out);
            (0..hosts).for_each(|_| json.host(&sample::host()).unwrap());
            json.finish(&Summary { hosts_up: 3, duration: Duration::from_millis(1500), ..Summary::default() }).unwrap();
            let document: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(document["hosts"].as_array().unwrap().len(), hosts);
            assert_eq!(document["summary"]["hosts_up"], json!(3));
            assert_eq!(document["summary"]["duration_seconds"], json!(1.5));
        }
    }

    #[test]
    fn a_time_beyond_every_calendar_is_still_a_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-12-"));
    }

    use std::time::Duration;
}
