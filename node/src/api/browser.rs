//! A browser is not a way in: no page of another site reaches the API through the browser of somebody who may.
//!
//! A page can have a browser send requests to any address, this machine's included, and where a node asks for no token that
//! would be enough. So a request that says it comes from another site is refused, whoever is let in; where no token is asked
//! for, the name in `Host` must be this machine's own, so that no name of somebody's can be pointed here; and what changes
//! something comes as a content type that a page of another site cannot send unasked. Nothing allows another site to read answers.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Access, ApiError, Node};

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

pub(super) async fn keep_out(State(node): State<Node>, request: Request, next: Next) -> Response {
    let refused = refusal(node.access == Access::Open, request.method(), request.headers());
    let mut response = match refused {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is refused, by its head alone; `is_open` where no token is asked for.
fn refusal(is_open: bool, method: &Method, headers: &HeaderMap) -> Option<ApiError> {
    let forbidden = |code, detail: String| Some(ApiError::new(StatusCode::FORBIDDEN, code, detail));
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST);
    if let Some(origin) = text(header::ORIGIN)
        && !is_same_site(origin, host)
    {
        return forbidden("cross_origin", format!("pages of {} may not use this API", shown(origin)));
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    // A link that somebody follows shows them what they may see; what a page loads by itself is refused.
    let is_followed = method.is_safe() && text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate");
    if !is_followed && site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return forbidden("cross_origin", "pages of other sites may not use this API".to_owned());
    }
    if is_open && let Some(host) = host.filter(|host| !is_own_machine(host)) {
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
        Some(kind) if !kind.is_empty() && !UNASKED.contains(&kind.as_str()) => None,
        _ => {
            let detail = "the body needs its content type: application/json, or that of the file that is sent";
            Some(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail))
        }
    }
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

/// Whether a `Host` is this machine as it calls itself.
fn is_own_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(is_open: bool, method: &Method, headers: &[(&str, &str)]) -> Option<StatusCode> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()));
        refusal(is_open, method, &headers.collect()).map(|error| error.into_response().status())
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
            let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
            assert_eq!(refused(is_open, &Method::GET, &link), None);
        }
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
        for kind in ["application/json", "application/json; charset=utf-8", "application/gzip"] {
            assert_eq!(refused(false, &Method::POST, &[length, ("content-type", kind)]), None, "{kind}");
        }
        assert_eq!(refused(false, &Method::POST, &[("content-length", "0")]), None);
        assert_eq!(refused(false, &Method::DELETE, &[]), None);
    }
}
