//! One page over HTTP/2 (RFC 9113), for servers that speak nothing else: their TLS refuses every other protocol.
//!
//! The answer is handed on as one of HTTP/1, so that all that reads pages and knows servers by their headers needs no
//! second way. Frames are the business of a library; what it may keep of a stranger is bounded here.

use std::fmt::Write as _;

use ::http::{HeaderMap, Request, Uri, Version};
use tokio::time::{Instant, timeout_at};

use super::charset::text_in;
use super::{ANSWER_WAIT, Answer, BODY_BYTES_MAX};
use crate::authority;
use crate::detect::connection::{Ending, Endpoint};
use crate::gate::Stage;

/// The most bytes of headers that a server may send, unpacked.
const HEADERS_BYTES_MAX: u32 = 32 * 1024;
/// The largest frame that is taken: the least that a client may ask for.
const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Asks for a page; `None` when nothing like an answer comes. The endpoint's handshake names `h2` alone; in the clear it is known that the
/// server speaks it.
pub(super) async fn get(endpoint: &Endpoint<'_>, path: &str) -> Option<Answer> {
    let connection = endpoint.connect(Stage::Http).await.ok()?;
    let until = endpoint.deadline().min(Instant::now() + ANSWER_WAIT);
    let request = request(endpoint, path)?;
    let window = u32::try_from(BODY_BYTES_MAX).ok()?;
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(window)
        .initial_connection_window_size(window)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX);
    let (client, frames) = timeout_at(until, builder.handshake::<_, &[u8]>(connection)).await.ok()?.ok()?;
    let asking = async {
        let (answer, _) = client.ready().await.ok()?.send_request(request, true).ok()?;
        let (head, mut stream) = answer.await.ok()?.into_parts();
        let mut body = Vec::new();
        let mut is_whole = true;
        while let Some(piece) = stream.data().await {
            // What was cut has a beginning all the same.
            let Ok(piece) = piece else {
                is_whole = false;
                break;
            };
            let room = BODY_BYTES_MAX.saturating_sub(body.len());
            body.extend(piece.iter().take(room));
            is_whole = piece.len() < room;
            if !is_whole || stream.flow_control().release_capacity(piece.len()).is_err() {
                break;
            }
        }
        let ending = if is_whole { Ending::Enough } else { Ending::Full };
        Some(Answer { bytes: as_http_1(head.status.as_u16(), &head.headers, &body), ending })
    };
    tokio::pin!(asking, frames);
    let mut is_open = true;
    let answered = async {
        loop {
            tokio::select! {
                biased;
                answer = &mut asking => return answer,
                // What came before the end is still to be read.
                _ = &mut frames, if is_open => is_open = false,
            }
        }
    };
    timeout_at(until, answered).await.ok()?
}

fn request(endpoint: &Endpoint<'_>, path: &str) -> Option<Request<()>> {
    let host = authority::host_header(endpoint.name, endpoint.address, endpoint.tls.is_some());
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let uri: Uri = format!("{scheme}://{host}{path}").parse().ok()?;
    let request = Request::get(uri)
        .version(Version::HTTP_2)
        .header("user-agent", "Mozilla/5.0 (compatible; Pentora)")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip");
    request.body(()).ok()
}

/// The same answer in the words of HTTP/1, whose names of headers are written large.
fn as_http_1(status: u16, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} \r\n");
    for (name, value) in headers {
        // How HTTP/1 says where a body ends is not what this one's does.
        if ["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            continue;
        }
        // Writing to a string cannot fail.
        let _infallible = write!(head, "{}: {}\r\n", written_large(name.as_str()), text_in(value.as_bytes()));
    }
    let _infallible = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// `x-powered-by` as `X-Powered-By`.
fn written_large(name: &str) -> String {
    let mut is_first = true;
    let large = |c: char| {
        let is_front = std::mem::replace(&mut is_first, c == '-');
        if is_front { c.to_ascii_uppercase() } else { c }
    };
    name.chars().map(large).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{body, read_head};
    use super::*;

    #[test]
    fn an_answer_is_the_same_in_the_words_of_http_1() {
        let mut headers = HeaderMap::new();
        headers.insert("server", "nginx/1.27.0".parse().unwrap());
        headers.insert("x-powered-by", "PHP/8.3.1".parse().unwrap());
        headers.insert("content-length", "9999".parse().unwrap());
        let bytes = as_http_1(404, &headers, b"<title>x</title>");
        let head = read_head(&bytes).unwrap();
        assert_eq!(
            (head.status, head.get("server"), head.get("x-powered-by")),
            (404, Some("nginx/1.27.0"), Some("PHP/8.3.1"))
        );
        assert_eq!(&*body(&head, &bytes), b"<title>x</title>");
        assert!(bytes.windows(13).any(|window| window == b"X-Powered-By:"));
    }
}
