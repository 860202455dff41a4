//! The answer of a web server as a check reads it: the final one, with its body in one piece. Pure.
//!
//! What says that an answer is to come (RFC 9110 section 15.2) is left out, and the sizes between a body's chunks (RFC 9112
//! section 7.1) are no part of it: a size must not pass for what the body says, nor part a word in two.

use std::borrow::Cow;

/// The final answer in `bytes`, as far as it has come. What is not HTTP is handed back as it is.
pub(super) fn of_http(mut bytes: &[u8]) -> Cow<'_, [u8]> {
    while let Some((head, rest)) = parts(bytes)
        && is_interim(head)
    {
        bytes = rest;
    }
    match parts(bytes) {
        Some((head, body)) if is_chunked(head) => [head, &joined(body)].concat().into(),
        _ => bytes.into(),
    }
}

/// Head, with its empty line, and body.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let end = |mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len());
    let end = ends.into_iter().filter_map(end).min()?;
    (bytes.starts_with(b"HTTP/1.")).then(|| bytes.split_at(end))
}

/// Whether another answer follows this head; with 101 another protocol does.
fn is_interim(head: &[u8]) -> bool {
    let status = head.split(|byte| *byte == b' ').find(|word| !word.is_empty() && !word.starts_with(b"HTTP/"));
    status.is_some_and(|status| status.starts_with(b"1") && !status.starts_with(b"101"))
}

fn is_chunked(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with(b"transfer-encoding:") && line.windows(7).any(|word| word == b"chunked")
    })
}

/// What a body's chunks hold; from where they are none on, the bytes as they are.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len());
    while let Some(end) = body.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = body.split_at(end + 1);
        let digits = line.split(|byte| *byte == b';').next().unwrap_or(line).trim_ascii();
        let size = str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size else { break };
        if size == 0 {
            return whole;
        }
        let (chunk, rest) = rest.split_at(size.min(rest.len()));
        whole.extend(chunk);
        body = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
    }
    // A line that has not ended is a size that is still coming, behind a chunk.
    if whole.is_empty() {
        whole.extend(body);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_answer_is_read_with_its_body_in_one_piece() {
        for (bytes, read) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", "HTTP/1.1 200 OK\r\n\r\nx"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 404 No\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n"),
            ("HTTP/1.1 103 E\r\n\r\n", ""),
            ("HTTP/1.1 101 Switching\r\n\r\nabc", "HTTP/1.1 101 Switching\r\n\r\nabc"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n<html>0123456789\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<html>0123456789abc",
            ),
            // Cut within a chunk, and within a size.
            (
                "HTTP/1.1 200 OK\ntransfer-encoding: gzip, Chunked\n\n5\nabc",
                "HTTP/1.1 200 OK\ntransfer-encoding: gzip, Chunked\n\nabc",
            ),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nab\n1",
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nab",
            ),
            // Said and not done.
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n<p>plain\n",
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n<p>plain\n",
            ),
            ("SSH-2.0-x\r\n\r\n", "SSH-2.0-x\r\n\r\n"),
        ] {
            assert_eq!(str::from_utf8(&of_http(bytes.as_bytes())).unwrap(), read, "{bytes:?}");
        }
    }
}
