//! Servers that hold whoever asks them: drips, answers without an end, promises without a body. Each costs its port's time and
//! few connections, and what it said before is kept.

use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::tests::{Server, drain, identify_by_rules};
use super::*;

/// Time of one port, and what it may take beyond.
const BUDGET: Duration = Duration::from_secs(3);
const OVER: Duration = Duration::from_secs(5);
/// So many are asked at once: some of them send as fast as they can.
const AT_ONCE: usize = 6;
/// So often one is asked again that told nothing: a machine that does much else may have had no time for it.
const TRIES: usize = 3;
/// Most connections to one port: a few attempts, the page and its icon, TLS.
const CONNECTIONS_MAX: usize = 24;

/// What a server says first, and again and again from then on.
struct Pit {
    port: u16,
    is_asked_first: bool,
    first: &'static [u8],
    again: &'static [u8],
    pause_ms: u64,
    /// Service, product and version that it has told by then.
    told: (&'static str, Option<&'static str>, Option<&'static str>),
}

async fn hold(mut stream: TcpStream, pit: &'static Pit) {
    if pit.is_asked_first && stream.read(&mut [0; 4096]).await.is_err() {
        return;
    }
    let _ = stream.write_all(pit.first).await;
    if pit.again.is_empty() {
        return drain(&mut stream).await;
    }
    while stream.write_all(pit.again).await.is_ok() {
        if pit.pause_ms > 0 {
            sleep(Duration::from_millis(pit.pause_ms)).await;
        }
    }
}

const NGINX: (&str, Option<&str>, Option<&str>) = ("http", Some("nginx"), Some("1.24.0"));

/// Speaks once it was asked.
const fn answers(port: u16, first: &'static [u8], again: &'static [u8], pause_ms: u64) -> Pit {
    Pit { port, is_asked_first: true, first, again, pause_ms, told: NGINX }
}

/// Speaks first.
const fn greets(
    port: u16,
    first: &'static [u8],
    again: &'static [u8],
    told: (&'static str, Option<&'static str>, Option<&'static str>),
) -> Pit {
    Pit { port, is_asked_first: false, first, again, pause_ms: 20, told }
}

const HELLO: &[u8] = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x030123456789abcdef0123456789abcdef\x00\xc0\x2f\x00";

#[rustfmt::skip]
static PITS: &[Pit] = &[
    // A title, an extension of a chunk, fields behind the last chunk, a folded field and a line of status that never end.
    answers(8097, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Type: text/html\r\n\r\n<title>a", b"b", 50),
    answers(8098, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", 5),
    answers(8099, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", 20),
    answers(8100, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nX:", b"\r\n y", 10),
    Pit { told: ("http", None, None), ..answers(8101, b"HTTP/1.1 200 O", b"K", 20) },
    // A body that is promised and does not come, one as long as there are numbers, one that is packed and drips.
    answers(8102, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Length: 500\r\n\r\n", b"", 0),
    answers(8103, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Length: 18446744073709551615\r\n\r\n", b"x", 0),
    answers(8104, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0", 50),
    // Chunks of nothing, a way that leads to itself, fields for a login without end.
    answers(8105, b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0),
    answers(8106, b"HTTP/1.1 302 Found\r\nServer: nginx/1.24.0\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", b"", 0),
    answers(8107, b"HTTP/1.1 401 Unauthorized\r\nServer: nginx/1.24.0\r\n", b"WWW-Authenticate: NTLM\r\n", 10),
    // Answers that say that the answer is to come.
    Pit { told: ("http", None, None), ..answers(8108, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 1) },
    // Greetings of protocols that go on by themselves.
    greets(21, b"220 (vsFTPd 3.0.3)\r\n", b"331 more\r\n", ("ftp", Some("vsftpd"), Some("3.0.3"))),
    greets(2121, b"220-ProFTPD 1.3.8 Server\r\n", b"220-and\r\n", ("ftp", Some("ProFTPD"), Some("1.3.8"))),
    greets(143, b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", b"* 1 EXISTS\r\n", ("imap", Some("Dovecot imapd"), None)),
    greets(110, b"+OK Dovecot ready.\r\n", b"+OK\r\n", ("pop3", Some("Dovecot pop3d"), None)),
    greets(5900, b"RFB 003.008\n", b"\x01\x01", ("vnc", Some("VNC"), None)),
    greets(873, b"@RSYNCD: 31.0\n", b"welcome\n", ("rsync", Some("rsync"), None)),
    greets(23, b"\xff\xfd\x18", b"\xff\xfb\x01\xff\xfd\x1f", ("telnet", None, None)),
    // Values without an end.
    Pit { told: ("redis", Some("Redis"), Some("7.0.15")), ..answers(6379, b"$1000000000\r\n# Server\r\nredis_version:7.0.15\r\n", b"x", 20) },
    Pit { told: ("memcached", Some("Memcached"), Some("1.6.18")), ..answers(11211, b"VERSION 1.6.18\r\nSTAT version 1.6.18\r\n", b"STAT a 1\r\n", 20) },
    // TLS: warnings, changes of the cipher, records of nothing, half a record.
    Pit { told: ("tls", None, None), ..answers(8443, HELLO, b"\x15\x03\x03\0\x02\x01\x5a", 5) },
    Pit { told: ("tls", None, None), ..answers(9443, HELLO, b"\x14\x03\x03\0\x01\x01", 0) },
    Pit { told: ("tls", None, None), ..answers(10443, HELLO, b"\x17\x03\x03\0\0", 0) },
    Pit { told: ("tls", None, None), ..answers(443, HELLO, b"\x16", 50) },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_whoever_asks_costs_its_time_and_keeps_what_it_said() {
    let asked = PITS.iter().map(|pit| async move {
        let server = Server::on(&format!("127.55.2.1:{}", pit.port), move |stream| hold(stream, pit)).await;
        let mut wrong = None;
        for _ in 0..TRIES {
            let (begun, before) = (Instant::now(), server.connections());
            let options = Options { budget: BUDGET, ..Options::default() };
            let found = identify_by_rules(server.address, &options).await.service;
            let (took, connections) = (begun.elapsed(), server.connections() - before);
            let told = found.as_ref().map(|found| (&*found.name, found.product.as_deref(), found.version.as_deref()));
            let is_bounded = took < BUDGET + OVER && connections <= CONNECTIONS_MAX;
            wrong = (told != Some(pit.told) || !is_bounded)
                .then(|| format!("{}: {told:?}, not {:?}; {took:?}, {connections} connections", pit.port, pit.told));
            if told.is_some() {
                break;
            }
        }
        wrong
    });
    let wrong: Vec<String> =
        futures::stream::iter(asked).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
