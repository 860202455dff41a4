//! The API's socket: a bounded number of connections, and a bounded time for each request's head.
//!
//! `axum::serve` takes connections without limit and waits for a head for ever, so that one client that opens
//! thousands of connections and sends a byte now and then would use up memory and file descriptors. Where all places are
//! taken, a connection that has shown no valid token goes for the new one (`places`), so that strangers make each other wait
//! and not those who belong. A handshake of TLS has the time of a head; who speaks plain HTTP to a port with TLS is told so.
//!
//! hyper itself answers a head that is too large (431, 414) or that it cannot read (400), with no body and none of the headers that other
//! answers have, and closes a connection whose head does not come in time without a word; it leaves no place for a 408.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::CameFrom;
use super::places::{Place, Places};
use crate::document::Problem;
use crate::tls::is_handshake;

/// Connections at once. Ours: far more than dashboards and scripts need, and at 30 KiB each no burden.
pub(super) const CONNECTIONS_MAX: usize = 512;
/// Connections of one address at once, so that one cannot take all places.
const PER_ADDRESS_MAX: usize = 256;
/// How long a client may take for a request's head, and a connection may idle between requests.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// What is read ahead of a connection, which bounds a request's head as well. Ours: hyper's own 400 KiB, for every connection that has a
/// body under way, are 200 MiB.
const BUFFER_BYTES: usize = 64 << 10;
/// How long to wait where the system has no file descriptor for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long whoever speaks plain HTTP to a port with TLS is listened to and told so, and how much of it is read.
const TELL_WITHIN: Duration = Duration::from_secs(1);
const PLAIN_BYTES_MAX: u64 = 64 << 10;

/// Beside each request from a socket: ends its connection, for answers that nobody reads. It is over as well once the API
/// stops, so that answers without an end find one.
#[derive(Debug, Clone)]
pub struct HangUp(pub CancellationToken);

/// How much is let in.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once.
    pub per_address: usize,
    /// The time for a request's head.
    pub head_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: CONNECTIONS_MAX, per_address: PER_ADDRESS_MAX, head_within: HEAD_WITHIN }
    }
}

/// Serves `router` on `listener` until `stop`, then lets requests in flight end; with `tls`, to nobody without it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let places = Places::new(bounds.connections, bounds.per_address);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let address = peer.ip().to_canonical();
                // Where everybody here belongs and is busy, one more has to come again.
                let Some(place) = places.take(address) else {
                    tracing::debug!(%address, "a connection to the API found no place");
                    continue;
                };
                let served = Served {
                    address,
                    router: router.clone(),
                    head_within: bounds.head_within,
                    place: Arc::clone(&place),
                    stop: stop.clone(),
                };
                let serving = one(stream, tls.clone(), served);
                connections.spawn(async move {
                    tokio::select! {
                        biased;
                        () = place.given_up() => {}
                        () = serving => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API was not taken");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // The address is free from here on, however long requests in flight hold on to their connections: a node that goes on as
    // another kind listens there at once.
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What a connection is served with.
struct Served {
    address: IpAddr,
    router: Router,
    head_within: Duration,
    place: Arc<Place>,
    stop: CancellationToken,
}

async fn one(stream: TcpStream, tls: Option<TlsAcceptor>, served: Served) {
    // Answers are small and waited for; where this fails they are only slower.
    drop(stream.set_nodelay(true));
    let Some(tls) = tls else { return talk(stream, served).await };
    let opened = tokio::select! {
        biased;
        () = served.stop.cancelled() => return,
        opened = tokio::time::timeout(served.head_within, open(stream, &tls)) => opened,
    };
    match opened {
        Ok(Ok(Some(stream))) => talk(stream, served).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(address = %served.address, %error, "no TLS with a connection to the API"),
        Err(_elapsed) => tracing::debug!(address = %served.address, "a handshake with the API did not end in time"),
    }
}

/// The connection inside TLS; none where the other side speaks plain HTTP, and was told.
async fn open(
    mut stream: TcpStream,
    tls: &TlsAcceptor,
) -> std::io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    let [first] = first;
    if is_handshake(first) {
        return tls.accept(stream).await.map(Some);
    }
    // What was asked is read first, and what is left behind the answer after it: a socket that is closed with unread bytes
    // takes the answer back.
    drop(tokio::time::timeout(TELL_WITHIN, say_tls(&mut stream)).await);
    Ok(None)
}

/// Answers a request in plain HTTP that this port speaks TLS.
async fn say_tls(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let _read = stream.read(&mut head).await?;
    let problem =
        Problem::new(400, "tls_required", "Bad Request", "this port speaks TLS: ask https:// in place of http://");
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_BYTES_MAX), &mut tokio::io::sink()).await.map(|_| ())
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, served: Served) {
    let Served { address, router, head_within, place, stop } = served;
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head_within).max_buf_size(BUFFER_BYTES);
    let from = CameFrom(address.to_string());
    let answered = Arc::clone(&place);
    let hang_up = HangUp(stop.child_token());
    let hung_up = hang_up.0.clone();
    let router = router
        .map_request(move |mut request: Request<Incoming>| {
            place.asks();
            request.extensions_mut().insert(Arc::clone(&place));
            request.extensions_mut().insert(from.clone());
            request.extensions_mut().insert(hang_up.clone());
            request
        })
        .map_response(move |response: Response| {
            answered.answered();
            response
        });
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        // Dropped as it is: whoever does not read would not read the end either.
        () = hung_up.cancelled() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended");
    }
}

#[cfg(test)]
#[path = "listen_test.rs"]
mod tests;
