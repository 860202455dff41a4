//! Holds what a server shows against what is believed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::authority::{MEMBER_NAME, is_authority, may_sign};
use super::files::out_of_date;
use super::{CHAIN_MAX, Fingerprint};

/// One reason to believe a server, ready to be used: as [`super::Anchor`].
#[derive(Debug)]
pub(super) enum Believed {
    /// What one of these authorities signed.
    Roots(RootCertStore),
    /// What one of these certificates signed that may sign and holds, and each of them itself: a certificate that signed itself may say
    /// that it is an authority, and none of those is anybody's own by the rules of chains.
    Named(Vec<CertificateDer<'static>>),
    Authority(Fingerprint),
    Exactly(Fingerprint),
}

/// The verifier of a client.
#[derive(Debug)]
pub(super) struct Verifier {
    believed: Vec<Believed>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a server shows, and what it was asked as.
struct Server<'a> {
    leaf: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    now: UnixTime,
}

impl Verifier {
    pub(super) fn new(believed: Vec<Believed>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { believed, algorithms }
    }

    fn believes(&self, believed: &Believed, server: &Server<'_>) -> Result<(), Error> {
        let own = Fingerprint::of(server.leaf);
        match believed {
            Believed::Roots(roots) => self.signed(server, roots),
            Believed::Named(named) if named.iter().any(|der| Fingerprint::of(der) == own) => {
                server.holds().and_then(|()| server.is_named())
            }
            Believed::Named(named) => {
                let (mut roots, mut over) = (RootCertStore::empty(), None);
                for authority in named.iter().filter(|der| may_sign(der)) {
                    match server.authority_holds(authority) {
                        Ok(()) => roots.add(authority.clone())?,
                        Err(wrong) => over = Some(wrong),
                    }
                }
                match over.filter(|_| roots.is_empty()) {
                    Some(wrong) => Err(wrong),
                    None => self.signed(server, &roots),
                }
            }
            Believed::Authority(fingerprint) if *fingerprint == own => server.holds().and_then(|()| server.is_named()),
            Believed::Authority(fingerprint) => {
                let shown = server.others.iter().find(|der| Fingerprint::of(der) == *fingerprint);
                let authority = shown.ok_or_else(|| {
                    told(format!("it is not of the authority {fingerprint}, but of {}", server.authority()))
                })?;
                if !may_sign(authority) {
                    return Err(told(format!("{fingerprint} is no authority's, but a certificate that may sign none")));
                }
                server.authority_holds(authority)?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned())?;
                // Members of a cluster are as good as each other, so one is believed wherever it is reached.
                match self.signed(server, &roots) {
                    Err(wrong) if is_other_name(&wrong) && is_authority(authority) && server.is_member() => Ok(()),
                    signed => signed,
                }
            }
            Believed::Exactly(fingerprint) if *fingerprint == own => server.holds(),
            Believed::Exactly(fingerprint) => Err(told(format!("its certificate is {own}, not {fingerprint}"))),
        }
    }

    fn signed(&self, server: &Server<'_>, roots: &RootCertStore) -> Result<(), Error> {
        let leaf = ParsedCertificate::try_from(server.leaf)?;
        let signed =
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, server.others, server.now, self.algorithms.all);
        signed.map_err(|error| match error {
            // One that is called like a trusted one, and is another.
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                let shown = server.authority();
                told(format!(
                    "it is signed by no authority that is trusted here; the last certificate that it shows is {shown}"
                ))
            }
            error => error,
        })?;
        server.is_named()
    }
}

impl Server<'_> {
    /// Whether its certificate holds now.
    fn holds(&self) -> Result<(), Error> {
        self.is_in_time(self.leaf, "its certificate")
    }

    /// Whether that of who is to have signed it holds now, which the rules of chains do not ask of those who are believed.
    fn authority_holds(&self, authority: &[u8]) -> Result<(), Error> {
        self.is_in_time(authority, "its authority's certificate")
    }

    fn is_in_time(&self, der: &[u8], whose: &str) -> Result<(), Error> {
        let now_s = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        match out_of_date(der, now_s) {
            Ok(None) => Ok(()),
            Ok(Some(when)) => Err(told(format!("{whose} {when}"))),
            Err(reason) => Err(told(format!("what it shows {reason}"))),
        }
    }

    /// Whether it is for the name that was asked.
    fn is_named(&self) -> Result<(), Error> {
        verify_server_name(&ParsedCertificate::try_from(self.leaf)?, self.name)
    }

    /// Whether it bears the name that an authority of a cluster gives members alone.
    fn is_member(&self) -> bool {
        let name = ServerName::try_from(MEMBER_NAME);
        let leaf = ParsedCertificate::try_from(self.leaf);
        name.is_ok_and(|name| leaf.is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok()))
    }

    /// The last that it shows: its authority, where it shows one.
    fn authority(&self) -> Fingerprint {
        Fingerprint::of(self.others.last().unwrap_or(self.leaf))
    }
}

fn is_other_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
    )
}

/// An error that is a sentence of ours.
fn told(sentence: String) -> Error {
    CertificateError::Other(OtherError(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(sentence)))).into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = intermediates.len() + 1;
        if shown > CHAIN_MAX {
            return Err(told(format!("it shows {shown} certificates, more than {CHAIN_MAX}")));
        }
        let server = Server { leaf: end_entity, others: intermediates, name: server_name, now };
        let mut first = None;
        for believed in &self.believed {
            match self.believes(believed, &server) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| told("nobody is trusted here".to_owned())))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
