//! Each check against servers on this machine's loopback that answer as the protocol has it, and the runner's bounds.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;
use crate::finding::{ServiceMethod, Tls};

const QUICK: Options = Options {
    is_active: true,
    has_opt_in: true,
    step_timeout: Duration::from_millis(400),
    total_timeout: Duration::from_secs(2),
    patience: Duration::from_secs(2),
    answer_bytes_max: 64 << 10,
};

fn service(name: &str) -> Service {
    Service { name: name.to_owned(), method: ServiceMethod::Probed, confidence: 100, ..Service::default() }
}

fn known(target: SocketAddr, protocol: Protocol, service: &Service) -> Known<'_> {
    Known { target, name: None, protocol, service }
}

/// Serves connections that each get `answers`, one for each exchange, once its request is there whole.
async fn serve(listener: &TcpListener, check: &Check, answers: &[Vec<u8>]) {
    let host = listener.local_addr().unwrap().to_string();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (step, answer) in check.steps.iter().zip(answers) {
            let mut request = vec![0; step.request(&host).len()];
            if stream.read_exact(&mut request).await.is_err() {
                break;
            }
            let is_elsewhere = request.windows(9).any(|part| part == b"not-there");
            let answer = if is_elsewhere { &b"HTTP/1.1 404 Not Found\r\n\r\n"[..] } else { answer };
            if stream.write_all(answer).await.is_err() {
                break;
            }
        }
        let _gone = stream.shutdown().await;
    }
}

async fn serve_udp(socket: &UdpSocket, answers: &[Vec<u8>]) {
    let mut buffer = [0; 2048];
    for answer in answers {
        let (_, peer) = socket.recv_from(&mut buffer).await.unwrap();
        socket.send_to(answer, peer).await.unwrap();
    }
    std::future::pending::<()>().await;
}

async fn says_yes(check: &Check, answers: &[Vec<u8>]) -> bool {
    let service = service("any");
    if check.protocol == Protocol::Udp {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = socket.local_addr().unwrap();
        return tokio::select! {
            found = ask(check, known(target, check.protocol, &service), &QUICK, &PlainConnector) => found.is_some(),
            () = serve_udp(&socket, answers) => false,
        };
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::select! {
        found = ask(check, known(target, check.protocol, &service), &QUICK, &PlainConnector) => found.is_some(),
        () = serve(&listener, check, answers) => false,
    }
}

#[tokio::test]
async fn every_check_says_yes_to_an_open_server_and_no_to_a_closed_one() {
    for check in Exposures::built_in().checks() {
        for answers in &check.yes {
            assert!(
                says_yes(check, answers).await,
                "{} does not see {}",
                check.id,
                answers.iter().map(|answer| answer.escape_ascii().to_string()).collect::<Vec<_>>().join(" | ")
            );
        }
        for answers in &check.no {
            assert!(
                !says_yes(check, answers).await,
                "{} is fooled by {}",
                check.id,
                answers.iter().map(|answer| answer.escape_ascii().to_string()).collect::<Vec<_>>().join(" | ")
            );
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_back_is_no_answer_to_any_check() {
    // Java's debugger answers so; an echo service is known by its name and not asked.
    let not_alike = |check: &&Check| check.id != "jdwp-handshake";
    for check in Exposures::built_in().checks().iter().filter(not_alike) {
        let answers: Vec<Vec<u8>> = check.steps.iter().map(|step| step.request("127.0.0.1:1")).collect();
        assert!(!says_yes(check, &answers).await, "{}", check.id);
    }
    // Even where what is expected is in the request.
    let file = "[[check]]\nid = \"x\"\nports = [1]\nstep = [{ send = 'HELO x', expect = 'HELO' }]\nyes = [['HELO']]\nno = [['no']]";
    let own = Exposures::parse(&[("x.toml", file)], "").unwrap();
    let check = own.check("x").unwrap();
    assert!(!says_yes(check, &[b"HELO x".to_vec()]).await && says_yes(check, &[b"HELO you".to_vec()]).await);
}

#[tokio::test]
async fn no_check_writes_or_tries_a_password() {
    for check in Exposures::built_in().checks() {
        for step in &check.steps {
            let request = String::from_utf8_lossy(&step.request("host")).to_uppercase();
            // FTP begins TLS by that; whoever logs in names another way.
            let request = request.replace("AUTH TLS\r\n", "");
            for word in [
                "DATA\r\n", "BDAT ", "SET ", "DELETE", "PUT /", "FLUSH", "STOR ", "APPE ", "DELE ", "MKD ", "RNFR ",
                "SITE ", "AUTH ", "LOGIN ", "INSERT", "UPDATE ", "EVAL ", "SHUTDOWN", "SLAVEOF",
            ] {
                assert!(!request.contains(word), "{} sends {word}", check.id);
            }
            // etcd is only read so.
            let is_post = request.starts_with("POST ") && !request.starts_with("POST /V3/KV/RANGE ");
            assert!(!is_post, "{} posts", check.id);
            let is_password = request.starts_with("PASS ") && !request.starts_with("PASS SCANNER@EXAMPLE.ORG");
            assert!(!is_password, "{} tries a password", check.id);
        }
    }
}

/// Makes connections that never say anything, in memory, so that time is the runtime's own.
#[derive(Default)]
struct Silent {
    held: std::sync::Mutex<Vec<tokio::io::DuplexStream>>,
}

impl Connector for Silent {
    fn connect(&self, _: SocketAddr, _: bool) -> Connecting<'_> {
        let (near, far) = tokio::io::duplex(1024);
        self.held.lock().unwrap().push(far);
        Box::pin(async { Ok(Box::new(near) as Box<dyn Stream>) })
    }

    fn permits(&self, _: SocketAddr, _: Protocol) -> bool {
        true
    }

    fn datagram(&self, _: SocketAddr) -> Admitting<'_> {
        Box::pin(async { true })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_falls_silent_costs_what_is_left_of_its_ports_time_and_at_least_one_question() {
    let web = service("http");
    for (patience_s, expected_s) in [(8, 8), (3, 3), (0, 2)] {
        let options = Options { patience: Duration::from_secs(patience_s), ..Options::default() };
        let (begun, silent) = (Instant::now(), Silent::default());
        run(known("127.0.0.1:8080".parse().unwrap(), Protocol::Tcp, &web), &options, &silent, 0).await;
        assert_eq!(begun.elapsed().as_secs(), expected_s, "{patience_s}");
        assert_eq!(silent.held.lock().unwrap().len() as u64, expected_s.div_ceil(2));
    }
}

#[tokio::test]
async fn a_weakness_that_a_check_confirmed_comes_with_its_evidence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let check = Exposures::built_in().check("redis-info").unwrap();
    let redis = service("redis");
    let found = tokio::select! {
        found = run(known(target, Protocol::Tcp, &redis), &QUICK, &PlainConnector, 0) => found,
        () = serve(&listener, check, &check.yes[0]) => Vec::new(),
    };
    let found = found.iter().find(|weakness| weakness.id == "PEN-REDIS-NOAUTH").unwrap();
    assert_eq!((found.method.as_str(), found.confidence), ("exposure-checked", 99));
    assert_eq!(found.evidence, "INFO was answered without a password, version 7.0.15.");
}

/// Counts connections and makes none.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Connector for Counting {
    fn connect(&self, _: SocketAddr, _: bool) -> Connecting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn permits(&self, target: SocketAddr, protocol: Protocol) -> bool {
        PlainConnector.permits(target, protocol)
    }

    fn datagram(&self, _: SocketAddr) -> Admitting<'_> {
        Box::pin(async { true })
    }
}

async fn connections(target: &str, service: &Service, options: &Options) -> usize {
    let counting = Counting::default();
    run(known(target.parse().unwrap(), Protocol::Tcp, service), options, &counting, 0).await;
    counting.0.into_inner()
}

#[tokio::test]
async fn nothing_is_sent_to_fragile_ports_nor_where_checks_are_off() {
    let web = service("http");
    assert!(connections("127.0.0.1:8080", &web, &QUICK).await > 0);
    assert_eq!(connections("127.0.0.1:9100", &web, &QUICK).await, 0);
    assert_eq!(connections("127.0.0.1:502", &web, &QUICK).await, 0);
    assert_eq!(connections("127.0.0.1:8080", &web, &Options { is_active: false, ..QUICK }).await, 0);
    let tls = Service { tls: Some(Box::new(Tls::default())), ..web };
    let found = run(known("127.0.0.1:1".parse().unwrap(), Protocol::Tcp, &tls), &QUICK, &PlainConnector, 0).await;
    assert!(found.iter().all(|weakness| weakness.method != "exposure-checked"), "not in the clear what is within TLS");
}

#[tokio::test]
async fn the_site_that_was_asked_for_by_name_is_the_one_that_is_checked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let web = service("http");
    let serving = async {
        let mut hosts = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 2048];
            let count = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            hosts.extend(head.lines().find_map(|line| line.strip_prefix("Host: ").map(str::to_owned)));
            let _gone = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
            if hosts.len() == 3 {
                return hosts;
            }
        }
    };
    let asked = Known { name: Some("a.lab"), ..known(target, Protocol::Tcp, &web) };
    let options = Options { total_timeout: Duration::from_secs(5), ..QUICK };
    let hosts = tokio::select! {
        hosts = serving => hosts,
        _found = run(asked, &options, &PlainConnector, 0) => panic!("a web server is asked for more files than three"),
    };
    assert!(hosts.iter().all(|host| *host == format!("a.lab:{}", target.port())), "{hosts:?}");
}

/// What the check says of a web server that answers a path by `answer`.
async fn says_of_web(id: &str, answer: impl Fn(&str) -> String) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let serving = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
            let head = String::from_utf8_lossy(&head).into_owned();
            let _gone = stream.write_all(answer(head.split(' ').nth(1).unwrap_or_default()).as_bytes()).await;
        }
    };
    let web = service("http");
    let check = Exposures::built_in().check(id).unwrap();
    tokio::select! {
        found = ask(check, known(target, Protocol::Tcp, &web), &QUICK, &PlainConnector) => found.is_some(),
        () = serving => false,
    }
}

#[tokio::test]
async fn a_server_that_answers_every_path_alike_has_no_file_by_that() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    for (id, page) in [
        // The first chunk's size is no line of the body; nor is a line behind a blank one the first.
        (
            "svn-entries",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n<html>everything\r\n0\r\n\r\n".to_owned(),
        ),
        ("svn-entries", format!("{plain}Chapter\r\n\r\n12\r\n")),
        ("svn-entries", format!("{plain}12\n")),
        ("git-head", format!("{plain}ref: refs/heads/main\n")),
        ("git-head", format!("{plain}How git works\r\n\r\nref: refs/heads/main\n")),
        ("dot-env", format!("{plain}APP=x\nDB_PASSWORD=x\n")),
        ("dot-env", format!("{plain}<pre>\nDB_PASSWORD=example\n</pre>")),
        ("server-status", format!("{plain}See Apache Server Status for an example.")),
        ("stub-status", format!("{plain}Active connections: 7")),
        ("phpinfo", format!("{plain}Needs PHP Version 8.2")),
        ("jenkins-script", format!("{plain}How to open the script console")),
    ] {
        assert!(!says_of_web(id, |_| page.clone()).await, "{id}: {page:?}");
    }
}

#[tokio::test]
async fn a_file_is_found_however_its_answer_comes() {
    let absent = || "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (id, path, answer) in [
        ("git-head", "/.git/HEAD", format!("{early}HTTP/1.1 200 OK\r\n\r\nref: refs/heads/main\n")),
        ("git-head", "/.git/HEAD", format!("{chunked}3\r\nref\r\n12\r\n: refs/heads/main\n\r\n0\r\n\r\n")),
        ("svn-entries", "/.svn/entries", format!("{chunked}3\r\n12\n\r\n0\r\n\r\n")),
        ("dot-env", "/.env", "HTTP/1.0 200 OK\nServer: x\n\nexport API_KEY=x\n".to_owned()),
        ("dot-env", "/.env", format!("{chunked}a\r\nAPP=x\r\nDB_\r\na\r\nPASSWORD=x\r\n0\r\n\r\n")),
        ("phpinfo", "/phpinfo.php", format!("{chunked}4\r\n>PHP\r\n13\r\n Version 8.2.7</h1>\r\n0\r\n\r\n")),
    ] {
        let says = says_of_web(id, |asked| if asked == path { answer.clone() } else { absent() }).await;
        assert!(says, "{id}: {answer:?}");
    }
}

#[tokio::test]
async fn what_asks_third_parties_is_sent_only_where_a_user_wants_it() {
    let names = service("domain");
    for (has_opt_in, expected) in [(true, 1), (false, 0)] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = socket.local_addr().unwrap();
        let check = Exposures::built_in().check("dns-recursion").unwrap();
        let options = Options { has_opt_in, ..QUICK };
        let found = tokio::select! {
            found = run(known(target, Protocol::Udp, &names), &options, &PlainConnector, 0) => found.len(),
            () = serve_udp(&socket, &check.yes[0]) => 0,
        };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn servers_that_are_silent_or_never_end_cost_no_more_than_the_limits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let web = service("http");
    let silent = async {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    };
    let begun = Instant::now();
    let options = Options { total_timeout: Duration::from_secs(1), ..QUICK };
    tokio::select! {
        found = run(known(target, Protocol::Tcp, &web), &options, &PlainConnector, 0) => assert!(found.is_empty()),
        () = silent => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let endless = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    };
    let check = Exposures::built_in().check("redis-info").unwrap();
    let patient = Options { step_timeout: Duration::from_secs(60), ..QUICK };
    tokio::select! {
        found = ask(check, known(target, Protocol::Tcp, &web), &patient, &PlainConnector) => assert!(found.is_none()),
        () = endless => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it reads for ever"),
    }
}
