//! OpenVEX 0.2.0: each weakness as a statement that a person can answer.
//!
//! `docs/decisions/0007-openvex-for-triage.md` says why this and not CycloneDX. A product is the place where it answers
//! (`tcp://10.0.0.1:22`), with what answers there as its subcomponent. A weakness that is sure enough is `affected`, with
//! its remedy as the action; a potential one is `under_investigation`. Statements are the scanner's view; `fixed` and
//! `not_affected` are for people to say.

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ascii_json::{printable, with, write_json};
use super::sarif::endpoint;
use super::time::rfc3339;
use super::xml::cpe_uri;
use super::{ReportMeta, Summary, Writer};
use crate::finding::{HostRecord, PortRecord, Weakness};

/// Writes one OpenVEX document.
#[derive(Debug)]
pub struct Vex<W> {
    out: W,
    begun: bool,
    id: String,
    /// What made it.
    tooling: String,
    /// When the scan began, or else the latest beginning of a host's unit: milliseconds since 1970.
    time_ms: u64,
    is_time_known: bool,
    statements_written: u64,
}

impl<W: io::Write> Vex<W> {
    /// A document on `out`.
    pub fn new(out: W) -> Self {
        let (id, tooling) = (String::new(), String::new());
        Self { out, begun: false, id, tooling, time_ms: 0, is_time_known: false, statements_written: 0 }
    }

    fn statement(&mut self, host: &HostRecord, port: &PortRecord, weakness: &Weakness) -> io::Result<()> {
        self.out.write_all(if self.statements_written == 0 { b"\n" } else { b",\n" })?;
        self.statements_written += 1;
        // The number keeps statements apart when one address is in a report under two names.
        let id = format!("{}#{}", self.id, self.statements_written);
        write_json(&mut self.out, &statement(&id, host, port, weakness))
    }
}

impl<W: io::Write> Writer for Vex<W> {
    fn begin(&mut self, meta: &ReportMeta) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        self.id = document_id(meta);
        self.is_time_known = meta.started_at_ms.is_some();
        self.time_ms = meta.started_at_ms.unwrap_or_default();
        self.out.write_all(b"{\"@context\":\"https://openvex.dev/ns/v0.2.0\",\"@id\":")?;
        write_json(&mut self.out, &self.id)?;
        self.tooling = format!("pentora {}", printable(&meta.version));
        self.out.write_all(b",\"author\":\"Pentora\",\"role\":\"Scanner\",\"version\":1,\"statements\":[")
    }

    fn host(&mut self, host: &HostRecord) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        if !self.is_time_known {
            self.time_ms = self.time_ms.max(host.started_at_ms);
        }
        for port in &host.ports {
            port.weaknesses.iter().try_for_each(|weakness| self.statement(host, port, weakness))?;
        }
        Ok(())
    }

    /// The schema has no other place for a word on the whole document than what made it.
    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.begin(&ReportMeta::default())?;
        self.out.write_all(b"\n],\"timestamp\":")?;
        write_json(&mut self.out, &rfc3339(self.time_ms))?;
        self.out.write_all(b",\"tooling\":")?;
        let told = std::iter::once(self.tooling.clone()).chain(summary.remarks());
        write_json(&mut self.out, &printable(&told.collect::<Vec<_>>().join("; ")))?;
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

fn statement(id: &str, host: &HostRecord, port: &PortRecord, weakness: &Weakness) -> Value {
    let cpes = port.service.iter().flat_map(|service| &service.cpes).filter_map(|name| cpe_uri(name));
    // A set, because the schema wants each one once.
    let parts: Vec<Value> = cpes.collect::<BTreeSet<_>>().into_iter().map(|uri| json!({ "@id": uri })).collect();
    let parts = Some(parts).filter(|parts| !parts.is_empty()).map(Value::Array);
    let product = with(json!({ "@id": endpoint(host.address, port) }), "subcomponents", parts);
    let name = host.name.as_deref().map(|name| format!(" of {}", printable(name))).unwrap_or_default();
    let statement = json!({
        "@id": id,
        "vulnerability": { "name": printable(&weakness.id), "description": printable(&weakness.title) },
        "products": [product],
        "timestamp": rfc3339(host.started_at_ms),
        "status": if weakness.is_potential() { "under_investigation" } else { "affected" },
        "status_notes": format!(
            "severity {}, confidence {} of 100 by {}, port {}/{}{name}; seen: {}",
            weakness.severity,
            weakness.confidence,
            printable(&weakness.method),
            port.port,
            port.protocol,
            printable(&weakness.evidence),
        ),
    });
    // The schema wants an action for what is affected, and only for that.
    let remedy = if weakness.remedy.trim().is_empty() { "No remedy is known." } else { &weakness.remedy };
    let action = Some(json!(printable(remedy))).filter(|_| !weakness.is_potential());
    with(statement, "action_statement", action)
}

/// A name for the document, the same for the same scan: a UUID of version 8 (RFC 9562) from what is known of it.
fn document_id(meta: &ReportMeta) -> String {
    let mut hash = Sha256::new();
    for part in [meta.job.as_deref().unwrap_or_default(), &meta.command, &meta.version] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(meta.started_at_ms.unwrap_or_default().to_be_bytes());
    let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, sample};

    fn render(hosts: &[HostRecord]) -> Value {
        serde_json::from_str(&sample::report(Format::Vex, hosts, &Summary::default())).unwrap()
    }

    #[test]
    fn sure_weaknesses_ask_for_action_and_potential_ones_for_a_look() {
        let document = render(&[sample::rich_host(), sample::host()]);
        let statements = document["statements"].as_array().unwrap();
        assert_eq!(statements.len(), 3);
        assert_eq!(statements[0]["status"], json!("under_investigation"));
        assert_eq!(statements[0]["products"][0]["@id"], json!("tcp://10.0.0.2:22"));
        let part = &statements[0]["products"][0]["subcomponents"][0]["@id"];
        assert_eq!(part, &json!("cpe:/a:openbsd:openssh:9.2:p1"));
        assert_eq!(statements[1]["status"], json!("affected"));
        assert_eq!(statements[1]["action_statement"], json!("Set a password."));
    }

    #[test]
    fn a_document_of_a_scan_that_is_not_whole_says_so() {
        let part = Summary { targets_scanned: 1, targets_total: 2, ..Summary::default() };
        let told: Value = serde_json::from_str(&sample::report(Format::Vex, &[sample::host()], &part)).unwrap();
        let tooling = told["tooling"].as_str().unwrap();
        assert!(tooling.ends_with("; partial: 1 of 2 targets was scanned to the end"), "{tooling}");
        assert!(!render(&[])["tooling"].as_str().unwrap().contains("partial"));
    }

    #[test]
    fn a_document_is_named_after_its_scan() {
        let meta = ReportMeta { job: Some("job-1".to_owned()), ..ReportMeta::default() };
        assert_eq!(document_id(&meta), document_id(&meta.clone()));
        assert_ne!(document_id(&meta), document_id(&ReportMeta::default()));
        assert_eq!(document_id(&meta).len(), "urn:uuid:".len() + 36);
        assert_eq!(render(&[])["statements"], json!([]));
    }
}
