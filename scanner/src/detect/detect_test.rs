//! Identification held against servers on this machine's loopback: honest ones, and ones that mean harm.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, crypto::ring};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server on a free port of loopback that does the same with every connection; ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn on<F: Future<Output = ()> + Send + 'static>(
        address: &str,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (mut tasks, count) = (JoinSet::new(), Arc::clone(&connections));
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                served.spawn(serve(stream));
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    pub(super) async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        Self::on("127.0.0.1:0", serve).await
    }

    /// Says this and waits for the other side to go.
    async fn greeting(words: &'static [u8]) -> Self {
        Self::start(move |mut stream| async move {
            let _ = stream.write_all(words).await;
            drain(&mut stream).await;
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

pub(super) async fn drain(stream: &mut TcpStream) {
    let mut sink = [0; 1024];
    while matches!(stream.read(&mut sink).await, Ok(1..)) {}
}

/// Reads a request up to its empty line and gives its path.
pub(super) async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).split(' ').nth(1)?.to_owned())
}

pub(super) fn page(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn detector() -> Detector {
    Detector::new(Arc::new(Plain), 64)
}

/// Asks within two seconds, and holds that it does not take much longer.
pub(super) async fn identify(target: SocketAddr, name: Option<&str>) -> Identified {
    let options = Options { budget: Duration::from_secs(2), ..Options::default() };
    let detector = detector();
    let identified = detector.identify(target, Protocol::Tcp, name, &options);
    tokio::time::timeout(Duration::from_secs(20), identified).await.expect("every interrogation is bounded")
}

pub(super) fn service(identified: Identified) -> Service {
    identified.service.expect("it is known")
}

#[tokio::test]
async fn a_server_that_speaks_first_costs_one_connection() {
    let server = Server::greeting(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await;
    let identified = identify(server.address, None).await;
    assert_eq!(identified.banner.as_deref(), Some("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"));
    let found = service(identified);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("ssh", Some("OpenSSH")));
    assert_eq!((found.os.as_deref(), found.method), (Some("Debian Linux 12"), ServiceMethod::Probed));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_port_that_closes_at_once_costs_one_connection() {
    let server = Server::start(|stream| async move { drop(stream) }).await;
    assert_eq!(service(identify(server.address, None).await).name, "tcpwrapped");
    assert_eq!(server.connections(), 1);
    let web = Server::on("127.55.0.1:8099", |stream| async move { drop(stream) }).await;
    assert_eq!(service(identify(web.address, None).await).name, "tcpwrapped");
    assert_eq!(web.connections(), 1, "also where the number suggests a question");
}

#[tokio::test]
async fn a_port_that_closes_on_a_question_is_not_called_wrapped() {
    let server = Server::on("127.55.0.2:8098", |mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    assert_eq!(identify(server.address, None).await.service, None);
}

#[tokio::test]
async fn a_web_server_is_described_in_full() {
    let server = Server::on("127.55.0.3:8097", |mut stream| async move {
        let answer = match request(&mut stream).await.as_deref() {
            Some("/") => page("302 Found\r\nServer: nginx/1.22.1\r\nLocation: /app/login", ""),
            Some("/app/login") => page(
                "200 OK\r\nContent-Type: text/html\r\nX-Powered-By: PHP/8.2",
                "<title>Pump \u{1b}[31m console</title><link rel=icon href=i.png><input type=password>",
            ),
            Some("/app/i.png") => page("200 OK\r\nContent-Type: image/png", "icon"),
            _ => page("404 Not Found", ""),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let found = service(identify(server.address, None).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("nginx"), Some("1.22.1")));
    let http = found.http.unwrap();
    assert_eq!((http.status, http.location.as_deref()), (302, Some("/app/login")));
    assert_eq!(http.title.as_deref(), Some("Pump \u{fffd}[31m console"), "nothing reaches a terminal");
    assert_eq!(http.generator.as_deref(), Some("PHP/8.2"));
    assert_eq!(http.favicon, Some(http::favicon_hash(b"icon")));
    assert!(http.is_login && http.headers.contains(&("server".to_owned(), "nginx/1.22.1".to_owned())));
}

#[tokio::test]
async fn redirects_in_circles_end_and_never_leave_the_host() {
    let elsewhere = Server::greeting(b"").await;
    let port = elsewhere.address.port();
    let server = Server::on("127.55.0.4:8096", move |mut stream| async move {
        let location = match request(&mut stream).await.as_deref() {
            Some("/") => "/a".to_owned(),
            Some("/a") => "/b".to_owned(),
            Some("/b") => "/a".to_owned(),
            _ => format!("http://127.0.0.1:{port}/"),
        };
        let answer = page(&format!("301 Moved\r\nContent-Type: text/html\r\nLocation: {location}"), "");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let found = service(identify(server.address, None).await);
    assert_eq!(found.http.unwrap().location.as_deref(), Some("/a"));
    assert_eq!(server.connections(), 1 + 3, "the page and three redirects");

    let away = Server::start(move |mut stream| async move {
        request(&mut stream).await;
        let answer = page(&format!("302 Found\r\nLocation: http://127.0.0.1:{port}/"), "");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    assert!(service(identify(away.address, None).await).http.is_some());
    assert_eq!(elsewhere.connections(), 0);
}

async fn is_handshake(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [22]
}

#[tokio::test]
async fn a_server_that_talks_to_one_client_at_a_time_is_found_out() {
    let acceptor = acceptor(&["a.example"]);
    let one = Arc::new(tokio::sync::Semaphore::new(1));
    let server = Server::start(move |stream| {
        let (acceptor, one) = (acceptor.clone(), Arc::clone(&one));
        async move {
            let _turn = one.acquire().await;
            // Clear text is closed on without a word.
            if !is_handshake(&stream).await {
                return;
            }
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            request(&mut stream).await;
            let _ = stream.write_all(page("200 OK\r\nServer: one/1", "").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let found = service(identify(server.address, None).await);
    assert_eq!(found.product.as_deref(), Some("one"));
    assert_eq!(found.tls.unwrap().versions, ["TLSv1.2", "TLSv1.3"]);
}

#[tokio::test]
async fn a_greeting_ends_the_wait_where_a_question_was_due() {
    let server = Server::on("127.55.0.6:8095", |mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-x\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    assert_eq!(service(identify(server.address, None).await).name, "ssh");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_line_that_never_ends_is_given_up() {
    let server = Server::start(|mut stream| async move {
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let identified = identify(server.address, None).await;
    assert_eq!(identified.service, None);
}

#[tokio::test]
async fn a_gigabyte_is_not_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let server = Server::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let chunk = vec![b'x'; 64 * 1024];
            while let Ok(written) = stream.write(&chunk).await {
                count.fetch_add(written, Ordering::Relaxed);
            }
        }
    })
    .await;
    assert_eq!(identify(server.address, None).await.service, None);
    let per_connection = sent.load(Ordering::Relaxed) / server.connections();
    assert!(per_connection < 16 << 20, "{per_connection} bytes went into buffers of the kernel or were read");
}

#[tokio::test]
async fn garbage_is_no_service() {
    let garbage = b"\x00\xff\x13\x37\x80\x00\x00\x16\x03\x00garbage\x1b[2J\x00\x01";
    let server = Server::greeting(garbage).await;
    let identified = identify(server.address, None).await;
    assert_eq!(identified.service, None);
    assert!(identified.banner.unwrap().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
}

#[tokio::test]
async fn a_silent_port_takes_its_budget_and_no_more() {
    let server = Server::greeting(b"").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(identify(server.address, None).await, Identified::default());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?} of a budget of two seconds", begun.elapsed());
    assert!(server.connections() <= 8);
}

/// What a server was sent, and how many connections it had at once at most.
#[derive(Debug, Default)]
struct Record {
    bytes: Mutex<Vec<u8>>,
    open: AtomicUsize,
    at_once: AtomicUsize,
}

/// Says `greeting`, then answers whatever it is sent with `answer`, and notes all of it.
async fn recording(address: &str, greeting: &'static [u8], answer: &'static [u8]) -> (Server, Arc<Record>) {
    let record = Arc::new(Record::default());
    let noted = Arc::clone(&record);
    let server = Server::on(address, move |mut stream| {
        let noted = Arc::clone(&noted);
        async move {
            let open = noted.open.fetch_add(1, Ordering::SeqCst) + 1;
            noted.at_once.fetch_max(open, Ordering::SeqCst);
            let _ = stream.write_all(greeting).await;
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                noted.bytes.lock().unwrap().extend(&bytes[..length]);
                let _ = stream.write_all(answer).await;
            }
            noted.open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    (server, record)
}

pub(super) async fn identify_by_rules(target: SocketAddr, options: &Options) -> Identified {
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 64);
    let identified = detector.identify(target, Protocol::Tcp, None, options);
    tokio::time::timeout(Duration::from_secs(20), identified).await.expect("every interrogation is bounded")
}

#[tokio::test]
async fn a_fragile_port_is_asked_once_in_its_own_protocol_and_then_left_alone() {
    const MODBUS: &[u8] = b"PN\x00\x00\x00\x05\x01+\x0e\x01\x00";
    const IDENTITY: &[u8] = b"PN\x00\x00\x00\x1b\x01+\x0e\x01\x01\x00\x00\x03\x00\x04Acme\x01\x05PLC-7\x02\x04V2.5";
    const WEB: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\n\r\n";
    let silent: &[u8] = b"";
    for (address, greeting, answer, sent, product) in [
        ("127.55.0.7:502", silent, silent, Some(MODBUS), None),
        ("127.55.0.8:502", silent, IDENTITY, Some(MODBUS), Some("Acme PLC-7")),
        ("127.55.0.9:502", b"SSH-2.0-OpenSSH_9.2p1\r\n", silent, Some(silent), Some("OpenSSH")),
        ("127.55.0.10:20000", silent, WEB, None, Some("nginx")),
        ("127.55.0.11:9600", silent, WEB, Some(silent), None),
        ("127.55.0.12:2222", b"SSH-2.0-OpenSSH_9.2p1\r\n", silent, Some(silent), Some("OpenSSH")),
    ] {
        let (server, record) = recording(address, greeting, answer).await;
        let identified = identify_by_rules(server.address, &Options::default()).await;
        let found = identified.service.as_ref().and_then(|service| service.product.as_deref());
        assert_eq!(found, product, "{address}: {identified:?}");
        assert!(identified.service.is_none_or(|service| service.http.is_none() && service.tls.is_none()));
        let bytes = record.bytes.lock().unwrap().clone();
        assert!(sent.is_none_or(|sent| bytes == sent), "{address}: {}", bytes.escape_ascii());
        assert!(!bytes.windows(4).any(|word| word == b"HTTP"), "{address}");
        assert_eq!((server.connections(), record.at_once.load(Ordering::SeqCst)), (1, 1), "{address}");
    }
    let lifted = crate::spec::ScanSpec { allow_fragile: true, ..crate::spec::ScanSpec::default() };
    let gate = Gate::new(Arc::new(lifted), Arc::default());
    let (server, record) = recording("127.55.0.13:9600", b"", WEB).await;
    let found = service(identify_by_rules(server.address, &Options { gate, ..Options::default() }).await);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("http", Some("nginx")));
    assert!(record.at_once.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn no_more_than_two_connections_go_to_a_port_and_sixteen_to_a_host() {
    let ports: Vec<_> = futures::future::join_all((0..12).map(|_| recording("127.55.0.14:0", b"", b""))).await;
    let options = Options { budget: Duration::from_secs(3), ..Options::default() };
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 256);
    let (watched, most) = (ports.iter().map(|(_, record)| Arc::clone(record)).collect::<Vec<_>>(), AtomicUsize::new(0));
    let watching = async {
        loop {
            let open = watched.iter().map(|record| record.open.load(Ordering::SeqCst)).sum();
            most.fetch_max(open, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asking = ports.iter().map(|(server, _)| detector.identify(server.address, Protocol::Tcp, None, &options));
    tokio::select! {
        () = watching => {}
        _all = futures::future::join_all(asking) => {}
    }
    assert!(ports.iter().all(|(_, record)| record.at_once.load(Ordering::SeqCst) <= 2));
    // One that was closed here may not have been noticed there.
    assert!((2..=20).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn printers_are_not_touched() {
    let server = Server::on("127.55.0.5:9100", |mut stream| async move { drain(&mut stream).await }).await;
    assert_eq!(identify(server.address, None).await, Identified::default());
    assert_eq!(server.connections(), 0);
}

fn acceptor(names: &[&str]) -> TlsAcceptor {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.key_pair.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_is_recognised_and_the_look_goes_on_inside() {
    let acceptor = acceptor(&["a.example"]);
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            request(&mut stream).await;
            let answer = page("200 OK\r\nServer: inner/2\r\nContent-Type: text/html", "<title>Intranet</title>");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let found = service(identify(server.address, Some("b.example")).await);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("http", Some("inner")));
    assert_eq!(found.http.unwrap().title.as_deref(), Some("Intranet"));
    let tls = found.tls.unwrap();
    assert_eq!(tls.versions, ["TLSv1.2", "TLSv1.3"]);
    assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!((tls.chain.len(), tls.chain[0].names.as_slice()), (1, &["a.example".to_owned()][..]));
    assert_eq!(tls.problems, ["self-signed", "name-mismatch"]);
    assert_eq!(tls.starttls, None);
}

#[tokio::test]
async fn mail_servers_are_asked_for_starttls() {
    let acceptor = acceptor(&["mx.example"]);
    let server = Server::start(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = stream.write_all(b"220 mx.example ESMTP\r\n").await;
            let mut line = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                line.push(byte);
                if byte != b'\n' {
                    continue;
                }
                let is_upgrade = line.starts_with(b"STARTTLS");
                let reply: &[u8] = match () {
                    () if is_upgrade => b"220 go\r\n",
                    () if line.starts_with(b"EHLO") => b"250-mx.example\r\n250 STARTTLS\r\n",
                    () => b"500 what\r\n",
                };
                let _ = stream.write_all(reply).await;
                line.clear();
                if is_upgrade {
                    let _ = acceptor.accept(stream).await;
                    return;
                }
            }
        }
    })
    .await;
    let found = service(identify(server.address, Some("mx.example")).await);
    let tls = found.tls.unwrap();
    assert_eq!((found.name.as_str(), tls.starttls.as_deref()), ("smtp", Some("STARTTLS")));
    assert_eq!((tls.versions.len(), tls.problems.as_slice()), (2, &["self-signed".to_owned()][..]));
}

/// A ServerHello of TLS 1.2 in a record, and a record's head for `length` bytes of handshake.
fn server_hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    hello.extend([1; 32]);
    hello.extend([0, 0xc0, 0x2f, 0]);
    hello
}

#[tokio::test]
async fn a_certificate_of_ten_megabytes_and_endless_records_are_bounded() {
    let server = Server::start(|mut stream| async move {
        let _ = stream.write_all(&server_hello()).await;
        // A certificate message of 10 MB, in records that never come to its end.
        let mut begin = vec![22, 3, 3, 0x40, 0, 11, 0x98, 0x96, 0x80, 0x98, 0x96, 0x7d, 0x98, 0x96, 0x7a];
        begin.extend(vec![0x30; 0x4000 - 10]);
        let _ = stream.write_all(&begin).await;
        let mut record = vec![22, 3, 3, 0x40, 0];
        record.extend(vec![0x30; 0x4000]);
        while stream.write_all(&record).await.is_ok() {}
    })
    .await;
    let found = service(identify(server.address, None).await);
    assert_eq!(found.name, "tls");
    assert!(found.tls.is_none_or(|tls| tls.chain.is_empty()));
}

#[tokio::test]
async fn equal_answers_are_matched_once() {
    #[derive(Debug, Default)]
    struct Counting(Mutex<Vec<Vec<u8>>>);
    impl Matcher for Counting {
        fn probes(&self, _: Protocol, _: u16, _: bool) -> Vec<ProbeRef> {
            Vec::new()
        }
        fn matches(&self, from: &Answer<'_>) -> Option<Match> {
            self.0.lock().unwrap().push(from.bytes.to_vec());
            let service = Service { name: "x".to_owned(), ..Service::default() };
            Some(Match { service, is_soft: false })
        }
    }
    let matcher = Arc::new(Counting::default());
    let detector = Detector::new(Arc::clone(&matcher) as Arc<dyn Matcher>, 8);
    for _ in 0..5 {
        let server = Server::greeting(b"hello\r\n").await;
        let found = detector.identify(server.address, Protocol::Tcp, None, &Options::default()).await;
        assert_eq!(service(found).name, "x");
    }
    assert_eq!(*matcher.0.lock().unwrap(), [b"hello\r\n".to_vec()]);
}

#[tokio::test]
async fn a_datagram_tells_what_a_udp_port_is() {
    #[derive(Debug)]
    struct Echo;
    impl Matcher for Echo {
        fn probes(&self, _: Protocol, _: u16, _: bool) -> Vec<ProbeRef> {
            let payload = Arc::from(&b"?"[..]);
            let (name, services) = (Arc::from("q"), Arc::from([]));
            vec![ProbeRef {
                id: ProbeId(1),
                name,
                payload,
                rarity: 1,
                is_hinted: true,
                services,
                request: None,
                is_built_in: true,
            }]
        }
        fn matches(&self, from: &Answer<'_>) -> Option<Match> {
            let service = Service { name: "echo".to_owned(), ..Service::default() };
            (from.bytes == b"?" && from.probe == Some(ProbeId(1))).then_some(Match { service, is_soft: false })
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut bytes = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..length], from).await;
        }
    });
    let detector = Detector::new(Arc::new(Echo), 8);
    let found = detector.identify(address, Protocol::Udp, None, &Options::default()).await;
    assert_eq!(service(found).name, "echo");
}

#[tokio::test]
async fn a_service_that_sends_back_what_it_hears_is_an_echo_and_nothing_else() {
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 64);
    let options = Options { budget: Duration::from_secs(4), ..Options::default() };
    for port in [1911, 2404, 5222, 5672, 20_000] {
        let echo = Server::on(&format!("127.55.7.1:{port}"), |mut stream| async move {
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        })
        .await;
        let found = detector.identify(echo.address, Protocol::Tcp, None, &options).await.service;
        let found = found.filter(|found| found.method == ServiceMethod::Probed);
        assert!(found.as_ref().is_none_or(|found| found.name == "echo"), "{port}: {found:?}");
    }
    for port in [4500, 20_000] {
        let socket = UdpSocket::bind(format!("127.55.7.1:{port}")).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let _ = socket.send_to(&bytes[..length], from).await;
            }
        });
        let found = detector.identify(address, Protocol::Udp, None, &options).await.service;
        let found = found.filter(|found| found.method == ServiceMethod::Probed);
        assert!(found.as_ref().is_none_or(|found| found.name == "echo"), "{port}: {found:?}");
    }
}

/// An answer of multicast DNS that names one service (RFC 6763 section 9).
fn services_answer() -> Vec<u8> {
    let question = b"\x09_services\x07_dns-sd\x04_udp\x05local\0\0\x0c\0\x01";
    let record = b"\xc0\x0c\0\x0c\0\x01\0\0\0\x0a\0\x0c\x04_ssh\x04_tcp\xc0\x23";
    [&b"PN\x84\0\0\x01\0\x01\0\0\0\0"[..], question, record].concat()
}

#[tokio::test]
async fn what_was_heard_of_a_udp_port_names_it_with_no_further_packet() {
    let socket = UdpSocket::bind("127.77.53.1:5353").await.unwrap();
    let address = socket.local_addr().unwrap();
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 8);
    let (options, waits) = (Options::default(), Waits::default());
    let heard = services_answer();
    let found = detector.identify_heard(address, Protocol::Udp, None, &options, Some(&heard), &waits).await;
    let found = service(found);
    assert_eq!((found.name.as_str(), found.info.as_deref()), ("mdns", Some("_ssh._tcp")));
    let mut bytes = [0; 512];
    assert!(socket.try_recv(&mut bytes).is_err(), "nothing was sent");
    // What tells nothing is asked, in the protocol that is usual there.
    let asking = detector.identify_heard(address, Protocol::Udp, None, &options, Some(b"?"), &waits);
    let answering = async {
        let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
        let mut answer = services_answer();
        answer[..2].copy_from_slice(&bytes[..2]);
        // One with another's number is not its answer.
        let stranger = [&[bytes[0] ^ 1, bytes[1] ^ 1], &answer[2..]].concat();
        socket.send_to(&stranger, from).await.unwrap();
        socket.send_to(&answer, from).await.unwrap();
        length
    };
    let (found, length) = futures::join!(asking, answering);
    assert_eq!(service(found).name, "mdns");
    assert!(length > 20);
}

#[tokio::test]
async fn what_says_nothing_inside_tls_is_known_by_its_certificate() {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "AnyDesk Client");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut sink = [0; 1024];
            while matches!(stream.read(&mut sink).await, Ok(1..)) {}
        }
    })
    .await;
    let options = Options { budget: Duration::from_secs(2), ..Options::default() };
    let found = service(identify_by_rules(server.address, &options).await);
    assert_eq!((found.name.as_str(), found.product.as_deref()), ("anydesk", Some("AnyDesk")));
    assert!(found.tls.is_some(), "with what its TLS told");
}

#[tokio::test]
async fn an_answer_in_two_parts_is_judged_by_both_where_the_first_names_nobody() {
    // Connection.Start of AMQP, its header and its first table in a segment of their own.
    let properties = b"\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8";
    let body = [
        &b"\x00\x0a\x00\x0a\x00\x09"[..],
        &u32::try_from(properties.len()).unwrap().to_be_bytes(),
        properties,
        b"\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US",
    ]
    .concat();
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    let answer = [&b"\x01\x00\x00"[..], &size, &body, b"\xce"].concat();
    let server = Server::on("127.55.0.9:5672", move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut header = [0; 8];
            if stream.read_exact(&mut header).await.is_err() || header[..4] != *b"AMQP" {
                return;
            }
            let (first, second) = answer.split_at(20);
            let _ = stream.write_all(first).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            let _ = stream.write_all(second).await;
            drain(&mut stream).await;
        }
    })
    .await;
    let options = Options { budget: Duration::from_secs(2), ..Options::default() };
    let found = service(identify_by_rules(server.address, &options).await);
    assert_eq!((found.product.as_deref(), found.version.as_deref()), (Some("RabbitMQ"), Some("3.10.8")));
}
