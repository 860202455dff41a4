//! A certificate and its key from files that somebody gives a node, read again while it serves.
//!
//! Files that are wrong are refused whole, with what was shown before still shown. Certificates that are over are refused when
//! files are read again; at a node's start they are told and shown, because a node that does not start for them could cost its
//! cluster a voter.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{CHAIN_MAX, Fingerprint, provider};
use crate::durable_file;

/// The largest file that is read: ten certificates have about 20 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permissions of everybody but owner and group; a group may be let in, as mounted secrets are handed over so.
const OTHERS: u32 = 0o007;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The node's certificate, and those of whoever signed it, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Files that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// One cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("{key} is not the key of the certificate in {cert}", key = key.display(), cert = cert.display())]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate holds at another time.
    #[error("the certificate in {path} {when}", path = path.display())]
    Dates {
        /// Which.
        path: PathBuf,
        /// When it holds.
        when: String,
    },
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Given {
    /// What to show.
    pub certified: Arc<CertifiedKey>,
    /// Until when it holds, in seconds of Unix time.
    pub ends_s: i64,
    /// Why it will not be believed now.
    pub out_of_date: Option<FilesError>,
}

impl Files {
    /// Reads both, held against each other; `now` in seconds of Unix time.
    ///
    /// # Errors
    /// [`FilesError`], but for dates, which are beside what is read.
    pub fn read(&self, now_s: i64) -> Result<Given, FilesError> {
        for path in [&self.cert, &self.key] {
            let refused = |reason: String| FilesError::File { path: path.clone(), reason };
            // They are read again while the node runs, and a pipe would keep it waiting for whoever writes.
            let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
            if !found.is_file() {
                return Err(refused("is no regular file, and is to be read again".to_owned()));
            }
        }
        let chain = certificates(&self.cert)?;
        let key = self.private_key()?;
        let refused = |reason: String| FilesError::File { path: self.key.clone(), reason };
        let leaf = chain.first().map(|leaf| leaf.as_ref().to_vec()).unwrap_or_default();
        let out_of_date = out_of_date(&leaf, now_s)
            .map_err(|reason| FilesError::File { path: self.cert.clone(), reason })?
            .map(|when| FilesError::Dates { path: self.cert.clone(), when });
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                FilesError::Mismatch { cert: self.cert.clone(), key: self.key.clone() }
            }
            error => refused(format!("holds no key that can be used: {error}")),
        })?;
        let ends_s = ends_s(&leaf).unwrap_or(now_s);
        Ok(Given { certified: Arc::new(certified), ends_s, out_of_date })
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, FilesError> {
        let refused = |reason: String| FilesError::File { path: self.key.clone(), reason };
        let mode = std::fs::metadata(&self.key).map_err(|error| refused(error.to_string()))?.permissions().mode();
        if mode & OTHERS != 0 {
            let mend = format!(
                "everybody on this machine can read or change it; to mend it: chmod 600 {}",
                self.key.display()
            );
            return Err(refused(mend));
        }
        let pem = bounded(&self.key)?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| refused(format!("holds no private key in PEM: {error}")))
    }
}

/// The certificates of a file in PEM, in its order; at least one.
///
/// # Errors
/// [`FilesError::File`].
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    let refused = |reason: String| FilesError::File { path: path.to_owned(), reason };
    let pem = bounded(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).take(CHAIN_MAX + 1).collect();
    let all = all.map_err(|error| refused(format!("is not certificates in PEM: {error}")))?;
    match all.len() {
        0 => Err(refused("holds no certificate in PEM".to_owned())),
        count if count > CHAIN_MAX => Err(refused(format!("holds more than {CHAIN_MAX} certificates"))),
        _ => Ok(all),
    }
}

/// The fingerprint of the first certificate in a file.
///
/// # Errors
/// As [`Files::read`].
pub fn first_of(path: &Path) -> Result<Fingerprint, FilesError> {
    let first = certificates(path)?.first().map(|der| Fingerprint::of(der));
    first.ok_or_else(|| FilesError::File { path: path.to_owned(), reason: "holds no certificate in PEM".to_owned() })
}

fn bounded(path: &Path) -> Result<Vec<u8>, FilesError> {
    let refused = |reason: String| FilesError::File { path: path.to_owned(), reason };
    let file = durable_file::regular(path).map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refused("is larger than 1 MiB: that is neither certificate nor key".to_owned()));
    }
    Ok(bytes)
}

/// Why a certificate does not hold now, if it does not.
///
/// # Errors
/// A sentence fragment where it is no certificate.
pub(super) fn out_of_date(der: &[u8], now_s: i64) -> Result<Option<String>, String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("holds no X.509 certificate: {error}"))?;
    let now = ASN1Time::from_timestamp(now_s).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    Ok(match () {
        () if now < validity.not_before => Some(format!("is not valid before {}", validity.not_before)),
        () if now > validity.not_after => Some(format!("expired at {}", validity.not_after)),
        () => None,
    })
}

fn ends_s(der: &[u8]) -> Option<i64> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate.validity().not_after.timestamp())
}

#[cfg(test)]
#[path = "files_test.rs"]
mod tests;
