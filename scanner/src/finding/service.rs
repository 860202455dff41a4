//! What a port was found to be: service, product, version, and what TLS and HTTP told on the way.
//!
//! Every word here came from a stranger. Whoever fills these in makes them printable and bounds them; writers escape
//! them once more. Serialised by position in chunks and by name in documents: fields are only ever added at the end.

use serde::{Deserialize, Serialize};

/// What is known of the service behind a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// The service's usual short name, such as `ssh` or `http`.
    pub name: String,
    /// How the name is known.
    pub method: ServiceMethod,
    /// How sure this is, 0 to 100.
    pub confidence: u8,
    /// The program that answers, such as `OpenSSH`.
    pub product: Option<String>,
    /// Its version, as it gave it.
    pub version: Option<String>,
    /// What else it told, such as a distribution's package revision.
    pub info: Option<String>,
    /// The host name that it gives itself.
    pub hostname: Option<String>,
    /// The operating system that the answer speaks for.
    pub os: Option<String>,
    /// The kind of device that the answer speaks for, such as `printer`.
    pub device: Option<String>,
    /// CPE 2.3 names (formatted strings) of product and system.
    pub cpes: Vec<String>,
    /// The rule that matched, for whoever doubts it.
    pub rule: Option<String>,
    /// What its TLS told; `None` where it speaks in the clear.
    pub tls: Option<Box<Tls>>,
    /// What its HTTP told.
    pub http: Option<Box<Http>>,
    /// Further facts by name, such as `auth: none`, in the order in which they were learnt.
    pub facts: Vec<(String, String)>,
}

/// The fact that has a version with all that was told in one word with it, where that is more: `9.16.23-RH`, `8.0.35-google`. Who has built a
/// program stands there, whatever a rule takes of it.
pub const FACT_VERSION_TOLD: &str = "version-told";

/// How a service's name is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceMethod {
    /// From the port's number alone: a guess.
    #[default]
    Table,
    /// From what the port answered.
    Probed,
}

/// What a TLS handshake told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Protocol versions that it accepts, such as `TLSv1.2`, oldest first.
    pub versions: Vec<String>,
    /// The cipher suite that it chose, by its IANA name.
    pub cipher: Option<String>,
    /// The application protocol that it chose (RFC 7301).
    pub alpn: Option<String>,
    /// How TLS begins: at once, or after a command of the protocol such as `STARTTLS`.
    pub starttls: Option<String>,
    /// The certificates it showed, its own first.
    pub chain: Vec<Certificate>,
    /// What is wrong with its own certificate, in stable words: `self-signed`, `expired`, `not-yet-valid`,
    /// `name-mismatch`, `weak-key`, `weak-signature`, `incomplete-chain`, `too-long` (only its front was read),
    /// `odd-dates` (one of its dates is none).
    pub problems: Vec<String>,
}

/// One X.509 certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Distinguished name of its subject.
    pub subject: String,
    /// Distinguished name of its issuer.
    pub issuer: String,
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// Valid from: seconds since 1970-01-01T00:00:00Z; `None` where what stands there is no date.
    pub not_before_s: Option<i64>,
    /// Valid until, in the same way.
    pub not_after_s: Option<i64>,
    /// Its key, such as `RSA 2048` or `EC P-256`.
    pub key: String,
    /// The algorithm of its signature, such as `sha256WithRSAEncryption`.
    pub signature: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of the whole certificate, in hexadecimal.
    pub sha256: String,
}

/// What an HTTP server told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Status of the first answer; 0 where it came without one, as HTTP/0.9 sent pages.
    pub status: u16,
    /// Title of the page that redirects on the same host led to.
    pub title: Option<String>,
    /// The `Server` header.
    pub server: Option<String>,
    /// Where the answer redirects to, followed or not.
    pub location: Option<String>,
    /// What made the page, by its own word (`X-Powered-By`, `<meta name="generator">`).
    pub generator: Option<String>,
    /// MurmurHash3 of the favicon's base64, as other inventories index it.
    pub favicon: Option<i32>,
    /// Whether the page asks for a login.
    pub is_login: bool,
    /// Headers worth keeping, by lower-case name.
    pub headers: Vec<(String, String)>,
}
