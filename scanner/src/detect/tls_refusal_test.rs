//! Servers of TLS that refuse a hello for what it offers, that are late, or that want to see a certificate: what can be seen of
//! their TLS is seen all the same.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::LazyConfigAcceptor;

use super::tests::{Server, drain, identify_by_rules, page, request, service};
use super::*;

/// Which hellos are refused.
#[derive(Debug, Clone, Copy)]
enum Gate {
    /// Those that name protocols, and not this one; who names none is let in.
    Without(&'static [u8]),
    /// Those that do not name this one.
    Strict(&'static [u8]),
    /// Those that name any.
    Named,
    /// Those that do not name this group, which is of the certificate's key.
    Curve(u16),
    /// None.
    Open,
}

/// How.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Alert(u8),
    Closed,
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
const NEW: &[&SupportedProtocolVersion] = &[&TLS13];

fn config(versions: &[&'static SupportedProtocolVersion], gate: Gate, wants_certificate: bool) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["gate.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let config = if wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    if let Gate::Without(name) | Gate::Strict(name) = gate {
        config.alpn_protocols = vec![name.to_vec()];
    }
    Arc::new(config)
}

async fn serve(stream: TcpStream, config: Arc<ServerConfig>, gate: Gate, refusal: Refusal, delay: Duration) {
    let Ok(begun) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
    let is_refused = {
        let hello = begun.client_hello();
        let named: Vec<Vec<u8>> = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        let names = |wanted: &[u8]| named.iter().any(|name| name == wanted);
        match gate {
            Gate::Without(wanted) => !named.is_empty() && !names(wanted),
            Gate::Strict(wanted) => !names(wanted),
            Gate::Named => !named.is_empty(),
            Gate::Curve(group) => !hello.named_groups().unwrap_or_default().contains(&NamedGroup::Unknown(group)),
            Gate::Open => false,
        }
    };
    sleep(delay).await;
    if is_refused {
        let mut stream = begun.io;
        if let Refusal::Alert(alert) = refusal {
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await;
        }
        return;
    }
    let Ok(mut stream) = begun.into_stream(config).await else { return };
    if request(&mut stream).await.is_some() {
        let answer = page("200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html", "<title>Inside</title>");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

async fn ask(target: SocketAddr) -> Service {
    service(identify_by_rules(target, &Options::default()).await)
}

/// Versions and subject that a gate lets be seen, and the facts.
async fn behind(
    versions: &[&'static SupportedProtocolVersion],
    gate: Gate,
    refusal: Refusal,
) -> (Vec<String>, Option<String>, Service) {
    let config = config(versions, gate, false);
    let server = Server::start(move |stream| serve(stream, Arc::clone(&config), gate, refusal, Duration::ZERO)).await;
    let found = ask(server.address).await;
    let tls = found.tls.clone().unwrap_or_default();
    (tls.versions.clone(), tls.chain.first().map(|own| own.names.join(" ")), found)
}

#[tokio::test]
async fn a_server_that_refuses_what_is_offered_inside_shows_its_certificate() {
    for (gate, refusal) in [
        (Gate::Without(b"nats"), Refusal::Alert(120)),
        (Gate::Without(b"nats"), Refusal::Alert(40)),
        (Gate::Without(b"nats"), Refusal::Closed),
        (Gate::Named, Refusal::Alert(110)),
        (Gate::Named, Refusal::Closed),
        (Gate::Strict(b"h2"), Refusal::Closed),
        (Gate::Strict(b"imap"), Refusal::Closed),
    ] {
        let (versions, names, found) = behind(BOTH, gate, refusal).await;
        assert_eq!(versions, ["TLSv1.2", "TLSv1.3"], "{gate:?} {refusal:?}");
        assert_eq!(names.as_deref(), Some("gate.example"), "{gate:?} {refusal:?}");
        if !matches!(gate, Gate::Strict(b"h2")) {
            assert_eq!(found.product.as_deref(), Some("nginx"), "{gate:?} {refusal:?}: what is inside is asked so too");
        }
        if let (Gate::Without(_), Refusal::Alert(120)) = (gate, refusal) {
            let refused = ("tls-refusal".to_owned(), "no_application_protocol".to_owned());
            assert!(found.facts.contains(&refused), "{:?}", found.facts);
        }
    }
}

/// OpenSSL refuses so where its key is of Brainpool's curves.
#[tokio::test]
async fn what_is_inside_is_asked_where_a_certificate_is_shown_to_those_alone_who_know_its_curve() {
    for curve in [0x001a, 0x001b, 0x001c] {
        let (versions, names, found) = behind(&[&TLS12], Gate::Curve(curve), Refusal::Alert(40)).await;
        assert_eq!((versions, names.as_deref()), (vec!["TLSv1.2".to_owned()], Some("gate.example")), "{curve:#x}");
        assert_eq!(found.product.as_deref(), Some("nginx"), "{curve:#x}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_encrypted_is_seen_in_whatever_way_the_protocol_is_refused() {
    for refusal in [Refusal::Alert(120), Refusal::Alert(40), Refusal::Alert(47), Refusal::Alert(80), Refusal::Closed] {
        let (versions, names, found) = behind(NEW, Gate::Strict(b"h2"), refusal).await;
        assert_eq!((versions, names.as_deref()), (vec!["TLSv1.3".to_owned()], Some("gate.example")), "{refusal:?}");
        assert_eq!(found.tls.and_then(|tls| tls.alpn).as_deref(), Some("h2"), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_in_secret_is_told() {
    let config = config(NEW, Gate::Open, true);
    let server =
        Server::start(move |stream| serve(stream, Arc::clone(&config), Gate::Open, Refusal::Closed, Duration::ZERO))
            .await;
    let found = ask(server.address).await;
    assert!(found.facts.iter().any(|(name, _)| name == "tls-client-certificate"), "{:?}", found.facts);
    let names = found.tls.and_then(|tls| tls.chain.first().map(|own| own.names.join(" ")));
    assert_eq!(names.as_deref(), Some("gate.example"));
}

#[tokio::test]
async fn a_server_that_answers_a_hello_late_is_no_wrapper() {
    for (address, delay_ms) in [("127.55.5.1:8443", 2200), ("127.55.5.1:993", 2200), ("127.55.5.1:47301", 1700)] {
        let config = config(BOTH, Gate::Open, false);
        let delay = Duration::from_millis(delay_ms);
        let server =
            Server::on(address, move |stream| serve(stream, Arc::clone(&config), Gate::Open, Refusal::Closed, delay))
                .await;
        let tls = ask(server.address).await.tls.expect("it speaks TLS");
        assert!(tls.versions.iter().any(|version| version == "TLSv1.3"), "{address}: {:?}", tls.versions);
        assert_eq!(tls.chain.first().map(|own| own.names.join(" ")).as_deref(), Some("gate.example"), "{address}");
    }
}

#[tokio::test]
async fn an_alert_in_two_segments_is_one_and_a_late_one_is_waited_for() {
    for (address, pause_ms) in [("127.55.5.2:8443", [0, 600]), ("127.55.5.3:8443", [2300, 0])] {
        let server = Server::on(address, move |mut stream| async move {
            // It takes hellos, and closes on everything else at once.
            if stream.read_u8().await.is_ok_and(|first| first == 22) {
                sleep(Duration::from_millis(pause_ms[0])).await;
                let _ = stream.write_all(&[21, 3, 3]).await;
                sleep(Duration::from_millis(pause_ms[1])).await;
                let _ = stream.write_all(&[0, 2, 2, 40]).await;
                drain(&mut stream).await;
            }
        })
        .await;
        let found = ask(server.address).await;
        assert_eq!(found.name, "tls", "{found:?}");
        assert!(found.facts.contains(&("tls-refusal".to_owned(), "handshake_failure".to_owned())), "{found:?}");
    }
}

/// What is said to a hello, and to a request in the clear of each version of HTTP.
struct Alerting {
    to_hello: &'static [u8],
    to_old: &'static [u8],
    to_new: &'static [u8],
}

const ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
const OLD_ALERT: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
const HELLO: &[u8] = &[22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

async fn alert(mut stream: TcpStream, alerting: &'static Alerting) {
    let mut bytes = [0; 2048];
    let Ok(count @ 1..) = stream.read(&mut bytes).await else { return };
    let said = &bytes[..count];
    let is_new = said.windows(8).any(|window| window == b"HTTP/1.1");
    let answer = match said[0] {
        22 => alerting.to_hello,
        _ if is_new => alerting.to_new,
        _ => alerting.to_old,
    };
    let _ = stream.write_all(answer).await;
}

#[tokio::test]
async fn what_only_tls_says_is_a_hint_where_clear_text_is_answered_so() {
    const NO: &[u8] = b"";
    static CASES: [(&str, Alerting, Option<&str>); 7] = [
        ("127.55.5.4:8080", Alerting { to_hello: NO, to_old: ALERT, to_new: ALERT }, None),
        ("127.55.5.4:47302", Alerting { to_hello: NO, to_old: OLD_ALERT, to_new: ALERT }, None),
        ("127.55.5.4:47303", Alerting { to_hello: NO, to_old: HELLO, to_new: HELLO }, None),
        ("127.55.5.4:47304", Alerting { to_hello: b"what?\r\n", to_old: ALERT, to_new: ALERT }, None),
        ("127.55.5.4:8081", Alerting { to_hello: NO, to_old: ALERT, to_new: PAGE }, Some("http")),
        ("127.55.5.4:47305", Alerting { to_hello: NO, to_old: ALERT, to_new: PAGE }, Some("http")),
        ("127.55.5.4:47306", Alerting { to_hello: ALERT, to_old: ALERT, to_new: ALERT }, Some("tls")),
    ];
    for (address, alerting, expected) in &CASES {
        let server = Server::on(address, move |stream| alert(stream, alerting)).await;
        let found = identify_by_rules(server.address, &Options::default()).await;
        let name = found.service.as_ref().map(|service| service.name.as_str());
        assert_eq!(name, *expected, "{address}: {found:?}");
        assert!(expected != &Some("http") || found.service.unwrap().product.as_deref() == Some("nginx"), "{address}");
    }
}

#[tokio::test]
async fn a_server_of_tls_that_answers_clear_text_by_an_alert_is_one() {
    let config = config(BOTH, Gate::Open, false);
    for address in ["127.55.5.5:8080", "127.55.5.5:47307"] {
        let config = Arc::clone(&config);
        let server = Server::on(address, move |mut stream| {
            let config = Arc::clone(&config);
            async move {
                let mut first = [0];
                if stream.peek(&mut first).await.is_ok_and(|count| count > 0 && first[0] != 22) {
                    let _ = stream.write_all(ALERT).await;
                    return drain(&mut stream).await;
                }
                serve(stream, config, Gate::Open, Refusal::Closed, Duration::ZERO).await;
            }
        })
        .await;
        let found = ask(server.address).await;
        assert_eq!(
            found.tls.and_then(|tls| tls.chain.first().map(|own| own.names.join(" "))).as_deref(),
            Some("gate.example")
        );
        assert_eq!(found.product.as_deref(), Some("nginx"), "{address}");
    }
}

/// Speaks TLS 1.0 alone, up to where keys would be exchanged, over RSA.
async fn speak_old(mut stream: TcpStream, certificate: Vec<u8>) {
    let mut bytes = [0; 2048];
    let Ok(count) = stream.read(&mut bytes).await else { return };
    if !matches!(bytes[..count], [22, 3, _, _, _, 1, _, _, _, 3, minor, ..] if minor > 0) {
        let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
        return;
    }
    let length = |content: &[u8]| u16::try_from(content.len()).unwrap().to_be_bytes();
    let message = |kind: u8, content: &[u8]| [&[kind, 0], &length(content)[..], content].concat();
    let listed = |content: &[u8]| [&[0], &length(content)[..], content].concat();
    let hello = [&[3, 1][..], &[1; 32], &[0, 0, 0x2f, 0]].concat();
    let flight = [message(2, &hello), message(11, &listed(&listed(&certificate))), message(14, &[])].concat();
    let record = [&[22, 3, 1], &length(&flight)[..], &flight].concat();
    let _ = stream.write_all(&record).await;
    drain(&mut stream).await;
}

#[tokio::test]
async fn of_what_no_library_speaks_any_more_version_and_certificate_are_told_and_what_its_port_is_for() {
    let certificate = rcgen::generate_simple_self_signed(vec!["old.example".to_owned()]).unwrap().cert.der().to_vec();
    for (address, info) in [
        ("127.55.5.6:443", "usually https here; nothing can be asked inside"),
        ("127.55.5.6:47308", "nothing can be asked inside"),
    ] {
        let certificate = certificate.clone();
        let server = Server::on(address, move |stream| speak_old(stream, certificate.clone())).await;
        let found = ask(server.address).await;
        let tls = found.tls.unwrap_or_default();
        assert_eq!((found.name.as_str(), found.info.as_deref()), ("tls", Some(info)), "{address}");
        assert_eq!(
            (tls.versions, tls.cipher.as_deref()),
            (vec!["TLSv1.0".to_owned()], Some("TLS_RSA_WITH_AES_128_CBC_SHA"))
        );
        assert_eq!(tls.chain.first().map(|own| own.names.join(" ")).as_deref(), Some("old.example"), "{address}");
    }
}
