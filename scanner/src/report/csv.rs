//! Comma-separated values (RFC 4180) for spreadsheets and databases: a header and a row per listed port.
//!
//! A host without a listed port has one row with its port empty, so that no host is missing. Spreadsheets run what
//! begins like a formula, so such a cell gets an apostrophe in front (OWASP, "CSV Injection"): a reader that is no
//! spreadsheet sees the apostrophe. Certificates beyond a server's own, headers and evidence are in the JSON reports.

use std::io;

use super::time::{day, rfc3339};
use super::{ReportMeta, Summary, Writer};
use crate::finding::{HostRecord, PortRecord, ServiceMethod, Severity, TcpScan, plain_text};

/// Names of the columns: only ever added at the end.
const COLUMNS: [&str; 39] = [
    "address",
    "name",
    "port",
    "protocol",
    "state",
    "reason",
    "service",
    "method",
    "confidence",
    "product",
    "version",
    "info",
    "hostname",
    "os",
    "device",
    "cpes",
    "banner",
    "tls_versions",
    "certificate_subject",
    "certificate_expires",
    "tls_problems",
    "http_status",
    "http_title",
    "http_server",
    "severity",
    "weaknesses",
    "potential_weaknesses",
    "middlebox",
    "started_at",
    "worker",
    "ended_at",
    "tcp_scan",
    "ttl",
    "mac",
    "vendor",
    "reverse_dns",
    "names",
    "partial",
    "recall_estimate",
];
/// Where the column is that says what a report lacks.
const PARTIAL: usize = 37;

/// Writes a row per port.
#[derive(Debug)]
pub struct Csv<W> {
    out: W,
    begun: bool,
    /// The row in the making: kept for its memory.
    row: String,
}

impl<W: io::Write> Csv<W> {
    /// Rows on `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false, row: String::new() }
    }

    fn row(&mut self, host: &HostRecord, port: Option<&PortRecord>) -> io::Result<()> {
        self.row.clear();
        let row = &mut self.row;
        cell(row, &host.written_address());
        cell(row, host.name.as_deref().unwrap_or_default());
        match port {
            Some(port) => port_cells(row, port),
            // All the columns of a port.
            None => (2..27).for_each(|_| cell(row, "")),
        }
        cell(row, if host.is_middlebox { "yes" } else { "" });
        cell(row, &rfc3339(host.started_at_ms));
        cell(row, &host.worker);
        cell(row, &if host.ended_at_ms > 0 { rfc3339(host.ended_at_ms) } else { String::new() });
        cell(row, host.tcp.map_or("", |tcp| if tcp == TcpScan::Syn { "syn" } else { "connect" }));
        let identity = &host.identity;
        cell(row, &identity.ttl.map(|ttl| ttl.to_string()).unwrap_or_default());
        cell(row, &identity.mac.map(|mac| mac.to_string()).unwrap_or_default());
        cell(row, identity.vendor.as_deref().unwrap_or_default());
        cell(row, identity.reverse_dns.as_deref().unwrap_or_default());
        let names = host.names().into_iter().map(|one| format!("{}={}", one.source.as_str(), one.name));
        cell(row, &names.collect::<Vec<_>>().join(" "));
        cell(row, "");
        cell(row, &host.recall_estimate().map(|found| found.to_string()).unwrap_or_default());
        self.row.push_str("\r\n");
        self.out.write_all(self.row.as_bytes())
    }
}

impl<W: io::Write> Writer for Csv<W> {
    fn begin(&mut self, _meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        write!(self.out, "{}\r\n", COLUMNS.join(","))
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        if host.ports.is_empty() {
            return self.row(host, None);
        }
        host.ports.iter().try_for_each(|port| self.row(host, Some(port)))
    }

    /// A report that is not whole says so, and why, in rows at its end, of which every other cell is empty.
    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        let remarks = if summary.is_partial() { summary.remarks() } else { Vec::new() };
        for remark in remarks {
            let (before, behind) = (",".repeat(PARTIAL), ",".repeat(COLUMNS.len() - 1 - PARTIAL));
            self.row.clear();
            cell(&mut self.row, &remark);
            write!(self.out, "{before}{}{behind}\r\n", self.row)?;
        }
        self.out.flush()
    }
}

fn port_cells(row: &mut String, port: &PortRecord) {
    cell(row, &port.port.to_string());
    cell(row, &port.protocol.to_string());
    cell(row, &port.state.to_string());
    cell(row, &port.reason.to_string());
    let service = port.service_or_guess();
    cell(row, service.map_or("", |service| &service.name));
    cell(row, service.map_or("", |service| if service.method == ServiceMethod::Probed { "probed" } else { "table" }));
    cell(row, &service.map(|service| service.confidence.to_string()).unwrap_or_default());
    let words = service.map(|of| [&of.product, &of.version, &of.info, &of.hostname, &of.os, &of.device]);
    match words {
        Some(words) => words.into_iter().for_each(|word| cell(row, word.as_deref().unwrap_or_default())),
        None => (0..6).for_each(|_| cell(row, "")),
    }
    cell(row, &service.map(|service| service.cpes.join(" ")).unwrap_or_default());
    cell(row, port.banner.as_deref().unwrap_or_default());
    let tls = service.and_then(|service| service.tls.as_deref());
    let own = tls.and_then(|tls| tls.chain.first());
    cell(row, &tls.map(|tls| tls.versions.join(" ")).unwrap_or_default());
    cell(row, own.map_or("", |certificate| &certificate.subject));
    cell(row, &own.and_then(|own| own.not_after_s).map(day).unwrap_or_default());
    cell(row, &tls.map(|tls| tls.problems.join(" ")).unwrap_or_default());
    let http = service.and_then(|service| service.http.as_deref());
    cell(row, &http.filter(|http| http.status > 0).map(|http| http.status.to_string()).unwrap_or_default());
    cell(row, http.and_then(|http| http.title.as_deref()).unwrap_or_default());
    cell(row, http.and_then(|http| http.server.as_deref()).unwrap_or_default());
    cell(row, port.worst().map_or("", Severity::as_str));
    let ids = |potential: bool| {
        let chosen = port.weaknesses.iter().filter(|weakness| weakness.is_potential() == potential);
        chosen.map(|weakness| weakness.id.as_str()).collect::<Vec<_>>().join(" ")
    };
    cell(row, &ids(false));
    cell(row, &ids(true));
}

/// Appends one cell, with the comma before it.
fn cell(row: &mut String, text: &str) {
    if !row.is_empty() {
        row.push(',');
    }
    let text = plain_text(text);
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/".contains(&byte)) {
        row.push_str(&text);
        return;
    }
    row.push('"');
    // Some programs pass over spaces before they look for a formula; what has no width may be one to them.
    let is_passed_over = |c: char| {
        c.is_whitespace() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
    };
    if text.trim_start_matches(is_passed_over).starts_with(['=', '+', '-', '@', '|', '%']) {
        row.push('\'');
    }
    for c in text.chars() {
        if c == '"' {
            row.push('"');
        }
        row.push(c);
    }
    row.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    fn rows(hosts: &[HostRecord]) -> Vec<Vec<String>> {
        let csv = sample::report(Format::Csv, hosts, &Summary::default());
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_report_without_hosts_is_its_header() {
        assert_eq!(rows(&[]), [COLUMNS.map(str::to_owned)]);
    }

    #[test]
    fn each_port_is_a_row_and_a_host_without_ports_is_one_too() {
        let silent = HostRecord { ports: Vec::new(), ..sample::host() };
        let rows = rows(&[sample::rich_host(), silent]);
        let value =
            |row: usize, column: &str| rows[row][COLUMNS.iter().position(|name| *name == column).unwrap()].as_str();
        assert_eq!(rows.len(), 5);
        assert_eq!((value(1, "address"), value(1, "port"), value(1, "product")), ("10.0.0.2", "22", "OpenSSH"));
        assert_eq!((value(2, "certificate_expires"), value(2, "http_title")), ("2023-12-01", "Gr\u{fc}\u{df}e"));
        assert_eq!((value(3, "severity"), value(3, "weaknesses")), ("high", "PEN-REDIS-NOAUTH PEN-REDIS-OLD"));
        assert_eq!(value(1, "potential_weaknesses"), "CVE-2024-6387");
        assert_eq!((value(4, "address"), value(4, "port"), value(4, "worker")), ("10.0.0.1", "", "wrk_a"));
    }

    #[test]
    fn rows_that_are_not_all_end_with_one_that_says_so() {
        let mut out = Vec::new();
        let mut csv = Csv::new(&mut out);
        let mut host = sample::host();
        host.identity.reverse_dns = Some("r.example".to_owned());
        csv.host(&host).unwrap();
        csv.finish(&Summary { targets_scanned: 1, targets_total: 2, ..Summary::default() }).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let last = rows.last().unwrap();
        assert_eq!((last.len(), &last[PARTIAL]), (39, "partial: 1 of 2 targets was scanned to the end"));
        assert_eq!((COLUMNS[PARTIAL], last.iter().filter(|cell| !cell.is_empty()).count()), ("partial", 1));
        assert!(rows[1][PARTIAL].is_empty());
        assert_eq!(
            (&rows[1][35], &rows[1][36]),
            ("r.example", "user=evil\u{fffd}[2J\u{fffd}31m.example reverse-dns=r.example")
        );
    }

    #[test]
    fn a_host_that_is_likely_to_lack_ports_has_the_share_in_each_of_its_rows() {
        let lossy = HostRecord { likely_found_permille: Some(430), ..sample::host() };
        let rows = rows(&[lossy.clone(), HostRecord { ports: Vec::new(), ..lossy }, sample::host()]);
        let shares: Vec<&str> = rows.iter().map(|row| row.last().unwrap().as_str()).collect();
        let ports = sample::host().ports.len();
        let mut expected = vec!["recall_estimate"];
        expected.extend(std::iter::repeat_n("0.43", ports + 1).chain(std::iter::repeat_n("", ports)));
        assert_eq!(shares, expected);
    }

    #[test]
    fn a_formula_is_text() {
        let mut host = sample::host();
        host.ports.truncate(1);
        for formula in
            ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "=HYPERLINK(\"x\",\"y\")", "\t=1", "\r=1", "|calc", "%0"]
        {
            host.ports[0].banner = Some(formula.to_owned());
            let row = &rows(&[host.clone()])[1];
            let cell = &row[16];
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '%']), "{cell}");
        }
        host.ports[0].banner = Some("\u{feff}\u{200b}=1".to_owned());
        assert_eq!(rows(&[host])[1][16], "'\u{feff}\u{200b}=1");
    }
}
