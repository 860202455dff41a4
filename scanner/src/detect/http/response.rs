//! HTTP/1 answers as bytes: head, headers and body, forgiving with servers and bounded against hostile ones.
//!
//! RFC 9112, less strictly than it asks: devices answer with bare line feeds, missing reasons and wrong lengths.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// Longest head that is read.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers that are read.
const HEADERS_MAX: usize = 100;
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

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
    }

    fn content_length(&self) -> Option<usize> {
        self.get("content-length")?.trim().parse().ok()
    }
}

/// Whether bytes begin as an answer of HTTP/1 does.
#[must_use]
pub fn is_http(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.")
}

/// Reads the head of an answer; `None` while it is not whole, or when it is none.
#[must_use]
pub fn read_head(bytes: &[u8]) -> Option<Head> {
    if !is_http(bytes) {
        return None;
    }
    let window = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let mut at = 0;
    let mut status = None;
    let mut headers = Vec::new();
    loop {
        let rest = window.get(at..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += end + 1;
        if line.is_empty() {
            return Some(Head { status: status?, headers, body_at: at });
        }
        let line = String::from_utf8_lossy(line);
        if status.is_none() {
            status = Some(status_of(&line)?);
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
        return bytes.len() > HEAD_BYTES_MAX;
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

/// The body of an answer: chunks joined, decompressed, cut off at [`BODY_BYTES_MAX`]. What cannot be decoded is left out.
#[must_use]
pub fn body<'a>(head: &Head, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let raw = bytes.get(head.body_at..).unwrap_or_default();
    let raw = match head.content_length() {
        _ if head.is_chunked() => Cow::Owned(join_chunks(raw)),
        Some(length) => Cow::Borrowed(raw.get(..length).unwrap_or(raw)),
        None => Cow::Borrowed(raw),
    };
    match head.get("content-encoding").map(str::to_ascii_lowercase).as_deref() {
        Some("gzip" | "x-gzip") => Cow::Owned(inflate(MultiGzDecoder::new(&raw[..]))),
        Some("deflate") => Cow::Owned(inflate(ZlibDecoder::new(&raw[..]))),
        _ => cut(raw),
    }
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

fn join_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let size = rest.get(..end).unwrap_or_default();
        let size = String::from_utf8_lossy(size);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
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
