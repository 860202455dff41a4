use super::tests::{Server, drain};
use super::*;
use flate2::Compression;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

#[test]
fn scratch_titles() {
    let pages: Vec<(Vec<u8>, Option<&str>)> = vec![
        (b"<title>A &#0; B</title>".to_vec(), None),
        (b"<title>A &#x110000; B</title>".to_vec(), None),
        (b"<title>A &#xD800; B</title>".to_vec(), None),
        (b"<title>A &#128; B</title>".to_vec(), None),
        (b"<title>A &amp;amp; B</title>".to_vec(), None),
        (b"<title>A &unknown; B</title>".to_vec(), None),
        (b"<title>A &copy 2024</title>".to_vec(), None),
        (b"<title>A &notit; B</title>".to_vec(), None),
        (b"<title>A &NotEqualTilde; B &fjlig; B</title>".to_vec(), None),
        (b"<title>Tom&Jerry</title>".to_vec(), None),
        (b"<title>A\0B</title>".to_vec(), None),
        (b"<title>A\x1b[31mB</title>".to_vec(), None),
        ("<title>A\u{202e}B\u{200b}C</title>".as_bytes().to_vec(), None),
        (b"<TITLE\t>Tab</TITLE\t>".to_vec(), None),
        (b"<title>Unclosed".to_vec(), None),
        (b"<title>Unclosed<body>text".to_vec(), None),
        (b"<title>Unclosed</title".to_vec(), None),
        (b"<title>Half</titl".to_vec(), None),
        (b"<title>A</Title>B".to_vec(), None),
        (b"<title><b>Bold</b></title>".to_vec(), None),
        (b"<title>1 < 2 > 0</title>".to_vec(), None),
        (b"<title></title><title>Second</title>".to_vec(), None),
        (b"<title>&nbsp;</title><title>Second</title>".to_vec(), None),
        (b"<head><!-- <title>No</title> --><title>Yes</title></head>".to_vec(), None),
        (b"<head><!--[if IE]><title>IE</title><![endif]--><title>Yes</title></head>".to_vec(), None),
        (b"<![CDATA[<title>No</title>]]><title>Yes</title>".to_vec(), None),
        (b"<textarea><title>No</title></textarea><title>Yes</title>".to_vec(), None),
        (b"<noscript><title>No</title></noscript><title>Yes</title>".to_vec(), None),
        (b"<template><title>No</title></template><title>Yes</title>".to_vec(), None),
        (b"<iframe><title>No</title></iframe><title>Yes</title>".to_vec(), None),
        (b"<body><title>InBody</title>".to_vec(), None),
        (b"<svg:title>No</svg:title><title>Yes</title>".to_vec(), None),
        (b"<object><title>Obj</title></object>".to_vec(), None),
        (b"<script src=x/><title>No</title></script><title>Yes</title>".to_vec(), None),
        (b"<script>document.title='x'</script><title>Yes</title>".to_vec(), None),
        (b"<script>var x = \"</script><title>A</title>\"</script><title>B</title>".to_vec(), None),
        (b"<style></style ><title>Yes</title>".to_vec(), None),
        (b"<title>line1\r\nline2\r\n\r\nline3</title>".to_vec(), None),
        (b"<title>\xc4\xe3\xba\xc3</title>".to_vec(), Some("text/html; charset=gb2312")),
        (b"<title>\x82\xb1\x82\xf1</title>".to_vec(), Some("text/html; charset=shift_jis")),
        (b"<meta charset=shift_jis><title>\x82\xb1\x82\xf1</title>".to_vec(), None),
        (b"<title>\x1b$B$3$s\x1b(B</title>".to_vec(), Some("text/html; charset=iso-2022-jp")),
        (b"<title>\xe4\xf6\xfc</title>".to_vec(), Some("text/html; charset=utf-8")),
        ("<title>äöü</title>".as_bytes().to_vec(), Some("text/html; charset=us-ascii")),
        ("<title>äöü</title>".as_bytes().to_vec(), Some("text/html; charset=windows-1251")),
        ("<title>Привет</title>".as_bytes().to_vec(), Some("text/html; charset=koi8-r")),
        ("<meta charset=iso-8859-2><title>Привет</title>".as_bytes().to_vec(), None),
        (b"<title>\xcf\xf0\xe8\xe2\xe5\xf2</title>".to_vec(), Some("text/html;charset=cp1251")),
        (b"<title>\xcf\xf0\xe8\xe2\xe5\xf2</title>".to_vec(), Some("text/html;charset='windows-1251'")),
        (b"<title>\xcf\xf0\xe8\xe2\xe5\xf2</title><meta http-equiv='content-type' content='text/html;charset=windows-1251'>".to_vec(), None),
        (b"<meta http-equiv=content-type content=text/html;charset=windows-1251><title>\xcf\xf0\xe8\xe2\xe5\xf2</title>".to_vec(), None),
        (b"<title>\xa1\xa4</title>".to_vec(), Some("text/html; charset=iso-8859-15")),
        (b"<title>+AOQ-</title>".to_vec(), Some("text/html; charset=utf-7")),
        ("\u{feff}<title>Ä</title>".encode_utf16().flat_map(u16::to_be_bytes).collect(), Some("text/html; charset=utf-16")),
        ("<title>Ä</title>".encode_utf16().flat_map(u16::to_le_bytes).collect(), Some("text/html; charset=utf-16")),
        ("<title>Ä</title>".encode_utf16().flat_map(u16::to_be_bytes).collect(), Some("text/html; charset=utf-16be")),
        ("\n<html><title>Ä</title>".encode_utf16().flat_map(u16::to_le_bytes).collect(), None),
        ("<title>𝕋itle 😀</title>".as_bytes().to_vec(), None),
        ("<title>e\u{301}</title>".as_bytes().to_vec(), None),
        ("<title>שלום</title>".as_bytes().to_vec(), None),
        (format!("<title>{}</title>", "x".repeat(1000)).into_bytes(), None),
        (format!("{}<title>Late</title>", "<!-- -->".repeat(20000)).into_bytes(), None),
        (b"<title/><title>Second</title>".to_vec(), None),
        (b"<html><head><title lang='>'>Yes</title>".to_vec(), None),
        (b"<title title='<title>No</title>'>Yes</title>".to_vec(), None),
        (b"</title><title>Yes</title>".to_vec(), None),
        (b"< title>No</title><title>Yes</title>".to_vec(), None),
        (b"<titles>No</titles><title>Yes</title>".to_vec(), None),
        (b"<title-x>No</title-x><title>Yes</title>".to_vec(), None),
        (b"&lt;title&gt;No&lt;/title&gt;<title>Yes</title>".to_vec(), None),
        (b"<plaintext><title>No</title>".to_vec(), None),
        (b"<math><title>No</title></math><title>Yes</title>".to_vec(), None),
        (b"<svg><desc><title>No</title></desc></svg><title>Yes</title>".to_vec(), None),
        (b"<svg><svg></svg><title>No</title></svg><title>Yes</title>".to_vec(), None),
        (b"<xml><title>X</title></xml>".to_vec(), None),
        (b"{\"title\": \"<title>json</title>\"}".to_vec(), Some("application/json")),
        (b"<feed xmlns='http://www.w3.org/2005/Atom'><title>Feed</title></feed>".to_vec(), Some("application/atom+xml")),
        (b"<rss><channel><title><![CDATA[News & more]]></title>".to_vec(), Some("text/xml")),
    ];
    for (page, kind) in pages {
        let found = http::read_page(&page, kind);
        let shown = String::from_utf8_lossy(&page).chars().take(100).collect::<String>();
        println!("{shown:?} {kind:?}\n   -> {:?}", found.title.map(|t| t.chars().take(60).collect::<String>()));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

#[test]
fn scratch_encodings() {
    let page = format!("<html><title>Packed 7</title>{}", "y".repeat(500)).into_bytes();
    let chunk = |c: &[u8]| [format!("{:x}\r\n", c.len()).as_bytes(), c, b"\r\n0\r\n\r\n"].concat();
    let halves = |c: &[u8]| {
        let (a, b) = c.split_at(c.len() / 2);
        [
            format!("{:X}\r\n", a.len()).as_bytes(),
            a,
            b"\r\n",
            format!("{:04x} \r\n", b.len()).as_bytes(),
            b,
            b"\r\n0\r\nTrailer: x\r\n\r\n",
        ]
        .concat()
    };
    let mut cut_gz = gzip(&page);
    cut_gz.truncate(cut_gz.len() - 6);
    let mut bad_crc = gzip(&page);
    let l = bad_crc.len();
    bad_crc[l - 8] ^= 0xff;
    let members = [gzip(&page[..30]), gzip(&page[30..])].concat();
    let trailing = [gzip(&page), b"garbage".to_vec()].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Content-Encoding: gzip", cut_gz),
        ("Content-Encoding: gzip", bad_crc),
        ("Content-Encoding: gzip", members),
        ("Content-Encoding: gzip", trailing),
        ("Content-Encoding: x-deflate", zlib(&page)),
        ("Content-Encoding: compress", gzip(&page)),
        ("Content-Encoding: none", page.clone()),
        ("Content-Encoding: none", gzip(&page)),
        ("Content-Encoding: utf-8", page.clone()),
        ("Content-Encoding: UTF-8", gzip(&page)),
        ("Content-Encoding: ", gzip(&page)),
        ("Content-Encoding:gzip;q=1.0", gzip(&page)),
        ("Content-Encoding: \"gzip\"", gzip(&page)),
        ("Content-Encoding: gzip,", gzip(&page)),
        ("Content-Encoding: gzip deflate", gzip(&page)),
        ("Content-Encoding: gzip/deflate", gzip(&page)),
        ("Content-Encoding: deflate, deflate", raw(&zlib(&page))),
        ("Content-Encoding: gzip, deflate", zlib(&gzip(&page))),
        ("Content-Encoding: identity", raw(&page)),
        ("Content-Encoding: identity", zlib(&page)),
        ("X: y", zlib(&page)),
        ("Content-Encoding: br, gzip", gzip(&page)),
        ("Transfer-Encoding: chunked", halves(&page)),
        ("Transfer-Encoding: Chunked", chunk(&gzip(&page))),
        ("Transfer-Encoding: chunked, identity", chunk(&page)),
        ("Transfer-Encoding: identity", page.clone()),
        ("Transfer-Encoding: gzip", gzip(&page)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunk(&page)),
        ("Transfer-Encoding: chunked, chunked", chunk(&chunk(&page))),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", chunk(&page)),
        ("Content-Length: 5\r\nContent-Length: 1000", page.clone()),
        ("Content-Length: 5", page.clone()),
        ("Content-Length: -1", page.clone()),
        ("Content-Length: abc", page.clone()),
        ("Content-Length: 0", page.clone()),
        ("Content-Length: 99999999999999999999", page.clone()),
        ("Content-Length: 10\r\nContent-Encoding: gzip", gzip(&page)),
        ("Transfer-Encoding: chunked", [b"\r\n".to_vec(), chunk(&page)].concat()),
        ("Transfer-Encoding: chunked", [b"0x10\r\n".to_vec(), page.clone()].concat()),
        ("Transfer-Encoding: chunked", [b"ffffff\r\n".to_vec(), page.clone()].concat()),
        (
            "Transfer-Encoding: chunked",
            [format!("{:x}\n", page.len()).into_bytes(), page.clone(), b"\n0\n\n".to_vec()].concat(),
        ),
        ("transfer-encoding:chunked", chunk(&page)),
        ("Transfer-Encoding : chunked", chunk(&page)),
        ("Transfer-Encoding:\r\n chunked", chunk(&page)),
        ("Transfer-Encoding: chunked; q=1", chunk(&page)),
        ("Transfer-Encoding: \"chunked\"", chunk(&page)),
        ("Transfer-Encoding: xchunked", page.clone()),
        ("Content-Encoding: gzip", [b"\xef\xbb\xbf".to_vec(), gzip(&page)].concat()),
        (
            "Content-Encoding: gzip\r\nContent-Type: text/html; charset=utf-16",
            gzip(
                &String::from_utf8(page.clone()).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
            ),
        ),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", [raw(&page), b"\0\0\0\0".to_vec()].concat()),
    ];
    for (headers, content) in cases {
        let answer = [format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(), &content].concat();
        let head = http::read_head(&answer).unwrap();
        let title = http::read_page(&http::body(&head, &answer), head.content_type()).title;
        println!("{} {headers:?} -> {:?}", if title.as_deref() == Some("Packed 7") { "ok " } else { "BAD" }, title);
    }
}

async fn answers(server: &Server, name: Option<&str>) -> String {
    let detector = Detector::new(Arc::new(RuleSet::builtin()), 64);
    let options = Options::default();
    let began = Instant::now();
    let found = detector.identify(server.address, Protocol::Tcp, name, &options).await;
    let s = found.service.unwrap_or_default();
    format!(
        "{:.1}s {}/{:?}/{:?} conf {} status {:?} title {:?} banner {:?}",
        began.elapsed().as_secs_f64(),
        s.name,
        s.product,
        s.version,
        s.confidence,
        s.http.as_ref().map(|h| h.status),
        s.http.as_ref().and_then(|h| h.title.clone()),
        found.banner.map(|b| b.chars().take(50).collect::<String>())
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_conversations() {
    // (port, label, parts with pauses ms, waits for the request first)
    let last = "HTTP/1.1 200 OK\r\nServer: nginx/1.25.3\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n<title>After it</title>\n";
    let cases: Vec<(&str, bool, Vec<(u64, String)>)> = vec![
        ("100 then", true, vec![(0, "HTTP/1.1 100 Continue\r\n\r\n".into()), (0, last.into())]),
        ("100 late", true, vec![(0, "HTTP/1.1 100 Continue\r\n\r\n".into()), (1500, last.into())]),
        ("100 very late", true, vec![(0, "HTTP/1.1 100 Continue\r\n\r\n".into()), (3500, last.into())]),
        ("1.0 100", true, vec![(0, "HTTP/1.0 100 Continue\r\n\r\n".into()), (200, last.into())]),
        ("199", true, vec![(0, "HTTP/1.1 199 Odd\r\nServer: cdn/1\r\n\r\n".into()), (200, last.into())]),
        ("103x20", true, vec![(0, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(15)), (200, last.into())]),
        (
            "102 split",
            true,
            vec![(0, "HTTP/1.1 102 Proc".into()), (200, "essing\r\n\r".into()), (200, format!("\n{last}"))],
        ),
        (
            "103 with body-like",
            true,
            vec![(0, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n".into()), (200, last.into())],
        ),
        ("100 no reason", true, vec![(0, "HTTP/1.1 100\r\n\r\n".into()), (0, last.into())]),
        ("100 bare lf", true, vec![(0, "HTTP/1.1 100 Continue\n\n".into()), (0, last.into())]),
        ("100 only", true, vec![(0, "HTTP/1.1 100 Continue\r\n\r\n".into())]),
        ("blank first", true, vec![(0, format!("\r\n{last}"))]),
        (
            "101",
            true,
            vec![(0, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nServer: nginx/1.25.3\r\n\r\n".into())],
        ),
        ("ssh split", false, vec![(0, "SSH-2.0-Open".into()), (600, "SSH_9.6p1 Ubuntu-3ubuntu13.5\r\n".into())]),
        ("ssh byte", false, "SSH-2.0-OpenSSH_9.6p1\r\n".chars().map(|c| (80, c.to_string())).collect()),
        ("ssh split version", false, vec![(0, "SSH-2.0-OpenSSH_9".into()), (1800, ".6p1\r\n".into())]),
        ("ssh no end", false, vec![(0, "SSH-2.0-OpenSSH_9.6p1".into())]),
        ("ssh lf", false, vec![(0, "SSH-2.0-OpenSSH_9.6p1\n".into())]),
        (
            "ftp multi",
            false,
            vec![
                (0, "220-Welcome\r\n220-to this\r\n".into()),
                (900, "220 ProFTPD 1.3.8 Server (x) [10.0.0.1]\r\n".into()),
            ],
        ),
        ("ftp split digit", false, vec![(0, "220 (vsFTPd 3".into()), (700, ".0.5)\r\n".into())]),
        ("ftp cut", false, vec![(0, "220 (vsFTPd 3.0".into())]),
        ("smtp split", false, vec![(0, "220 mx.example ESMTP Exim 4".into()), (700, ".96 Tue\r\n".into())]),
        ("smtp cut", false, vec![(0, "220 mx.example ESMTP Exim 4.9".into())]),
        ("pop split", false, vec![(0, "+OK Dove".into()), (700, "cot ready.\r\n".into())]),
        (
            "imap split",
            false,
            vec![(0, "* OK [CAPABILITY IMAP4rev1".into()), (700, "] Dovecot (Debian) ready.\r\n".into())],
        ),
        (
            "http split server",
            true,
            vec![(0, "HTTP/1.1 200 OK\r\nServer: ngi".into()), (700, "nx/1.24.0\r\n\r\nx".into())],
        ),
        (
            "http split ver",
            true,
            vec![(0, "HTTP/1.1 200 OK\r\nServer: nginx/1.2".into()), (1500, "4.0\r\n\r\nx".into())],
        ),
        (
            "http split status",
            true,
            vec![(0, "HTT".into()), (400, "P/1.1 200 OK\r\nServer: nginx/1.24.0\r\n\r\n<title>T</title>".into())],
        ),
        ("http cut head", true, vec![(0, "HTTP/1.1 200 OK\r\nServer: nginx/1.2".into())]),
        ("mysql split", false, vec![(0, "\x4a\0\0\0\x0a8.0.".into()), (600, "36\0".into())]),
        ("redis late", true, vec![(300, "-NOAUTH Authentication required.\r\n".into())]),
        ("slow 3s smtp", false, vec![(3000, "220 mx ESMTP Postfix\r\n".into())]),
        ("slow 5s ftp", false, vec![(5000, "220 (vsFTPd 3.0.5)\r\n".into())]),
        ("slow 5s ssh", false, vec![(5000, "SSH-2.0-OpenSSH_9.6p1\r\n".into())]),
        ("telnet", false, vec![(0, "\u{fffd}".into()), (200, "login: ".into())]),
    ];
    let mut all = Vec::new();
    for (n, (label, waits, parts)) in cases.into_iter().enumerate() {
        all.push(async move {
            let server = Server::on(&format!("127.55.9.{}:{}", n + 1, 47000 + n), move |mut stream| {
                let parts = parts.clone();
                async move {
                    if waits {
                        let mut b = [0; 2048];
                        if !matches!(stream.read(&mut b).await, Ok(1..)) {
                            return;
                        }
                    }
                    for (pause, part) in parts {
                        sleep(Duration::from_millis(pause)).await;
                        if stream.write_all(part.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                    drain(&mut stream).await;
                }
            })
            .await;
            println!("{label}: {}", answers(&server, None).await);
        });
    }
    futures::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_http10() {
    // how the server answers HTTP/1.0, and 1.1 with Host
    let good = "HTTP/1.1 200 OK\r\nServer: envoy\r\nContent-Type: text/html\r\nContent-Length: 21\r\n\r\n<title>Orders</title>";
    let refusals: Vec<(&str, String)> = vec![
        ("426 no body", "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n".into()),
        ("505", "HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n".into()),
        ("404", "HTTP/1.1 404 Not Found\r\nServer: awselb/2.0\r\n\r\n<title>404</title>".into()),
        ("421", "HTTP/1.1 421 Misdirected Request\r\n\r\n".into()),
        ("502", "HTTP/1.1 502 Bad Gateway\r\n\r\n".into()),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n".into()),
        ("200 empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("200 blank", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\r\n".into()),
        ("200 error page", "HTTP/1.1 200 OK\r\n\r\n<title>Error</title>Bad host".into()),
        ("302 self", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n".into()),
        ("302 noloc", "HTTP/1.1 302 Found\r\n\r\n".into()),
        ("308 https", "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://svc.example/\r\n\r\n".into()),
        ("301 rel", "HTTP/1.1 301 Moved\r\nLocation: ///\r\n\r\n".into()),
        ("444", String::new()),
        ("bare", "<html><title>400</title></html>".into()),
        ("text", "400 Bad Request\n".into()),
        ("h2 goaway", "\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01".into()),
        ("HTTP/0.9?", "hello\n".into()),
        ("HTTP/1.1 000", "HTTP/1.1 000 \r\n\r\n".into()),
        ("HTTP/3.0", "HTTP/3.0 200 OK\r\n\r\n".into()),
        ("999", "HTTP/1.1 999 Denied\r\n\r\n".into()),
        ("status only", "HTTP/1.1 400".into()),
        ("RTSP", "RTSP/1.0 400 Bad Request\r\n\r\n".into()),
        ("ICY", "ICY 400 Bad\r\n\r\n".into()),
    ];
    let mut all = Vec::new();
    for (n, (label, refusal)) in refusals.into_iter().enumerate() {
        for port in [8096_u16, 47_300] {
            let refusal = refusal.clone();
            all.push(async move {
                let server = Server::on(
                    &format!("127.55.{}.{}:{port}", if port == 8096 { 10 } else { 11 }, n + 1),
                    move |mut stream| {
                        let refusal = refusal.clone();
                        async move {
                            let mut head = Vec::new();
                            let mut b = [0; 2048];
                            while !head.ends_with(b"\r\n\r\n") {
                                match stream.read(&mut b).await {
                                    Ok(l @ 1..) => head.extend_from_slice(&b[..l]),
                                    _ => return,
                                }
                                if !head.starts_with(b"GET ") {
                                    break;
                                }
                            }
                            let text = String::from_utf8_lossy(&head).into_owned();
                            let whole = text.contains(" HTTP/1.1\r\n") && text.to_lowercase().contains("\r\nhost: ");
                            let _ = stream.write_all(if whole { good.as_bytes() } else { refusal.as_bytes() }).await;
                        }
                    },
                )
                .await;
                println!("{label} {port}: {}", answers(&server, None).await);
            });
        }
    }
    futures::future::join_all(all).await;
}
