//! SARIF 2.1.0 (OASIS): weaknesses as results, for code scanning, trackers and dashboards.
//!
//! Hosts without weaknesses do not appear. A place on a network is a logical location (section 3.33) and, since many
//! readers want one, an artifact whose URI is `tcp://10.0.0.1:6379`. A potential weakness is of kind `review`, for which
//! the standard wants level `none`; readers that count levels leave it out. Results come first and the rules that they
//! name at the end, so that the document streams; of more rules than [`RULES_MAX`] only the ids are in it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::ascii_json::{printable, with, write_json};
use super::time::rfc3339;
use super::{ReportMeta, Summary, Writer};
use crate::finding::{HostRecord, PortRecord, Severity, Weakness};

/// Most rules that are described: bounds memory, and more than advisories apply to one network.
const RULES_MAX: usize = 20_000;
/// Most characters kept of a rule's texts: titles and remedies are a line or a few.
const TEXT_CHARS_MAX: usize = 1_000;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Writes one run.
#[derive(Debug)]
pub struct Sarif<W> {
    out: W,
    begun: bool,
    results_written: u64,
    meta: ReportMeta,
    rules: BTreeMap<String, Rule>,
}

#[derive(Debug)]
struct Rule {
    title: String,
    remedy: String,
    severity: Severity,
    reference: Option<String>,
}

impl<W: io::Write> Sarif<W> {
    /// A document on `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false, results_written: 0, meta: ReportMeta::default(), rules: BTreeMap::new() }
    }

    fn result(&mut self, host: &HostRecord, port: &PortRecord, weakness: &Weakness) -> io::Result<()> {
        self.out.write_all(if self.results_written == 0 { b"\n" } else { b",\n" })?;
        self.results_written += 1;
        self.remember(weakness);
        write_json(&mut self.out, &result(host, port, weakness))
    }

    fn remember(&mut self, weakness: &Weakness) {
        if self.rules.len() >= RULES_MAX || self.rules.contains_key(&weakness.id) {
            return;
        }
        let cut = |text: &str| printable(text).chars().take(TEXT_CHARS_MAX).collect::<String>();
        let reference = weakness.references.iter().find(|url| is_web(url));
        let rule = Rule {
            title: cut(&weakness.title),
            remedy: cut(&weakness.remedy),
            severity: weakness.severity,
            reference: reference.map(|url| cut(url)),
        };
        self.rules.insert(weakness.id.clone(), rule);
    }

    fn invocation(&self, summary: &Summary) -> Value {
        let elapsed = u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX);
        let start = self.meta.started_at_ms;
        let note = |note: &String| json!({ "level": "warning", "message": { "text": printable(note) } });
        let invocation = json!({
            "executionSuccessful": summary.targets_scanned >= summary.targets_total,
            "toolExecutionNotifications": summary.remarks().iter().map(note).collect::<Value>(),
        });
        let measured = summary.recall_measured.map(|measured| json!({ "recall": measured }));
        let invocation = with(invocation, "properties", measured);
        let command = Some(&self.meta.command).filter(|command| !command.is_empty());
        let invocation = with(invocation, "commandLine", command.map(|command| json!(printable(command))));
        let invocation = with(invocation, "startTimeUtc", start.map(|start| json!(rfc3339(start))));
        with(invocation, "endTimeUtc", start.map(|start| json!(rfc3339(start.saturating_add(elapsed)))))
    }
}

impl<W: io::Write> Writer for Sarif<W> {
    fn begin(&mut self, meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        self.meta = meta.clone();
        write!(self.out, r#"{{"$schema":"{SCHEMA}","version":"2.1.0","runs":[{{"results":["#)
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        for port in &host.ports {
            port.weaknesses.iter().try_for_each(|weakness| self.result(host, port, weakness))?;
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        self.out.write_all(b"\n],\"invocations\":[")?;
        let invocation = self.invocation(summary);
        write_json(&mut self.out, &invocation)?;
        write!(self.out, r#"],"tool":{{"driver":{{"name":"Pentora","informationUri":"{REPOSITORY}","version":"#)?;
        write_json(&mut self.out, &printable(&self.meta.version))?;
        self.out.write_all(b",\"rules\":[")?;
        for (index, (id, rule)) in self.rules.iter().enumerate() {
            self.out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
            write_json(&mut self.out, &rule.describe(id))?;
        }
        self.out.write_all(b"\n]}}}]}\n")?;
        self.out.flush()
    }
}

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

impl Rule {
    fn describe(&self, id: &str) -> Value {
        let rule = json!({
            "id": printable(id),
            "shortDescription": { "text": text(&self.title, id) },
            "defaultConfiguration": { "level": level(self.severity) },
            "properties": { "security-severity": band(self.severity), "tags": ["security"] },
        });
        let remedy = Some(&self.remedy).filter(|remedy| !remedy.is_empty());
        let rule = with(rule, "help", remedy.map(|remedy| json!({ "text": remedy })));
        with(rule, "helpUri", self.reference.as_ref().map(|reference| json!(reference)))
    }
}

fn result(host: &HostRecord, port: &PortRecord, weakness: &Weakness) -> Value {
    let place = format!("{} {}/{}", host.written_address(), port.port, port.protocol);
    let potential = if weakness.is_potential() { "Potential: " } else { "" };
    let title = text(&weakness.title, &weakness.id);
    let mut evidence = printable(&weakness.evidence).into_owned();
    if !evidence.is_empty() {
        let end = if evidence.ends_with('.') { "" } else { "." };
        evidence = format!(" Seen: {evidence}{end}");
    }
    let logical = json!({
        "name": format!("{}/{}", port.port, port.protocol),
        "fullyQualifiedName": place,
        "kind": "resource",
    });
    json!({
        "ruleId": printable(&weakness.id),
        "kind": if weakness.is_potential() { "review" } else { "fail" },
        "level": if weakness.is_potential() { "none" } else { level(weakness.severity) },
        "message": { "text": format!("{potential}{title} ({place}).{evidence}") },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": endpoint(host.address, port) },
                "region": { "startLine": 1 },
            },
            "logicalLocations": [logical],
        }],
        "partialFingerprints": { "pentora/finding/v1": format!("{place} {}", printable(&weakness.id)) },
        "properties": {
            "severity": weakness.severity,
            "confidence": weakness.confidence,
            "method": printable(&weakness.method),
            "hostName": host.name.as_deref().map(printable),
            "seenAt": rfc3339(host.started_at_ms),
            "worker": printable(&host.worker),
        },
    })
}

/// `tcp://10.0.0.1:6379`, `tcp://[::1]:6379`.
pub(super) fn endpoint(address: IpAddr, port: &PortRecord) -> String {
    format!("{}://{}", port.protocol, std::net::SocketAddr::new(address, port.port))
}

/// `text`, or `or` where it says nothing: the standard wants some text.
fn text(text: &str, or: &str) -> String {
    printable(if text.trim().is_empty() { or } else { text }).into_owned()
}

/// Whether a reference can be a `helpUri`: the web only, and none of the characters that no URI holds (RFC 3986).
fn is_web(url: &str) -> bool {
    let known = url.starts_with("https://") || url.starts_with("http://");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=".contains(&byte);
    known && url.len() <= TEXT_CHARS_MAX && url.bytes().all(plain) && url.matches('#').count() <= 1
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// The number by which code scanning sorts results into its own bands: the lower end of the band of the same name in
/// CVSS 3.1 (section 5). It stands for the word, not for a score that anyone computed.
fn band(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.0",
        Severity::High => "7.0",
        Severity::Medium => "4.0",
        Severity::Low => "0.1",
        Severity::Info => "0.0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    fn render(hosts: &[HostRecord], summary: &Summary) -> Value {
        serde_json::from_str(&sample::report(Format::Sarif, hosts, summary)).unwrap()
    }

    #[test]
    fn weaknesses_are_results_and_their_rules_are_described_once() {
        let document = render(&[sample::host(), sample::rich_host(), sample::rich_host()], &Summary::default());
        let run = &document["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 6);
        assert_eq!((&results[0]["kind"], &results[0]["level"]), (&json!("review"), &json!("none")));
        assert_eq!(results[1]["level"], json!("error"));
        assert_eq!(results[1]["message"]["text"], json!("Redis lets anyone in (10.0.0.2 6379/tcp). Seen: +PONG."));
        let location = &results[1]["locations"][0];
        assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], json!("tcp://10.0.0.2:6379"));
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["CVE-2024-6387", "PEN-REDIS-NOAUTH", "PEN-REDIS-OLD"]);
        assert_eq!(rules[1]["helpUri"], json!("https://example.org/a?b=1&c=2"));
    }

    #[test]
    fn a_scan_that_found_nothing_or_was_cut_short_says_so() {
        let summary = Summary {
            targets_scanned: 1,
            targets_total: 2,
            notes: vec!["a unit failed".to_owned()],
            ..Summary::default()
        };
        let document = render(&[], &summary);
        let run = &document["runs"][0];
        assert_eq!(run["results"], json!([]));
        assert_eq!(run["invocations"][0]["executionSuccessful"], json!(false));
        let told = &run["invocations"][0]["toolExecutionNotifications"];
        assert_eq!(told[0]["message"]["text"], json!("partial: 1 of 2 targets was scanned to the end"));
        assert_eq!(told[1]["message"]["text"], json!("a unit failed"));
    }

    #[test]
    fn only_the_web_is_linked() {
        assert!(is_web("https://example.org/a?b=1#c"));
        for url in ["javascript:alert(1)", "https://a b", "https://a\u{202e}", "file:///etc/passwd", "https://a#b#c"] {
            assert!(!is_web(url), "{url}");
        }
    }
}
