//! Servers of HTTP/2 that do not say so by an alert: by going on without a protocol, or in the clear.

use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;
use tokio_rustls::LazyConfigAcceptor;

use super::tests::{Server, identify_by_rules, page, service};
use super::*;

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::Builder::new().handshake::<_, std::io::Cursor<Vec<u8>>>(stream).await else {
        return;
    };
    while let Some(Ok((_, mut answering))) = connection.accept().await {
        let answer = ::http::Response::builder().header("server", "nghttpd nghttp2/1.52.0");
        let Ok(mut sending) = answering.send_response(answer.body(()).unwrap(), false) else { return };
        let _ = sending.send_data(std::io::Cursor::new(b"<title>Second</title>".to_vec()), true);
    }
}

fn config() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["two.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap()
}

#[tokio::test]
async fn a_server_that_goes_on_without_a_protocol_and_closes_is_offered_http_2() {
    let without = config();
    let mut with = without.clone();
    with.alpn_protocols = vec![b"h2".to_vec()];
    let (without, with) = (Arc::new(without), Arc::new(with));
    let server = Server::start(move |stream| {
        let (without, with) = (Arc::clone(&without), Arc::clone(&with));
        async move {
            let Ok(begun) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
            let is_asked_for = begun.client_hello().alpn().into_iter().flatten().any(|name| name == b"h2");
            let Ok(stream) = begun.into_stream(if is_asked_for { with } else { without }).await else { return };
            if is_asked_for {
                serve(stream).await;
            }
        }
    })
    .await;
    let found = service(identify_by_rules(server.address, &Options::default()).await);
    assert_eq!(found.name, "http", "{found:?}");
    assert_eq!(found.http.and_then(|page| page.title).as_deref(), Some("Second"));
    assert_eq!(found.tls.and_then(|tls| tls.alpn).as_deref(), Some("h2"));
}

#[tokio::test]
async fn a_server_that_speaks_it_in_the_clear_tells_its_page() {
    let server = Server::start(serve).await;
    let found = service(identify_by_rules(server.address, &Options::default()).await);
    assert_eq!(found.name, "http", "{found:?}");
    assert_eq!(found.http.and_then(|page| page.title).as_deref(), Some("Second"));
}

#[tokio::test]
async fn a_page_that_is_long_in_coming_is_waited_for() {
    let server = Server::on("127.55.6.1:8080", |mut stream| async move {
        let mut asked = [0; 1024];
        if matches!(stream.read(&mut asked).await, Ok(1..)) {
            sleep(Duration::from_millis(4500)).await;
            let answer = page("200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html", "<title>Slow</title>");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let found = service(identify_by_rules(server.address, &Options::default()).await);
    assert_eq!(found.product.as_deref(), Some("nginx"), "{found:?}");
}
