//! What a TLS endpoint tells: the versions it speaks, the cipher it chooses, its certificates.
//!
//! Two ways lead there. Hello messages by hand ask for one version each, legacy ones included, and read the first flight.
//! A handshake by a library, with a verifier that accepts all, gives what TLS 1.3 encrypts, and carries what is spoken
//! inside. Nothing here trusts a certificate; it is looked at.

mod certificate;
mod flight;
mod hello;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

pub use self::certificate::{Seen, problems, read_certificate, read_front};
pub(super) use self::flight::begins_as_tls;
pub use self::flight::{Flight, alert_name, is_tls, read_flight};
use self::hello::{ALPN, Offer, SUITES_WEAK, Suites, hello_of};
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
pub(super) const FLIGHT_GAP: Duration = Duration::from_secs(1);

/// Versions of a hello that any TLS server answers.
const ANY: [Version; 4] = [Version::Tls10, Version::Tls11, Version::Tls12, Version::Tls13];

/// What a library's handshake told.
#[derive(Debug, Default)]
struct Handshake {
    certificates: Vec<Vec<u8>>,
    version: Option<u16>,
    cipher: Option<u16>,
    alpn: Option<String>,
    /// Whether the client's certificate was asked for, which TLS 1.3 encrypts.
    wants_certificate: bool,
}

/// What an inspection came to.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// What was seen; `None` where no handshake got so far.
    pub(super) tls: Option<Tls>,
    /// The alert that every hello was refused with, or that every one was which named application protocols.
    pub(super) refusal: Option<u8>,
    /// Whether the client's certificate was asked for.
    pub(super) wants_certificate: bool,
    /// Names of the weak suites that were chosen where only such were offered.
    pub(super) weak_suites: Vec<String>,
    /// How a handshake came about where the usual one was refused.
    pub(super) config: Option<Arc<ClientConfig>>,
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
    if upgrade.is_some() && first_flight(endpoint, &ANY, &ALPN, upgrade).await.is_none() {
        return Inspected::default();
    }
    let Answers { handshake, flights, protocols, refusal, config } = ask(endpoint, connector, upgrade).await;
    let spoken = flights.iter().filter_map(|(version, flight)| {
        let flight = flight.as_ref()?;
        (flight.version == Some(version.wire())).then_some((*version, flight))
    });
    let spoken: Vec<(Version, &Flight)> = spoken.collect();
    let wants_certificate = spoken.iter().any(|(_, flight)| flight.wants_certificate)
        || handshake.as_ref().is_some_and(|handshake| handshake.wants_certificate);
    if spoken.is_empty() && handshake.is_none() {
        return Inspected { refusal: newest_alert(&flights), ..Inspected::default() };
    }
    let old = spoken.iter().map(|(version, _)| *version).filter(|version| *version < Version::Tls13).max();
    let weak_suites = match old {
        Some(version) => weak_suites(endpoint, upgrade, version, protocols).await,
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
    Inspected { tls: Some(tls), refusal, wants_certificate, weak_suites, config }
}

/// What hellos and handshakes were answered.
struct Answers {
    handshake: Option<Handshake>,
    flights: Vec<(Version, Option<Flight>)>,
    /// The application protocols that were offered then.
    protocols: &'static [&'static str],
    /// The alert to those that were offered before.
    refusal: Option<u8>,
    config: Option<Arc<ClientConfig>>,
}

/// Asks by every version and by a library, as often as it takes. Servers refuse application protocols that they do not speak,
/// or that any is named at all, in whatever way, by an alert or by closing: what they refuse is asked again with every protocol
/// there is, and then without one.
async fn ask(endpoint: &Endpoint<'_>, connector: &TlsConnector, upgrade: Option<Upgrade>) -> Answers {
    let (tried, mut flights) =
        futures::join!(handshake(endpoint, connector, upgrade), first_flights(endpoint, &ALPN, upgrade));
    let is_refused = |flights: &[(Version, Option<Flight>)]| {
        flights.iter().all(|(_, flight)| flight.as_ref().is_none_or(Flight::is_refusal))
    };
    let mut protocols: &'static [&'static str] = &ALPN;
    let mut refusal = None;
    if !tried.is_made() && is_refused(&flights) {
        let bare = first_flight(endpoint, &ANY, &[], upgrade).await;
        if bare.is_some_and(|flight| flight.version.is_some()) {
            protocols = &[];
            refusal = newest_alert(&flights);
            flights = first_flights(endpoint, protocols, upgrade).await;
        } else {
            ask_with_rare_suites(endpoint, upgrade, &mut flights).await;
        }
    }
    let (handshake, config) = match tried {
        Tried::Made(handshake) => (Some(handshake), None),
        Tried::Refused(is_for_protocol) if is_for_protocol || speaks_as_libraries(&flights) => {
            let other = connector_for(protocols);
            match handshake(endpoint, &other, upgrade).await {
                Tried::Made(handshake) => (Some(handshake), Some(Arc::clone(other.config()))),
                _ => (None, None),
            }
        }
        _ => (None, None),
    };
    Answers { handshake, flights, protocols, refusal, config }
}

/// The alert to the newest version that was refused: older ones are refused for being old.
fn newest_alert(flights: &[(Version, Option<Flight>)]) -> Option<u8> {
    flights.iter().rev().find_map(|(_, flight)| flight.as_ref()?.alert)
}

/// The suites that a server chooses when it is offered weak ones alone, each in turn, as far as it goes on.
async fn weak_suites(
    endpoint: &Endpoint<'_>,
    upgrade: Option<Upgrade>,
    version: Version,
    protocols: &[&str],
) -> Vec<String> {
    let mut offered = SUITES_WEAK.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < WEAK_MAX && !offered.is_empty() {
        let offer = Offer { suites: Suites::These(&offered), versions: &[version], protocols };
        let hello = hello_with(offer, endpoint.name);
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
            let offer = Offer { suites: Suites::Rare, versions: &[*version], protocols: &ALPN };
            *flight = flight_to(endpoint, upgrade, hello_with(offer, endpoint.name)).await;
        }
    }
}

fn newest_certificates(spoken: &[(Version, &Flight)]) -> Vec<Vec<u8>> {
    let with = spoken.iter().rev().find(|(_, flight)| !flight.certificates.is_empty());
    with.map(|(_, flight)| flight.certificates.clone()).unwrap_or_default()
}

/// What became of a handshake.
#[derive(Debug)]
enum Tried {
    Made(Handshake),
    /// The other side would not; whether for what would be spoken inside.
    Refused(bool),
    /// There was no connection, no answer in time, or one that the library does not know what to do with.
    Failed,
}

impl Tried {
    fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }

    fn of(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::Refused(*alert == rustls::AlertDescription::NoApplicationProtocol)
            }
            None if error.kind() != std::io::ErrorKind::TimedOut => Self::Refused(false),
            _ => Self::Failed,
        }
    }
}

/// Whether a flight is of a version that the library speaks too.
fn speaks_as_libraries(flights: &[(Version, Option<Flight>)]) -> bool {
    let is_spoken = |(version, flight): &(Version, Option<Flight>)| {
        *version >= Version::Tls12 && flight.as_ref().is_some_and(|flight| flight.version == Some(version.wire()))
    };
    flights.iter().any(is_spoken)
}

/// A whole handshake.
async fn handshake(endpoint: &Endpoint<'_>, connector: &TlsConnector, upgrade: Option<Upgrade>) -> Tried {
    let Ok(Opened { mut stream, permit: _permit, .. }) = endpoint.open(Stage::Tls).await else { return Tried::Failed };
    if let Some(upgrade) = upgrade
        && !upgrade.carry_out(&mut stream, endpoint.name, endpoint.deadline).await
    {
        return Tried::Failed;
    }
    let asked = Arc::new(Asked::default());
    let mut config = ClientConfig::clone(connector.config());
    config.client_auth_cert_resolver = Arc::<Asked>::clone(&asked);
    let connector = TlsConnector::from(Arc::new(config));
    let stream = match endpoint.handshake(&connector, Upgrade::carried(upgrade, stream)).await {
        Ok(stream) => stream,
        Err(error) => return Tried::of(&error),
    };
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    Tried::Made(Handshake {
        certificates: certificates.iter().take(flight::CERTIFICATES_MAX).map(|der| der.to_vec()).collect(),
        version: session.protocol_version().map(u16::from),
        cipher: session.negotiated_cipher_suite().map(|suite| u16::from(suite.suite())),
        alpn: session.alpn_protocol().and_then(crate::finding::printable_banner),
        wants_certificate: asked.0.load(Ordering::Relaxed),
    })
}

/// The first flights in answer to a hello of each version, oldest first. The newest is asked first: a server that is late
/// leaves no time for all.
async fn first_flights(
    endpoint: &Endpoint<'_>,
    protocols: &[&str],
    upgrade: Option<Upgrade>,
) -> Vec<(Version, Option<Flight>)> {
    let flights = stream::iter(Version::ALL.into_iter().rev())
        .map(|version| async move { (version, first_flight(endpoint, &[version], protocols, upgrade).await) })
        .buffered(HANDSHAKES - 1);
    let mut flights = flights.collect::<Vec<_>>().await;
    flights.reverse();
    flights
}

/// The first flight in answer to a hello that offers these versions and protocols.
async fn first_flight(
    endpoint: &Endpoint<'_>,
    versions: &[Version],
    protocols: &[&str],
    upgrade: Option<Upgrade>,
) -> Option<Flight> {
    flight_to(endpoint, upgrade, hello_with(Offer { suites: Suites::Usual, versions, protocols }, endpoint.name)).await
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
fn hello_with(offer: Offer<'_>, name: Option<&str>) -> Option<Vec<u8>> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).ok()?;
    Some(hello_of(offer, name, random))
}

/// A hello that any TLS server answers, to find out whether one is there; `is_bare` names no application protocol.
pub(super) fn any_hello(name: Option<&str>, is_bare: bool) -> Vec<u8> {
    let offer = Offer { suites: Suites::Usual, versions: &ANY, protocols: if is_bare { &[] } else { &ALPN } };
    // Without random bytes a fixed hello is as good a question.
    hello_with(offer, name).unwrap_or_else(|| hello_of(offer, name, [0x5a; 32]))
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

/// Has no certificate, and notes that one was asked for.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
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
