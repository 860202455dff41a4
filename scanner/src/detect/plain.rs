//! What protocols say of themselves, without any rule about products: the first words that their specifications demand.
//!
//! This is what a detector knows with no rules at all, and what it falls back on. It names the service, and the program
//! where the protocol has a field for exactly that: SSH's identification string and HTTP's `Server` header.

use std::sync::Arc;

use super::http;
use super::matcher::{Answer, Match, Matcher, ProbeId, ProbeRef};
use crate::finding::{Service, plain_text_of};
use crate::port::Protocol;

/// Longest text of a field that is kept.
const TEXT_MAX: usize = 256;
/// How sure the first words of a protocol are.
const CONFIDENCE: u8 = 60;

/// A [`Matcher`] from protocol specifications alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

const GET: ProbeId = ProbeId(1);
const LINES: ProbeId = ProbeId(2);

impl Matcher for Plain {
    fn probes(&self, protocol: Protocol, port: u16, _is_tls: bool) -> Vec<ProbeRef> {
        if protocol != Protocol::Tcp {
            return Vec::new();
        }
        let is_web = matches!(port, 80 | 81 | 443 | 591 | 3000 | 5000 | 8000..=8100 | 8443 | 8888 | 9000 | 9090 | 9443);
        let probe = |id, name: &str, payload: &[u8], is_hinted| ProbeRef {
            id,
            name: Arc::from(name),
            payload: Arc::from(payload),
            rarity: 1,
            is_hinted,
            services: Arc::from([]),
            request: None,
            is_built_in: true,
        };
        vec![probe(GET, "get", b"GET / HTTP/1.0\r\n\r\n", is_web), probe(LINES, "lines", b"\r\n\r\n", false)]
    }

    fn matches(&self, from: &Answer<'_>) -> Option<Match> {
        let bytes = from.bytes;
        if let Some(line) = bytes.strip_prefix(b"SSH-") {
            return Some(Match { service: ssh(line), is_soft: false });
        }
        if http::is_http(bytes) {
            return http::read_head(bytes).map(|head| Match { service: web(&head), is_soft: false });
        }
        let name = soft_name(bytes, from.port)?;
        Some(Match { service: named(name), is_soft: true })
    }

    fn depends_on_port(&self) -> bool {
        true
    }
}

/// RFC 4253 section 4.2: `SSH-protoversion-softwareversion SP comments`.
fn ssh(line: &[u8]) -> Service {
    let line = line.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let software = line.split_once('-').map_or("", |(_, software)| software);
    let (software, comments) = software.split_once(' ').map_or((software, None), |(a, b)| (a, Some(b)));
    let (product, version) = software.split_once('_').map_or((software, None), |(a, b)| (a, Some(b)));
    Service {
        product: text(product),
        version: version.and_then(text),
        info: comments.and_then(text),
        confidence: 90,
        ..named("ssh")
    }
}

/// RFC 9110 section 10.2.4: product tokens, the first being the most significant.
fn web(head: &http::Head) -> Service {
    let token = head.get("server").unwrap_or_default().split_ascii_whitespace().next().unwrap_or_default();
    let (product, version) = token.split_once('/').map_or((token, None), |(a, b)| (a, Some(b)));
    Service { product: text(product), version: version.and_then(text), confidence: 90, ..named("http") }
}

fn soft_name(bytes: &[u8], port: u16) -> Option<&'static str> {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    Some(match bytes {
        [b'2', b'2', b'0', b' ' | b'-', ..] if has(b"ftp") => "ftp",
        [b'2', b'2', b'0', b' ' | b'-', ..] if has(b"smtp") || matches!(port, 25 | 465 | 587) => "smtp",
        [b'+', b'O', b'K', b' ' | b'\r', ..] if has(b"pop") || matches!(port, 110 | 995) => "pop3",
        [b'*', b' ', b'O', b'K', b' ' | b'[', ..] => "imap",
        [b'R', b'F', b'B', b' ', b'0', b'0', ..] => "vnc",
        [b'@', b'R', b'S', b'Y', b'N', b'C', b'D', ..] => "rsync",
        [0xff, 0xfb..=0xfe, _, ..] => "telnet",
        _ => return None,
    })
}

fn named(name: &str) -> Service {
    Service { name: name.to_owned(), confidence: CONFIDENCE, rule: Some(format!("plain-{name}")), ..Service::default() }
}

fn text(words: &str) -> Option<String> {
    let text = plain_text_of(words, TEXT_MAX);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(bytes: &[u8], port: u16) -> Option<Match> {
        Plain.matches(&Answer { protocol: Protocol::Tcp, port, is_tls: false, probe: None, bytes })
    }

    #[test]
    fn fields_that_protocols_have_for_it_name_the_program() {
        let ssh = look(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 22).unwrap();
        assert_eq!(ssh.service.product.as_deref(), Some("OpenSSH"));
        assert_eq!(ssh.service.version.as_deref(), Some("9.2p1"));
        assert_eq!(ssh.service.info.as_deref(), Some("Debian-2"));
        let web = look(b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1 x\r\n\r\n", 80).unwrap();
        assert_eq!((web.service.product.as_deref(), web.service.version.as_deref()), (Some("nginx"), Some("1.22.1")));
        assert!(!ssh.is_soft && !web.is_soft);
    }

    #[test]
    fn first_words_name_the_service_only() {
        for (bytes, port, name) in [
            (&b"220 (vsFTPd 3.0.3)\r\n"[..], 21, "ftp"),
            (b"220 mx ESMTP\r\n", 4000, "smtp"),
            (b"* OK [CAPABILITY IMAP4rev1]\r\n", 143, "imap"),
            (b"@RSYNCD: 31.0\n", 873, "rsync"),
            (b"\xff\xfd\x18", 23, "telnet"),
        ] {
            let found = look(bytes, port).unwrap();
            assert_eq!((found.service.name.as_str(), found.is_soft), (name, true));
        }
        assert_eq!(look(b"hello", 1), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(head in 0_usize..3, tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let heads: [&[u8]; 3] = [b"SSH-", b"HTTP/1.1 200 \r\nServer:", b""];
            look(&[heads[head], &tail].concat(), 80);
        }
    }
}
