//! Conversations with servers that are late, speak in parts, or mind how they are asked.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

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
