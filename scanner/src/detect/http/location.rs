//! Where a redirect may be followed to: a path of the same host, port and scheme, and nothing else.
//!
//! A server that is scanned must not be able to send the scanner anywhere: another host, another port of this one, or
//! a scheme of its choice would be a packet that nobody asked for.

/// Longest path that is asked for.
const PATH_MAX: usize = 1024;

/// The path to ask for when following `location` from a page at `path`; `None` when it leads elsewhere.
///
/// `host` is what the request's `Host` header said, without a port; `port` and `is_tls` are those of the connection.
#[must_use]
pub fn follow(location: &str, path: &str, host: &str, port: u16, is_tls: bool) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let target = if let Some(rest) = strip_scheme(location, is_tls)? {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        is_same(authority, host, port, is_tls).then_some(())?;
        if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
    } else if location.starts_with('/') {
        location.to_owned()
    } else if location.is_empty() {
        return None;
    } else {
        let folder = path.split('?').next().unwrap_or_default();
        let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{location}")
    };
    let target = without_dots(&target);
    let is_sendable = target.len() <= PATH_MAX && target.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    is_sendable.then_some(target)
}

/// A path without its segments `.` and `..`, which stand for this one and the one above (RFC 3986 section 5.2.4).
fn without_dots(target: &str) -> String {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What leads to a folder ends like one.
                kept.extend(is_last.then_some(""));
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// What follows `//` in an absolute location of our scheme; `Some(None)` for a relative one, `None` for another scheme.
fn strip_scheme(location: &str, is_tls: bool) -> Option<Option<&str>> {
    if let Some(rest) = location.strip_prefix("//") {
        return Some(Some(rest));
    }
    let scheme_end = location.find([':', '/', '?']).filter(|at| location.as_bytes().get(*at) == Some(&b':'));
    let Some((scheme, rest)) = scheme_end.and_then(|_| location.split_once(':')) else { return Some(None) };
    let ours = if is_tls { "https" } else { "http" };
    if scheme.eq_ignore_ascii_case(ours) { rest.strip_prefix("//").map(Some) } else { None }
}

fn is_same(authority: &str, host: &str, port: u16, is_tls: bool) -> bool {
    // User information is refused: nobody redirects with it in good faith.
    if authority.contains('@') {
        return false;
    }
    let (name, given) = match authority.rsplit_once(':') {
        Some((name, digits)) if !digits.contains(']') => (name, digits.parse().ok()),
        _ => (authority, Some(if is_tls { 443 } else { 80 })),
    };
    given == Some(port) && name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_host_is_followed_and_no_other() {
        let follow = |location| follow(location, "/a/b?c", "10.0.0.1", 8080, false);
        assert_eq!(follow("/login").as_deref(), Some("/login"));
        for (location, path) in [
            ("./x/../login?a=1#f", "/a/login?a=1"),
            ("../../../x", "/x"),
            ("..", "/"),
            (".", "/a/"),
            ("/x/./y/../", "/x/"),
            ("/x?a=/../b", "/x?a=/../b"),
            ("/..x/.y", "/..x/.y"),
        ] {
            assert_eq!(follow(location).as_deref(), Some(path), "{location}");
        }
        assert_eq!(follow("login?x#y").as_deref(), Some("/a/login?x"));
        assert_eq!(follow("http://10.0.0.1:8080").as_deref(), Some("/"));
        assert_eq!(follow("//10.0.0.1:8080/x").as_deref(), Some("/x"));
        for elsewhere in [
            "http://10.0.0.1/",
            "http://10.0.0.2:8080/",
            "https://10.0.0.1:8080/",
            "http://10.0.0.1:8080@10.0.0.2/",
            "http://10.0.0.2:8080#@10.0.0.1:8080",
            "//evil.example/",
            "file:///etc/passwd",
            "javascript:x",
            "/a\r\nHost: b",
            "/with space",
            "",
        ] {
            assert_eq!(follow(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn the_port_of_the_scheme_need_not_be_named() {
        assert_eq!(follow("https://A.example/x", "/", "a.example", 443, true).as_deref(), Some("/x"));
        assert_eq!(follow("https://a.example:444/x", "/", "a.example", 443, true), None);
        assert_eq!(follow("http://[::1]/x", "/", "[::1]", 80, false).as_deref(), Some("/x"));
        assert_eq!(follow("http://[::1]:81/x", "/", "[::1]", 81, false).as_deref(), Some("/x"));
    }
}
