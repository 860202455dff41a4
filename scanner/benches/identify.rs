//! How many services are identified per second, against servers of this process on loopback: SSH and HTTP ones, and
//! ports that close at once. Servers and detector share the machine's cores.
//!
//! `cargo bench -p pentora-scanner --bench identify [-- SERVICES WRAPPED]`. Every HTTP answer differs, so that the cache
//! of answers helps only where it would help in a network: with greetings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::StreamExt;
use pentora_scanner::detect::{Detector, Options, RuleSet};
use pentora_scanner::port::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Ports asked at once by each of the two tasks that ask.
const ASKED: usize = 256;
/// Addresses of each kind of server: as many as a network has, since few connections go to one host or port at once.
const ADDRESSES: u8 = 250;

static ANSWERS: AtomicUsize = AtomicUsize::new(0);
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ssh,
    Http,
    Closing,
}

async fn serve(kind: Kind, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    match kind {
        Kind::Closing => {}
        Kind::Ssh => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await?;
            let _ = stream.read(&mut request).await;
        }
        Kind::Http => {
            let read = stream.read(&mut request).await?;
            let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
            let is_page = request.get(..read).is_some_and(|head| head.starts_with(b"GET / "));
            let (status, body) = if is_page { ("200 OK", "<title>Plant</title>") } else { ("404 Not Found", "") };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nServer: nginx/1.22.1\r\nETag: \"{number}\"\r\nContent-Type: text/html\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await?;
            let _ = stream.read(&mut request).await;
        }
    }
    Ok(())
}

async fn farm(kind: Kind, tasks: &mut JoinSet<()>) -> std::io::Result<Vec<SocketAddr>> {
    let port = match kind {
        Kind::Ssh => 2022,
        Kind::Http => 8080,
        Kind::Closing => 4001,
    };
    let mut addresses = Vec::new();
    for host in 1..=ADDRESSES {
        let address = SocketAddr::from(([127, 77, 0, host], port));
        let listener = TcpListener::bind(address).await?;
        addresses.push(address);
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                CONNECTIONS.fetch_add(1, Ordering::Relaxed);
                if kind != Kind::Closing {
                    drop(tokio::runtime::Handle::current().spawn(serve(kind, stream)));
                }
            }
        });
    }
    Ok(addresses)
}

async fn ask(detector: Arc<Detector>, targets: Arc<Vec<SocketAddr>>, count: usize) -> usize {
    let options = Options::default();
    let (detector, options) = (&detector, &options);
    let targets = (0..count).filter_map(|at| targets.get(at % targets.len()).copied());
    let asked = futures::stream::iter(targets).map(|target| async move {
        detector.identify(target, Protocol::Tcp, None, options).await.service.is_some_and(|found| found.confidence > 80)
    });
    asked.buffer_unordered(ASKED).filter(|known| std::future::ready(*known)).count().await
}

async fn measure(what: &str, detector: &Arc<Detector>, targets: Vec<SocketAddr>, count: usize) {
    let targets = Arc::new(targets);
    let (before, begun) = (CONNECTIONS.load(Ordering::Relaxed), Instant::now());
    let mut askers = JoinSet::new();
    for _ in 0..2 {
        askers.spawn(ask(Arc::clone(detector), Arc::clone(&targets), count / 2));
    }
    let known: usize = askers.join_all().await.into_iter().sum();
    let seconds = begun.elapsed().as_secs_f64();
    let connections = CONNECTIONS.load(Ordering::Relaxed) - before;
    println!(
        "{what}: {known} of {count} known in {seconds:.2} s, {:.0}/s, {:.2} connections each",
        count as f64 / seconds,
        connections as f64 / count as f64
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let mut counts = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (services, wrapped) = (counts.next().unwrap_or(10_000), counts.next().unwrap_or(50_000));
    let mut tasks = JoinSet::new();
    let ssh = farm(Kind::Ssh, &mut tasks).await?;
    let http = farm(Kind::Http, &mut tasks).await?;
    let closing = farm(Kind::Closing, &mut tasks).await?;
    let detector = Arc::new(Detector::new(Arc::new(RuleSet::builtin()), 4096));
    let both = ssh.iter().zip(&http).flat_map(|(ssh, http)| [*ssh, *http]).collect();
    measure("ssh and http", &detector, both, services).await;
    measure("ssh", &detector, ssh, services).await;
    measure("closing at once", &detector, closing, wrapped).await;
    Ok(())
}
