//! JSON: one document, or one object per host and line.
//!
//! A document has `scan{version, job, command, started_at, ports}`, `hosts` and `summary`.
//! A host has the fields `address, name, state, reason, ports[{port, protocol, state, reason, banner, service}],
//! not_shown[{state, reason, count}], started_at, worker`, a port with weaknesses `weaknesses`, and an address for which
//! something on the way answers `is_middlebox` and `middlebox_reason`; `service` is [`Service`]; `started_at` is RFC 3339 in UTC. Absent names,
//! banners and services are `null`. Where they are known, a host has `names[{name, source}]`, `mac`, `vendor`, `ttl`, `zone`,
//! `ended_at` and `tcp_scan`; a host that is likely to lack ports has `recall_estimate`, the share that is likely to be here.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

use serde::Serialize;

use super::ascii_json::{printable, write_json};
use super::time::rfc3339;
use super::{ReportMeta, SeverityCounts, Summary, Writer};
use crate::finding::{
    HostName, HostRecord, HostState, MIDDLEBOX_REASON, Mac, NotProbedCounts, NotShown, PortState, Reason, Service,
    TcpScan, Weakness,
};
use crate::port::Protocol;
use crate::recall::MeasuredRecall;

/// Writes `{"scan": {...}, "hosts": [...], "summary": {...}}`.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    begun: bool,
    hosts_written: u64,
}

impl<W: io::Write> Json<W> {
    /// A document on `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false, hosts_written: 0 }
    }
}

impl<W: io::Write> Writer for Json<W> {
    fn begin(&mut self, meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        self.out.write_all(b"{\"scan\":")?;
        write_json(&mut self.out, &MetaView::of(meta))?;
        self.out.write_all(b",\"hosts\":[\n")
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        if self.hosts_written > 0 {
            self.out.write_all(b",\n")?;
        }
        self.hosts_written += 1;
        write_json(&mut self.out, &HostView::of(host))
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
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

    /// A report that is not whole says so in a last line, an object with `summary` and no host.
    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.is_partial() {
            self.out.write_all(b"{\"summary\":")?;
            write_json(&mut self.out, &SummaryView::of(summary))?;
            self.out.write_all(b"}\n")?;
        }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    middlebox_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_scan: Option<TcpScan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<Mac>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<Cow<'a, str>>,
    /// All that it is known by; what a reader of older lines knows is `name`, the target's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<HostName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_estimate: Option<f64>,
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

/// The head of a report, as JSON documents and pages show it.
#[derive(Serialize)]
pub(super) struct MetaView<'a> {
    version: Cow<'a, str>,
    job: Option<Cow<'a, str>>,
    command: Cow<'a, str>,
    started_at: Option<String>,
    ports: String,
}

/// The figures of a report, as JSON documents and pages show them.
#[derive(Serialize)]
pub(super) struct SummaryView<'a> {
    targets_scanned: u64,
    targets_total: u64,
    /// Whether some of the targets were not scanned.
    partial: bool,
    hosts_up: u64,
    open_ports: u64,
    services_detected: u64,
    vulnerabilities: u64,
    weaknesses: SeverityCounts,
    potential: SeverityCounts,
    probes_sent: u64,
    loss_estimate: Option<f64>,
    recall_estimate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_measured: Option<MeasuredRecall>,
    #[serde(skip_serializing_if = "NotProbedCounts::is_empty")]
    not_probed: NotProbedCounts,
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
            service: port.service_or_guess(),
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
            middlebox_reason: host.is_middlebox.then_some(MIDDLEBOX_REASON),
            zone: host.identity.zone.as_deref().map(printable),
            ended_at: (host.ended_at_ms > 0).then(|| rfc3339(host.ended_at_ms)),
            tcp_scan: host.tcp,
            ttl: host.identity.ttl,
            mac: host.identity.mac,
            vendor: host.identity.vendor.as_deref().map(printable),
            names: host.names(),
            recall_estimate: host.recall_estimate(),
        }
    }
}

impl<'a> MetaView<'a> {
    pub(super) fn of(meta: &'a ReportMeta) -> Self {
        Self {
            version: printable(&meta.version),
            job: meta.job.as_deref().map(printable),
            command: printable(&meta.command),
            started_at: meta.started_at_ms.map(rfc3339),
            ports: meta.ports.to_string(),
        }
    }
}

impl<'a> SummaryView<'a> {
    pub(super) fn of(summary: &'a Summary) -> Self {
        Self {
            targets_scanned: summary.targets_scanned,
            targets_total: summary.targets_total,
            partial: summary.is_partial(),
            hosts_up: summary.hosts_up,
            open_ports: summary.open_ports,
            services_detected: summary.services_detected,
            vulnerabilities: summary.vulnerabilities,
            weaknesses: summary.weaknesses,
            potential: summary.potential,
            probes_sent: summary.probes_sent,
            loss_estimate: summary.loss_estimate,
            recall_estimate: summary.recall_estimate,
            recall_measured: summary.recall_measured,
            not_probed: summary.not_probed,
            duration_seconds: summary.duration.as_secs_f64(),
            notes: summary.notes.iter().map(|note| printable(note)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::report::{Format, sample};

    #[test]
    fn a_line_has_exactly_the_promised_fields() {
        assert_eq!(
            sample::report(Format::JsonLines, &[sample::host()], &Summary::default()),
            concat!(
                r#"{"address":"10.0.0.1","name":"evil�[2J�31m.example","state":"up","reason":"syn-ack","ports":["#,
                r#"{"port":22,"protocol":"tcp","state":"open","reason":"syn-ack","banner":"SSH-2.0-x�]0;\"�","service":{"name":"ssh","method":"probed","confidence":0,"product":null,"version":null,"info":null,"hostname":null,"os":null,"device":null,"cpes":[],"rule":null,"tls":null,"http":null,"facts":[]}},"#,
                r#"{"port":80,"protocol":"tcp","state":"closed","reason":"conn-refused","banner":null,"service":{"name":"http","method":"probed","confidence":0,"product":null,"version":null,"info":null,"hostname":null,"os":null,"device":null,"cpes":[],"rule":null,"tls":null,"http":null,"facts":[]}},"#,
                r#"{"port":40000,"protocol":"tcp","state":"open","reason":"syn-ack","banner":null,"service":null}],"#,
                r#""not_shown":[{"state":"filtered","reason":"no-response","count":1200}],"#,
                r#""started_at":"2023-11-14T22:13:20.123Z","worker":"wrk_a","#,
                r#""names":[{"name":"evil�[2J�31m.example","source":"user"}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn lines_that_are_not_all_end_with_one_that_says_so_and_readers_pass_it_over() {
        let partial = Summary { targets_scanned: 1, targets_total: 4, ..Summary::default() };
        let text = sample::report(Format::JsonLines, &[sample::host()], &partial);
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["summary"]["partial"], &last["summary"]["targets_total"]), (&json!(true), &json!(4)));
        let hosts: Vec<_> = crate::report::read_json_lines(text.as_bytes()).collect();
        assert!(hosts.len() == 1 && hosts[0].is_ok(), "{hosts:?}");
        let document = sample::report(Format::Json, &[], &partial);
        assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["summary"]["partial"], json!(true));
    }

    #[test]
    fn words_of_strangers_can_be_seen_wherever_they_are() {
        let mut host = sample::host();
        host.ports[0].service =
            Some(Box::new(Service { product: Some("a\u{9b}\u{1f600}\u{7f}b".to_owned()), ..Service::default() }));
        assert!(json_line(&host).contains(r#""product":"a\u009b😀\u007fb""#), "{}", json_line(&host));
    }

    #[test]
    fn a_document_is_whole_with_any_number_of_hosts() {
        for hosts in 0..3 {
            let summary = Summary { hosts_up: 3, duration: Duration::from_millis(1500), ..Summary::default() };
            let json = sample::report(Format::Json, &vec![sample::host(); hosts], &summary);
            let document: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(document["hosts"].as_array().unwrap().len(), hosts);
            assert_eq!(document["summary"]["hosts_up"], json!(3));
            assert_eq!(document["summary"]["duration_seconds"], json!(1.5));
        }
    }
}
