//! Answers of web servers: the head does not depend on what follows it, bodies and texts are bounded, and no redirect leads
//! off the host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::http::{BODY_BYTES_MAX, body, follow, is_complete, is_http, read_head, read_page};

/// What bodies are repeated up to, so that whatever takes longer than its input is long shows itself.
const LONG: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let _ = is_complete(data);
    if let Some(head) = read_head(data) {
        assert!(is_http(data) && (100..1000).contains(&head.status) && head.body_at <= data.len());
        assert!(head.headers.len() <= 100);
        assert!(head.headers.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
        let alone = read_head(&data[..head.body_at]);
        assert_eq!(alone.as_ref(), Some(&head), "a head is over at its empty line");
        let body = body(&head, data);
        assert!(body.len() <= BODY_BYTES_MAX);
        page(&body, head.content_type());
    }
    page(data, None);
    if data.len() % 8 == 1 {
        let long: Vec<u8> = data.iter().copied().cycle().take(LONG).collect();
        page(&long, None);
        page(&[&long[..], b">"].concat(), Some(&String::from_utf8_lossy(data)));
    }
    let text = String::from_utf8_lossy(data);
    let (location, before) = text.split_once('\n').unwrap_or((&text, "/a/b?c"));
    redirect(location, before);
});

fn page(body: &[u8], content_type: Option<&str>) {
    let page = read_page(body, content_type);
    for text in [page.title, page.generator, page.icon].into_iter().flatten() {
        assert!((1..=256).contains(&text.chars().count()), "{text:?}");
    }
}

/// `location` is where a page leads to that was itself led to by `before`, or is the first one.
fn redirect(location: &str, before: &str) {
    for (host, port, is_tls) in [("10.0.0.1", 8080, false), ("[::1]", 443, true)] {
        let path = follow(before, "/", host, port, is_tls).unwrap_or_else(|| "/".to_owned());
        let Some(next) = follow(location, &path, host, port, is_tls) else { continue };
        assert!(next.starts_with('/') && next.len() <= 1024, "{next:?}");
        assert!(next.bytes().all(|byte| byte.is_ascii_graphic()), "a request has one line: {next:?}");
        // Two slashes begin a host.
        if !next.starts_with("//") {
            assert_eq!(follow(&next, &path, host, port, is_tls).as_deref(), Some(&*next), "a path leads to itself");
        }
        // Where a whole address is named, it is this one.
        let scheme = if is_tls { "https" } else { "http" };
        let authority = location.trim().split_once("://").filter(|(before, _)| before.eq_ignore_ascii_case(scheme));
        if let Some((_, rest)) = authority {
            assert!(rest.to_ascii_lowercase().starts_with(host), "{location:?} was followed");
        }
    }
}
