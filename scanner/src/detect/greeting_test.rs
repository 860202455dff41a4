//! Servers that speak first and late: by the habit of their port they are let speak, and what they say to whoever is too early is
//! not their greeting.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tests::{Server, drain, identify_by_rules};
use super::*;

/// What becomes of whoever speaks before the greeting.
#[derive(Clone, Copy)]
enum Early {
    /// It is told so, and that was it.
    Refused(&'static [u8]),
    /// The connection ends without a word.
    Closed,
    /// The greeting comes all the same.
    Borne,
}

/// A server: where, after how long it greets, by what, and what it does to whoever speaks before.
type Late = (u16, u64, &'static [u8], Early, (&'static str, Option<&'static str>, Option<&'static str>));

#[rustfmt::skip]
static LATE: &[Late] = &[
    // By the habit of the port.
    (25, 6800, b"220 mx.frob.example ESMTP Postfix (3.7.11)\r\n", Early::Refused(b"554 5.5.1 Error: protocol synchronization error\r\n"), ("smtp", Some("Postfix smtpd"), Some("3.7.11"))),
    (587, 4000, b"220-mx.frob.example ESMTP Exim 4.96\r\n220 ready\r\n", Early::Refused(b"554 SMTP synchronization error\r\n"), ("smtp", Some("Exim smtpd"), Some("4.96"))),
    (21, 4500, b"220 ProFTPD 1.3.8 Server (x) [::1]\r\n", Early::Closed, ("ftp", Some("ProFTPD"), Some("1.3.8"))),
    (22, 3000, b"SSH-2.0-OpenSSH_8.4p1\r\n", Early::Refused(b"Invalid SSH identification string.\r\n"), ("ssh", Some("OpenSSH"), Some("8.4p1"))),
    (5901, 5000, b"RFB 003.008\n", Early::Refused(b"Bye\r\n"), ("vnc", Some("VNC"), None)),
    (110, 3500, b"+OK Dovecot ready.\r\n", Early::Refused(b"-ERR Unknown command.\r\n"), ("pop3", Some("Dovecot pop3d"), None)),
    (143, 5500, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready.\r\n", Early::Refused(b"* BAD Error in IMAP command received by server.\r\n"), ("imap", Some("Dovecot imapd"), None)),
    (119, 4000, b"200 news.frob.example InterNetNews NNRP server INN 2.7.1 ready (posting ok)\r\n", Early::Closed, ("nntp", Some("INN"), Some("2.7.1"))),
    (3306, 3000, b"I\0\0\0\x0a5.7.44-log\0\x01\0\0\0abcdefgh\0\xff\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0mysql_native\0", Early::Closed, ("mysql", Some("MySQL"), Some("5.7.44"))),
    (873, 2500, b"@RSYNCD: 31.0\n", Early::Closed, ("rsync", Some("rsync"), None)),
    (5900, 3000, b"RFB 003.008\n", Early::Closed, ("vnc", Some("VNC"), None)),
    // Later than a port that does not greet by its number may take in all.
    (222, 7000, b"SSH-2.0-OpenSSH_9.6p1\r\n", Early::Refused(b"Invalid SSH identification string.\r\n"), ("ssh", Some("OpenSSH"), Some("9.6p1"))),
    (8022, 10_000, b"SSH-2.0-dropbear_2022.83\r\n", Early::Closed, ("ssh", Some("Dropbear sshd"), Some("2022.83"))),
    (2222, 6000, b"SSH-2.0-OpenSSH_9.7p1\r\n", Early::Closed, ("ssh", Some("OpenSSH"), Some("9.7p1"))),
    (2121, 12_000, b"220 (vsFTPd 3.0.5)\r\n", Early::Refused(b"500 OOPS: too early\r\n"), ("ftp", Some("vsftpd"), Some("3.0.5"))),
    (2525, 11_000, b"220 mx.frob.example ESMTP Postfix (3.8.1)\r\n", Early::Refused(b"554 5.5.1 Error: too early\r\n"), ("smtp", Some("Postfix smtpd"), Some("3.8.1"))),
    // On numbers that say nothing: what bears early talk is named, and what does not is let speak then.
    (47201, 2000, b"220 (vsFTPd 3.0.3)\r\n", Early::Borne, ("ftp", Some("vsftpd"), Some("3.0.3"))),
    (47202, 2000, b"220 mx.frob.example ESMTP Postfix\r\n", Early::Refused(b"554 5.5.1 Error: too early\r\n"), ("smtp", Some("Postfix smtpd"), None)),
    (47203, 3000, b"SSH-2.0-dropbear_2022.83\r\n", Early::Borne, ("ssh", Some("Dropbear sshd"), Some("2022.83"))),
    (47206, 4000, b"SSH-2.0-OpenSSH_9.6p1\r\n", Early::Borne, ("ssh", Some("OpenSSH"), Some("9.6p1"))),
    (47207, 5000, b"220 mx.frob.example ESMTP Postfix (3.7.11)\r\n", Early::Borne, ("smtp", Some("Postfix smtpd"), Some("3.7.11"))),
    (47204, 2500, b"+OK Dovecot ready.\r\n", Early::Refused(b"-ERR what?\r\n"), ("pop3", Some("Dovecot pop3d"), None)),
];

async fn speak(mut stream: TcpStream, late: &'static Late, spoken: &Mutex<Vec<u16>>) {
    let (port, delay_ms, greeting, early, _) = late;
    let mut words = [0; 512];
    let told = timeout(Duration::from_millis(*delay_ms), stream.read(&mut words)).await;
    let has_spoken = matches!(told, Ok(Ok(1..)));
    if has_spoken {
        spoken.lock().unwrap().push(*port);
    }
    match (has_spoken, early) {
        (true, Early::Refused(words)) => drop(stream.write_all(words).await),
        (true, Early::Closed) => {}
        _ if told.is_ok() && !has_spoken => {}
        (true, Early::Borne) => {
            tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
            let _ = stream.write_all(greeting).await;
            drain(&mut stream).await;
        }
        (false, _) => {
            let _ = stream.write_all(greeting).await;
            drain(&mut stream).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_greeting_is_waited_for_and_names_its_server() {
    static SPOKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let asked = LATE.iter().map(|late| async move {
        let (port, .., expected) = late;
        let server = Server::on(&format!("127.55.3.1:{port}"), move |stream| speak(stream, late, &SPOKEN)).await;
        let found = identify_by_rules(server.address, &Options::default()).await.service;
        let told = found.as_ref().map(|found| (&*found.name, found.product.as_deref(), found.version.as_deref()));
        (told != Some(*expected)).then(|| format!("{port}: {told:?}, not {expected:?}"))
    });
    let wrong: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let spoken = SPOKEN.lock().unwrap();
    for port in [25, 587] {
        assert!(!spoken.contains(&port), "who punishes early talk was talked to: {spoken:?}");
    }
}

/// A server: where, what it greets by in parts, and the time between them.
type Parted = (u16, &'static [&'static [u8]], u64, (&'static str, Option<&'static str>, Option<&'static str>));

#[rustfmt::skip]
static PARTED: &[Parted] = &[
    (22, &[b"SSH-2.0-Open", b"SSH_9.6p1 Ubuntu-3ubuntu13.5\r\n"], 4000, ("ssh", Some("OpenSSH"), Some("9.6p1"))),
    (222, &[b"", b"SSH-2.0-Open", b"SSH_9.6p1\r\n"], 3000, ("ssh", Some("OpenSSH"), Some("9.6p1"))),
    (2022, &[b"Keep out\r\n", b"or else\r\n", b"SSH-2.0-OpenSSH_9.6p1\r\n"], 1500, ("ssh", Some("OpenSSH"), Some("9.6p1"))),
    (2222, &[b"SSH-2.0-dropbear_20", b"22.83\r\n"], 5000, ("ssh", Some("Dropbear sshd"), Some("2022.83"))),
    (21, &[b"2", b"2", b"0", b" ", b"(", b"v", b"s", b"F", b"T", b"P", b"d", b" ", b"3", b".", b"0", b".", b"3", b")", b"\r", b"\n"], 400, ("ftp", Some("vsftpd"), Some("3.0.3"))),
    (25, &[b"220-mx.frob.example ESMTP\r\n", b"220 mx.frob.example ESMTP Postfix (3.7.11)\r\n"], 9000, ("smtp", Some("Postfix smtpd"), Some("3.7.11"))),
    (110, &[b"+OK Dove", b"cot ready.\r\n"], 6000, ("pop3", Some("Dovecot pop3d"), None)),
    (3306, &[b"I\0\0\0\x0a5.7", b".44-log\0\x01\0\0\0abcdefgh\0\xff\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0mysql_native\0"], 3000, ("mysql", Some("MySQL"), Some("5.7.44"))),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_comes_in_parts_is_read_to_its_end() {
    let asked = PARTED.iter().map(|parted| async move {
        let (port, parts, gap_ms, expected) = parted;
        let server = Server::on(&format!("127.55.3.3:{port}"), move |mut stream| async move {
            for (at, part) in parts.iter().enumerate() {
                let wait = if at == 0 { 0 } else { *gap_ms };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let _ = stream.write_all(part).await;
            }
            drain(&mut stream).await;
        })
        .await;
        let found = identify_by_rules(server.address, &Options::default()).await.service;
        let told = found.as_ref().map(|found| (&*found.name, found.product.as_deref(), found.version.as_deref()));
        (told != Some(*expected)).then(|| format!("{port}: {told:?}, not {expected:?}"))
    });
    let wrong: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_port_is_listened_to_beyond_its_time_where_its_number_says_that_it_greets_and_nowhere_else() {
    static SPOKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    static LATER: Late = (0, 3000, b"SSH-2.0-OpenSSH_9.6p1\r\n", Early::Borne, ("ssh", None, None));
    let options = Options { budget: Duration::from_secs(2), ..Options::default() };
    for (address, is_heard) in [("127.55.3.4:22", true), ("127.55.3.4:47205", false)] {
        let server = Server::on(address, |stream| speak(stream, &LATER, &SPOKEN)).await;
        let identified = identify_by_rules(server.address, &options).await;
        assert_eq!(identified.service.is_some(), is_heard, "{address}: {identified:?}");
    }
}

#[tokio::test]
async fn a_mail_server_that_does_not_greet_in_time_is_not_spoken_to() {
    static SPOKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    static LATER: Late =
        (25, 20_000, b"220 x ESMTP\r\n", Early::Refused(b"554 5.5.1 Error: too early\r\n"), ("smtp", None, None));
    let server = Server::on("127.55.3.2:25", |stream| speak(stream, &LATER, &SPOKEN)).await;
    let identified = identify_by_rules(server.address, &Options::default()).await;
    assert_eq!(identified, Identified::default(), "it has said nothing");
    assert!(SPOKEN.lock().unwrap().is_empty());
    assert_eq!(server.connections(), 1);
}
