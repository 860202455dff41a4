//! A node's own certificate that the cluster's authority signed, with its key.

use std::sync::Arc;

use data_encoding::BASE64;
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::authority::is_due;
use super::provider;

/// Characters on a line of PEM (RFC 7468 section 2).
const LINE: usize = 64;

/// A new key, to be certified.
pub struct Pair(KeyPair);

/// A certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    certified: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair(not shown)")
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({} certificates, key not shown)", self.chain.len())
    }
}

impl Pair {
    /// One at random, on P-256.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate() -> Result<Self, String> {
        KeyPair::generate().map(Self).map_err(|error| error.to_string())
    }

    /// The public half, uncompressed.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        self.0.public_key_raw()
    }

    /// With what was signed for it: its certificate, and that of who signed.
    ///
    /// # Errors
    /// A sentence fragment: it was signed for another key, or is no certificate.
    pub fn with(self, chain: Vec<Vec<u8>>) -> Result<Leaf, String> {
        Leaf::of(chain.into_iter().map(CertificateDer::from).collect(), self.0.serialize_der())
    }
}

impl Leaf {
    fn of(chain: Vec<CertificateDer<'static>>, key: Vec<u8>) -> Result<Self, String> {
        if chain.len() != 2 {
            return Err(format!("{} certificates in place of a node's and its authority's", chain.len()));
        }
        let private = PrivateKeyDer::try_from(key.clone()).map_err(str::to_owned)?;
        let certified =
            CertifiedKey::from_der(chain.clone(), private, &provider()).map_err(|error| error.to_string())?;
        Ok(Self { chain, key, certified: Arc::new(certified) })
    }

    /// Reads what [`Leaf::to_pem`] wrote.
    ///
    /// # Errors
    /// A sentence fragment.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        Self::of(chain.map_err(|error| error.to_string())?, key.secret_der().to_vec())
    }

    /// All of it, the key included.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let chain: String = self.chain.iter().map(|der| certificate_pem(der)).collect();
        chain + &pem("PRIVATE KEY", &self.key)
    }

    /// What is shown.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The authority's certificate, in DER.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.chain.last().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Whether it is to be renewed.
    #[must_use]
    pub fn is_due(&self, now_s: i64) -> bool {
        self.chain.first().is_none_or(|leaf| is_due(leaf, now_s))
    }
}

/// A certificate as files have it.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut lines = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(LINE.min(rest.len()));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, Wanted};
    use super::*;

    #[test]
    fn a_leaf_reads_back_and_one_that_was_signed_for_another_key_is_none() {
        let now_s = jiff::Timestamp::now().as_second();
        let authority = Authority::make(&[1; 16], now_s).unwrap();
        let wanted = Wanted { node: "n1".into(), hosts: vec!["10.0.0.1".into()], is_member: false };
        let pair = Pair::generate().unwrap();
        let chain = authority.sign(pair.point(), &wanted, now_s).unwrap();
        assert!(Pair::generate().unwrap().with(chain.clone()).is_err());
        assert!(Pair::generate().unwrap().with(Vec::new()).unwrap_err().contains("0 certificates"));
        let leaf = pair.with(chain).unwrap();
        assert!(!leaf.is_due(now_s) && leaf.is_due(now_s + 25 * 86_400));
        let read = Leaf::from_pem(leaf.to_pem().as_bytes()).unwrap();
        assert_eq!((read.to_pem(), read.authority()), (leaf.to_pem(), authority.certificate()));
        for bad in [String::new(), certificate_pem(authority.certificate()), leaf.to_pem().replace("PRIVATE", "PUBLIC")]
        {
            assert!(Leaf::from_pem(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
