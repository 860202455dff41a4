//! A browser is not a way in: no page of another site reaches the API through the browser of somebody who may.
//!
//! A page can have a browser send requests to any address, this machine's included, and where a node asks for no token that
//! would be enough. So a request that says it comes from another site is refused, whoever is let in; the name in
//! `Host` must be one of this node's where a browser asks, so that no name of somebody's can be pointed here, and this machine's own
//! where no token is asked for; and what changes something comes as a content type that a page of another site cannot send unasked. Nothing allows another site to read answers.

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pentora_raft::Digest;
use pentora_raft::command::Author;

use super::access::key_of;
use super::auth::{TAKES_ALL, bearer};
use super::{Access, ApiError, CameFrom, HangUp, Node, sessions};
use crate::sign_in::is_jwt;

/// What every answer says to browsers: nothing is a page, nothing is kept, nothing is for another site.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Content types that a page of any site can send without asking (the Fetch standard's CORS-safelisted ones).
const UNASKED: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A read that writes: no link leads there.
const WRITES: &str = "/api/v1/cluster/empty-write";
/// What takes files, which have content types of their own.
const FILES: [&str; 2] = ["/api/v1/feeds/{kind}", "/api/v1/imports"];

/// What a node holds browsers to.
#[derive(Debug, Clone, Copy)]
struct Held<'a> {
    /// Whether no token is asked for.
    is_open: bool,
    /// The names under which it is asked; `None` for any, as inside TLS, where the certificate says them.
    hosts: Option<&'a [String]>,
}

pub(super) async fn keep_out(State(node): State<Node>, request: Request, next: Next) -> Response {
    let held = Held { is_open: node.access == Access::Open, hosts: node.hosts.as_deref() };
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let path = matched.as_ref().map_or("", MatchedPath::as_str);
    // What did not come from a socket was no HTTP on its way.
    let is_of_socket = request.extensions().get::<HangUp>().is_some();
    let ill = || {
        too_large(request.uri(), request.headers()).or_else(|| wrongly_addressed(request.version(), request.headers()))
    };
    let ill = is_of_socket.then(ill).flatten();
    let refused = ill.or_else(|| refusal(held, request.method(), path, request.headers()));
    let mut response = match refused {
        Some(error) => {
            let response = error.into_response();
            note(&node, &request, path, response.status());
            response
        }
        None => next.run(request).await,
    };
    tell(response.headers_mut());
    response
}

/// Notes in the audit log what was refused here, and whose token was shown: a page that tries somebody's is what one looks for there.
/// What is no request as HTTP has it is noted nowhere.
fn note(node: &Node, request: &Request, path: &str, status: StatusCode) {
    let Some(trail) = node.trail.as_ref().filter(|_| matches!(status.as_u16(), 403 | 415)) else { return };
    let who = match bearer(request) {
        Some(text) if is_jwt(text) => sessions::bearer(node, text).map(|bearer| bearer.who).unwrap_or_default(),
        Some(text) => {
            let keys = [key_of(node.cluster, text), Digest::of(text.as_bytes())];
            let named = |state: &pentora_raft::State| keys.iter().find_map(|key| state.access_token(key));
            let token = node.raft.read(named).filter(|token| token.is_valid(node.raft.now_ms()));
            token.map(|token| token.name).unwrap_or_default()
        }
        None => String::new(),
    };
    let from = request.extensions().get::<CameFrom>().map(|from| from.0.clone()).unwrap_or_default();
    let path = if path.is_empty() { "/api/v1" } else { path };
    trail.refused(&Author { who, from }, &format!("{} {path}", request.method()), status.as_u16());
}

/// Tells browsers what every answer tells them.
pub(super) fn tell(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Why a head is more than is taken: what is read ahead of a connection lets through up to twice as much where it comes in one piece.
fn too_large(uri: &Uri, headers: &HeaderMap) -> Option<ApiError> {
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    let bytes = headers.iter().fold(target, |all, (name, value)| all + name.as_str().len() + value.len() + 4);
    (bytes > HEAD_BYTES_MAX).then(|| {
        let detail = format!("a request's head has {HEAD_BYTES_MAX} bytes at most");
        ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
    })
}

/// Why a request is none as HTTP has it: it names whom it is for once (RFC 9112 section 3.2), and says at most once who asks.
fn wrongly_addressed(version: Version, headers: &HeaderMap) -> Option<ApiError> {
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        let detail = "a request says once who asks, and this one has several `Authorization` headers".to_owned();
        return Some(ApiError::new(StatusCode::BAD_REQUEST, "bad_authorization", detail));
    }
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && version < Version::HTTP_11) {
        return None;
    }
    let detail = format!("a request names its host once, in one `Host` header, and this one has {hosts}");
    Some(ApiError::new(StatusCode::BAD_REQUEST, "bad_host", detail))
}

/// Why a request is refused, by its head alone.
fn refusal(held: Held<'_>, method: &Method, path: &str, headers: &HeaderMap) -> Option<ApiError> {
    let forbidden = |code, detail: String| Some(ApiError::new(StatusCode::FORBIDDEN, code, detail));
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST);
    if let Some(origin) = text(header::ORIGIN)
        && !is_same_site(origin, host)
    {
        return forbidden("cross_origin", format!("pages of {} may not use this API", shown(origin)));
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    // A link that somebody follows shows them what they may see; what a page loads by itself, in a frame as well, is refused.
    let is_navigation = text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate");
    let is_document = text(HeaderName::from_static("sec-fetch-dest")) == Some("document");
    let is_followed = method.is_safe() && is_navigation && is_document;
    if is_navigation && (path == WRITES || TAKES_ALL.contains(&path)) {
        return forbidden(
            "cross_origin",
            "this writes, or takes all there is, and is no page to be followed to".to_owned(),
        );
    }
    if !is_followed && site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return forbidden("cross_origin", "pages of other sites may not use this API".to_owned());
    }
    // Browsers of before the `Sec-Fetch` headers say where a page is from in this alone.
    let takes = !method.is_safe() || path == WRITES || TAKES_ALL.contains(&path);
    if held.is_open
        && takes
        && site.is_none()
        && let Some(from) = text(header::REFERER).map(origin_of).filter(|from| !is_same_site(from, host))
    {
        return forbidden("cross_origin", format!("pages of {} may not use this API", shown(from)));
    }
    if let Some(hosts) = held.hosts
        && is_of_a_browser(headers)
        && let Some(host) = host.filter(|host| !is_served(host, hosts))
    {
        let detail =
            format!("a browser asks for {}, which is no name of this node; server.api.tls.names adds one", shown(host));
        return forbidden("wrong_host", detail);
    }
    if held.is_open
        && let Some(host) = host.filter(|host| !is_own_machine(host))
    {
        let detail = format!(
            "no token is asked for here, so this node answers to localhost and loopback addresses alone, not to {}",
            shown(host)
        );
        return forbidden("wrong_host", detail);
    }
    if method.is_safe() || !has_body(headers) {
        return None;
    }
    let kind =
        text(header::CONTENT_TYPE).map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match kind {
        Some(kind) if FILES.contains(&path) && !kind.is_empty() && !UNASKED.contains(&kind.as_str()) => None,
        Some(kind) if !FILES.contains(&path) && is_json(&kind) => None,
        _ => {
            let detail = match FILES.contains(&path) {
                true => "the body needs the content type of the file that is sent, such as application/gzip",
                false => "the body needs its content type: application/json",
            };
            Some(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail))
        }
    }
}

/// JSON, or what is written in it (RFC 6839).
fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Whether a browser asks. To a site in plain HTTP it says neither where a page is from nor what for, but always what it is and which
/// languages are read.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    let is_browser = |value: &HeaderValue| value.as_bytes().starts_with(b"Mozilla/");
    headers.contains_key(header::ORIGIN)
        || headers.contains_key(header::REFERER)
        || headers.contains_key(header::ACCEPT_LANGUAGE)
        || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
        || headers.get(header::USER_AGENT).is_some_and(is_browser)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether an origin is the one that was asked, by its host and port.
fn is_same_site(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// What of an address is its origin.
fn origin_of(address: &str) -> &str {
    let begin = address.find("://").map_or(0, |at| at + 3);
    let path = address.get(begin..).and_then(|rest| rest.find(['/', '?', '#']));
    path.and_then(|at| address.get(..begin + at)).unwrap_or(address)
}

/// A `Host` without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a `Host` is this machine as it calls itself.
fn is_own_machine(host: &str) -> bool {
    let name = name_of(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a `Host` is one of a node's names. An address is nobody's to point elsewhere: a page that was loaded from it is this node's.
fn is_served(host: &str, hosts: &[String]) -> bool {
    let name = name_of(host);
    is_own_machine(host)
        || name.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name)))
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(is_open: bool, method: &Method, headers: &[(&str, &str)]) -> Option<StatusCode> {
        refused_at(Held { is_open, hosts: None }, method, "/api/v1/scans", headers)
    }

    fn refused_at(held: Held<'_>, method: &Method, path: &str, headers: &[(&str, &str)]) -> Option<StatusCode> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()));
        refusal(held, method, path, &headers.collect()).map(|error| error.into_response().status())
    }

    #[test]
    fn a_page_of_another_site_is_refused_whoever_is_let_in_and_the_nodes_own_is_not() {
        let host = ("host", "127.0.0.1:8080");
        for is_open in [true, false] {
            for origin in ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1:8080.evil.example"]
            {
                let answer = refused(is_open, &Method::GET, &[host, ("origin", origin)]);
                assert_eq!(answer, Some(StatusCode::FORBIDDEN), "{origin}");
            }
            assert_eq!(refused(is_open, &Method::GET, &[host, ("origin", "http://127.0.0.1:8080")]), None);
            for site in ["cross-site", "same-site"] {
                let answer = refused(is_open, &Method::POST, &[host, ("sec-fetch-site", site)]);
                assert_eq!(answer, Some(StatusCode::FORBIDDEN), "{site}");
            }
            assert_eq!(refused(is_open, &Method::POST, &[host, ("sec-fetch-site", "same-origin")]), None);
            let image = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
            assert_eq!(refused(is_open, &Method::GET, &image), Some(StatusCode::FORBIDDEN));
            let to = |dest| {
                [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", dest)]
            };
            assert_eq!(refused(is_open, &Method::GET, &to("document")), None, "a link");
            for frame in ["iframe", "frame", "embed", "object", ""] {
                assert_eq!(refused(is_open, &Method::GET, &to(frame)), Some(StatusCode::FORBIDDEN), "{frame}");
            }
            let no_dest = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
            assert_eq!(refused(is_open, &Method::GET, &no_dest), Some(StatusCode::FORBIDDEN));
        }
    }

    #[test]
    fn a_request_names_its_host_once_and_one_of_http_1_0_need_not() {
        let ill = |version, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            wrongly_addressed(version, &headers).map(|error| error.into_response().status().as_u16())
        };
        assert_eq!(ill(Version::HTTP_11, &["n1:8080"]), None);
        assert_eq!(ill(Version::HTTP_10, &[]), None);
        assert_eq!(ill(Version::HTTP_11, &[]), Some(400));
        assert_eq!(ill(Version::HTTP_11, &["n1", "n1"]), Some(400));
        assert_eq!(ill(Version::HTTP_10, &["n1", "evil.example"]), Some(400));
    }

    #[test]
    fn no_link_and_no_address_that_is_typed_leads_to_what_writes_or_takes_all() {
        let held = Held { is_open: true, hosts: None };
        for site in ["cross-site", "same-origin", "none"] {
            let link = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            for path in TAKES_ALL.into_iter().chain([WRITES]) {
                assert_eq!(refused_at(held, &Method::GET, path, &link), Some(StatusCode::FORBIDDEN), "{site}: {path}");
            }
            assert_eq!(refused_at(held, &Method::GET, "/api/v1/cluster", &link), None, "{site}");
        }
        for path in TAKES_ALL.into_iter().chain([WRITES]) {
            assert_eq!(refused_at(held, &Method::GET, path, &[("host", "localhost")]), None, "a program: {path}");
        }
    }

    #[test]
    fn a_browser_finds_a_node_by_its_own_names_alone_and_a_program_by_any() {
        let names = ["n1".to_owned(), "scan.example".to_owned()];
        let held = Held { is_open: false, hosts: Some(&names) };
        let asked = |headers: &[(&str, &str)]| refused_at(held, &Method::GET, "/metrics", headers);
        let agent = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
        for host in ["n1", "N1:8080", "scan.example:8080", "scan.example.", "localhost:8080", "10.0.0.1", "[::2]:80"] {
            assert_eq!(asked(&[("host", host), agent]), None, "{host}");
        }
        for host in ["evil.example:8080", "n1.evil.example", "10.0.0.1.evil.example", "", "["] {
            for mark in [agent, ("referer", "x"), ("accept-language", "en"), ("sec-fetch-site", "same-origin")] {
                assert_eq!(asked(&[("host", host), mark]), Some(StatusCode::FORBIDDEN), "{host}: {mark:?}");
            }
            assert_eq!(asked(&[("host", host), ("user-agent", "curl/8.5.0"), ("accept", "*/*")]), None, "{host}");
        }
        let any = Held { is_open: false, hosts: None };
        assert_eq!(refused_at(any, &Method::GET, "/metrics", &[("host", "pentora.example"), agent]), None, "TLS");
    }

    #[test]
    fn where_no_token_is_asked_for_a_page_that_only_its_referer_tells_of_changes_and_takes_nothing() {
        let open = Held { is_open: true, hosts: None };
        let host = ("host", "127.0.0.1:8080");
        let asks = [(Method::POST, "/api/v1/jobs/{id}/pause"), (Method::GET, WRITES), (Method::GET, TAKES_ALL[0])];
        for (method, path) in &asks {
            for from in ["http://evil.example/", "http://evil.example/a?http://127.0.0.1:8080/", "about:blank", "x"] {
                let answer = refused_at(open, method, path, &[host, ("referer", from)]);
                assert_eq!(answer, Some(StatusCode::FORBIDDEN), "{path}: {from}");
            }
            for from in ["http://127.0.0.1:8080/", "http://127.0.0.1:8080", "http://127.0.0.1:8080/a/b?c"] {
                assert_eq!(refused_at(open, method, path, &[host, ("referer", from)]), None, "{path}: {from}");
            }
        }
        let link = [host, ("referer", "http://evil.example/")];
        assert_eq!(refused_at(open, &Method::GET, "/api/v1/jobs", &link), None, "a link that somebody follows");
    }

    #[test]
    fn a_head_has_64_kib_at_most() {
        let head = |bytes: usize| {
            let value = HeaderValue::try_from("x".repeat(bytes)).unwrap();
            let answer = too_large(&Uri::from_static("/a"), &HeaderMap::from_iter([(header::COOKIE, value)]));
            answer.map(|error| error.into_response().status().as_u16())
        };
        assert_eq!((head(65_000), head(65_536), head(102_400)), (None, Some(431), Some(431)));
    }

    #[test]
    fn a_request_says_once_who_asks() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("a"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert!(wrongly_addressed(Version::HTTP_11, &headers).is_none());
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        let answer = wrongly_addressed(Version::HTTP_11, &headers).map(|error| error.into_response().status());
        assert_eq!(answer, Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn where_no_token_is_asked_for_no_name_can_be_pointed_here() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::ffff:127.0.0.1]"] {
            assert_eq!(refused(true, &Method::GET, &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80", "", "[", "localhost.evil"] {
            assert_eq!(refused(true, &Method::GET, &[("host", host)]), Some(StatusCode::FORBIDDEN), "{host}");
            assert_eq!(refused(false, &Method::GET, &[("host", host)]), None, "{host}: a token is asked for");
        }
        assert_eq!(refused(true, &Method::GET, &[]), None, "a client in this process");
    }

    #[test]
    fn what_changes_something_comes_as_what_no_page_can_send_unasked() {
        let length = ("content-length", "2");
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
            " Text/Plain; a=b",
        ] {
            let answer = refused(false, &Method::POST, &[length, ("content-type", kind)]);
            assert_eq!(answer, Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{kind}");
        }
        assert_eq!(refused(false, &Method::POST, &[length]), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(
            refused(false, &Method::PUT, &[("transfer-encoding", "chunked")]),
            Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert_eq!(refused(false, &Method::POST, &[length, ("content-type", kind)]), None, "{kind}");
        }
        for kind in ["text/html", "application/xml", "application/gzip", "text/x+json", "json"] {
            let answer = refused(false, &Method::POST, &[length, ("content-type", kind)]);
            assert_eq!(answer, Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{kind}");
        }
        let held = Held { is_open: false, hosts: None };
        for path in FILES {
            for (kind, status) in [
                ("application/gzip", None),
                ("application/octet-stream", None),
                ("text/plain", Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
                ("", Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
            ] {
                let answer = refused_at(held, &Method::PUT, path, &[length, ("content-type", kind)]);
                assert_eq!(answer, status, "{path}: {kind}");
            }
        }
        assert_eq!(refused(false, &Method::POST, &[("content-length", "0")]), None);
        assert_eq!(refused(false, &Method::DELETE, &[]), None);
    }
}
