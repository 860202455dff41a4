//! The API's socket: a bounded number of connections, and a bounded time for each request's head.
//!
//! `axum::serve` takes connections without limit and waits for a head for ever, so that one client that opens
//! thousands of connections and sends a byte now and then would use up memory and file descriptors. Where all places are
//! taken, the oldest connection that has shown no valid token goes for the new one, so that strangers make each other wait
//! and not those who belong.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::CameFrom;
use super::places::{Place, Places};

/// Connections at once. Ours: far more than dashboards and scripts need, and at 30 KiB each no burden.
pub(super) const CONNECTIONS_MAX: usize = 512;
/// Connections of one address at once, so that one cannot take all places.
const PER_ADDRESS_MAX: usize = 256;
/// How long a client may take for a request's head, and a connection may idle between requests.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait where the system has no file descriptor for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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

/// Serves `router` on `listener` until `stop`, then lets requests in flight end.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
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
                let serving = one(stream, peer, router.clone(), bounds.head_within, Arc::clone(&place), stop.clone());
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

async fn one(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head_within: Duration,
    place: Arc<Place>,
    stop: CancellationToken,
) {
    // Answers are small and waited for; where this fails they are only slower.
    drop(stream.set_nodelay(true));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head_within);
    let address: IpAddr = peer.ip().to_canonical();
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
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A listener with one page.
    struct Listening {
        address: std::net::SocketAddr,
        stop: CancellationToken,
        tasks: tokio::task::JoinSet<()>,
    }

    async fn started(bounds: Bounds) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve(listener, router, bounds, stop.clone()));
        Listening { address, stop, tasks }
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_head_that_never_ends_costs_its_connection_and_frees_its_place() {
        let bounds = Bounds { connections: 2, per_address: 2, head_within: Duration::from_millis(200) };
        let Listening { address, stop, mut tasks } = started(bounds).await;
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
            slow.push(stream);
        }
        // Both places are taken, so this answer is proof that one was freed.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), ask(&mut stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), tasks.join_next()).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn stopping_ends_idle_connections_at_once() {
        let Listening { address, stop, mut tasks } = started(Bounds::default()).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), tasks.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// What ended a node that its cluster made another kind twice within seconds: it goes on in the same process.
    #[tokio::test]
    async fn the_address_is_free_once_it_stops_though_a_request_is_still_in_flight() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(tokio::sync::Notify::new());
        let comes = Arc::clone(&came);
        let never = move || {
            comes.notify_one();
            std::future::pending::<&'static str>()
        };
        let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
        let router = Router::new().route("/", axum::routing::get(never));
        tasks.spawn(serve(listener, router, Bounds::default(), stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        came.notified().await;
        stop.cancel();
        let again = async {
            while TcpListener::bind(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
        assert!(tasks.try_join_next().is_none(), "the request is in flight");
    }

    #[tokio::test]
    async fn strangers_that_hold_every_place_give_way_to_whoever_comes() {
        let bounds = Bounds { connections: 8, per_address: 8, head_within: Duration::from_secs(600) };
        let Listening { address, stop, mut tasks } = started(bounds).await;
        let mut strangers = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Those that were given up already refuse more.
            drop(stream.write_all(b"GET / HTTP/1.1\r\nHo").await);
            strangers.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), ask(&mut stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        let mut first = strangers.remove(0);
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), first.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the oldest was given up");
        drop(strangers);
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), tasks.join_next()).await.unwrap().unwrap().unwrap();
    }
}
