//! What a TLS endpoint tells: the versions it speaks, the cipher it chooses, its certificates.
//!
//! Two ways lead there. Hello messages by hand ask for one version each, legacy ones included, and read the first flight.
//! A handshake by a library, with a verifier that accepts all, gives what TLS 1.3 encrypts, and carries what is spoken
//! inside. Nothing here trusts a certificate; it is looked at.

mod certificate;
mod client;
mod flight;
mod hello;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, stream};
use rustls::CipherSuite;
use tokio::time::Instant;

pub use self::certificate::{Seen, problems, read_certificate, read_front};
use self::client::{NoCertificate, connector_with};
pub(super) use self::client::{connector, connector_for};
pub use self::flight::{Flight, alert_name, is_tls, may_become_tls, read_flight};
use self::hello::{ALPN, Offer, SUITES_WEAK, Suites, hello_of};
pub use self::hello::{Version, client_hello};
use super::connection::{self, Endpoint, Opened, Patience};
use super::starttls::Upgrade;
use crate::finding::{Service, Tls};
use crate::gate::Stage;
use crate::port::{Protocol, service_name};

/// Handshakes with one endpoint at once: more would look like an attack to small devices.
const HANDSHAKES: usize = 2;
/// Longest wait for the answer to a hello.
const FLIGHT_WAIT: Duration = Duration::from_secs(3);
/// How sure a name is that rests on a finished TLS handshake alone.
const TLS_CONFIDENCE: u8 = 50;
/// Weak suites of a server that are told: one is bad enough, and each is a connection.
const WEAK_MAX: usize = 8;
/// Between two parts of a flight.
const FLIGHT_GAP: Duration = Duration::from_secs(2);

/// Versions of a hello that any TLS server answers.
const ANY: [Version; 4] = [Version::Tls10, Version::Tls11, Version::Tls12, Version::Tls13];

/// What is named as that which would be spoken inside, one after the other until a server takes one: what is asked for at last,
/// then anything, then nothing at all.
const OFFERS: [&[&str]; 3] = [&["http/1.1"], &ALPN, &[]];

/// What a library's handshake told.
#[derive(Debug, Default)]
struct Handshake {
    certificates: Vec<Vec<u8>>,
    version: Option<u16>,
    cipher: Option<u16>,
    alpn: Option<String>,
    /// Which of [`OFFERS`] it took.
    offer: usize,
    wants_certificate: bool,
}

/// What an inspection came to.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// What was seen; `None` where no handshake got so far.
    pub(super) tls: Option<Tls>,
    /// The alert that every hello was refused with, or that every one was which named what would be spoken inside.
    pub(super) refusal: Option<u8>,
    /// Whether the client's certificate was asked for.
    pub(super) wants_certificate: bool,
    /// Whether it takes no handshake for HTTP/1.1: only for what `tls` says was chosen, or for nothing that is named.
    pub(super) is_particular: bool,
    /// Whether nothing can be asked inside: what it speaks is too old, or exchanges keys in ways that no library goes any more
    /// (decision 0091), or it lets nobody in without a certificate.
    pub(super) is_out_of_reach: bool,
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

    /// The service where only its TLS is known, and what its port's number says where nobody can ask.
    pub(super) fn alone(&self, port: u16) -> Service {
        let confidence = if self.tls.is_some() { TLS_CONFIDENCE } else { TLS_CONFIDENCE / 2 };
        let likely = service_name(port, Protocol::Tcp).map(|name| format!("usually {name} here; "));
        let info = self.is_out_of_reach.then(|| likely.unwrap_or_default() + "nothing can be asked inside");
        Service { name: "tls".to_owned(), confidence, info, ..Service::default() }
    }
}

/// Looks at the TLS of an endpoint, after an upgrade where the protocol has one.
pub(super) async fn inspect(endpoint: &Endpoint<'_>, upgrade: Option<Upgrade>) -> Inspected {
    let mut asking = Asking { endpoint, upgrade, protocols: &ALPN };
    // Where the upgrade is refused once, it is not asked for five times more.
    if upgrade.is_some() && asking.flight(Suites::Usual, &ANY).await.is_none() {
        return Inspected::default();
    }
    let (handshake, mut flights) = futures::join!(asking.handshake(), asking.flights());
    let is_refused = |flights: &[(Version, Option<Flight>)]| {
        flights.iter().all(|(_, flight)| flight.as_ref().is_none_or(Flight::is_refusal))
    };
    let is_of_the_name = flights.iter().any(|(_, flight)| flight.as_ref().is_some_and(Flight::is_of_the_name));
    // Some refuse whatever names what would be spoken inside.
    let bare = Asking { protocols: &[], ..asking };
    let is_bare_taken = match &handshake {
        Some(handshake) => handshake.offer + 1 == OFFERS.len(),
        None if is_refused(&flights) && !is_of_the_name => {
            bare.flight(Suites::Usual, &ANY).await.is_some_and(|flight| !flight.is_refusal())
        }
        None => false,
    };
    let mut refusal = None;
    if is_bare_taken {
        asking = bare;
        refusal = newest_alert(&flights);
        flights = asking.flights().await;
    }
    if handshake.is_none() && is_refused(&flights) {
        asking.ask_with_rare_suites(&mut flights).await;
    }
    let spoken = flights.iter().filter_map(|(version, flight)| {
        let flight = flight.as_ref()?;
        (flight.version == Some(version.wire())).then_some((*version, flight))
    });
    let spoken: Vec<(Version, &Flight)> = spoken.collect();
    let is_wanted = spoken.iter().any(|(_, flight)| flight.wants_certificate);
    if spoken.is_empty() && handshake.is_none() {
        return Inspected { refusal: newest_alert(&flights), ..Inspected::default() };
    }
    let old = spoken.iter().map(|(version, _)| *version).filter(|version| *version < Version::Tls13).max();
    let weak_suites = match old {
        Some(version) => asking.weak_suites(version).await,
        None => Vec::new(),
    };
    let is_out_of_reach = handshake.is_none();
    let handshake = handshake.unwrap_or_default();
    let wants_certificate = is_wanted || handshake.wants_certificate;
    let is_particular = handshake.offer > 0;
    let versions = versions(handshake.version, &spoken);
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
    Inspected { tls: Some(tls), refusal, wants_certificate, is_particular, is_out_of_reach, weak_suites }
}

/// The names of the versions that were spoken, in the handshake or by hellos alone.
fn versions(in_handshake: Option<u16>, spoken: &[(Version, &Flight)]) -> Vec<String> {
    let is_spoken =
        |version: &Version| in_handshake == Some(version.wire()) || spoken.iter().any(|(known, _)| known == version);
    Version::ALL.into_iter().filter(is_spoken).map(|version| version.name().to_owned()).collect()
}

/// Whether a server chooses this protocol when it is offered that alone. Some go on without any where they are offered others, and then
/// say nothing.
pub(super) async fn chooses(endpoint: &Endpoint<'_>, protocol: &str) -> bool {
    let asking = Asking { endpoint, upgrade: None, protocols: &[] };
    let handshake = asking.handshake_with(&[protocol]).await;
    handshake.is_some_and(|told| told.is_ok_and(|told| told.alpn.as_deref() == Some(protocol)))
}

/// Whom to ask with hellos, and how.
#[derive(Clone, Copy)]
struct Asking<'a, 'e> {
    endpoint: &'a Endpoint<'e>,
    upgrade: Option<Upgrade>,
    /// What the hellos by hand name as that which would be spoken inside.
    protocols: &'static [&'static str],
}

impl Asking<'_, '_> {
    /// The first flight in answer to a hello that offers these versions, if there is one.
    async fn flight(&self, suites: Suites<'_>, versions: &[Version]) -> Option<Flight> {
        let offer = Offer { suites, protocols: self.protocols };
        let hello = hello_with(&offer, versions, self.endpoint.name)?;
        let Opened { stream, permit: _permit, .. } = self.open().await?;
        let mut stream = Upgrade::carried(self.upgrade, stream);
        let until = self.endpoint.deadline().min(Instant::now() + FLIGHT_WAIT);
        connection::send(&mut stream, &hello, until).await.then_some(())?;
        let mut bytes = Vec::new();
        let patience = Patience { first: until, gap: FLIGHT_GAP, last: until };
        connection::read(&mut stream, &mut bytes, patience, |bytes| match read_flight(bytes) {
            Some(flight) => flight.is_complete,
            None => !may_become_tls(bytes),
        })
        .await;
        read_flight(&bytes)
    }

    /// The first flight in answer to each version, oldest first. The newest is asked first: a server that is late leaves no time
    /// for all.
    async fn flights(&self) -> Vec<(Version, Option<Flight>)> {
        let flights = stream::iter(Version::ALL.into_iter().rev())
            .map(|version| async move { (version, self.flight(Suites::Usual, &[version]).await) })
            .buffered(HANDSHAKES - 1);
        let mut flights = flights.collect::<Vec<_>>().await;
        flights.reverse();
        flights
    }

    /// The suites that a server chooses when it is offered weak ones alone, each in turn, as far as it goes on.
    async fn weak_suites(&self, version: Version) -> Vec<String> {
        let mut offered = SUITES_WEAK.to_vec();
        let mut chosen = Vec::new();
        while chosen.len() < WEAK_MAX && !offered.is_empty() {
            let Some(flight) = self.flight(Suites::These(&offered), &[version]).await else { break };
            let is_spoken = flight.version == Some(version.wire());
            let Some(cipher) = flight.cipher.filter(|cipher| is_spoken && offered.contains(cipher)) else { break };
            offered.retain(|suite| *suite != cipher);
            chosen.push(suite_name(cipher));
        }
        chosen
    }

    /// Asks once more, with what hardly any server speaks, where all was refused for the suites.
    async fn ask_with_rare_suites(&self, flights: &mut [(Version, Option<Flight>)]) {
        for (version, flight) in flights {
            if *version > Version::Ssl3 && flight.as_ref().is_some_and(Flight::is_refusal_of_suites) {
                // Without an answer in time the refusal is what is known.
                *flight = self.flight(Suites::Rare, &[*version]).await.or(flight.take());
            }
        }
    }

    /// A whole handshake, with the first of [`OFFERS`] that is taken.
    async fn handshake(&self) -> Option<Handshake> {
        for (offer, protocols) in OFFERS.into_iter().enumerate() {
            match self.handshake_with(protocols).await? {
                Ok(handshake) => return Some(Handshake { offer, ..handshake }),
                Err(error) if may_be_for_the_protocol(&error) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// A handshake that names these protocols; `None` where it did not begin, or ended for want of a certificate.
    async fn handshake_with(&self, protocols: &[&str]) -> Option<io::Result<Handshake>> {
        let Opened { stream, permit: _permit, .. } = self.open().await?;
        let asked = Arc::new(NoCertificate::default());
        let connector = connector_with(protocols, Arc::clone(&asked));
        let handshake = self.endpoint.handshake(&connector, Upgrade::carried(self.upgrade, stream)).await;
        let wants_certificate = asked.was_asked.load(Ordering::Relaxed);
        let stream = match handshake {
            Ok(stream) => stream,
            Err(_) if wants_certificate => return None,
            Err(error) => return Some(Err(error)),
        };
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        Some(Ok(Handshake {
            certificates: certificates.iter().take(flight::CERTIFICATES_MAX).map(|der| der.to_vec()).collect(),
            version: session.protocol_version().map(u16::from),
            cipher: session.negotiated_cipher_suite().map(|suite| u16::from(suite.suite())),
            alpn: session.alpn_protocol().and_then(crate::finding::printable_banner),
            offer: 0,
            wants_certificate,
        }))
    }

    /// A connection up to where a handshake begins.
    async fn open(&self) -> Option<Opened<'_>> {
        let mut opened = self.endpoint.open(Stage::Tls).await.ok()?;
        if let Some(upgrade) = self.upgrade {
            let (name, deadline) = (self.endpoint.name, self.endpoint.deadline());
            upgrade.carry_out(&mut opened.stream, name, deadline).await.then_some(())?;
        }
        Some(opened)
    }
}

/// The alert to the newest version that was refused: older ones are refused for being old.
fn newest_alert(flights: &[(Version, Option<Flight>)]) -> Option<u8> {
    flights.iter().rev().find_map(|(_, flight)| flight.as_ref()?.alert)
}

fn newest_certificates(spoken: &[(Version, &Flight)]) -> Vec<Vec<u8>> {
    let with = spoken.iter().rev().find(|(_, flight)| !flight.certificates.is_empty());
    with.map(|(_, flight)| flight.certificates.clone()).unwrap_or_default()
}

/// Whether a handshake may have failed for what would be spoken inside: by an alert that says nothing else, or, as some do it,
/// by a close without a word.
fn may_be_for_the_protocol(error: &io::Error) -> bool {
    use rustls::AlertDescription as Alert;
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            !matches!(alert, Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::UnrecognisedName)
        }
        Some(_) => false,
        None => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

/// A hello with fresh random bytes; `None` when this machine has none.
fn hello_with(offer: &Offer<'_>, versions: &[Version], name: Option<&str>) -> Option<Vec<u8>> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).ok()?;
    Some(hello_of(offer, versions, name, random))
}

/// A hello that any TLS server answers, to find out whether one is there; a bare one is for those that close on what would be
/// spoken inside.
pub(super) fn any_hello(name: Option<&str>, is_bare: bool) -> Vec<u8> {
    let offer = Offer { protocols: if is_bare { &[] } else { &ALPN }, ..Offer::default() };
    // Without random bytes a fixed hello is as good a question.
    hello_with(&offer, &ANY, name).unwrap_or_else(|| hello_of(&offer, &ANY, name, [0x5a; 32]))
}

/// IANA's name of a suite, or its number.
fn suite_name(number: u16) -> String {
    match CipherSuite::from(number).as_str() {
        // The library puts the version into the names of TLS 1.3's suites.
        Some(name) => name.replacen("TLS13_", "TLS_", 1),
        None => format!("0x{number:04x}"),
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
