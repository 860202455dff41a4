//! What a TLS endpoint tells: the versions it speaks, the cipher it chooses, its certificates.
//!
//! Two ways lead there. Hello messages by hand ask for one version each, legacy ones included, and read the first flight.
//! A handshake by a library, with a verifier that accepts all, gives what TLS 1.3 encrypts, and carries what is spoken
//! inside. Nothing here trusts a certificate; it is looked at.

mod certificate;
mod flight;
mod hello;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

pub use self::certificate::{Seen, problems, read_certificate, read_front};
pub use self::flight::{Flight, alert_name, is_tls, read_flight};
use self::hello::{ALPN, SUITES_WEAK, Suites, hello_of};
pub use self::hello::{Version, client_hello};
use super::connection::{self, Endpoint, Opened, Patience};
use super::starttls::Upgrade;
use crate::finding::Tls;
use crate::gate::Stage;

/// Handshakes with one endpoint at once: more would look like an attack to small devices.
const HANDSHAKES: usize = 2;
/// Longest wait for the answer to a hello.
const FLIGHT_WAIT: Duration = Duration::from_secs(3);
/// Weak suites of a server that are told: one is bad enough, and each is a connection.
const WEAK_MAX: usize = 8;
/// Between two parts of a flight.
const FLIGHT_GAP: Duration = Duration::from_secs(1);

/// Versions of a hello that any TLS server answers.
const ANY: [Version; 4] = [Version::Tls10, Version::Tls11, Version::Tls12, Version::Tls13];

/// What a library's handshake told.
#[derive(Debug, Default)]
struct Handshake {
    certificates: Vec<Vec<u8>>,
    version: Option<u16>,
    cipher: Option<u16>,
    alpn: Option<String>,
}

/// What an inspection came to.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// What was seen; `None` where no handshake got so far.
    pub(super) tls: Option<Tls>,
    /// The alert that every hello was refused with.
    pub(super) refusal: Option<u8>,
    /// Whether the client's certificate was asked for.
    pub(super) wants_certificate: bool,
    /// Names of the weak suites that were chosen where only such were offered.
    pub(super) weak_suites: Vec<String>,
}

impl Inspected {
    /// What is worth telling beside what was seen, as facts of the service.
    pub(super) fn facts(&self) -> impl Iterator<Item = (String, String)> {
        let refusal = self.refusal.map(|alert| ("tls-refusal".to_owned(), alert_name(alert)));
        let wanted = ("tls-client-certificate".to_owned(), "wanted".to_owned());
        let weak = (!self.weak_suites.is_empty()).then(|| ("tls-weak-suites".to_owned(), self.weak_suites.join(", ")));
        refusal.into_iter().chain(self.wants_certificate.then_some(wanted)).chain(weak)
    }
}

/// Looks at the TLS of an endpoint, after an upgrade where the protocol has one.
pub(super) async fn inspect(endpoint: &Endpoint<'_>, connector: &TlsConnector, upgrade: Option<Upgrade>) -> Inspected {
    // Where the upgrade is refused once, it is not asked for five times more.
    if upgrade.is_some() && first_flight(endpoint, &ANY, upgrade).await.is_none() {
        return Inspected::default();
    }
    let handshake = handshake(endpoint, connector, upgrade);
    let flights = stream::iter(Version::ALL)
        .map(|version| async move { (version, first_flight(endpoint, &[version], upgrade).await) })
        .buffered(HANDSHAKES - 1)
        .collect::<Vec<_>>();
    let (handshake, mut flights) = futures::join!(handshake, flights);
    if handshake.is_none() && flights.iter().all(|(_, flight)| flight.as_ref().is_none_or(Flight::is_refusal)) {
        ask_with_rare_suites(endpoint, upgrade, &mut flights).await;
    }
    let spoken = flights.iter().filter_map(|(version, flight)| {
        let flight = flight.as_ref()?;
        (flight.version == Some(version.wire())).then_some((*version, flight))
    });
    let spoken: Vec<(Version, &Flight)> = spoken.collect();
    let wants_certificate = spoken.iter().any(|(_, flight)| flight.wants_certificate);
    if spoken.is_empty() && handshake.is_none() {
        // The newest version that was refused: older ones are refused for being old.
        let refusal = flights.iter().rev().find_map(|(_, flight)| flight.as_ref()?.alert);
        return Inspected { refusal, ..Inspected::default() };
    }
    let old = spoken.iter().map(|(version, _)| *version).filter(|version| *version < Version::Tls13).max();
    let weak_suites = match old {
        Some(version) => weak_suites(endpoint, upgrade, version).await,
        None => Vec::new(),
    };
    let handshake = handshake.unwrap_or_default();
    let is_spoken = |version: Version| {
        handshake.version == Some(version.wire()) || spoken.iter().any(|(known, _)| *known == version)
    };
    let versions: Vec<String> = Version::ALL
        .into_iter()
        .filter(|version| is_spoken(*version))
        .map(|version| version.name().to_owned())
        .collect();
    let newest = spoken.last().map(|(_, flight)| *flight);
    let certificates = match handshake.certificates.is_empty() {
        false => handshake.certificates,
        true => newest_certificates(&spoken),
    };
    let chain: Vec<Seen> =
        certificates.iter().filter_map(|der| read_certificate(der).or_else(|| read_front(der))).collect();
    let now_s = jiff::Timestamp::now().as_second();
    let tls = Tls {
        versions,
        cipher: handshake.cipher.or(newest.and_then(|flight| flight.cipher)).map(suite_name),
        alpn: handshake.alpn,
        starttls: upgrade.map(|upgrade| upgrade.word().to_owned()),
        problems: problems(&chain, endpoint.name, now_s),
        chain: chain.into_iter().map(|seen| seen.certificate).collect(),
    };
    Inspected { tls: Some(tls), refusal: None, wants_certificate, weak_suites }
}

/// The suites that a server chooses when it is offered weak ones alone, each in turn, as far as it goes on.
async fn weak_suites(endpoint: &Endpoint<'_>, upgrade: Option<Upgrade>, version: Version) -> Vec<String> {
    let mut offered = SUITES_WEAK.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < WEAK_MAX && !offered.is_empty() {
        let hello = hello_with(Suites::These(&offered), &[version], endpoint.name);
        let Some(flight) = flight_to(endpoint, upgrade, hello).await else { break };
        let is_spoken = flight.version == Some(version.wire());
        let Some(cipher) = flight.cipher.filter(|cipher| is_spoken && offered.contains(cipher)) else { break };
        offered.retain(|suite| *suite != cipher);
        chosen.push(suite_name(cipher));
    }
    chosen
}

/// Asks once more, with what hardly any server speaks, where all was refused for the suites.
async fn ask_with_rare_suites(
    endpoint: &Endpoint<'_>,
    upgrade: Option<Upgrade>,
    flights: &mut [(Version, Option<Flight>)],
) {
    for (version, flight) in flights {
        if *version > Version::Ssl3 && flight.as_ref().is_some_and(Flight::is_refusal_of_suites) {
            *flight = flight_to(endpoint, upgrade, hello_with(Suites::Rare, &[*version], endpoint.name)).await;
        }
    }
}

fn newest_certificates(spoken: &[(Version, &Flight)]) -> Vec<Vec<u8>> {
    let with = spoken.iter().rev().find(|(_, flight)| !flight.certificates.is_empty());
    with.map(|(_, flight)| flight.certificates.clone()).unwrap_or_default()
}

/// A whole handshake: with the protocol that would be spoken inside, and where that is refused with any other.
async fn handshake(endpoint: &Endpoint<'_>, connector: &TlsConnector, upgrade: Option<Upgrade>) -> Option<Handshake> {
    match handshake_with(endpoint, connector, upgrade).await? {
        Err(error) if is_refusal_of_protocol(&error) => {
            handshake_with(endpoint, &connector_for(&ALPN), upgrade).await?.ok()
        }
        handshake => handshake.ok(),
    }
}

/// Whether a handshake failed for what would be spoken inside.
fn is_refusal_of_protocol(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)))
}

async fn handshake_with(
    endpoint: &Endpoint<'_>,
    connector: &TlsConnector,
    upgrade: Option<Upgrade>,
) -> Option<std::io::Result<Handshake>> {
    let Opened { mut stream, permit: _permit, .. } = endpoint.open(Stage::Tls).await.ok()?;
    if let Some(upgrade) = upgrade {
        upgrade.carry_out(&mut stream, endpoint.name, endpoint.deadline).await.then_some(())?;
    }
    let stream = match endpoint.handshake(connector, Upgrade::carried(upgrade, stream)).await {
        Ok(stream) => stream,
        Err(error) => return Some(Err(error)),
    };
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    Some(Ok(Handshake {
        certificates: certificates.iter().take(flight::CERTIFICATES_MAX).map(|der| der.to_vec()).collect(),
        version: session.protocol_version().map(u16::from),
        cipher: session.negotiated_cipher_suite().map(|suite| u16::from(suite.suite())),
        alpn: session.alpn_protocol().and_then(crate::finding::printable_banner),
    }))
}

/// The first flight in answer to a hello that offers these versions.
async fn first_flight(endpoint: &Endpoint<'_>, versions: &[Version], upgrade: Option<Upgrade>) -> Option<Flight> {
    flight_to(endpoint, upgrade, hello_with(Suites::Usual, versions, endpoint.name)).await
}

/// The first flight in answer to a hello, if there is one.
async fn flight_to(endpoint: &Endpoint<'_>, upgrade: Option<Upgrade>, hello: Option<Vec<u8>>) -> Option<Flight> {
    let hello = hello?;
    let Opened { mut stream, permit: _permit, .. } = endpoint.open(Stage::Tls).await.ok()?;
    if let Some(upgrade) = upgrade {
        upgrade.carry_out(&mut stream, endpoint.name, endpoint.deadline).await.then_some(())?;
    }
    let mut stream = Upgrade::carried(upgrade, stream);
    let until = endpoint.deadline.min(Instant::now() + FLIGHT_WAIT);
    connection::send(&mut stream, &hello, until).await.then_some(())?;
    let mut bytes = Vec::new();
    let patience = Patience { first: until, gap: FLIGHT_GAP, last: until };
    connection::read(&mut stream, &mut bytes, patience, |bytes| match read_flight(bytes) {
        Some(flight) => flight.is_complete,
        None => bytes.len() > 5,
    })
    .await;
    read_flight(&bytes)
}

/// A hello with fresh random bytes; `None` when this machine has none.
fn hello_with(suites: Suites<'_>, versions: &[Version], name: Option<&str>) -> Option<Vec<u8>> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).ok()?;
    Some(hello_of(suites, versions, name, random))
}

/// A hello that any TLS server answers, to find out whether one is there.
pub(super) fn any_hello(name: Option<&str>) -> Vec<u8> {
    // Without random bytes a fixed hello is as good a question.
    hello_with(Suites::Usual, &ANY, name).unwrap_or_else(|| client_hello(&ANY, name, [0x5a; 32]))
}

/// IANA's name of a suite, or its number.
fn suite_name(number: u16) -> String {
    match CipherSuite::from(number).as_str() {
        // The library puts the version into the names of TLS 1.3's suites.
        Some(name) => name.replacen("TLS13_", "TLS_", 1),
        None => format!("0x{number:04x}"),
    }
}

/// A client that accepts every certificate, to be able to look at it.
///
/// # Panics
/// When the library refuses the versions that it was built with.
pub(super) fn connector() -> TlsConnector {
    connector_for(&["http/1.1"])
}

/// The same, which names these protocols as what would be spoken inside.
pub(super) fn connector_for(protocols: &[&str]) -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Nothing is resumed: each handshake is to show the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
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
        ]);
        schemes.dedup();
        schemes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_that_iana_gave_them() {
        assert_eq!(suite_name(0x1301), "TLS_AES_128_GCM_SHA256");
        assert_eq!(suite_name(0xc02f), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(suite_name(0x0005), "TLS_RSA_WITH_RC4_128_SHA");
        assert_eq!(suite_name(0xdead), "0xdead");
    }
}
