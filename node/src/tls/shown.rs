//! The certificate that the API shows, which can be exchanged while it serves.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::{ALPN, provider};

/// The first byte of a TLS handshake's record (RFC 8446 section 5.1); no request of HTTP begins with it.
const HANDSHAKE: u8 = 22;

/// Whether a connection that begins with this byte speaks TLS.
#[must_use]
pub fn is_handshake(first: u8) -> bool {
    first == HANDSHAKE
}

/// What is shown to whoever connects from now on; nothing at first, and then nobody gets in. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shown(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Shown {
    /// Shows this from now on. Connections that stand are not touched.
    pub fn show(&self, certified: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(certified);
    }

    /// What takes connections with it.
    ///
    /// # Panics
    /// Never: ring speaks both versions.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring speaks both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ALPN.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|shown| shown.cert.len());
        f.debug_struct("Shown").field("certificates", &shown).finish()
    }
}
