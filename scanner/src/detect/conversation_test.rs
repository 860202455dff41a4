//! Conversations with servers that are late, speak in parts, or mind how they are asked.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::tests::{Server, drain, identify_by_rules, page, request, service};
use super::*;

/// Asks with the program's rules and the time that a port has.
async fn ask(target: SocketAddr) -> Identified {
    identify_by_rules(target, &Options::default()).await
}

/// Says the parts with a pause between them.
async fn in_parts(stream: &mut TcpStream, parts: &[&str], pause: Duration) {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            sleep(pause).await;
        }
        let _ = stream.write_all(part.as_bytes()).await;
    }
    drain(stream).await;
}

#[tokio::test]
async fn a_line_in_two_segments_is_judged_when_it_is_whole() {
    for (parts, pause_ms, product, version) in [
        (&["SSH-2.0-Op", "enSSH_9.3p1\r\n"][..], 700, "OpenSSH", "9.3p1"),
        (&["220 (vsFTPd 2.", "3.5)\r\n"], 900, "vsftpd", "2.3.5"),
        (&["220 (vsFTPd 2.3", ".5)\r\n"], 400, "vsftpd", "2.3.5"),
        (&["220-", "please wait\r\n", "220 ProFTPD 1.3.8 Server (x) [::1]\r\n"], 600, "ProFTPD", "1.3.8"),
    ] {
        let server = Server::start(move |mut stream| async move {
            in_parts(&mut stream, parts, Duration::from_millis(pause_ms)).await;
        })
        .await;
        let found = service(ask(server.address).await);
        assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some(product), Some(version)), "{parts:?}");
    }
}

#[tokio::test]
async fn a_line_in_two_segments_is_whole_on_a_port_that_is_only_listened_to() {
    let server = Server::on("127.55.1.7:2222", |mut stream| async move {
        in_parts(&mut stream, &["SSH-2.0-Op", "enSSH_9.3p1\r\n"], Duration::from_millis(800)).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("OpenSSH"), Some("9.3p1")));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn half_a_version_is_told_to_nobody() {
    let server = Server::start(|mut stream| async move {
        let _ = stream.write_all(b"220 (vsFTPd 2.").await;
        sleep(Duration::from_secs(30)).await;
    })
    .await;
    let found = ask(server.address).await.service;
    assert!(found.is_none_or(|found| found.version.is_none() && found.cpes.iter().all(|cpe| !cpe.contains("2."))));
}

#[tokio::test]
async fn a_server_that_turns_early_talk_away_is_listened_to_again() {
    let server = Server::start(|mut stream| async move {
        let mut early = [0; 64];
        match timeout(Duration::from_millis(2500), stream.read(&mut early)).await {
            Err(_) => in_parts(&mut stream, &["220 mx.frob.example ESMTP Postfix\r\n"], Duration::ZERO).await,
            Ok(_) => drop(stream.write_all(b"554 5.5.1 Error: speak when you are spoken to\r\n").await),
        }
    })
    .await;
    let identified = ask(server.address).await;
    assert_eq!(identified.banner.as_deref(), Some("220 mx.frob.example ESMTP Postfix"));
    let found = service(identified);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("smtp", Some("Postfix smtpd")));
}

#[tokio::test]
async fn a_server_that_always_complains_is_still_told_by_what_it_says() {
    let server = Server::start(|mut stream| async move {
        let mut early = [0; 64];
        let _ = stream.read(&mut early).await;
        let _ = stream.write_all(b"500 what?\r\n").await;
    })
    .await;
    assert_eq!(ask(server.address).await.banner.as_deref(), Some("500 what?"));
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let server = Server::on("127.55.1.1:8097", |mut stream| async move {
        let _ = request(&mut stream).await;
        let early = "HTTP/1.1 103 Early Hints\r\nServer: hint/9\r\nLink: </a.css>\r\n\r\n";
        let whole =
            page("200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html", "<title>Behind the hints</title>");
        in_parts(&mut stream, &[early, &whole], Duration::from_millis(150)).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("nginx"), Some("1.24.0")));
    let http = found.http.unwrap();
    assert_eq!((http.status, http.title.as_deref()), (200, Some("Behind the hints")));
    assert_eq!(http.server.as_deref(), Some("nginx/1.24.0"));
}

/// Answers a whole request of HTTP/1.1 with a page, and any other with `refusal`.
async fn modern(mut stream: TcpStream, refusal: &'static str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let is_whole = head.contains(" HTTP/1.1\r\n") && head.contains("\r\nHost: ");
    let answer = match is_whole {
        true => page("200 OK\r\nServer: envoy\r\nContent-Type: text/html", "<title>Orders</title>"),
        false if refusal.is_empty() => return,
        false => page(refusal, ""),
    };
    let _ = stream.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn a_server_that_refuses_an_old_request_is_asked_as_a_browser_does() {
    for (address, refusal) in [
        ("127.55.1.2:8096", "426 Upgrade Required"),
        ("127.55.1.3:8096", "400 Bad Request"),
        ("127.55.1.4:8096", "505 HTTP Version Not Supported"),
        ("127.55.1.5:8096", "403 Forbidden"),
        ("127.55.1.6:8096", ""),
        // A number that says nothing of the web.
        ("127.55.1.7:47123", ""),
        ("127.55.1.8:8096", "405 Method Not Allowed"),
        ("127.55.1.9:8096", "411 Length Required"),
        ("127.55.1.10:8096", "500 Internal Server Error"),
        ("127.55.1.11:8096", "503 Service Unavailable"),
        ("127.55.1.12:8096", "302 Found"),
        ("127.55.1.13:8096", "301 Moved Permanently\r\nLocation: /"),
        ("127.55.1.17:8096", "302 Found\r\nLocation: http://elsewhere.example/"),
        ("127.55.1.18:8096", "401 Unauthorized"),
        ("127.55.1.19:8096", "200 OK"),
    ] {
        let server = Server::on(address, move |stream| modern(stream, refusal)).await;
        let identified = ask(server.address).await;
        assert!(
            identified.banner.as_deref().unwrap_or_default().starts_with("HTTP/1.1 200 OK"),
            "{refusal}: {identified:?}"
        );
        let found = service(identified);
        assert_eq!(found.product.as_deref(), Some("Envoy"), "{refusal}");
        let http = found.http.unwrap();
        assert_eq!((http.status, http.title.as_deref()), (200, Some("Orders")), "{refusal}");
    }
}

#[tokio::test]
async fn a_server_that_answers_an_old_request_by_no_http_is_asked_as_a_browser_does() {
    for (address, refusal) in [
        ("127.55.1.14:8096", "ERR unsupported protocol\r\n"),
        ("127.55.1.15:47123", "ERR unsupported protocol\r\n"),
        ("127.55.1.16:47123", "\0\u{1}\u{2}\u{3}"),
    ] {
        let server = Server::on(address, move |mut stream| async move {
            let mut asked = [0; 2048];
            let Ok(length @ 1..) = stream.read(&mut asked).await else { return };
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let is_whole = asked.starts_with("GET / HTTP/1.1\r\n") && asked.contains("\r\nHost: ");
            let answer = page("200 OK\r\nServer: envoy\r\nContent-Type: text/html", "<title>Orders</title>");
            let _ = stream.write_all(if is_whole { answer.as_bytes() } else { refusal.as_bytes() }).await;
        })
        .await;
        let found = service(ask(server.address).await);
        assert_eq!(found.product.as_deref(), Some("Envoy"), "{refusal:?}");
        assert_eq!(found.http.and_then(|page| page.title).as_deref(), Some("Orders"), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_users_probe_is_answered_behind_the_greeting() {
    let file = b"Probe TCP Hello q|HELLO\\r\\n|\nports 47124-47125\nmatch ab m|^a/(\\d)\\r\\n| p/A/ v/$1/\n";
    let probes = ServiceProbes::of_bytes(std::path::Path::new("own.probes"), file).unwrap();
    let rules = RuleSet::builtin().with_service_probes(Arc::new(probes));
    let detector = Detector::new(Arc::new(rules), 64);
    // At once, so that it is heard before the question is sent, and after it was.
    for (address, pause_ms) in [("127.55.1.24:47124", 0), ("127.55.1.24:47125", 900)] {
        let server = Server::on(address, move |mut stream| async move {
            sleep(Duration::from_millis(pause_ms)).await;
            let _ = stream.write_all(b"Welcome\r\n").await;
            let mut asked = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut asked).await {
                let answer: &[u8] = if asked[..length].starts_with(b"HELLO\r\n") { b"a/7\r\n" } else { b"?\r\n" };
                let _ = stream.write_all(answer).await;
            }
        })
        .await;
        let found = detector.identify(server.address, Protocol::Tcp, None, &Options::default()).await;
        let found = service(found);
        assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("A"), Some("7")), "{address}");
    }
}

/// TLS that takes nothing but HTTP/2.
fn acceptor_of_http_2() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["two.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A server whose TLS takes nothing but HTTP/2, and answers each request for `/` by this page.
async fn server_of_http_2(page: &'static str) -> Server {
    let acceptor = acceptor_of_http_2();
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let Ok(mut connection) = h2::server::Builder::new().handshake::<_, std::io::Cursor<Vec<u8>>>(stream).await
            else {
                return;
            };
            while let Some(Ok((request, mut answering))) = connection.accept().await {
                let is_home = request.uri().path() == "/";
                let answer = ::http::Response::builder().status(if is_home { 200 } else { 404 });
                let answer = answer.header("server", "nginx/1.27.1").header("content-type", "text/html");
                let Ok(mut sending) = answering.send_response(answer.body(()).unwrap(), !is_home) else { return };
                if is_home {
                    let _ = sending.send_data(std::io::Cursor::new(page.as_bytes().to_vec()), true);
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_speaks_http_2_alone_tells_its_page() {
    let server = server_of_http_2("<html><title>Second &mdash; only</title><input type=password></html>").await;
    let identified = ask(server.address).await;
    assert!(identified.banner.as_deref().is_some_and(|banner| banner.starts_with("HTTP/2 200")), "{identified:?}");
    let found = service(identified);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("http", Some("nginx")));
    assert_eq!(found.version.as_deref(), Some("1.27.1"));
    let page = found.http.expect("it has a page");
    assert_eq!((page.status, page.title.as_deref(), page.is_login), (200, Some("Second \u{2014} only"), true));
    assert_eq!(found.tls.and_then(|tls| tls.alpn).as_deref(), Some("h2"));
}

#[tokio::test]
async fn a_server_of_http_2_that_says_nothing_more_ends_in_time() {
    let acceptor = acceptor_of_http_2();
    // Its settings, and then frames of headers that never end.
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await;
            let _ = stream.write_all(b"\0\0\x01\x01\0\0\0\0\x01\x88").await;
            while stream.write_all(b"\0\0\x03\x09\0\0\0\0\x01\x40\x01a").await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.name.as_str(), found.info.as_deref()), ("http", Some("HTTP/2")), "by what its TLS names");
    assert!(found.tls.is_some() && found.http.is_none());
}

#[tokio::test]
async fn a_server_that_lets_a_question_without_a_host_wait_is_asked_as_a_browser_asks() {
    // On a port of no habit, and only for HTTP/1.1 with a host.
    let server = Server::start(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        if text.contains(" HTTP/1.1\r\n") && text.contains("\r\nHost: ") {
            let answer = page("200 OK\r\nServer: nginx/1.25.4", "<title>Late</title>");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        drain(&mut stream).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("http", Some("nginx")), "{found:?}");
    assert_eq!(found.http.and_then(|page| page.title).as_deref(), Some("Late"));
}

#[tokio::test]
async fn half_a_version_is_told_to_nobody_where_the_server_closes_behind_it() {
    let server = Server::start(|mut stream| async move {
        let _ = stream.write_all(b"220 (vsFTPd 3.0.").await;
        sleep(Duration::from_millis(1500)).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.product.as_deref(), found.version), (Some("vsftpd"), None));
    assert!(found.cpes.iter().all(|cpe| !cpe.contains("3.0")), "{:?}", found.cpes);
}

#[tokio::test]
async fn half_a_head_of_a_page_tells_no_version() {
    for (cut, stays_s) in [
        ("HTTP/1.1 200 OK\r\nServer: nginx/1.2", 0),
        ("HTTP/1.1 200 OK\r\nServer: nginx/1.2", 30),
        ("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache/2.4.5", 1),
        ("HTTP/1.0 404 Not Found\r\nServer: lighttpd/1.", 2),
    ] {
        let server = Server::start(move |mut stream| async move {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(cut.as_bytes()).await;
            sleep(Duration::from_secs(stays_s)).await;
        })
        .await;
        let found = service(ask(server.address).await);
        assert_eq!((found.name.as_str(), found.version.as_deref()), ("http", None), "{cut:?}");
        assert!(found.cpes.iter().all(|cpe| !cpe.contains(":1.2") && !cpe.contains(":2.4")), "{:?}", found.cpes);
    }
}

#[tokio::test]
async fn a_head_in_two_segments_is_judged_when_it_is_whole() {
    for (place, (parts, pause_ms, product, version)) in [
        (&["HTTP/1.1 200 OK\r\nServer: ngi", "nx/1.24.0\r\n\r\n"][..], 600, "nginx", "1.24.0"),
        (&["HTTP/1.1 200 OK\r\nServer: nginx/1.2", "4.0\r\nContent-Length: 0\r\n\r\n"], 900, "nginx", "1.24.0"),
        (&["HTTP/1.1 200 OK\r\nServer: Apache/2.4.5", "8\r\n", "\r\n"], 700, "Apache httpd", "2.4.58"),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::on(&format!("127.55.4.{}:8097", place + 1), move |mut stream| async move {
            let _ = request(&mut stream).await;
            in_parts(&mut stream, parts, Duration::from_millis(pause_ms)).await;
        })
        .await;
        let found = service(ask(server.address).await);
        assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some(product), Some(version)), "{parts:?}");
    }
}

#[tokio::test]
async fn a_long_greeting_is_judged_with_its_end() {
    // The name is at its front and the version behind the first 256 bytes, which are read at once.
    for filler in [100, 200, 211, 230, 231, 240, 500, 5000] {
        let server = Server::start(move |mut stream| async move {
            let front = b"\0\0\x01R\x01ActiveMQ\0\0\0\x0c".to_vec();
            let whole = [front, vec![1; filler], b"\0\x0fProviderVersion\t\0\x065.17.2".to_vec()].concat();
            let _ = stream.write_all(&whole).await;
            drain(&mut stream).await;
        })
        .await;
        let found = service(ask(server.address).await);
        assert_eq!(
            (found.product.as_deref(), found.version.as_deref()),
            (Some("Apache ActiveMQ"), Some("5.17.2")),
            "{filler}"
        );
    }
}

#[tokio::test]
async fn a_server_that_waits_half_a_moment_for_a_question_is_asked_at_once() {
    // As Monit does: who has said nothing by then is closed on.
    let server = Server::start(|mut stream| async move {
        if timeout(Duration::from_millis(200), request(&mut stream)).await.is_ok() {
            let _ = stream.write_all(page("200 OK\r\nServer: monit 5.33.0", "").as_bytes()).await;
        }
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("Monit"), Some("5.33.0")));
}

#[tokio::test]
async fn a_page_that_is_fetched_after_another_answer_is_judged_as_well() {
    // As Cockpit does: on the port whose own question comes first, it refuses HTTP/1.0, and tells what it is to browsers alone.
    let server = Server::on("127.55.1.21:9090", |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let is_whole = head.starts_with(b"GET / HTTP/1.1\r\n");
        let answer = match is_whole {
            true => page(
                "200 OK\r\nContent-Type: text/html\r\nSet-Cookie: cockpit=deleted; PATH=/",
                "<title>Loading...</title>",
            ),
            false => page("400 Bad request\r\nContent-Type: text/html", "<title>Bad request</title>"),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("http", Some("Cockpit")), "{found:?}");
    assert_eq!(found.http.map(|page| page.status), Some(200));
}

#[tokio::test]
async fn the_site_that_was_asked_for_by_name_is_the_one_that_is_named() {
    // Without a name there is Jenkins without a version of the server; the name has nothing of it.
    let server = Server::on("127.55.1.22:8094", |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let is_named = String::from_utf8_lossy(&head).contains("\r\nHost: plain.example:8094\r\n");
        let answer = match is_named {
            true => page("200 OK\r\nServer: nginx/1.25.4\r\nContent-Type: text/html", "<title>Plain</title>"),
            false => page("200 OK\r\nServer: nginx/1.25.4\r\nX-Jenkins: 2.401.3", ""),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("Jenkins"), Some("2.401.3")));
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 64);
    let options = Options::default();
    let named = detector.identify(server.address, Protocol::Tcp, Some("plain.example"), &options).await;
    let found = service(named);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("nginx"), Some("1.25.4")), "{found:?}");
    assert!(found.cpes.iter().all(|cpe| !cpe.contains("jenkins")), "{found:?}");
}

#[tokio::test]
async fn a_server_of_irc_that_looks_its_caller_up_is_waited_for() {
    let server = Server::on("127.55.1.23:6668", |mut stream| async move {
        let _ = stream.write_all(b":irc.x NOTICE * :*** Looking up your hostname...\r\n").await;
        let mut asked = Vec::new();
        while !asked.ends_with(b"VERSION\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            asked.push(byte);
        }
        let _ = stream.write_all(b":irc.x 451 pntr VERSION :You have not registered.\r\n").await;
        sleep(Duration::from_millis(3500)).await;
        let welcome = ":irc.x NOTICE pntr :*** Spoofing your IP\r\n:irc.x 001 pntr :Welcome\r\n";
        let told = ":irc.x 004 pntr irc.x ircd-hybrid-1:8.2.43+dfsg.1-1 BDF CIK Ibe\r\n";
        in_parts(&mut stream, &[welcome, told], Duration::from_millis(300)).await;
    })
    .await;
    let found = service(ask(server.address).await);
    assert_eq!(
        (found.product.as_deref(), found.version.as_deref()),
        (Some("ircd-hybrid"), Some("8.2.43")),
        "{found:?}"
    );
}
