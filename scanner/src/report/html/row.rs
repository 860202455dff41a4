//! A host as the page's script reads it: short keys, and nothing that is empty, since a page may hold 100,000 of them.
//!
//! This form is between this file and `report.js` of the same build; whoever wants data takes a JSON report.

use serde::Serialize;

use crate::finding::{
    Certificate, HostRecord, Http, Mac, NameSource, NotShown, PortRecord, PortState, Reason, Service, ServiceMethod,
    Severity, Tls, Weakness,
};
use crate::port::Protocol;

#[derive(Serialize)]
pub(super) struct HostRow<'a> {
    a: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<&'a str>,
    r: Reason,
    /// When its unit began: seconds since 1970.
    t: u64,
    w: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    m: bool,
    /// The share of its ports that answer which is likely to be here, where it is likely to lack some.
    #[serde(skip_serializing_if = "Option::is_none")]
    f: Option<f64>,
    /// That it fell silent in the middle, or that some of its ports are redirected: a word, and a sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    k: Vec<(&'static str, String)>,
    /// Hardware address and vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    h: Option<(Mac, Option<&'a str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<u8>,
    /// Names from elsewhere than the user, with who says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    d: Vec<(String, &'static str)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    x: Vec<(PortState, Reason, u32)>,
    p: Vec<PortRow<'a>>,
}

#[derive(Serialize)]
struct PortRow<'a> {
    p: u16,
    t: Protocol,
    s: PortState,
    r: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<ServiceRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    w: Vec<WeaknessRow<'a>>,
}

#[derive(Serialize)]
struct ServiceRow<'a> {
    name: &'a str,
    /// Only a guess from the port's number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guess: bool,
    confidence: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cpes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<&'a Http>,
    #[serde(skip_serializing_if = "<[(String, String)]>::is_empty")]
    facts: &'a [(String, String)],
}

#[derive(Serialize)]
struct TlsRow<'a> {
    versions: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starttls: Option<&'a str>,
    /// Its own certificate; the others of the chain are in the JSON reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    own: Option<&'a Certificate>,
    problems: &'a [String],
}

#[derive(Serialize)]
struct WeaknessRow<'a> {
    id: &'a str,
    title: &'a str,
    severity: Severity,
    confidence: u8,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    potential: bool,
    method: &'a str,
    evidence: &'a str,
    remedy: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    references: &'a [String],
}

impl<'a> HostRow<'a> {
    pub(super) fn of(host: &'a HostRecord) -> Self {
        let names = host.names().into_iter().filter(|one| one.source != NameSource::User);
        let counted = |group: &NotShown| (group.state, group.reason, group.count);
        Self {
            a: host.written_address(),
            n: host.name.as_deref(),
            r: host.reason,
            t: host.started_at_ms / 1000,
            w: &host.worker,
            m: host.is_middlebox,
            f: host.recall_estimate(),
            k: host.marks(),
            h: host.identity.mac.map(|mac| (mac, host.identity.vendor.as_deref())),
            l: host.identity.ttl,
            d: names.map(|one| (one.name, one.source.as_str())).collect(),
            x: host.not_shown.iter().map(counted).collect(),
            p: host.ports.iter().map(PortRow::of).collect(),
        }
    }
}

impl<'a> PortRow<'a> {
    fn of(port: &'a PortRecord) -> Self {
        Self {
            p: port.port,
            t: port.protocol,
            s: port.state,
            r: port.reason,
            b: port.banner.as_deref(),
            v: port.service_or_guess().map(ServiceRow::of),
            w: port.weaknesses.iter().map(WeaknessRow::of).collect(),
        }
    }
}

impl<'a> ServiceRow<'a> {
    fn of(service: &'a Service) -> Self {
        Self {
            name: &service.name,
            guess: service.method == ServiceMethod::Table,
            confidence: service.confidence,
            product: service.product.as_deref(),
            version: service.version.as_deref(),
            info: service.info.as_deref(),
            hostname: service.hostname.as_deref(),
            os: service.os.as_deref(),
            device: service.device.as_deref(),
            cpes: &service.cpes,
            tls: service.tls.as_deref().map(TlsRow::of),
            http: service.http.as_deref(),
            facts: &service.facts,
        }
    }
}

impl<'a> TlsRow<'a> {
    fn of(tls: &'a Tls) -> Self {
        Self {
            versions: &tls.versions,
            cipher: tls.cipher.as_deref(),
            starttls: tls.starttls.as_deref(),
            own: tls.chain.first(),
            problems: &tls.problems,
        }
    }
}

impl<'a> WeaknessRow<'a> {
    fn of(weakness: &'a Weakness) -> Self {
        Self {
            id: &weakness.id,
            title: &weakness.title,
            severity: weakness.severity,
            confidence: weakness.confidence,
            potential: weakness.is_potential(),
            method: &weakness.method,
            evidence: &weakness.evidence,
            remedy: &weakness.remedy,
            references: &weakness.references,
        }
    }
}
