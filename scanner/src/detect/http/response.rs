//! HTTP/1 answers as bytes: head, headers and body, forgiving with servers and bounded against hostile ones.
//!
//! RFC 9112, less strictly than it asks: devices answer with bare line feeds, missing reasons and wrong lengths.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::charset::text_in;

/// Longest head that is read: cookies and policies make some long, and of an answer no more than 64 kB are read.
const HEAD_BYTES_MAX: usize = 56 * 1024;
/// Most headers that are read.
const HEADERS_MAX: usize = 100;
/// Most interim answers that are passed over; a server that says more does not come to its answer.
const INTERIM_MAX: usize = 16;
/// Most bytes of line ends before an answer.
const LINE_ENDS_MAX: usize = 8;
/// Most encodings that are undone: each takes time, and no server packs a page more often.
const ENCODINGS_MAX: usize = 3;
/// Longest body that is kept, also after decompression: titles stand at a page's beginning.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code, 100 to 999.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came, as printable as they came.
    pub headers: Vec<(String, String)>,
    /// Where the body begins.
    pub body_at: usize,
}

impl Head {
    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// What the body is, where several say so by the last that names a charset.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let all = || self.headers.iter().filter(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
        all().rfind(|value| value.to_ascii_lowercase().contains("charset")).or_else(|| all().next())
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
    }

    /// How many times the body is packed, as far as headers tell: each of them may name several encodings.
    fn encodings(&self) -> usize {
        let of = |name: &'static str| self.headers.iter().filter(move |(header, _)| header == name);
        let values = of("content-encoding").chain(of("transfer-encoding")).flat_map(|(_, value)| value.split(','));
        let plain =
            |word: &str| ["", "identity", "chunked", "br", "zstd"].iter().any(|name| word.eq_ignore_ascii_case(name));
        values.filter(|word| !plain(word.trim())).take(ENCODINGS_MAX).count()
    }

    fn content_length(&self) -> Option<usize> {
        self.get("content-length")?.trim().parse().ok()
    }
}

/// Whether bytes begin as an answer of HTTP/1 does. Some call it HTTP/2, which has no lines.
#[must_use]
pub fn is_http(bytes: &[u8]) -> bool {
    let bytes = past_line_ends(bytes);
    // Browsers take it in small letters as well.
    let is_at_front =
        |front: &&str| bytes.get(..front.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(front.as_bytes()));
    ["HTTP/1.", "HTTP/2 ", "HTTP/2.0 "].iter().any(is_at_front)
}

/// What follows the line ends that some servers put before an answer.
fn past_line_ends(bytes: &[u8]) -> &[u8] {
    let ends = bytes.iter().take(LINE_ENDS_MAX).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    bytes.get(ends..).unwrap_or_default()
}

/// Where the final answer begins: behind whole interim ones (RFC 9110 section 15.2), which say that it is to come.
#[must_use]
pub fn final_answer(bytes: &[u8]) -> &[u8] {
    let mut rest = if is_http(bytes) { past_line_ends(bytes) } else { bytes };
    for _ in 0..INTERIM_MAX {
        let Some(head) = read_one_head(rest).filter(|head| is_interim(head.status)) else { break };
        rest = rest.get(head.body_at..).unwrap_or_default();
        // Lines that are too many between the answers are nobody's.
        while let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = after;
        }
    }
    rest
}

/// Whether another answer follows one with this status; 101 is the last in HTTP.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// Reads the head of an answer, the final one behind any interim ones; `None` while it is not whole, or when it is none.
#[must_use]
pub fn read_head(bytes: &[u8]) -> Option<Head> {
    let last = final_answer(bytes);
    let head = read_one_head(last).filter(|head| !is_interim(head.status))?;
    Some(Head { body_at: head.body_at + (bytes.len() - last.len()), ..head })
}

fn read_one_head(bytes: &[u8]) -> Option<Head> {
    if !is_http(bytes) {
        return None;
    }
    let window = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let is_cut = window.len() < bytes.len();
    let mut at = 0;
    let mut status = None;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let rest = window.get(at..)?;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // A head of endless headers has said what it is by then.
            let status = status.filter(|_| is_cut)?;
            return Some(Head { status, headers, body_at: bytes.len() });
        };
        let line = rest.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += end + 1;
        if line.is_empty() {
            return Some(Head { status: status?, headers, body_at: at });
        }
        let line = text_in(line);
        if status.is_none() {
            status = Some(status_of(&line)?);
        } else if line.starts_with([' ', '\t']) {
            // A line that goes on (RFC 9112 section 5.2).
            if let Some((_, value)) = headers.last_mut() {
                let parted = if value.is_empty() { "" } else { " " };
                value.extend([parted, line.trim()]);
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|_| headers.len() < HEADERS_MAX) {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn status_of(line: &str) -> Option<u16> {
    let code = line.split_ascii_whitespace().nth(1)?;
    code.get(..3)?.parse().ok().filter(|status| (100..1000).contains(status))
}

/// Whether an answer has come to its end, as far as its head says where that is.
#[must_use]
pub fn is_complete(bytes: &[u8]) -> bool {
    let Some(head) = read_head(bytes) else {
        return final_answer(bytes).len() > HEAD_BYTES_MAX;
    };
    let body = bytes.get(head.body_at..).unwrap_or_default();
    if head.status < 200 || matches!(head.status, 204 | 304) {
        return true;
    }
    if head.is_chunked() {
        // The last chunk, its trailers being nothing that we want.
        return body.starts_with(b"0\r\n") || body.ends_with(b"\r\n0\r\n\r\n");
    }
    head.content_length().is_some_and(|length| body.len() >= length)
}

/// The body of an answer: chunks joined, decompressed, cut off at [`BODY_BYTES_MAX`].
///
/// Servers name encodings that they do not use, use others than they name, and name one twice: what a body begins like
/// says more than its header, and what cannot be decoded is taken as it is.
#[must_use]
pub fn body<'a>(head: &Head, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let raw = bytes.get(head.body_at..).unwrap_or_default();
    let mut raw = match head.content_length() {
        _ if head.is_chunked() && chunk_size(raw).is_some() => Cow::Owned(join_chunks(raw)),
        Some(length) => Cow::Borrowed(raw.get(..length).unwrap_or(raw)),
        None => Cow::Borrowed(raw),
    };
    let told = head.encodings();
    for done in 0..ENCODINGS_MAX {
        // What is packed by gzip says so itself.
        let Some(plain) =
            (done < told || is_gzip(&raw) || is_zlib(&raw) && !is_text(&raw)).then(|| unpacked(&raw)).flatten()
        else {
            break;
        };
        raw = Cow::Owned(plain);
    }
    cut(raw)
}

/// Whether a body begins as gzip does, behind line ends that some servers put before it.
fn is_gzip(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(&[0x1f, 0x8b])
}

/// Whether a body begins as zlib's format does (RFC 1950 section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [first, second, ..] => first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0,
        _ => false,
    }
}

/// A body without its outermost encoding; `None` where it has none that is known.
fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let packed = if is_gzip(packed) { packed.trim_ascii_start() } else { packed };
    let is_zlib = is_zlib(packed);
    let plain = match packed {
        [0x1f, 0x8b, ..] => inflate(MultiGzDecoder::new(packed)),
        _ if is_zlib => inflate(ZlibDecoder::new(packed)),
        _ if is_text(packed) => Vec::new(),
        // The bare stream, which browsers take for `deflate` too (RFC 9110 section 8.4.1.2).
        _ => inflate(DeflateDecoder::new(packed)),
    };
    (!plain.is_empty()).then_some(plain)
}

/// Whether a body begins like text, of which no packed one does.
fn is_text(body: &[u8]) -> bool {
    let front = body.get(..32).unwrap_or(body);
    front.iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace())
}

fn cut(body: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match body {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(..BODY_BYTES_MAX).unwrap_or(bytes)),
        Cow::Owned(mut bytes) => {
            bytes.truncate(BODY_BYTES_MAX);
            Cow::Owned(bytes)
        }
    }
}

/// The size that a chunk begins with; `None` where it is none.
fn chunk_size(chunk: &[u8]) -> Option<usize> {
    let line = chunk.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
}

fn join_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let Some(size) = chunk_size(rest) else { break };
        let content = rest.get(end + 1..).unwrap_or_default();
        let chunk = content.get(..size).unwrap_or(content);
        joined.extend(chunk.iter().take(BODY_BYTES_MAX.saturating_sub(joined.len())));
        if size == 0 || chunk.len() < size {
            break;
        }
        let after = content.get(size..).unwrap_or_default();
        rest = after.strip_prefix(b"\r\n").or(after.strip_prefix(b"\n")).unwrap_or(after);
    }
    joined
}

/// What can be read before an error or the bound.
fn inflate(reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(BODY_BYTES_MAX).expect("a small number");
    // A truncated stream gives its beginning; the error adds nothing.
    let _ = reader.take(limit).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_answer_is_read_as_servers_write_it() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: a/1\r\nContent-Length: 3\r\nX: y: z\r\n\r\nabcdef";
        let head = read_head(bytes).unwrap();
        assert_eq!((head.status, head.get("server"), head.get("x")), (200, Some("a/1"), Some("y: z")));
        assert_eq!(&*body(&head, bytes), b"abc");
        assert!(is_complete(bytes) && !is_complete(&bytes[..bytes.len() - 4]));
        let bare = b"HTTP/1.0 401\nWWW-Authenticate: Basic\n\nx";
        assert_eq!((read_head(bare).unwrap().status, is_complete(bare)), (401, false));
        let folded = read_head(b"HTTP/1.1 200 OK\r\n x\r\nServer:\r\n\tnginx/1.2\r\n  (x)\r\nX: y\r\n\r\n").unwrap();
        assert_eq!((folded.get("server"), folded.get("x")), (Some("nginx/1.2 (x)"), Some("y")));
        let twice = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Type: text/html; charset=x\r\n\r\n";
        assert_eq!(read_head(twice).unwrap().content_type(), Some("text/html; charset=x"));
        let plain = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n";
        assert_eq!(read_head(plain).unwrap().content_type(), Some("a/b"));
        let wide = format!("HTTP/1.1 200 OK\r\nCookie: {}\r\n\r\n<title>x</title>", "c".repeat(50_000));
        assert_eq!(&*body(&read_head(wide.as_bytes()).unwrap(), wide.as_bytes()), b"<title>x</title>");
        let odd = b"\r\nhttp/1.1 401 no\r\nWWW-Authenticate: Basic realm=\"R\xe9seau\"\r\n\r\n";
        assert_eq!(read_head(odd).unwrap().get("www-authenticate"), Some("Basic realm=\"R\u{e9}seau\""));
        assert_eq!(read_head(b"HTTP/1.1 200 OK\r\nServer: a"), None);
        assert_eq!(read_head(b"HTTP/1.1 hello\r\n\r\n"), None);
        assert_eq!(read_head(b"RTSP/1.0 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn chunks_and_compression_are_undone() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let head = read_head(chunked).unwrap();
        assert_eq!(&*body(&head, chunked), b"abcde");
        assert!(is_complete(chunked));
        let mut zipped = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
        zipped.extend(gzip(b"<title>x</title>"));
        let head = read_head(&zipped).unwrap();
        assert_eq!(&*body(&head, &zipped), b"<title>x</title>");
    }

    fn deflated(bytes: &[u8], has_header: bool) -> Vec<u8> {
        let level = Compression::best();
        if has_header {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            return encoder.finish().unwrap();
        }
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_is_read_whatever_encoding_its_head_claims() {
        let page = format!("<html><title>Packed 7</title>{}", "y".repeat(500)).into_bytes();
        let chunk =
            |content: Vec<u8>| [format!("{:x}\r\n", content.len()).as_bytes(), &content, b"\r\n0\r\n\r\n"].concat();
        for (headers, content) in [
            ("Content-Encoding: deflate", deflated(&page, true)),
            ("Content-Encoding: deflate", deflated(&page, false)),
            ("Content-Encoding: deflate", gzip(&page)),
            ("Content-Encoding: deflate", page.clone()),
            ("Content-Encoding: gzip", page.clone()),
            ("Content-Encoding: gzip", deflated(&page, true)),
            ("Content-Encoding: gzip", deflated(&page, false)),
            ("Content-Encoding: GZIP ", gzip(&page)),
            ("Content-Encoding: x-gzip", gzip(&page)),
            ("Content-Encoding: gzip, gzip", gzip(&page)),
            ("Content-Encoding: gzip, gzip", gzip(&gzip(&page))),
            ("Content-Encoding: identity, gzip", gzip(&page)),
            ("Content-Encoding: deflate, gzip", gzip(&deflated(&page, false))),
            ("Content-Encoding: gzip\r\nContent-Encoding: gzip", gzip(&gzip(&page))),
            ("Content-Encoding: gzip\r\nContent-Encoding: gzip", gzip(&page)),
            ("Content-Encoding: br", page.clone()),
            ("Content-Encoding: br", gzip(&page)),
            ("Content-Encoding: zstd", gzip(&page)),
            ("Content-Encoding: gzip", gzip(&gzip(&page))),
            ("Content-Encoding: gzip", [&b"\r\n"[..], &gzip(&page)].concat()),
            ("Transfer-Encoding: chunked", page.clone()),
            ("X: y", gzip(&page)),
            ("X: y", deflated(&page, true)),
            ("Content-Encoding: identity", deflated(&page, true)),
            ("Content-Encoding: br", gzip(&page)),
            ("Transfer-Encoding: gzip, chunked", chunk(gzip(&page))),
            ("Transfer-Encoding: chunked\r\nContent-Encoding: deflate", chunk(deflated(&page, false))),
        ] {
            let answer = [format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(), &content].concat();
            assert_eq!(&*body(&read_head(&answer).unwrap(), &answer), page.as_slice(), "{headers}");
        }
    }

    #[test]
    fn the_final_answer_counts_however_many_say_that_it_is_to_come() {
        let last = "HTTP/1.1 200 OK\r\nServer: b/2\r\nContent-Length: 2\r\n\r\nok";
        let early = "HTTP/1.1 103 Early Hints\r\nServer: hint/1\r\nLink: </a>\r\n\r\n";
        let lines = "HTTP/1.1 100 Continue\r\n\r\n\r\n\n";
        for front in
            ["", "HTTP/1.1 100 Continue\r\n\r\n", early, &early.repeat(3), "HTTP/1.1 102 Processing\n\n", lines]
        {
            let ended = format!("\r\n\n{front}{last}").into_bytes();
            assert_eq!(read_head(&ended).map(|head| body(&head, &ended).into_owned()), Some(b"ok".to_vec()), "{front}");
            let answer = format!("{front}{last}").into_bytes();
            let head = read_head(&answer).unwrap();
            assert_eq!((head.status, head.get("server")), (200, Some("b/2")), "{front}");
            assert_eq!((&*body(&head, &answer), is_complete(&answer)), (&b"ok"[..], true), "{front}");
            assert!(!is_complete(front.as_bytes()) && read_head(front.as_bytes()).is_none(), "{front}");
        }
        assert_eq!(read_head(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap().status, 101);
        assert!(read_head(early.repeat(1_000).as_bytes()).is_none());
    }

    #[test]
    fn a_field_may_go_on_in_the_next_line_and_a_head_be_long() {
        let cookies = format!("Set-Cookie: {}\r\n", "c".repeat(1000)).repeat(40);
        let answer = format!("HTTP/1.1 200 OK\r\nServer:\r\n nginx/1.24.0\r\n\t(Ubuntu)\r\n{cookies}Via: x\r\n\r\nok")
            .into_bytes();
        let head = read_head(&answer).unwrap();
        assert_eq!((head.get("server"), head.get("via")), (Some("nginx/1.24.0 (Ubuntu)"), Some("x")));
        assert_eq!(&*body(&head, &answer), b"ok");
    }

    #[test]
    fn a_head_without_an_end_has_said_what_it_is() {
        let long = format!("HTTP/1.1 200 OK\r\nServer: a/1\r\n{}", "X: y\r\n".repeat(10_000));
        let head = read_head(long.as_bytes()).unwrap();
        assert_eq!((head.status, head.get("server"), head.headers.len()), (200, Some("a/1"), HEADERS_MAX));
    }

    #[test]
    fn a_body_zipped_to_explode_is_cut_off() {
        let mut zipped = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
        zipped.extend(gzip(&vec![b' '; 50 << 20]));
        assert!(zipped.len() < 64 * 1024);
        let head = read_head(&zipped).unwrap();
        assert_eq!(body(&head, &zipped).len(), BODY_BYTES_MAX);
    }

    #[test]
    fn a_body_ends_at_its_limit_however_it_is_packed() {
        let long = vec![b'a'; BODY_BYTES_MAX + 9];
        let chunked = [format!("{:x}\r\n", long.len()).as_bytes(), &long, b"\r\n0\r\n\r\n"].concat();
        for (header, content) in [("X: y", &long), ("Transfer-Encoding: chunked", &chunked)] {
            let answer = [format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n").as_bytes(), content].concat();
            assert_eq!(body(&read_head(&answer).unwrap(), &answer).len(), BODY_BYTES_MAX, "{header}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(kind in 0_usize..4, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let heads: [&[u8]; 4] = [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 18446744073709551615\r\n\r\n\x1f\x8b\x08",
                b"HTTP/1.1 200 OK\r\n",
                b"",
            ];
            let bytes = [heads[kind], &tail].concat();
            if let Some(head) = read_head(&bytes) {
                prop_assert!(head.headers.len() <= HEADERS_MAX);
                prop_assert!(body(&head, &bytes).len() <= BODY_BYTES_MAX);
            } else {
                prop_assert!(!is_complete(&bytes), "300 bytes without an end of the head");
            }
        }
    }
}
