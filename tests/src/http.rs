//! A small HTTP/1.1 client over a plain socket: one request, one answer, connection closed.
//!
//! The system tests look at the API with eyes of their own, not with the client that ships, and must do so from inside a
//! lab host's network (`Host::request`). No TLS, redirects or keep-alive.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// The longest answer that is read: a bug in the API must not fill this machine's memory.
const BODY_MAX: u64 = 64 << 20;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// A bearer token.
    pub token: Option<&'a str>,
    /// A JSON body.
    pub body: Option<&'a str>,
    /// Further header lines: name, value.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and their values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, unchunked.
    pub body: String,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is not.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("status {} with body {:?}", self.status, self.body))
    }
}

/// Sends `request` to `server` and reads the whole answer; `limit` bounds the connect and every read and write.
///
/// # Errors
/// Where the server is not reached, the time is up, or the answer is not HTTP.
pub fn send(server: SocketAddr, request: &Request<'_>, limit: Duration) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, limit).with_context(|| format!("connecting to {server}"))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(head_and_body(server, request).as_bytes()).context("sending the request")?;
    read_answer(stream).with_context(|| format!("{} {} on {server}", request.method, request.path))
}

fn head_and_body(server: SocketAddr, request: &Request<'_>) -> String {
    let body = request.body.unwrap_or_default();
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nAccept: */*\r\n",
        request.method, request.path
    );
    if let Some(token) = request.token {
        text += &format!("Authorization: Bearer {token}\r\n");
    }
    for (name, value) in request.headers {
        text += &format!("{name}: {value}\r\n");
    }
    if request.body.is_some() {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

fn read_answer(stream: impl Read) -> anyhow::Result<Answer> {
    let mut reader = BufReader::new(stream.take(BODY_MAX));
    let mut line = String::new();
    reader.read_line(&mut line).context("the status line")?;
    let status =
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| format!("not HTTP: {line:?}"))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).context("a header line")? == 0 {
            bail!("the answer ends within its headers");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut bytes = Vec::new();
    if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
        read_chunks(&mut reader, &mut bytes)?;
    } else {
        reader.read_to_end(&mut bytes).context("the body")?;
    }
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&bytes).into_owned() })
}

fn read_chunks(reader: &mut impl BufRead, into: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).context("a chunk's size")?;
        let size = u64::from_str_radix(line.trim(), 16).with_context(|| format!("chunk size {line:?}"))?;
        if size == 0 {
            return Ok(());
        }
        let read = reader.by_ref().take(size).read_to_end(into).context("a chunk")?;
        if u64::try_from(read).unwrap_or(u64::MAX) != size {
            bail!("a chunk of {size} bytes ends after {read}");
        }
        reader.read_line(&mut line).context("a chunk's end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_answer_is_read_to_its_end() {
        let answer =
            read_answer(&b"HTTP/1.1 202 Accepted\r\nPentora-Index: 7\r\nContent-Length: 2\r\n\r\n{}"[..]).unwrap();
        assert_eq!((answer.status, answer.header("pentora-index"), answer.body.as_str()), (202, Some("7"), "{}"));
        assert_eq!(answer.json().unwrap(), serde_json::json!({}));
    }

    #[test]
    fn a_chunked_answer_is_put_together() {
        let text =
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"[..];
        assert_eq!(read_answer(text).unwrap().body, "abc0123456789");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        read_answer(&b"SSH-2.0-x\r\n"[..]).unwrap_err();
        read_answer(&b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n"[..]).unwrap_err();
        read_answer(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"[..]).unwrap_err();
    }

    #[test]
    fn the_request_carries_token_body_and_headers() {
        let request = Request {
            method: "POST",
            path: "/x?y=1",
            token: Some("t"),
            body: Some("{}"),
            headers: &[("Idempotency-Key", "k")],
        };
        let text = head_and_body(SocketAddr::from(([127, 0, 0, 1], 80)), &request);
        assert!(text.starts_with("POST /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"), "{text}");
        assert!(text.contains("Authorization: Bearer t\r\nIdempotency-Key: k\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
    }
}
