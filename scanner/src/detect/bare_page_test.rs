//! Servers that answer by a page without a status line and headers, as in HTTP/0.9.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::tests::{Server, drain, page, service};
use super::*;

const CONSOLE: &str = "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>UniFi OS &ndash; Flur</title></head>\
                       <form><input type=password></form></html>";
const NGINX: &str = "<html>\r\n<head><title>400 Bad Request</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n\
                     <hr><center>nginx/1.18.0 (Ubuntu)</center>\r\n</body>\r\n</html>\r\n";
const APACHE: &str = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n\
                      <hr>\n<address>Apache/2.4.57 (Debian) Server at frob.example Port 80</address>\n</body></html>\n";
const PLAIN: &str = "<html><head><title>Pump room 3</title></head><body>12 bar";

/// How such a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Closes,
    Stays,
    SpeaksFirst,
    InParts,
}

async fn answers(mut stream: tokio::net::TcpStream, text: &'static str, manner: Manner) {
    let mut asked = [0; 2048];
    if manner != Manner::SpeaksFirst && !matches!(stream.read(&mut asked).await, Ok(1..)) {
        return;
    }
    let (front, rest) = text.split_at(if manner == Manner::InParts { 17 } else { 0 });
    let _ = stream.write_all(front.as_bytes()).await;
    if manner == Manner::InParts {
        sleep(Duration::from_millis(400)).await;
    }
    let _ = stream.write_all(rest.as_bytes()).await;
    if manner != Manner::Closes {
        drain(&mut stream).await;
    }
}

async fn ask(address: SocketAddr, name: Option<&str>) -> Service {
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 64);
    let options = Options::default();
    let identified = detector.identify(address, Protocol::Tcp, name, &options);
    service(tokio::time::timeout(Duration::from_secs(20), identified).await.expect("every interrogation is bounded"))
}

#[tokio::test]
async fn a_page_without_a_status_line_is_named_as_far_as_it_tells_with_its_title() {
    let mut number = 0;
    let mut asked = Vec::new();
    for manner in [Manner::Closes, Manner::Stays, Manner::SpeaksFirst, Manner::InParts] {
        for case in [
            (CONSOLE, None, Some("Ubiquiti UniFi OS"), None, "UniFi OS \u{2013} Flur"),
            (CONSOLE, Some("frob.example"), Some("Ubiquiti UniFi OS"), None, "UniFi OS \u{2013} Flur"),
            (NGINX, None, Some("nginx"), Some("1.18.0"), "400 Bad Request"),
            (APACHE, None, Some("Apache httpd"), Some("2.4.57"), "400 Bad Request"),
            (PLAIN, None, None, None, "Pump room 3"),
        ] {
            // A number of the web, and one that says nothing.
            for port in [8096, 48_123] {
                number += 1;
                asked.push(is_named(format!("127.55.2.{number}:{port}"), manner, case));
            }
        }
    }
    futures::future::join_all(asked).await;
}

type Case = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>, &'static str);

async fn is_named(address: String, manner: Manner, (text, name, product, version, title): Case) {
    let server = Server::on(&address, move |stream| answers(stream, text, manner)).await;
    let found = ask(server.address, name).await;
    let told = (found.name.as_str(), found.product.as_deref(), found.version.as_deref());
    assert_eq!(told, ("http", product, version), "{manner:?} {address} {title}");
    let http = found.http.expect("it has a page");
    assert_eq!((http.status, http.title.as_deref()), (0, Some(title)), "{manner:?} {address}");
    assert_eq!(http.is_login, text == CONSOLE);
}

#[tokio::test]
async fn whoever_answers_an_old_request_by_a_bare_page_is_asked_as_a_browser_does() {
    let server = Server::on("127.55.3.3:8096", |mut stream| async move {
        let mut asked = [0; 2048];
        let Ok(length @ 1..) = stream.read(&mut asked).await else { return };
        let is_whole = asked[..length].starts_with(b"GET / HTTP/1.1\r\n");
        let whole = page("200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html", "<title>Orders</title>");
        let _ = stream.write_all(if is_whole { whole.as_bytes() } else { NGINX.as_bytes() }).await;
    })
    .await;
    let found = ask(server.address, None).await;
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("nginx"), Some("1.24.0")));
    let http = found.http.unwrap();
    assert_eq!((http.status, http.title.as_deref()), (200, Some("Orders")));
}
