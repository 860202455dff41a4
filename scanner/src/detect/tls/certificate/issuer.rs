//! Who signed a certificate, as far as it tells itself: whether it did, and whether its issuer's certificate has to be sent with it.

use rustls::crypto::ring;
use x509_parser::prelude::*;
use x509_parser::public_key::PublicKey;

use super::bits_of;
use super::front::Head;

/// Where the issuer's certificate is (RFC 5280 section 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// Proofs of public logs (RFC 6962 section 3.3).
const LOGGED: &str = "1.3.6.1.4.1.11129.2.4.2";
/// Policies of public authorities (CA/Browser Forum, Baseline Requirements section 7.1.6.1).
const PUBLIC_POLICIES: &str = "2.23.140.1.";
/// Lengths of RSA keys that signatures can be verified with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Whether a certificate signed itself. Its names alone do not tell, since an authority may be called like what it issues for: key
/// identifiers do, and without them the signature of `der`, where that can be verified.
pub(super) fn is_itself(x509: &X509Certificate<'_>, der: Option<&[u8]>) -> bool {
    if x509.subject().as_raw() != x509.issuer().as_raw() {
        return false;
    }
    let (mut own, mut authority) = (None, None);
    for extension in x509.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => own = Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => authority = id.key_identifier.as_ref().map(|id| id.0),
            _ => {}
        }
    }
    match (own, authority) {
        (Some(own), Some(authority)) => own == authority,
        _ => der.and_then(|der| is_signed_by_own_key(x509, der)).unwrap_or(true),
    }
}

/// `None` where the signature, or the key, is of a kind that is not verified here.
fn is_signed_by_own_key(x509: &X509Certificate<'_>, der: &[u8]) -> Option<bool> {
    if let Ok(PublicKey::RSA(rsa)) = x509.public_key().parsed() {
        RSA_BITS.contains(&bits_of(rsa.modulus)).then_some(())?;
    }
    let signature: &[u8] = x509.signature_value.data.as_ref();
    let key: &[u8] = x509.public_key().subject_public_key.data.as_ref();
    let outer = Head::of(der).filter(|_| !signature.is_empty())?;
    let signed = Head::of(outer.rest)?;
    let signed_with = content(signed.rest.get(signed.length..)?)?;
    let key_of = content(Head::of(x509.public_key().raw)?.rest)?;
    let provider = ring::default_provider();
    let mut known = provider.signature_verification_algorithms.all.iter().filter(|known| {
        let (of_key, of_signature) = (known.public_key_alg_id(), known.signature_alg_id());
        of_key.as_ref() == key_of && of_signature.as_ref() == signed_with
    });
    let known = known.next()?;
    Some(known.verify_signature(key, x509.tbs_certificate.as_ref(), signature).is_ok())
}

/// The content of the element at the front.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let head = Head::of(bytes)?;
    head.rest.get(..head.length)
}

/// Whether the issuer's certificate has to be sent too: public authorities issue nothing by a root that everybody has, and tell where
/// the one in between is. A company's root may tell that as well, and all its hosts have it.
pub(super) fn has_to_be_sent(x509: &X509Certificate<'_>) -> bool {
    let is_located = x509.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|description| description.access_method.to_id_string() == CA_ISSUERS)
        }
        _ => false,
    });
    let is_public = x509.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::CertificatePolicies(policies) => {
            policies.iter().any(|policy| policy.policy_id.to_id_string().starts_with(PUBLIC_POLICIES))
        }
        _ => extension.oid.to_id_string() == LOGGED,
    });
    is_located && is_public
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair};

    use super::super::{Seen, bits_of, problems, read_certificate};

    /// `AuthorityInfoAccess` with the address of an issuer's certificate.
    const ACCESS: &[u8] = b"\x30\x14\x30\x12\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x06http:x";
    /// `CertificatePolicies` with that of the Baseline Requirements for domains, 2.23.140.1.2.1.
    const POLICIES: &[u8] = b"\x30\x0a\x30\x08\x06\x06\x67\x81\x0c\x01\x02\x01";

    fn named(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params
    }

    /// A certificate issued by an authority of this name, and the authority's.
    fn issued(params: CertificateParams, by: &str) -> [Seen; 2] {
        let (key, own_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = named(by, true).self_signed(&key).unwrap();
        let own = params.signed_by(&own_key, &authority, &key).unwrap();
        [own, authority].map(|one| read_certificate(one.der()).unwrap())
    }

    #[test]
    fn what_another_of_the_same_name_issued_did_not_sign_itself() {
        for has_ids in [false, true] {
            let mut params = named("Widgits", has_ids);
            params.use_authority_key_identifier_extension = has_ids;
            let [own, authority] = issued(params, "Widgits");
            let now = own.certificate.not_before_s.unwrap() + 1;
            assert_eq!(own.certificate.subject, own.certificate.issuer);
            assert!(problems(std::slice::from_ref(&own), None, now).is_empty(), "{has_ids}");
            assert!(problems(&[own.clone(), authority.clone()], None, now).is_empty(), "{has_ids}");
            assert_eq!(problems(&[own.clone(), own], None, now), ["incomplete-chain"], "{has_ids}");
            assert_eq!(problems(&[authority], None, now), ["self-signed"], "{has_ids}");
        }
    }

    #[test]
    fn one_alone_lacks_its_issuer_only_where_no_root_can_have_issued_it() {
        let access = || CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], ACCESS.to_vec());
        let policies = || CustomExtension::from_oid_content(&[2, 5, 29, 32], POLICIES.to_vec());
        let logged = || CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], vec![4, 2, 0, 0]);
        for (extensions, is_incomplete) in [
            (vec![], false),
            (vec![access()], false),
            (vec![policies()], false),
            (vec![access(), policies()], true),
            (vec![access(), logged()], true),
        ] {
            let mut params = named("leaf", false);
            params.custom_extensions = extensions;
            let [own, authority] = issued(params, "root");
            let now = own.certificate.not_before_s.unwrap() + 1;
            let alone = problems(std::slice::from_ref(&own), None, now);
            assert_eq!(alone.contains(&"incomplete-chain".to_owned()), is_incomplete, "{alone:?}");
            assert!(problems(&[own, authority], None, now).is_empty());
        }
    }

    #[test]
    fn bits_are_counted_from_the_first_that_is_set() {
        for (number, bits) in [(&[0, 0x80][..], 8), (&[0x7f], 7), (&[0, 0, 1, 0], 9), (&[0], 0), (&[], 0)] {
            assert_eq!(bits_of(number), bits, "{number:?}");
        }
    }
}
