//! Authorities and certificates for tests, also bad ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Files, Fingerprint, Shown, certificate_pem};

/// An authority that signs what it is asked to.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// A certificate with its chain and its key.
pub(crate) struct Made {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

/// Years from and to which a certificate holds.
pub(crate) type Years = (i32, i32);

pub(crate) const NOW: Years = (2020, 2090);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::of_years(NOW)
    }

    pub(crate) fn of_years((from, to): Years) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.certificate.der())
    }

    pub(crate) fn leaf(&self, names: &[&str], (from, to): Years) -> Made {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Made { chain: vec![leaf.der().clone(), self.certificate.der().clone()], key }
    }

    /// Writes its certificate and answers where.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        std::fs::write(&path, certificate_pem(self.certificate.der())).unwrap();
        path
    }
}

/// A certificate that signed itself.
pub(crate) fn of_itself(names: &[&str]) -> Made {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    // As `openssl req -x509` makes them.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Made { chain: vec![certificate.der().clone()], key }
}

impl Made {
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(self.chain.clone(), key, &super::provider()).unwrap())
    }

    pub(crate) fn shown(&self) -> Shown {
        let shown = Shown::default();
        shown.show(self.certified());
        shown
    }

    /// Writes both files, the key for its owner alone, and answers where.
    pub(crate) fn write(&self, folder: &Path) -> Files {
        use std::os::unix::fs::PermissionsExt;
        let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let chain: String = self.chain.iter().map(|der| certificate_pem(der)).collect();
        std::fs::write(&files.cert, chain).unwrap();
        std::fs::write(&files.key, super::leaf::pem("PRIVATE KEY", &self.key.serialize_der())).unwrap();
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        files
    }
}
