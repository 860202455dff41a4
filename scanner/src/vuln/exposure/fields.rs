//! What a rule can look at, by name.

use super::Answers;
use crate::finding::{Http, Service, Tls};
use crate::port::Port;

/// Everything that is known of one port when rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The port.
    pub port: Port,
    /// What answers there.
    pub service: &'a Service,
    /// What checks found out.
    pub answers: &'a Answers,
    /// The time: seconds since 1970-01-01T00:00:00Z.
    pub now_s: i64,
}

/// Names of fields that are one word; others are `fact.NAME`, `http.header.NAME`, `check.ID`, `check.ID.CAPTURE`.
pub(super) const FIELDS: [&str; 26] = [
    "service",
    "product",
    "version",
    "info",
    "os",
    "device",
    "hostname",
    "port",
    "tls",
    "tls.versions",
    "tls.problems",
    "tls.cipher",
    "tls.starttls",
    "tls.subject",
    "tls.issuer",
    "tls.key",
    "tls.signature",
    "tls.days-left",
    "tls.renewal",
    "http",
    "http.status",
    "http.title",
    "http.server",
    "http.location",
    "http.generator",
    "http.login",
];

/// Prefixes of fields that are named by who fills them in.
pub(super) const FAMILIES: [&str; 3] = ["fact.", "http.header.", "check."];

impl Seen<'_> {
    /// The values of a field: none where it is not known, several where it is a list.
    #[must_use]
    pub fn values(&self, field: &str) -> Vec<String> {
        let service = self.service;
        let one = |value: &Option<String>| value.iter().cloned().collect();
        if let Some(name) = field.strip_prefix("fact.") {
            return service.facts.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        }
        if let Some(id) = field.strip_prefix("check.") {
            return match id.split_once('.') {
                None => self.answers.get(id).map(|_| "yes".to_owned()).into_iter().collect(),
                Some((id, capture)) => {
                    self.answers.get(id).and_then(|found| found.get(capture)).cloned().into_iter().collect()
                }
            };
        }
        match field {
            "service" => vec![service.name.clone()],
            "product" => one(&service.product),
            "version" => one(&service.version),
            "info" => one(&service.info),
            "os" => one(&service.os),
            "device" => one(&service.device),
            "hostname" => one(&service.hostname),
            "port" => vec![self.port.number.to_string()],
            _ if field == "tls" || field.starts_with("tls.") => {
                service.tls.as_ref().map_or(Vec::new(), |tls| self.of_tls(tls, field))
            }
            _ => service.http.as_ref().map_or(Vec::new(), |http| of_http(http, field)),
        }
    }

    fn of_tls(&self, tls: &Tls, field: &str) -> Vec<String> {
        let own = tls.chain.first();
        let of_own = |value: Option<String>| value.into_iter().collect();
        match field {
            "tls" => vec!["yes".to_owned()],
            "tls.versions" => tls.versions.clone(),
            "tls.problems" => tls.problems.clone(),
            "tls.cipher" => of_own(tls.cipher.clone()),
            "tls.starttls" => of_own(tls.starttls.clone()),
            "tls.subject" => of_own(own.map(|own| own.subject.clone())),
            "tls.issuer" => of_own(own.map(|own| own.issuer.clone())),
            "tls.key" => of_own(own.map(|own| own.key.clone())),
            "tls.signature" => of_own(own.map(|own| own.signature.clone())),
            "tls.days-left" => {
                let end = own.and_then(|own| own.not_after_s);
                of_own(end.map(|end| end.saturating_sub(self.now_s).div_euclid(86_400).to_string()))
            }
            "tls.renewal" => of_own(own.and_then(|own| self.renewal(own.not_before_s, own.not_after_s?))),
            _ => Vec::new(),
        }
    }

    /// Whether a certificate that is valid so long is `due` to be renewed: a third of its life is left. Short ones, of a week or an hour, are
    /// always near their end.
    fn renewal(&self, start: Option<i64>, end: i64) -> Option<String> {
        let life = start.map_or(i64::MAX, |start| end.saturating_sub(start));
        let is_due = end.saturating_sub(self.now_s) < life / 3;
        Some(if is_due { "due" } else { "later" }.to_owned())
    }
}

fn of_http(http: &Http, field: &str) -> Vec<String> {
    let one = |value: &Option<String>| value.iter().cloned().collect();
    match field {
        "http" => vec!["yes".to_owned()],
        "http.status" => (http.status > 0).then(|| http.status.to_string()).into_iter().collect(),
        "http.title" => one(&http.title),
        "http.server" => one(&http.server),
        "http.location" => one(&http.location),
        "http.generator" => one(&http.generator),
        "http.login" => vec![if http.is_login { "yes" } else { "no" }.to_owned()],
        _ => {
            let name = field.strip_prefix("http.header.").unwrap_or_default();
            http.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
        }
    }
}
