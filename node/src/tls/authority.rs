//! The cluster's own certificate authority: made once, its key known to members alone, the certificates of all nodes' APIs of
//! its signing.
//!
//! Its key goes through the log, sealed with what members have and nobody else has together: the log, and the mesh's
//! pre-shared key. Nodes that only scan and holders of join tokens have that key and not the log; whoever gets hold of a backup has
//! the log and not that key (decision 0062).
//!
//! A member's certificate bears a name of its own beside those that it is reached under, by which a client that was told the
//! authority's fingerprint knows it wherever it is reached. A node that only scans never gets that name.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use ring::hkdf;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Fingerprint;
use super::sealing::{Sealed, Sealing};

/// What a member's certificate names beside its addresses. `.internal` is nobody's on the Internet (ICANN, 2024), so no public
/// authority signs for it.
pub(super) const MEMBER_NAME: &str = "member.pentora.internal";
/// What the name of each authority begins with.
const COMMON_NAME: &str = "Pentora cluster ";
/// How long an authority holds, in days. Ours: longer than any cluster was heard of; there is no other to go on with yet.
const AUTHORITY_DAYS: i64 = 20 * 365;
/// How long a node's certificate holds, in days, and how long before its end it is renewed.
const LEAF_DAYS: i64 = 30;
const RENEW_DAYS: i64 = 10;
/// Days before now from which certificates hold: clocks differ, by a time zone where somebody set them by hand.
const BEFORE_DAYS: i64 = 1;
/// The salt of secrets that are made of an authority's key, so that it is used for nothing else in the same way.
const DERIVED: &[u8] = b"pentora authority secret 1";
/// Names that one certificate may bear. Ours: a node has a handful of addresses, and containers' hosts have dozens.
const NAMES_MAX: usize = 100;
/// A public key on P-256, uncompressed (SEC 1 section 2.3.3).
const POINT_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 4;

/// The cluster's authority, with its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: rcgen::Certificate,
    key: KeyPair,
}

/// Why an authority cannot sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It was sealed with another pre-shared key, or damaged.
    #[error("the authority's key does not open with this mesh's pre-shared key")]
    Sealed,
    /// The key is another authority's.
    #[error("the authority's key is not that of its certificate")]
    Mismatch,
    /// A name or a key that no certificate can bear.
    #[error("no certificate can be made of this: {0}")]
    Unfit(String),
    /// Nobody believes what it signs any more.
    #[error(
        "the cluster's authority has ended, and nobody believes what it signs: begin a new cluster with a backup, or give this node a \
         certificate (server.api.tls.cert and server.api.tls.key)"
    )]
    Ended,
}

/// A node's certificate as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the node is called, for people.
    pub node: String,
    /// Names and addresses under which it is reached.
    pub hosts: Vec<String>,
    /// Whether it is a member.
    pub is_member: bool,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

/// A node's public key.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// A new one, with a random key; `now_s` in seconds of Unix time.
    ///
    /// # Errors
    /// [`AuthorityError::Unfit`].
    pub fn make(cluster: &[u8; 16], now_s: i64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(unfit)?;
        let issuer = authority_params(cluster, now_s)?.self_signed(&key).map_err(unfit)?;
        Ok(Self { certificate: issuer.der().clone(), issuer, key })
    }

    /// The one with this certificate, whose key was sealed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(certificate: &[u8], sealed: &[u8], sealing: Sealing<'_>) -> Result<Self, AuthorityError> {
        let pkcs8 = sealing.open(Sealed::Authority, certificate, sealed).ok_or(AuthorityError::Sealed)?;
        let key = KeyPair::try_from(pkcs8.as_slice()).map_err(|_damaged| AuthorityError::Sealed)?;
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_damaged| AuthorityError::Mismatch)?;
        if parsed.public_key().raw != key.public_key_der() {
            return Err(AuthorityError::Mismatch);
        }
        // Only its name and its key are of use for signing; dates of another day change neither.
        let issuer = authority_params(sealing.cluster, 0)?.self_signed(&key).map_err(unfit)?;
        Ok(Self { certificate: CertificateDer::from(certificate.to_vec()), issuer, key })
    }

    /// Its key, for whoever has what it is sealed with.
    ///
    /// # Errors
    /// [`AuthorityError::Unfit`] where ring does not seal.
    pub fn seal(&self, sealing: Sealing<'_>) -> Result<Vec<u8>, AuthorityError> {
        let unfit = || AuthorityError::Unfit("the key".to_owned());
        sealing.seal(Sealed::Authority, self.certificate(), &self.key.serialize_der()).ok_or_else(unfit)
    }

    /// A secret for something else than signing, which is made of the authority's key: every member has it without a word, and it
    /// is the same for as long as the authority is.
    #[must_use]
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        derived(&self.key.serialize_der(), purpose)
    }

    /// Its certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// How long it holds from then on, in seconds; nothing left where it has ended.
    #[must_use]
    pub fn left_s(&self, now_s: i64) -> i64 {
        X509Certificate::from_der(&self.certificate).map_or(0, |(_, certificate)| left_s(&certificate, now_s))
    }

    /// What it is known by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A certificate for a node's public key, as a point on P-256, with the authority's own behind it.
    ///
    /// # Errors
    /// [`AuthorityError::Unfit`], or [`AuthorityError::Ended`].
    pub fn sign(&self, point: &[u8], wanted: &Wanted, now_s: i64) -> Result<Vec<Vec<u8>>, AuthorityError> {
        if point.len() != POINT_BYTES || point.first() != Some(&UNCOMPRESSED) {
            return Err(AuthorityError::Unfit("a key that is not on P-256".to_owned()));
        }
        if self.left_s(now_s) <= 0 {
            return Err(AuthorityError::Ended);
        }
        let member = wanted.is_member.then(|| MEMBER_NAME.to_owned());
        let hosts =
            wanted.hosts.iter().filter(|host| !host.eq_ignore_ascii_case(MEMBER_NAME) && is_host(host)).cloned();
        let names: Vec<String> = member.into_iter().chain(hosts).take(NAMES_MAX).collect();
        let mut params = CertificateParams::new(names).map_err(unfit)?;
        params.distinguished_name.push(DnType::CommonName, wanted.node.as_str());
        hold(&mut params, now_s, LEAF_DAYS)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&Point(point), &self.issuer, &self.key).map_err(unfit)?;
        Ok(vec![leaf.der().to_vec(), self.certificate.to_vec()])
    }
}

/// A secret of a key, as PKCS #8, for one purpose (HKDF-SHA-256, RFC 5869). What was made for one is of no use for another, and
/// tells nothing of the key.
fn derived(pkcs8: &[u8], purpose: &str) -> [u8; 32] {
    let mut secret = [0; 32];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVED).extract(pkcs8);
    let made = key.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256).and_then(|made| made.fill(&mut secret));
    made.expect("as many bytes as the hash has");
    secret
}

/// Whether a certificate is to be renewed, of which this is the DER; one that does not read is, and one that does not hold yet: it was
/// signed by a clock that was ahead, and would be of no use until then.
#[must_use]
pub(super) fn is_due(der: &[u8], now_s: i64) -> bool {
    X509Certificate::from_der(der).map_or(true, |(_, certificate)| {
        left_s(&certificate, now_s) < RENEW_DAYS * DAY_S || now_s < certificate.validity().not_before.timestamp()
    })
}

fn left_s(certificate: &X509Certificate<'_>, now_s: i64) -> i64 {
    certificate.validity().not_after.timestamp().saturating_sub(now_s)
}

/// Whether a certificate is a cluster's authority by its name: an authority of somebody else's may sign what it likes.
pub(super) fn is_authority(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        name.is_some_and(|name| name.starts_with(COMMON_NAME))
    })
}

/// Whether a certificate is one that may sign others (RFC 5280 section 4.2.1.9).
pub(super) fn may_sign(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// Whether a certificate can bear this: an address, or a DNS name (RFC 1123 section 2.1).
#[must_use]
pub fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let looks_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && !looks_numeric && text.split('.').all(label))
}

const DAY_S: i64 = 86_400;

fn authority_params(cluster: &[u8; 16], now_s: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(unfit)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{COMMON_NAME}{}", hex::encode(cluster)));
    hold(&mut params, now_s, AUTHORITY_DAYS)?;
    // It signs nodes, and no authority below it.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

/// Sets from when to when a certificate holds: from the beginning of a day to that of another.
fn hold(params: &mut CertificateParams, now_s: i64, days: i64) -> Result<(), AuthorityError> {
    let day = |days: i64| -> Result<_, AuthorityError> {
        let at = jiff::Timestamp::from_second(now_s.saturating_add(days * DAY_S));
        let date =
            at.map_err(|error| AuthorityError::Unfit(error.to_string()))?.to_zoned(jiff::tz::TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        Ok(rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day())))
    };
    (params.not_before, params.not_after) = (day(-BEFORE_DAYS)?, day(days)?);
    Ok(())
}

fn unfit(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Unfit(error.to_string())
}

#[cfg(test)]
#[path = "authority_test.rs"]
mod tests;
