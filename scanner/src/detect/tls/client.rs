//! A client of TLS that takes whatever it is shown, to look at it and at what is spoken inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SupportedKxGroup, ring};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, ProtocolVersion, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::OFFERS;

/// A client that accepts every certificate, to be able to look at it.
///
/// # Panics
/// When the library refuses the versions that it was built with.
pub(in crate::detect) fn connector() -> TlsConnector {
    connector_for(OFFERS[0])
}

/// The same, which names these protocols as what would be spoken inside.
pub(in crate::detect) fn connector_for(protocols: &[&str]) -> TlsConnector {
    connector_with(protocols, Arc::default())
}

/// The same, which notes whether the server asks for a certificate.
///
/// # Panics
/// When the library refuses the versions that it was built with.
pub(super) fn connector_with(protocols: &[&str], no_certificate: Arc<NoCertificate>) -> TlsConnector {
    let mut provider = ring::default_provider();
    provider.kx_groups.extend(BRAINPOOL.iter().map(|group| group as &dyn SupportedKxGroup));
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll(provider)))
        .with_client_cert_resolver(no_certificate);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Nothing is resumed: each handshake is to show the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Has no certificate for anybody, and notes that one was asked for: of TLS 1.3 nothing else shows that.
#[derive(Debug, Default)]
pub(super) struct NoCertificate {
    pub(super) was_asked: AtomicBool,
}

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Brainpool's curves of 256, 384 and 512 bits (RFC 7027).
static BRAINPOOL: [NamedOnly; 3] = [NamedOnly(0x001a), NamedOnly(0x001b), NamedOnly(0x001c)];

/// A group that is named and cannot be used. Before TLS 1.3 a server shows a certificate only where its curve is among a client's
/// groups (RFC 8422 section 5.1), whatever keys are exchanged over: as the last one this is chosen by nobody who has another.
#[derive(Debug)]
struct NamedOnly(u16);

impl SupportedKxGroup for NamedOnly {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Err(rustls::Error::General(format!("nothing is exchanged over group {:#06x}", self.0)))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(self.0)
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_2
    }
}

/// Accepts what it is shown: nothing secret is ever sent to it.
#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        // No signature is verified, so what the library cannot verify may be shown as well.
        schemes.extend([
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
            // RSA-PSS with keys that are for it alone, and Brainpool's curves (RFC 8446 section 4.2.3, RFC 8734).
            SignatureScheme::Unknown(0x0809),
            SignatureScheme::Unknown(0x080a),
            SignatureScheme::Unknown(0x080b),
            SignatureScheme::Unknown(0x081a),
            SignatureScheme::Unknown(0x081b),
            SignatureScheme::Unknown(0x081c),
        ]);
        schemes.dedup();
        schemes
    }
}
