//! What an X.509 certificate says, and what is wrong with it. Pure: the caller says what time it is.
//!
//! Nothing is verified against a store of roots: inside a company most certificates come from an issuer that no store
//! knows, and that is no weakness. What can be told from the chain alone is told.

mod dates;
mod front;
mod issuer;
mod names;

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey;

use crate::finding::{Certificate, plain_text_of};

/// Longest certificate that is read; ordinary ones have one to five kilobytes.
pub(super) const DER_BYTES_MAX: usize = 64 * 1024;
/// Most names of one certificate that are kept; content networks put a few hundred into one.
const NAMES_MAX: usize = 256;
/// Longest text that is kept of any field.
const TEXT_MAX: usize = 512;
/// Shortest RSA key that is not called weak (NIST SP 800-131A), in bytes: some makers' keys of 2048 bits begin with zeros.
const RSA_BYTES_MIN: usize = 2048 / 8;
/// Shortest elliptic curve that is not called weak (NIST SP 800-131A).
const EC_BITS_MIN: usize = 224;

/// A certificate with what its judgement needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it says.
    pub certificate: Certificate,
    is_self_issued: bool,
    is_weak_key: bool,
    is_weak_signature: bool,
    /// Its issuer's certificate is one that has to be sent.
    needs_issuer: bool,
    /// Whether only its front was read.
    is_cut: bool,
    /// Whether one of its dates is no date.
    has_odd_dates: bool,
    /// Names beyond those that are kept, which it is for too.
    more_names: Vec<String>,
}

/// Reads a certificate; `None` when it is none or too long.
///
/// One odd field does not lose the rest: a date that is none is left open, a name in an odd type is read as it is meant.
#[must_use]
pub fn read_certificate(der: &[u8]) -> Option<Seen> {
    let der = der.get(..).filter(|der| der.len() <= DER_BYTES_MAX)?;
    if let Ok((_, x509)) = X509Certificate::from_der(der) {
        return Some(read(&x509, der, None));
    }
    let dates::Mended { der: mended, dates } = dates::mended(der)?;
    let (_, x509) = X509Certificate::from_der(&mended).ok()?;
    Some(read(&x509, der, Some(dates)))
}

fn read(x509: &X509Certificate<'_>, der: &[u8], dates: Option<dates::Dates>) -> Seen {
    let signature = name_of(&x509.signature_algorithm.algorithm);
    // One whose dates were mended is no longer what was signed.
    let is_self_issued = issuer::is_itself(x509, dates.is_none().then_some(der));
    let Key { name: key, is_weak: is_weak_key } = key_of(x509);
    let is_weak_signature = ["md2", "md4", "md5", "sha1", "sha-1"]
        .iter()
        .any(|weak| signature.to_ascii_lowercase().starts_with(weak) || signature.to_ascii_lowercase().ends_with(weak));
    let mut names = names_of(x509);
    let more_names = names.split_off(names.len().min(NAMES_MAX));
    let has_odd_dates = dates.as_ref().is_some_and(dates::Dates::are_odd);
    let dates = dates.unwrap_or_else(|| dates::Dates {
        not_before_s: Some(x509.validity().not_before.timestamp()),
        not_after_s: Some(x509.validity().not_after.timestamp()),
    });
    let certificate = Certificate {
        subject: names::text_of(x509.subject()),
        issuer: names::text_of(x509.issuer()),
        names,
        not_before_s: dates.not_before_s,
        not_after_s: dates.not_after_s,
        key,
        signature,
        serial: hex::encode(x509.raw_serial().get(..64).unwrap_or(x509.raw_serial())),
        sha256: hex::encode(Sha256::digest(der)),
    };
    let needs_issuer = issuer::has_to_be_sent(x509);
    let is_cut = false;
    Seen {
        certificate,
        is_self_issued,
        is_weak_key,
        is_weak_signature,
        needs_issuer,
        is_cut,
        has_odd_dates,
        more_names,
    }
}

/// Reads the front of a certificate that is too long to be read whole: who it is for, who made it, how long it is valid,
/// its key. What makes it long stands behind that, in its extensions; alternative names are among them, so it has none
/// here, and no digest. `None` when it is none, or not too long.
#[must_use]
pub fn read_front(der: &[u8]) -> Option<Seen> {
    let seen = read_certificate(&front::without_extensions(der)?)?;
    let certificate = Certificate { sha256: String::new(), ..seen.certificate };
    Some(Seen { certificate, is_cut: true, ..seen })
}

/// What is wrong with a chain, its own certificate first, in the stable words of [`crate::finding::Tls::problems`].
///
/// `name` is the host name that was asked for; without one, names are not held against it, since nobody who scans an
/// address knows what it is called.
#[must_use]
pub fn problems(chain: &[Seen], name: Option<&str>, now_s: i64) -> Vec<String> {
    let Some(own) = chain.first() else { return Vec::new() };
    // In whatever order the others come, as RFC 8446 section 4.4.2 allows, and whatever is among them that is not needed. Whom the last
    // of the way was issued by may be a root that all have.
    let others = chain.get(1..).unwrap_or_default();
    let is_linked = own.is_self_issued
        || others.is_empty()
        || others.iter().any(|other| {
            // Sent twice, it is not its own issuer, whatever that is called.
            other.certificate.subject == own.certificate.issuer && other.certificate.sha256 != own.certificate.sha256
        });
    let is_alone = chain.len() == 1 && !own.is_self_issued && own.needs_issuer;
    // The signature of a root that others hang from is never looked at by anybody.
    let is_weakly_signed =
        own.is_weak_signature || chain.iter().any(|seen| seen.is_weak_signature && !seen.is_self_issued);
    [
        ("self-signed", own.is_self_issued),
        ("expired", own.certificate.not_after_s.is_some_and(|end| end < now_s)),
        ("not-yet-valid", own.certificate.not_before_s.is_some_and(|start| start > now_s)),
        ("name-mismatch", !own.is_cut && name.is_some_and(|name| !own.is_for(name))),
        ("weak-key", own.is_weak_key),
        ("weak-signature", is_weakly_signed),
        ("incomplete-chain", !is_linked || is_alone),
        ("too-long", own.is_cut),
        ("odd-dates", own.has_odd_dates),
    ]
    .into_iter()
    .filter(|(_, holds)| *holds)
    .map(|(word, _)| word.to_owned())
    .collect()
}

impl Seen {
    /// Whether it is for a host name or address, by all of its names.
    fn is_for(&self, name: &str) -> bool {
        self.certificate.is_for(name) || self.more_names.iter().any(|pattern| is_matched(pattern, name))
    }
}

impl Certificate {
    /// Whether it is for a host name or address (RFC 6125): its alternative names count, and the subject's common name
    /// where none of them is a name of a host.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        if self.names.iter().any(|pattern| is_matched(pattern, name)) {
            return true;
        }
        // Mailboxes, addresses of pages and of hosts are no names of hosts (RFC 6125 section 6.4.4).
        let is_host = |name: &String| !name.contains('@') && !name.contains("://") && name.parse::<IpAddr>().is_err();
        if self.names.iter().any(is_host) {
            return false;
        }
        // Parts of a set are told with a plus between them.
        let parts = self.subject.split(", ").flat_map(|set| set.split(" + "));
        parts.filter_map(|part| part.trim().strip_prefix("CN=")).any(|pattern| is_matched(pattern, name))
    }
}

/// A wildcard stands for exactly one label, the first.
fn is_matched(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.trim_end_matches('.'), name.trim_end_matches('.'));
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(pattern), Some((label, rest))) => !label.is_empty() && pattern.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

fn names_of(x509: &X509Certificate<'_>) -> Vec<String> {
    // There is one list of them (RFC 5280 section 4.2), and where there are more, all are meant.
    let lists = x509.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(list) => Some(&list.general_names),
        _ => None,
    });
    let names = lists.flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(text(name)),
        GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some(text(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    });
    names.collect()
}

/// A public key.
struct Key {
    /// What it is, in words.
    name: String,
    /// Whether it is too short, or of a kind that is.
    is_weak: bool,
}

fn key_of(x509: &X509Certificate<'_>) -> Key {
    let info = x509.public_key();
    let key = |name: String, is_weak: bool| Key { name, is_weak };
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = bits_of(rsa.modulus);
            key(format!("RSA {bits}"), bits.div_ceil(8) < RSA_BYTES_MIN)
        }
        Ok(PublicKey::EC(point)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let name = match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => "P-256".to_owned(),
                Some("1.3.132.0.34") => "P-384".to_owned(),
                Some("1.3.132.0.35") => "P-521".to_owned(),
                Some("1.3.132.0.10") => "secp256k1".to_owned(),
                _ => point.key_size().to_string(),
            };
            key(format!("EC {name}"), point.key_size() < EC_BITS_MIN)
        }
        Ok(PublicKey::DSA(_)) => key("DSA".to_owned(), true),
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => key("Ed25519".to_owned(), false),
            "1.3.101.113" => key("Ed448".to_owned(), false),
            oid => key(text(oid), false),
        },
    }
}

/// How many bits a number has, which may begin with zeros.
fn bits_of(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| usize::try_from(byte.leading_zeros()).unwrap_or(0));
    8 * (number.len() - zeros) - first
}

fn name_of(oid: &x509_parser::der_parser::Oid<'_>) -> String {
    match x509_parser::objects::oid2sn(oid, x509_parser::objects::oid_registry()) {
        Ok(name) => name.to_owned(),
        // Of X9.62 and of the OIW, which the registry does not have.
        Err(_) => match oid.to_id_string().as_str() {
            "1.2.840.10045.4.1" => "ecdsa-with-SHA1".to_owned(),
            "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224".to_owned(),
            "1.2.840.10040.4.3" | "1.3.14.3.2.27" => "dsa-with-SHA1".to_owned(),
            "1.3.14.3.2.29" => "rsa-with-SHA1".to_owned(),
            "1.3.14.3.2.3" => "rsa-with-MD5".to_owned(),
            number => text(number),
        },
    }
}

fn text(words: &str) -> String {
    plain_text_of(words, TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, IsCa, KeyPair};

    use super::*;

    const DAY: i64 = 86_400;

    fn now_of(seen: &Seen) -> i64 {
        seen.certificate.not_before_s.unwrap() + DAY
    }

    fn self_signed(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.der().to_vec()
    }

    #[test]
    fn a_certificate_is_read_in_full() {
        let der = self_signed(&["a.example", "*.b.example", "10.0.0.1"]);
        let seen = read_certificate(&der).unwrap();
        let certificate = &seen.certificate;
        assert_eq!(certificate.names, ["a.example", "*.b.example", "10.0.0.1"]);
        assert_eq!((certificate.key.as_str(), certificate.sha256.len()), ("EC P-256", 64));
        assert!(certificate.signature.contains("SHA256"), "{}", certificate.signature);
        assert_eq!(certificate.subject, certificate.issuer);
        assert_eq!(problems(std::slice::from_ref(&seen), None, now_of(&seen)), ["self-signed"]);
    }

    #[test]
    fn times_and_names_are_held_against_it() {
        let seen = read_certificate(&self_signed(&["a.example", "*.b.example"])).unwrap();
        let chain = std::slice::from_ref(&seen);
        let now = now_of(&seen);
        assert_eq!(problems(chain, Some("A.example"), now), ["self-signed"]);
        assert_eq!(problems(chain, Some("x.b.example"), now), ["self-signed"]);
        assert_eq!(problems(chain, Some("x.y.b.example"), now), ["self-signed", "name-mismatch"]);
        assert_eq!(problems(chain, Some("b.example"), now), ["self-signed", "name-mismatch"]);
        assert_eq!(problems(chain, None, seen.certificate.not_after_s.unwrap() + 1), ["self-signed", "expired"]);
        assert_eq!(problems(chain, None, seen.certificate.not_before_s.unwrap() - 1), ["self-signed", "not-yet-valid"]);
        assert!(problems(&[], Some("a"), 0).is_empty());
    }

    #[test]
    fn a_chain_must_hang_together() {
        let issue = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap(), key)
        };
        let ((root, root_key), (stranger, _)) = (issue("root"), issue("stranger"));
        let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &root, &root_key).unwrap();
        let [leaf, root, stranger] = [leaf.der(), root.der(), stranger.der()].map(|der| read_certificate(der).unwrap());
        let now = now_of(&leaf);
        assert!(problems(&[leaf.clone(), root], None, now).is_empty());
        assert!(problems(std::slice::from_ref(&leaf), None, now).is_empty(), "its issuer may be a root that all have");
        assert_eq!(problems(&[leaf, stranger], None, now), ["incomplete-chain"]);
    }

    /// What was called incomplete: chains that servers send in another order, or with more than is needed.
    #[test]
    fn a_chain_is_whole_in_any_order_and_with_more_than_is_needed() {
        let named = |subject: &str, issuer: &str| {
            let mut seen = read_certificate(&self_signed(&["a.example"])).unwrap();
            seen.is_self_issued = subject == issuer;
            (seen.certificate.subject, seen.certificate.issuer) = (format!("CN={subject}"), format!("CN={issuer}"));
            seen
        };
        let [leaf, middle, root, other] =
            [("leaf", "middle"), ("middle", "root"), ("root", "root"), ("other", "root")].map(|(a, b)| named(a, b));
        let now = now_of(&leaf);
        for chain in [
            vec![&leaf, &middle, &root],
            vec![&leaf, &root, &middle],
            vec![&leaf, &middle, &other],
            vec![&leaf, &other, &middle],
            vec![&leaf, &middle],
            vec![&leaf],
        ] {
            let chain: Vec<Seen> = chain.into_iter().cloned().collect();
            assert!(problems(&chain, None, now).is_empty(), "{chain:?}");
        }
        for chain in [vec![&leaf, &root], vec![&leaf, &other], vec![&leaf, &leaf]] {
            let chain: Vec<Seen> = chain.into_iter().cloned().collect();
            assert_eq!(problems(&chain, None, now), ["incomplete-chain"], "{chain:?}");
        }
    }

    #[test]
    fn a_mailbox_among_the_names_takes_nothing_from_the_common_name() {
        let of = |names: &[&str]| Certificate {
            subject: "O=Frob, CN=svc.example".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Certificate::default()
        };
        let set = Certificate { subject: "C=DE, OU=x + CN=svc.example".to_owned(), ..Certificate::default() };
        assert!(set.is_for("svc.example") && !set.is_for("x"));
        for names in [&[][..], &["admin@svc.example"], &["10.0.0.1"], &["https://svc.example/", "a@b.example"]] {
            assert!(of(names).is_for("svc.example") && !of(names).is_for("b.example"), "{names:?}");
        }
        assert!(!of(&["other.example", "admin@svc.example"]).is_for("svc.example"));
    }

    /// A certificate with these bytes of its own in place of others of the same length.
    fn with(der: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut der = der.to_vec();
        let places: Vec<usize> =
            der.windows(old.len()).enumerate().filter(|(_, at)| *at == old).map(|(at, _)| at).collect();
        assert!(!places.is_empty() && old.len() == new.len());
        for at in places {
            der[at..at + new.len()].copy_from_slice(new);
        }
        der
    }

    #[test]
    fn one_odd_date_leaves_the_rest_as_it_is() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 3, 1);
        params.not_after = rcgen::date_time_ymd(2040, 6, 30);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let plain = read_certificate(&der).unwrap();
        for (text, not_after_s, is_odd) in [
            (&b"401330000000Z"[..], None, true),
            (b"400600000000Z", None, true),
            (b"4006300000xxZ", None, true),
            (b"             ", None, true),
            (b"400629240000Z", plain.certificate.not_after_s, false),
            (b"400629235960Z", plain.certificate.not_after_s, false),
            (b"400631000000Z", plain.certificate.not_after_s.map(|end| end + DAY), false),
        ] {
            let seen = read_certificate(&with(&der, b"400630000000Z", text)).unwrap();
            let name = String::from_utf8_lossy(text);
            assert_eq!((seen.certificate.not_after_s, seen.has_odd_dates), (not_after_s, is_odd), "{name}");
            assert_eq!(seen.certificate.not_before_s, plain.certificate.not_before_s, "{name}");
            assert_eq!(
                (&seen.certificate.names, &seen.certificate.key),
                (&plain.certificate.names, &plain.certificate.key)
            );
            let wrong = problems(&[seen], Some("a.example"), 1_700_000_000);
            assert_eq!(wrong.contains(&"odd-dates".to_owned()), is_odd, "{name}: {wrong:?}");
            assert!(wrong.contains(&"self-signed".to_owned()) && !wrong.contains(&"expired".to_owned()), "{wrong:?}");
        }
    }

    #[test]
    fn every_name_counts_however_many_there_are() {
        let names: Vec<String> = (0..400).map(|n| format!("h{n}.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let seen = read_certificate(&self_signed(&names)).unwrap();
        assert_eq!(seen.certificate.names.len(), NAMES_MAX);
        let now = now_of(&seen);
        let chain = std::slice::from_ref(&seen);
        assert_eq!(problems(chain, Some("h399.example"), now), ["self-signed"]);
        assert_eq!(problems(chain, Some("h400.example"), now), ["self-signed", "name-mismatch"]);
    }

    #[test]
    fn a_certificate_of_ten_megabytes_is_not_read() {
        assert_eq!(read_certificate(&vec![0x30; 10 << 20]), None);
    }

    proptest! {
        #[test]
        fn a_broken_certificate_never_panics(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..500) {
            let mut der = self_signed(&["a.example"]);
            let at = at % der.len();
            der[at] = byte;
            der.truncate(der.len() - cut % der.len());
            if let Some(seen) = read_certificate(&der) {
                prop_assert!(problems(&[seen], Some("a.example"), 0).len() <= 8);
            }
        }
    }
}
