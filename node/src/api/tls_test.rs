//! The API inside TLS, asked by the client that ships and by bare sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Bounds, serve};
use crate::client::{Client, ClientError};
use crate::tls::made::{Authority, NOW};
use crate::tls::{Anchor, Fingerprint, Shown, Trust};

/// An API of one page, for as long as this lives.
struct Listening {
    address: String,
    asked: Arc<AtomicUsize>,
    _stop: DropGuard,
    _tasks: tokio::task::JoinSet<()>,
}

impl Listening {
    fn client(&self, scheme: &str, trust: &Trust) -> Client {
        Client::http(vec![format!("{scheme}://{}", self.address)], None, trust).unwrap()
    }
}

async fn listening(shown: Option<&Shown>, bounds: Bounds) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let page = get(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "ok" }
    });
    let router = Router::new().route("/healthz", page);
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve(listener, router, shown.map(Shown::acceptor), bounds, stop.clone()));
    Listening { address, asked, _stop: stop.drop_guard(), _tasks: tasks }
}

#[tokio::test]
async fn the_client_asks_over_tls_whom_it_was_told_to_trust_and_sends_nobody_else_anything() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let node = listening(Some(&authority.leaf(&["127.0.0.1"], NOW).shown()), Bounds::default()).await;
    let pinned = Trust::said(None, Some(authority.fingerprint()));
    node.client("https", &pinned).healthz().await.unwrap();
    node.client("https", &Trust::said(Some(&authority.write(folder.path())), None)).healthz().await.unwrap();
    assert_eq!(node.asked.load(Ordering::Relaxed), 2);

    let other = Trust::said(None, Some(Authority::new().fingerprint()));
    let error = node.client("https", &other).healthz().await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, ClientError::Untrusted { .. }) && told.contains("is not trusted"), "{told}");
    assert!(told.contains(&authority.fingerprint().to_string()), "whom to ask somebody about: {told}");
    assert!(!error.is_passing());
    let wrong = listening(Some(&authority.leaf(&["127.0.0.2"], NOW).shown()), Bounds::default()).await;
    let error = wrong.client("https", &pinned).healthz().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.2"), "{error}");
    assert_eq!((node.asked.load(Ordering::Relaxed), wrong.asked.load(Ordering::Relaxed)), (2, 0));
    // One that is not trusted keeps nobody from the next.
    let both = [&wrong, &node].map(|it| format!("https://{}", it.address)).to_vec();
    Client::http(both, None, &pinned).unwrap().healthz().await.unwrap();
}

#[tokio::test]
async fn plain_http_to_a_port_with_tls_is_answered_with_what_to_do_and_reaches_no_handler() {
    let shown = Authority::new().leaf(&["127.0.0.1"], NOW).shown();
    let node = listening(Some(&shown), Bounds::default()).await;
    let error = node.client("http", &Trust::default()).healthz().await.unwrap_err();
    assert_eq!(error.code(), "tls_required");
    assert!(error.to_string().contains("https://"), "{error}");
    let mut stream = TcpStream::connect(&node.address).await.unwrap();
    let mut request = b"POST /api/v1/scans HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n".to_vec();
    request.resize(30_000, b'x');
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap();
    read.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("this port speaks TLS"), "{answer}");
    assert_eq!(node.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn tls_to_a_port_with_plain_http_is_told_apart_from_nobody() {
    let node = listening(None, Bounds::default()).await;
    let trust = Trust::said(None, Some(Authority::new().fingerprint()));
    let error = node.client("https", &trust).healthz().await.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_costs_its_connection_and_frees_its_place() {
    let bounds = Bounds { connections: 2, per_address: 2, head_within: Duration::from_millis(200) };
    let authority = Authority::new();
    let node = listening(Some(&authority.leaf(&["127.0.0.1"], NOW).shown()), bounds).await;
    // One says nothing, one begins a record and goes no further.
    let mut slow = Vec::new();
    for begun in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(&node.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
    }
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "given up");
    }
    node.client("https", &Trust::said(None, Some(authority.fingerprint()))).healthz().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_exchanged_is_shown_to_whoever_connects_from_then_on() {
    let authority = Authority::new();
    let [before, after] = [(); 2].map(|()| authority.leaf(&["127.0.0.1"], NOW));
    let exactly = |made: &crate::tls::made::Made| Trust::only(Anchor::Exactly(Fingerprint::of(&made.chain[0])));
    let shown = Shown::default();
    let node = listening(Some(&shown), Bounds::default()).await;
    let error = node.client("https", &exactly(&before)).healthz().await.unwrap_err().to_string();
    assert!(error.contains("no certificate yet"), "{error}");
    shown.show(before.certified());
    let kept = node.client("https", &exactly(&before));
    kept.healthz().await.unwrap();
    shown.show(after.certified());
    kept.healthz().await.unwrap();
    node.client("https", &exactly(&after)).healthz().await.unwrap();
    assert!(node.client("https", &exactly(&before)).healthz().await.is_err());
}
