//! What an HTTP server tells: status, title, server, redirects on the same host, icon, login pages.
//!
//! A minimal client of HTTP/1.1: one request per connection, every answer bounded, no cookie kept, nothing posted.

mod bare;
mod charset;
mod entities;
mod favicon;
mod http2;
mod location;
mod markup;
mod page;
mod response;

use std::time::Duration;

use tokio::time::Instant;

pub use self::bare::{is_bare_page, is_whole_page};
pub(in crate::detect) use self::charset::text_in;
pub use self::favicon::favicon_hash;
pub use self::location::follow;
pub use self::page::{Page, read_page};
pub use self::response::{BODY_BYTES_MAX, Head, body, final_answer, is_complete, is_http, read_head};
use super::connection::{self, Ending, Endpoint, Patience};
use crate::authority;
use crate::finding::{Http, plain_text_of};
use crate::gate::Stage;

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Longest wait for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// The same where a server has not said a word, though its number is one of the web: some look everything up anew, or wake what they are
/// in front of.
const FIRST_WAIT: Duration = Duration::from_secs(6);
/// Between two parts of an answer.
pub(super) const ANSWER_GAP: Duration = Duration::from_secs(1);
/// Longest text of one field that is kept.
const TEXT_MAX: usize = 512;
/// Headers worth keeping: what names products, and what guards or fails to guard a page.
const HEADERS: [&str; 20] = [
    "server",
    "via",
    "x-powered-by",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-drupal-cache",
    "x-jenkins",
    "x-application-context",
    "x-elastic-product",
    "x-influxdb-version",
    "docker-experimental",
    "content-type",
    "www-authenticate",
    "strict-transport-security",
    "content-security-policy",
    "x-frame-options",
    "access-control-allow-origin",
    "location",
    "set-cookie",
];

/// Describes a server from its answer to `GET /`, asking for more where that pays: redirects and the icon.
///
/// `None` when `first` is neither a whole answer of HTTP/1 nor a page without a head. The second is the page that redirects led to, where there were some.
pub(super) async fn describe(endpoint: &Endpoint<'_>, first: Vec<u8>) -> Option<(Http, Option<Vec<u8>>)> {
    let head = read_head(&first).or_else(|| bare::head(&first))?;
    let (host, port) = (authority::host(endpoint.name, endpoint.address.ip()), endpoint.address.port());
    let is_tls = endpoint.tls.is_some();
    let mut http = Http { status: head.status, ..Http::default() };
    http.server = head.get("server").map(text);
    http.location = head.get("location").map(text);
    http.headers = headers(&head);
    let (mut head, mut bytes, mut path) = (head, first, "/".to_owned());
    for _ in 0..REDIRECTS_MAX {
        let location = head.get("location").filter(|_| (300..400).contains(&head.status));
        let Some(next) = location.and_then(|location| follow(location, &path, &host, port, is_tls)) else { break };
        let Some(answer) = get(endpoint, &next).await else { break };
        let Some(next_head) = read_head(&answer.bytes) else { break };
        (head, bytes, path) = (next_head, answer.bytes, next);
    }
    let page = read_page(&body(&head, &bytes), head.content_type());
    http.title = page.title.as_deref().map(text);
    http.generator = page.generator.as_deref().or(head.get("x-powered-by")).or(head.get("x-generator")).map(text);
    http.is_login = page.asks_password || head.status == 401;
    if has_icon(&head) {
        let icon = page.icon.as_deref().unwrap_or("/favicon.ico");
        if let Some(icon) = follow(icon, &path, &host, port, is_tls) {
            http.favicon = favicon(endpoint, &icon).await;
        }
    }
    Some((http, (path != "/").then_some(bytes)))
}

/// Whether an answer may refuse the way it was asked for rather than the page: the version of HTTP, or a missing host. Servers
/// say that by any error, by leading elsewhere or nowhere, or by an empty page.
pub(super) fn is_refusal_of_the_request(endpoint: &Endpoint<'_>, bytes: &[u8]) -> bool {
    // A page without a head is what servers send that could not read the question.
    let Some(head) = read_head(bytes) else { return is_bare_page(bytes) || is_http(bytes) };
    let (host, port) = (authority::host(endpoint.name, endpoint.address.ip()), endpoint.address.port());
    let leads_on = |location| follow(location, "/", &host, port, endpoint.tls.is_some()).is_some_and(|to| to != "/");
    match head.status {
        200 | 204 => body(&head, bytes).trim_ascii().is_empty(),
        300..400 => !head.get("location").is_some_and(leads_on),
        status => status >= 400,
    }
}

/// What came when a page was asked for, and how its reading ended.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    ending: Ending,
}

/// Asks for a page; `None` when nothing like an answer comes.
pub(super) async fn get(endpoint: &Endpoint<'_>, path: &str) -> Option<Answer> {
    if endpoint.speaks_http_2 {
        return Box::pin(http2::get(endpoint, path)).await;
    }
    get_within(endpoint, path, ANSWER_WAIT).await
}

/// Asks for the first page of a server that has not said anything yet, and is waited for longer.
pub(super) async fn get_first(endpoint: &Endpoint<'_>) -> Option<Answer> {
    let endpoint = Endpoint { time: endpoint.time.with_at_least(FIRST_WAIT), ..*endpoint };
    get_within(&endpoint, "/", FIRST_WAIT).await
}

async fn get_within(endpoint: &Endpoint<'_>, path: &str, wait: Duration) -> Option<Answer> {
    let mut connection = endpoint.connect(Stage::Http).await.ok()?;
    let until = endpoint.deadline().min(Instant::now() + wait);
    let request = request(endpoint, path);
    connection::send(&mut connection.stream, request.as_bytes(), until).await.then_some(())?;
    let mut bytes = Vec::new();
    let patience = Patience { first: until, gap: ANSWER_GAP, last: until };
    let is_enough = |bytes: &[u8]| if is_http(bytes) { is_complete(bytes) } else { bare::is_enough(bytes) };
    let mut ending = connection::read(&mut connection.stream, &mut bytes, patience, is_enough).await;
    let left = until.saturating_duration_since(Instant::now());
    if ending == Ending::Quiet && is_http(&bytes) && read_head(&bytes).is_none() && !left.is_zero() {
        // It has said that its answer is to come, or half of it.
        let patience = Patience { first: until, gap: left, last: until };
        ending = connection::read(&mut connection.stream, &mut bytes, patience, is_enough).await;
    }
    (is_http(&bytes) || is_bare_page(&bytes)).then_some(Answer { bytes, ending })
}

/// A request of HTTP/1.1 as browsers make it.
pub(super) fn request(endpoint: &Endpoint<'_>, path: &str) -> String {
    let host = authority::host_header(endpoint.name, endpoint.address, endpoint.tls.is_some());
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (compatible; Pentora)\r\n\
         Accept: */*\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
}

/// Whether a server that answers so may have an icon: one for people, in good order.
fn has_icon(head: &Head) -> bool {
    let is_page = head.get("content-type").is_none_or(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    is_page && matches!(head.status, 200..=299 | 401 | 403)
}

async fn favicon(endpoint: &Endpoint<'_>, path: &str) -> Option<i32> {
    // Part of an icon has another hash.
    let whole = |answer: &Answer| matches!(answer.ending, Ending::Enough | Ending::Closed);
    let bytes = get(endpoint, path).await.filter(whole)?.bytes;
    let head = read_head(&bytes).filter(|head| head.status == 200)?;
    let icon = body(&head, &bytes);
    // Many servers answer every path with a page.
    let is_icon = !icon.is_empty() && !icon.trim_ascii_start().starts_with(b"<!");
    let is_page = head.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    (is_icon && !is_page).then(|| favicon_hash(&icon))
}

fn headers(head: &Head) -> Vec<(String, String)> {
    let kept = head.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str()));
    kept.take(HEADERS.len()).map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(words: &str) -> String {
    plain_text_of(words, TEXT_MAX)
}
