//! Whom a client believes to be a node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::authority::may_sign;
use super::files::certificates;
use super::verifier::{Believed, Verifier};
use super::{ALPN, FilesError, Fingerprint, provider};

/// One reason to believe a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// Its certificate is of an authority that this machine trusts, and for the name that was asked.
    System,
    /// It is of one of the authorities in this file, and for the name that was asked.
    File(PathBuf),
    /// It is of the authority with this fingerprint, which the server shows, and for the name that was asked; where that is a
    /// cluster's own authority, a member's is enough whatever it was asked as.
    Authority(Fingerprint),
    /// It is the certificate with this fingerprint, whatever it was asked as.
    Exactly(Fingerprint),
}

/// The reasons of a client; any one of them is enough. There is always one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust(Vec<Anchor>);

impl Default for Trust {
    /// This machine's authorities.
    fn default() -> Self {
        Self(vec![Anchor::System])
    }
}

/// Reasons that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file with authorities.
    #[error("the authorities cannot be read: {0}")]
    File(#[from] FilesError),
    /// A certificate in it.
    #[error("the authorities cannot be read: {path}: {source}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// This machine has none.
    #[error("this machine trusts no certificate authority ({reason}): name one by --ca-file or --ca-fingerprint")]
    NoRoots {
        /// Why.
        reason: String,
    },
}

impl Trust {
    /// What somebody said: a file, a fingerprint, both, or nothing, which leaves the system's.
    #[must_use]
    pub fn said(file: Option<&Path>, authority: Option<Fingerprint>) -> Self {
        let file = file.map(|path| Anchor::File(path.to_owned()));
        let anchors: Vec<Anchor> = file.into_iter().chain(authority.map(Anchor::Authority)).collect();
        if anchors.is_empty() { Self::default() } else { Self(anchors) }
    }

    /// This one alone.
    #[must_use]
    pub fn only(anchor: Anchor) -> Self {
        Self(vec![anchor])
    }

    /// These, and one more before them.
    #[must_use]
    pub fn or(mut self, anchor: Anchor) -> Self {
        self.0.insert(0, anchor);
        self
    }

    /// What a connection is made with. A machine without authorities does without them where there is another reason.
    ///
    /// # Errors
    /// [`TrustError`].
    pub(crate) fn config(&self) -> Result<ClientConfig, TrustError> {
        let is_enough = self.0.len() > 1;
        let believed =
            self.0.iter().map(believed).filter(|it| !(is_enough && matches!(it, Err(TrustError::NoRoots { .. }))));
        let believed = believed.collect::<Result<Vec<_>, _>>()?;
        Ok(config(believed))
    }
}

/// What believes nobody: for clients that speak no TLS.
pub(crate) fn nobody() -> ClientConfig {
    config(Vec::new())
}

fn config(believed: Vec<Believed>) -> ClientConfig {
    let provider = provider();
    let verifier = Verifier::new(believed, provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring speaks both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn believed(anchor: &Anchor) -> Result<Believed, TrustError> {
    Ok(match anchor {
        Anchor::System => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let reason = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
                return Err(TrustError::NoRoots { reason });
            }
            Believed::Roots(roots)
        }
        Anchor::File(path) => {
            let named = certificates(path)?;
            // One that may sign none stands for its own server alone. Whether one holds is asked of each server.
            let mut roots = RootCertStore::empty();
            for certificate in named.iter().filter(|der| may_sign(der)) {
                let added = roots.add(certificate.clone());
                added.map_err(|source| TrustError::Certificate { path: path.clone(), source })?;
            }
            Believed::Named(named)
        }
        Anchor::Authority(fingerprint) => Believed::Authority(*fingerprint),
        Anchor::Exactly(fingerprint) => Believed::Exactly(*fingerprint),
    })
}

#[cfg(test)]
#[path = "trust_test.rs"]
mod tests;
