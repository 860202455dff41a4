//! The API's socket: bounds, TLS, and stopping.

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
    tasks.spawn(serve(listener, router, None, bounds, stop.clone()));
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
    tasks.spawn(serve(listener, router, None, Bounds::default(), stop.clone()));
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

/// A node that is let into its cluster goes on at the address where it said that it waits.
#[tokio::test]
async fn whoever_serves_next_takes_over_without_a_gap_and_those_who_were_taken_are_answered() {
    let page = |text: &'static str| Router::new().route("/", axum::routing::get(move || async move { text }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut begun = TcpStream::connect(address).await.unwrap();
    let meanwhile = async {
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        text
    };
    // Connections are taken in the order in which they came: the one that was begun is by the time that the next one is answered.
    let text = tokio::select! {
        never = serve_meanwhile(&listener, page("waits"), None, Bounds::default()) => match never {},
        text = meanwhile => text,
    };
    assert!(text.ends_with("waits"), "one that would be kept alive is closed behind the answer: {text}");
    let mut between = TcpStream::connect(address).await.unwrap();
    let (stop, mut tasks) = (CancellationToken::new(), tokio::task::JoinSet::new());
    tasks.spawn(serve(listener, page("here"), None, Bounds::default(), stop.clone()));
    assert!(ask(&mut between).await.ends_with("here"));
    assert!(ask(&mut begun).await.ends_with("waits"));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), tasks.join_next()).await.unwrap().unwrap().unwrap();
}
